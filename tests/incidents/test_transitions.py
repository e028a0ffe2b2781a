from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Invalid, Missing, Refused
from incidents import queries, transitions
from incidents.models import Incident, Kind, PageStatus, Phase, Status
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return make_user("ada")


@pytest.fixture
def bob():
    return make_user("bob")


@pytest.fixture
def incident(ada):
    service = make_service("checkout-api", primary_responder=ada)
    return transitions.trigger(service=service, title="5xx", severity=1, urgency="high", now=NOW)


def kinds(incident) -> list[str]:
    return list(incident.timeline.values_list("kind", flat=True))


def test_acknowledge_twice_by_the_same_person_writes_one_entry(incident, ada):
    for minutes in (1, 2):
        transitions.acknowledge(incident_id=incident.pk, by=ada, now=NOW + minutes * MINUTE)
    incident.refresh_from_db()
    assert (incident.acknowledged_at, incident.acknowledged_by) == (NOW + MINUTE, ada)
    assert kinds(incident).count(Kind.ACKNOWLEDGED) == 1
    assert Kind.ALSO_ACKNOWLEDGED not in kinds(incident)


def test_a_second_person_acknowledging_is_noted_once_and_changes_nothing(incident, ada, bob):
    transitions.acknowledge(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    for minutes in (2, 3):
        transitions.acknowledge(incident_id=incident.pk, by=bob, now=NOW + minutes * MINUTE)
    incident.refresh_from_db()
    assert (incident.acknowledged_at, incident.acknowledged_by) == (NOW + MINUTE, ada)
    assert kinds(incident).count(Kind.ALSO_ACKNOWLEDGED) == 1


def test_acknowledging_what_is_resolved_is_refused_and_changes_nothing(incident, ada):
    transitions.resolve(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    before = kinds(incident)
    with pytest.raises(Refused, match="Already resolved") as refused:
        transitions.acknowledge(incident_id=incident.pk, by=ada, now=NOW + 2 * MINUTE)
    assert (refused.value.status, refused.value.code) == (409, "already_resolved")
    incident.refresh_from_db()
    assert (incident.status, incident.acknowledged_at) == (Status.RESOLVED, None)
    assert kinds(incident) == before


def test_the_phases_are_stamped_on_the_way(incident, ada):
    transitions.acknowledge(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    transitions.move_phase(incident_id=incident.pk, phase=Phase.CONTAINMENT, by=ada, now=NOW + 5 * MINUTE)
    transitions.contain(incident_id=incident.pk, by=ada, note="rolled back", now=NOW + 9 * MINUTE)
    transitions.resolve(incident_id=incident.pk, by=ada, now=NOW + 20 * MINUTE)
    assert dict(incident.phase_stamps.values_list("phase", "at")) == {
        Phase.DETECTION: NOW,
        Phase.TRIAGE: NOW + MINUTE,
        Phase.CONTAINMENT: NOW + 5 * MINUTE,
        Phase.ROOT_CAUSE: NOW + 9 * MINUTE,
        Phase.REVIEW: NOW + 20 * MINUTE,
    }
    incident.refresh_from_db()
    assert (incident.contained_at, incident.resolved_at) == (NOW + 9 * MINUTE, NOW + 20 * MINUTE)
    assert (
        incident.timeline.get(kind=Kind.CONTAINED).text
        == "marked contained, 9 min after detection: rolled back"
    )


def test_a_phase_does_not_go_back(incident, ada):
    transitions.contain(incident_id=incident.pk, by=ada, now=NOW)
    with pytest.raises(Refused, match="Root cause has begun already"):
        transitions.move_phase(incident_id=incident.pk, phase=Phase.TRIAGE, by=ada, now=NOW)


def test_containing_twice_keeps_the_first_stamp(incident, ada, bob):
    transitions.contain(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    transitions.contain(incident_id=incident.pk, by=bob, now=NOW + 2 * MINUTE)
    incident.refresh_from_db()
    assert (incident.contained_at, incident.contained_by) == (NOW + MINUTE, ada)
    assert kinds(incident).count(Kind.CONTAINED) == 1


def test_reopened_within_the_hour_the_incident_goes_on_and_pages_again(incident, ada):
    transitions.resolve(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    again = transitions.reopen(incident_id=incident.pk, by=ada, reason="5xx is back", now=NOW + 61 * MINUTE)
    assert again.pk == incident.pk
    incident.refresh_from_db()
    assert (incident.status, incident.resolved_at) == (Status.TRIGGERED, None)
    assert incident.pages.filter(status=PageStatus.PAGING).count() == 1
    assert incident.next_page_at is not None


def test_reopened_later_a_new_incident_follows_it(incident, ada):
    transitions.resolve(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    later = NOW + 62 * MINUTE
    new = transitions.reopen(incident_id=incident.pk, by=ada, reason="5xx is back", now=later)
    assert new.pk != incident.pk
    assert (new.follows, new.status, new.triggered_at) == (incident, Status.TRIGGERED, later)
    incident.refresh_from_db()
    assert incident.status == Status.RESOLVED


def test_reopening_needs_a_reason_and_an_end(incident, ada):
    with pytest.raises(Refused, match="is open"):
        transitions.reopen(incident_id=incident.pk, by=ada, reason="x", now=NOW)
    transitions.resolve(incident_id=incident.pk, by=ada, now=NOW)
    with pytest.raises(Invalid, match="Say why"):
        transitions.reopen(incident_id=incident.pk, by=ada, reason="  ", now=NOW)
    incident.refresh_from_db()
    assert incident.status == Status.RESOLVED


def test_declaring_says_which_field_is_wrong_and_stores_nothing(ada):
    service = make_service()
    with pytest.raises(Invalid) as refused:
        transitions.declare(service=service, title=" ", severity=7, by=ada, now=NOW, impact="x" * 301)
    assert sorted(refused.value.fields) == ["impact", "severity", "title"]
    assert not Incident.objects.exists()


def test_nul_bytes_and_lone_surrogates_are_stored_as_replacement_characters(incident, ada):
    transitions.add_note(incident_id=incident.pk, text="a\x00b\ud800c", by=ada, now=NOW)
    assert incident.timeline.last().text == "a\ufffdb?c"


@pytest.mark.parametrize("text", ["", "  \n", "x" * 20_001])
def test_an_empty_or_endless_note_is_refused(incident, ada, text):
    before = incident.last_seq
    with pytest.raises(Invalid):
        transitions.add_note(incident_id=incident.pk, text=text, by=ada, now=NOW)
    incident.refresh_from_db()
    assert incident.last_seq == before


def test_calling_a_person_in_pages_them_whatever_the_state_but_not_after_the_end(incident, ada, bob):
    transitions.acknowledge(incident_id=incident.pk, by=ada, now=NOW)
    transitions.page_person(incident_id=incident.pk, user=bob, by=ada, reason="database", now=NOW + MINUTE)
    page = incident.pages.get(recipient=bob)
    assert (page.status, page.reason) == (PageStatus.PAGING, "Ada called you in: database")
    incident.refresh_from_db()
    assert incident.phase == Phase.ESCALATION
    transitions.resolve(incident_id=incident.pk, by=ada, now=NOW + 2 * MINUTE)
    page.refresh_from_db()
    assert page.status == PageStatus.CANCELLED
    with pytest.raises(Refused, match="Nobody was paged"):
        transitions.page_person(incident_id=incident.pk, user=bob, by=ada, reason="", now=NOW + 3 * MINUTE)
    assert incident.pages.filter(recipient=bob).count() == 1


def test_who_would_not_come_is_not_called_in(incident, ada, bob):
    for fields in ({"is_bot": True}, {"is_bot": False, "is_active": False}):
        for name, value in fields.items():
            setattr(bob, name, value)
        with pytest.raises(Invalid, match="nobody would come"):
            transitions.page_person(incident_id=incident.pk, user=bob, by=ada, reason="database", now=NOW)
    assert not incident.pages.filter(recipient=bob).exists()


def test_taking_command_twice_writes_one_entry(incident, ada):
    for _ in range(2):
        transitions.assign_commander(incident_id=incident.pk, user=ada, by=ada, now=NOW)
    incident.refresh_from_db()
    assert incident.commander == ada
    assert kinds(incident).count(Kind.ROLE_ASSIGNED) == 1


def test_an_unknown_incident_is_missing_not_an_error(ada):
    with pytest.raises(Missing, match="INC-99999999"):
        transitions.acknowledge(incident_id=99_999_999, by=ada, now=NOW)


def test_a_person_paged_again_and_again_for_one_incident_sees_it_waiting_once(incident, ada, bob):
    for minutes in (1, 2):
        at = NOW + minutes * MINUTE
        transitions.page_person(incident_id=incident.pk, user=ada, by=bob, reason="again", now=at)
    assert [page.incident_id for page in queries.waiting_pages(ada)] == [incident.pk]
    transitions.acknowledge(incident_id=incident.pk, by=bob, now=NOW + 3 * MINUTE)
    assert not queries.waiting_pages(ada).exists()
