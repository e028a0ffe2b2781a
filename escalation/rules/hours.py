"""Whether a tier or a target counts for this severity at this time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from core.errors import Invalid
from escalation.rules.snapshot import Snapshot
from oncall.rules import Window, read_windows, say_window, wall_clock


def windows_of(snapshot: Snapshot) -> tuple[Window, ...]:
    """A copy that something spoilt must not stop paging: it then has no working hours at all."""
    try:
        return read_windows(list(snapshot.get("working_hours") or []))
    except Invalid:
        return ()


def in_working_hours(snapshot: Snapshot, *, zone: str, at: datetime) -> bool:
    try:
        local = wall_clock(at, zone or "UTC")
    except (KeyError, ValueError, OSError):  # this machine lacks the zone, which must not stop paging either
        local = wall_clock(at, "UTC")
    today, time = local.weekday(), local.time()
    yesterday = (local - timedelta(days=1)).weekday()
    for window in windows_of(snapshot):
        if window.start < window.end:
            if today in window.days and window.start <= time < window.end:
                return True
        elif (today in window.days and time >= window.start) or (
            yesterday in window.days and time < window.end
        ):
            return True
    return False


def counts(place: Mapping[str, Any], snapshot: Snapshot, *, severity: int, at: datetime) -> bool:
    """`place` is a tier or a target of the snapshot."""
    return not why_not(place, snapshot, severity=severity, at=at)


def why_not(place: Mapping[str, Any], snapshot: Snapshot, *, severity: int, at: datetime) -> str:
    """Why it does not count now, in words; empty: it does."""
    severities = place.get("severities") or []
    if severities and severity not in severities:
        return f"it is for {say_severities(severities)} only"
    wanted = place.get("hours") or ""
    if not wanted:
        return ""
    inside = in_working_hours(snapshot, zone=place.get("zone") or "", at=at)
    if wanted == "in" and not inside:
        return "it is for working hours only"
    if wanted == "out" and inside:
        return "it is for outside working hours only"
    return ""


def say_severities(severities: list[int]) -> str:
    names = [f"SEV{number}" for number in sorted(severities)]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def say_working_hours(snapshot: Snapshot) -> str:
    """Mon to Fri 09:00 to 17:00, Europe/Berlin"""
    said = ", ".join(say_window(window) for window in windows_of(snapshot)) or "never"
    return f"{said} ({snapshot.get('time_zone') or 'time of the schedule, else UTC'})"
