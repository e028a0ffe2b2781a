"""How Muster says durations and clocks, in one place for pages, mails and timeline texts."""

from collections.abc import Iterable
from datetime import timedelta


def seconds_of(value: timedelta | float) -> int:
    return int(value.total_seconds() if isinstance(value, timedelta) else value)


def duration(value: timedelta | float) -> str:
    """44 s, 3m 10s, 22 min, 1h 24m, 3d 4h. Never negative."""
    seconds = max(seconds_of(value), 0)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m {rest:02d}s" if rest else f"{minutes} min"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minutes:02d}m" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if hours else f"{days} d"


def clock(value: timedelta | float) -> str:
    """02:31, 1:52:09, 3d 4h: what a running clock shows. static/js/clocks.js says the same."""
    seconds = abs(seconds_of(value))
    if seconds >= 86_400:
        return f"{seconds // 86_400}d {seconds % 86_400 // 3600}h"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def initials(name: str) -> str:
    words = name.split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


def clean_tags(tags: Iterable[str]) -> list[str]:
    """In lower case, each once, in the order given."""
    return list(dict.fromkeys(" ".join(tag.lower().split()) for tag in tags if tag.strip()))
