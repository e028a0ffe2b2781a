"""How good a schedule is, from 0 to 100, and how that number comes about. Values in, values out.

Half of the points are for coverage. The other half are for fairness between the people of its rotations: hours,
nights and weekends, each on the clock of the person who is on call.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from oncall import rules
from oncall.rules import Run, ScheduleData, Window

SPAN = timedelta(weeks=52)
COVERAGE_POINTS, HOURS_POINTS, NIGHTS_POINTS, WEEKENDS_POINTS = 50, 25, 15, 10

NIGHT_WORDS = "22:00 to 06:00"
_NIGHT = (Window(frozenset(range(7)), time(22), time(6)),)
_WEEKEND = (Window(frozenset({5}), time(0), time(0)), Window(frozenset({6}), time(0), time(0)))
_HOUR = timedelta(hours=1)
_NOTHING = timedelta()


@dataclass(frozen=True, slots=True)
class Load:
    user: int
    shifts: int
    time: timedelta
    nights: timedelta  # 22:00 to 06:00 on this person's clock
    weekends: timedelta  # Saturday and Sunday on this person's clock


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    points: int
    of: int
    text: str


@dataclass(frozen=True, slots=True)
class Quality:
    score: int
    parts: tuple[Part, ...]
    loads: tuple[Load, ...]  # the busiest first
    starts_at: datetime
    ends_at: datetime
    uncovered: timedelta
    filled: timedelta  # by the filler


def quality(schedule: ScheduleData, start: datetime, end: datetime, *, zones: Mapping[int, str]) -> Quality:
    """`zones`: the clock of each person; who has none goes by the schedule's."""
    final = rules.shifts(schedule, start, end)
    own = rules.shifts(_without_filler(schedule), start, end) if schedule.fillers else final
    uncovered = _gap(final)
    filled = _gap(own) - uncovered
    rota = dict.fromkeys(
        person
        for layer in schedule.layers
        if layer.mode != "shadow" and layer.counts_from < end and (layer.counts_until or end) > start
        for person in layer.people
        if person not in schedule.absent
    )
    found = loads(rules.runs(final), start, end, zones=zones, zone=schedule.zone, people=rota)
    fair = [load for load in found if load.user in rota]
    all_hours = sum((load.time for load in fair), _NOTHING)
    parts = (
        _coverage(end - start, uncovered, filled),
        _fairness("Hours", HOURS_POINTS, [load.time for load in fair], "time on call", usual=all_hours),
        _fairness(
            "Nights", NIGHTS_POINTS, [load.nights for load in fair], "night hours", usual=all_hours / 3
        ),
        _fairness(
            "Weekends",
            WEEKENDS_POINTS,
            [load.weekends for load in fair],
            "weekend hours",
            usual=all_hours * 2 / 7,
        ),
    )
    return Quality(
        score=sum(part.points for part in parts), parts=parts, loads=tuple(found), starts_at=start, ends_at=end,
        uncovered=uncovered, filled=filled,
    )  # fmt: skip


def loads(
    runs: Sequence[Run],
    start: datetime,
    end: datetime,
    *,
    zones: Mapping[int, str],
    zone: str,
    people: Iterable[int],
) -> list[Load]:
    """What each person carries; who is named by `people` is there with nothing too."""
    by_person: dict[int, list[Run]] = {person: [] for person in people}
    for run in runs:
        by_person.setdefault(run.user, []).append(run)
    found = []
    for person, theirs in by_person.items():
        clock = zones.get(person, zone)
        found.append(
            Load(
                user=person,
                shifts=len(theirs),
                time=sum((run.ends_at - run.starts_at for run in theirs), _NOTHING),
                nights=_within(theirs, rules.openings(_NIGHT, clock, start, end)),
                weekends=_within(theirs, rules.openings(_WEEKEND, clock, start, end)),
            )
        )
    return sorted(found, key=lambda load: (-load.time, load.user))


def evenness(amounts: Sequence[timedelta]) -> float:
    """1 when all carry the same, 0 when one carries all. Nothing to carry is even; one alone carries all."""
    total = sum(amounts, _NOTHING)
    if not total:
        return 1.0
    if len(amounts) < 2:
        return 0.0
    mean = total / len(amounts)
    off = sum((abs(amount - mean) for amount in amounts), _NOTHING)
    return 1 - off / (2 * total * (1 - 1 / len(amounts)))


def _coverage(whole: timedelta, uncovered: timedelta, filled: timedelta) -> Part:
    share = 1 - uncovered / whole
    # Rounding must not hide a gap.
    points = round(COVERAGE_POINTS * share)
    points = min(points, COVERAGE_POINTS - 1) if uncovered else points
    if uncovered:
        text = f"Nobody is on call for {_hours(uncovered)} of {_hours(whole)}."
    else:
        text = "Somebody is on call all the time."
    if filled:
        text += f" The filler stands in for {_hours(filled)}."
    return Part("Coverage", points, COVERAGE_POINTS, text)


def _fairness(name: str, of: int, amounts: Sequence[timedelta], what: str, *, usual: timedelta) -> Part:
    """`usual`: so much there is of it where somebody is always on call. What is rarer counts less: eight night hours a
    year are not worth sharing."""
    if not amounts:
        return Part(name, 0, of, "Nobody is in a rotation.")
    total = sum(amounts, _NOTHING)
    if not total:
        return Part(name, of, of, f"No {what} to share.")
    lost = of * (1 - evenness(amounts)) * min(total / usual, 1)
    if len(amounts) == 1:
        return Part(name, round(of - lost), of, f"One person carries all of it: {_hours(total)}.")
    most, least = max(amounts), min(amounts)
    text = (
        f"Each has {_hours(most)}."
        if most == least
        else f"From {_hours(least)} to {_hours(most)} for each of {len(amounts)} people."
    )
    return Part(name, round(of - lost), of, text)


def _hours(amount: timedelta) -> str:
    hours = amount / _HOUR
    if 0 < hours < 1:
        return f"{round(hours * 60)} min"
    return f"{hours:,.0f} h"


def _gap(spans: Sequence[rules.Shift]) -> timedelta:
    return sum((span.ends_at - span.starts_at for span in spans if span.is_gap), _NOTHING)


def _without_filler(schedule: ScheduleData) -> ScheduleData:
    return ScheduleData(
        zone=schedule.zone, layers=schedule.layers, overrides=schedule.overrides, temporary=schedule.temporary,
        absent=schedule.absent, absences=schedule.absences,
    )  # fmt: skip


def _within(runs: Sequence[Run], spans: Sequence[tuple[datetime, datetime]]) -> timedelta:
    """Both in order of time, and the spans apart from each other."""
    total, first = _NOTHING, 0
    for run in runs:
        while first < len(spans) and spans[first][1] <= run.starts_at:
            first += 1
        place = first
        while place < len(spans) and spans[place][0] < run.ends_at:
            total += rules.overlap(spans[place], (run.starts_at, run.ends_at))
            place += 1
    return total
