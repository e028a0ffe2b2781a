"""Carries out a policy for one incident: whom to page next, when, and why. Decides from rows, under the incident's lock.

Every function here expects the incident to be locked by its caller, and leaves run, timer, pages and timeline consistent
in that transaction. There is always a next step until somebody answers: the last one comes again and again.
"""

import functools
import json
from datetime import datetime, timedelta

from django.db import transaction

from accounts.models import User
from core.words import duration
from escalation import rules
from escalation.models import Policy, Run, RunStatus, ServicePolicy, TargetKind
from escalation.rules import Position
from escalation.targets import candidates_of, catch_all_people
from incidents import timeline
from incidents.models import Incident, Kind, Status
from incidents.transitions import PageRequest, miss_pages, page_people
from notifications.models import Urgency
from timers.transitions import cancel_timer, set_timer

STEP = "escalation.step"

_POSITION = ("status", "index", "loop", "step", "step_started_at")


# ---------------------------------------------------------------------------------------------------- snapshot


def snapshot_of(policy: Policy) -> dict:
    """The policy as JSON, so that later edits move no running incident."""
    return json.loads(_snapshot(policy.pk, policy.version, policy.created_at))


@functools.lru_cache(maxsize=500)
def _snapshot(policy_id: int, version: int, created_at: datetime) -> str:
    """Read once in each process for each version, since every change of a policy makes a new one.

    Locked, as a change in the middle of the reading would leave tiers without their targets.
    """
    with transaction.atomic():
        return json.dumps(_read_snapshot(Policy.objects.select_for_update(no_key=True).get(pk=policy_id)))


def _read_snapshot(policy: Policy) -> dict:
    tiers = policy.tiers.prefetch_related("targets__schedule", "targets__user", "targets__team")
    return {
        "policy": policy.pk,
        "name": policy.name,
        "version": policy.version,
        "repeats": policy.repeats,
        "catch_all": [policy.catch_all_id] if policy.catch_all_id else [],
        "catch_all_every_seconds": policy.catch_all_every_minutes * 60,
        "tiers": [
            {
                "level": tier.level,
                "name": tier.name,
                "criteria": tier.criteria,
                "expected": tier.expected_outcome,
                "expertise": tier.expertise,
                "ack_seconds": {
                    "1": tier.ack_seconds_sev1, "2": tier.ack_seconds_sev2,
                    "3": tier.ack_seconds_sev3, "4": tier.ack_seconds_sev4,
                },
                "targets": [
                    {
                        "kind": target.kind,
                        "id": target.schedule_id or target.user_id or target.team_id,
                        "role": target.role,
                        "name": str(target),
                    }
                    for target in tier.targets.all()
                ],
            }
            for tier in tiers
        ],
    }  # fmt: skip


def fallback_snapshot() -> dict:
    """For a service without a policy: its responders, then the admins again and again. Never nobody."""
    return {
        "policy": None,
        "name": "No policy",
        "version": 0,
        "repeats": 1,
        "catch_all": [],
        "catch_all_every_seconds": 900,
        "tiers": [
            {
                "level": 1, "name": "Responders of the service", "criteria": "", "expertise": "",
                "expected": "Acknowledge, open the room, and give the service an escalation policy afterwards.",
                "ack_seconds": {"1": 300, "2": 300, "3": 900, "4": 1800},
                "targets": [
                    {"kind": TargetKind.SERVICE_PRIMARY, "id": None, "role": "", "name": "primary responder"},
                    {"kind": TargetKind.SERVICE_SECONDARY, "id": None, "role": "", "name": "secondary responder"},
                ],
            }
        ],
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------- beginning and end


def start(incident: Incident, *, now: datetime, why: str = "") -> Run:
    """Begin with the first tier, whatever ran before."""
    link = ServicePolicy.objects.select_related("policy").filter(service=incident.service_id).first()
    snapshot = snapshot_of(link.policy) if link else fallback_snapshot()
    run = Run.objects.filter(incident=incident).first() or Run(incident=incident)
    run.policy, run.snapshot = (link.policy if link else None), snapshot
    run.status, run.index, run.loop, run.started_at = RunStatus.RUNNING, -1, 0, now
    run.stopped_at = run.due_at = None
    run.save()
    _go_to(incident, run, Position(0, 0), now=now, why=why)
    return run


def stop(incident: Incident, *, now: datetime) -> None:
    """Nobody is paged any more. Where the run stood is kept, so that it can go on from there."""
    cancel_timer(kind=STEP, key=str(incident.pk))
    Run.objects.filter(incident=incident).exclude(status=RunStatus.STOPPED).update(
        status=RunStatus.STOPPED, stopped_at=now, due_at=None
    )
    _announce(incident, due_at=None)


def resume(incident: Incident, *, level: int | None, now: datetime, why: str) -> None:
    """The acknowledgement ended: page the tier again whose person gave it, and go on from there.

    `level` None: that person was not paged by a tier, so the tier that was reached is paged again.
    """
    run = Run.objects.filter(incident=incident).first()
    if run is None or run.index < 0 or run.index >= len(run.snapshot["tiers"]):
        start(incident, now=now, why=why)
        return
    index = rules.index_of_level(run.snapshot, level) if level is not None else None
    run.status, run.stopped_at = RunStatus.RUNNING, None
    run.save(update_fields=["status", "stopped_at"])
    position = Position(run.index if index is None else index, run.loop)
    _go_to(incident, run, position, now=now, why=why, again=True)


# ---------------------------------------------------------------------------------------------------- steps


def time_is_up(incident: Incident, *, step: int, now: datetime) -> None:
    """The timer of `step` fired. Does nothing when the run has moved on since."""
    run = Run.objects.filter(incident=incident).first()
    if (
        run is None
        or run.step != step
        or run.status == RunStatus.STOPPED
        or incident.status != Status.TRIGGERED
    ):
        return
    missed = miss_pages(incident, now=now)
    if missed:
        names = _names([page.recipient for page in missed])
        waited = duration(now - min(page.paged_at for page in missed))
        timeline.record(
            incident, Kind.PAGE_MISSED, at=now, text=f"{names} did not answer within {waited}",
            data={"people": [page.recipient_id for page in missed], "pages": [page.pk for page in missed],
                  "tier": missed[0].tier},
        )  # fmt: skip
    if run.status == RunStatus.CATCH_ALL:
        _page_catch_all(incident, run, now=now, why="still nobody has answered")
        return
    advance(incident, run, now=now, why="no answer in time")


def advance(incident: Incident, run: Run, *, now: datetime, why: str, by: User | None = None) -> None:
    """Go to the step after the present one."""
    following = rules.next_position(run.snapshot, Position(run.index, run.loop))
    if run.status == RunStatus.CATCH_ALL or following is None:
        _page_catch_all(incident, run, now=now, why=why)
    else:
        _go_to(incident, run, following, now=now, why=why, by=by)


def jump(incident: Incident, run: Run, *, index: int, now: datetime, why: str, by: User) -> None:
    """Go to one tier now; its time begins anew, also for people who were paged before."""
    _go_to(incident, run, Position(index, run.loop), now=now, why=why, by=by, again=True)


def severity_changed(incident: Incident, *, now: datetime) -> None:
    """Another severity has other targets, and only high urgency escalates."""
    run = Run.objects.filter(incident=incident).first()
    if run is None or run.status == RunStatus.STOPPED or incident.status != Status.TRIGGERED:
        return
    if incident.urgency == Urgency.LOW:
        cancel_timer(kind=STEP, key=str(incident.pk))
        run.due_at = None
        run.save(update_fields=["due_at"])
        _announce(incident, due_at=None)
    elif run.due_at is None:
        position = Position(max(run.index, 0), run.loop)
        _go_to(incident, run, position, now=now, why="it became urgent", again=True)
    elif run.status == RunStatus.RUNNING and run.step_started_at is not None:
        tier = run.snapshot["tiers"][run.index]
        due_at = rules.due_after_severity_change(
            tier, severity=incident.severity, step_started_at=run.step_started_at, now=now
        )
        if due_at != run.due_at:
            _arm(incident, run, due_at=due_at, now=now)
            incident.pages.filter(step_key=_step_key(run), answer_by__isnull=False).update(answer_by=due_at)


def repair(incident: Incident, *, now: datetime) -> str:
    """Give an unanswered incident its next step back. What was wrong, in words."""
    run = Run.objects.filter(incident=incident).first()
    if run is None or run.status == RunStatus.STOPPED:
        start(incident, now=now, why="the auditor found that nothing was running")
        return "no escalation was running"
    due_at = run.due_at or now
    _arm(incident, run, due_at=due_at, now=now)
    return "its timer was missing"


def _go_to(
    incident: Incident, run: Run, start_at: Position, *, now: datetime, why: str, by: User | None = None,
    again: bool = False,
) -> None:  # fmt: skip
    """Page the first tier from `start_at` on that has somebody; say which were skipped and why.

    `again` pages people whom earlier tiers of this pass have already paged.
    """
    for skipped, position in enumerate(rules.positions_from(run.snapshot, start_at)):
        if skipped >= len(run.snapshot["tiers"]):
            break  # a whole pass found nobody; another would not either
        tier = run.snapshot["tiers"][position.index]
        if position.loop > run.loop:
            run.loop = position.loop
            timeline.record(
                incident, Kind.POLICY_REPEATED, at=now,
                text=f"all tiers were paged without an answer; beginning again, repeat {position.loop} of "
                f"{run.snapshot['repeats']}",
                data={"loop": position.loop},
            )  # fmt: skip
        candidates, people = candidates_of(tier, service=incident.service, at=now)
        paged_before = () if again else _paged_by_earlier_tiers(incident, run, position, level=tier["level"])
        chosen = rules.recipients(candidates, paged_before=paged_before)
        if chosen:
            recipients = [(people[each.user_id], each.reason) for each in chosen]
            _page_tier(incident, run, position, recipients=recipients, now=now, why=why, by=by)
            return
        if tier["level"] > 0 or tier["targets"]:
            nobody = rules.why_nobody(tier, candidates)
            timeline.record(
                incident, Kind.TIER_SKIPPED, at=now, text=f"skipped tier {tier['level']}, {tier['name']}: {nobody}",
                data={"tier": tier["level"], "loop": position.loop, "why": nobody},
            )  # fmt: skip
        run.index = position.index
    _page_catch_all(incident, run, now=now, why="no tier is left that has somebody")


def _page_tier(
    incident: Incident, run: Run, position: Position, *, recipients: list[tuple[User, str]], now: datetime, why: str,
    by: User | None,
) -> None:  # fmt: skip
    tier = run.snapshot["tiers"][position.index]
    urgent = incident.urgency == Urgency.HIGH
    within = rules.ack_within(tier, incident.severity)
    due_at = now + within if urgent else None
    run.index, run.loop = position.index, position.loop
    run.status = RunStatus.RUNNING if incident.status == Status.TRIGGERED else run.status
    run.step += 1
    run.step_started_at = now
    runs_on = incident.status == Status.TRIGGERED
    otherwise = f"{next_label(run)} in {duration(within)}" if due_at and runs_on else ""
    pages = page_people(
        incident, step_key=_step_key(run), now=now,
        requests=[
            PageRequest(
                recipient=person, reason=reason, expected=tier["expected"], tier=tier["level"],
                tier_name=tier["name"], answer_by=due_at if runs_on else None, otherwise=otherwise,
            )
            for person, reason in recipients
        ],
    )  # fmt: skip
    reasons = "; ".join(dict.fromkeys(_lower_first(reason) for _, reason in recipients))
    because = f" ({why})" if why else ""
    then = f". Without an answer, {_lower_first(otherwise)}" if otherwise else ""
    timeline.record(
        incident, Kind.PAGED, at=now, actor=by,
        text=f"paged tier {tier['level']}, {tier['name']}{because}: {_names([page.recipient for page in pages])}, "
        f"{reasons}{then}",
        data={
            "tier": tier["level"], "loop": position.loop, "step": run.step, "why": why,
            "people": [page.recipient_id for page in pages], "pages": [page.pk for page in pages],
            "due_at": due_at.isoformat() if due_at and runs_on else None,
        },
    )  # fmt: skip
    if runs_on:
        _arm(incident, run, due_at=due_at, now=now)
    else:
        run.save(update_fields=_POSITION)


def _page_catch_all(incident: Incident, run: Run, *, now: datetime, why: str) -> None:
    """The last resort, which comes again and again while it is urgent: this pager never ends in silence."""
    every = timedelta(seconds=run.snapshot["catch_all_every_seconds"])
    runs_on = incident.status == Status.TRIGGERED
    due_at = now + every if runs_on and incident.urgency == Urgency.HIGH else None
    if runs_on:
        run.status = RunStatus.CATCH_ALL
    run.step += 1
    run.step_started_at = now
    run.index = len(run.snapshot["tiers"])
    people = catch_all_people(run.snapshot["catch_all"])
    otherwise = f"You are paged again in {duration(every)}" if due_at else ""
    pages = page_people(
        incident, step_key=_step_key(run), now=now,
        requests=[
            PageRequest(
                recipient=person, reason="Catch-all: nobody in any tier answered",
                expected="Acknowledge, then find somebody who can act.", tier_name="Catch-all", answer_by=due_at,
                otherwise=otherwise,
            )
            for person in people
        ],
    )  # fmt: skip
    then = f". It is paged again every {duration(every)} until somebody answers" if due_at else ""
    timeline.record(
        incident, Kind.CATCH_ALL, at=now,
        text=f"paged the catch-all ({why}): {_names([page.recipient for page in pages]) or 'nobody exists'}{then}",
        data={
            "step": run.step, "why": why, "people": [page.recipient_id for page in pages],
            "pages": [page.pk for page in pages], "due_at": due_at.isoformat() if due_at else None,
        },
    )  # fmt: skip
    if runs_on:
        _arm(incident, run, due_at=due_at, now=now)
    else:
        run.save(update_fields=_POSITION)


def _arm(incident: Incident, run: Run, *, due_at: datetime | None, now: datetime) -> None:
    run.due_at = due_at
    run.save(update_fields=[*_POSITION, "due_at"])
    if due_at is None:
        cancel_timer(kind=STEP, key=str(incident.pk))
    else:
        set_timer(
            kind=STEP,
            key=str(incident.pk),
            due_at=due_at,
            fence=run.step,
            payload={"incident": incident.pk},
            now=now,
        )
    _announce(incident, due_at=due_at, since=run.step_started_at, label=next_label(run))


def _announce(
    incident: Incident, *, due_at: datetime | None, since: datetime | None = None, label: str = ""
) -> None:
    """What the banner, the list and the API show of the countdown."""
    incident.next_page_at = due_at
    incident.next_page_from = since if due_at else None
    incident.next_page_label = label[:120] if due_at else ""
    incident.save(update_fields=["next_page_at", "next_page_from", "next_page_label"])


def next_label(run: Run) -> str:
    """What happens when the present step gets no answer: "Tier 2 is paged"."""
    if run.status == RunStatus.CATCH_ALL:
        return "The catch-all is paged again"
    following = rules.next_position(run.snapshot, Position(run.index, run.loop))
    if following is None:
        return "The catch-all is paged"
    tier = run.snapshot["tiers"][following.index]
    if following.loop > run.loop and tier["level"] == 0 and len(run.snapshot["tiers"]) > 1:
        tier = run.snapshot["tiers"][1]
    again = " again" if following.loop > run.loop else ""
    return f"Tier {tier['level']} is paged{again}"


def _step_key(run: Run) -> str:
    return f"run:{run.pk}:{run.step}"


def _paged_by_earlier_tiers(incident: Incident, run: Run, position: Position, *, level: int) -> set[int]:
    """People whom the tiers below `level` have paged in this pass. The timeline knows tier and pass of each step.

    The tier itself and those above it may have been paged as well, before somebody went back to a lower one.
    """
    if run.step == 0:
        return set()
    entries = incident.timeline.filter(
        kind=Kind.PAGED, at__gte=run.started_at, data__loop=position.loop, data__tier__lt=level
    )
    return {person for people in entries.values_list("data__people", flat=True) for person in people}


def _names(people: list[User]) -> str:
    names = [str(person) for person in people]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
