"""What a sender's word does to incidents."""

from datetime import UTC, datetime, timedelta

import pytest

from incidents import rules, transitions
from incidents.alerts import AlertSignal, apply_signal
from incidents.models import Alert, AlertStatus, Incident, Kind, Status
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


@pytest.fixture
def service():
    return make_service("checkout-api", criticality=1, primary_responder=make_user("ada"))


def send(service, action="trigger", key="k", *, at=NOW, origin="integration:1", count=1, **fields):
    fields.setdefault("title", "5xx")
    signal = AlertSignal(action=action, dedup_key=key, **fields)
    return apply_signal(
        origin=origin, origin_name="Prometheus", service=service, signal=signal, now=at, count=count
    )


def test_the_first_trigger_opens_and_pages_the_second_only_counts(service):
    assert send(service).verdict == "opened"
    incident = Incident.objects.get()
    pages, last_seq = incident.pages.count(), incident.last_seq
    outcome = send(service, at=NOW + MINUTE, count=41)
    assert (outcome.verdict, outcome.incident_id) == ("repeated", incident.pk)
    incident.refresh_from_db()
    assert (incident.alert_count, incident.event_count, incident.last_seq) == (1, 42, last_seq)
    assert incident.pages.count() == pages == 1
    alert = Alert.objects.get()
    assert (alert.count, alert.first_seen_at, alert.last_seen_at) == (42, NOW, NOW + MINUTE)


def test_another_key_opens_another_incident(service):
    send(service, key="one")
    assert send(service, key="two").verdict == "opened"
    assert Incident.objects.count() == 2


def test_the_same_key_of_another_sender_is_another_alert(service):
    send(service)
    assert send(service, origin="integration:2").verdict == "opened"
    assert Alert.objects.count() == 2


def test_acknowledge_and_resolve_without_an_open_alert_are_dropped(service):
    for action in ("acknowledge", "resolve"):
        assert send(service, action).verdict == "dropped"
    send(service)
    assert send(service, "resolve", origin="integration:2").verdict == "dropped"
    assert Incident.objects.get().status == Status.TRIGGERED


def test_a_trigger_while_acknowledged_leaves_it_acknowledged_and_pages_nobody(service):
    send(service)
    assert send(service, "acknowledge", at=NOW + MINUTE).verdict == "acknowledged"
    incident = Incident.objects.get()
    pages = incident.pages.count()
    assert incident.timeline.get(kind=Kind.ACKNOWLEDGED).actor_name == "Prometheus"
    send(service, at=NOW + 2 * MINUTE)
    incident.refresh_from_db()
    assert (incident.status, incident.pages.count()) == (Status.ACKNOWLEDGED, pages)


def test_resolve_resolves_and_the_next_trigger_opens_a_new_incident(service):
    send(service)
    assert send(service, "resolve", at=NOW + MINUTE, title="[RESOLVED] 5xx").verdict == "resolved"
    incident = Incident.objects.get()
    assert (incident.status, incident.title, incident.resolved_at) == (Status.RESOLVED, "5xx", NOW + MINUTE)
    assert send(service, at=NOW + 2 * MINUTE).verdict == "opened"
    assert Incident.objects.count() == 2


def test_an_incident_of_several_alerts_is_resolved_when_the_last_one_clears(service):
    send(service, key="a", group_key="g")
    outcome = send(service, key="b", group_key="g")
    assert (outcome.verdict, outcome.reason.partition(", ")[2]) == (
        "joined", "since the sender groups it with the others.",
    )  # fmt: skip
    send(service, "resolve", key="a", at=NOW + MINUTE)
    incident = Incident.objects.get()
    assert incident.status == Status.TRIGGERED
    assert incident.timeline.last().text == "5xx cleared, 1 still firing"
    send(service, "resolve", key="b", at=NOW + 2 * MINUTE)
    incident.refresh_from_db()
    assert incident.status == Status.RESOLVED


def test_within_the_services_window_another_alert_joins_and_says_why(service):
    service.grouping_minutes = 5
    service.save()
    send(service, key="a")
    assert send(service, key="b", at=NOW + 5 * MINUTE).verdict == "joined"
    assert send(service, key="c", at=NOW + 11 * MINUTE).verdict == "opened"
    assert (
        Alert.objects.get(dedup_key="b").joined_because
        == "it came within 5 min of the last alert of this service"
    )


def test_a_storm_of_different_alerts_opens_a_bounded_number_of_incidents_and_loses_none(service):
    verdicts = [send(service, key=str(number)).verdict for number in range(60)]
    assert verdicts == ["opened"] * rules.STORM_INCIDENTS + ["joined"] * (60 - rules.STORM_INCIDENTS)
    assert Alert.objects.count() == 60
    assert Incident.objects.order_by("-pk").first().alert_count == 41


def test_a_worse_alert_that_joins_makes_the_incident_worse_and_pages(service):
    service.grouping_minutes = 5
    service.save()
    send(service, key="a", severity="info")
    incident = Incident.objects.get()
    assert (incident.severity, incident.urgency, incident.next_page_at) == (4, "low", None)
    send(service, key="b", severity="critical", at=NOW + MINUTE)
    incident.refresh_from_db()
    assert (incident.severity, incident.urgency) == (1, "high")
    assert incident.next_page_at is not None
    assert incident.pages.count() == 2
    send(service, key="c", severity="info", at=NOW + 2 * MINUTE)
    incident.refresh_from_db()
    assert incident.severity == 1


def test_resolved_by_hand_while_firing_the_next_trigger_opens_a_new_incident(service):
    send(service, episode_at=NOW)
    transitions.resolve(incident_id=Incident.objects.get().pk, by=make_user("bob"), now=NOW + MINUTE)
    assert Alert.objects.get().status == AlertStatus.RESOLVED
    assert send(service, episode_at=NOW, at=NOW + 2 * MINUTE).verdict == "opened"


def test_a_repeat_replaces_the_details_so_that_they_do_not_grow(service):
    send(service, details={"a": 1})
    send(service, details={"b": 2})
    assert Alert.objects.get().details == {"b": 2}
    send(service)
    assert Alert.objects.get().details == {"b": 2}


def test_reopened_its_alerts_fire_on_in_it_and_a_repeat_pages_nobody_anew(service):
    bob = make_user("bob")
    send(service)
    incident = Incident.objects.get()
    transitions.resolve(incident_id=incident.pk, by=bob, now=NOW + MINUTE)
    transitions.reopen(incident_id=incident.pk, by=bob, reason="too early", now=NOW + 2 * MINUTE)
    pages = incident.pages.count()
    assert send(service, at=NOW + 3 * MINUTE).verdict == "repeated"
    assert (Incident.objects.count(), incident.pages.count()) == (1, pages)
    assert send(service, "resolve", at=NOW + 4 * MINUTE).verdict == "resolved"
    incident.refresh_from_db()
    assert incident.status == Status.RESOLVED


def test_reopened_an_alert_that_has_begun_anew_stays_with_its_new_incident(service):
    bob = make_user("bob")
    send(service)
    old = Incident.objects.get()
    transitions.resolve(incident_id=old.pk, by=bob, now=NOW + MINUTE)
    assert send(service, at=NOW + 2 * MINUTE).verdict == "opened"
    transitions.reopen(incident_id=old.pk, by=bob, reason="too early", now=NOW + 3 * MINUTE)
    assert old.alerts.get().status == AlertStatus.RESOLVED
    assert send(service, at=NOW + 4 * MINUTE).incident_id != old.pk


def test_a_late_repeat_of_a_firing_that_its_sender_resolved_opens_nothing(service):
    send(service, episode_at=NOW)
    send(service, "resolve", at=NOW + MINUTE)
    assert send(service, episode_at=NOW, at=NOW + 2 * MINUTE).verdict == "dropped"
    assert Incident.objects.count() == 1
    assert send(service, episode_at=NOW + 3 * MINUTE, at=NOW + 3 * MINUTE).verdict == "opened"
