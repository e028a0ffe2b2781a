"""Correcting the course of an incident: when phases began, and that it stands in an earlier one."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from core.errors import Invalid, Refused
from incidents import timeline, transitions
from incidents.models import Incident, Kind
from incidents.queries import phase_stamps
from incidents.reading import rules
from incidents.reading.phases import correct_phase, correct_phases, set_back
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name="Ines Okafor", time_zone="Europe/Berlin")


@pytest.fixture
def incident(ines: User) -> Incident:
    """Opened at 3:00, triage at 3:02, contained at 3:20 by way of triage; root cause since then."""
    opened = transitions.trigger(
        service=make_service("checkout-api"), title="5xx", severity=2, urgency="high", now=NOW
    )
    transitions.acknowledge(incident_id=opened.pk, by=ines, now=NOW + 2 * MINUTE)
    transitions.contain(incident_id=opened.pk, by=ines, now=NOW + 20 * MINUTE)
    opened.refresh_from_db()
    return opened


def at(incident: Incident) -> str:
    return reverse("incidents:phases", args=[incident.pk])


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def corrections(incident: Incident) -> list[dict]:
    return list(incident.timeline.filter(kind=Kind.PHASE_CORRECTED).values_list("data", flat=True))


def test_a_corrected_phase_says_what_stood_there_who_and_why(incident, ines):
    correct_phase(
        incident_id=incident.pk, phase="triage", at=NOW + MINUTE, reason="Ravi looked at once",
        by=ines, now=NOW + 30 * MINUTE,
    )  # fmt: skip

    assert phase_stamps(incident.pk)["triage"] == NOW + MINUTE
    entry = incident.timeline.get(kind=Kind.PHASE_CORRECTED)
    assert entry.actor == ines
    assert entry.text == (
        "corrected the start of Triage to 2026-11-24 03:01:00 UTC (was 2026-11-24 03:02:00 UTC): Ravi looked at once"
    )
    assert entry.data == {
        "phase": "triage",
        "from": "2026-11-24T03:02:00+00:00",
        "to": "2026-11-24T03:01:00+00:00",
        "reason": "Ravi looked at once",
    }
    incident.refresh_from_db()
    assert list(timeline.verify(incident)) == []


def test_a_correction_does_not_move_the_measured_times(incident, ines):
    before = {name: getattr(incident, name) for name in ("triggered_at", "acknowledged_at", "contained_at")}
    correct_phases(
        incident_id=incident.pk,
        stamps={"detection": NOW - MINUTE, "containment": NOW + 19 * MINUTE},
        reason="by the graphs",
        by=ines,
        now=NOW + 30 * MINUTE,
    )
    incident.refresh_from_db()
    assert {name: getattr(incident, name) for name in before} == before


def test_a_phase_that_was_passed_over_gets_a_time(incident, ines):
    assert "escalation" not in phase_stamps(incident.pk)
    correct_phase(
        incident_id=incident.pk, phase="escalation", at=NOW + 5 * MINUTE, reason="we called the vendor",
        by=ines, now=NOW + 30 * MINUTE,
    )  # fmt: skip
    assert phase_stamps(incident.pk)["escalation"] == NOW + 5 * MINUTE
    assert corrections(incident)[0]["from"] is None


@pytest.mark.parametrize(
    ("phase", "minutes", "reason", "says"),
    [
        ("triage", 1, "  ", "Say why it is corrected."),
        ("triage", 1, "x" * 301, "The reason is too long."),
        ("triage", -1, "x", "Triage cannot begin before Detection."),
        ("triage", 21, "x", "Triage cannot begin after Containment."),
        ("root_cause", 31, "x", "Root cause cannot begin in the future."),
        ("detection", -24 * 60 - 1, "x", "Detection cannot begin more than a day before the incident was opened."),
        ("lunch", 1, "x", "No such phase."),
    ],
)  # fmt: skip
def test_a_time_out_of_order_is_refused_and_nothing_changes(incident, ines, phase, minutes, reason, says):
    before = phase_stamps(incident.pk)
    with pytest.raises(Invalid) as refused:
        correct_phase(
            incident_id=incident.pk, phase=phase, at=NOW + minutes * MINUTE, reason=reason,
            by=ines, now=NOW + 30 * MINUTE,
        )  # fmt: skip
    assert refused.value.message == says
    assert (phase_stamps(incident.pk), corrections(incident)) == (before, [])


def test_a_phase_that_has_not_begun_has_no_time_to_correct(incident, ines):
    with pytest.raises(Refused, match="Review has not begun yet"):
        correct_phase(
            incident_id=incident.pk, phase="review", at=NOW, reason="x", by=ines, now=NOW + 30 * MINUTE
        )


def test_two_who_correct_the_same_both_see_what_happened(incident, ines):
    seen = {"triage": phase_stamps(incident.pk)["triage"]}
    first = {"triage": NOW + MINUTE}
    correct_phases(
        incident_id=incident.pk, stamps=first, reason="a", by=ines, now=NOW + 30 * MINUTE, seen=seen
    )
    with pytest.raises(Refused, match="Triage was corrected meanwhile"):
        correct_phases(
            incident_id=incident.pk,
            stamps={"triage": NOW},
            reason="b",
            by=ines,
            now=NOW + 31 * MINUTE,
            seen=seen,
        )
    assert phase_stamps(incident.pk)["triage"] == NOW + MINUTE
    assert len(corrections(incident)) == 1


def test_set_back_takes_the_later_stamps_away_and_keeps_them_in_the_timeline(incident, ines):
    set_back(
        incident_id=incident.pk, phase="containment", reason="it grew again", by=ines, now=NOW + 30 * MINUTE
    )
    incident.refresh_from_db()
    assert incident.phase == "containment"
    assert list(phase_stamps(incident.pk)) and "root_cause" not in phase_stamps(incident.pk)
    assert corrections(incident) == [
        {
            "phase": "containment",
            "from_phase": "root_cause",
            "gone": {"root_cause": "2026-11-24T03:20:00+00:00"},
            "reason": "it grew again",
        }
    ]
    transitions.move_phase(incident_id=incident.pk, phase="root_cause", by=ines, now=NOW + 40 * MINUTE)
    assert phase_stamps(incident.pk)["root_cause"] == NOW + 40 * MINUTE


@pytest.mark.parametrize(
    ("phase", "says"),
    [("triage", "It is contained: it stands in Containment at least."), ("review", "Review is not before")],
)
def test_set_back_keeps_what_the_status_says(incident, ines, phase, says):
    with pytest.raises(Refused, match=says):
        set_back(incident_id=incident.pk, phase=phase, reason="x", by=ines, now=NOW + 30 * MINUTE)
    incident.refresh_from_db()
    assert (incident.phase, corrections(incident)) == ("root_cause", [])


def test_stamps_are_compared_with_each_other_as_they_are_afterwards():
    stamps = {"detection": NOW + 5 * MINUTE, "triage": NOW + 6 * MINUTE}
    rules.check_stamps(stamps, changed=["detection", "triage"], triggered_at=NOW, now=NOW + 10 * MINUTE)


# --- the dialog -----------------------------------------------------------------------------------------------------


def form_of(page: str) -> dict[str, str]:
    """What a browser would send of the page untouched."""
    given: dict[str, str] = {"phase": page.split(" selected>")[0].rpartition('value="')[2].rstrip('"')}
    for part in page.split("<input")[1:]:
        tag = part.partition(">")[0]
        if 'name="' in tag and "csrf" not in tag:
            name = tag.partition('name="')[2].partition('"')[0]
            given[name] = tag.partition('value="')[2].partition('"')[0]
    return given


def test_the_form_shows_the_stamps_in_the_persons_zone_and_saves_what_was_changed(incident, ines):
    client = signed_in(ines)
    page = client.get(at(incident)).content.decode()
    given = form_of(page)
    assert given["phase"] == "root_cause"
    assert given["at_triage"] == "2026-11-24T04:02:00"  # Berlin
    assert "at_review" not in given
    answer = client.post(at(incident), given | {"at_triage": "2026-11-24T04:01", "reason": "logs"})
    assert answer.status_code == 302
    assert phase_stamps(incident.pk)["triage"] == NOW + MINUTE
    assert [data["phase"] for data in corrections(incident)] == ["triage"]


def test_the_form_goes_on_without_a_reason_and_back_with_one(incident, ines):
    client = signed_in(ines)
    given = form_of(client.get(at(incident)).content.decode())
    assert client.post(at(incident), given | {"phase": "review"}).status_code == 302
    incident.refresh_from_db()
    assert incident.phase == "review"
    given = form_of(client.get(at(incident)).content.decode())
    refused = client.post(at(incident), given | {"phase": "root_cause"})
    assert refused.status_code == 400
    assert "Say why it is corrected." in refused.content.decode()
    assert client.post(at(incident), given | {"phase": "root_cause", "reason": "too soon"}).status_code == 302
    incident.refresh_from_db()
    assert incident.phase == "root_cause"


def test_a_refused_form_keeps_what_was_typed(incident, ines):
    client = signed_in(ines)
    given = form_of(client.get(at(incident)).content.decode())
    refused = client.post(at(incident), given | {"at_triage": "2026-11-24T09:00", "reason": "a <b> reason"})
    page = refused.content.decode()
    assert refused.status_code == 400
    assert 'value="2026-11-24T09:00"' in page
    assert "a &lt;b&gt; reason" in page
    assert corrections(incident) == []


@pytest.mark.parametrize("given", ["yesterday", "0001-01-01T00:00", "9999-12-31T23:59", ""])
def test_what_is_no_time_is_refused(incident, ines, given):
    client = signed_in(ines)
    form = form_of(client.get(at(incident)).content.decode())
    refused = client.post(at(incident), form | {"at_triage": given, "reason": "x"}, HTTP_HX_REQUEST="true")
    assert refused.status_code == 400
    assert refused.headers["X-Muster-Sentence"] == "1"
    assert corrections(incident) == []


def test_a_form_from_before_somebody_moved_the_phase_is_refused(incident, ines):
    client = signed_in(ines)
    form = form_of(client.get(at(incident)).content.decode())
    transitions.resolve(incident_id=incident.pk, by=ines, now=NOW + 25 * MINUTE)
    refused = client.post(at(incident), form | {"phase": "containment", "reason": "x"})
    assert refused.status_code == 409
    assert "It stands in Review by now." in refused.content.decode()


def test_a_viewer_may_neither_ask_nor_correct(incident):
    client = signed_in(make_user("viola", role="viewer"))
    assert client.get(at(incident)).status_code == 403
    assert client.post(at(incident), {"phase": "containment", "reason": "x"}).status_code == 403
    assert corrections(incident) == []


# --- the API --------------------------------------------------------------------------------------------------------


def test_the_api_tells_and_corrects_the_stamps(incident, ines):
    api = Api(make_token(ines))
    path = f"incidents/{incident.ref}/phases/"
    assert api.get(path).json()["stamps"][1] == {"phase": "triage", "at": "2026-11-24T03:02:00Z"}
    answer = api.call("POST", path, {"phase": "triage", "at": "2026-11-24T03:01:00Z", "reason": "logs"})
    assert answer.status_code == 200
    assert answer.json()["stamps"][1] == {"phase": "triage", "at": "2026-11-24T03:01:00Z"}
    refused = api.call("POST", path, {"phase": "triage", "at": "2026-11-24T02:00:00Z", "reason": "logs"})
    assert (refused.status_code, refused.json()["error"]["fields"]) == (
        400,
        {"triage": ["Triage cannot begin before Detection."]},
    )
