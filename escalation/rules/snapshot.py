"""The snapshot of a policy: its places in order, and what a tier says in numbers. Keys that an old one lacks have defaults.

A snapshot is JSON: {"policy", "name", "description", "team": {"id", "name"} | null, "version", "repeats",
"catch_all": [user ids], "catch_all_name", "catch_all_every_seconds", "on_ack_timeout": resume | restart,
"add_on_handoff", "working_hours": [{"days", "start", "end"}], "time_zone", "matrix": {"1": {"urgency", "start_level",
"answer_seconds", "commander"}, … "4": …}, "tiers": [tier]}. A tier is {"level", "name", "criteria", "expected",
"expertise", "ack_seconds": {"1": s, … "4": s}, "ack_mode": any | all | quorum, "quorum", "when_unstaffed": skip |
hold_until_staffed | wait, "hold_seconds", "hours": "" | in | out, "zone", "severities": [1 … 4], "round_robin",
"early": [{"kind", "field"?}], "channels": [contact kinds], "targets": [{"kind", "id", "role", "name", "hours", "zone",
"severities"}]}. `matrix` is only in the copy of a run: the row of its service's criticality.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Snapshot = Mapping[str, Any]
Tier = Mapping[str, Any]


@dataclass(frozen=True, order=True)
class Position:
    """Which tier (index into the snapshot's tiers) in which pass; loop 0 is the first pass."""

    index: int
    loop: int


def next_position(snapshot: Snapshot, at: Position) -> Position | None:
    """The step after `at`; None when the last repeat is over and only the catch-all is left."""
    count = len(snapshot["tiers"])
    if at.index + 1 < count:
        return Position(at.index + 1, at.loop)
    if at.loop < snapshot["repeats"] and count:
        return Position(0, at.loop + 1)
    return None


def positions_from(snapshot: Snapshot, start: Position) -> Iterable[Position]:
    """`start` and all that follow, to the end of the last repeat."""
    at: Position | None = start if start.index < len(snapshot["tiers"]) else None
    while at is not None:
        yield at
        at = next_position(snapshot, at)


def index_of_level(snapshot: Snapshot, level: int) -> int | None:
    for index, tier in enumerate(snapshot["tiers"]):
        if tier["level"] == level:
            return index
    return None


def start_position(snapshot: Snapshot, *, severity: int) -> Position:
    """Where the matrix has this severity begin: the first tier of that level or above it; else the lowest."""
    wanted = matrix_cell(snapshot, severity).get("start_level")
    if wanted is not None:
        for index, tier in enumerate(snapshot["tiers"]):
            if tier["level"] >= wanted:
                return Position(index, 0)
    return Position(0, 0)


def matrix_cell(snapshot: Snapshot, severity: int) -> Mapping[str, Any]:
    return (snapshot.get("matrix") or {}).get(str(severity)) or {}


def ack_within(tier: Tier, severity: int) -> timedelta:
    return timedelta(seconds=tier["ack_seconds"][str(severity)])


def time_to_answer(snapshot: Snapshot, tier: Tier, severity: int) -> timedelta:
    """The tier's own time, or the target of the matrix where that is shorter."""
    own = ack_within(tier, severity)
    target = matrix_cell(snapshot, severity).get("answer_seconds")
    return min(own, timedelta(seconds=target)) if target else own


def due_after_severity_change(
    snapshot: Snapshot, tier: Tier, *, severity: int, step_started_at: datetime, now: datetime
) -> datetime:
    """The new severity's target counts from when the step began, but a page never comes in the past."""
    return max(now, step_started_at + time_to_answer(snapshot, tier, severity))
