"""Two who do something at once, and a policy that is changed in the middle of its being read."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection

from escalation import engine, rules, subscribers
from escalation import transitions as escalation
from escalation.models import Policy, RoundRobin, Run, RunStatus
from escalation.transitions import save_policy
from incidents import timeline
from incidents import transitions as incidents
from incidents.models import Incident, Kind, Page
from incidents.transitions import lock_incident
from notifications.models import Notification, NotificationStatus
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from timers.models import Timer
from timers.transitions import fire

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def test_a_policy_that_changes_while_it_is_read_loses_nobody():
    ada = make_user("ada")
    policy = make_policy(tier(1, ada), name="Checkout")
    wanted = rules.PolicyData(name="Checkout", tiers=[replace(tier(1, ada), name="Renamed")])

    def change() -> None:
        try:
            save_policy(policy=Policy.objects.get(pk=policy.pk), data=wanted)
        finally:
            connection.close()

    rival = threading.Thread(target=change)

    def let_the_rival_go_first(execute, sql, *rest):
        if 'FROM "escalation_tiertarget"' in sql and rival.ident is None:
            rival.start()
            rival.join(timeout=0.5)  # without the lock it is through by then
        return execute(sql, *rest)

    with connection.execute_wrapper(let_the_rival_go_first):
        snapshot = engine.snapshot_of(policy)
    rival.join(timeout=10)
    assert [target["id"] for target in snapshot["tiers"][0]["targets"]] == [ada.pk]
    assert engine.snapshot_of(Policy.objects.get(pk=policy.pk))["tiers"][0]["name"] == "Renamed"


# --- two at once --------------------------------------------------------------------------------------------------
# The first has looked at the incident and written nothing yet when the second begins. With the lock the second waits;
# the control takes the lock away, and then they do meet: the second's work is done on what the first no longer is.


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

    for module in (incidents, escalation, subscribers):
        monkeypatch.setattr(module, "lock_incident", look)
    leader.start()
    leader.join(timeout=20)
    rival.join(timeout=20)
    assert rival.ident is not None
    return wrong


@pytest.fixture
def night():
    people = [make_user(name) for name in ("ada", "bob", "cyd", "dir")]
    service = make_service("checkout-api", criticality=1)
    two = replace(tier(1, *people[:3]), ack_mode="quorum", quorum=2)
    make_policy(two, tier(2, people[3]), service=service)
    incident = incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=NOW)
    return incident, people


def answers(incident, person):
    return lambda: incidents.acknowledge(incident_id=incident.pk, by=person, now=NOW + timedelta(seconds=119))


def its_time_is_up():
    timer = Timer.objects.get(kind=engine.STEP)
    return lambda: fire(timer_id=timer.pk, now=timer.due_at, by="test")


def presses(incident, person):
    return lambda: escalation.escalate_now(incident_id=incident.pk, by=person, reason="", now=NOW)


@pytest.mark.parametrize("answer_first", [True, False])
def test_an_answer_and_the_end_of_the_time_meet_and_nobody_stays_paged_for_an_answered_tier(
    monkeypatch, night, answer_first
):
    incident, (ada, bob, *_) = night
    incidents.acknowledge(incident_id=incident.pk, by=ada, now=NOW + timedelta(seconds=5))
    both = [answers(incident, bob), its_time_is_up()]
    assert meet(monkeypatch, *(both if answer_first else both[::-1])) == []
    assert Run.objects.get().status == RunStatus.STOPPED
    assert not Timer.objects.filter(kind__in=[engine.STEP, "deliver"]).exists()
    assert not Notification.objects.filter(status=NotificationStatus.ACTIVE).exists()
    assert incident.pages.filter(recipient__username="dir").count() == (0 if answer_first else 1)
    assert list(timeline.verify(Incident.objects.get())) == []


def test_two_who_escalate_at_once_page_two_steps(monkeypatch, night):
    incident, (ada, bob, *_) = night
    assert meet(monkeypatch, presses(incident, ada), presses(incident, bob)) == []
    assert Run.objects.get().step == 3
    assert incident.timeline.filter(kind=Kind.ESCALATED).count() == 2


def test_two_answers_at_once_make_the_quorum(monkeypatch, night):
    incident, (ada, bob, *_) = night
    assert meet(monkeypatch, answers(incident, ada), answers(incident, bob)) == []
    assert Run.objects.get().status == RunStatus.STOPPED
    kinds = incident.timeline.values_list("kind", flat=True)
    assert Kind.ACKNOWLEDGED in kinds and Kind.ALSO_ACKNOWLEDGED in kinds  # one after the other, each counted


@pytest.mark.parametrize("what", ["answers", "escalations", "answer and time"])
def test_control_without_the_lock_they_work_on_what_is_no_longer_so(monkeypatch, night, what):
    incident, (ada, bob, *_) = night
    pairs = {
        "answers": (answers(incident, ada), answers(incident, bob)),
        "escalations": (presses(incident, ada), presses(incident, bob)),
        "answer and time": (answers(incident, ada), its_time_is_up()),
    }
    wrong = meet(monkeypatch, *pairs[what], lock=unlocked)
    assert [type(error) for error in wrong] == [IntegrityError]


def test_incidents_at_once_share_the_turns_fairly(night):
    """Turns are counted under a lock of their own, as the incidents are different ones."""
    _, people = night
    service = make_service("search", criticality=1)
    policy = make_policy(replace(tier(1, *people), round_robin=True), service=service)
    barrier = threading.Barrier(4)

    def open_one() -> None:
        try:
            barrier.wait(timeout=10)
            incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=NOW)
        finally:
            connection.close()

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    paged = Page.objects.filter(incident__service=service).values_list("recipient__username", flat=True)
    assert sorted(paged) == ["ada", "bob", "cyd", "dir"]
    assert RoundRobin.objects.get(policy=policy).turn == 0
