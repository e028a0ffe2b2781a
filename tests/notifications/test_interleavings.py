"""Whatever order workers, answers, crashes and clocks come in, the promises of delivery hold.

Every transition is one transaction behind one lock, so an order of transitions is all that two workers can differ in;
that the locks make it so is shown with real threads in test_races.py.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.test import TestCase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications import queries, rules, sending, transitions
from notifications.models import Attempt, Delivery, Notification
from notifications.transitions import Claimed
from tests.factories.accounts import make_email, make_user
from tests.factories.notifications import NOW, make_notification, make_rule
from timers.models import Timer
from timers.transitions import fire

pytestmark = pytest.mark.django_db

OUTCOMES = ["sent", "transient", "permanent"]
WAITS = [1, 5, 16, 45, 61, 301]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("fire"), st.integers(0, 3)),
        st.tuples(st.just("look"), st.integers(0, 3)),
        st.tuples(st.just("hand over"), st.integers(0, 3), st.sampled_from(OUTCOMES)),
        st.tuples(st.just("record"), st.integers(0, 3)),
        st.tuples(st.just("crash"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.sampled_from(WAITS)),
        st.tuples(st.just("answer"), st.integers(0, 1)),
    ),
    max_size=30,
)


class Undo(Exception):
    pass


@dataclass
class InFlight:
    claimed: Claimed
    wanted: bool | None = None  # None: has not looked
    outcome: str = ""


def topics_of(claimed: Claimed) -> set[str]:
    return {each.notification.topic for each in (claimed.delivery, *claimed.others)}


@dataclass
class World:
    topics: list[str]
    now: datetime = NOW
    answered: set[str] = field(default_factory=set)
    claims: list[tuple[int, int]] = field(default_factory=list)
    flying: list[InFlight] = field(default_factory=list)
    arrived: set[int] = field(default_factory=set)  # deliveries that the other side accepted
    told: set[int] = field(default_factory=set)  # deliveries of which we were told so

    def do(self, step: tuple) -> None:
        name, *rest = step
        if name == "fire":
            self.fire(rest[0])
        elif name == "wait":
            self.now += timedelta(seconds=rest[0])
        elif name == "answer":
            topic = self.topics[rest[0] % len(self.topics)]
            transitions.cancel_topic(topic=topic, now=self.now, status="answered")
            self.answered.add(topic)
        elif self.flying:
            attempt = self.flying[rest[0] % len(self.flying)]
            if name == "look" and attempt.wanted is None:
                attempt.wanted = queries.are_still_wanted(attempt.claimed.attempts)
                assert not (attempt.wanted and self.answered & topics_of(attempt.claimed)), (
                    "a message leaves after the answer to one that it names"
                )
            elif name == "hand over" and attempt.wanted and not attempt.outcome:
                attempt.outcome = rest[1]
                if attempt.outcome == "sent":
                    self.arrived.update(pk for pk, _ in attempt.claimed.attempts)
            elif name == "record" and (attempt.outcome or attempt.wanted is False):
                self.record(attempt)
            elif name == "crash":
                self.flying.remove(attempt)

    def fire(self, which: int) -> None:
        due = list(Timer.objects.filter(kind="deliver", due_at__lte=self.now).order_by("pk"))
        if not due:
            return
        before = len(self.flying)
        with TestCase.captureOnCommitCallbacks(execute=True):
            fire(timer_id=due[which % len(due)].pk, now=self.now, by="test")
        for attempt in self.flying[before:]:
            assert not self.answered & topics_of(attempt.claimed), "claimed after the answer"

    def claim(self, claimed: Claimed) -> None:
        for key in claimed.attempts:
            assert key not in self.claims, "two workers have one attempt"
            assert key[1] <= rules.MAX_ATTEMPTS
            self.claims.append(key)
        self.flying.append(InFlight(claimed))

    def record(self, attempt: InFlight) -> None:
        self.flying.remove(attempt)
        outcome = attempt.outcome or "dropped"
        transitions.record(claimed=attempt.claimed, outcome=outcome, detail=outcome, now=self.now)
        if outcome == "sent":
            self.told.update(pk for pk, _ in attempt.claimed.attempts)

    def drain(self, outcomes: list[str]) -> None:
        """Everything runs to its end, with these outcomes first and nothing but success afterwards."""
        for _ in range(200):
            for attempt in list(self.flying):
                for step in (
                    ("look", 0),
                    ("hand over", 0, outcomes.pop() if outcomes else "sent"),
                    ("record", 0),
                ):
                    self.flying.sort(key=lambda each: each is not attempt)
                    self.do(step)
            timers = Timer.objects.filter(kind="deliver").order_by("due_at")
            if not timers and not self.flying:
                return
            if timers:
                self.now = max(self.now, timers[0].due_at)
                self.fire(0)
        raise AssertionError("it does not come to an end")


@pytest.fixture
def ravi(monkeypatch):
    monkeypatch.setattr("timers.transitions.hand_over", lambda **kwargs: True)
    user = make_user("ravi")
    make_rule(make_email(user, address="one@example.org", verified_at=NOW))
    make_rule(make_email(user, address="two@example.org", verified_at=NOW), after=timedelta(seconds=20))
    return user


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps, outcomes=st.lists(st.sampled_from(OUTCOMES), max_size=12), pages=st.integers(1, 2))
def test_promises_hold_in_every_order(ravi, monkeypatch, steps, outcomes, pages):
    """Of one page, and of two that leave as one where they can."""
    with pytest.raises(Undo), transaction.atomic():
        with TestCase.captureOnCommitCallbacks(execute=True):
            found = [make_notification(ravi) for _ in range(pages)]
        world = World(topics=[page.topic for page in found])
        monkeypatch.setattr(sending, "dispatch", world.claim)

        for step in steps:
            world.do(step)
        world.drain(list(outcomes))

        deliveries = list(Delivery.objects.all())
        assert {row.status for row in deliveries} <= {"sent", "failed", "cancelled"}
        assert not Timer.objects.filter(kind="deliver").exists(), "a timer outlives its message"
        assert world.told == {row.pk for row in deliveries if row.status == "sent"}, "the ledger is not true"
        assert set(Attempt.objects.values_list("delivery_id", "number")) == set(world.claims)
        assert not Attempt.objects.filter(outcome="pending").exists()
        for page in found:
            told = {row.pk for row in deliveries if row.notification_id == page.pk} & world.told
            assert page.topic in world.answered or told or Notification.objects.get(pk=page.pk).unreachable, (
                "nobody was told, and nobody knows"
            )
        raise Undo
