"""Writes to the service catalogue. Views and the API call these and nothing else writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import urlsplit

from django.db import IntegrityError, connection, transaction

from accounts.models import Role, Team, User
from accounts.permissions import at_least, who_may
from catalog import queries, rules
from catalog.models import Criticality, Dependency, Service, Slo
from core.errors import Invalid, Missing, NotAllowed
from core.slugs import free_slug
from core.words import clean_tags

RESERVED = {"new"}  # addresses that are pages
MOST_LINKS = 20
MOST_TAGS = 20
MOST_NEEDS = 200
MOST_SLOS = 20
LONGEST_GROUPING = 7 * 24 * 60
LONGEST_TIMEOUT = 7 * 24 * 60
# One lock for the whole graph: two edges that are fine one by one can close a cycle together.
_GRAPH_LOCK = 0x4D75_7374  # "Must"

Fields = dict[str, list[str]]


@dataclass(frozen=True)
class SloData:
    name: str
    target_percent: Decimal
    window_days: int = 30
    indicator: str = ""


@dataclass(frozen=True)
class ServiceData:
    """A service as somebody wants it. `needs` and `slos` None: those that it has stay."""

    name: str
    description: str = ""
    criticality: int = Criticality.MEDIUM
    team: Team | None = None
    primary_responder: User | None = None
    secondary_responder: User | None = None
    tags: Sequence[str] = ()
    links: Sequence[dict[str, str]] = ()
    grouping_minutes: int = 0
    acknowledge_timeout_minutes: int = 0
    needs: Sequence[Service] | None = None
    slos: Sequence[SloData] | None = field(default=None)


@transaction.atomic
def create_service(*, data: ServiceData, by: User) -> Service:
    _check_manager(by)
    _check(data, besides=None)
    service = Service(slug=free_slug(Service, data.name, kind="service", reserved=RESERVED))
    _write(service, data)
    return service


@transaction.atomic
def update_service(*, service_id: int, data: ServiceData, by: User) -> Service:
    """Its address stays when its name changes."""
    _check_manager(by)
    service = _lock(service_id)
    _check(data, besides=service)
    _write(service, data)
    return service


@transaction.atomic
def add_dependency(*, service_id: int, needs_id: int, by: User, note: str = "") -> Dependency:
    """Refused when it would close a cycle. Adding what is there changes the note."""
    _check_manager(by)
    service = _lock(service_id)
    needs = Service.objects.filter(pk=needs_id).first()
    if needs is None:
        raise Missing("There is no such service.")
    _lock_graph()
    _check_no_cycle(service, [needs], queries.graph())
    dependency, _ = Dependency.objects.update_or_create(
        service=service, depends_on=needs, defaults={"note": note.strip()[:200]}
    )
    return dependency


@transaction.atomic
def remove_dependency(*, service_id: int, needs_id: int, by: User) -> None:
    """Removing what is not there changes nothing."""
    _check_manager(by)
    service = _lock(service_id)
    Dependency.objects.filter(service=service, depends_on_id=needs_id).delete()


def _lock(service_id: int) -> Service:
    found = Service.objects.select_for_update(of=("self",), no_key=True).filter(pk=service_id).first()
    if found is None:
        raise Missing("There is no such service.")
    return found


def _lock_graph() -> None:
    """Until the end of the transaction nobody else adds a dependency."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_GRAPH_LOCK])


def _write(service: Service, data: ServiceData) -> None:
    service.name = data.name.strip()
    service.description = data.description.strip()
    service.criticality = data.criticality
    service.team = data.team
    service.primary_responder = data.primary_responder
    service.secondary_responder = data.secondary_responder
    service.tags = clean_tags(data.tags)
    service.links = [{"text": link["text"].strip(), "href": link["href"].strip()} for link in data.links]
    service.grouping_minutes = data.grouping_minutes
    service.acknowledge_timeout_minutes = data.acknowledge_timeout_minutes
    try:
        with transaction.atomic():
            service.save()
    except IntegrityError:
        # Somebody took the name between the look and the write.
        raise _name_taken(service.name) from None
    if data.needs is not None:
        _write_needs(service, data.needs)
    if data.slos is not None:
        _write_slos(service, data.slos)


def _write_needs(service: Service, needs: Sequence[Service]) -> None:
    wanted = {other.pk: other for other in needs}
    present = set(Dependency.objects.filter(service=service).values_list("depends_on_id", flat=True))
    Dependency.objects.filter(service=service, depends_on_id__in=present - set(wanted)).delete()
    new = [other for pk, other in wanted.items() if pk not in present]
    if new:
        _lock_graph()
        _check_no_cycle(service, new, queries.graph())
        Dependency.objects.bulk_create(Dependency(service=service, depends_on=other) for other in new)


def _write_slos(service: Service, slos: Sequence[SloData]) -> None:
    service.slos.exclude(name__in=[slo.name.strip() for slo in slos]).delete()
    for slo in slos:
        Slo.objects.update_or_create(
            service=service,
            name=slo.name.strip(),
            defaults={
                "target_percent": slo.target_percent,
                "window_days": slo.window_days,
                "indicator": slo.indicator.strip(),
            },
        )


# --- checks -----------------------------------------------------------------------------------------


def _check_manager(by: User) -> None:
    if not at_least(by, Role.MANAGER):
        raise NotAllowed(who_may(Role.MANAGER))


def _name_taken(name: str) -> Invalid:
    message = f"There is already a service called {name}."
    return Invalid(message, fields={"name": [message]})


def _check(data: ServiceData, *, besides: Service | None) -> None:
    """Raises one refusal that holds everything that is wrong, each under its field."""
    fields: Fields = {}
    name = data.name.strip()
    others = Service.objects.filter(name__iexact=name)
    if besides is not None:
        others = others.exclude(pk=besides.pk)
    if not name:
        fields["name"] = ["A service needs a name. Example: checkout-api"]
    elif others.exists():
        raise _name_taken(name)
    if data.criticality not in Criticality.values:
        fields["criticality"] = ["From 1 for critical to 4 for low."]
    for key in ("primary_responder", "secondary_responder"):
        person = getattr(data, key)
        if person is not None and not person.is_active:
            fields[key] = [f"{person} cannot be paged: the account is switched off."]
    if (
        "primary_responder" not in fields
        and data.primary_responder is not None
        and data.primary_responder == data.secondary_responder
    ):
        fields["secondary_responder"] = [
            f"{data.primary_responder} is the primary already. Name somebody who stands in."
        ]
    if not 0 <= data.grouping_minutes <= LONGEST_GROUPING:
        fields["grouping_minutes"] = [f"From 0 to {LONGEST_GROUPING} minutes, which is a week."]
    if not 0 <= data.acknowledge_timeout_minutes <= LONGEST_TIMEOUT:
        fields["acknowledge_timeout_minutes"] = [f"From 0 to {LONGEST_TIMEOUT} minutes, which is a week."]
    _check_tags(data.tags, fields)
    _check_links(data.links, fields)
    if data.needs is not None:
        if len(data.needs) > MOST_NEEDS:
            fields["depends_on"] = [f"A service names at most {MOST_NEEDS} others."]
        elif besides is not None and besides.pk in {other.pk for other in data.needs}:
            fields["depends_on"] = [f"{besides} cannot depend on itself."]
    if data.slos is not None:
        _check_slos(data.slos, fields)
    if fields:
        raise Invalid(next(iter(fields.values()))[0], fields=fields)


def _check_tags(tags: Sequence[str], fields: Fields) -> None:
    cleaned = clean_tags(tags)
    if len(cleaned) > MOST_TAGS:
        fields["tags"] = [f"At most {MOST_TAGS} tags."]
    elif any(len(tag) > 40 for tag in cleaned):
        fields["tags"] = ["A tag has at most 40 characters."]


def _check_links(links: Sequence[dict[str, str]], fields: Fields) -> None:
    if len(links) > MOST_LINKS:
        fields["links"] = [f"At most {MOST_LINKS} links."]
    for number, link in enumerate(links):
        text, href = link.get("text", "").strip(), link.get("href", "").strip()
        if not text or len(text) > 80:
            fields.setdefault(f"links.{number}.text", []).append("Say what it is. Example: Dashboard")
        if not _is_web_address(href):
            fields.setdefault(f"links.{number}.href", []).append(
                "An address that begins with https:// or http://, of at most 500 characters."
            )


def _is_web_address(href: str) -> bool:
    """Anything else, such as javascript:, would run in the page of whoever clicks it."""
    if len(href) > 500 or any(char.isspace() for char in href):
        return False
    try:
        parts = urlsplit(href)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _check_slos(slos: Sequence[SloData], fields: Fields) -> None:
    if len(slos) > MOST_SLOS:
        fields["slos"] = [f"At most {MOST_SLOS} objectives."]
    seen: set[str] = set()
    for number, slo in enumerate(slos):
        name = slo.name.strip()
        if not name:
            fields.setdefault(f"slos.{number}.name", []).append("Say what is promised. Example: Availability")
        elif name in seen:
            fields.setdefault(f"slos.{number}.name", []).append(f"{name} is there twice.")
        seen.add(name)
        if not slo.target_percent.is_finite() or not 0 < slo.target_percent <= 100:
            fields.setdefault(f"slos.{number}.target_percent", []).append(
                "Above 0 and at most 100. Example: 99.9"
            )
        if not 1 <= slo.window_days <= 366:
            fields.setdefault(f"slos.{number}.window_days", []).append("From 1 to 366 days.")


def _check_no_cycle(service: Service, needs: Sequence[Service], graph: rules.Graph) -> None:
    """The graph must be locked, so that what is looked at is still true when it is written."""
    for other in needs:
        if other.pk == service.pk:
            message = f"{service} cannot depend on itself."
        else:
            cycle = rules.cycle_by(graph, service.pk, other.pk)
            if not cycle:
                continue
            names = dict(Service.objects.filter(pk__in=cycle).values_list("pk", "name"))
            chain = " needs ".join(names[pk] for pk in cycle[1:])
            message = f"{service} cannot depend on {other}: {chain}. Break that chain first."
        raise Invalid(message, code="cycle", fields={"depends_on": [message]})
