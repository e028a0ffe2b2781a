"""The rules of an incident as pure functions: allowed moves, severity, urgency, phases, grouping, and what a page says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.errors import Refused

TRIGGERED, ACKNOWLEDGED, CONTAINED, RESOLVED = "triggered", "acknowledged", "contained", "resolved"

MOVES: dict[str, frozenset[str]] = {
    TRIGGERED: frozenset({ACKNOWLEDGED, CONTAINED, RESOLVED}),
    ACKNOWLEDGED: frozenset({TRIGGERED, CONTAINED, RESOLVED}),
    CONTAINED: frozenset({TRIGGERED, RESOLVED}),
    RESOLVED: frozenset({TRIGGERED}),
}

PHASES = ("detection", "triage", "escalation", "containment", "root_cause", "review")

REOPEN_GRACE = timedelta(hours=1)
"""Reopened within this time an incident goes on; later a new one is opened that follows it."""

HORIZON = timedelta(days=7)
"""So long after its beginning nothing pages again for an incident that somebody has: it stands in a list instead. One
that nobody has answered pages on."""

STORM_WINDOW = timedelta(seconds=60)
STORM_INCIDENTS = 20
"""So many incidents of one service within the window are a storm: further alerts join the newest."""

_SEVERITY = {  # alert severity: by criticality of the service, 1 to 4
    "critical": (1, 2, 2, 3),
    "error": (2, 2, 3, 3),
    "warning": (3, 3, 4, 4),
    "info": (4, 4, 4, 4),
}
_RANK = {"critical": 0, "error": 1, "warning": 2, "info": 3}


def check_move(now_is: str, wanted: str, *, since: str = "") -> None:
    """Raise Refused with what happened before when `wanted` cannot follow `now_is`."""
    if wanted not in MOVES[now_is]:
        raise Refused(f"Already {now_is}{f' {since}' if since else ''}.", code=f"already_{now_is}")


def severity_for(alert_severity: str, criticality: int) -> int:
    """SEV 1 to 4 from the alert's own severity (unknown counts as error) and the service's criticality 1 to 4."""
    return _SEVERITY.get(alert_severity, _SEVERITY["error"])[criticality - 1]


def urgency_for(alert_severity: str, severity: int) -> str:
    """PagerDuty's default: critical and error are high, warning and info low. SEV1 and SEV2 are always high."""
    return "high" if severity <= 2 or _RANK.get(alert_severity, 0) <= 1 else "low"


def urgency_of_severity(severity: int) -> str:
    """Urgency when a person says the severity: only SEV4 can wait."""
    return "low" if severity == 4 else "high"


def past_horizon(triggered_at: datetime, now: datetime) -> bool:
    return now - triggered_at >= HORIZON


def is_worse(one: str, other: str) -> bool:
    return _RANK.get(one, 1) < _RANK.get(other, 1)


def later_phase(now_is: str, wanted: str) -> bool:
    return PHASES.index(wanted) > PHASES.index(now_is)


@dataclass(frozen=True)
class Candidate:
    """An open incident that a new alert could join."""

    incident_id: int
    last_event_at: datetime | None
    same_group: bool = False


@dataclass(frozen=True)
class Grouping:
    incident_id: int
    because: str


def group(
    candidates: Sequence[Candidate], *, window_minutes: int, opened_in_window: int, now: datetime
) -> Grouping | None:
    """Which open incident of the service a new alert joins, newest candidate first; None opens a new one."""
    for candidate in candidates:
        if candidate.same_group:
            return Grouping(candidate.incident_id, "the sender groups it with the others")
    if not candidates:
        return None
    newest = candidates[0]
    if (
        window_minutes
        and newest.last_event_at
        and now - newest.last_event_at <= timedelta(minutes=window_minutes)
    ):
        return Grouping(
            newest.incident_id, f"it came within {window_minutes} min of the last alert of this service"
        )
    if opened_in_window >= STORM_INCIDENTS:
        seconds = int(STORM_WINDOW.total_seconds())
        return Grouping(
            newest.incident_id,
            f"alert storm: {opened_in_window} incidents of this service within {seconds} s",
        )
    return None


def drill_mark(is_drill: bool) -> str:
    """How a headline of a drill begins, wherever it is read: in a mail, a chat, a page."""
    return "DRILL " if is_drill else ""


@dataclass(frozen=True)
class PageText:
    title: str
    body: str


def page_text(
    *, ref: str, title: str, severity: int, service: str, impact: str, is_drill: bool, reason: str, expected: str,
    otherwise: str,
) -> PageText:  # fmt: skip
    """What a paged person reads, the most important first. Links are added by the channel."""
    drill = drill_mark(is_drill)
    lines = [
        f"{drill}SEV{severity} {service}: {title} ({ref})",
        f"How bad: {impact}" if impact else "",
        f"Expected of you: {expected}" if expected else "",
        f"Why you: {reason}" if reason else "",
        f"Without an answer: {otherwise}" if otherwise else "",
    ]
    return PageText(
        title=f"{drill}SEV{severity} {title}"[:300], body="\n".join(line for line in lines if line)
    )
