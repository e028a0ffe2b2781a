"""Who would be paged when, and by what, if something broke at a given time; and what is wrong with a policy in a week."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from accounts.models import ContactKind, User
from catalog.models import Service
from escalation import rules
from escalation.models import Policy, RoundRobin
from escalation.rules import lint as linting
from escalation.rules.lint import Fault, Stretch
from escalation.rules.paging import CatchAll, Step, WaitAt
from escalation.snapshots import snapshot_for, snapshot_of
from escalation.targets import Staffing, catch_all_people, schedules_of
from incidents.rules import urgency_of_severity
from notifications import queries as notification_queries
from notifications import rules as notification_rules
from notifications.models import Urgency
from oncall import queries as oncall_queries

HORIZON = timedelta(hours=24)
MOST_MOMENTS = 60
WEEK = linting.WEEK


@dataclass(frozen=True)
class Message:
    at: datetime
    channel: str  # in words
    why: str


@dataclass(frozen=True)
class Call:
    """One person at one moment, and the messages that follow unless somebody answers before."""

    person: User
    reason: str
    messages: tuple[Message, ...]
    unreachable: bool


@dataclass(frozen=True)
class Moment:
    at: datetime
    title: str  # Tier 1, On call
    note: str  # why it waits, or why the catch-all
    passed: tuple[str, ...]  # tiers that are passed before it, and why
    calls: tuple[Call, ...]
    due_at: datetime | None
    level: int | None = None  # of the tier; None: the catch-all
    is_catch_all: bool = False
    is_joining: bool = False  # somebody comes on call while the tier waits


@dataclass(frozen=True)
class PagePlan:
    """`policy` None: the service has none."""

    service: Service
    policy: Policy | None
    severity: int
    urgency: str
    at: datetime
    moments: tuple[Moment, ...]
    is_cut: bool  # there are more than are shown
    faults: tuple[Fault, ...]


def page_plan(*, service: Service, severity: int, at: datetime, urgency: str = "") -> PagePlan:
    """The course when nobody answers, to the first time that the catch-all is paged or 24 hours have passed.

    As things stand now: with today's policy, schedules and contact methods. `urgency` empty: that of an incident that
    somebody declares.
    """
    policy, snapshot = snapshot_for(service)
    cell = rules.matrix_cell(snapshot, severity)
    urgency = urgency or cell.get("urgency") or urgency_of_severity(severity)
    book = _Book(snapshot, service=service, start=at)
    turns = dict(RoundRobin.objects.filter(policy=policy).values_list("level", "turn")) if policy else {}
    steps = rules.plan(
        snapshot, severity=severity, urgent=urgency == Urgency.HIGH, at=at, staffing=book.staffing, turns=turns,
        changes=book.change_after, until=at + HORIZON,
    )  # fmt: skip
    shown = sorted(steps, key=lambda step: step.at)[:MOST_MOMENTS]
    moments = tuple(_moment(step, snapshot, book, urgency=urgency) for step in shown)
    return PagePlan(
        service=service, policy=policy, severity=severity, urgency=urgency, at=at, moments=moments,
        is_cut=len(steps) > len(shown), faults=tuple(faults_of(snapshot, service=service, start=at)),
    )  # fmt: skip


class _Book:
    """Who is where, read once for each time that is asked for."""

    def __init__(self, snapshot: Mapping[str, Any], *, service: Service, start: datetime) -> None:
        self.snapshot, self.service = snapshot, service
        self.people: dict[int, User] = {}
        self._at: dict[datetime, Staffing] = {}
        self._changes = {
            index: oncall_queries.staffing_changes(schedules_of(tier), start, start + HORIZON)
            for index, tier in enumerate(snapshot["tiers"])
            if schedules_of(tier)
        }
        self._plans: dict[tuple[int, str], notification_rules.Plan] = {}

    def staffing(self, index: int, at: datetime) -> list[list[rules.Candidate]]:
        here = self._at.setdefault(at, Staffing(self.snapshot, service=self.service, at=at))
        found = here(index)
        self.people |= here.people
        return found

    def change_after(self, index: int, at: datetime) -> datetime | None:
        return next((moment for moment in self._changes.get(index, ()) if moment > at), None)

    def messages(self, person: User, urgency: str, channels: list[str]) -> notification_rules.Plan:
        key = (person.pk, ",".join(channels) or urgency)
        if key not in self._plans:
            reach = notification_queries.reach(person)
            at_once = [notification_rules.Step(0, way) for way in reach.ways if way.channel in channels]
            self._plans[key] = notification_rules.plan(
                urgency=urgency, steps=at_once or reach.steps.get(urgency, ()), ways=reach.ways,
                sign_in_address=person.email,
            )  # fmt: skip
        return self._plans[key]


def _moment(step: Step, snapshot: Mapping[str, Any], book: _Book, *, urgency: str) -> Moment:
    then = step.decision.then
    passed = tuple(
        f"Tier {tier['level']}, {tier['name']}, is passed{f': {each.why}' if each.why else ''}"
        for each in step.decision.passed
        for tier in (snapshot["tiers"][each.position.index],)
    )
    if isinstance(then, CatchAll):
        people = [(person, "Catch-all") for person in catch_all_people(snapshot["catch_all"])]
        return Moment(
            step.at, "Catch-all", then.why, passed, _calls(people, book, at=step.at, urgency=urgency), step.due_at,
            is_catch_all=True,
        )  # fmt: skip
    tier = snapshot["tiers"][then.position.index]
    again = f", repeat {then.position.loop}" if then.position.loop else ""
    title = f"Tier {tier['level']}, {tier['name']}{again}"
    if isinstance(then, WaitAt):
        return Moment(
            step.at, title, f"waits all the same: {then.why}", passed, (), step.due_at, level=tier["level"]
        )
    chosen = step.joins or then.recipients
    people = [(book.people[each.user_id], each.reason) for each in chosen]
    calls = _calls(people, book, at=step.at, urgency=urgency, channels=list(tier.get("channels") or []))
    return Moment(
        step.at, title, "", passed if not step.joins else (), calls, step.due_at, level=tier["level"],
        is_joining=bool(step.joins),
    )  # fmt: skip


def _calls(
    people: list[tuple[User, str]],
    book: _Book,
    *,
    at: datetime,
    urgency: str,
    channels: list[str] | None = None,
) -> tuple[Call, ...]:
    found = []
    for person, reason in people:
        plan = book.messages(person, urgency, channels or [])
        messages = tuple(
            Message(at + timedelta(seconds=each.delay_seconds), _label(each.way.channel), each.reason)
            for each in plan.deliveries
        )
        found.append(Call(person, reason, messages, plan.unreachable))
    return tuple(found)


def _label(channel: str) -> str:
    return str(ContactKind(channel).label) if channel in ContactKind.values else channel


# --- a week -----------------------------------------------------------------------------------------


def faults_of(
    snapshot: Mapping[str, Any], *, service: Service, start: datetime, zone: str = "UTC"
) -> list[Fault]:
    """What is wrong in the week from `start` on."""
    staffing = {
        index: stretches
        for index, stretches in stretches_of(snapshot, service=service, start=start, end=start + WEEK).items()
        if snapshot["tiers"][index]["targets"]
    }
    return linting.lint(snapshot, staffing=staffing, zone=zone)


def faults_of_policy(policy: Policy, *, start: datetime) -> list[Fault]:
    """With the first of the services that it pages for; one without services is looked at with nobody's responders."""
    link = policy.service_policies.select_related("service").order_by("service__criticality", "pk").first()
    return faults_of(snapshot_of(policy), service=link.service if link else Service(), start=start)


def stretches_of(
    snapshot: Mapping[str, Any], *, service: Service, start: datetime, end: datetime
) -> dict[int, list[Stretch]]:
    """By index of a tier: who can be reached there, without holes, looked at wherever a shift begins or ends."""
    schedules = sorted({pk for tier in snapshot["tiers"] for pk in schedules_of(tier)})
    instants = [start, *oncall_queries.staffing_changes(schedules, start, end)]
    found: dict[int, list[Stretch]] = defaultdict(list)
    for at, until in zip(instants, [*instants[1:], end], strict=True):
        staffing = Staffing(snapshot, service=service, at=at)
        for index in range(len(snapshot["tiers"])):
            people = frozenset(each.user_id for target in staffing(index) for each in target)
            _join(found[index], Stretch(at, until, people))
    return found


def _join(stretches: list[Stretch], following: Stretch) -> None:
    if stretches and stretches[-1].people == following.people:
        stretches[-1] = Stretch(stretches[-1].starts_at, following.ends_at, following.people)
    else:
        stretches.append(following)


def empty_tiers(
    snapshot: Mapping[str, Any], *, service: Service, start: datetime, end: datetime
) -> Iterator[tuple[int, list[Stretch]]]:
    """Tiers that name somebody and reach nobody at times, by index, and when."""
    for index, stretches in stretches_of(snapshot, service=service, start=start, end=end).items():
        empty = [each for each in stretches if not each.people]
        if snapshot["tiers"][index]["targets"] and empty:
            yield index, empty
