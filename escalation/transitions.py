"""What people do to an escalation, and to the policies."""

from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import ContactKind, Role, Team, User, validate_time_zone
from catalog.models import Criticality
from core.errors import Invalid, Missing, Refused
from core.slugs import free_slug
from escalation import engine, rules, versions
from escalation.models import (
    AsksCommander,
    MatrixCell,
    Policy,
    Run,
    RunStatus,
    ServicePolicy,
    TargetKind,
    Tier,
    TierTarget,
)
from escalation.rules import PolicyData
from incidents import timeline
from incidents.models import Incident, Kind, Severity, Status
from incidents.transitions import clean_text, lock_incident
from notifications.models import Urgency
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


@transaction.atomic
def escalate_to_team(
    *, incident_id: int, team: Team, by: User, reason: str, now: datetime, seen: int | None = None
) -> Incident:
    """Call in another team: its policy pages beside the incident's own until somebody of that team answers.

    Raises Refused while that team is being paged already. `seen` as in escalate_now.
    """
    incident = lock_incident(incident_id)
    if incident.status == Status.RESOLVED:
        raise Refused(f"{incident.ref} is resolved. Nobody was paged.", code="already_resolved")
    if _has_pressed(incident, by=by, seen=seen):
        return incident
    running = Run.objects.filter(incident=incident, origin=f"team:{team.pk}").exclude(
        status=RunStatus.STOPPED
    )
    if running.exists():
        raise Refused(f"{team} is being paged already.", code="already_called")
    _tell(incident, by=by, reason=reason, to=f"to the team {team}", now=now, data={"team": team.slug})
    engine.start_team(incident, team, by=by, reason=clean_text(reason).strip(), now=now)
    return incident


def team_named(slug: str) -> Team:
    """Raises Invalid for a team that does not exist."""
    team = Team.objects.filter(slug=slug.lower()).first()
    if team is None:
        raise Invalid(f"There is no team {slug}.", fields={"team": [f"There is no team {slug}."]})
    return team


def _has_pressed(incident: Incident, *, by: User, seen: int | None) -> bool:
    if seen is None:
        return False
    return incident.timeline.filter(kind=Kind.ESCALATED, actor=by, seq__gt=seen).exists()


def _lock_for_escalation(incident_id: int) -> tuple[Incident, Run]:
    incident = lock_incident(incident_id)
    if incident.status == Status.RESOLVED:
        raise Refused(f"{incident.ref} is resolved. Nobody was paged.", code="already_resolved")
    run = engine.own_run(incident)
    if run is None:
        raise Refused(f"{incident.ref} has no escalation yet. Try again.", code="no_run")
    return incident, run


def _tell(
    incident: Incident, *, by: User, reason: str, to: str, now: datetime, data: dict[str, Any] | None = None
) -> None:
    reason = clean_text(reason).strip()[:300]
    because = f": {reason}" if reason else ""
    timeline.record(
        incident, Kind.ESCALATED, at=now, actor=by, text=f"escalated {to}{because}",
        data={"reason": reason, **(data or {})},
    )  # fmt: skip


@transaction.atomic
def save_policy(
    *,
    policy: Policy | None,
    data: PolicyData,
    by: User | None = None,
    why: str = "",
    now: datetime | None = None,
) -> Policy:
    """Make a policy (None) or change one, as a whole: its tiers and targets become those of `data`, its version goes up.

    Running incidents keep their snapshot. Each save is kept as a version, with who saved it and why. Raises Invalid with
    the fields that are wrong; then nothing is stored.
    """
    found = rules.faults(data) | _missing_targets(data)
    if found:
        raise Invalid("The policy was not saved.", fields=found)
    if policy is None:
        policy = Policy(slug=free_slug(Policy, data.name, kind="policy"))
    else:
        policy = Policy.objects.select_for_update(no_key=True).get(pk=policy.pk)
        versions.keep_unkept(policy)
        policy.version += 1
    policy.name = clean_text(data.name).strip()
    policy.description = clean_text(data.description)[:300]
    policy.team_id = data.team_id
    policy.repeats = data.repeats
    policy.catch_all_id = data.catch_all_id
    policy.catch_all_every_minutes = data.catch_all_every_minutes
    policy.on_ack_timeout = data.on_ack_timeout
    policy.add_on_handoff = data.add_on_handoff
    policy.working_hours = [dict(window) for window in data.working_hours]
    policy.time_zone = data.time_zone
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
            ack_mode=tier_data.ack_mode, quorum=tier_data.quorum, when_unstaffed=tier_data.when_unstaffed,
            hold_limit_minutes=tier_data.hold_limit_minutes, hours=tier_data.hours,
            severities=sorted(set(tier_data.severities)), round_robin=tier_data.round_robin,
            early=[dict(each) for each in tier_data.early], channels=list(tier_data.channels),
            **{f"ack_seconds_sev{severity}": tier_data.ack_seconds[severity] for severity in (1, 2, 3, 4)},
        )  # fmt: skip
        for target in tier_data.targets:
            TierTarget.objects.create(
                tier=tier, kind=target.kind, role=target.role, hours=target.hours,
                severities=sorted(set(target.severities)),
                schedule_id=target.id if target.kind in _SCHEDULES else None,
                user_id=target.id if target.kind == TargetKind.USER else None,
                team_id=target.id if target.kind == TargetKind.TEAM else None,
            )  # fmt: skip
    versions.keep(policy, by=by, why=clean_text(why).strip()[:300], now=now or timezone.now())
    return policy


_SCHEDULES = (TargetKind.SCHEDULE, TargetKind.SCHEDULE_NEXT)
_TARGET_MODELS = {
    TargetKind.SCHEDULE: Schedule,
    TargetKind.SCHEDULE_NEXT: Schedule,
    TargetKind.USER: User,
    TargetKind.TEAM: Team,
}


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
    if data.time_zone:
        try:
            validate_time_zone(data.time_zone)
        except ValidationError as error:
            found["time_zone"] = list(error.messages)
    for tier in data.tiers:
        if not set(tier.channels) <= set(ContactKind.values):
            kinds = ", ".join(ContactKind.values)
            found.setdefault(f"tiers.{tier.level}", []).append(f"Channels are some of {kinds}.")
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


@transaction.atomic
def restore_version(*, policy: Policy, version: int, by: User, why: str, now: datetime) -> Policy:
    """Make the policy what it was in that version, as a new one. Raises Missing when there is no such version,
    Invalid when it names somebody who has gone."""
    kept = policy.versions.filter(version=version).first()
    if kept is None:
        raise Missing(f"{policy} has no version {version}.")
    because = why.strip() or f"back to version {version}"
    return save_policy(policy=policy, data=versions.data_of(kept.snapshot), by=by, why=because, now=now)


@transaction.atomic
def set_matrix_cell(
    *, severity: int, criticality: int, urgency: str = "", start_level: int | None = None,
    answer_seconds: int | None = None, commander: str = "", containment_minutes: int | None = None,
) -> None:  # fmt: skip
    """What a severity means on services of a criticality. All empty: the defaults. Open incidents keep what they have."""
    fields: dict[str, list[str]] = {}
    if severity not in Severity.values or criticality not in Criticality.values:
        raise Missing("Severity and criticality are from 1 to 4.")
    if urgency not in ("", *Urgency.values):
        fields["urgency"] = [f"Empty, or one of {', '.join(Urgency.values)}."]
    if start_level is not None and not 0 <= start_level <= 9:
        fields["start_level"] = ["A tier's number is from 0 to 9."]
    if answer_seconds is not None and not 1 <= answer_seconds <= 86_400:
        fields["answer_seconds"] = ["From 1 second to 24 hours."]
    if containment_minutes is not None and not 1 <= containment_minutes <= 10_080:
        fields["containment_minutes"] = ["From 1 minute to 7 days."]
    if commander not in AsksCommander.values:
        fields["commander"] = [f"Empty, or one of {', '.join(AsksCommander.values[1:])}."]
    if fields:
        raise Invalid("The matrix was not changed.", fields=fields)
    place = {"severity": severity, "criticality": criticality}
    told = {
        "urgency": urgency, "start_level": start_level, "answer_seconds": answer_seconds, "commander": commander,
        "containment_minutes": containment_minutes,
    }  # fmt: skip
    if any(value not in ("", None) for value in told.values()):
        MatrixCell.objects.update_or_create(**place, defaults=told)
    else:
        MatrixCell.objects.filter(**place).delete()
