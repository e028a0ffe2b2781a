"""Reads: who is on call, until when, who is next, and where nobody is."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django.core.exceptions import ValidationError
from django.db.models import Prefetch, Q, QuerySet

from accounts.models import User, validate_time_zone
from core.errors import Invalid, Missing
from oncall import rules
from oncall.models import Layer, LayerMember, Override, Schedule
from oncall.rules import LayerData, OverrideData, ScheduleData, Shift, Window

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


def load(ids: Collection[int], *, start: datetime, end: datetime | None = None) -> dict[int, Loaded]:
    """What decides who is on call from `start` until `end`, or for ever; two queries for any number."""
    if not ids:
        return {}
    members = (
        LayerMember.objects.filter(layer__schedule__in=ids)
        .filter(Q(layer__superseded_at=None) | Q(layer__superseded_at__gt=start))
        .select_related("layer__schedule", "user")
        .order_by("layer_id", "position")
    )
    overrides = (
        Override.objects.filter(schedule__in=ids, ends_at__gt=start)
        .filter(starts_at__lte=end or _FOREVER)
        .select_related("schedule", "user")
    )
    schedules: dict[int, Schedule] = {}
    layers: dict[int, tuple[Layer, list[int]]] = {}
    people: dict[int, dict[int, User]] = {}
    covers: dict[int, list[OverrideData]] = {}
    for member in members:
        layer = member.layer
        schedules[layer.schedule_id] = layer.schedule
        layers.setdefault(layer.pk, (layer, []))[1].append(member.user_id)
        people.setdefault(layer.schedule_id, {})[member.user_id] = member.user
    for override in overrides:
        schedules[override.schedule_id] = override.schedule
        covers.setdefault(override.schedule_id, []).append(override_data(override))
        people.setdefault(override.schedule_id, {})[override.user_id] = override.user
    return {
        key: Loaded(
            ScheduleData(
                zone=_zone_of(schedule),
                layers=tuple(
                    layer_data(layer, who) for layer, who in layers.values() if layer.schedule_id == key
                ),
                overrides=tuple(covers.get(key, [])),
                absent=frozenset(person for person, user in people[key].items() if not user.is_active),
            ),
            people[key],
        )
        for key, schedule in schedules.items()
    }


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
        unit=layer.turn_unit,
        length=layer.turn_length,
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
        starts_at=override.starts_at,
        ends_at=override.ends_at,
        created_at=override.created_at,
    )


# --- who is on call ---------------------------------------------------------------------------------


def on_call(schedule_ids: Collection[int], at: datetime) -> dict[int, list[User]]:
    """The people on call at `at`, for each id that was asked for; nobody for an id that is unknown.

    Two queries for any number of schedules: paging stands on this.
    """
    loaded = load(schedule_ids, start=at, end=at)
    return {
        key: loaded[key].users(rules.on_call_at(loaded[key].data, at)) if key in loaded else []
        for key in schedule_ids
    }


@dataclass(frozen=True)
class Span:
    """A shift with its people."""

    starts_at: datetime
    ends_at: datetime
    people: list[User]

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
    instead_of: list[User]  # whom an override replaces
    gaps: list[Span]  # in the next GAP_DAYS
    shifts: list[Span]  # from now to the horizon, gaps included

    @property
    def first_gap(self) -> Span | None:
        return self.gaps[0] if self.gaps else None


def standings(schedules: Collection[Schedule], at: datetime) -> list[Standing]:
    """For each schedule who is on call, until when, who is next and where nobody is, in two queries."""
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
    override = rules.override_at(loaded.data, at)
    return Standing(
        schedule=schedule,
        people=current.people,
        until=current.ends_at if following else None,
        next=following[0] if following else None,
        instead_of=loaded.users(rules.rotation_at(loaded.data, at)) if override else [],
        gaps=_gaps(spans, at),
        shifts=spans,
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

    @property
    def gaps(self) -> list[Span]:
        return [span for span in self.final if span.is_gap]


def calendar(schedule: Schedule, start: datetime, end: datetime) -> Calendar:
    """Two queries. Layers that were edited are one row: their versions follow each other."""
    loaded = load([schedule.pk], start=start, end=end).get(schedule.pk) or Loaded(
        ScheduleData(zone=schedule.time_zone)
    )
    data = loaded.data
    rows = []
    for position in sorted({layer.position for layer in data.layers}):
        versions = tuple(layer for layer in data.layers if layer.position == position)
        alone = ScheduleData(zone=data.zone, layers=versions, absent=data.absent)
        latest = max(versions, key=lambda layer: (layer.superseded_at is None, layer.counts_from))
        rows.append(
            Row(
                latest.name or f"Layer {position + 1}",
                [_span(loaded, shift) for shift in rules.shifts(alone, start, end)],
            )
        )
    covers = ScheduleData(zone=data.zone, overrides=data.overrides, absent=data.absent)
    return Calendar(
        starts_at=start,
        ends_at=end,
        layers=rows,
        overrides=Row("Overrides", [_span(loaded, shift) for shift in rules.shifts(covers, start, end)]),
        final=[_span(loaded, shift) for shift in rules.shifts(data, start, end)],
    )


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
    return schedule_list().prefetch_related(Prefetch("layers", current_layers().order_by("position")))


def get_schedule(schedule_id: int) -> Schedule:
    schedule = schedules_with_layers().filter(pk=schedule_id).first()
    if schedule is None:
        raise Missing("There is no such schedule.")
    return schedule


def overrides_of(schedule: Schedule, at: datetime) -> QuerySet[Override]:
    """Overrides that have not ended, the next first."""
    return (
        Override.objects.filter(schedule=schedule, ends_at__gt=at)
        .select_related("user", "created_by")
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


def duty_of(user: User, at: datetime, *, end: datetime) -> list[tuple[Schedule, Span]]:
    """The shifts of one person from `at` until `end`, over all schedules, the next first."""
    schedules = list(
        Schedule.objects.filter(
            Q(layers__members__user=user) | Q(overrides__user=user, overrides__ends_at__gt=at)
        ).distinct()
    )
    loaded = load([schedule.pk for schedule in schedules], start=at, end=end)
    found = [
        (schedule, _span(loaded[schedule.pk], shift))
        for schedule in schedules
        if schedule.pk in loaded
        for shift in rules.shifts(loaded[schedule.pk].data, at, end)
        if user.pk in shift.people
    ]
    return sorted(found, key=lambda item: (item[1].starts_at, item[0].name))
