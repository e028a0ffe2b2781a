"""The rules of escalation as pure functions over the snapshot of a policy.

A snapshot is JSON: {"policy", "name", "version", "repeats", "catch_all": [user ids], "catch_all_every_seconds", "tiers":
[{"level", "name", "criteria", "expected", "expertise", "ack_seconds": {"1": s, … "4": s}, "targets": [{"kind", "id", "name"}]}]}.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Snapshot = Mapping[str, Any]

MAX_TIERS = 10
MAX_TARGETS = 10
MAX_REPEATS = 20


@dataclass(frozen=True)
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


def ack_within(tier: Mapping[str, Any], severity: int) -> timedelta:
    return timedelta(seconds=tier["ack_seconds"][str(severity)])


def due_after_severity_change(
    tier: Mapping[str, Any], *, severity: int, step_started_at: datetime, now: datetime
) -> datetime:
    """The new severity's target counts from when the step began, but a page never comes in the past."""
    return max(now, step_started_at + ack_within(tier, severity))


@dataclass(frozen=True)
class Candidate:
    """A person whom a target of the tier gives, and why."""

    user_id: int
    reason: str


def recipients(candidates: Sequence[Candidate], *, paged_before: Iterable[int]) -> list[Candidate]:
    """Each person once, with the first reason, without those whom an earlier tier of this pass already paged."""
    seen = set(paged_before)
    chosen = []
    for candidate in candidates:
        if candidate.user_id not in seen:
            seen.add(candidate.user_id)
            chosen.append(candidate)
    return chosen


def why_nobody(tier: Mapping[str, Any], candidates: Sequence[Candidate]) -> str:
    if candidates:
        return "everybody there has been paged in this pass already"
    if not tier["targets"]:
        return "it names nobody"
    schedules = [target["name"] for target in tier["targets"] if target["kind"] == "schedule"]
    return f"nobody is on call on {', '.join(schedules)}" if schedules else "nobody there can be paged"


@dataclass(frozen=True)
class TargetData:
    kind: str
    id: int | None = None
    role: str = ""


@dataclass(frozen=True)
class TierData:
    level: int
    name: str
    expected_outcome: str
    criteria: str = ""
    expertise: str = ""
    ack_seconds: Mapping[int, int] = field(default_factory=dict)
    """Seconds to acknowledge by severity 1 to 4."""
    targets: Sequence[TargetData] = ()


@dataclass(frozen=True)
class PolicyData:
    name: str
    tiers: Sequence[TierData]
    description: str = ""
    team_id: int | None = None
    repeats: int = 1
    catch_all_id: int | None = None
    catch_all_every_minutes: int = 15


def faults(policy: PolicyData) -> dict[str, list[str]]:
    """What is wrong with a policy, by field, in sentences that help. Empty: nothing."""
    found: dict[str, list[str]] = {}

    def fault(where: str, sentence: str) -> None:
        found.setdefault(where, []).append(sentence)

    if not policy.name.strip():
        fault("name", "Give the policy a name.")
    elif len(policy.name) > 120:
        fault("name", "At most 120 characters.")
    if not 0 <= policy.repeats <= MAX_REPEATS:
        fault("repeats", f"From 0 to {MAX_REPEATS}.")
    if not 1 <= policy.catch_all_every_minutes <= 1440:
        fault("catch_all_every_minutes", "From 1 to 1440 minutes.")
    if not any(tier.targets for tier in policy.tiers):
        fault("tiers", "Nobody would ever be paged: add a tier with somebody in it.")
    if len(policy.tiers) > MAX_TIERS:
        fault("tiers", f"At most {MAX_TIERS} tiers.")
    levels = [tier.level for tier in policy.tiers]
    if len(set(levels)) != len(levels):
        fault("tiers", "Two tiers have the same number.")
    for tier in policy.tiers:
        where = f"tiers.{tier.level}"
        if not 0 <= tier.level <= 9:
            fault(where, "A tier's number is from 0 to 9.")
        if not tier.name.strip():
            fault(where, f"Tier {tier.level} needs a name.")
        if tier.level > 0 and not tier.targets:
            fault(
                where,
                f"Tier {tier.level} has nobody in it. Add a schedule, a person or a team, or remove the tier.",
            )
        if tier.targets and not tier.expected_outcome.strip():
            fault(where, f"Say what is expected of tier {tier.level}: the paged person reads it.")
        if len(tier.targets) > MAX_TARGETS:
            fault(where, f"At most {MAX_TARGETS} targets in one tier.")
        for severity in (1, 2, 3, 4):
            seconds = tier.ack_seconds.get(severity)
            if seconds is None or not 1 <= seconds <= 86_400:
                fault(
                    where,
                    f"Time to acknowledge a SEV{severity} in tier {tier.level}: from 1 second to 24 hours.",
                )
    return found
