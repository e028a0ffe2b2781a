"""What becomes of an incident that somebody has: pains 4, 5 and 10 of other pagers' users, as stories that end well."""

from datetime import UTC, datetime, timedelta

import pytest

from escalation import transitions as escalation
from incidents import transitions as incidents
from incidents.models import Kind, Status
from incidents.snooze import transitions as snooze
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from timers.transitions import fire_due

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def cast():
    people = {
        name: make_user(name, full_name=name.title(), time_zone="Europe/Berlin") for name in ("ada", "bob")
    }
    for person in people.values():
        make_email(person, verified_at=NOW - DAY)
    service = make_service("checkout", criticality=1, acknowledge_timeout_minutes=30)
    make_policy(tier(1, people["ada"]), tier(2, people["bob"]), service=service)
    return {**people, "service": service}


def begin(cast, *, severity=1):
    return incidents.trigger(service=cast["service"], title="5xx", severity=severity, urgency="high", now=NOW)


def paged(incident) -> list[str]:
    return list(incident.pages.order_by("pk").values_list("recipient__username", flat=True))


def test_pain_04_acknowledged_and_forgotten_comes_back_and_what_is_worked_on_does_not(cast):
    incident = begin(cast)
    incidents.acknowledge(incident_id=incident.pk, by=cast["ada"], now=NOW)
    incidents.add_note(incident_id=incident.pk, text="restarting", by=cast["ada"], now=NOW + 25 * MINUTE)
    fire_due(now=NOW + 54 * MINUTE, by="test")
    assert paged(incident) == ["ada"]
    fire_due(now=NOW + 55 * MINUTE, by="test")
    assert paged(incident) == ["ada", "ada"]
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


def test_pain_04_acknowledged_but_never_contained_reaches_the_next_tier(cast):
    escalation.set_matrix_cell(severity=1, criticality=1, containment_minutes=45)
    incident = begin(cast)
    incidents.acknowledge(incident_id=incident.pk, by=cast["ada"], now=NOW)
    incidents.add_note(incident_id=incident.pk, text="still looking", by=cast["ada"], now=NOW + 29 * MINUTE)
    fire_due(now=NOW + 45 * MINUTE, by="test")
    assert paged(incident) == ["ada", "bob"]


def test_pain_05_what_somebody_has_for_seven_days_pages_nobody_at_night(cast, client):
    escalation.set_matrix_cell(severity=1, criticality=1, containment_minutes=10_080)
    incident = begin(cast)
    incidents.acknowledge(incident_id=incident.pk, by=cast["ada"], now=NOW + MINUTE)
    snooze.snooze(incident_id=incident.pk, by=cast["ada"], until=NOW + 6 * DAY, now=NOW + MINUTE)
    snooze.snooze(incident_id=incident.pk, by=cast["ada"], until=NOW + 9 * DAY, now=NOW + 5 * DAY)
    fire_due(now=NOW + 9 * DAY, by="test")
    incident.refresh_from_db()
    assert (incident.status, incident.snoozed_until) == (Status.ACKNOWLEDGED, None)
    assert paged(incident) == ["ada"]
    assert incident.timeline.filter(kind=Kind.HORIZON).first().text == (
        "the snooze of Ada ended. It is open for more than 7 days, so nobody is paged again; it stands on the list "
        "of those"
    )
    type(incident).objects.filter(pk=incident.pk).update(triggered_at=datetime.now(UTC) - 8 * DAY)
    client.force_login(cast["bob"])
    assert "Open for more than 7 days" in client.get("/").content.decode()


def test_pain_05_what_nobody_has_answered_pages_on_whatever_its_age(cast):
    make_user("admin", role="admin")
    incident = begin(cast)
    fire_due(now=NOW + 2 * MINUTE, by="test")
    fire_due(now=NOW + 8 * DAY, by="test")
    assert len(paged(incident)) > 2


def test_pain_05_a_timer_of_an_older_state_does_nothing(cast):
    incident = begin(cast)
    incidents.acknowledge(incident_id=incident.pk, by=cast["ada"], now=NOW)
    snooze.snooze(incident_id=incident.pk, by=cast["ada"], until=NOW + HOUR, now=NOW)
    type(incident).objects.filter(pk=incident.pk).update(fence=99)
    fire_due(now=NOW + HOUR, by="test")
    assert paged(incident) == ["ada"]


def test_pain_10_snoozed_until_the_next_working_hours_of_the_policys_zone(cast):
    policy = cast["service"].escalation.policy
    policy.working_hours = [{"days": [2], "start": "08:30", "end": "17:00"}]
    policy.time_zone = "America/New_York"
    policy.save()
    incident = begin(cast)
    after = snooze.snooze(incident_id=incident.pk, by=cast["ada"], now=NOW)
    assert after.snoozed_until == datetime(2026, 11, 25, 13, 30, tzinfo=UTC)
    without = incidents.trigger(service=make_service("bare"), title="x", severity=1, urgency="high", now=NOW)
    after = snooze.snooze(incident_id=without.pk, by=cast["ada"], now=NOW)
    assert after.snoozed_until == datetime(2026, 11, 24, 8, tzinfo=UTC)  # 09:00 where Ada is
