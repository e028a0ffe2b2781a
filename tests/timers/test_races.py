"""Two processes that fire the same timer. The control shows the race that the row lock prevents."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet

from timers import registry, transitions
from timers.models import Firing, Heartbeat, Timer
from timers.timekeeper import Timekeeper

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
THREADS = 8

pytestmark = pytest.mark.django_db(transaction=True)


@registry.handler("test.count")
def count(timer: Timer, now: datetime) -> None:
    Heartbeat.objects.create(name=f"fired {threading.get_ident()} {timer.key}", beat_at=now)


def at_once(function) -> list:
    """Run `function` in all threads, which start together."""
    barrier, results = threading.Barrier(THREADS), []

    def run() -> None:
        try:
            barrier.wait(timeout=10)
            results.append(function())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(results) == THREADS
    return results


def fire_without_lock(timer_id: int) -> bool:
    """What `fire` would be if it only looked and then acted."""
    timer = Timer.objects.filter(pk=timer_id).first()
    if timer is None:
        return False
    together.wait(timeout=10)
    with transaction.atomic():
        count(timer, NOW)
        Timer.objects.filter(pk=timer_id).delete()
    return True


together = threading.Barrier(THREADS)


def test_control_without_the_lock_all_of_them_fire():
    transitions.set_timer(kind="test.count", key="x", due_at=NOW, now=NOW)
    timer_id = Timer.objects.get().pk
    assert sum(at_once(lambda: fire_without_lock(timer_id))) == THREADS
    assert Heartbeat.objects.count() == THREADS


def test_with_the_lock_one_of_them_fires():
    transitions.set_timer(kind="test.count", key="x", due_at=NOW, now=NOW)
    timer_id = Timer.objects.get().pk
    assert sum(at_once(lambda: transitions.fire(timer_id=timer_id, now=NOW, by="test"))) == 1
    assert Heartbeat.objects.count() == 1
    assert Firing.objects.count() == 1


@pytest.fixture
def given(monkeypatch) -> list[int]:
    """What Celery is given of forty timers."""
    ids: list[int] = []
    monkeypatch.setattr(transitions, "hand_over", lambda *, timer_id, kind, due_at: not ids.append(timer_id))
    Timer.objects.bulk_create(
        Timer(kind="test.count", key=str(number), due_at=NOW, first_due_at=NOW) for number in range(40)
    )
    return ids


def test_control_without_the_lock_all_hand_over_the_same(given, monkeypatch):
    monkeypatch.setattr(QuerySet, "select_for_update", lambda self, **_: self)
    looked = threading.Barrier(THREADS)
    update = QuerySet.update

    def slowly(self, **fields):
        looked.wait(timeout=10)
        return update(self, **fields)

    monkeypatch.setattr(QuerySet, "update", slowly)
    at_once(lambda: transitions.hand_over_due_soon(now=NOW, limit=5))
    assert (len(given), len(set(given))) == (5 * THREADS, 5)


def test_threads_that_hand_over_share_the_timers(given):
    at_once(lambda: transitions.hand_over_due_soon(now=NOW, limit=5))
    assert len(given) == len(set(given)) == 40


def test_a_transaction_that_hangs_holds_up_its_own_timer_only(monkeypatch):
    monkeypatch.setattr("timers.timekeeper.LOCK_MS", 100)
    for key in "ab":
        transitions.set_timer(kind="test.count", key=key, due_at=NOW, now=NOW)
    hangs, over = threading.Event(), threading.Event()

    def hang() -> None:
        with transaction.atomic():
            Timer.objects.select_for_update().get(key="a")
            hangs.set()
            over.wait(timeout=30)
        connection.close()

    hanging = threading.Thread(target=hang)
    hanging.start()
    assert hangs.wait(timeout=10)
    keeper = Timekeeper(clock=lambda: NOW)
    monkeypatch.setattr(keeper.stopping, "wait", lambda seconds: keeper.stopping.set())
    keeper.clock = lambda: NOW + timedelta(seconds=5)
    try:
        keeper.run()
        assert list(Timer.objects.values_list("key", flat=True)) == ["a"]
    finally:
        over.set()
        hanging.join(timeout=10)
        connection.close()  # it has the timekeeper's patience
    assert [
        name.split()[-1]
        for name in Heartbeat.objects.filter(name__startswith="fired").values_list("name", flat=True)
    ] == ["b"]
