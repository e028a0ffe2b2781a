"""Twenty-four hours with every kind of fault, against a model that says what must have been sent (day_model.py).

Time is moved by giving it. Between two moments a worker is killed at any statement of its transaction, after the commit,
or while it sends; a connection to the database is cut; the broker loses, doubles, forgets or refuses messages; two
timekeepers fire at once, and the clock of one of them is minutes off.
"""

import heapq
import itertools
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import InterfaceError, OperationalError, connection

from accounts.models import User
from escalation import engine
from escalation import transitions as escalation
from escalation.rules import TargetData
from incidents import timeline
from incidents import transitions as incidents
from incidents.models import Incident, Page, Status
from notifications import channels
from notifications.channels.base import Message, NoLongerWanted
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_layer, make_override, make_schedule
from tests.journeys.day_model import Course, Level, Plan, Shifts
from timers import network, registry
from timers import transitions as timers
from timers.models import Timer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("journey-day")]

DAWN = datetime(2026, 11, 24, tzinfo=UTC)
SECONDS = {1: 120, 2: 300, 3: 900, 4: 1800}
LONG_ENOUGH = timedelta(minutes=10)
"""A page that waited so long has been a message; a bundle, a throttle and a lease with a wrong clock take less."""


class Killed(BaseException):
    """The process is gone: nothing that handles exceptions gets to see this one."""


# --- the organization, once as rows and once for the model -------------------------------------------------------------


def organization() -> tuple[dict[str, Any], dict[str, Plan]]:
    people = {
        name: make_user(name)
        for name in ("ada", "bob", "cyd", "dot", "eve", "fay", "gus", "hal", "ivy", "jon", "kim", "lea", "max", "dir")
    }  # fmt: skip
    for person in people.values():
        make_email(person, verified_at=DAWN - timedelta(days=1))
    hour = lambda number: DAWN + timedelta(hours=number)  # noqa: E731

    # three people who take turns of three hours
    turning = make_schedule("Turning")
    names = ("ada", "bob", "cyd")
    first = DAWN - timedelta(days=30)
    make_layer(
        turning, people=[people[name] for name in names], starts_at=first, turn_unit="hours", turn_length=3
    )
    turns = Shifts([(first + timedelta(hours=3 * n), names[n % 3]) for n in range(31 * 8 + 8)])

    # two people with nobody between ten and three, and at night
    gaps = make_schedule("Gaps")
    rows = [(0, "hal"), (5, "ivy"), (10, ""), (15, "hal"), (20, "ivy"), (23, "")]
    for (start, name), (end, _) in itertools.pairwise([*rows, (30, "")]):
        if name:
            make_override(gaps, user=people[name], starts_at=hour(start), ends_at=hour(end))
    holes = Shifts([(first, ""), *((hour(start), name) for start, name in rows)])

    def on(schedule) -> list[TargetData]:
        return [TargetData(kind="schedule", id=schedule.pk)]

    services = {
        name: make_service(name, criticality=1) for name in ("plain", "repeats", "quorum", "unstaffed")
    }
    director = people["dir"]
    make_policy(
        tier(1, targets=on(turning)), tier(2, people["dot"]), tier(3, people["eve"]), service=services["plain"],
        repeats=1, catch_all=director,
    )  # fmt: skip
    make_policy(
        tier(1, people["fay"]), tier(2, people["gus"], people["eve"]), service=services["repeats"], repeats=3,
        catch_all=director,
    )  # fmt: skip
    make_policy(
        replace(tier(1, people["jon"], people["kim"], people["lea"]), ack_mode="quorum", quorum=2),
        tier(2, people["max"]), service=services["quorum"], repeats=0, catch_all=director,
    )  # fmt: skip
    make_policy(
        tier(1, targets=on(gaps)), tier(2, people["max"]), service=services["unstaffed"], repeats=2, catch_all=director
    )  # fmt: skip

    def level(*names: str, who: Shifts | None = None, needs: int = 1) -> Level:
        return Level(who or frozenset(names), SECONDS, needs)

    return {"people": people, "services": services}, {
        "plain": Plan([level(who=turns), level("dot"), level("eve")], 1, "dir"),
        "repeats": Plan([level("fay"), level("gus", "eve")], 3, "dir"),
        "quorum": Plan([level("jon", "kim", "lea", needs=2), level("max")], 0, "dir"),
        "unstaffed": Plan([level(who=holes), level("max")], 2, "dir"),
    }


# --- the broker, the mail and the faults ------------------------------------------------------------------------------


class Broker:
    """Holds hints until their time, unless it loses them."""

    def __init__(self, day: "Day") -> None:
        self.day, self.held, self.number = day, [], itertools.count()
        self.lock = threading.Lock()

    def give(self, *, timer_id: int, kind: str, due_at: datetime) -> bool:
        dice = self.day.dice
        if self.day.broker_away:
            return False
        with self.lock:
            copies = dice.choices([0, 1, 2], weights=self.day.copies)[0]
            for copy in range(copies):
                at = max(due_at, self.day.now) + timedelta(seconds=dice.uniform(1, 90) if copy else 0)
                heapq.heappush(self.held, (at, next(self.number), timer_id))
        return True


class Post:
    """The channel: what it was given is out."""

    kind = "email"

    def __init__(self, day: "Day") -> None:
        self.day, self.sent, self.keys = day, [], []
        self.kills = 0

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        if not last_look():
            raise NoLongerWanted
        main = threading.current_thread() is threading.main_thread()
        fate = self.day.dice.random() if main else 1.0
        if fate < 0.02:
            self.kills += 1
            raise Killed("before sending")
        texts = [each.title for each in message.others] or [message.title]
        self.keys.append(message.idempotency_key)
        for name in {name for text in texts for name in re.findall(r"day-\d+", text)}:
            self.sent.append((self.day.now, name, message.address.partition("@")[0]))
        if fate < 0.04:
            self.kills += 1
            raise Killed("after sending, before it was written down")
        return "250 OK"


@contextmanager
def fault(dice: random.Random, *, likely: float) -> Iterator[None]:
    """Perhaps something happens at one of the next statements: the process dies, a fault of ours, the connection is cut."""
    left = dice.randint(1, 45)
    what = dice.choice(["killed", "wrong", "cut"]) if dice.random() < likely else ""

    def disturb(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and what == "killed":
            raise Killed(sql[:60])
        if left == 0 and what == "wrong":
            raise RuntimeError(f"a fault at {sql[:60]}")
        if left == 0 and what == "cut":
            pid = connection.connection.info.backend_pid
            with psycopg.connect(_address(), autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 2000)", [pid])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(disturb):
        yield


def _address() -> str:
    kept = connection.settings_dict
    given = {"host": kept["HOST"], "port": kept["PORT"], "user": kept["USER"], "password": kept["PASSWORD"]}
    return psycopg.conninfo.make_conninfo(dbname=kept["NAME"], **{k: v for k, v in given.items() if v})


# --- the day --------------------------------------------------------------------------------------------------------


class Day:
    def __init__(self, *, seed: int, hours: int, count: int, faults: float = 0.1) -> None:
        self.dice = random.Random(seed)
        self.faults, self.copies = faults, [faults, 1 - 2 * faults, faults]
        self.now, self.end = DAWN, DAWN + timedelta(hours=hours)
        self.made, self.plans = organization()
        self.broker, self.post = Broker(self), Post(self)
        self.broker_away = False
        self.skews: list[tuple[datetime, timedelta]] = [(DAWN, timedelta(0))]
        self.courses: dict[int, Course] = {}
        self.steps: set[tuple[int, str]] = set()
        self.seen: list[tuple[datetime, int, str, str]] = []
        self.ended: dict[int, datetime] = {}
        self.last_page = 0
        self.wrong: list[str] = []
        self.happened: dict[str, int] = {}
        self.plan = sorted(self._script(count), key=lambda each: each[0])
        self.round_at = DAWN

    # ------------------------------------------------------------------ what people do

    def _script(self, count: int) -> Iterator[tuple[datetime, int, Callable[[], None]]]:
        span, number = (self.end - DAWN).total_seconds(), itertools.count()
        dice = self.dice

        def later(at: datetime, longest: float) -> datetime:
            return at + timedelta(seconds=round(longest * dice.random() ** 2, 3))

        for each in range(count):
            name, at = f"day-{each}", DAWN + timedelta(seconds=round(span * dice.random(), 3))
            service, severity = dice.choice(sorted(self.plans)), dice.choice([1, 1, 2, 2, 3, 4])
            yield at, next(number), lambda a=(name, service, severity): self.open(*a)
            if dice.random() < 0.3:
                yield later(at, 1500), next(number), lambda n=name: self.escalate(n)
            for _ in range(dice.choice([0, 0, 1, 2])):
                to = dice.randint(1, 4)
                yield later(at, 2400), next(number), lambda n=name, s=to: self.rate(n, s)
            for _ in range(dice.choice([0, 1, 1, 2, 2, 3])):
                yield later(at, 4000), next(number), lambda n=name: self.answer(n)
            yield (
                at + timedelta(seconds=dice.uniform(300, 9000)),
                next(number),
                lambda n=name: self.resolve(n),
            )
        for _ in range(int(span // 7200)):
            at = DAWN + timedelta(seconds=span * dice.random())
            minutes = dice.choice([-4, -3, -1, 1, 3, 4])
            yield at, next(number), lambda m=minutes: self.skews.append((self.now, timedelta(minutes=m)))
            back = at + timedelta(minutes=dice.uniform(2, 20))
            yield back, next(number), lambda: self.skews.append((self.now, timedelta(0)))
            away = DAWN + timedelta(seconds=span * dice.random())
            yield away, next(number), lambda: setattr(self, "broker_away", True)
            yield away + timedelta(minutes=5), next(number), lambda: setattr(self, "broker_away", False)
            flush = DAWN + timedelta(seconds=span * dice.random())
            yield flush, next(number), self.broker.held.clear

    def slack(self, since: datetime, until: datetime) -> timedelta:
        """How far the worst clock was off then."""
        before = [skew for at, skew in self.skews if at <= since][-1:]
        return max(abs(skew) for skew in [*before, *(s for at, s in self.skews if since <= at <= until)])

    def course(self, name: str) -> tuple[Incident | None, Course | None]:
        incident = Incident.objects.filter(title=name).first()
        return incident, self.courses.get(incident.pk) if incident else None

    def open(self, name: str, service: str, severity: int) -> None:
        def begin() -> None:
            if not Incident.objects.filter(title=name).exists():
                urgency = "low" if severity == 4 else "high"
                incidents.trigger(
                    service=self.made["services"][service], title=name, severity=severity, urgency=urgency, now=self.now
                )  # fmt: skip

        self.insist(begin)
        incident = Incident.objects.get(title=name)
        self.courses[incident.pk] = Course(
            name=f"{name} ({service})",
            plan=self.plans[service],
            severity=severity,
            at=self.now,
            slack=self.slack,
        )

    def escalate(self, name: str) -> None:
        incident, course = self.course(name)
        if incident is None or incident.status != Status.TRIGGERED or incident.urgency == "low":
            return
        by = self.made["people"]["eve"]
        self.insist(
            lambda: escalation.escalate_now(
                incident_id=incident.pk, by=by, reason="", now=self.now, seen=incident.last_seq
            )
        )
        course.escalated(self.now)

    def rate(self, name: str, severity: int) -> None:
        incident, course = self.course(name)
        if incident is None or incident.status == Status.RESOLVED:
            return
        if course.gathering and severity == 4:
            return
        by = self.made["people"]["eve"]
        self.insist(
            lambda: incidents.set_severity(
                incident_id=incident.pk, severity=severity, by=by, reason="", now=self.now
            )
        )
        if severity != course.severity:
            course.severity_changed(severity, self.now)

    def answer(self, name: str) -> None:
        incident, course = self.course(name)
        if incident is None or incident.status == Status.RESOLVED:
            return
        called = sorted({who for _, pk, _, who in self.seen if pk == incident.pk} - course.answers)
        if not called:
            return
        by = self.dice.choice(called)
        self.insist(
            lambda: incidents.acknowledge(
                incident_id=incident.pk, by=User.objects.get(username=by), now=self.now
            )
        )
        course.answered(by)
        if course.over:
            self.ended.setdefault(incident.pk, self.now)

    def resolve(self, name: str) -> None:
        incident, course = self.course(name)
        if incident is None:
            return
        self.insist(
            lambda: incidents.resolve(incident_id=incident.pk, by=None, by_name="sender", now=self.now)
        )
        course.resolved()
        self.ended.setdefault(incident.pk, self.now)

    def insist(self, act: Callable[[], object]) -> None:
        """Whoever got no answer asks again."""
        if not self.survives(act):
            act()

    # ------------------------------------------------------------------ processes

    def survives(self, act: Callable[[], object]) -> bool:
        """Do it, perhaps with a fault in the middle. False: the process died or gave up."""
        try:
            with fault(self.dice, likely=self.faults):
                act()
        except (Killed, RuntimeError, OperationalError, InterfaceError) as error:
            self.count(type(error).__name__)
            connection.close()
            return False
        return True

    def count(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1

    def worker(self, timer_id: int) -> None:
        timers.fire(timer_id=timer_id, now=self.now, by="celery")

    def timekeeper(self, skew: timedelta) -> None:
        now = self.now + skew
        _, answers = timers.hand_over_due_soon(now=now)
        timers.fire_due(now=now, by="timekeeper", patient=answers)

    def round(self) -> None:
        skew = self.skews[-1][1]
        kind = self.dice.random()
        if kind < 0.15:
            self.count("two at once")
            barrier = threading.Barrier(2)

            def one(off: timedelta) -> None:
                try:
                    barrier.wait(10)
                    self.timekeeper(off)
                finally:
                    connection.close()

            threads = [threading.Thread(target=one, args=[off]) for off in (skew, timedelta(0))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        else:
            self.survives(lambda: self.timekeeper(skew if kind < 0.5 else timedelta(0)))

    # ------------------------------------------------------------------ time

    def live(self, *, to_the_first_wrong: bool = False) -> None:
        while not (to_the_first_wrong and (self.wrong or any(each.wrong for each in self.courses.values()))):
            at, act = self._what_comes_next()
            if at >= self.end:
                break
            self.now = max(self.now, at)
            act()
            self._look()
        else:
            self.end = self.now
        self.now = self.end
        self._look()
        self._look_back()

    def _what_comes_next(self) -> tuple[datetime, Callable[[], object]]:
        times: list[tuple[datetime, int, Callable[[], object]]] = []
        if self.plan:
            times.append((self.plan[0][0], 0, lambda: self.plan.pop(0)[2]()))
        if self.broker.held:
            times.append((self.broker.held[0][0], 1, lambda: self.survives(self._message)))
        for due_at, handed_at in Timer.objects.order_by("due_at").values_list("due_at", "handed_at")[:20]:
            hand = due_at - timedelta(seconds=5)
            at = hand if handed_at is None else due_at + timedelta(seconds=2.2)
            if self.broker_away and handed_at is None:
                at = due_at
            times.append((max(at, self.round_at + timedelta(seconds=1)), 2, self._round))
        if not times:
            return self.end, lambda: None
        at, _, act = min(times, key=lambda each: each[:2])
        return at, act

    def _message(self) -> None:
        _, _, timer_id = heapq.heappop(self.broker.held)
        self.worker(timer_id)

    def _round(self) -> None:
        self.round_at = self.now
        self.round()

    def _look(self) -> None:
        """Tell the model what has been paged since, and that time has passed."""
        new = list(
            Page.objects.filter(pk__gt=self.last_page)
            .order_by("pk")
            .values_list("pk", "incident_id", "step_key", "recipient__username")
        )
        for (incident_id, step), pages in itertools.groupby(new, key=lambda row: (row[1], row[2])):
            rows = list(pages)
            self.last_page = rows[-1][0]
            people = {row[3] for row in rows}
            before = {(pk, key, who) for _, pk, key, who in self.seen}
            twice = {who for who in people if (incident_id, step, who) in before}
            if twice or len(people) < len(rows):
                self.wrong.append(f"INC-{incident_id}: {sorted(people)} paged twice by {step}")
            course = self.courses[incident_id]
            is_new = (incident_id, step) not in self.steps
            (course.page if is_new else course.joined)(self.now, people)
            self.steps.add((incident_id, step))
            self.seen += [(self.now, incident_id, step, who) for who in sorted(people)]
        for course in self.courses.values():
            course.tick(self.now)

    def _look_back(self) -> None:
        self.wrong += [sentence for course in self.courses.values() for sentence in course.wrong]
        for incident in Incident.objects.order_by("pk"):
            self.wrong += timeline.verify(incident)
        names = dict(Incident.objects.values_list("pk", "title"))
        quiet = {
            pk for pk, course in self.courses.items() if course.severity == 4
        }  # low urgency goes by other rules, and later
        for at, pk, _, who in self.seen:
            end = self.ended.get(pk, self.end)
            if pk not in quiet and end - at > LONG_ENOUGH and not any(
                name == names[pk] and to == who and at - LONG_ENOUGH <= sent <= at + LONG_ENOUGH
                for sent, name, to in self.post.sent
            ):  # fmt: skip
                self.wrong.append(f"{names[pk]}: no message to {who} for the page of {at:%H:%M:%S}")
        ends = {names[pk]: at for pk, at in self.ended.items()}
        for sent, name, who in self.post.sent:
            if name in ends and sent > ends[name]:
                self.wrong.append(
                    f"{name}: a message to {who} at {sent:%H:%M:%S}, after {ends[name]:%H:%M:%S}"
                )
        repeated = len(self.post.keys) - len(set(self.post.keys))
        if repeated > self.happened.get("Killed", 0) + self.happened.get("OperationalError", 0):
            self.wrong.append(f"{repeated} messages left twice, more than processes died")


@pytest.fixture
def day(monkeypatch, settings):
    settings.MUSTER_UPDATE_MINUTES = [0, 0, 0, 0]  # a day passes without a word to stakeholders

    def make(**chosen: Any) -> Day:
        made = Day(**chosen)
        monkeypatch.setattr(timers, "hand_over", made.broker.give)
        monkeypatch.setitem(channels.CHANNELS, "email", made.post)
        # The timekeeper's own threads would send at a time of their own.
        monkeypatch.setattr(network, "run", lambda work, **_: work())
        return made

    return make


def test_a_day_of_faults_pages_whom_the_model_says_and_nobody_else(day):
    lived = day(seed=2026, hours=24, count=60)
    lived.live()
    assert lived.wrong == []
    assert len(lived.courses) == 60
    assert len(lived.seen) > 200
    faults = ("Killed", "OperationalError", "RuntimeError", "two at once")
    assert min(lived.happened[what] for what in faults) > 3, lived.happened


def test_the_hours_of_the_controls_are_clean_when_nothing_is_broken(day):
    lived = day(seed=7, hours=3, count=15)
    lived.live()
    assert lived.wrong == []


def a_lost_hint_is_a_lost_deadline(monkeypatch, lived: Day) -> None:
    monkeypatch.setattr(timers, "fire_due", lambda **_: 0)


def an_answer_stops_nothing(monkeypatch, lived: Day) -> None:
    monkeypatch.setattr(engine, "answered", lambda *_, **__: None)
    monkeypatch.setattr(engine, "runs_on", lambda *_: True)


def neither_row_nor_fence_is_looked_at(monkeypatch, lived: Day) -> None:
    """Whoever has a hint acts on it, as it was when it was given."""
    kept: dict[int, Timer] = {}
    give, in_time = lived.broker.give, engine.time_is_up

    def remember(*, timer_id: int, kind: str, due_at: datetime) -> bool:
        kept[timer_id] = Timer.objects.get(pk=timer_id)
        return give(timer_id=timer_id, kind=kind, due_at=due_at)

    def act(timer_id: int) -> None:
        timer = kept[timer_id]
        if timer.kind != engine.STEP or timer.due_at > lived.now:
            timers.fire(timer_id=timer_id, now=lived.now, by="celery")
            return
        handler = registry.handler_for(engine.STEP)
        with incidents.transaction.atomic():
            handler.handle(timer, lived.now, handler.lock(timer))

    def regardless(incident: Incident, *, step: int, now: datetime, run_id: int | None = None) -> None:
        in_time(incident, step=engine.own_run(incident).step, now=now, run_id=run_id)

    monkeypatch.setattr(timers, "hand_over", remember)
    monkeypatch.setattr(engine, "time_is_up", regardless)
    lived.worker = act


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (a_lost_hint_is_a_lost_deadline, "was not paged at"),
        (an_answer_stops_nothing, "after the answer of"),
        (neither_row_nor_fence_is_looked_at, "which is before"),
    ],
)
def test_control_the_model_sees_what_is_broken(day, monkeypatch, broken, said):
    lived = day(seed=7, hours=3, count=15)
    broken(monkeypatch, lived)
    lived.live(to_the_first_wrong=True)
    assert any(said in sentence for sentence in lived.wrong), lived.wrong
