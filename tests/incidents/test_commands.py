"""Commands: each does what its button does, and a slip does not go out as a message."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from core.errors import Invalid, Refused
from incidents import transitions
from incidents.channel import commands, rules
from incidents.models import Incident, Kind, Status
from tests.factories.accounts import make_team, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
HTMX = {"HTTP_HX_REQUEST": "true"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon", expertise=["network"])


@pytest.fixture
def incident(ines: User, ravi: User) -> Incident:
    service = make_service("checkout-api", criticality=1)
    make_team("Network", members=[ravi])
    make_policy(tier(1, ines), tier(2, ravi), service=service, catch_all=ines, name="Checkout")
    return transitions.trigger(
        service=service, title="5xx", severity=2, urgency="high", now=NOW, impact="38% fail"
    )


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def note_of(incident: Incident) -> str:
    return reverse("incidents:note", args=[incident.pk])


def last(incident: Incident, *, kinds: tuple[str, ...] = ()) -> tuple[str, str]:
    entries = incident.timeline.order_by("-seq")
    entry = (entries.filter(kind__in=kinds) if kinds else entries).first()
    return entry.kind, entry.text


# --- what is a command ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["/page @i\x00nes now", "/role scribe i\x00", "/runbook a\x00b", "/task x @\x00"]
)
def test_what_the_database_cannot_store_is_a_slip_and_no_fault(incident, ines, text):
    before = incident.timeline.count()
    answer = signed_in(ines).post(note_of(incident), {"text": text}, **HTMX)
    assert (answer.status_code, answer.headers["X-Muster-Sentence"]) == (400, "1")
    assert incident.timeline.count() == before


KNOWN = ["sev", "page", "pin", "contain", "role"]


@pytest.mark.parametrize(
    "text",
    [
        "/var/log/messages is full",
        "/",
        "//",
        " /sev 1",
        "1 /sev",
        "/ sev",
        "/1",
        "/sev/1",
        "text",
        "",
        "\n/sev 1",
    ],
)
def test_a_path_and_a_blank_before_it_are_no_command(text):
    assert rules.parse_command(text, known=KNOWN) is None


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        ("/sev 1 it spreads", "sev", "1 it spreads"),
        ("/SEV", "sev", ""),
        ("/pin  two\nlines ", "pin", "two\nlines"),
        ("/page\t@ines", "page", "@ines"),
        ("/contain\nrolled back", "contain", "rolled back"),
    ],
)
def test_a_command_is_its_first_word(text, name, rest):
    assert rules.parse_command(text, known=KNOWN) == rules.Typed(name, rest)


def test_an_unknown_command_names_what_is_near():
    with pytest.raises(Invalid) as refused:
        rules.parse_command("/contian now", known=KNOWN)
    assert refused.value.message == (
        "/contian is not a command. Did you mean /contain? To send it as text, put a blank before it."
    )
    with pytest.raises(Invalid, match=r"^/xyzzy is not a command\. To send"):
        rules.parse_command("/xyzzy", known=KNOWN)


# --- each does what its button does ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("/ack", Kind.ACKNOWLEDGED, "acknowledged after "),
        ("/acknowledge", Kind.ACKNOWLEDGED, "acknowledged after "),
        ("/sev 1 it spreads", Kind.SEVERITY_CHANGED, "changed severity from SEV2 to SEV1: it spreads"),
        ("/severity sev3", Kind.SEVERITY_CHANGED, "changed severity from SEV2 to SEV3"),
        ("/page @ravi the network", Kind.PAGED, "called in Ravi Menon: the network"),
        ("/page Ravi Menon the network", Kind.PAGED, "called in Ravi Menon: the network"),
        ("/impact nobody can pay", Kind.IMPACT_CHANGED, "described the impact: nobody can pay"),
        ("/contain rolled back", Kind.CONTAINED, "marked contained"),
        ("/resolve it was the pool", Kind.RESOLVED, "resolved"),
        ("/command", Kind.ROLE_ASSIGNED, "took command"),
        ("/role commander @ines", Kind.ROLE_ASSIGNED, "took command"),
        ("/role scribe @ravi", Kind.ROLE_OFFERED, "asked Ravi Menon"),
        ("/assign comms @ravi", Kind.ROLE_OFFERED, "asked Ravi Menon"),
        ("/expert network packets are lost", Kind.ROLE_OFFERED, "asked Ravi Menon"),
        ("/task drain node 7 @ravi", Kind.TASK, ""),
        ("/update we roll back", Kind.UPDATE_POSTED, "sent update 1: 38% fail\nwe roll back"),
        ("/decide roll back", Kind.DECISION, "roll back"),
        ("/escalate it spreads", Kind.ESCALATED, "escalated to the next tier"),
        ("/escalate 2 it spreads", Kind.ESCALATED, "escalated to tier 2: it spreads"),
        ("/escalate team network it spreads", Kind.ESCALATED, "escalated to the team Network: it spreads"),
    ],
)
def test_a_command_does_what_its_button_does(incident, ines, text, kind, words):
    answer = signed_in(ines).post(note_of(incident), {"text": text, "after": incident.last_seq}, **HTMX)
    assert answer.status_code == 200, answer.content
    assert answer.headers["HX-Trigger"] == "incident:changed"
    found = last(incident, kinds=(kind,))
    assert found[1].startswith(words)
    entry = incident.timeline.filter(kind=kind).order_by("-seq").first()
    assert entry.actor == ines
    assert not incident.timeline.filter(kind=Kind.NOTE).exists()
    assert f'id="e-{entry.seq}"' in answer.content.decode()


def test_handing_a_role_on_says_what_is_known(incident, ines, ravi):
    transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)
    commands.run(incident=incident, text="/handoff commander @ravi pool is full", by=ines, now=NOW)
    kind, text = last(incident, kinds=(Kind.ROLE_OFFERED,))
    assert kind == Kind.ROLE_OFFERED and "pool is full" in text
    incident.refresh_from_db()
    assert incident.commander == ines


def test_a_task_is_given_and_claimed(incident, ines, ravi):
    commands.run(incident=incident, text="/task drain node 7 @ravi", by=ines, now=NOW)
    commands.run(incident=incident, text="/task call the bank", by=ines, now=NOW)
    assert list(incident.tasks.values_list("number", "title", "assignee__username")) == [
        (1, "drain node 7", "ravi"),
        (2, "call the bank", None),
    ]
    commands.run(incident=incident, text="/claim 2", by=ines, now=NOW)
    assert incident.tasks.get(number=2).assignee == ines
    with pytest.raises(Refused):
        commands.run(incident=incident, text="/claim 1", by=ines, now=NOW)


def test_pin_says_and_pins_or_pins_what_is_there(incident, ines):
    commands.run(incident=incident, text="/pin the pool is full", by=ines, now=NOW)
    note = incident.timeline.get(kind=Kind.NOTE)
    assert note.text == "the pool is full" and note.overlay.pinned_at == NOW
    commands.run(incident=incident, text="/pin 1", by=ines, now=NOW)
    assert incident.timeline.get(seq=1).overlay.pinned_by == ines


def test_reopen_wants_a_reason(incident, ines):
    transitions.resolve(incident_id=incident.pk, by=ines, now=NOW)
    with pytest.raises(Invalid):
        commands.run(incident=incident, text="/reopen", by=ines, now=NOW)
    commands.run(incident=incident, text="/reopen it is back", by=ines, now=NOW)
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/sev", "Say which severity, 1 to 4. Type /sev 1 why"),
        ("/sev 5", "Say which severity, 1 to 4."),
        ("/page", "Say whom."),
        ("/page @nobody x", "Nobody has the user name nobody."),
        ("/page", "Say whom."),
        ("/impact", "Say who is hurt and how much."),
        ("/role", "Say which role"),
        ("/role king @ines", "Say which role"),
        ("/claim", "Say which task"),
        ("/claim x", "Say which task"),
        ("/claim ٣", "Say which task"),
        ("/update", "Say what is done."),
        ("/pin", "Say what is known."),
        ("/decide", "Write something first."),
        ("/wrod", "/wrod is not a command."),
        ("/expert", "Say which field."),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_changes(incident, ines, text, says):
    before = incident.timeline.count()
    answer = signed_in(ines).post(note_of(incident), {"text": text}, **HTMX)
    assert answer.status_code == 400
    assert answer.headers["X-Muster-Sentence"] == "1"
    assert answer.content.decode().startswith(says)
    assert incident.timeline.count() == before


def test_an_ambiguous_name_lists_who_is_meant(incident, ines):
    make_user("ravi2", full_name="Ravi Patel")
    User.objects.filter(username="ravi").update(username="rm")
    with pytest.raises(Invalid, match="Several are: @rm, @ravi2"):
        commands.run(incident=incident, text="/page Ravi x", by=ines, now=NOW)


def test_a_command_that_comes_too_late_says_who_was_first(incident, ines, ravi):
    transitions.resolve(incident_id=incident.pk, by=ravi, now=NOW)
    answer = signed_in(ines).post(note_of(incident), {"text": "/contain"}, **HTMX)
    assert answer.status_code == 409
    assert answer.content.decode().startswith("Not done. Ravi Menon resolved")


def test_a_viewers_command_is_refused(incident):
    viola = make_user("viola", role="viewer")
    for name in ("commands", "mention"):
        assert signed_in(viola).get(reverse(f"incidents:{name}", args=[incident.pk])).status_code == 403
    assert signed_in(viola).post(note_of(incident), {"text": "/ack"}).status_code == 403
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


def test_without_script_a_bare_command_leads_to_its_question_and_a_wrong_one_is_kept(incident, ines):
    client = signed_in(ines)
    answer = client.post(note_of(incident), {"text": "/page"})
    assert answer.headers["Location"] == f"/incidents/{incident.ref}/page/"
    answer = client.post(note_of(incident), {"text": "/wrod <up>"}, follow=True)
    page = answer.content.decode()
    assert "/wrod is not a command." in page
    assert "/wrod &lt;up&gt;</textarea>" in page


# --- help -----------------------------------------------------------------------------------------------------------


def test_the_list_offers_what_makes_sense_now(incident, ines):
    names = [command.name for command in commands.offered(incident)]
    assert {"ack", "page", "escalate", "decide", "update", "task"} <= set(names) and "reopen" not in names
    transitions.resolve(incident_id=incident.pk, by=ines, now=NOW)
    incident.refresh_from_db()
    names = [command.name for command in commands.offered(incident)]
    assert "reopen" in names and not {"ack", "page", "contain", "escalate"} & set(names)


def test_every_command_has_a_line_of_help_and_those_that_ask_lead_to_a_page(incident, ines):
    client = signed_in(ines)
    html = client.get(reverse("incidents:commands", args=[incident.pk])).content.decode()
    for command in commands.offered(incident):
        assert command.usage.startswith(f"/{command.name}") and len(command.help) < 40
        assert f'data-command="/{command.name}"' in html
        if command.opens:
            assert client.get(command.question(incident)).status_code == 200


def test_the_room_has_the_list_from_the_start(incident, ines):
    page = signed_in(ines).get(reverse("incidents:detail", args=[incident.pk])).content.decode()
    assert 'id="c-page"' in page and 'data-names="/sev /severity "' in page
