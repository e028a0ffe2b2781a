"""What people do to an escalation, and to the policies."""

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.models import Role, Team, User
from core.errors import Invalid, Refused
from core.slugs import free_slug
from escalation import engine, rules
from escalation.models import Policy, Run, ServicePolicy, TargetKind, Tier, TierTarget
from escalation.rules import PolicyData
from incidents import timeline
from incidents.models import Incident, Kind, Status
from incidents.transitions import clean_text, lock_incident
from oncall.models import Schedule


@transaction.atomic
def escalate_now(
    *, incident_id: int, by: User, reason: str, now: datetime, seen: int | None = None
) -> Incident:
    """Page the next tier without waiting. Raises Refused when resolved.

    `seen` is the seq at which `by` looked: what this person has escalated since then is the same press, sent twice.
    """
    incident, run = _lock_for_escalation(incident_id)
    if _has_pressed(incident, by=by, seen=seen):
        return incident
    _tell(incident, by=by, reason=reason, to=f"to the next tier ({engine.next_label(run).lower()})", now=now)
    engine.advance(incident, run, now=now, why=f"{by} escalated", by=by)
    return incident


@transaction.atomic
def escalate_to(
    *, incident_id: int, level: int, by: User, reason: str, now: datetime, seen: int | None = None
) -> Incident:
    """Page the tier with this number now; its time begins anew. Raises Invalid when the policy has no such tier.

    `seen` as in escalate_now.
    """
    incident, run = _lock_for_escalation(incident_id)
    if _has_pressed(incident, by=by, seen=seen):
        return incident
    index = rules.index_of_level(run.snapshot, level)
    if index is None:
        levels = ", ".join(str(tier["level"]) for tier in run.snapshot["tiers"])
        raise Invalid(
            f"There is no tier {level}.", fields={"level": [f"This policy has the tiers {levels}."]}
        )
    _tell(incident, by=by, reason=reason, to=f"to tier {level}", now=now)
    engine.jump(incident, run, index=index, now=now, why=f"{by} escalated", by=by)
    return incident


def _has_pressed(incident: Incident, *, by: User, seen: int | None) -> bool:
    if seen is None:
        return False
    return incident.timeline.filter(kind=Kind.ESCALATED, actor=by, seq__gt=seen).exists()


def _lock_for_escalation(incident_id: int) -> tuple[Incident, Run]:
    incident = lock_incident(incident_id)
    if incident.status == Status.RESOLVED:
        raise Refused(f"{incident.ref} is resolved. Nobody was paged.", code="already_resolved")
    run = Run.objects.filter(incident=incident).first()
    if run is None:
        raise Refused(f"{incident.ref} has no escalation yet. Try again.", code="no_run")
    return incident, run


def _tell(incident: Incident, *, by: User, reason: str, to: str, now: datetime) -> None:
    reason = clean_text(reason).strip()[:300]
    because = f": {reason}" if reason else ""
    timeline.record(
        incident, Kind.ESCALATED, at=now, actor=by, text=f"escalated {to}{because}", data={"reason": reason}
    )


@transaction.atomic
def save_policy(*, policy: Policy | None, data: PolicyData) -> Policy:
    """Make a policy (None) or change one, as a whole: its tiers and targets become those of `data`, its version goes up.

    Running incidents keep their snapshot. Raises Invalid with the fields that are wrong; then nothing is stored.
    """
    found = rules.faults(data) | _missing_targets(data)
    if found:
        raise Invalid("The policy was not saved.", fields=found)
    if policy is None:
        policy = Policy(slug=free_slug(Policy, data.name, kind="policy"))
    else:
        policy = Policy.objects.select_for_update(no_key=True).get(pk=policy.pk)
        policy.version += 1
    policy.name = clean_text(data.name).strip()
    policy.description = clean_text(data.description)[:300]
    policy.team_id = data.team_id
    policy.repeats = data.repeats
    policy.catch_all_id = data.catch_all_id
    policy.catch_all_every_minutes = data.catch_all_every_minutes
    try:
        with transaction.atomic():
            policy.save()
    except IntegrityError:
        raise Invalid(
            "The policy was not saved.", fields={"name": ["Another policy has this name."]}
        ) from None
    policy.tiers.all().delete()
    for tier_data in sorted(data.tiers, key=lambda each: each.level):
        tier = Tier.objects.create(
            policy=policy, level=tier_data.level, name=clean_text(tier_data.name)[:80],
            criteria=clean_text(tier_data.criteria)[:300],
            expected_outcome=clean_text(tier_data.expected_outcome)[:300], expertise=tier_data.expertise[:40],
            **{f"ack_seconds_sev{severity}": tier_data.ack_seconds[severity] for severity in (1, 2, 3, 4)},
        )  # fmt: skip
        for target in tier_data.targets:
            TierTarget.objects.create(
                tier=tier, kind=target.kind, role=target.role,
                schedule_id=target.id if target.kind == TargetKind.SCHEDULE else None,
                user_id=target.id if target.kind == TargetKind.USER else None,
                team_id=target.id if target.kind == TargetKind.TEAM else None,
            )  # fmt: skip
    return policy


_TARGET_MODELS = {TargetKind.SCHEDULE: Schedule, TargetKind.USER: User, TargetKind.TEAM: Team}


def _missing_targets(data: PolicyData) -> dict[str, list[str]]:
    """Targets that do not exist, by tier. The catch-all and the team of the policy are looked at too."""
    found: dict[str, list[str]] = {}
    for tier in data.tiers:
        for target in tier.targets:
            where = f"tiers.{tier.level}"
            if target.kind not in TargetKind.values:
                found.setdefault(where, []).append(f"{target.kind!r} is not a kind of target.")
            elif target.kind == TargetKind.ROLE and target.role not in Role.values:
                found.setdefault(where, []).append(f"{target.role!r} is not a role.")
            elif target.kind in _TARGET_MODELS:
                model = _TARGET_MODELS[TargetKind(target.kind)]
                if target.id is None or not model.objects.filter(pk=target.id).exists():
                    found.setdefault(where, []).append(f"There is no {target.kind} {target.id}.")
    if (
        data.catch_all_id is not None
        and not User.objects.filter(pk=data.catch_all_id, is_active=True).exists()
    ):
        found["catch_all"] = ["There is no such active person."]
    if data.team_id is not None and not Team.objects.filter(pk=data.team_id).exists():
        found["team"] = ["There is no such team."]
    return found


@transaction.atomic
def set_service_policy(*, service_id: int, policy: Policy | None) -> None:
    """Which policy pages for a service; None leaves it to the service's responders and the admins."""
    if policy is None:
        ServicePolicy.objects.filter(service_id=service_id).delete()
    else:
        ServicePolicy.objects.update_or_create(service_id=service_id, defaults={"policy": policy})
