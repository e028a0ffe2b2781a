"""The people, services, schedules and policies of the demonstration: a shop on the web that sells in four regions.

Nothing here is a person or an address that exists: `.example` never resolves.
"""

from dataclasses import dataclass

DOMAIN = "harbor.example"
COMMANDER = "ines"  # signs in, and commands the open incident


@dataclass(frozen=True, kw_only=True)
class Person:
    username: str
    name: str
    team: str
    zone: str
    role: str = "responder"
    leads: bool = False
    expertise: tuple[str, ...] = ()
    # "verified": an e-mail address and rules · "unverified": an address that was never confirmed · "none": no method
    contact: str = "verified"
    theme: str = "system"
    is_bot: bool = False


def _person(username: str, name: str, team: str, zone: str, expertise: str, **more: object) -> Person:
    return Person(
        username=username, name=name, team=team, zone=zone, expertise=tuple(expertise.split()), **more
    )


TEAMS = {
    "checkout": ("Checkout", "Cart, checkout and payments: from the basket to the receipt"),
    "platform": ("Platform", "Edge, configuration and delivery, and the incident commanders"),
    "network": ("Network", "Backbone, DNS and the connections between zones and regions"),
    "data": ("Data platform", "Databases, event streams and the warehouse"),
    "storage": ("Storage", "Object store, backups and media"),
    "identity": ("Identity", "Sign-in, sessions and mail to customers"),
}

PEOPLE = [
    _person(
        "ines",
        "Ines Okafor",
        "platform",
        "Europe/Berlin",
        "command platform",
        role="admin",
        leads=True,
    ),
    _person("ravi", "Ravi Menon", "checkout", "Asia/Kolkata", "checkout payments"),
    _person("dana", "Dana Whitfield", "checkout", "Europe/London", "checkout", role="manager", leads=True),
    _person("mateus", "Mateus Carvalho", "checkout", "America/Sao_Paulo", "payments"),
    _person("mei", "Mei Tanaka", "checkout", "Asia/Tokyo", "communications"),
    _person("jonas", "Jonas Lindqvist", "platform", "Europe/Stockholm", "platform compute"),
    _person("aisha", "Aisha Rahman", "platform", "Europe/London", "platform search command", role="manager"),
    _person("tomasz", "Tomasz Wójcik", "platform", "Europe/Warsaw", "platform delivery"),
    _person("liam", "Liam O’Connell", "platform", "America/Vancouver", "compute"),
    _person("olumide", "Olumide Adeyemi", "network", "Africa/Lagos", "network", leads=True),
    _person("henrik", "Henrik Dahl", "network", "Europe/Oslo", "network"),
    _person("kahu", "Kahu Ngata", "network", "Pacific/Auckland", "network"),
    _person("lucia", "Lucía Ferrer", "data", "Europe/Madrid", "database", contact="unverified"),
    _person(
        "sofia", "Sofia Lind", "data", "Europe/Stockholm", "database streams", role="manager", leads=True
    ),
    _person("grace", "Grace Kim", "data", "Asia/Seoul", "streams"),
    _person("hannah", "Hannah Vogel", "storage", "Europe/Berlin", "storage", leads=True),
    _person("priya", "Priya Nair", "storage", "Asia/Kolkata", "storage"),
    _person("diego", "Diego Salazar", "identity", "America/Bogota", "security identity", leads=True),
    _person("noor", "Noor Haddad", "identity", "Asia/Amman", "identity", contact="none"),
    _person("leila", "Leila Farahani", "platform", "Europe/Berlin", "command", role="manager"),
    _person("amara", "Amara Diallo", "checkout", "Africa/Dakar", "command", role="manager"),
    _person("stella", "Stella Brandt", "identity", "Europe/Vienna", "", role="viewer"),
    _person("deploy-bot", "Deploy bot", "platform", "UTC", "", contact="none", is_bot=True),
]


@dataclass(frozen=True, kw_only=True)
class ServiceData:
    slug: str
    name: str
    description: str
    criticality: int
    team: str
    primary: str
    secondary: str
    policy: str
    needs: tuple[str, ...] = ()
    slos: tuple[tuple[str, str, str], ...] = ()  # name, target, what is measured
    tags: tuple[str, ...] = ()
    grouping_minutes: int = 10
    acknowledge_timeout_minutes: int = 0


def _service(slug: str, name: str, criticality: int, team: str, primary: str, secondary: str, policy: str,
             description: str, *, needs: str = "", tags: str = "", slos: tuple = (), **more: object) -> ServiceData:  # fmt: skip
    return ServiceData(
        slug=slug, name=name, criticality=criticality, team=team, primary=primary, secondary=secondary,
        policy=policy, description=description, needs=tuple(needs.split()), tags=tuple(tags.split()), slos=slos, **more,
    )  # fmt: skip


SERVICES = [
    _service(
        "checkout-api", "Checkout API", 1, "checkout", "dana", "ravi", "checkout",
        "Takes the order: prices it, reserves stock, confirms the payment.",
        needs="payment-gateway ledger-db cart-service identity config-service edge-proxy", tags="customer-facing money eu uk us",
        slos=(
            ("Availability of POST /confirm", "99.95", "Answers other than 5xx, at the edge"),
            ("Confirm within 900 ms", "99.0", "Share of POST /confirm below 900 ms"),
        ),
        # As with PagerDuty's own default, a key of its own is an incident of its own.
        grouping_minutes=0,
    ),
    _service(
        "payment-gateway", "Payment gateway", 1, "checkout", "ravi", "mateus", "checkout",
        "Speaks to the card schemes and wallets; holds no card data.",
        needs="ledger-db edge-proxy", tags="customer-facing money pci",
        slos=(("Authorisations that get an answer", "99.9", "Answers within 8 s, by scheme"),),
        acknowledge_timeout_minutes=30,
    ),
    _service(
        "ledger-db", "Ledger database", 1, "data", "lucia", "", "data-platform",
        "PostgreSQL cluster of orders and money. One primary, two replicas in each region.",
        needs="block-storage", tags="database money stateful",
        slos=(("Writes that commit within 50 ms", "99.9", "From the pooler's histogram"),),
    ),
    _service(
        "edge-proxy", "Edge proxy", 1, "platform", "jonas", "aisha", "platform",
        "Everything comes in here: TLS, routing, rate limits, in 18 nodes and four regions.",
        needs="config-service", tags="edge network",
        slos=(("Requests answered by the edge", "99.99", "Share without a 502, 503 or 504 of its own"),),
    ),
    _service(
        "identity", "Identity", 1, "identity", "diego", "noor", "standard",
        "Sign-in, sessions and tokens for customers and staff.",
        needs="ledger-db mailer edge-proxy", tags="customer-facing security",
        slos=(("Sign-ins that succeed or are refused within 1 s", "99.9", "POST /session below 1 s"),),
    ),
    _service(
        "payments-webhooks", "Payments webhooks", 2, "checkout", "mateus", "ravi", "checkout",
        "Tells merchants and our own services what happened to a payment.",
        needs="checkout-api payment-gateway order-events", tags="money async",
        slos=(("Delivered within 60 s", "99.5", "From event to 2xx of the receiver"),),
    ),
    _service(
        "cart-service", "Cart service", 2, "checkout", "mateus", "dana", "checkout",
        "Baskets, coupons and merged carts after sign-in.",
        needs="catalog-api identity", tags="customer-facing",
        slos=(("Cart reads within 200 ms", "99.5", "GET /cart below 200 ms"),),
    ),
    _service(
        "search", "Search", 2, "platform", "aisha", "tomasz", "platform",
        "Product search and suggestions, one index in each region.",
        needs="catalog-api object-store", tags="customer-facing apac",
        slos=(("Suggestions within 300 ms", "99.0", "p95 by region"),),
        grouping_minutes=15,
    ),
    _service(
        "catalog-api", "Catalog API", 2, "checkout", "dana", "mateus", "standard",
        "Products, prices and stock, read by everything that customers see.",
        needs="object-store rates order-events", tags="customer-facing",
        slos=(("Product pages with a price", "99.9", "Answers that hold a price"),),
    ),
    _service(
        "order-events", "Order events", 2, "data", "sofia", "grace", "data-platform",
        "The event stream between checkout, stock and delivery.",
        needs="ledger-db block-storage", tags="stream async",
        slos=(("Consumer lag below 30 s", "99.5", "Worst consumer group"),),
    ),
    _service(
        "object-store", "Object store", 2, "storage", "hannah", "priya", "standard",
        "Images, invoices and index snapshots.",
        needs="block-storage", tags="storage stateful",
        slos=(("Reads within 400 ms", "99.5", "First byte, by region"),),
    ),
    _service(
        "block-storage", "Block storage", 1, "storage", "priya", "hannah", "standard",
        "Volumes under the databases and streams.",
        tags="storage stateful",
        slos=(("Volumes with latency below 5 ms", "99.9", "p99 by volume"),),
    ),
    _service(
        "config-service", "Config service", 2, "platform", "tomasz", "jonas", "platform",
        "Feature flags and edge configuration, rolled out in waves.",
        needs="object-store", tags="delivery",
        slos=(("Rollouts without a rollback", "97.0", "Per rollout"),),
    ),
    _service(
        "rates", "Exchange rates", 3, "data", "grace", "sofia", "data-platform",
        "Rates from two banks, refreshed every five minutes.",
        needs="order-events", tags="money",
        slos=(("Rates younger than 15 min", "99.0", "By currency"),),
    ),
    _service(
        "mailer", "Mailer", 3, "identity", "noor", "diego", "standard",
        "Receipts, sign-in codes and newsletters.",
        needs="object-store", tags="async",
        slos=(("Codes sent within 60 s", "99.0", "From request to the provider's answer"),),
    ),
]  # fmt: skip

LINKS = [
    ("Dashboard", "https://grafana.harbor.example/d/{slug}"),
    ("Logs", "https://logs.harbor.example/{slug}"),
    ("Source", "https://git.harbor.example/{team}/{slug}"),
]


# --- who is on call ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LayerData:
    name: str
    people: tuple[str, ...]  # the first one is on call in the turn that holds the moment of seeding
    unit: str = "weeks"
    length: int = 1
    handoff: str = "08:00"
    restrictions: tuple[dict, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ScheduleData:
    slug: str
    name: str
    team: str
    zone: str
    layers: tuple[LayerData, ...]
    description: str = ""


def _window(start: str, end: str, days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)) -> dict:
    return {"days": list(days), "start": start, "end": end}


SCHEDULES = [
    ScheduleData(
        slug="commanders", name="Incident commanders", team="platform", zone="Europe/Berlin",
        description="Takes command of SEV1 and SEV2. Hands over on Monday morning.",
        layers=(LayerData(name="Weekly", people=("ines", "leila", "aisha", "amara")),),
    ),
    ScheduleData(
        slug="checkout", name="Checkout", team="checkout", zone="Europe/London",
        description="First to be called for cart, checkout and payments.",
        layers=(LayerData(name="Weekly", people=("dana", "ravi", "mateus")),),
    ),
    ScheduleData(
        slug="checkout-secondary", name="Checkout secondary", team="checkout", zone="Europe/London",
        description="One week behind the first, so that nobody comes in cold.",
        layers=(LayerData(name="Weekly", people=("ravi", "mateus", "dana")),),
    ),
    ScheduleData(
        slug="platform", name="Platform specialists", team="platform", zone="Europe/Berlin",
        description="Weekly; on weekdays the evening is taken from Vancouver.",
        layers=(
            LayerData(name="Weekly", people=("jonas", "aisha", "tomasz")),
            LayerData(name="Evenings from Vancouver", people=("liam",),
                      restrictions=(_window("20:00", "02:00", (0, 1, 2, 3, 4)),)),
        ),
    ),
    ScheduleData(
        slug="network", name="Network", team="network", zone="UTC",
        description="Follows the sun: Oslo and Lagos by day, Auckland by night.",
        layers=(
            LayerData(name="Europe and Africa", people=("olumide", "henrik"), unit="days", handoff="06:00",
                      restrictions=(_window("06:00", "18:00"),)),
            LayerData(name="Pacific", people=("kahu",), handoff="18:00", restrictions=(_window("18:00", "06:00"),)),
        ),
    ),
    ScheduleData(
        slug="data-platform", name="Data platform", team="data", zone="Europe/Madrid",
        description="Daily turns, so that no night falls on the same person twice in a row.",
        layers=(LayerData(name="Daily", people=("sofia", "lucia", "grace"), unit="days"),),
    ),
    ScheduleData(
        slug="storage", name="Storage", team="storage", zone="Europe/Berlin",
        description="Twelve hours each; nobody has the early morning yet.",
        layers=(
            LayerData(name="Berlin", people=("hannah",), handoff="08:00", restrictions=(_window("08:00", "20:00"),)),
            LayerData(name="Kochi", people=("priya",), handoff="20:00", restrictions=(_window("20:00", "06:00"),)),
        ),
    ),
    ScheduleData(
        slug="identity", name="Identity", team="identity", zone="America/Bogota",
        layers=(LayerData(name="Weekly", people=("diego", "noor"), handoff="09:00"),),
    ),
]  # fmt: skip


# --- who is paged when --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TierData:
    level: int
    name: str
    criteria: str
    expected: str
    targets: tuple[tuple[str, str], ...]  # kind, and which: a slug, a username, a team, a role
    seconds: tuple[int, int, int, int]  # to acknowledge, SEV1 to SEV4
    expertise: str = ""


@dataclass(frozen=True, kw_only=True)
class PolicyData:
    slug: str
    name: str
    team: str
    description: str
    tiers: tuple[TierData, ...]
    repeats: int = 2
    catch_all: str = "leila"
    catch_all_every_minutes: int = 10


AUTOMATION = TierData(
    level=0, name="Automation", targets=(), seconds=(20, 20, 30, 60),
    criteria="Known patterns with a safe first step",
    expected="Collect diagnostics and try what needs no person",
)  # fmt: skip

LEADS = TierData(
    level=3, name="Cross-functional leads",
    targets=(("user", "amara"), ("user", "leila"), ("schedule", "commanders")), seconds=(300, 300, 900, 1800),
    criteria="Money or trust at stake, or two teams needed at once",
    expected="Decide what customers are told and who stops other work",
)  # fmt: skip


def _on_call(schedule: str, expertise: str, *more: tuple[str, str]) -> TierData:
    return TierData(
        level=1, name="On call", targets=(("schedule", schedule), *more), seconds=(120, 180, 300, 600),
        criteria="Any alert that a machine could not settle", expertise=expertise,
        expected="Confirm the scope within 5 min, start the runbook",
    )  # fmt: skip


POLICIES = [
    PolicyData(
        slug="checkout", name="Checkout", team="checkout",
        description="Money is involved: short targets, and a second person from the start of tier 2.",
        tiers=(
            AUTOMATION,
            _on_call("checkout", "checkout"),
            TierData(
                level=2, name="Platform specialists",
                targets=(("schedule", "platform"), ("schedule", "checkout-secondary")), seconds=(180, 240, 600, 1200),
                criteria="Not contained by tier 1, or the cause lies below checkout", expertise="platform",
                expected="Decide between traffic shift and full rollback within 10 min",
            ),
            LEADS,
        ),
    ),
    PolicyData(
        slug="platform", name="Platform", team="platform",
        description="Edge, configuration and search.",
        tiers=(
            AUTOMATION,
            _on_call("platform", "platform"),
            TierData(
                level=2, name="Network and owners",
                targets=(("schedule", "network"), ("service_secondary", "")), seconds=(180, 240, 600, 1200),
                criteria="Packet loss, DNS, or more than one zone", expertise="network",
                expected="Say within 10 min whether the path or the service is at fault",
            ),
            LEADS,
        ),
    ),
    PolicyData(
        slug="data-platform", name="Data platform", team="data",
        description="Databases and streams. Nobody fails over a primary alone.",
        tiers=(
            AUTOMATION,
            _on_call("data-platform", "database"),
            TierData(
                level=2, name="Storage and owners",
                targets=(("service_primary", ""), ("schedule", "storage")), seconds=(180, 300, 900, 1800),
                criteria="Lag or latency that comes from below the database", expertise="storage",
                expected="Rule the volumes out or move them",
            ),
            LEADS,
        ),
    ),
    PolicyData(
        slug="standard", name="Standard", team="platform",
        description="For every service without a policy of its own.",
        tiers=(
            AUTOMATION,
            TierData(
                level=1, name="Owner", targets=(("service_primary", ""),), seconds=(180, 300, 600, 1800),
                criteria="Any alert that a machine could not settle",
                expected="Confirm the scope within 5 min, start the runbook",
            ),
            TierData(
                level=2, name="Second owner and platform",
                targets=(("service_secondary", ""), ("schedule", "platform")), seconds=(240, 300, 900, 1800),
                criteria="The owner did not answer or needs another pair of hands", expertise="platform",
                expected="Take over what the owner hands you",
            ),
            LEADS,
        ),
        repeats=1,
    ),
]  # fmt: skip

# service, name, group: what outsiders know; nothing of it is said in public before somebody publishes
COMPONENTS = [
    ("checkout-api", "Checkout", "Shop"),
    ("cart-service", "Cart", "Shop"),
    ("search", "Search", "Shop"),
    ("payment-gateway", "Payments", "Shop"),
    ("identity", "Sign-in", "Accounts"),
    ("mailer", "E-mails", "Accounts"),
]

# kind, name, service: one integration of each kind
INTEGRATIONS = [
    ("pagerduty", "Checkout alerts", "checkout-api"),
    ("alertmanager", "Alertmanager", "edge-proxy"),
    ("grafana", "Grafana", "search"),
    ("opsgenie", "Data platform alerts", "order-events"),
    ("webhook", "Mail provider", "mailer"),
]
# What the history of the other services came from.
SENDERS = {"checkout": "Checkout alerts", "data": "Data platform alerts", "identity": "Mail provider"}
