"""What the metrics page shows, in words and shapes, from what was measured. Reads nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from core.words import duration
from metrics import charts, rules
from metrics.queries import Cut, Overview
from metrics.rules import Change, Course, Measure, Population, Spread, Unanswered

_ICONS = {
    Course.FASTER: "trending-down",
    Course.SLOWER: "trending-up",
    Course.SAME: "minus",
    Course.UNKNOWN: "",
}
_TONES = {Course.FASTER: "good", Course.SLOWER: "soon"}


def day_word(day: date) -> str:
    return f"{day.day} {day:%b}"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One measure: its numbers, how it moved, and its course as a picture and as a table."""

    key: str
    name: str
    spread: Spread
    change: Change
    icon: str
    tone: str
    label: str  # the finding, for who does not see the picture
    trend: charts.Trend
    buckets: Sequence[charts.Bucket]


def panels(overview: Overview, *, starts: Sequence[date]) -> list[Panel]:
    """`starts`: first days of the buckets, and the day after the last one."""
    made = []
    for measure in Measure:
        spread, before = overview.now.spreads[measure], overview.before.spreads[measure]
        change = rules.change(spread, before)
        buckets = [
            charts.Bucket(label=day_word(day), incidents=cut.incidents, spread=cut.spreads[measure])
            for day, cut in zip(starts, overview.buckets, strict=False)
        ]
        made.append(
            Panel(
                key=str(measure),
                name=rules.NAMES[measure],
                spread=spread,
                change=change,
                icon=_ICONS[change.course],
                tone=_TONES.get(change.course, ""),
                label=finding(rules.NAMES[measure], spread, before, change),
                trend=charts.trend(buckets, end_label=day_word(starts[-1] - timedelta(days=1))),
                buckets=buckets,
            )
        )
    return made


def finding(name: str, now: Spread, before: Spread, change: Change) -> str:
    """Median time to acknowledge fell from 2m 22s to 1m 38s, p90 from 6m 30s to 4m 10s."""
    if not now.is_enough:
        return f"{name}: {now.count} measured, too few to say."
    what = f"Median {name[0].lower()}{name[1:]}"
    match change.course:
        case Course.UNKNOWN:
            return f"{what} is {duration(now.median)}, p90 {duration(now.p90)}."
        case Course.SAME:
            return f"{what} stayed near {duration(now.median)}, p90 went from {duration(before.p90)} to {duration(now.p90)}."
        case course:
            verb = "fell" if course == Course.FASTER else "rose"
            return (
                f"{what} {verb} from {duration(before.median)} to {duration(now.median)}, "
                f"p90 from {duration(before.p90)} to {duration(now.p90)}."
            )


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def subline(overview: Overview, *, days: int, last: date, population: str) -> str:
    """90 days to 24 November, 83 incidents in production, against the 90 days before."""
    kind = "in production" if population == Population.PRODUCTION else ""
    counted = _counted(overview.now.incidents, "incident" if kind else "drill")
    against = (
        f"against {_counted(overview.before.incidents, 'incident' if kind else 'drill')} in the {days} days before"
        if overview.before.incidents
        else f"none in the {days} days before"
    )
    return f"{days} days to {last.day} {last:%B}, {counted}{' ' if kind else ''}{kind}, {against}"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of a table: a severity or a service."""

    name: str
    severity: int | None
    incidents: int
    spreads: list[Spread]
    url: str


def lines(
    cuts: Mapping[int, Cut], *, names: Mapping[int, str], urls: Mapping[int, str], are_severities: bool
) -> list[Line]:
    return [
        Line(
            name=names.get(key, "?"),
            severity=key if are_severities else None,
            incidents=cut.incidents,
            spreads=[cut.spreads[measure] for measure in Measure],
            url=urls.get(key, ""),
        )
        for key, cut in cuts.items()
    ]


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Incidents that a figure leaves out, and why."""

    count: str
    what: str
    why: str


def outside(cut: Cut) -> list[Outside]:
    """What the figures do not contain. Nothing is dropped in silence."""
    contained, repaired = cut.spreads[Measure.CONTAIN].count, cut.spreads[Measure.REPAIR].count
    rows = [
        (cut.unanswered[Unanswered.ENDED_ITSELF], "ended by themselves", "before anybody acknowledged"),
        (
            cut.unanswered[Unanswered.ENDED_BY_HAND],
            "resolved without an acknowledgement",
            "resolving does not imply one",
        ),
        (cut.unanswered[Unanswered.OPEN], "wait for an acknowledgement", "they count when it comes"),
        (cut.incidents - contained, "never marked contained", "no time to containment"),
        (cut.incidents - repaired, "not over yet", "no time to repair"),
    ]
    return [Outside(count=f"{count:,}", what=what, why=why) for count, what, why in rows if count]
