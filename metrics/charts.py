"""Geometry of the charts, in per cent, so that a template only has to write it down. Values in, values out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from core.words import duration
from metrics.rules import Spread

# The plot's area inside the picture, in per cent of its size: room for labels at the left, the end and below.
LEFT, RIGHT, TOP, BOTTOM = 12.5, 86.0, 12.0, 88.0
LABEL_GAP = 9.0  # per cent of the height that two labels at the line's end need between them

_STEPS = (
    [1, 2, 5, 10, 15, 30]
    + [60 * each for each in (1, 2, 5, 10, 15, 20, 30)]
    + [3600 * each for each in (1, 2, 4, 6, 12)]
    + [86_400 * each for each in (1, 2, 4, 7, 14, 28, 56, 112)]
)

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, kw_only=True)
class Bucket:
    label: str  # "1 Sep"
    incidents: int
    spread: Spread


@dataclass(frozen=True, kw_only=True)
class Tick:
    at: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Dot:
    x: str
    y: str


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Where the pointer asks for a bucket, and what it is told."""

    x: str
    width: str
    middle: str
    median: str
    p90: str
    points: list[str]
    readout: str


@dataclass(frozen=True, kw_only=True)
class EndLabel:
    y: str
    text: str
    is_main: bool


@dataclass(frozen=True, kw_only=True)
class Trend:
    ticks_y: list[Tick]
    ticks_x: list[tuple[str, str, str]]  # place, anchor, label
    medians: list[str]  # paths in a field of 100 by 100
    p90s: list[str]
    bands: list[str]
    lone_medians: list[Dot]
    lone_p90s: list[Dot]
    dots: list[Dot]
    ends: list[EndLabel]
    hits: list[Hit]


def axis(highest: float) -> list[int]:
    """Round durations from zero to at least `highest` seconds, in at most five steps."""
    for step in _STEPS:
        if highest <= step * 5:
            return list(range(0, step * max(-(-ceil(highest) // step), 1) + 1, step))
    step = _STEPS[-1]
    while highest > step * 5:
        step *= 2
    return list(range(0, step * -(-ceil(highest) // step) + 1, step))


def _per_cent(value: float) -> str:
    return f"{value:.2f}%"


def axis_words(ticks: Sequence[int]) -> list[str]:
    """All in the largest unit that fits each of them: 0, 30 min, 60 min, 90 min."""
    step = ticks[1] - ticks[0]
    size, unit = next((size, unit) for size, unit in _UNITS if step % size == 0)
    return [f"{tick // size} {unit}" if tick else "0" for tick in ticks]


def _runs(flags: Sequence[bool]) -> list[range]:
    """Stretches of neighbours that are true."""
    runs, start = [], None
    for index, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = index
        elif not flag and start is not None:
            runs.append(range(start, index))
            start = None
    return runs


def readout(bucket: Bucket) -> str:
    spread = bucket.spread
    counted = f"{bucket.incidents} {'incident' if bucket.incidents == 1 else 'incidents'}"
    if spread.count == 0:
        return (
            f"{bucket.label}: {counted}, none measured"
            if bucket.incidents
            else f"{bucket.label}: no incident"
        )
    if not spread.is_enough:
        return f"{bucket.label}: {', '.join(duration(point) for point in spread.points)}; {counted}"
    return f"{bucket.label}: median {duration(spread.median)}, p90 {duration(spread.p90)}, {counted}"


def _separate(first: float, second: float) -> tuple[float, float]:
    """Move two labels apart, around their middle, if they would touch. `first` is the upper one."""
    if second - first >= LABEL_GAP:
        return first, second
    middle = (first + second) / 2
    return middle - LABEL_GAP / 2, middle + LABEL_GAP / 2


def trend(buckets: Sequence[Bucket], *, end_label: str) -> Trend:
    """Median and p90 over time. A bucket with too few measurements shows these as points and breaks the lines."""
    values = [
        value
        for bucket in buckets
        for value in (
            (bucket.spread.median, bucket.spread.p90) if bucket.spread.is_enough else bucket.spread.points
        )
        if value is not None
    ]
    ticks = axis(max(values, default=0))
    highest = ticks[-1]

    def share(seconds: float) -> float:
        return 100 - 100 * seconds / highest

    def place(seconds: float) -> float:
        return TOP + (BOTTOM - TOP) * share(seconds) / 100

    # A bucket stands at its middle, so that the first and the last have as much room as the others.
    slot = (RIGHT - LEFT) / len(buckets)
    middles = [LEFT + slot * (index + 0.5) for index in range(len(buckets))]
    across = [100 * (index + 0.5) / len(buckets) for index in range(len(buckets))]

    medians, p90s, bands, lone_medians, lone_p90s = [], [], [], [], []
    for run in _runs([bucket.spread.is_enough for bucket in buckets]):
        low = [(across[index], share(buckets[index].spread.median)) for index in run]
        high = [(across[index], share(buckets[index].spread.p90)) for index in run]
        if len(run) == 1:
            [index] = run
            lone_medians.append(
                Dot(x=_per_cent(middles[index]), y=_per_cent(place(buckets[index].spread.median)))
            )
            lone_p90s.append(Dot(x=_per_cent(middles[index]), y=_per_cent(place(buckets[index].spread.p90))))
            continue
        medians.append(_path(low))
        p90s.append(_path(high))
        bands.append(f"{_path(high)} L{_path(low[::-1])[1:]} Z")

    ends = []
    if buckets and buckets[-1].spread.is_enough:
        last = buckets[-1].spread
        upper, lower = _separate(place(last.p90), place(last.median))
        ends = [
            EndLabel(y=_per_cent(upper), text="p90", is_main=False),
            EndLabel(y=_per_cent(lower), text="median", is_main=True),
        ]
    third = -(-len(buckets) // 3)
    ticks_x = [
        (_per_cent(LEFT + slot * index), "start" if index == 0 else "middle", buckets[index].label)
        for index in range(0, len(buckets) - 1, third)
    ]
    ticks_x.append((_per_cent(RIGHT), "end", end_label))
    return Trend(
        ticks_y=[
            Tick(at=_per_cent(place(tick)), label=word)
            for tick, word in zip(ticks, axis_words(ticks), strict=True)
        ],
        ticks_x=ticks_x,
        medians=medians,
        p90s=p90s,
        bands=bands,
        lone_medians=lone_medians,
        lone_p90s=lone_p90s,
        dots=[
            Dot(x=_per_cent(middle), y=_per_cent(place(point)))
            for middle, bucket in zip(middles, buckets, strict=True)
            if not bucket.spread.is_enough
            for point in bucket.spread.points
        ],
        ends=ends,
        hits=[
            Hit(
                x=_per_cent(middle - slot / 2),
                width=_per_cent(slot),
                middle=_per_cent(middle),
                median=_per_cent(place(bucket.spread.median)) if bucket.spread.is_enough else "",
                p90=_per_cent(place(bucket.spread.p90)) if bucket.spread.is_enough else "",
                points=[]
                if bucket.spread.is_enough
                else [_per_cent(place(point)) for point in bucket.spread.points],
                readout=readout(bucket),
            )
            for middle, bucket in zip(middles, buckets, strict=True)
        ],
    )


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " ".join(f"{x:.2f} {y:.2f}" for x, y in points)
