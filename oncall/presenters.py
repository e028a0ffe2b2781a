"""How a schedule is drawn and said. The calendar is SVG in per cent: fluid, themed by the style sheet, no script."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from oncall import rules
from oncall.models import Layer, LayerMode, Override, OverrideKind, Turn
from oncall.queries import Calendar, Span

_DAY = timedelta(days=1)
# Narrower bars show initials, and the narrowest nothing: their title still says it all.
ROOM_FOR_NAME = 9.0
ROOM_FOR_INITIALS = 2.6

# --- words ------------------------------------------------------------------------------------------


def say_time(at: datetime, zone: str) -> str:
    """Mon 30 Nov 08:00, on the clock of `zone`."""
    wall = rules.wall_clock(at, zone)
    return f"{wall:%a} {wall.day} {wall:%b %H:%M}"


def say_until(start: datetime, end: datetime, zone: str) -> str:
    """The end of a span, without the date that its start has said: "18:00"."""
    first, last = rules.wall_clock(start, zone), rules.wall_clock(end, zone)
    return f"{last:%H:%M}" if first.date() == last.date() and first < last else say_time(end, zone)


def say_span(span: Span, zone: str) -> str:
    return f"{say_time(span.starts_at, zone)} to {say_until(span.starts_at, span.ends_at, zone)}"


def say_people(people: Iterable[object]) -> str:
    return ", ".join(str(person) for person in people) or "Nobody"


def say_offset(zone: str, other: str, at: datetime) -> str:
    """How far `other` is from `zone` at this time: "3h 30m ahead"."""
    difference = rules.wall_clock(at, other) - rules.wall_clock(at, zone)
    minutes = round(difference.total_seconds() / 60)
    if not minutes:
        return "the same"
    hours, rest = divmod(abs(minutes), 60)
    amount = " ".join(part for part in (f"{hours} h" if hours else "", f"{rest} min" if rest else "") if part)
    return f"{amount} {'ahead' if minutes > 0 else 'behind'}"


@dataclass(frozen=True)
class LayerWords:
    name: str
    turn: str
    people: list[object]
    windows: list[str]
    span: str
    mode: str  # empty: in place of the layers before it


def say_layer(layer: Layer, zone: str, now: datetime) -> LayerWords:
    people = [member.user for member in layer.members.all()]
    start = rules.wall_clock(layer.starts_at, zone)
    if len(people) <= layer.people_at_once:
        turn = "Always the same" if len(people) == 1 else "Always all of them"
    else:
        each = "each" if layer.people_at_once == 1 else f"for {layer.people_at_once} at a time"
        turn = f"{_say_turns(layer)} {each}, handoff {_say_handoff(layer, start)}"
    return LayerWords(
        name=str(layer),
        turn=turn,
        people=people,
        windows=[rules.say_window(window) for window in rules.read_windows(layer.restrictions)],
        span=" ".join(
            part
            for part in (
                f"from {say_time(layer.effective_from, zone)}"
                if layer.effective_from and layer.effective_from > now
                else "",
                f"until {say_time(layer.ends_at, zone)}" if layer.ends_at else "",
            )
            if part
        ),
        mode={
            LayerMode.PARALLEL: "together with the layers before it",
            LayerMode.SHADOW: "shadows: hears of its shifts, is never paged",
        }.get(layer.mode, ""),
    )


def _say_turns(layer: Layer) -> str:
    if layer.turn_unit == Turn.CUSTOM:
        said = " then ".join(rules.say_turn(unit, length) for unit, length in rules.read_turns(layer.turns))
    else:
        said = rules.say_turn(layer.turn_unit, layer.turn_length)
    return said[0].upper() + said[1:]


def _say_handoff(layer: Layer, start: datetime) -> str:
    if layer.turn_unit == Turn.CUSTOM:
        return f"from {start:%a} {start:%H:%M}"
    return {
        Turn.WEEKS: f"{start:%a} {start:%H:%M}",
        Turn.DAYS: f"{start:%H:%M}",
        Turn.HOURS: f"minute {start:%M}" if layer.turn_length == 1 else f"{start:%H:%M} and on",
    }[Turn(layer.turn_unit)]


def say_override(override: Override) -> str:
    """What it does, after the name of its person."""
    match override.kind:
        case OverrideKind.ADD:
            return "beside the others"
        case OverrideKind.REMOVE:
            return "is not on call"
        case OverrideKind.SHADOW:
            return "shadows"
    return f"in place of {override.replaces}" if override.replaces else ""


# --- the picture ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """`left` and `width` in per cent of the calendar."""

    left: str
    width: str
    text: str
    title: str
    tone: str
    href: str = ""  # where it is changed


@dataclass(frozen=True)
class Day:
    left: str
    width: str
    text: str
    is_weekend: bool
    is_today: bool
    note: str = ""  # what the clock does on this day


@dataclass(frozen=True)
class DrawnRow:
    name: str
    bars: list[Bar]
    label: str


@dataclass(frozen=True)
class Drawing:
    zone: str
    days: list[Day]
    viewer_zone: str
    viewer_days: list[Day]  # empty when the viewer's days begin at the same instants
    rows: list[DrawnRow]
    final: DrawnRow
    now: str  # per cent; empty when it is not on the picture


Link = Callable[[Span], str]


def draw(
    calendar: Calendar,
    *,
    zone: str,
    viewer_zone: str,
    viewer: object,
    now: datetime,
    link: Link | None = None,
) -> Drawing:
    """Tones: `me` for the viewer, `gap` for nobody, `a` and `b` in turn for everybody else. `link` says where a span of
    the final schedule is changed."""
    start, end = calendar.starts_at, calendar.ends_at
    percent = _scale(start, end)
    days = _days(start, end, zone, now, percent)
    viewer_days = _days(start, end, viewer_zone, now, percent)
    differs = [day.left for day in viewer_days] != [day.left for day in days]

    def row(name: str, spans: list[Span], *, gaps: bool = False, link: Link | None = None) -> DrawnRow:
        return draw_row(name, spans, start=start, end=end, zone=zone, viewer=viewer, gaps=gaps, link=link)

    rows = [row(item.name, item.spans) for item in calendar.layers]
    rows += [
        row(item.name, item.spans)
        for item in (calendar.overrides, calendar.temporary, calendar.shadows)
        if any(not span.is_gap for span in item.spans)
    ]
    return Drawing(
        zone=zone,
        days=days,
        viewer_zone=viewer_zone,
        viewer_days=viewer_days if differs else [],
        rows=rows,
        final=row("On call", calendar.final, gaps=True, link=link),
        now=f"{percent(now):.3f}%" if start <= now < end else "",
    )


def draw_row(
    name: str, spans: Sequence[Span], *, start: datetime, end: datetime, zone: str, viewer: object,
    gaps: bool = False, link: Link | None = None,
) -> DrawnRow:  # fmt: skip
    percent = _scale(start, end)
    bars: list[Bar] = []
    tone = "b"
    for span in spans:
        if (span.is_gap and not gaps) or span.starts_at >= end:
            continue
        left, width = percent(span.starts_at), percent(span.ends_at) - percent(span.starts_at)
        tone = "a" if tone == "b" else "b"
        shade = "gap" if span.is_gap else "me" if viewer in span.people else tone
        note = f", {span.note}" if span.note else ""
        bars.append(
            Bar(
                left=f"{left:.3f}%",
                width=f"{width:.3f}%",
                text=_text(span, width),
                title=f"{say_people(span.people)}{note}: {say_span(span, zone)}",
                tone=shade,
                href=link(span) if link else "",
            )
        )
    listed = "; ".join(bar.title for bar in bars[:20])
    return DrawnRow(name, bars, f"{name}: {listed or 'nobody'}")


def _scale(start: datetime, end: datetime) -> Callable[[datetime], float]:
    return lambda at: (min(max(at, start), end) - start) / (end - start) * 100


# --- the month --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """One span on one day. `begins`: its start is on this day, so the time is said."""

    span: Span
    text: str
    begins: str
    title: str
    tone: str
    href: str


@dataclass(frozen=True)
class MonthDay:
    day: date
    is_in_month: bool
    is_today: bool
    is_weekend: bool
    note: str
    entries: list[Entry]


def month(
    spans: Sequence[Span], *, first: date, zone: str, viewer: object, now: datetime, link: Link | None = None
) -> list[list[MonthDay]]:
    """Weeks from Monday, which cover the month of `first`. `spans` cover at least these weeks."""
    begin = first.replace(day=1)
    begin -= timedelta(days=begin.weekday())
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    today = rules.wall_clock(now, zone).date()
    weeks: list[list[MonthDay]] = []
    day = begin
    while day < following:
        week = []
        for _ in range(7):
            opens, closes = _midnight(day, zone), _midnight(day + _DAY, zone)
            hours = (closes - opens) / timedelta(hours=1)
            week.append(
                MonthDay(
                    day=day,
                    is_in_month=(day.year, day.month) == (first.year, first.month),
                    is_today=day == today,
                    is_weekend=day.weekday() >= 5,
                    note="" if hours == 24 else f"{hours:g} hours",
                    entries=[
                        _entry(span, opens, zone, viewer, link)
                        for span in spans
                        if span.starts_at < closes and span.ends_at > opens
                    ],
                )
            )
            day += _DAY
        weeks.append(week)
    return weeks


def _entry(span: Span, opens: datetime, zone: str, viewer: object, link: Link | None) -> Entry:
    return Entry(
        span=span,
        text=say_people(span.people),
        begins=f"{rules.wall_clock(span.starts_at, zone):%H:%M}" if span.starts_at >= opens else "",
        title=f"{say_people(span.people)}: {say_span(span, zone)}",
        tone="gap" if span.is_gap else "me" if viewer in span.people else "a",
        href=link(span) if link else "",
    )


# --- parts of the picture ---------------------------------------------------------------------------


def _text(span: Span, width: float) -> str:
    if span.is_gap:
        return "Nobody" if width >= ROOM_FOR_NAME / 2 else ""
    if width >= ROOM_FOR_NAME * len(span.people):
        return span.note or say_people(span.people)
    if width >= ROOM_FOR_INITIALS * len(span.people):
        return " ".join(person.initials for person in span.people)
    return ""


def _days(start: datetime, end: datetime, zone: str, now: datetime, percent) -> list[Day]:
    """The dates of the wall clock in `zone`, each as long as it really is."""
    first = rules.wall_clock(start, zone).date()
    today = rules.wall_clock(now, zone).date()
    days = []
    day = first
    while (begins := _midnight(day, zone)) < end:
        ends = _midnight(day + _DAY, zone)
        left, right = percent(begins), percent(ends)
        if right > left:
            hours = (ends - begins) / timedelta(hours=1)
            days.append(
                Day(
                    left=f"{left:.3f}%",
                    width=f"{right - left:.3f}%",
                    text=f"{day:%a} {day.day}" + (f" {day:%b}" if day.day == 1 or day == first else ""),
                    is_weekend=day.weekday() >= 5,
                    is_today=day == today,
                    note="" if hours == 24 else f"{hours:g} hours",
                )
            )
        day += _DAY
    return days


def _midnight(day: date, zone: str) -> datetime:
    return rules.first_instant(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001 (wall clock)
