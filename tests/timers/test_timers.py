import threading
from datetime import UTC, datetime, timedelta

import pytest

from timers import handover, network, registry, rules, transitions
from timers.models import Firing, Timer
from timers.timekeeper import Timekeeper

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)

fired: list[tuple[str, datetime]] = []


@registry.handler("test.note")
def note(timer: Timer, now: datetime) -> None:
    fired.append((timer.key, now))


@registry.handler("test.bulk", bulk=True)
def note_bulk(timer: Timer, now: datetime) -> None:
    fired.append((timer.key, now))


@registry.handler("test.fails")
def fails(timer: Timer, now: datetime) -> None:
    Timer.objects.filter(kind="test.note").delete()
    raise RuntimeError("the mail server is on fire")


@registry.handler("test.refused")
def refused(timer: Timer, now: datetime) -> None:
    Firing.objects.create(kind="x" * 61, key=timer.key, due_at=now, fired_at=now, lateness_ms=0, by="test")


@registry.handler("test.again")
def again(timer: Timer, now: datetime) -> None:
    transitions.set_timer(kind="test.again", key=timer.key, due_at=now + SECOND, now=now)


@pytest.fixture(autouse=True)
def forget():
    fired.clear()


@pytest.fixture
def broker(monkeypatch):
    """Stands for Celery: what it was given, and whether it answers."""

    class Broker:
        answers = True

        def __init__(self) -> None:
            self.given: list[int] = []

        def hand_over(self, *, timer_id: int, kind: str, due_at: datetime) -> bool:
            if self.answers:
                self.given.append(timer_id)
            return self.answers

    broker = Broker()
    monkeypatch.setattr(transitions, "hand_over", broker.hand_over)
    return broker


def set_note(key: str = "a", *, due_in: timedelta, now: datetime = NOW, fence: int = 0) -> None:
    transitions.set_timer(kind="test.note", key=key, due_at=now + due_in, now=now, fence=fence)


@pytest.mark.django_db
def test_a_timer_fires_once_when_it_is_due_and_its_row_is_gone():
    set_note(due_in=SECOND)
    timer = Timer.objects.get()
    assert transitions.fire(timer_id=timer.pk, now=NOW + SECOND, by="test")
    assert not transitions.fire(timer_id=timer.pk, now=NOW + SECOND, by="test")
    assert fired == [("a", NOW + SECOND)]
    assert not Timer.objects.exists()


@pytest.mark.django_db
def test_a_hint_that_comes_early_does_nothing_but_a_few_milliseconds_count_as_due():
    set_note(due_in=SECOND)
    timer = Timer.objects.get()
    assert not transitions.fire(timer_id=timer.pk, now=NOW + SECOND - timedelta(milliseconds=21), by="test")
    assert fired == []
    assert transitions.fire(timer_id=timer.pk, now=NOW + SECOND - timedelta(milliseconds=20), by="test")
    assert fired == [("a", NOW + SECOND)]
    assert Firing.objects.get().lateness_ms == 0


@pytest.mark.django_db
def test_setting_again_replaces():
    set_note(due_in=SECOND, fence=1)
    set_note(due_in=5 * SECOND, fence=2)
    timer = Timer.objects.get()
    assert (timer.due_at, timer.fence) == (NOW + 5 * SECOND, 2)
    assert transitions.fire_due(now=NOW + 4 * SECOND, by="test") == 0
    assert transitions.fire_due(now=NOW + 5 * SECOND, by="test") == 1


@pytest.mark.django_db
def test_a_cancelled_timer_never_fires():
    set_note(due_in=SECOND)
    assert transitions.cancel_timer(kind="test.note", key="a")
    assert not transitions.cancel_timer(kind="test.note", key="a")
    assert transitions.fire_due(now=NOW + 5 * SECOND, by="test") == 0
    assert fired == []


@pytest.mark.django_db
def test_a_handler_that_raises_undoes_its_work_and_keeps_the_row_with_its_error():
    set_note(due_in=60 * SECOND)
    transitions.set_timer(kind="test.fails", key="f", due_at=NOW, now=NOW)
    failing = Timer.objects.get(kind="test.fails")
    assert transitions.fire(timer_id=failing.pk, now=NOW, by="test")
    failing.refresh_from_db()
    assert failing.attempts == 1
    assert failing.due_at == NOW + SECOND
    assert failing.last_error == "RuntimeError('the mail server is on fire')"
    assert Timer.objects.filter(kind="test.note").exists()
    assert not Firing.objects.exists()
    transitions.fire(timer_id=failing.pk, now=NOW + SECOND, by="test")
    failing.refresh_from_db()
    assert (failing.attempts, failing.due_at) == (2, NOW + 3 * SECOND)
    assert failing.first_due_at == NOW


@pytest.mark.django_db
def test_a_handler_whose_rows_the_database_refuses_backs_off_and_shows_its_error():
    transitions.set_timer(kind="test.refused", key="r", due_at=NOW, now=NOW)
    set_note(due_in=timedelta(0))
    assert transitions.fire_due(now=NOW, by="test") == 2
    assert fired == [("a", NOW)]
    kept = Timer.objects.get(kind="test.refused")
    assert (kept.attempts, kept.due_at) == (1, NOW + SECOND)
    assert "too long" in kept.last_error


@pytest.mark.django_db
def test_a_kind_without_handler_is_kept_for_a_version_that_knows_it():
    transitions.set_timer(kind="test.unknown", key="u", due_at=NOW, now=NOW)
    transitions.fire_due(now=NOW, by="test")
    assert "no handler" in Timer.objects.get().last_error


@pytest.mark.django_db
def test_a_handler_may_set_its_own_timer_again():
    transitions.set_timer(kind="test.again", key="r", due_at=NOW, now=NOW)
    assert transitions.fire_due(now=NOW, by="test") == 1
    assert Timer.objects.get().due_at == NOW + SECOND


@pytest.mark.django_db
def test_close_timers_are_handed_over_on_commit_far_ones_are_left_to_the_timekeeper(
    broker, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        set_note("close", due_in=9 * SECOND)
        set_note("far", due_in=11 * SECOND)
    close, far = Timer.objects.get(key="close"), Timer.objects.get(key="far")
    assert broker.given == [close.pk]
    assert (close.handed_at, far.handed_at) == (NOW, None)
    assert transitions.hand_over_due_soon(now=NOW + 2 * SECOND) == (1, True)
    assert broker.given == [close.pk, far.pk]
    assert transitions.hand_over_due_soon(now=NOW + 3 * SECOND) == (0, True)


@pytest.mark.django_db
def test_a_thousand_are_set_in_one_statement_and_the_timekeeper_hands_over_the_rest(
    broker, django_capture_on_commit_callbacks, django_assert_num_queries
):
    set_note("0007", due_in=60 * SECOND)
    wanted = [Timer(kind="test.note", key=f"{n:04}", due_at=NOW, payload={"n": n}) for n in range(1000)]
    with django_capture_on_commit_callbacks(execute=True), django_assert_num_queries(1):
        transitions.set_timers([Timer(kind="test.note", key="0000", due_at=NOW + SECOND), *wanted], now=NOW)
    assert Timer.objects.count() == 1000
    again = Timer.objects.get(key="0007")
    assert (again.due_at, again.first_due_at, again.payload) == (NOW, NOW, {"n": 7})
    assert Timer.objects.get(key="0000").due_at == NOW
    assert len(broker.given) == Timer.objects.filter(handed_at=NOW).count() == 50
    assert transitions.hand_over_due_soon(now=NOW) == (950, True)
    assert len(set(broker.given)) == 1000


@pytest.mark.django_db
def test_what_the_broker_refused_is_free_again_in_one_statement(
    broker, django_capture_on_commit_callbacks, django_assert_num_queries
):
    broker.answers = False
    with django_capture_on_commit_callbacks() as on_commit:
        transitions.set_timers([Timer(kind="test.note", key=key, due_at=NOW) for key in "abc"], now=NOW)
        transitions.set_timers([Timer(kind="test.note", key="far", due_at=NOW + 60 * SECOND)], now=NOW)
        transitions.set_timers([], now=NOW)
    Timer.objects.filter(key="c").update(due_at=NOW + SECOND)  # set anew, and given, before the refusal
    with django_assert_num_queries(1):
        [run() for run in on_commit]
    assert list(Timer.objects.filter(handed_at__isnull=False).values_list("key", flat=True)) == ["c"]


@pytest.mark.django_db
def test_without_a_broker_the_timekeeper_fires_on_time_by_itself(broker, django_capture_on_commit_callbacks):
    broker.answers = False
    with django_capture_on_commit_callbacks(execute=True):
        set_note(due_in=SECOND)
    assert Timer.objects.get().handed_at is None
    clock = NOW + timedelta(milliseconds=600)
    pause = Timekeeper(clock=lambda: clock).round(clock)
    assert fired == []
    assert pause == pytest.approx(0.4)
    clock = NOW + SECOND
    Timekeeper(clock=lambda: clock).round(clock)
    assert fired == [("a", NOW + SECOND)]


@pytest.mark.django_db
def test_what_celery_was_given_but_did_not_fire_the_timekeeper_fires_after_two_seconds(
    broker, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        set_note(due_in=SECOND)
    keeper = Timekeeper(clock=lambda: NOW)
    keeper.round(NOW + SECOND + rules.PATIENCE - timedelta(milliseconds=1))
    assert fired == []
    keeper.round(NOW + SECOND + rules.PATIENCE)
    assert [key for key, _ in fired] == ["a"]
    firing = Firing.objects.get()
    assert (firing.by, firing.lateness_ms) == ("timekeeper", 2000)


@pytest.mark.django_db
def test_a_thousand_that_are_in_no_hurry_do_not_hold_up_what_is_urgent(broker):
    def bulk() -> list[Timer]:
        return [Timer(kind="test.bulk", key=f"{n:03}", due_at=NOW) for n in range(250)]

    transitions.set_timers(bulk(), now=NOW)
    set_note("urgent", due_in=11 * SECOND)
    assert transitions.hand_over_due_soon(now=NOW + 2 * SECOND) == (101, True)
    assert broker.given[0] == Timer.objects.get(key="urgent").pk
    keeper = Timekeeper(clock=lambda: NOW)
    keeper.round(NOW + 20 * SECOND)  # the workers are at it
    assert [key for key, _ in fired] == ["urgent"]
    keeper.round(NOW + rules.BULK_PATIENCE)
    assert len(fired) == 101
    broker.answers = False
    set_note("urgent too", due_in=40 * SECOND)
    keeper.round(NOW + 40 * SECOND)
    assert [key for key, _ in fired[101:]][:1] == ["urgent too"]
    for _ in range(3):
        keeper.round(NOW + 40 * SECOND)
    assert not Timer.objects.exists()


@pytest.mark.django_db
def test_the_timekeeper_forgets_firings_after_thirty_days(broker):
    for age in (29, 31):
        at = NOW - timedelta(days=age)
        Firing.objects.create(
            kind="test.note", key=str(age), due_at=at, fired_at=at, lateness_ms=0, by="test"
        )
    Timekeeper(clock=lambda: NOW).round(NOW)
    assert list(Firing.objects.values_list("key", flat=True)) == ["29"]


@pytest.mark.django_db
def test_what_waits_in_the_timekeeper_is_not_queued_twice_but_again_once_it_has_begun():
    begun, go_on, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        go_on.wait(10)

    def run(work, once):
        network.run(work, lane="test", threads=1, once=once)

    by_timekeeper = registry.fired_by.set("timekeeper")
    try:
        run(slow, "slow")
        assert begun.wait(10)
        run(lambda: done.append("again"), "slow")
        for _ in range(3):
            run(lambda: done.append("mail"), "mail")
    finally:
        registry.fired_by.reset(by_timekeeper)
        go_on.set()
        network._lanes.pop("test").shutdown()
    assert done == ["again", "mail"]


def test_the_broker_is_left_alone_for_a_second_after_it_failed(monkeypatch):
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise ConnectionError

    monkeypatch.setattr(handover, "_silent_until", 0.0)
    monkeypatch.setattr(handover.current_app, "send_task", refuse)
    assert not handover.publish("a.task", [], queue="default")
    assert not handover.publish("a.task", [], queue="default")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 1), (2, 2), (3, 5), (4, 10), (5, 30), (6, 60), (7, 300), (8, 300), (500, 300)],
)
def test_backoff_grows_to_five_minutes_and_never_gives_up(attempts, seconds):
    assert rules.backoff(attempts) == timedelta(seconds=seconds)
