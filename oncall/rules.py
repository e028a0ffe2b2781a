"""Who is on call, as arithmetic on values: no database, no clock.

All times of a rotation are wall-clock in the schedule's zone. Two functions carry every daylight-saving rule:
`first_instant` says when the wall clock first shows a time or later, `last_instant` from when it never again
shows an earlier one. They differ only while clocks are set back, and agree on the first instant after a gap
while clocks are set forward. Handoffs and starts take the first, ends the last: two people for an hour, never
nobody.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from core.errors import Invalid

DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MOST_WINDOWS = 14

_STEPS = {"hours": timedelta(hours=1), "days": timedelta(days=1), "weeks": timedelta(weeks=1)}
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

# --- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """Opens at `start` on each of `days` (Monday is 0). An end at or before the start is on the next day."""

    days: frozenset[int]
    start: time
    end: time


@dataclass(frozen=True, slots=True)
class LayerData:
    """A rotation. The wall-clock time of `starts_at` is that of every handoff; no zone: the schedule's."""

    starts_at: datetime
    people: tuple[int, ...]
    unit: str = "weeks"
    length: int = 1
    at_once: int = 1
    windows: tuple[Window, ...] = ()
    ends_at: datetime | None = None
    effective_from: datetime | None = None
    superseded_at: datetime | None = None
    zone: str = ""
    position: int = 0
    name: str = ""
    id: int | None = None

    @property
    def counts_from(self) -> datetime:
        return max(self.starts_at, self.effective_from or self.starts_at)

    @property
    def counts_until(self) -> datetime | None:
        ends = [end for end in (self.ends_at, self.superseded_at) if end is not None]
        return min(ends, default=None)


@dataclass(frozen=True, slots=True)
class OverrideData:
    user: int
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    id: int = 0


@dataclass(frozen=True, slots=True)
class ScheduleData:
    """`absent` people keep their place in a rotation but are never on call: their account is switched off."""

    zone: str
    layers: tuple[LayerData, ...] = ()
    overrides: tuple[OverrideData, ...] = ()
    absent: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Shift:
    """From `starts_at` until before `ends_at` exactly these people; nobody in a gap."""

    starts_at: datetime
    ends_at: datetime
    people: tuple[int, ...]

    @property
    def is_gap(self) -> bool:
        return not self.people


# --- wall clock -----------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=65_536)
def _instants(wall: datetime, zone: str) -> tuple[datetime, datetime]:
    tz = _zone(zone)
    before = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    after = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    if before <= after:
        return before, after
    # The clock jumps over this time: after the reading with the new offset, at the latest at the other.
    low = after.replace(microsecond=0)
    high = before.replace(microsecond=0) + (_SECOND if before.microsecond else timedelta())
    old = low.astimezone(tz).utcoffset()
    while high - low > _SECOND:
        middle = low + _SECOND * ((high - low) // _SECOND // 2)
        if middle.astimezone(tz).utcoffset() == old:
            low = middle
        else:
            high = middle
    return high, high


def first_instant(wall: datetime, zone: str) -> datetime:
    """When the clock in `zone` first shows `wall` or later. For starts and handoffs."""
    return _instants(wall, zone)[0]


def last_instant(wall: datetime, zone: str) -> datetime:
    """From when the clock in `zone` never again shows less than `wall`. For ends."""
    return _instants(wall, zone)[1]


def wall_clock(at: datetime, zone: str) -> datetime:
    """What the clock in `zone` shows, without a zone."""
    return at.astimezone(_zone(zone)).replace(tzinfo=None, fold=0)


# --- windows --------------------------------------------------------------------------------------


def read_windows(raw: object) -> tuple[Window, ...]:
    """Restrictions as they are stored and as the API takes them. A refusal names the window."""
    if not isinstance(raw, list):
        raise Invalid(
            'Restrictions are a list. Example: [{"days": [0, 1, 2], "start": "18:00", "end": "08:00"}]'
        )
    if len(raw) > MOST_WINDOWS:
        raise Invalid(f"A layer has at most {MOST_WINDOWS} windows.")
    return tuple(_read_window(number, item) for number, item in enumerate(raw, start=1))


def _read_window(number: int, item: object) -> Window:
    if not isinstance(item, dict) or not set(item) <= {"days", "start", "end"}:
        raise Invalid(f"Window {number} needs days, start and end, and nothing else.")
    days = item.get("days")
    if not isinstance(days, list) or not days or not all(type(day) is int and 0 <= day <= 6 for day in days):
        raise Invalid(f"Window {number} needs at least one day, from 0 for Monday to 6 for Sunday.")
    return Window(frozenset(days), _read_clock(number, "start", item), _read_clock(number, "end", item))


def _read_clock(number: int, name: str, item: dict[str, object]) -> time:
    value = item.get(name)
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Invalid(f"The {name} of window {number} is a time of day. Example: 18:00")
    return time(int(match[1]), int(match[2]))


def write_windows(windows: Iterable[Window]) -> list[dict[str, object]]:
    return [
        {"days": sorted(window.days), "start": f"{window.start:%H:%M}", "end": f"{window.end:%H:%M}"}
        for window in windows
    ]


def say_window(window: Window) -> str:
    """Mon to Fri 18:00 to 08:00."""
    days = sorted(window.days)
    if days == list(range(7)):
        named = "Every day"
    elif len(days) > 2 and days == list(range(days[0], days[-1] + 1)):
        named = f"{DAY_NAMES[days[0]]} to {DAY_NAMES[days[-1]]}"
    else:
        named = ", ".join(DAY_NAMES[day] for day in days)
    if window.start == window.end == time(0):
        return f"{named}, all day"
    return f"{named}, {window.start:%H:%M} to {window.end:%H:%M}"


def _openings(window: Window, zone: str, first: date, last: date) -> Iterator[tuple[datetime, datetime]]:
    """The spans that open on a day from `first` to `last`, in order."""
    day = first
    while day <= last:
        if day.weekday() in window.days:
            until = day if window.end > window.start else day + _DAY
            opens = first_instant(datetime.combine(day, window.start), zone)
            closes = last_instant(datetime.combine(until, window.end), zone)
            if opens < closes:
                yield opens, closes
        day += _DAY


def _is_open(windows: Sequence[Window], zone: str, at: datetime) -> bool:
    today = wall_clock(at, zone).date()
    # Two days back: a window that lasts a day and a zone that skips a date.
    return any(
        opens <= at < closes
        for window in windows
        for opens, closes in _openings(window, zone, today - 2 * _DAY, today + _DAY)
    )


# --- rotations ------------------------------------------------------------------------------------


def _step(layer: LayerData) -> timedelta:
    return _STEPS[layer.unit] * layer.length


def _handoff(layer: LayerData, zone: str, turn: int) -> datetime:
    """When turn number `turn` begins, if the layer counts then."""
    return first_instant(wall_clock(layer.starts_at, zone) + turn * _step(layer), zone)


def _turn_at(layer: LayerData, zone: str, at: datetime) -> int:
    turn = (wall_clock(at, zone) - wall_clock(layer.starts_at, zone)) // _step(layer)
    # While a set-back hour repeats, the clock shows a time before a handoff that has already been.
    while _handoff(layer, zone, turn + 1) <= at:
        turn += 1
    return turn


def _on_turn(layer: LayerData, turn: int) -> tuple[int, ...]:
    """Groups that follow each other share nobody as far as the numbers allow, so that everybody rests."""
    count = len(layer.people)
    first = turn * layer.at_once
    return tuple(layer.people[(first + place) % count] for place in range(min(layer.at_once, count)))


def layer_people_at(layer: LayerData, zone: str, at: datetime) -> tuple[int, ...]:
    """Whom this layer alone puts on call."""
    zone = layer.zone or zone
    until = layer.counts_until
    if not layer.people or at < layer.counts_from or (until is not None and at >= until):
        return ()
    if layer.windows and not _is_open(layer.windows, zone, at):
        return ()
    return _on_turn(layer, _turn_at(layer, zone, at))


def _layer_edges(layer: LayerData, zone: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every instant in which the layer may change, at least those between `start` and `end`."""
    zone = layer.zone or zone
    begin = max(start, layer.counts_from)
    finish = min(end, layer.counts_until or end)
    if not layer.people or begin >= finish:
        return
    yield begin
    yield finish
    if len(layer.people) > layer.at_once:  # otherwise a handoff changes nothing
        turn = _turn_at(layer, zone, begin) + 1
        while (handoff := _handoff(layer, zone, turn)) < finish:
            yield handoff
            turn += 1
    if layer.windows:
        first = wall_clock(begin, zone).date() - 2 * _DAY
        last = wall_clock(finish, zone).date() + _DAY
        for window in layer.windows:
            for opening in _openings(window, zone, first, last):
                yield from opening


# --- the final schedule ---------------------------------------------------------------------------


def override_at(schedule: ScheduleData, at: datetime) -> OverrideData | None:
    """The override that counts: of those that cover `at`, the one created last."""
    covering = [
        override
        for override in schedule.overrides
        if override.starts_at <= at < override.ends_at and override.user not in schedule.absent
    ]
    return max(covering, key=lambda override: (override.created_at, override.id), default=None)


def rotation_at(schedule: ScheduleData, at: datetime) -> tuple[int, ...]:
    """Who would be on call without overrides: the last layer that has somebody wins."""
    for layer in sorted(schedule.layers, key=lambda layer: layer.position, reverse=True):
        people = _present(layer_people_at(layer, schedule.zone, at), schedule.absent)
        if people:
            return people
    return ()


def on_call_at(schedule: ScheduleData, at: datetime) -> list[int]:
    """Ids of the people who are on call at this instant, in the order of the rotation."""
    override = override_at(schedule, at)
    return [override.user] if override else list(rotation_at(schedule, at))


def shifts(schedule: ScheduleData, start: datetime, end: datetime) -> list[Shift]:
    """The final schedule from `start` until `end`, without holes: where nobody is on call is a gap."""
    edges = [edge for layer in schedule.layers for edge in _layer_edges(layer, schedule.zone, start, end)]
    edges += [edge for override in schedule.overrides for edge in (override.starts_at, override.ends_at)]
    return _spans(edges, start, end, lambda at: tuple(on_call_at(schedule, at)))


def layer_shifts(schedule: ScheduleData, layer: LayerData, start: datetime, end: datetime) -> list[Shift]:
    """What one layer says, before other layers and overrides; gaps included."""
    return _spans(
        _layer_edges(layer, schedule.zone, start, end),
        start,
        end,
        lambda at: _present(layer_people_at(layer, schedule.zone, at), schedule.absent),
    )


def _present(people: tuple[int, ...], absent: frozenset[int]) -> tuple[int, ...]:
    return tuple(person for person in people if person not in absent) if absent else people


def _spans(
    edges: Iterable[datetime],
    start: datetime,
    end: datetime,
    people_at: Callable[[datetime], tuple[int, ...]],
) -> list[Shift]:
    if start >= end:
        return []
    cuts = sorted({start, *(edge for edge in edges if start < edge < end)})
    spans: list[Shift] = []
    for begin, finish in zip(cuts, [*cuts[1:], end], strict=True):
        people = people_at(begin)
        if spans and spans[-1].people == people:
            spans[-1] = Shift(spans[-1].starts_at, finish, people)
        else:
            spans.append(Shift(begin, finish, people))
    return spans


def shift_at(spans: Sequence[Shift], at: datetime) -> Shift | None:
    """The one of these shifts, in order, that covers `at`."""
    index = bisect_right(spans, at, key=lambda shift: shift.starts_at) - 1
    return spans[index] if index >= 0 and at < spans[index].ends_at else None
