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
from itertools import pairwise
from zoneinfo import ZoneInfo

from core.errors import Invalid

DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MOST_WINDOWS = 14
MOST_TURNS = 12
LONGEST_TURN = 366
# Who had less rest than this since the last shift goes on with it, and is not told again.
REST = timedelta(hours=24)

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
    """A rotation. The wall-clock time of `starts_at` is that of every handoff; no zone: the schedule's.

    With the unit custom, `turns` are the lengths of turns that follow each other, and then begin again.
    """

    starts_at: datetime
    people: tuple[int, ...]
    unit: str = "weeks"
    length: int = 1
    turns: tuple[tuple[str, int], ...] = ()
    mode: str = "override"
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
    """`replaces`: only this person, while on call; nobody: everybody."""

    user: int
    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    id: int = 0
    kind: str = "replace"
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Stint:
    """One person from `starts_at` until before `ends_at`; no end: it goes on."""

    user: int
    starts_at: datetime
    ends_at: datetime | None = None

    def covers(self, at: datetime) -> bool:
        return self.starts_at <= at and (self.ends_at is None or at < self.ends_at)


@dataclass(frozen=True, slots=True)
class TemporaryData:
    """For its span these shifts count and nothing else."""

    starts_at: datetime
    ends_at: datetime
    created_at: datetime
    shifts: tuple[Stint, ...] = ()
    id: int = 0


@dataclass(frozen=True, slots=True)
class ScheduleData:
    """People keep their place in a rotation but are never on call while their account is switched off: those in
    `absent` at any time, those in `absences` for a while. `fillers` are on call whenever nobody else is."""

    zone: str
    layers: tuple[LayerData, ...] = ()
    overrides: tuple[OverrideData, ...] = ()
    absent: frozenset[int] = field(default_factory=frozenset)
    absences: tuple[Stint, ...] = ()
    temporary: tuple[TemporaryData, ...] = ()
    fillers: tuple[Stint, ...] = ()


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


def read_turns(raw: object) -> tuple[tuple[str, int], ...]:
    """Turns of different lengths as they are stored and as the API takes them. A refusal names the turn."""
    if not isinstance(raw, list) or not 1 <= len(raw) <= MOST_TURNS:
        raise Invalid(
            f'Custom turns are a list of 1 to {MOST_TURNS}. Example: [{{"unit": "days", "length": 5}}, '
            '{"unit": "days", "length": 2}]'
        )
    return tuple(_read_turn(number, item) for number, item in enumerate(raw, start=1))


def _read_turn(number: int, item: object) -> tuple[str, int]:
    if not isinstance(item, dict) or set(item) != {"unit", "length"}:
        raise Invalid(f"Turn {number} needs a unit and a length, and nothing else.")
    unit, length = item["unit"], item["length"]
    if unit not in _STEPS:
        raise Invalid(f"Turn {number} is counted in {', '.join(_STEPS)}.")
    if type(length) is not int or not 1 <= length <= LONGEST_TURN:
        raise Invalid(f"Turn {number} lasts from 1 to {LONGEST_TURN} {unit}.")
    return unit, length


def write_turns(turns: Iterable[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"unit": unit, "length": length} for unit, length in turns]


def say_turn(unit: str, length: int) -> str:
    """5 days; a week."""
    if length == 1:
        return {"hours": "an hour", "days": "a day", "weeks": "a week"}[unit]
    return f"{length} {unit}"


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


def openings(
    windows: Sequence[Window], zone: str, start: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """When these windows are open between two instants, in order."""
    first, last = wall_clock(start, zone).date() - 2 * _DAY, wall_clock(end, zone).date() + _DAY
    return sorted(
        (max(opens, start), min(closes, end))
        for window in windows
        for opens, closes in _openings(window, zone, first, last)
        if opens < end and closes > start
    )


def _is_open(windows: Sequence[Window], zone: str, at: datetime) -> bool:
    today = wall_clock(at, zone).date()
    # Two days back: a window that lasts a day and a zone that skips a date.
    return any(
        opens <= at < closes
        for window in windows
        for opens, closes in _openings(window, zone, today - 2 * _DAY, today + _DAY)
    )


# --- rotations ------------------------------------------------------------------------------------


def _steps(layer: LayerData) -> tuple[timedelta, ...]:
    if layer.unit == "custom":
        return tuple(_STEPS[unit] * length for unit, length in layer.turns)
    return (_STEPS[layer.unit] * layer.length,)


def _handoff(layer: LayerData, zone: str, turn: int) -> datetime:
    """When turn number `turn` begins, if the layer counts then."""
    steps = _steps(layer)
    rounds, place = divmod(turn, len(steps))
    passed = rounds * sum(steps, timedelta()) + sum(steps[:place], timedelta())
    return first_instant(wall_clock(layer.starts_at, zone) + passed, zone)


def _turn_at(layer: LayerData, zone: str, at: datetime) -> int:
    steps = _steps(layer)
    rounds = (wall_clock(at, zone) - wall_clock(layer.starts_at, zone)) // sum(steps, timedelta())
    turn = rounds * len(steps)
    # Through the lengths of a round. And while a set-back hour repeats, the clock shows a time before a handoff
    # that has already been.
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


def absent_at(schedule: ScheduleData, at: datetime) -> frozenset[int]:
    if not schedule.absences:
        return schedule.absent
    return schedule.absent | {absence.user for absence in schedule.absences if absence.covers(at)}


def overrides_at(schedule: ScheduleData, at: datetime) -> list[OverrideData]:
    """Those that cover `at`, in the order in which they act: that in which they were made."""
    covering = [each for each in schedule.overrides if each.starts_at <= at < each.ends_at]
    return sorted(covering, key=lambda override: (override.created_at, override.id))


def temporary_at(schedule: ScheduleData, at: datetime) -> TemporaryData | None:
    """The temporary schedule that counts: of those that cover `at`, the one made last."""
    covering = [each for each in schedule.temporary if each.starts_at <= at < each.ends_at]
    return max(covering, key=lambda temporary: (temporary.created_at, temporary.id), default=None)


def rotation_at(schedule: ScheduleData, at: datetime) -> tuple[int, ...]:
    """Who would be on call by the layers alone.

    From the last layer back each adds its people, until one in override mode has somebody; the earlier layer's first.
    """
    absent = absent_at(schedule, at)
    found: tuple[int, ...] = ()
    for layer in sorted(schedule.layers, key=lambda layer: layer.position, reverse=True):
        if layer.mode == "shadow":
            continue
        people = _present(layer_people_at(layer, schedule.zone, at), absent)
        found = _once((*people, *found))
        if people and layer.mode == "override":
            break
    return found


def on_call_at(schedule: ScheduleData, at: datetime) -> list[int]:
    """Ids of the people who are on call at this instant, in the order of the rotation."""
    absent = absent_at(schedule, at)
    temporary = temporary_at(schedule, at)
    if temporary is not None:
        people = _present(_once(stint.user for stint in temporary.shifts if stint.covers(at)), absent)
    else:
        people = rotation_at(schedule, at)
        for override in overrides_at(schedule, at):
            people = _with(override, people, absent)
    if not people:
        people = _present(_once(filler.user for filler in schedule.fillers if filler.covers(at)), absent)
    return list(people)


def _with(override: OverrideData, people: tuple[int, ...], absent: frozenset[int]) -> tuple[int, ...]:
    user = override.user
    if override.kind == "remove":
        return tuple(person for person in people if person != user)
    if override.kind == "shadow" or user in absent:
        return people
    if override.kind == "add":
        return _once((*people, user))
    if override.replaces is None:
        return (user,)
    return _once(user if person == override.replaces else person for person in people)


def shadows_at(schedule: ScheduleData, at: datetime) -> list[int]:
    """Who hears of the shifts at this instant without being paged."""
    absent = absent_at(schedule, at)
    found = [
        person
        for layer in sorted(schedule.layers, key=lambda layer: layer.position)
        if layer.mode == "shadow"
        for person in layer_people_at(layer, schedule.zone, at)
    ]
    found += [override.user for override in overrides_at(schedule, at) if override.kind == "shadow"]
    if not found:
        return []
    return list(_present(_once(found), absent | set(on_call_at(schedule, at))))


def shifts(schedule: ScheduleData, start: datetime, end: datetime) -> list[Shift]:
    """The final schedule from `start` until `end`, without holes: where nobody is on call is a gap."""
    return spans(_edges(schedule, start, end), start, end, lambda at: tuple(on_call_at(schedule, at)))


def shadow_shifts(schedule: ScheduleData, start: datetime, end: datetime) -> list[Shift]:
    """Who shadows, without holes."""
    if not any(layer.mode == "shadow" for layer in schedule.layers) and not any(
        override.kind == "shadow" for override in schedule.overrides
    ):
        return [Shift(start, end, ())] if start < end else []
    return spans(_edges(schedule, start, end), start, end, lambda at: tuple(shadows_at(schedule, at)))


def layer_shifts(schedule: ScheduleData, layer: LayerData, start: datetime, end: datetime) -> list[Shift]:
    """What one layer says, before other layers and overrides; gaps included."""
    edges = [*_layer_edges(layer, schedule.zone, start, end), *_ends(schedule.absences)]
    return spans(
        edges,
        start,
        end,
        lambda at: _present(layer_people_at(layer, schedule.zone, at), absent_at(schedule, at)),
    )


def _edges(schedule: ScheduleData, start: datetime, end: datetime) -> list[datetime]:
    edges = [edge for layer in schedule.layers for edge in _layer_edges(layer, schedule.zone, start, end)]
    edges += [edge for override in schedule.overrides for edge in (override.starts_at, override.ends_at)]
    for temporary in schedule.temporary:
        edges += [temporary.starts_at, temporary.ends_at, *_ends(temporary.shifts)]
    return [*edges, *_ends(schedule.fillers), *_ends(schedule.absences)]


def _ends(stints: Iterable[Stint]) -> list[datetime]:
    return [at for stint in stints for at in (stint.starts_at, stint.ends_at) if at is not None]


def _once(people: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(people))


def _present(people: tuple[int, ...], absent: frozenset[int]) -> tuple[int, ...]:
    return tuple(person for person in people if person not in absent) if absent else people


def spans(
    edges: Iterable[datetime],
    start: datetime,
    end: datetime,
    people_at: Callable[[datetime], tuple[int, ...]],
) -> list[Shift]:
    """Who `people_at` names from `start` until `end`, when that changes at these edges only."""
    if start >= end:
        return []
    cuts = sorted({start, *(edge for edge in edges if start < edge < end)})
    found: list[Shift] = []
    for begin, finish in zip(cuts, [*cuts[1:], end], strict=True):
        people = people_at(begin)
        if found and found[-1].people == people:
            found[-1] = Shift(found[-1].starts_at, finish, people)
        else:
            found.append(Shift(begin, finish, people))
    return found


def shift_at(spans: Sequence[Shift], at: datetime) -> Shift | None:
    """The one of these shifts, in order, that covers `at`."""
    index = bisect_right(spans, at, key=lambda shift: shift.starts_at) - 1
    return spans[index] if index >= 0 and at < spans[index].ends_at else None


# --- what follows from it -------------------------------------------------------------------------


def changes(spans: Sequence[Shift]) -> list[datetime]:
    """The instants in which somebody comes or goes; another order of the same people is no change."""
    return [
        after.starts_at
        for before, after in pairwise(spans)
        if frozenset(before.people) != frozenset(after.people)
    ]


def next_people(spans: Sequence[Shift]) -> tuple[int, ...]:
    """Who comes on call next, of those who are not on call in the first of these shifts."""
    if not spans:
        return ()
    now = spans[0].people
    for span in spans[1:]:
        coming = tuple(person for person in span.people if person not in now)
        if coming:
            return coming
    return ()


@dataclass(frozen=True, slots=True)
class Changed:
    """From `starts_at` until before `ends_at` it was `before` and will be `after`."""

    starts_at: datetime
    ends_at: datetime
    before: tuple[int, ...]
    after: tuple[int, ...]


def difference(before: Sequence[Shift], after: Sequence[Shift]) -> list[Changed]:
    """Where two schedules put other people on call. Both cover the same time without holes."""
    cuts = sorted({shift.starts_at for shift in (*before, *after)})
    found: list[Changed] = []
    for begin, finish in zip(cuts, [*cuts[1:], before[-1].ends_at if before else None], strict=True):
        was, becomes = shift_at(before, begin), shift_at(after, begin)
        if was is None or becomes is None or finish is None or set(was.people) == set(becomes.people):
            continue
        last = found[-1] if found else None
        if last and last.ends_at == begin and (last.before, last.after) == (was.people, becomes.people):
            found[-1] = Changed(last.starts_at, finish, last.before, last.after)
        else:
            found.append(Changed(begin, finish, was.people, becomes.people))
    return found


@dataclass(frozen=True, slots=True)
class Run:
    """One person without a break, whoever else comes and goes meanwhile."""

    user: int
    starts_at: datetime
    ends_at: datetime


def runs(spans: Sequence[Shift]) -> list[Run]:
    """By start, then in the order of the shift."""
    done: list[Run] = []
    going: dict[int, Run] = {}
    for span in spans:
        done += [run for person, run in going.items() if person not in span.people]
        going = {
            person: Run(person, going[person].starts_at if person in going else span.starts_at, span.ends_at)
            for person in span.people
        }
    done += going.values()
    return sorted(done, key=lambda run: run.starts_at)


@dataclass(frozen=True, slots=True)
class Notice:
    """That a shift of `user` comes (before) or begins (start), to be told at `due_at`."""

    user: int
    kind: str
    due_at: datetime
    starts_at: datetime
    ends_at: datetime


def notices(found: Sequence[Run], *, before: timedelta, at_start: bool) -> list[Notice]:
    """What is to be told, in the order of time. Shifts with less than `REST` between them are told of once."""
    told: list[Notice] = []
    last_end: dict[int, datetime] = {}
    for run in sorted(found, key=lambda run: run.starts_at):
        rested = run.user not in last_end or run.starts_at - last_end[run.user] >= REST
        last_end[run.user] = max(run.ends_at, last_end.get(run.user, run.ends_at))
        if not rested:
            continue
        if before:
            told.append(Notice(run.user, "before", run.starts_at - before, run.starts_at, run.ends_at))
        if at_start:
            told.append(Notice(run.user, "start", run.starts_at, run.starts_at, run.ends_at))
    return sorted(told, key=lambda notice: notice.due_at)


def overlap(first: tuple[datetime, datetime], second: tuple[datetime, datetime]) -> timedelta:
    """How much time two spans share."""
    return max(min(first[1], second[1]) - max(first[0], second[0]), timedelta())
