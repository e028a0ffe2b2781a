"""The policy as JSON, so that later edits move no running incident. What is in it: escalation/rules/snapshot.py."""

import functools
import json
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models import Team
from catalog.models import Service
from escalation.models import AsksCommander, MatrixCell, Policy, ServicePolicy, TargetKind, Tier, TierTarget
from incidents import matrix


def snapshot_of(policy: Policy) -> dict[str, Any]:
    return json.loads(_snapshot(policy.pk, policy.version, policy.created_at))


@functools.lru_cache(maxsize=500)
def _snapshot(policy_id: int, version: int, created_at: datetime) -> str:
    """Read once in each process for each version, since every change of a policy makes a new one.

    Locked, as a change in the middle of the reading would leave tiers without their targets.
    """
    with transaction.atomic():
        return json.dumps(read_snapshot(Policy.objects.select_for_update(no_key=True).get(pk=policy_id)))


def read_snapshot(policy: Policy) -> dict[str, Any]:
    """As the rows say now. The caller holds the policy's lock."""
    tiers = policy.tiers.prefetch_related("targets__schedule", "targets__user", "targets__team")
    return {
        "policy": policy.pk,
        "name": policy.name,
        "description": policy.description,
        "team": {"id": policy.team_id, "name": policy.team.name} if policy.team else None,
        "version": policy.version,
        "repeats": policy.repeats,
        "catch_all": [policy.catch_all_id] if policy.catch_all_id else [],
        "catch_all_name": str(policy.catch_all or "all admins"),
        "catch_all_every_seconds": policy.catch_all_every_minutes * 60,
        "on_ack_timeout": policy.on_ack_timeout,
        "add_on_handoff": policy.add_on_handoff,
        "working_hours": policy.working_hours,
        "time_zone": policy.time_zone,
        "tiers": [_tier(policy, tier) for tier in tiers],
    }


def _tier(policy: Policy, tier: Tier) -> dict[str, Any]:
    targets = list(tier.targets.all())
    zones = [target.schedule.time_zone for target in targets if target.schedule]
    zone = policy.time_zone or next(iter(zones), "UTC")
    return {
        "level": tier.level,
        "name": tier.name,
        "criteria": tier.criteria,
        "expected": tier.expected_outcome,
        "expertise": tier.expertise,
        "ack_seconds": {
            "1": tier.ack_seconds_sev1, "2": tier.ack_seconds_sev2,
            "3": tier.ack_seconds_sev3, "4": tier.ack_seconds_sev4,
        },
        "ack_mode": tier.ack_mode,
        "quorum": tier.quorum,
        "when_unstaffed": tier.when_unstaffed,
        "hold_seconds": tier.hold_limit_minutes * 60,
        "hours": tier.hours,
        "zone": zone,
        "severities": tier.severities,
        "round_robin": tier.round_robin,
        "early": tier.early,
        "channels": tier.channels,
        "targets": [_target(target, policy.time_zone or _zone_of(target) or zone) for target in targets],
    }  # fmt: skip


def _zone_of(target: TierTarget) -> str:
    return target.schedule.time_zone if target.schedule else ""


def _target(target: TierTarget, zone: str) -> dict[str, Any]:
    return {
        "kind": target.kind,
        "id": target.schedule_id or target.user_id or target.team_id,
        "role": target.role,
        "name": str(target),
        "hours": target.hours,
        "zone": zone,
        "severities": target.severities,
    }


def fallback_snapshot() -> dict[str, Any]:
    """For a service without a policy: its responders, then the admins again and again. Never nobody."""
    return _plain(
        name="No policy",
        tier_name="Responders of the service",
        expected="Acknowledge, open the room, and give the service an escalation policy afterwards.",
        targets=[
            {"kind": TargetKind.SERVICE_PRIMARY, "id": None, "role": "", "name": "primary responder"},
            {"kind": TargetKind.SERVICE_SECONDARY, "id": None, "role": "", "name": "secondary responder"},
        ],
    )


def team_snapshot(team: Team) -> dict[str, Any]:
    """For a team that is called in and has no policy: everybody in it, then the admins."""
    return _plain(
        name=f"Everybody in {team}",
        tier_name=str(team)[:80],
        expected="Acknowledge, open the room, and say what your team can do.",
        targets=[{"kind": TargetKind.TEAM, "id": team.pk, "role": "", "name": str(team)}],
    )


def _plain(*, name: str, tier_name: str, expected: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "policy": None,
        "name": name,
        "version": 0,
        "repeats": 1,
        "catch_all": [],
        "catch_all_every_seconds": 900,
        "tiers": [
            {
                "level": 1, "name": tier_name, "criteria": "", "expertise": "", "expected": expected,
                "ack_seconds": {"1": 300, "2": 300, "3": 900, "4": 1800}, "targets": targets,
            }
        ],
    }  # fmt: skip


@matrix.decided_by
def ruling(severity: int, criticality: int) -> matrix.Ruling:
    cell = MatrixCell.objects.filter(severity=severity, criticality=criticality).first()
    if cell is None:
        return matrix.Ruling()
    asks = {AsksCommander.ASK: True, AsksCommander.NO: False}
    return matrix.Ruling(
        urgency=cell.urgency,
        asks_commander=asks.get(AsksCommander(cell.commander)) if cell.commander else None,
    )


def matrix_row(criticality: int) -> dict[str, Any]:
    """What each severity means on services of this criticality, where an admin has set it."""
    return {
        str(cell.severity): {
            "urgency": cell.urgency,
            "start_level": cell.start_level,
            "answer_seconds": cell.answer_seconds,
            "commander": cell.commander,
            **({"containment_minutes": cell.containment_minutes} if cell.containment_minutes else {}),
        }
        for cell in MatrixCell.objects.filter(criticality=criticality)
    }


def snapshot_for(service: Service) -> tuple[Policy | None, dict[str, Any]]:
    """The policy that pages for a service, if it has one, and what an incident of it gets now."""
    link = ServicePolicy.objects.select_related("policy").filter(service=service.pk).first()
    policy = link.policy if link else None
    snapshot = snapshot_of(policy) if policy else fallback_snapshot()
    row = matrix_row(service.criticality)
    return policy, {**snapshot, "matrix": row} if row else snapshot


def snapshot_for_team(team: Team) -> tuple[Policy | None, dict[str, Any]]:
    """The same for a team that is called in: the first policy that was made for it."""
    policy = Policy.objects.filter(team=team).order_by("pk").first()
    return policy, snapshot_of(policy) if policy else team_snapshot(team)
