"""Deadlines of what somebody has: containment, forgetting, the seven days, and who meets whom."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from core.errors import Refused
from escalation import deadlines
from escalation import transitions as escalation
from incidents import timeline
from incidents import transitions as incidents
from incidents.models import Incident, Kind, OfferStatus, RoleOffer, Status
from incidents.roles import subscribers as role_timers
from incidents.roles import transitions as roles
from incidents.snooze import subscribers as snooze_timers
from incidents.snooze import transitions as snooze
from incidents.transitions import ROLE_ACCEPT, SNOOZE, lock_incident
from notifications.models import Notification
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from timers.models import Timer
from timers.transitions import fire, fire_due

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def night(*, contain: int | None = None, early: int | None = None, **service):
    people = [make_user(name, full_name=name.title()) for name in ("ada", "bob", "cyd")]
    for person in people:
        make_email(person, verified_at=NOW - DAY)
    where = make_service("checkout", criticality=1, **service)
    tiers = [tier(level, person) for level, person in enumerate(people, start=1)]
    if early:
        tiers[early - 1] = replace(tiers[early - 1], early=[{"kind": "containment_missed"}])
    make_policy(*tiers, service=where)
    if contain:
        escalation.set_matrix_cell(severity=1, criticality=1, containment_minutes=contain)
    incident = incidents.trigger(service=where, title="5xx", severity=1, urgency="high", now=NOW)
    return incident, people


def paged(incident) -> list[str]:
    return list(incident.pages.order_by("pk").values_list("recipient__username", flat=True))


def test_without_a_target_no_timer_of_it_exists():
    incident, _ = night()
    assert (incident.contain_by, Timer.objects.filter(kind=deadlines.CONTAINMENT).count()) == (None, 0)


@pytest.mark.parametrize(("early", "expected"), [(None, ["ada", "bob"]), (3, ["ada", "cyd"])])
def test_what_is_not_contained_in_time_pages_the_tier_that_waits_for_it_else_the_one_above(early, expected):
    incident, (ada, *_) = night(contain=60, early=early)
    incidents.acknowledge(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    fire_due(now=NOW + 59 * MINUTE, by="test")
    assert paged(incident) == ["ada"]
    fire_due(now=NOW + 60 * MINUTE, by="test")
    assert paged(incident) == expected
    incident.refresh_from_db()
    assert (incident.status, incident.contain_missed_at) == (Status.ACKNOWLEDGED, NOW + 60 * MINUTE)
    assert [entry.text for entry in incident.timeline.filter(kind=Kind.CONTAINMENT_MISSED)] == [
        "it is not contained within 1 h. Ada is told, and the next tier is paged"
    ]
    assert Notification.objects.get(dedupe_key__startswith="containment").recipient == ada
    incidents.set_severity(incident_id=incident.pk, severity=2, by=ada, reason="", now=NOW + 61 * MINUTE)
    fire_due(now=NOW + DAY, by="test")
    assert incident.timeline.filter(kind=Kind.CONTAINMENT_MISSED).count() == 1  # it says so once


def test_contained_in_time_it_pages_nobody_and_a_snooze_waits_for_its_end():
    incident, (ada, *_) = night(contain=60)
    snooze.snooze(incident_id=incident.pk, by=ada, until=NOW + 90 * MINUTE, now=NOW)
    assert Timer.objects.get(kind=deadlines.CONTAINMENT).due_at == NOW + 90 * MINUTE
    incidents.contain(incident_id=incident.pk, by=ada, now=NOW + MINUTE)
    assert not Timer.objects.filter(kind__in=[deadlines.CONTAINMENT, SNOOZE]).exists()
    fire_due(now=NOW + DAY, by="test")
    assert paged(incident) == ["ada"]


def test_activity_pushes_the_timeout_back_but_neither_a_bots_nor_an_alerts():
    incident, (ada, bob, _) = night(acknowledge_timeout_minutes=30)
    incidents.acknowledge(incident_id=incident.pk, by=ada, now=NOW)

    def due():
        return Timer.objects.get(kind=deadlines.ACK_TIMEOUT).due_at - NOW

    incidents.add_note(incident_id=incident.pk, text="looking", by=bob, now=NOW + 20 * MINUTE)
    assert due() == 50 * MINUTE
    incidents.add_note(
        incident_id=incident.pk, text="beep", by=make_user("robot", is_bot=True), now=NOW + 25 * MINUTE
    )
    incidents.record_change(incident_id=incident.pk, text="deploy", data={}, now=NOW + 25 * MINUTE)
    assert due() == 50 * MINUTE
    incident.service.activity_extends_acknowledgement = False
    incident.service.save()
    incidents.set_impact(incident_id=incident.pk, impact="38%", by=ada, now=NOW + 26 * MINUTE)
    assert due() == 50 * MINUTE
    fire_due(now=NOW + 50 * MINUTE, by="test")
    incident.refresh_from_db()
    assert incident.status == Status.TRIGGERED


# --- two at once --------------------------------------------------------------------------------------------------


def unlocked(incident_id: int) -> Incident:
    return Incident.objects.select_related("service__team", "commander", "acknowledged_by").get(
        pk=incident_id
    )


def meet(monkeypatch, first, second, *, lock=lock_incident) -> list[Exception]:
    """Run both, `second` as soon as `first` has looked. What went wrong in either."""
    wrong: list[Exception] = []

    def run(function) -> None:
        try:
            function()
        except Exception as error:
            wrong.append(error)
        finally:
            connection.close()

    rival = threading.Thread(target=run, args=[second])
    leader = threading.Thread(target=run, args=[first])

    def look(incident_id: int) -> Incident:
        incident = lock(incident_id)
        if threading.current_thread() is leader and rival.ident is None:
            rival.start()
            rival.join(timeout=0.5)  # without the lock it is through by then
        return incident

    for module in (incidents, roles, role_timers, snooze, snooze_timers, deadlines):
        monkeypatch.setattr(module, "lock_incident", look)
    leader.start()
    leader.join(timeout=20)
    rival.join(timeout=20)
    assert rival.ident is not None
    return wrong


def scene(what):
    incident, (ada, bob, _) = night()
    incidents.acknowledge(incident_id=incident.pk, by=ada, now=NOW)
    later = NOW + 5 * MINUTE
    if what == "snooze":
        snooze.snooze(incident_id=incident.pk, by=ada, until=later, now=NOW)
        timer = Timer.objects.get(kind=SNOOZE)
        answer = lambda: incidents.acknowledge(incident_id=incident.pk, by=bob, now=later)  # noqa: E731
    else:
        offer = roles.hand_over(incident_id=incident.pk, to=bob, by=ada, now=NOW)
        timer = Timer.objects.get(kind=ROLE_ACCEPT)
        answer = lambda: roles.accept(offer_id=offer.pk, by=bob, now=later)  # noqa: E731
    return incident, [answer, lambda: fire(timer_id=timer.pk, now=later, by="test")]


@pytest.mark.parametrize("answer_first", [True, False])
@pytest.mark.parametrize("what", ["snooze", "handover"])
def test_an_answer_and_the_end_of_the_time_are_taken_one_after_the_other(monkeypatch, what, answer_first):
    incident, both = scene(what)
    wrong = meet(monkeypatch, *(both if answer_first else both[::-1]))
    incident.refresh_from_db()
    if what == "snooze":  # whoever answers has it, before the end or right after it
        assert wrong == []
        assert (incident.status, str(incident.acknowledged_by)) == (Status.ACKNOWLEDGED, "Bob")
        assert incident.timeline.filter(kind=Kind.UNACKNOWLEDGED).count() == (0 if answer_first else 1)
    else:
        assert [type(error) for error in wrong] == ([] if answer_first else [Refused])
        status = OfferStatus.ACCEPTED if answer_first else OfferStatus.MISSED
        assert RoleOffer.objects.get().status == status
        assert str(incident.acknowledged_by) == ("Bob" if answer_first else "Ada")
        assert incident.pages.filter(step_key__startswith="handover").count() == (0 if answer_first else 1)
    assert not Timer.objects.filter(kind__in=[SNOOZE, ROLE_ACCEPT]).exists()
    assert list(timeline.verify(incident)) == []


@pytest.mark.parametrize("what", ["snooze", "handover"])
def test_control_without_the_lock_they_work_on_what_is_no_longer_so(monkeypatch, what):
    _, both = scene(what)
    assert meet(monkeypatch, *both, lock=unlocked) != []
