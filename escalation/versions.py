"""Each save of a policy is kept: who, when, why, and what it said."""

from datetime import datetime
from typing import Any

from accounts.models import User
from escalation.models import Policy, PolicyVersion
from escalation.rules import OFFICE_HOURS, PolicyData, TargetData, TierData
from escalation.snapshots import read_snapshot


def keep(policy: Policy, *, by: User | None, why: str, now: datetime) -> None:
    """The version that was just saved. The caller holds the policy's lock."""
    PolicyVersion.objects.create(
        policy=policy, version=policy.version, snapshot=read_snapshot(policy), saved_by=by,
        saved_by_name=str(by or ""), saved_at=now, why=why,
    )  # fmt: skip


def keep_unkept(policy: Policy) -> None:
    """The present version, when it was made before versions were kept, so that the next save does not lose it."""
    if not policy.versions.filter(version=policy.version).exists():
        PolicyVersion.objects.create(policy=policy, version=policy.version, snapshot=read_snapshot(policy))


def data_of(snapshot: dict[str, Any]) -> PolicyData:
    """From a snapshot back to what `save_policy` takes."""
    team = snapshot.get("team")
    return PolicyData(
        name=snapshot["name"], description=snapshot.get("description", ""), team_id=team["id"] if team else None,
        repeats=snapshot["repeats"], catch_all_id=next(iter(snapshot["catch_all"]), None),
        catch_all_every_minutes=snapshot["catch_all_every_seconds"] // 60,
        on_ack_timeout=snapshot.get("on_ack_timeout", "resume"), add_on_handoff=snapshot.get("add_on_handoff", True),
        working_hours=snapshot.get("working_hours", OFFICE_HOURS), time_zone=snapshot.get("time_zone", ""),
        tiers=[_tier(tier) for tier in snapshot["tiers"]],
    )  # fmt: skip


def _tier(tier: dict[str, Any]) -> TierData:
    return TierData(
        level=tier["level"], name=tier["name"], criteria=tier["criteria"], expected_outcome=tier["expected"],
        expertise=tier["expertise"], ack_seconds={number: tier["ack_seconds"][str(number)] for number in (1, 2, 3, 4)},
        ack_mode=tier.get("ack_mode", "any"), quorum=tier.get("quorum", 2),
        when_unstaffed=tier.get("when_unstaffed", "skip"), hold_limit_minutes=tier.get("hold_seconds", 86_400) // 60,
        hours=tier.get("hours", ""), severities=tier.get("severities", ()), round_robin=tier.get("round_robin", False),
        early=tier.get("early", ()), channels=tier.get("channels", ()),
        targets=[
            TargetData(
                kind=target["kind"], id=target["id"], role=target.get("role", ""), hours=target.get("hours", ""),
                severities=target.get("severities", ()),
            )
            for target in tier["targets"]
        ],
    )  # fmt: skip
