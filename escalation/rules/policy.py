"""A policy as it is saved, and what can be wrong with one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import Invalid
from oncall.rules import read_windows

MAX_TIERS = 10
MAX_TARGETS = 10
MAX_REPEATS = 20
LONGEST_HOLD = 10_080
"""Minutes: a week."""

SEVERITIES = (1, 2, 3, 4)
ACK_MODES = ("any", "all", "quorum")
WHEN_UNSTAFFED = ("skip", "hold_until_staffed", "wait")
HOURS = ("", "in", "out")
EARLY_KINDS = ("containment_missed", "impact_grew", "expertise")
OFFICE_HOURS: tuple[Mapping[str, Any], ...] = ({"days": [0, 1, 2, 3, 4], "start": "09:00", "end": "17:00"},)


@dataclass(frozen=True)
class TargetData:
    kind: str
    id: int | None = None
    role: str = ""
    hours: str = ""
    severities: Sequence[int] = ()
    """Empty: all."""


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
    ack_mode: str = "any"
    quorum: int = 2
    when_unstaffed: str = "skip"
    hold_limit_minutes: int = 1440
    hours: str = ""
    severities: Sequence[int] = ()
    round_robin: bool = False
    early: Sequence[Mapping[str, str]] = ()
    channels: Sequence[str] = ()


@dataclass(frozen=True)
class PolicyData:
    name: str
    tiers: Sequence[TierData]
    description: str = ""
    team_id: int | None = None
    repeats: int = 1
    catch_all_id: int | None = None
    catch_all_every_minutes: int = 15
    on_ack_timeout: str = "resume"
    add_on_handoff: bool = True
    working_hours: Sequence[Mapping[str, Any]] = OFFICE_HOURS
    time_zone: str = ""


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
    if policy.on_ack_timeout not in ("resume", "restart"):
        fault("on_ack_timeout", "One of resume, restart.")
    try:
        windows = read_windows(list(policy.working_hours))
    except Invalid as error:
        fault("working_hours", error.message)
    else:
        if not windows and _uses_hours(policy):
            fault("working_hours", "A tier counts by working hours: say when they are.")
    if not any(tier.targets for tier in policy.tiers):
        fault("tiers", "Nobody would ever be paged: add a tier with somebody in it.")
    if len(policy.tiers) > MAX_TIERS:
        fault("tiers", f"At most {MAX_TIERS} tiers.")
    levels = [tier.level for tier in policy.tiers]
    if len(set(levels)) != len(levels):
        fault("tiers", "Two tiers have the same number.")
    for tier in policy.tiers:
        for sentence in _tier_faults(tier):
            fault(f"tiers.{tier.level}", sentence)
    return found


def _uses_hours(policy: PolicyData) -> bool:
    return any(tier.hours or any(target.hours for target in tier.targets) for tier in policy.tiers)


def _tier_faults(tier: TierData) -> list[str]:
    said = f"Tier {tier.level}"
    wrong = []
    if not 0 <= tier.level <= 9:
        wrong.append("A tier's number is from 0 to 9.")
    if not tier.name.strip():
        wrong.append(f"{said} needs a name.")
    if tier.level > 0 and not tier.targets:
        wrong.append(f"{said} has nobody in it. Add a schedule, a person or a team, or remove the tier.")
    if tier.targets and not tier.expected_outcome.strip():
        wrong.append(f"Say what is expected of tier {tier.level}: the paged person reads it.")
    if len(tier.targets) > MAX_TARGETS:
        wrong.append(f"At most {MAX_TARGETS} targets in one tier.")
    for severity in SEVERITIES:
        seconds = tier.ack_seconds.get(severity)
        if seconds is None or not 1 <= seconds <= 86_400:
            wrong.append(
                f"Time to acknowledge a SEV{severity} in tier {tier.level}: from 1 second to 24 hours."
            )
    if tier.ack_mode not in ACK_MODES:
        wrong.append(f"How many answers {said.lower()} needs: one of {', '.join(ACK_MODES)}.")
    elif tier.ack_mode == "quorum" and not 1 <= tier.quorum <= 100:
        wrong.append(f"How many answers {said.lower()} needs: from 1 to 100.")
    elif tier.ack_mode != "any" and tier.round_robin:
        wrong.append(f"{said} pages one target after the other, so one answer is enough there.")
    if tier.when_unstaffed not in WHEN_UNSTAFFED:
        wrong.append(f"When nobody is there, {said.lower()} does one of {', '.join(WHEN_UNSTAFFED)}.")
    elif tier.when_unstaffed == "hold_until_staffed" and not 1 <= tier.hold_limit_minutes <= LONGEST_HOLD:
        wrong.append(f"{said} waits for somebody from 1 minute to 7 days.")
    places: tuple[TierData | TargetData, ...] = (tier, *tier.targets)
    for place in places:
        if place.hours not in HOURS:
            wrong.append(f"{said} counts at any time (empty), in working hours (in) or outside them (out).")
        if not set(place.severities) <= set(SEVERITIES):
            wrong.append(f"{said} counts for severities from 1 to 4.")
    wrong += _early_faults(tier)
    return list(dict.fromkeys(wrong))


def _early_faults(tier: TierData) -> list[str]:
    wrong = []
    for criterion in tier.early:
        kind = criterion.get("kind")
        if kind not in EARLY_KINDS or not set(criterion) <= {"kind", "field"}:
            wrong.append(
                f"Tier {tier.level} is paged early for one of {', '.join(EARLY_KINDS)}, with a field for expertise."
            )
        elif kind == "expertise" and not (criterion.get("field") or tier.expertise).strip():
            wrong.append(f"Say which expertise tier {tier.level} has, so that it is paged when it is needed.")
        elif kind != "expertise" and criterion.get("field"):
            wrong.append(f"Only expertise has a field, in tier {tier.level}.")
    return wrong
