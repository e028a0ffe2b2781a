"""Until when an incident is put off, as pure rules: reading what people type, and the next working hours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from core.durations import parse_duration
from core.errors import Invalid
from oncall.rules import Window, first_instant, openings, wall_clock

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=7)

OFFICE = (Window(days=frozenset(range(5)), start=time(9), end=time(17)),)
"""Where nobody has laid down working hours: 09:00 from Monday to Friday."""

SPANS = (("30m", "30 min"), ("1h", "1 hour"), ("2h", "2 hours"), ("4h", "4 hours"), ("24h", "1 day"))
"""What the dialog offers, as it is typed and as it reads."""
WORKING_HOURS = "hours"
"""As typed after "until", and in forms: until the next working hours."""

USAGE = "/snooze 2h why, /snooze until 09:00 why, /snooze until hours why"

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_PIECE = re.compile(r"\d+(?:s|sec|m|min|h|d)?|s|sec|m|min|h|d", re.IGNORECASE)


def check(until: datetime, *, now: datetime) -> str:
    """What is wrong with that end, in a sentence; empty: nothing."""
    if until - now < SHORTEST:
        return "That is in the past. Choose a later time."
    return "At most 7 days ahead." if until - now > LONGEST else ""


def next_opening(windows: Sequence[Window], zone: str, now: datetime) -> datetime | None:
    """When the next working hours begin, those that run now not counted. None: not within the longest snooze."""
    begins = (opens for opens, _ in openings(windows, zone, now, now + LONGEST))
    return next((opens for opens in begins if opens > now), None)


def next_clock(hour: int, minute: int, zone: str, now: datetime, *, weekday: int | None = None) -> datetime:
    """The next time that the clock shows this, on that day of the week when one is named."""
    today = wall_clock(now, zone).date()
    for ahead in range(9):
        day = today + timedelta(days=ahead)
        if weekday is None or day.weekday() == weekday:
            at = first_instant(datetime.combine(day, time(hour, minute)), zone)
            if at > now:
                return at
    raise AssertionError("every day comes within 9 days")


@dataclass(frozen=True)
class Typed:
    """A span, or an instant, or (neither) the next working hours; and the words after."""

    span: timedelta | None = None
    at: datetime | None = None
    why: str = ""


def read(text: str, *, zone: str, now: datetime) -> Typed:
    """2h why, 1h 30m why, until 09:00 why, until Mon 09:00 why, until hours why. Raises Invalid that shows how."""
    words = text.split()
    if words and words[0].lower() == "until":
        return _read_until(words[1:], zone=zone, now=now)
    taken = 0
    while taken < len(words) and taken < 4 and _PIECE.fullmatch(words[taken]):
        taken += 1
    for count in range(taken, 0, -1):
        try:
            return Typed(span=parse_duration(" ".join(words[:count])), why=" ".join(words[count:]))
        except ValueError:
            continue
    raise _usage("Say for how long.")


def _read_until(words: Sequence[str], *, zone: str, now: datetime) -> Typed:
    rest = list(words)
    weekday = None
    if rest and rest[0].lower() in (WORKING_HOURS, "working", "work"):
        more = 2 if rest[0].lower() == "working" and rest[1:2] and rest[1].lower() == "hours" else 1
        return Typed(why=" ".join(rest[more:]))
    if rest and rest[0].lower() == "tomorrow":
        weekday = (wall_clock(now, zone).weekday() + 1) % 7
        rest = rest[1:]
    elif rest and rest[0].lower()[:3] in _DAYS:
        weekday = _DAYS.index(rest.pop(0).lower()[:3])
    found = _CLOCK.fullmatch(rest[0]) if rest else None
    if found is None:
        raise _usage("Say until when.")
    at = next_clock(int(found[1]), int(found[2]), zone, now, weekday=weekday)
    return Typed(at=at, why=" ".join(rest[1:]))


def _usage(sentence: str) -> Invalid:
    text = f"{sentence} Type {USAGE}"
    return Invalid(text, code="usage", fields={"text": [text]})


def say_until(until: datetime, *, zone: str, now: datetime) -> str:
    """09:00, Mon 09:00, or 1 Dec 09:00 a week ahead, in this zone."""
    local, today = wall_clock(until, zone), wall_clock(now, zone).date()
    if local.date() == today:
        return f"{local:%H:%M}"
    near = local.date() - today < timedelta(days=7)
    return f"{local:%a %H:%M}" if near else f"{local.day} {local:%b %H:%M}"
