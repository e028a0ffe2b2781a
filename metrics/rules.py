"""What is measured, how two spans are compared, and how the finding is said. Values in, values out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from core.words import duration

# An acknowledgement by a machine this soon after the start says that the machine works, not that a person came.
BOT_GRACE = timedelta(seconds=5)

# The kinds of entries that a measure looks at. The same literals stand in the index `timeline_milestones`.
MILESTONES = ("acknowledged", "also_acknowledged", "contained", "resolved", "reopened")

# Fewer than this many measurements say nothing: no line is drawn and no change is claimed.
ENOUGH = 5

# A median that moved by less than this share is called unchanged.
NOTABLE = 0.10

WINDOWS: dict[
    int, timedelta
] = {  # days in the window: width of a bucket, so that one holds about five incidents
    30: timedelta(days=6),
    90: timedelta(days=10),
    180: timedelta(days=15),
}


class Population(StrEnum):
    PRODUCTION = "production"
    DRILL = "drill"


class Measure(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    CONTAIN = "contain"
    REPAIR = "repair"


NAMES = {
    Measure.ACKNOWLEDGE: "Time to acknowledge",
    Measure.CONTAIN: "Time to containment",
    Measure.REPAIR: "Time to repair",
}
VERBS = {Measure.ACKNOWLEDGE: "answer", Measure.CONTAIN: "contain", Measure.REPAIR: "repair"}


# --- one incident -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A timeline entry, as far as a measure looks at it. `by_machine`: a bot account, a sender or Muster."""

    kind: str
    at: datetime
    by_machine: bool = False


class Unanswered(StrEnum):
    """Why an incident has no time to acknowledge."""

    ENDED_ITSELF = "ended_itself"  # the sender resolved it before anybody acknowledged
    ENDED_BY_HAND = "ended_by_hand"  # a person resolved it without acknowledging
    OPEN = "open"  # nobody has acknowledged so far


@dataclass(frozen=True, kw_only=True)
class Figures:
    acknowledge: timedelta | None
    contain: timedelta | None
    repair: timedelta | None
    unanswered: Unanswered | None


def figures(triggered_at: datetime, marks: Iterable[Mark]) -> Figures:
    """The measures of one incident from its timeline, in order of seq. The SQL of transitions.py says the same.

    - acknowledge: until the first explicit acknowledgement before the first resolution; a machine's does not count
      within BOT_GRACE. Resolving does not imply one.
    - contain: until it was first marked contained.
    - repair: until the last resolution, unless it was reopened after that.
    """
    acknowledged = contained = resolved = None
    first_resolution: Mark | None = None
    for mark in marks:
        match mark.kind:
            case "acknowledged" | "also_acknowledged":
                counts = not mark.by_machine or mark.at > triggered_at + BOT_GRACE
                if counts and acknowledged is None and first_resolution is None:
                    acknowledged = mark.at
            case "contained":
                contained = contained or mark.at
            case "resolved":
                first_resolution = first_resolution or mark
                resolved = mark.at
            case "reopened":
                resolved = None
    unanswered = None
    if acknowledged is None:
        if first_resolution is None:
            unanswered = Unanswered.OPEN
        else:
            unanswered = Unanswered.ENDED_ITSELF if first_resolution.by_machine else Unanswered.ENDED_BY_HAND
    return Figures(
        acknowledge=None if acknowledged is None else acknowledged - triggered_at,
        contain=None if contained is None else contained - triggered_at,
        repair=None if resolved is None else resolved - triggered_at,
        unanswered=unanswered,
    )


# --- a span of time ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How one measure is spread over some incidents. Seconds. `points`: the values themselves while they are few."""

    count: int
    median: float | None
    p90: float | None
    points: tuple[float, ...] = ()

    @property
    def is_enough(self) -> bool:
        return self.count >= ENOUGH


NOTHING = Spread(count=0, median=None, p90=None)


class Course(StrEnum):
    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Change:
    course: Course
    by: timedelta = timedelta(0)

    @property
    def words(self) -> str:
        match self.course:
            case Course.FASTER | Course.SLOWER:
                return f"{duration(self.by)} {self.course}"
            case Course.SAME:
                return "unchanged"
            case _:
                return "too few to compare"


def change(now: Spread, before: Spread) -> Change:
    """How the median moved, if both spans have enough measurements to say so."""
    if not (now.is_enough and before.is_enough) or now.median is None or not before.median:
        return Change(course=Course.UNKNOWN)
    moved = now.median - before.median
    if abs(moved) < NOTABLE * before.median:
        return Change(course=Course.SAME)
    return Change(course=Course.SLOWER if moved > 0 else Course.FASTER, by=timedelta(seconds=abs(moved)))


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def headline(incidents: int, spreads: dict[Measure, Spread], changes: dict[Measure, Change]) -> str:
    """The finding in words, by rule from the same numbers as the charts."""
    if incidents == 0:
        return "Nothing happened"
    verbs: dict[Course, list[str]] = {course: [] for course in Course}
    for measure in Measure:
        verbs[changes[measure].course].append(VERBS[measure])
    faster, slower, same = (verbs[course] for course in (Course.FASTER, Course.SLOWER, Course.SAME))
    if faster and slower:
        joint = ", and " if len(faster) + len(slower) > 2 else " and "
        return f"We {_listed(faster)} faster{joint}{_listed(slower)} slower"
    if faster or slower:
        return f"We {_listed(faster or slower)} {'faster' if faster else 'slower'}"
    if same:
        return f"We {_listed(same)} as fast as before"
    known = [
        f"{VERBS[measure]} in {duration(median)}"
        for measure in Measure
        if spreads[measure].is_enough and (median := spreads[measure].median) is not None
    ]
    return f"We {_listed(known)}" if known else "Too few to say"


def span_starts(*, days: int, until: date) -> list[date]:
    """First days of the buckets of the window that ends before `until`, and `until` itself at the end."""
    width = WINDOWS[days]
    first = until - timedelta(days=days)
    return [first + width * index for index in range(timedelta(days=days) // width)] + [until]


# --- promises of the timers -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """Milliseconds from due to done, over the firings of a span."""

    count: int
    p50: float | None
    p99: float | None
    worst: int | None


def lateness_words(lateness: Lateness) -> str:
    if not lateness.count:
        return "No deadline ran out in the last 24 hours"
    if lateness.count < ENOUGH or lateness.p99 is None:
        return "Too few deadlines ran out to say"
    if lateness.p99 <= 100:
        return "Deadlines are kept to a tenth of a second"
    if lateness.p99 <= 1000:
        return "Deadlines are kept to a second"
    return f"One deadline in a hundred is {duration(lateness.p99 / 1000)} late or later"
