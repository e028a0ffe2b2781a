"""Whatever a person types into a field of the room is shown as text, wherever it is shown."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from accounts.models import Membership, Team, User
from incidents import transitions
from incidents.channel import transitions as channel
from incidents.live import reads
from incidents.models import Incident, RoleOffer, StatusComponent
from incidents.travel.links import embed_path
from notifications.models import Notification
from runbooks.models import Runbook
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_schedule
from tests.factories.runbooks import make_runbook

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
BREAKOUT = "\"><img src=x onerror=alert(1)>'"

pytestmark = pytest.mark.django_db

FORMS = {
    "note": {"text": "{}"},
    "decide": {"reason": "{}"},
    "impact": {"impact": "{}"},
    "severity": {"severity": "1", "reason": "{}"},
    "page": {"user": "{ravi}", "reason": "{}"},
    "contain": {"note": "{}"},
    "resolve": {"note": "{}"},
    "update": {"impact": "{}", "action": "{}", "next_minutes": "30"},
    "handoff": {
        "role": "commander:",
        "user": "{ravi}",
        "known": "{}",
        "in_progress": "{}",
        "next_steps": "{}",
    },
    "task_new": {"title": "{}"},
    "amend": {"text": "{}"},
}


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name=f"Ines {SCRIPT}", role="manager")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon", expertise=["network"])


@pytest.fixture
def incident(ines: User, ravi: User) -> Incident:
    service = make_service("checkout-api", criticality=1)
    make_policy(tier(1, ines), tier(2, ravi), service=service, catch_all=ines, name="Checkout")
    incident = transitions.declare(service=service, title=f"5xx {BREAKOUT}", severity=2, by=ines, now=NOW)
    return transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)


def is_harmless(html: str) -> bool:
    return "<script>alert" not in html and "<img src=x" not in html


@pytest.mark.parametrize("evil", [SCRIPT, BREAKOUT])
@pytest.mark.parametrize("form", list(FORMS))
def test_every_field_keeps_script_as_text(incident, ines, ravi, form, evil):
    client = Client()
    client.force_login(ines)
    more = []
    if form == "amend":
        more = [channel.say(incident_id=incident.pk, text="first", by=ines, now=NOW).seq]
    data = {
        name: str(ravi.pk) if value == "{ravi}" else value.format(evil) for name, value in FORMS[form].items()
    }
    before = incident.timeline.count()
    answer = client.post(reverse(f"incidents:{form}", args=[incident.pk, *more]), data)
    assert answer.status_code == 302, answer.content.decode()[:2000]
    assert incident.timeline.count() > before
    seq = incident.timeline.order_by("-seq").first().seq
    pages = [client.get(answer.headers["Location"], follow=True).content.decode()]
    for name, args in (
        ("detail", []), ("news", []), ("earlier", []), ("entry", [seq]), ("strip", []), ("print", []), ("acts", []),
        ("my_pages", None), ("list", None), ("search", None),
    ):  # fmt: skip
        try:
            address = reverse(f"incidents:{name}", args=[] if args is None else [incident.pk, *args])
        except NoReverseMatch:
            continue
        pages.append(client.get(address, {"after": 0, "q": "alert"}).content.decode())
    pages.append(client.get(reverse("status:internal")).content.decode())
    pages += [sent.data.decode() for sent in reads.entries(incident.pk, 0, 100)]
    pages.append(reads.slots(incident.pk).decode())
    for page in pages:
        assert is_harmless(page)
    shown = "".join(pages)
    assert "&lt;script&gt;alert(1)" in shown
    assert "&lt;img src=x" in shown
    assert all("\n" not in title for title in Notification.objects.values_list("title", flat=True))


def test_each_field_of_each_form_and_api_is_found_as_text_on_a_page(incident, ines, ravi, settings):
    """Each field gets a mark of its own, so that one which is shown nowhere, or shown raw, has a name."""
    settings.MUSTER_PUBLIC_STATUS = True
    client, api, marks, now = Client(), Api(make_token(ines)), {}, timezone.now()
    client.force_login(ines)

    def evil(field: str) -> str:
        marks[field] = f"m{len(marks) + 100}"
        return f'"><script>{marks[field]}</script>'

    def form(name: str, *args: object, **given: object) -> None:
        answer = client.post(reverse(name, args=args), given)
        assert answer.status_code in {200, 302}, (name, answer.content.decode()[-3000:])

    def call(path: str, **given: object) -> dict:
        answer = api.post(f"incidents/{incident.ref}/{path}/", given)
        assert answer.status_code in {200, 201}, (path, answer.content)
        return answer.json()

    room, who = incident.pk, str(ravi.pk)
    first = channel.say(incident_id=room, text="first", by=ines, now=now).seq
    form("incidents:role", room, role="expert", user=who, how="assign", field=evil("role field"))
    User.objects.filter(pk=ravi.pk).update(expertise=["network", evil("expertise")])
    form("incidents:call_expert", room, field="network", reason=evil("expert reason"))
    form("incidents:handoff", room, role="commander:", user=who, known=evil("handoff known"),
         in_progress=evil("in progress"), next_steps=evil("next steps"))  # fmt: skip
    offer = RoleOffer.objects.get(role="commander", status="open")
    pages = [client.get(reverse("incidents:offer_accept", args=[room, offer.pk])).content.decode()]
    pages.append(client.get(reverse("incidents:offer_withdraw", args=[room, offer.pk])).content.decode())
    asked = Client()
    asked.force_login(ravi)
    asked.post(reverse("incidents:offer_decline", args=[room, offer.pk]), {"why": evil("decline why")})
    form("incidents:task_new", room, title=evil("task title"), user=str(ines.pk), due="10")
    form("incidents:phases", room, phase="triage", was=incident.phase, reason=evil("phases reason"))
    form("incidents:note", room, text=evil("note"), reply_to=first, key="k" * 16)
    form("incidents:amend", room, first, text=evil("amended"))
    form("incidents:mark", room, first, mark="pin", on="1")
    form("incidents:decide", room, reason=evil("decision"))
    form("status:components", service=incident.service_id, **{
        f"s{incident.service_id}-name": evil("component name"), f"s{incident.service_id}-group": evil("component group"),
        f"s{incident.service_id}-position": "1", f"s{incident.service_id}-is_public": "on",
    })  # fmt: skip
    form("incidents:publish", room, title=evil("post title"), text=evil("post text"), state="investigating",
         level="major", components=[StatusComponent.objects.get().pk])  # fmt: skip
    create = reverse("integrations:bridge_create")
    hook = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    pages.append(
        client.post(
            create, {"name": evil("bridge name"), "address": hook, "min_severity": "4"}
        ).content.decode()
    )
    schedule = make_schedule("Net", people=[ravi])
    form("incidents:rotations", role="expert", field=evil("rotation field"), schedule=schedule.pk, accept_minutes="5",
         max_severity="2")  # fmt: skip
    form(
        "incidents:declare",
        service=incident.service_id,
        title=evil("title"),
        severity="1",
        impact=evil("impact"),
    )
    call("messages", text=evil("api message"))
    seq = call("decisions", text="x")["seq"]
    call(f"entries/{seq}/amend", text=evil("api amend"))
    call("tasks", title=evil("api task"))
    call("offers", role="scribe", user="ravi", known=evil("api known"), in_progress=evil("api progress"),
         next_steps=evil("api next"))  # fmt: skip
    call("updates", impact=evil("api update impact"), action=evil("api update action"))
    call("phases", phase="detection", at="2026-11-24T02:00:00Z", reason=evil("api phases reason"))
    call("severity", severity="SEV1", reason=evil("api severity reason"))
    call("call", user="ravi", reason=evil("api call reason"))

    seqs = incident.timeline.values_list("seq", flat=True)
    addresses = [
        reverse(f"incidents:{name}", args=[room])
        for name in ("detail", "news", "acts", "strip", "print", "role")
    ]
    addresses += [reverse("incidents:entry", args=[room, seq]) for seq in seqs]
    addresses += [reverse("incidents:task", args=[room, task.number]) for task in incident.tasks.all()]
    addresses += [reverse(name) for name in (
        "home", "incidents:list", "incidents:rotations", "status:internal", "status:public", "status:components",
    )]  # fmt: skip
    addresses += [f"{reverse('incidents:search')}?q=script", embed_path(room)]
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, address
        pages.append(answer.content.decode())
    pages += [asked.get(reverse(name)).content.decode() for name in ("home", "incidents:my_pages")]
    pages += [sent.data.decode() for sent in reads.entries(room, 0, 200)] + [reads.slots(room).decode()]
    shown = "".join(pages)
    raw = [field for field, mark in marks.items() if f"<script>{mark}" in shown]
    absent = [field for field, mark in marks.items() if f"&lt;script&gt;{mark}&lt;" not in shown]
    assert (raw, absent) == ([], [])


def test_each_field_of_people_teams_services_and_runbooks_is_found_as_text_on_a_page(incident, ravi):
    """Beside the room: what stands in forms of its own, and is shown in the room and on many pages."""
    boss = make_user("boss", full_name="Mia Boss", role="admin")
    client, marks, service = Client(), {}, incident.service
    client.force_login(boss)
    book = make_runbook("Shift traffic", author=boss, publisher=boss, now=NOW, services=(service,))

    def evil(field: str) -> str:
        marks[field] = f"m{len(marks) + 100}"
        return f'"><script>{marks[field]}</script>'

    def form(name: str, /, *args: object, **given: object) -> str:
        answer = client.post(reverse(name, args=args), given)
        assert answer.status_code in {200, 302}, (name, answer.content.decode()[-3000:])
        return answer.content.decode()

    form("accounts:profile", full_name=evil("own name"), time_zone="UTC")
    pages = [form("accounts:token_create", name=evil("token name"), scope="read", lifetime="30")]
    form(
        "accounts:person_add",
        full_name=evil("person name"),
        email="new@example.org",
        username="new",
        role="viewer",
    )
    team = Team.objects.create(name=evil("team name"), slug="evil")
    Membership.objects.create(team=team, user=boss)
    counts = {f"{prefix}-{name}": number for prefix in ("link", "slo") for name, number in (
        ("TOTAL_FORMS", 1), ("INITIAL_FORMS", 0),
    )}  # fmt: skip
    form("catalog:service_edit", service.slug, **counts, **{
        "name": evil("service name"), "description": evil("description"), "criticality": "1", "team": team.slug,
        "tags": evil("service tag"), "grouping_minutes": 5, "acknowledge_timeout_minutes": 5,
        "link-0-text": evil("link"), "link-0-href": "https://example.org/", "slo-0-name": evil("promise"),
        "slo-0-target_percent": "99.9", "slo-0-window_days": "30", "slo-0-indicator": evil("indicator"),
    })  # fmt: skip
    needed = make_service("needed")
    form("catalog:dependency_add", service.slug, service=needed.slug, note=evil("note of a need"))
    head = {"outage_class": "other", "team": team.slug, "services": service.slug}
    parts = [evil(name) for name in ("intro", "section", "body", "step", "words")]
    form(
        "runbooks:edit", book.slug, **head, title=evil("runbook title"), summary=evil("summary"),
        tags=evil("runbook tag"), why=evil("why"), read_at=Runbook.objects.get().saved_at.isoformat(),
        text="{}\n\n## {}\n\n{}\n\n## Steps\n\n### {}\n\n{}\n".format(*parts),
    )  # fmt: skip
    form("runbooks:publish", book.slug, 2)
    form("runbooks:attach", incident.pk, runbook=book.slug)

    people = [reverse(f"accounts:{name}") for name in ("profile", "people", "teams")]
    of_service = [reverse(f"{name}", args=[service.slug]) for name in (
        "catalog:service_detail", "catalog:service_edit", "runbooks:of_service", "incidents:of_service",
    )]  # fmt: skip
    of_book = [
        reverse(f"runbooks:{name}", args=[book.slug]) for name in ("detail", "edit", "burning", "archive")
    ]
    rooms = [reverse(name, args=[incident.pk]) for name in (
        "incidents:detail", "incidents:print", "runbooks:panel", "runbooks:attach",
    )]  # fmt: skip
    lists = [
        reverse(name)
        for name in ("home", "catalog:service_list", "runbooks:list", "incidents:list", "status:internal")
    ]
    for address in [
        *people, reverse("accounts:team", args=[team.slug]), *of_service, *of_book, *rooms, *lists,
        f"{reverse('runbooks:detail', args=[book.slug])}?version=2",
    ]:  # fmt: skip
        answer = client.get(address)
        assert answer.status_code == 200, address
        pages.append(answer.content.decode())
    pages += [sent.data.decode() for sent in reads.entries(incident.pk, 0, 200)] + [
        reads.slots(incident.pk).decode()
    ]
    shown = "".join(pages)
    raw = [field for field, mark in marks.items() if f"<script>{mark}" in shown]
    absent = [field for field, mark in marks.items() if f"&lt;script&gt;{mark}&lt;" not in shown]
    assert (raw, absent) == ([], [])


def test_the_name_of_a_file_stays_text(incident, ines):
    files = [channel.Upload(f"{SCRIPT.replace('/', '')}.log", b"x"), channel.Upload(f"{BREAKOUT}.txt", b"y")]
    channel.say(incident_id=incident.pk, text="", by=ines, now=NOW, files=files)
    client = Client()
    client.force_login(ines)
    page = client.get(reverse("incidents:detail", args=[incident.pk])).content.decode()
    assert is_harmless(page)
    assert "&lt;script&gt;alert(1)&lt;script&gt;.log" in page
