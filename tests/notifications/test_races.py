"""Real threads on real rows. Each control shows what would happen without the lock."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection

from accounts.models import User
from incidents import transitions as incidents
from incidents.models import Kind
from notifications import queries, rules, sending, transitions
from notifications.models import Attempt, Delivery, Notification
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.notifications import NOW, make_notification, make_rule
from timers.models import Timer
from timers.transitions import fire, fire_due

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ravi(fake) -> User:
    user = make_user("ravi")
    make_rule(make_email(user, verified_at=NOW))
    return user


def at_once(*functions: Callable[[], object]) -> list[object]:
    """What each gives or raises, run in threads of their own that start together."""
    ready = threading.Barrier(len(functions))

    def run(function: Callable[[], object]) -> object:
        try:
            ready.wait(5)
            return function()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [each.result(30) for each in [pool.submit(run, function) for function in functions]]


def without_lock(notification_id: int) -> str:
    return Notification.objects.get(pk=notification_id).status


# --- two workers, one message -----------------------------------------------------------------------------------


def meeting(monkeypatch, people: int) -> None:
    """Whoever decides about a claim waits until `people` have looked, or for a moment."""
    together = threading.Barrier(people)
    decide = rules.claim

    def slowly(**kwargs):
        decision = decide(**kwargs)
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(0.5)
        return decision

    monkeypatch.setattr(rules, "claim", slowly)


def test_control_without_the_lock_two_workers_decide_to_send_and_only_the_constraint_stops_one(
    ravi, monkeypatch
):
    mail = make_notification(ravi).deliveries.get()
    monkeypatch.setattr(transitions, "lock", without_lock)
    meeting(monkeypatch, 2)

    answers = at_once(*[lambda: transitions.claim(delivery=mail, now=NOW)] * 2)

    assert sorted(type(answer).__name__ for answer in answers) == ["Claimed", IntegrityError.__name__]


def test_with_the_lock_the_second_worker_sees_that_it_is_taken(ravi, monkeypatch):
    mail = make_notification(ravi).deliveries.get()
    meeting(monkeypatch, 2)

    answers = at_once(*[lambda: transitions.claim(delivery=mail, now=NOW)] * 2)

    assert sorted(type(answer).__name__ for answer in answers) == ["Claimed", "NoneType"]
    assert Attempt.objects.count() == 1


def test_eight_workers_that_fire_one_timer_send_one_message(ravi, fake):
    make_notification(ravi)
    timer = Timer.objects.get(kind="deliver")

    answers = at_once(*[lambda: fire(timer_id=timer.pk, now=NOW, by="test")] * 8)

    assert sorted(answers) == [False] * 7 + [True]
    assert len(fake.accepted) == 1
    assert Attempt.objects.count() == 1


# --- a worker and an answer -------------------------------------------------------------------------------------


def claim_while_answering(monkeypatch, delivery: Delivery) -> tuple[object, list[str]]:
    """A claim that has looked and not yet written, while the answer comes. What it gave, and who ended first."""
    looked, answered = threading.Event(), threading.Event()
    order: list[str] = []
    decide = rules.claim

    def slowly(**kwargs):
        decision = decide(**kwargs)
        looked.set()
        answered.wait(0.5)
        return decision

    monkeypatch.setattr(rules, "claim", slowly)

    def claim():
        claimed = transitions.claim(delivery=delivery, now=NOW)
        order.append("claim")
        return claimed

    def answer():
        looked.wait(5)
        transitions.cancel_topic(topic=delivery.notification.topic, now=NOW)
        order.append("answer")
        answered.set()

    claimed, _ = at_once(claim, answer)
    return claimed, order


def test_control_without_the_lock_a_worker_goes_on_after_the_answer_and_only_the_constraint_stops_it(
    ravi, monkeypatch
):
    mail = make_notification(ravi).deliveries.get()
    monkeypatch.setattr(transitions, "lock", without_lock)

    claimed, order = claim_while_answering(monkeypatch, mail)

    assert order == ["answer"]
    assert isinstance(claimed, IntegrityError)
    assert "delivery_finished_when_final" in str(claimed)


def test_with_the_lock_the_answer_waits_for_the_claim_and_the_last_look_stops_the_message(
    ravi, fake, monkeypatch
):
    mail = make_notification(ravi).deliveries.get()

    claimed, order = claim_while_answering(monkeypatch, mail)

    assert order == ["claim", "answer"]
    assert not queries.is_still_wanted(delivery_id=mail.pk, number=1)
    sending.hand_over(claimed)
    assert fake.accepted == []


@pytest.mark.parametrize("round_", range(5))
def test_workers_and_an_answer_at_once_leave_nothing_that_waits(fake, round_):
    """However it falls out: a message is sent at most once, and none is left that could be sent later."""
    people = [make_user(f"p{number}") for number in range(4)]
    for person in people:
        make_rule(make_email(person, verified_at=NOW))
        make_notification(person, topic="incident:7")
    timers = list(Timer.objects.filter(kind="deliver").values_list("pk", flat=True))

    answers = at_once(
        *[lambda pk=pk: fire(timer_id=pk, now=NOW, by="test") for pk in timers],
        lambda: transitions.cancel_topic(topic="incident:7", now=NOW),
        *[lambda pk=pk: fire(timer_id=pk, now=NOW, by="test") for pk in timers],
    )

    assert not [answer for answer in answers if isinstance(answer, Exception)]
    sent = len(fake.accepted)
    assert sent == Delivery.objects.filter(status="sent").count() <= 4
    fire_due(now=NOW + timedelta(hours=1), by="test")
    assert len(fake.accepted) == sent
    assert not Delivery.objects.filter(status__in=["waiting", "sending"]).exists()
    assert not Timer.objects.filter(kind="deliver").exists()


def test_control_without_the_constraint_two_callers_with_one_dedupe_key_tell_twice(ravi, monkeypatch):
    """What `notify` would be if it only looked whether there is one."""
    together = threading.Barrier(2)

    def look_and_tell() -> None:
        assert not Notification.objects.filter(topic="incident:1").exists()
        together.wait(5)
        make_notification(ravi, dedupe_key=f"page:1:{threading.get_ident()}", topic="incident:1")

    at_once(look_and_tell, look_and_tell)
    assert Delivery.objects.count() == 2


def test_two_callers_with_one_dedupe_key_tell_once(ravi, fake):
    answers = at_once(*[lambda: make_notification(ravi, dedupe_key="page:1", topic="incident:1")] * 6)

    assert len({answer.pk for answer in answers}) == 1
    assert Delivery.objects.count() == 1


# --- with an incident around it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("round_", range(3))
def test_failures_that_write_into_the_timeline_do_not_deadlock_with_an_answer(fake, round_):
    people = [make_user(f"p{number}") for number in range(5)]
    for person in people:
        make_rule(make_email(person, verified_at=NOW))
        fake.by_address[person.email] = "permanent"
    service = make_service("checkout", criticality=1)
    make_policy(tier(1, *people), service=service)
    incident = incidents.trigger(service=service, title="5xx", severity=1, urgency="high", now=NOW)
    timers = list(Timer.objects.filter(kind="deliver").values_list("pk", flat=True))

    answers = at_once(
        *[lambda pk=pk: fire(timer_id=pk, now=NOW, by="test") for pk in timers],
        lambda: fire_due(now=NOW + timedelta(seconds=1), by="test"),
        lambda: fire_due(now=NOW + timedelta(seconds=1), by="test"),
        lambda: incidents.acknowledge(incident_id=incident.pk, by=people[0], now=NOW + timedelta(seconds=1)),
    )
    fire_due(now=NOW + timedelta(seconds=2), by="test")

    assert not [answer for answer in answers if isinstance(answer, Exception)]
    incident.refresh_from_db()
    assert incident.status == "acknowledged"
    failed = Delivery.objects.filter(status="failed").count()
    assert incident.timeline.filter(kind=Kind.DELIVERY_FAILED).count() == failed
    assert not Delivery.objects.filter(status__in=["waiting", "sending"]).exists()
