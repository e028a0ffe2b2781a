"""Reads: who is on call, until when, who is next, and where nobody is."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet

from accounts.models import AuditEntry, User, validate_time_zone
from core.errors import Invalid, Missing
from oncall import rules
from oncall.models import (
    CalendarFeed,
    Filler,
    Layer,
    LayerMember,
    Override,
    OverrideKind,
    Schedule,
    SwapRequest,
    SwapStatus,
    TemporarySchedule,
    TemporaryShift,
    Turn,
)
from oncall.quality import Quality, quality
from oncall.rules import LayerData, OverrideData, ScheduleData, Shift, Stint, TemporaryData, Window

log = logging.getLogger(__name__)

GAP_DAYS = 30
# How far ahead the next handoff is looked for. A rotation by quarters is shown; one by years is "later".
HORIZON = timedelta(days=100)
_FOREVER = datetime(2200, 1, 1, tzinfo=UTC)

# --- loading ----------------------------------------------------------------------------------------


@dataclass
class Loaded:
    """A schedule as the rules read it, and the people that it names."""

    data: ScheduleData
    people: dict[int, User] = field(default_factory=dict)

    def users(self, ids: Iterable[int]) -> list[User]:
        return [self.people[person] for person in ids]


def load(
    ids: Collection[int], *, start: datetime, end: datetime | None = None, past: bool = False
) -> dict[int, Loaded]:
    """What decides who is on call from `start` until `end`, or for ever; two queries for any number of schedules, and
    two more when one of them has no layer, or has a temporary schedule or a filler.

    `past`: the time may lie before now, when accounts that are switched off today may have been on. One query more.
    """
    if not ids:
        return {}
    until = end or _FOREVER
    found: dict[int, _Parts] = {}

    def part(schedule: Schedule) -> _Parts:
        return found.setdefault(schedule.pk, _Parts(schedule))

    temporary = Q(temporary__ends_at__gt=start, temporary__starts_at__lte=until)
    filling = Q(ends_at=None) | Q(ends_at__gt=start)
    of_it = {"schedule": OuterRef("layer__schedule")}
    is_rare = False
    for member in (
        LayerMember.objects.filter(layer__schedule__in=ids)
        .annotate(
            is_rare=Exists(TemporarySchedule.objects.filter(ends_at__gt=start, starts_at__lte=until, **of_it))
            | Exists(Filler.objects.filter(filling, **of_it))
        )
        .filter(Q(layer__superseded_at=None) | Q(layer__superseded_at__gt=start))
        .select_related("layer__schedule", "user")
        .order_by("layer_id", "position")
    ):
        is_rare = is_rare or member.is_rare
        mine = part(member.layer.schedule)
        mine.layers.setdefault(member.layer_id, (member.layer, []))[1].append(member.user_id)
        mine.people[member.user_id] = member.user
    with_layers = set(found)
    for override in Override.objects.filter(
        schedule__in=ids, ends_at__gt=start, starts_at__lte=until
    ).select_related("schedule", "user"):
        mine = part(override.schedule)
        mine.overrides.append(override_data(override))
        mine.people[override.user_id] = override.user
    if is_rare or set(ids) - with_layers:
        for shift in TemporaryShift.objects.filter(temporary, temporary__schedule__in=ids).select_related(
            "temporary__schedule", "user"
        ):
            mine = part(shift.temporary.schedule)
            mine.temporary.setdefault(shift.temporary_id, (shift.temporary, []))[1].append(
                Stint(shift.user_id, shift.starts_at, shift.ends_at)
            )
            mine.people[shift.user_id] = shift.user
        for filler in Filler.objects.filter(filling, schedule__in=ids).select_related("schedule", "user"):
            mine = part(filler.schedule)
            mine.fillers.append(Stint(filler.user_id, filler.starts_at, filler.ends_at))
            mine.people[filler.user_id] = filler.user
    everybody = {user.pk: user for mine in found.values() for user in mine.people.values()}
    absent, absences = _absences(everybody, past=past)
    return {key: mine.loaded(absent=absent, absences=absences) for key, mine in found.items()}


@dataclass
class _Parts:
    """The rows of one schedule, while they are gathered."""

    schedule: Schedule
    people: dict[int, User] = field(default_factory=dict)
    layers: dict[int, tuple[Layer, list[int]]] = field(default_factory=dict)
    overrides: list[OverrideData] = field(default_factory=list)
    temporary: dict[int, tuple[TemporarySchedule, list[Stint]]] = field(default_factory=dict)
    fillers: list[Stint] = field(default_factory=list)

    def loaded(self, *, absent: Collection[int], absences: Iterable[Stint]) -> Loaded:
        data = ScheduleData(
            zone=_zone_of(self.schedule),
            layers=tuple(layer_data(layer, who) for layer, who in self.layers.values()),
            overrides=tuple(self.overrides),
            temporary=tuple(
                TemporaryData(
                    id=row.pk, starts_at=row.starts_at, ends_at=row.ends_at, created_at=row.created_at,
                    shifts=tuple(stints),
                )
                for row, stints in self.temporary.values()
            ),
            fillers=tuple(self.fillers),
            absent=frozenset(person for person in self.people if person in absent),
            absences=tuple(absence for absence in absences if absence.user in self.people),
        )  # fmt: skip
        return Loaded(data, self.people)


def _absences(people: dict[int, User], *, past: bool) -> tuple[set[int], list[Stint]]:
    """Whose account is off, and for the past: from when to when, as the audit trail has it."""
    off = {person for person, user in people.items() if not user.is_active}
    if not past or not people:
        return off, []
    entries = AuditEntry.objects.filter(
        subject__in=people, action__in=["person_deactivated", "person_activated"]
    ).order_by("at", "id")
    since: dict[int, datetime] = {}
    found = []
    for person, action, at in entries.values_list("subject_id", "action", "at"):
        if action == "person_deactivated":
            since.setdefault(person, at)
        elif person in since:
            found.append(Stint(person, since.pop(person), at))
    found += [Stint(person, at) for person, at in since.items() if person in off]
    return off - since.keys(), found


def layer_data(layer: Layer, people: Iterable[int]) -> LayerData:
    return LayerData(
        id=layer.pk,
        name=layer.name,
        position=layer.position,
        starts_at=layer.starts_at,
        ends_at=layer.ends_at,
        effective_from=layer.effective_from,
        superseded_at=layer.superseded_at,
        zone=layer.time_zone,
        **_turns_of(layer),
        mode=layer.mode,
        at_once=layer.people_at_once,
        windows=_windows_of(layer),
        people=tuple(people),
    )


def _windows_of(layer: Layer) -> tuple[Window, ...]:
    """A row that something else than a transition spoilt must not stop paging: the layer then always counts."""
    try:
        return rules.read_windows(layer.restrictions)
    except Invalid as problem:
        log.error("Layer %s of schedule %s: %s", layer.pk, layer.schedule_id, problem.message)
        return ()


def _turns_of(layer: Layer) -> dict[str, Any]:
    """The same for its turns: the first person then keeps the turn of a week."""
    if layer.turn_unit != Turn.CUSTOM:
        return {"unit": layer.turn_unit, "length": layer.turn_length}
    try:
        return {"unit": Turn.CUSTOM, "turns": rules.read_turns(layer.turns)}
    except Invalid as problem:
        log.error("Layer %s of schedule %s: %s", layer.pk, layer.schedule_id, problem.message)
        return {"unit": Turn.WEEKS, "length": 1}


def _zone_of(schedule: Schedule) -> str:
    """A zone that this machine's data lacks must not stop paging either."""
    try:
        validate_time_zone(schedule.time_zone)
    except ValidationError:
        log.error("Schedule %s: unknown zone %r, UTC is used", schedule.pk, schedule.time_zone)
        return "UTC"
    return schedule.time_zone


def override_data(override: Override) -> OverrideData:
    return OverrideData(
        id=override.pk,
        user=override.user_id,
        kind=override.kind,
        replaces=override.replaces_id,
        starts_at=override.starts_at,
        ends_at=override.ends_at,
        created_at=override.created_at,
    )


# --- who is on call ---------------------------------------------------------------------------------


def on_call(schedule_ids: Collection[int], at: datetime) -> dict[int, list[User]]:
    """The people on call at `at`, for each id that was asked for; nobody for an id that is unknown.

    Two queries for any number of schedules, mostly (`load`): paging stands on this.
    """
    loaded = load(schedule_ids, start=at, end=at)
    return {
        key: loaded[key].users(rules.on_call_at(loaded[key].data, at)) if key in loaded else []
        for key in schedule_ids
    }


def next_on_call(schedule_id: int, at: datetime) -> list[User]:
    """Who comes on call next, of those who are not on call at `at`; nobody if that does not change in 100 days."""
    loaded = load([schedule_id], start=at, end=at + HORIZON).get(schedule_id)
    return loaded.users(rules.next_people(ahead(loaded.data, at))) if loaded else []


def staffing_changes(schedule_ids: Collection[int], start: datetime, end: datetime) -> list[datetime]:
    """The instants after `start` and before `end` in which somebody comes or goes in one of these schedules, in order."""
    loaded = load(schedule_ids, start=start, end=end)
    return sorted(
        {at for each in loaded.values() for at in rules.changes(rules.shifts(each.data, start, end))}
    )


def next_staffed(schedule_ids: Collection[int], at: datetime) -> datetime | None:
    """The first instant from `at` on in which somebody is on call in one of these schedules; None within 100 days."""
    loaded = load(schedule_ids, start=at, end=at + HORIZON)
    return min(
        (span.starts_at for each in loaded.values() for span in ahead(each.data, at) if not span.is_gap),
        default=None,
    )


@dataclass(frozen=True)
class Span:
    """A shift with its people. `note` says what else there is to it: who is off."""

    starts_at: datetime
    ends_at: datetime
    people: list[User]
    note: str = ""

    @property
    def is_gap(self) -> bool:
        return not self.people


@dataclass(frozen=True)
class Standing:
    """How a schedule stands at one instant."""

    schedule: Schedule
    people: list[User]
    until: datetime | None  # None: no change within the horizon
    next: Span | None
    instead_of: list[User]  # whom an override or a temporary schedule replaces
    gaps: list[Span]  # in the next GAP_DAYS
    shifts: list[Span]  # from now to the horizon, gaps included
    shadows: list[User] = field(default_factory=list)
    is_filled: bool = False  # nobody else is on call, so the filler is
    next_people: list[User] = field(default_factory=list)  # who comes next, of those not on call

    @property
    def first_gap(self) -> Span | None:
        return self.gaps[0] if self.gaps else None


def standings(schedules: Collection[Schedule], at: datetime) -> list[Standing]:
    """For each schedule who is on call, until when, who is next and where nobody is, in as many queries as `load` takes."""
    loaded = load([schedule.pk for schedule in schedules], start=at, end=at + HORIZON)
    return [_standing(schedule, loaded.get(schedule.pk), at) for schedule in schedules]


def ahead(data: ScheduleData, at: datetime) -> list[Shift]:
    """The final schedule from `at` to the horizon.

    Home and the list ask this for every schedule on every load, so the days are worked out once a day and process.
    """
    at = at.astimezone(UTC)
    until = at + HORIZON
    return [
        Shift(max(shift.starts_at, at), min(shift.ends_at, until), shift.people)
        for shift in _shifts_from(data, at.replace(hour=0, minute=0, second=0, microsecond=0))
        if shift.ends_at > at and shift.starts_at < until
    ]


@lru_cache(maxsize=256)
def _shifts_from(data: ScheduleData, midnight: datetime) -> tuple[Shift, ...]:
    return tuple(rules.shifts(data, midnight, midnight + HORIZON + timedelta(days=1)))


def _standing(schedule: Schedule, loaded: Loaded | None, at: datetime) -> Standing:
    loaded = loaded or Loaded(ScheduleData(zone=schedule.time_zone))
    spans = [_span(loaded, shift) for shift in ahead(loaded.data, at)]
    current, following = spans[0], spans[1:]
    by_layers = rules.rotation_at(loaded.data, at)
    own = rules.on_call_at(replace(loaded.data, fillers=()), at)
    here = {person.pk for person in current.people}
    return Standing(
        schedule=schedule,
        people=current.people,
        until=current.ends_at if following else None,
        next=following[0] if following else None,
        instead_of=loaded.users(person for person in by_layers if person not in here),
        gaps=_gaps(spans, at),
        shifts=spans,
        shadows=loaded.users(rules.shadows_at(loaded.data, at)),
        is_filled=bool(current.people) and not own,
        next_people=loaded.users(
            rules.next_people([Shift(span.starts_at, span.ends_at, _ids(span)) for span in spans])
        ),
    )


def next_handoff(schedule: Schedule, at: datetime) -> Span | None:
    """The shift that follows the one at `at`, which may be a gap; None: no change within the horizon."""
    return standings([schedule], at)[0].next


def gaps(schedule: Schedule, at: datetime, *, days: int = GAP_DAYS) -> list[Span]:
    """Where nobody is on call in the next `days`."""
    end = at + timedelta(days=days)
    loaded = load([schedule.pk], start=at, end=end).get(schedule.pk)
    if loaded is None:
        return [Span(at, end, [])]
    return [_span(loaded, shift) for shift in rules.shifts(loaded.data, at, end) if shift.is_gap]


def _gaps(spans: list[Span], at: datetime) -> list[Span]:
    end = at + timedelta(days=GAP_DAYS)
    return [
        Span(span.starts_at, min(span.ends_at, end), [])
        for span in spans
        if span.is_gap and span.starts_at < end
    ]


def _ids(span: Span) -> tuple[int, ...]:
    return tuple(person.pk for person in span.people)


def _span(loaded: Loaded, shift: Shift) -> Span:
    return Span(shift.starts_at, shift.ends_at, loaded.users(shift.people))


# --- calendar ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    name: str
    spans: list[Span]


@dataclass(frozen=True)
class Calendar:
    """From `starts_at` until `ends_at`: what each layer says, the lowest first, and what comes out of it."""

    starts_at: datetime
    ends_at: datetime
    layers: list[Row]
    overrides: Row
    final: list[Span]
    temporary: Row
    shadows: Row

    @property
    def gaps(self) -> list[Span]:
        return [span for span in self.final if span.is_gap]


def calendar(schedule: Schedule, start: datetime, end: datetime) -> Calendar:
    """The queries of `load`. Layers that were edited are one row: their versions follow each other."""
    loaded = load([schedule.pk], start=start, end=end, past=True).get(schedule.pk) or Loaded(
        ScheduleData(zone=schedule.time_zone)
    )
    return calendar_of(loaded, start, end)


def calendar_of(loaded: Loaded, start: datetime, end: datetime) -> Calendar:
    data = loaded.data
    rows = []
    for position in sorted({layer.position for layer in data.layers}):
        # Alone a layer shows its own people, also one that only shadows.
        versions = [layer for layer in data.layers if layer.position == position]
        latest = max(versions, key=lambda layer: (layer.superseded_at is None, layer.counts_from))
        alone = replace(
            data, layers=tuple(replace(layer, mode="override") for layer in versions),
            overrides=(), temporary=(), fillers=(),
        )  # fmt: skip
        rows.append(
            Row(
                latest.name or f"Layer {position + 1}",
                [_span(loaded, shift) for shift in rules.shifts(alone, start, end)],
            )
        )
    temporary = replace(data, layers=(), overrides=(), fillers=())
    return Calendar(
        starts_at=start,
        ends_at=end,
        layers=rows,
        overrides=Row("Overrides", _override_spans(loaded, start, end)),
        final=[_span(loaded, shift) for shift in rules.shifts(data, start, end)],
        temporary=Row("Temporary", [_span(loaded, shift) for shift in rules.shifts(temporary, start, end)]),
        shadows=Row("Shadows", [_span(loaded, shift) for shift in rules.shadow_shifts(data, start, end)]),
    )


def _override_spans(loaded: Loaded, start: datetime, end: datetime) -> list[Span]:
    """Who comes or goes by overrides. What a later one replaces altogether is not shown, as it does not count."""

    def acting(at: datetime) -> tuple[int, ...]:
        found: list[int] = []
        absent = rules.absent_at(loaded.data, at)
        for override in rules.overrides_at(loaded.data, at):
            if override.kind == OverrideKind.REMOVE:
                found.append(-override.user)
            elif override.kind != OverrideKind.SHADOW and override.user not in absent:
                whole = override.kind == OverrideKind.REPLACE and override.replaces is None
                found = [override.user] if whole else [*found, override.user]
        return tuple(dict.fromkeys(found))

    edges = [at for override in loaded.data.overrides for at in (override.starts_at, override.ends_at)]
    spans = []
    for shift in rules.spans(edges, start, end, acting):
        off = [loaded.people[-person] for person in shift.people if person < 0]
        note = f"{', '.join(map(str, off))} off" if off else ""
        coming = [loaded.people[person] for person in shift.people if person > 0]
        spans.append(Span(shift.starts_at, shift.ends_at, coming or off, note))
    return spans


# --- rows -------------------------------------------------------------------------------------------


def current_layers() -> QuerySet[Layer]:
    """Layers that have not been replaced by an edit, each with its people."""
    return Layer.objects.filter(superseded_at=None).prefetch_related(
        Prefetch("members", LayerMember.objects.select_related("user").order_by("position"))
    )


def schedule_list(*, search: str = "", team: str = "") -> QuerySet[Schedule]:
    found = Schedule.objects.select_related("team").order_by("name", "id")
    if search:
        found = found.filter(Q(name__icontains=search) | Q(team__name__icontains=search))
    if team:
        found = found.filter(team__slug=team)
    return found


def schedules_with_layers() -> QuerySet[Schedule]:
    return schedule_list().prefetch_related(
        Prefetch("layers", current_layers().order_by("position")),
        Prefetch(
            "fillers",
            Filler.objects.filter(ends_at=None).select_related("user"),
            to_attr="current_fillers",
        ),
    )


def filler_of(schedule: Schedule) -> User | None:
    """Of a schedule that came from `schedules_with_layers`."""
    return schedule.current_fillers[0].user if schedule.current_fillers else None


def get_schedule(schedule_id: int) -> Schedule:
    schedule = schedules_with_layers().filter(pk=schedule_id).first()
    if schedule is None:
        raise Missing("There is no such schedule.")
    return schedule


def overrides_of(schedule: Schedule, at: datetime) -> QuerySet[Override]:
    """Overrides that have not ended, the next first."""
    return (
        Override.objects.filter(schedule=schedule, ends_at__gt=at)
        .select_related("user", "replaces", "created_by")
        .order_by("starts_at", "id")
    )


def temporary_of(schedule: Schedule, at: datetime | None) -> QuerySet[TemporarySchedule]:
    """Temporary schedules that have not ended at `at`, or all, the next first."""
    found = TemporarySchedule.objects.filter(schedule=schedule)
    if at is not None:
        found = found.filter(ends_at__gt=at)
    shifts = TemporaryShift.objects.select_related("user").order_by("starts_at", "id")
    return (
        found.select_related("created_by")
        .prefetch_related(Prefetch("shifts", shifts))
        .order_by("starts_at", "id")
    )


def covered_by_later(overrides: Collection[Override]) -> dict[int, list[Override]]:
    """For each override those created after it that cover some of the same time: there they win."""
    return {
        override.pk: [
            other
            for other in overrides
            if (other.created_at, other.pk) > (override.created_at, override.pk)
            and other.starts_at < override.ends_at
            and override.starts_at < other.ends_at
        ]
        for override in overrides
    }


def schedules_of(user: User, at: datetime) -> list[Schedule]:
    """In which the person has had a place since `at`, by name."""
    found = Schedule.objects.filter(
        Exists(LayerMember.objects.filter(layer__schedule=OuterRef("pk"), user=user))
        | Exists(Override.objects.filter(schedule=OuterRef("pk"), user=user, ends_at__gt=at))
        | Exists(TemporaryShift.objects.filter(temporary__schedule=OuterRef("pk"), user=user, ends_at__gt=at))
        | Exists(
            Filler.objects.filter(Q(ends_at=None) | Q(ends_at__gt=at), schedule=OuterRef("pk"), user=user)
        )
    )
    return list(found.order_by("name", "pk"))


@dataclass(frozen=True)
class Duty:
    """A time in which one person is on call without a break, or shadows."""

    schedule: Schedule
    starts_at: datetime
    ends_at: datetime
    shadow: bool = False


def shifts_of(user: User, start: datetime, end: datetime) -> list[Duty]:
    """When one person is on call or shadows from `start` until `end`, over all schedules, the next first."""
    schedules = schedules_of(user, start)
    loaded = load([schedule.pk for schedule in schedules], start=start, end=end, past=True)
    found = [
        Duty(schedule, run.starts_at, run.ends_at, is_shadow)
        for schedule in schedules
        if schedule.pk in loaded
        for look, is_shadow in ((rules.shifts, False), (rules.shadow_shifts, True))
        for run in rules.runs(look(loaded[schedule.pk].data, start, end))
        if run.user == user.pk
    ]
    return sorted(found, key=lambda duty: (duty.starts_at, duty.schedule.name))


def swaps_of(user: User) -> QuerySet[SwapRequest]:
    """That the person made or was asked, the latest first."""
    return (
        SwapRequest.objects.filter(Q(requester=user) | Q(asked=user))
        .select_related("schedule", "requester", "asked")
        .order_by("-id")
    )


def swaps_to_show(schedule: Schedule) -> QuerySet[SwapRequest]:
    """Those of one schedule that wait for an answer, the soonest first."""
    return (
        SwapRequest.objects.filter(schedule=schedule, status=SwapStatus.PENDING)
        .select_related("requester", "asked")
        .order_by("starts_at", "id")
    )


def feeds_of(user: User) -> QuerySet[CalendarFeed]:
    return CalendarFeed.objects.filter(owner=user).select_related("schedule").order_by("-id")


# --- what is not as it should be ----------------------------------------------------------------------


def quality_of(schedule: Schedule, start: datetime, end: datetime) -> tuple[Quality, dict[int, User]]:
    """The score of a schedule from `start` until `end`, and the people that it names."""
    loaded = load([schedule.pk], start=start, end=end, past=True).get(schedule.pk) or Loaded(
        ScheduleData(zone=schedule.time_zone)
    )
    zones = tuple(sorted((person, user.time_zone) for person, user in loaded.people.items()))
    return _quality(loaded.data, start, end, zones), loaded.people


@lru_cache(maxsize=128)
def _quality(
    data: ScheduleData, start: datetime, end: datetime, zones: tuple[tuple[int, str], ...]
) -> Quality:
    return quality(data, start, end, zones=dict(zones))


@dataclass(frozen=True)
class Overlap:
    kind: str
    text: str
    starts_at: datetime
    ends_at: datetime


def overlaps(schedule: Schedule, at: datetime) -> list[Overlap]:
    """In the next `GAP_DAYS`: what covers the same time so that one of it does not count, and who is on call in two
    schedules at once."""
    end = at + timedelta(days=GAP_DAYS)
    overrides = list(overrides_of(schedule, at).filter(starts_at__lt=end))
    plans = list(temporary_of(schedule, at).filter(starts_at__lt=end))
    found = []
    by_id = {override.pk: override for override in overrides}
    for pk, later in covered_by_later(overrides).items():
        found += [
            _overlap(
                "override_covered", f"The override for {other.user} was made later than the one for "
                f"{by_id[pk].user} and wins.", by_id[pk], other,
            )
            for other in later
        ]  # fmt: skip
    for plan in plans:
        found += [
            _overlap("override_beaten", f"{plan} beats the override for {override.user}.", plan, override)
            for override in overrides
            if _meet(plan, override)
        ]
        found += [
            _overlap("temporary_covered", f"{other} was made later than {plan} and counts.", plan, other)
            for other in plans
            if (other.created_at, other.pk) > (plan.created_at, plan.pk) and _meet(plan, other)
        ]
    found += _on_call_twice(schedule, at, end)
    return sorted(found, key=lambda each: (each.starts_at, each.kind, each.text))


def _meet(first: Any, second: Any) -> bool:
    return first.starts_at < second.ends_at and second.starts_at < first.ends_at


def _overlap(kind: str, text: str, first: Any, second: Any) -> Overlap:
    return Overlap(kind, text, max(first.starts_at, second.starts_at), min(first.ends_at, second.ends_at))


def _on_call_twice(schedule: Schedule, at: datetime, end: datetime) -> list[Overlap]:
    loaded = load([schedule.pk], start=at, end=end).get(schedule.pk)
    if loaded is None:
        return []
    mine = rules.runs(rules.shifts(loaded.data, at, end))
    people = {run.user for run in mine}
    others = {
        other.pk: other
        for other in Schedule.objects.filter(
            Q(layers__members__user__in=people, layers__superseded_at=None)
            | Q(overrides__user__in=people, overrides__ends_at__gt=at)
            | Q(temporary__shifts__user__in=people, temporary__ends_at__gt=at)
        )
        .exclude(pk=schedule.pk)
        .distinct()
    }
    found = []
    for key, theirs in load(list(others), start=at, end=end).items():
        for run in rules.runs(rules.shifts(theirs.data, at, end)):
            found += [
                _overlap(
                    "two_schedules", f"{loaded.people[run.user]} is also on call for {others[key]}.", run, own
                )
                for own in mine
                if own.user == run.user and _meet(own, run)
            ]
    return found
