"""Which alerts belong together, which are held back, and when maintenance is. Pure: values in, values out."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dateutil.rrule import rrulestr

from core.words import duration
from incidents.rules import Candidate, Grouping, group
from oncall.rules import first_instant, last_instant, wall_clock

SERVICE, OPEN, ALL, ANY = "service", "open", "all", "any"

LONGEST_GROUP = timedelta(hours=24)
"""By content an incident takes further alerts for at most so long, however many keep coming."""

MOST_FIELDS = 10

# --- what an alert says ------------------------------------------------------------------------------------------

_PLACES = ("labels", "custom_details", "annotations")


def value_of(alert: Mapping[str, Any], name: str) -> str:
    """The value of a field: title, severity, source, any key of the details, or one of its labels. "" when absent.

    `labels.cluster` says where to look; `cluster` is looked for in the details, then in what senders nest in them.
    """
    if name in ("title", "severity", "source"):
        return str(alert.get(name) or "")
    details = alert.get("details") or {}
    found: Any = details
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is None:
        for place in _PLACES:
            inside = details.get(place)
            if isinstance(inside, Mapping) and inside.get(name) is not None:
                found = inside[name]
                break
    if found is None or isinstance(found, Mapping | list):
        return ""
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found).strip()


# --- grouping ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one service groups. `minutes` counts for the mode "service" only, fields and seconds for "all" and "any"."""

    mode: str = SERVICE
    minutes: int = 0
    fields: tuple[str, ...] = ()
    seconds: int = 3600

    @property
    def by_content(self) -> bool:
        return self.mode in (ALL, ANY) and bool(self.fields)

    @property
    def does_nothing(self) -> bool:
        return self.mode == SERVICE and not self.minutes


@dataclass(frozen=True, kw_only=True)
class Member:
    """An alert of an open incident, as the next alert is compared with it."""

    incident_id: int
    opened_at: datetime
    last_seen_at: datetime
    alert: Mapping[str, Any]


def choose(
    candidates: Sequence[Candidate], members: Sequence[Member], *, alert: Mapping[str, Any], plan: Plan,
    opened_in_window: int, now: datetime,
) -> Grouping | None:  # fmt: skip
    """Which open incident a new alert joins and why; None opens a new one. Newest candidates and members first."""
    if any(candidate.same_group for candidate in candidates):
        return group(candidates, window_minutes=0, opened_in_window=0, now=now)
    if plan.by_content:
        found = _alike(members, alert=alert, plan=plan, now=now)
        if found is not None:
            return found
        return group(candidates, window_minutes=0, opened_in_window=opened_in_window, now=now)
    if plan.mode == OPEN and candidates:
        return Grouping(
            candidates[0].incident_id, "all alerts of this service share one until it is resolved"
        )
    minutes = plan.minutes if plan.mode == SERVICE else 0
    return group(candidates, window_minutes=minutes, opened_in_window=opened_in_window, now=now)


def _alike(
    members: Sequence[Member], *, alert: Mapping[str, Any], plan: Plan, now: datetime
) -> Grouping | None:
    mine = {name: value_of(alert, name) for name in plan.fields}
    window = timedelta(seconds=plan.seconds)
    for member in members:
        since = now - member.last_seen_at
        if since > window or now - member.opened_at > LONGEST_GROUP:
            continue
        equal = [name for name in plan.fields if mine[name] and mine[name] == value_of(member.alert, name)]
        if len(equal) == len(plan.fields) or (plan.mode == ANY and equal):
            what = ", ".join(f"{name}={mine[name][:40]}" for name in equal)
            return Grouping(
                member.incident_id, f"{what}, {duration(max(since, timedelta(0)))} after the last"
            )
    return None


# --- flapping ----------------------------------------------------------------------------------------------------


def openings_in(openings: Sequence[datetime], *, minutes: int, now: datetime) -> int:
    """How often an alert has opened within the window, the opening of this moment included."""
    return 1 + sum(now - at <= timedelta(minutes=minutes) for at in openings)


def is_flapping(openings: Sequence[datetime], *, count: int, minutes: int, now: datetime) -> bool:
    """`count` 0: never."""
    return count > 0 and openings_in(openings, minutes=minutes, now=now) >= count


@dataclass(frozen=True)
class Settled:
    """What a look at a flapping alert says: over, steady, or look again at `again_at`."""

    over: bool = False
    steady: bool = False
    again_at: datetime | None = None


def settled(
    *, held_clear_at: datetime | None, seen_count: int, count: int, stable: timedelta, now: datetime
) -> Settled:
    """`seen_count` is how often it had opened when this look was arranged."""
    if held_clear_at is not None:
        if held_clear_at + stable <= now:
            return Settled(over=True)
        return Settled(again_at=held_clear_at + stable)
    if count == seen_count:
        return Settled(steady=True)
    return Settled(again_at=now + stable)


# --- maintenance -------------------------------------------------------------------------------------------------

OPS = ("is", "is_not", "contains", "like")


def holds(condition: Mapping[str, str], alert: Mapping[str, Any]) -> bool:
    """Upper and lower case are the same. `like` knows * and ?."""
    value, wanted = value_of(alert, condition["field"]).lower(), condition["value"].lower()
    match condition["op"]:
        case "is":
            return value == wanted
        case "is_not":
            return value != wanted
        case "contains":
            return wanted in value
        case "like":
            return fnmatch.fnmatchcase(value, wanted)
    return False


@dataclass(frozen=True, kw_only=True)
class Window:
    id: int
    name: str
    starts_at: datetime
    ends_at: datetime
    conditions: Sequence[Mapping[str, str]] = ()
    critical_pierces: bool = False


def holding(windows: Sequence[Window], *, alert: Mapping[str, Any], now: datetime) -> Window | None:
    """The window that holds this alert back, the one that ends last; None: it pages."""
    found = [
        window
        for window in windows
        if window.starts_at <= now < window.ends_at
        and not (window.critical_pierces and alert.get("severity") == "critical")
        and all(holds(condition, alert) for condition in window.conditions)
    ]
    return max(found, key=lambda window: window.ends_at, default=None)


_PARTS = {"FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "COUNT", "UNTIL", "WKST"}
_FREQUENCIES = {"DAILY", "WEEKLY", "MONTHLY"}
_LOOKED_AT = 12
LONGEST_MINUTES = 31 * 24 * 60


class BadRecurrence(ValueError):
    """One sentence for a person."""


def _series(recurrence: str, wall: datetime) -> Any:
    parts = dict(part.partition("=")[::2] for part in recurrence.upper().split(";") if part)
    unknown = sorted(set(parts) - _PARTS)
    if unknown:
        raise BadRecurrence(f"{unknown[0][:20]} is not understood here. Known: {', '.join(sorted(_PARTS))}.")
    if parts.get("FREQ") not in _FREQUENCIES:
        raise BadRecurrence("FREQ is DAILY, WEEKLY or MONTHLY. Example: FREQ=WEEKLY;BYDAY=SU")
    if "UNTIL" in parts:
        parts["UNTIL"] = parts["UNTIL"].removesuffix("Z")  # wall clock, as the start
    try:
        return rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=wall)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BadRecurrence(f"This is not a recurrence rule: {str(error)[:100]}") from None


def check_recurrence(recurrence: str, *, first: datetime, zone: str, minutes: int) -> None:
    """Raises BadRecurrence for a rule that never happens or whose occurrences overlap."""
    wall = wall_clock(first, zone)
    series = _series(recurrence, wall)
    before = None
    for number, start in enumerate(series):
        if before is not None and start < before + timedelta(minutes=minutes):
            raise BadRecurrence("The next one begins before this one ends. Make it shorter or rarer.")
        before = start
        if number >= _LOOKED_AT:
            break
    if before is None:
        raise BadRecurrence("This rule never happens.")


def span(start: datetime, *, zone: str, minutes: int) -> tuple[datetime, datetime]:
    """From the first instant of the start to the last of the end, both by the clock on the wall."""
    wall = wall_clock(start, zone)
    return first_instant(wall, zone), last_instant(wall + timedelta(minutes=minutes), zone)


def next_span(
    recurrence: str, *, first: datetime, zone: str, minutes: int, after: datetime
) -> tuple[datetime, datetime] | None:
    """The first occurrence that ends later than `after`; None: there is none any more."""
    if not recurrence:
        found = span(first, zone=zone, minutes=minutes)
        return found if found[1] > after else None
    wall = wall_clock(first, zone)
    # A day back for clocks that were set, and one that is under way.
    begin = wall_clock(after, zone) - timedelta(minutes=minutes) - timedelta(days=1)
    for start in _series(recurrence, wall).xafter(begin, count=60, inc=True):
        at = first_instant(start, zone)
        end = last_instant(start + timedelta(minutes=minutes), zone)
        if end > after and at >= first:
            return at, end
    return None


_DAYS = {"MO": "Mon", "TU": "Tue", "WE": "Wed", "TH": "Thu", "FR": "Fri", "SA": "Sat", "SU": "Sun"}


def say_recurrence(recurrence: str) -> str:
    """Every 2 weeks on Sun"""
    if not recurrence:
        return "Once"
    parts = dict(part.partition("=")[::2] for part in recurrence.upper().split(";") if part)
    unit = {"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month"}.get(parts.get("FREQ", ""), "")
    interval = parts.get("INTERVAL", "1")
    words = f"Every {unit}" if interval == "1" else f"Every {interval} {unit}s"
    if "BYDAY" in parts:
        days = [
            (f"{day[:-2]}. " if day[:-2] else "") + _DAYS.get(day[-2:], day)
            for day in parts["BYDAY"].split(",")
        ]
        words += f" on {', '.join(days)}"
    if "BYMONTHDAY" in parts:
        words += f" on day {parts['BYMONTHDAY']}"
    if "COUNT" in parts:
        words += f", {parts['COUNT']} times"
    if "UNTIL" in parts:
        until = parts["UNTIL"][:8]
        words += f", until {until[:4]}-{until[4:6]}-{until[6:8]}"
    return words


# --- tier 0 ------------------------------------------------------------------------------------------------------

TIER0_REST = timedelta(hours=1)


def tier0_until(*, seconds: int, helped_last_at: datetime | None, now: datetime) -> datetime | None:
    """When people are paged at the latest; None: at once.

    An action that helped within the last hour does not get a second window: something is wrong that it does not cure.
    """
    if not seconds or (helped_last_at is not None and now - helped_last_at < TIER0_REST):
        return None
    return now + timedelta(seconds=seconds)


def passes(*, status: int, body: Any, path: str, wanted: str) -> bool:
    """Whether the answer to a check says that all is well. `body` is the JSON that came, None for anything else."""
    if not 200 <= status < 300:
        return False
    if not path:
        return True
    found = body
    for part in path.split("."):
        if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        elif isinstance(found, Mapping):
            found = found.get(part)
        else:
            return False
    said = "true" if found is True else "false" if found is False else "" if found is None else str(found)
    return said == wanted
