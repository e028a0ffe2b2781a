"""What is wrong with a policy although it can be saved: steps that are never reached, times at which nobody is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from escalation.rules.hours import windows_of
from escalation.rules.snapshot import Snapshot, start_position

WEEK = timedelta(days=7)
_DAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
_SEVERITIES = (1, 2, 3, 4)


@dataclass(frozen=True)
class Stretch:
    """From `starts_at` until before `ends_at` these people can be reached in a tier, by user id."""

    starts_at: datetime
    ends_at: datetime
    people: frozenset[int]


@dataclass(frozen=True)
class Fault:
    """`level` None: about the whole policy. `is_bad`: somebody will wait for a page that does not come."""

    level: int | None
    text: str
    is_bad: bool = True


def lint(snapshot: Snapshot, *, staffing: Mapping[int, Sequence[Stretch]], zone: str = "UTC") -> list[Fault]:
    """`staffing`: by index of a tier, a week in stretches without holes. Days are named in `zone`."""
    tiers = snapshot["tiers"]
    faults: list[Fault] = []
    for index, tier in enumerate(tiers):
        if not tier["targets"]:
            continue
        level = tier["level"]
        faults += [Fault(level, text) for text in _never(snapshot, index)]
        stretches = staffing.get(index, ())
        empty = [each for each in stretches if not each.people]
        if empty and len(empty) == len(stretches):
            faults.append(Fault(level, "Nobody can be reached here at any time of the coming week."))
        elif empty:
            faults.append(Fault(level, f"Nobody can be reached here {say_times(empty, zone=zone)}."))
        manned = [each for each in stretches if each.people]
        below = [staffing.get(lower, ()) for lower in range(index) if not _is_apart(tiers[lower], tier)]
        if manned and all(each.people <= _at(below, each.starts_at) for each in manned):
            faults.append(
                Fault(
                    level,
                    "Everybody here is paged by an earlier tier already, so this step is always passed.",
                )
            )
        if tier.get("ack_mode") == "quorum" and manned:
            fewest = min(len(each.people) for each in manned)
            if fewest < tier.get("quorum", 2):
                faults.append(
                    Fault(level, f"{tier['quorum']} have to answer, but at times only {fewest} can.")
                )
    if tiers and all(not stretch.people for stretches in staffing.values() for stretch in stretches):
        faults.append(Fault(None, "No tier reaches anybody: only the catch-all is ever paged."))
    if not any(tier.get("early") for tier in tiers) and len(tiers) == 1 and not snapshot["repeats"]:
        faults.append(Fault(None, "One tier without repeats: after it comes the catch-all.", is_bad=False))
    return faults


def _never(snapshot: Snapshot, index: int) -> list[str]:
    """Why this tier's turn never comes, whoever is on call."""
    tier = snapshot["tiers"][index]
    severities = tier.get("severities") or list(_SEVERITIES)
    repeats = snapshot["repeats"] > 0 and index > 0
    if not repeats and all(start_position(snapshot, severity=each).index > index for each in severities):
        return ["This step can never be reached: every severity begins at a later tier."]
    if tier.get("hours") == "in" and not windows_of(snapshot):
        return ["This step can never be reached: it is for working hours, and the policy has none."]
    targets = tier["targets"]
    if all(set(each.get("severities") or _SEVERITIES).isdisjoint(severities) for each in targets):
        return ["This step can never be reached: its people are for other severities than the tier."]
    return []


def _is_apart(lower: Mapping[str, object], tier: Mapping[str, object]) -> bool:
    """Whether the lower tier does not count when the other one does, so that it pages nobody before it."""
    hours = {lower.get("hours") or "", tier.get("hours") or ""}
    mine, theirs = set(lower.get("severities") or _SEVERITIES), set(tier.get("severities") or _SEVERITIES)  # type: ignore[call-overload]
    return hours == {"in", "out"} or not theirs <= mine or bool(lower.get("hours") and not tier.get("hours"))


def _at(tiers: Sequence[Sequence[Stretch]], at: datetime) -> frozenset[int]:
    return frozenset(
        person
        for stretches in tiers
        for stretch in stretches
        if stretch.starts_at <= at < stretch.ends_at
        for person in stretch.people
    )


def say_times(stretches: Sequence[Stretch], *, zone: str) -> str:
    """on Sundays; on Saturdays and Sundays; from Fri 18:00 to Mon 08:00 and 2 more times in a week"""
    local = ZoneInfo(zone)
    joined: list[tuple[datetime, datetime]] = []
    for each in stretches:
        if joined and joined[-1][1] == each.starts_at:
            joined[-1] = (joined[-1][0], each.ends_at)
        else:
            joined.append((each.starts_at, each.ends_at))
    spans = [(starts.astimezone(local), ends.astimezone(local)) for starts, ends in joined]
    days = _whole_days(spans)
    if days:
        names = [_DAYS[day] for day in sorted(days)]
        return "on " + (", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0])
    starts, ends = spans[0]
    more = (
        f" and {len(spans) - 1} more time{'s' if len(spans) > 2 else ''} in a week" if len(spans) > 1 else ""
    )
    return f"from {starts:%a %H:%M} to {ends:%a %H:%M}{more}"


def _whole_days(spans: Sequence[tuple[datetime, datetime]]) -> set[int]:
    """The days of the week, if the spans are made of nothing but whole days; the week may be cut anywhere."""
    if any(at.time().replace(tzinfo=None) != datetime.min.time() for span in spans for at in span):
        return set()
    days: set[int] = set()
    for starts, ends in spans:
        day = starts
        while day < ends:
            days.add(day.weekday())
            day += timedelta(days=1)
    return days
