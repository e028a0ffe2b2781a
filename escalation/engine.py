"""Carries out a policy for one incident: what `rules.decide` says, as pages, timers, rows and lines of the timeline.

Every function here expects the incident to be locked by its caller, and leaves run, timer, pages and timeline consistent
in that transaction. There is always a next step until somebody answers: the last one comes again and again.

An incident has one run of its service's policy, and one for each team that was called in (`Run.origin`). The own run
ends with the first acknowledgement, unless its tier asks for more answers: then it waits for them (gathering), and its
countdown goes on. A team's run ends when somebody answers whom it paged, or who is in that team.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from accounts.models import Membership, Team, User
from core.words import duration
from escalation import rules
from escalation.models import OWN, CoverageGap, GapOutcome, OnAckTimeout, RoundRobin, Run, RunStatus
from escalation.rules import (
    Candidate,
    CatchAll,
    Cause,
    Outcome,
    Paged,
    PageTier,
    Passed,
    Position,
    Situation,
    Tally,
    WaitAt,
)
from escalation.snapshots import fallback_snapshot, snapshot_for, snapshot_for_team, snapshot_of
from escalation.targets import Staffing, catch_all_people, schedules_of
from incidents import timeline
from incidents.models import Incident, Kind, Page, PageStatus, Status
from incidents.transitions import EACH, PageRequest, call_off, miss_pages, page_people, topic
from notifications.models import Urgency
from oncall.queries import next_staffed, staffing_changes
from timers.models import Timer
from timers.transitions import cancel_timer, cancel_timers, set_timer

__all__ = ["HANDOFF", "HOLD", "STEP", "fallback_snapshot", "snapshot_of"]

STEP = "escalation.step"
HANDOFF = "escalation.handoff"
HOLD = "escalation.hold"

LOOK_AGAIN = timedelta(minutes=5)
"""A tier that waits for somebody is looked at so often at least: overrides are made after the timer was set."""
LONGEST_WATCH = timedelta(days=7)
"""For who comes on call, while no countdown ends the watching."""

_POSITION = ("status", "index", "loop", "step", "step_started_at", "stopped_at")


def own_run(incident: Incident) -> Run | None:
    return Run.objects.filter(incident=incident, origin=OWN).first()


def active_runs(incident: Incident) -> list[Run]:
    """The own one first."""
    runs = Run.objects.filter(incident=incident).exclude(status=RunStatus.STOPPED).select_related("team")
    return sorted(runs, key=lambda run: (not run.is_own, run.pk))


def step_timer_key(run: Run) -> str:
    return str(run.incident_id) if run.is_own else f"{run.incident_id}:{run.pk}"


# ---------------------------------------------------------------------------------------------------- beginning and end


def start(incident: Incident, *, now: datetime, why: str = "", not_before: datetime | None = None) -> Run:
    """Begin with the first tier, whatever ran before. Until `not_before` an automated action may help first."""
    policy, snapshot = snapshot_for(incident.service)
    run = own_run(incident) or Run(incident=incident)
    _begin(run, policy_id=policy.pk if policy else None, snapshot=snapshot, now=now)
    if not_before is not None and not_before > now:
        _arm(incident, run, due_at=not_before, now=now)
    else:
        _go_to(incident, run, _first(incident, run), now=now, why=why)
    return run


def start_team(incident: Incident, team: Team, *, by: User | None, reason: str, now: datetime) -> Run:
    """Call in a team: its policy runs beside the incident's own until somebody of that team answers."""
    policy, snapshot = snapshot_for_team(team)
    origin = f"team:{team.pk}"
    run = Run.objects.filter(incident=incident, origin=origin).first() or Run(
        incident=incident, origin=origin
    )
    run.team, run.started_by, run.reason = team, by, reason[:300]
    _begin(run, policy_id=policy.pk if policy else None, snapshot=snapshot, now=now)
    _go_to(incident, run, _first(incident, run), now=now, why=f"{team} was called in", by=by)
    return run


def _begin(run: Run, *, policy_id: int | None, snapshot: dict[str, Any], now: datetime) -> None:
    run.policy_id, run.snapshot = policy_id, snapshot
    run.status, run.index, run.loop, run.started_at = RunStatus.RUNNING, -1, 0, now
    run.stopped_at = run.due_at = run.handoff_at = None
    run.save()


def _first(incident: Incident, run: Run) -> Position:
    return rules.start_position(run.snapshot, severity=incident.severity)


def stop(incident: Incident, *, now: datetime) -> None:
    """Nobody is paged any more. Where the runs stood is kept, so that the own one can go on from there."""
    for run in active_runs(incident):
        _stop(incident, run, now=now)
    _announce(incident)


def _stop(incident: Incident, run: Run, *, now: datetime) -> None:
    cancel_timer(kind=STEP, key=step_timer_key(run))
    cancel_timer(kind=HANDOFF, key=str(run.pk))
    held = list(run.gaps.filter(look_at__isnull=False).values_list("pk", flat=True))
    if held:
        cancel_timers(kind=HOLD, keys=[str(pk) for pk in held])
        CoverageGap.objects.filter(pk__in=held).update(
            look_at=None, ended_at=now, ended_because="the escalation ended"
        )
    run.status, run.stopped_at, run.due_at, run.handoff_at = RunStatus.STOPPED, now, None, None
    run.save(update_fields=["status", "stopped_at", "due_at", "handoff_at"])


def answered(incident: Incident, *, by: User | None, now: datetime) -> None:
    """`by` (None: a sender) has acknowledged: end the runs that are answered by it, and have the others go on."""
    for run in active_runs(incident):
        if run.is_own:
            _answered_own(incident, run, now=now)
        elif by is not None and answers_for(run, by):
            if enough_answers(incident, run):
                _end_answered(incident, run, now=now)
            elif run.status != RunStatus.GATHERING:
                run.status = RunStatus.GATHERING
                run.save(update_fields=["status"])
    _announce(incident)


def _answered_own(incident: Incident, run: Run, *, now: datetime) -> None:
    if not _asks_for_more(run) or enough_answers(incident, run):
        _end_answered(incident, run, now=now)
    elif run.status != RunStatus.GATHERING:
        run.status = RunStatus.GATHERING
        run.save(update_fields=["status"])


def _end_answered(incident: Incident, run: Run, *, now: datetime) -> None:
    _stop(incident, run, now=now)
    call_off(incident, about=_about(incident, run), now=now)


def end_runs(incident: Incident, *, origins: Sequence[str], now: datetime) -> None:
    """End these runs and call off whom they page: somebody else has the incident, or nobody is asked any more."""
    for run in active_runs(incident):
        if run.origin in origins:
            _end_answered(incident, run, now=now)
    _announce(incident)


def answers_for(run: Run, user: User) -> bool:
    """Whether this person answers for the run: somebody whom it paged, or who is in its team."""
    paged = Page.objects.filter(
        incident=run.incident_id, recipient=user, step_key__startswith=steps_of(run)
    ).exists()
    return paged or Membership.objects.filter(team=run.team_id, user=user).exists()


def _asks_for_more(run: Run) -> bool:
    tiers = run.snapshot["tiers"]
    if run.status == RunStatus.GATHERING:
        return True
    return (
        run.status == RunStatus.RUNNING
        and 0 <= run.index < len(tiers)
        and rules.asks_for_more(tiers[run.index])
    )


def enough_answers(incident: Incident, run: Run) -> bool:
    """Whether a tier that was paged in this pass has all the answers that it asks for."""
    if not run.is_own and not _asks_for_more(run):
        return True
    return any(tally.is_enough for tally in tallies(incident, run).values())


def tallies(incident: Incident, run: Run) -> dict[int, Tally]:
    """By level, how many of those whom this pass paged have answered."""
    people: dict[int, set[int]] = {}
    for each in paged_by(incident, run):
        if each.loop == run.loop:
            people.setdefault(each.level, set()).add(each.user_id)
    answers = set(
        incident.pages.filter(step_key__startswith=steps_of(run), status=PageStatus.ACKNOWLEDGED).values_list(
            "recipient_id", flat=True
        )
    )
    return {
        tier["level"]: rules.tally(tier, paged=people[tier["level"]], answered=answers)
        for tier in run.snapshot["tiers"]
        if people.get(tier["level"])
    }


def resume(
    incident: Incident, *, level: int | None, now: datetime, why: str, acker: User | None = None
) -> None:
    """The acknowledgement ended: page the tier again whose person gave it, and that person; go on from there.

    `level` None: that person was not paged by a tier, so the tier that was reached is paged again. A policy may say that
    it begins again with its first tier instead.
    """
    run = own_run(incident)
    if run is None or run.index < 0 or run.index >= len(run.snapshot["tiers"]):
        start(incident, now=now, why=why)
        return
    index = rules.index_of_level(run.snapshot, level) if level is not None else None
    position = Position(run.index if index is None else index, run.loop)
    if run.snapshot.get("on_ack_timeout") == OnAckTimeout.RESTART:
        position = Position(_first(incident, run).index, run.loop)
    run.status, run.stopped_at = RunStatus.RUNNING, None
    run.save(update_fields=["status", "stopped_at"])
    _go_to(incident, run, position, now=now, why=why, again=True, acker=acker)


# ---------------------------------------------------------------------------------------------------- steps


def runs_on(incident: Incident, run: Run) -> bool:
    """Whether the run leads from step to step by itself."""
    if run.is_own:
        return incident.status == Status.TRIGGERED or (
            incident.status == Status.ACKNOWLEDGED and run.status == RunStatus.GATHERING
        )
    return incident.status in (Status.TRIGGERED, Status.ACKNOWLEDGED) and run.status != RunStatus.STOPPED


def _is_timed(incident: Incident, run: Run) -> bool:
    return incident.urgency == Urgency.HIGH and runs_on(incident, run)


def time_is_up(incident: Incident, *, step: int, now: datetime, run_id: int | None = None) -> None:
    """The timer of `step` fired. Does nothing when the run has moved on since. `run_id` None: the own run."""
    run = own_run(incident) if run_id is None else Run.objects.filter(incident=incident, pk=run_id).first()
    if run is None or run.step != step or run.status == RunStatus.STOPPED or not runs_on(incident, run):
        return
    missed = miss_pages(incident, now=now, steps=steps_of(run))
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
    elif run.index < 0:
        _go_to(incident, run, _first(incident, run), now=now, why="the automated action did not help in time")
    elif run.status == RunStatus.GATHERING:
        _ask_higher(incident, run, now=now)
    else:
        advance(incident, run, now=now, why="no answer in time")


def _ask_higher(incident: Incident, run: Run, *, now: datetime) -> None:
    """Too few have answered in time, so the next tier is paged for those who are missing. With the last tier it ends:
    somebody has acknowledged, so neither a repeat nor the catch-all is called for."""
    following = rules.next_position(run.snapshot, Position(run.index, run.loop))
    if following is not None and following.loop == run.loop:
        _go_to(incident, run, following, now=now, why="too few have answered in time")
        return
    said = "; ".join(f"tier {level}: {tally}" for level, tally in sorted(tallies(incident, run).items()))
    timeline.record(
        incident, Kind.EXHAUSTED, at=now,
        text=f"too few have answered, and no tier is left that could ({said}). It goes on with those who have",
        data={"run": run.pk},
    )  # fmt: skip
    _stop(incident, run, now=now)
    _announce(incident)


def advance(incident: Incident, run: Run, *, now: datetime, why: str, by: User | None = None) -> None:
    """Go to the step after the present one."""
    if run.status == RunStatus.CATCH_ALL:
        _page_catch_all(incident, run, now=now, why=why)
    else:
        following = rules.next_position(run.snapshot, Position(run.index, run.loop))
        _go_to(incident, run, following, now=now, why=why, by=by)


def jump(
    incident: Incident, run: Run, *, index: int, now: datetime, why: str, by: User | None, again: bool = True
) -> None:
    """Go to one tier now; its time begins anew. With `again` also for people who were paged before."""
    _go_to(incident, run, Position(index, run.loop), now=now, why=why, by=by, again=again)


def enter_early(incident: Incident, cause: Cause, *, now: datetime, by: User | None = None) -> bool:
    """Page the tier whose criteria `cause` meets before its turn. False: no tier above the present one waits for it.

    Whoever finds out that a containment target is missed calls this with Cause(CONTAINMENT_MISSED), under the lock.
    """
    run = own_run(incident)
    if run is None or incident.status == Status.RESOLVED:
        return False
    reached = run.index if run.index < len(run.snapshot["tiers"]) else -1
    index = rules.entered_by(run.snapshot, cause, after=reached)
    if index is None:
        return False
    jump(incident, run, index=index, now=now, why=cause.words, by=by, again=False)
    return True


def severity_changed(incident: Incident, *, now: datetime, got_worse: bool = False) -> None:
    """Another severity has other targets, and only high urgency escalates. A worse one may have a tier paged early."""
    for run in active_runs(incident):
        if runs_on(incident, run):
            _follow_severity(incident, run, now=now)
    if got_worse:
        enter_early(incident, Cause(rules.IMPACT_GREW), now=now)


def _follow_severity(incident: Incident, run: Run, *, now: datetime) -> None:
    if incident.urgency == Urgency.LOW:
        _arm(incident, run, due_at=None, now=now)
    elif run.due_at is None:
        position = Position(max(run.index, 0), run.loop)
        _go_to(incident, run, position, now=now, why="it became urgent", again=True)
    elif run.status in (RunStatus.RUNNING, RunStatus.GATHERING) and run.index >= 0 and run.step_started_at:
        tier = run.snapshot["tiers"][run.index]
        due_at = rules.due_after_severity_change(
            run.snapshot, tier, severity=incident.severity, step_started_at=run.step_started_at, now=now
        )
        if due_at != run.due_at:
            _arm(incident, run, due_at=due_at, now=now)
            _watch_handoff(incident, run, tier, now=now)
            incident.pages.filter(
                step_key__in=[_step_key(run), _step_key(run, tier)], answer_by__isnull=False
            ).update(answer_by=due_at)


def repair(incident: Incident, *, now: datetime, run: Run | None = None) -> str:
    """Give an unanswered incident its next step back. What was wrong, in words. `run` None: the own one."""
    run = run or own_run(incident)
    if run is None or run.status == RunStatus.STOPPED:
        start(incident, now=now, why="the auditor found that nothing was running")
        return "no escalation was running"
    _arm(incident, run, due_at=run.due_at or now, now=now)
    return "its timer was missing"


def set_lost_timers(incident: Incident, *, now: datetime) -> str:
    """Give back what else waits without a timer. What was wrong, in words; empty: nothing."""
    lost = []
    for run in active_runs(incident):
        if run.due_at is not None and not _has_timer(STEP, step_timer_key(run)):
            _arm(incident, run, due_at=run.due_at, now=now)
            lost.append("the timer of its next step was missing")
        if run.handoff_at is not None and not _has_timer(HANDOFF, str(run.pk)):
            watch_again(incident, run, now=now)
            lost.append("the timer of the next handoff was missing")
    for gap in incident.coverage_gaps.filter(look_at__isnull=False):
        if not _has_timer(HOLD, str(gap.pk)):
            look_again(incident, gap, now=now)
            lost.append("the timer of a tier that waits for somebody was missing")
    return ", ".join(dict.fromkeys(lost))


def _has_timer(kind: str, key: str) -> bool:
    return Timer.objects.filter(kind=kind, key=key).exists()


def stop_needless(incident: Incident, *, now: datetime) -> bool:
    """End runs that the incident does not need any more. False: there was none."""
    needless = [run for run in active_runs(incident) if not runs_on(incident, run)]
    for run in needless:
        _stop(incident, run, now=now)
    _announce(incident)
    return bool(needless)


def _go_to(
    incident: Incident, run: Run, start_at: Position | None, *, now: datetime, why: str, by: User | None = None,
    again: bool = False, acker: User | None = None,
) -> None:  # fmt: skip
    """Page the first tier from `start_at` on that has somebody; say which were passed and why.

    `again` pages people whom earlier tiers of this pass have already paged; `acker` is paged with the tier as well.
    """
    staffing = Staffing(run.snapshot, service=incident.service, at=now)
    decision = rules.decide(
        run.snapshot, start_at, staffing=staffing, again=again, turns=_lock_turns(run),
        situation=Situation(incident.severity, now, timed=_is_timed(incident, run) and by is None),
        paged=() if again or run.step == 0 else paged_by(incident, run),
    )  # fmt: skip
    for passed in decision.passed:
        _tell_repeat(incident, run, passed.position, now=now)
        _pass(incident, run, passed, now=now)
        run.index = passed.position.index
    then = decision.then
    if isinstance(then, PageTier):
        _tell_repeat(incident, run, then.position, now=now)
        recipients = staffing.chosen(then.recipients)
        if acker is not None and acker.is_active and acker.pk not in {person.pk for person, _ in recipients}:
            recipients.append((acker, "You acknowledged it before"))
        _take_turn(run, then)
        _page_tier(
            incident, run, then.position, recipients=recipients, target=then.target, now=now, why=why, by=by
        )
    elif isinstance(then, WaitAt):
        _tell_repeat(incident, run, then.position, now=now)
        _wait_at(incident, run, then, now=now)
    else:
        _end_of_tiers(incident, run, then, now=now, why=why)


def _lock_turns(run: Run) -> dict[int, int]:
    """Whose turn it is by level, locked until the transaction ends, in one order for everybody."""
    levels = [tier["level"] for tier in run.snapshot["tiers"] if tier.get("round_robin")]
    if not levels or run.policy_id is None:
        return {}
    RoundRobin.objects.bulk_create(
        [RoundRobin(policy_id=run.policy_id, level=level) for level in levels], ignore_conflicts=True
    )
    rows = RoundRobin.objects.select_for_update(no_key=True).filter(policy=run.policy_id, level__in=levels)
    return dict(rows.order_by("level").values_list("level", "turn"))


def _take_turn(run: Run, paged: PageTier) -> None:
    if paged.target is not None and run.policy_id is not None:
        tier = run.snapshot["tiers"][paged.position.index]
        following = (paged.target + 1) % len(tier["targets"])
        RoundRobin.objects.filter(policy=run.policy_id, level=tier["level"]).update(turn=following)


def _tell_repeat(incident: Incident, run: Run, position: Position, *, now: datetime) -> None:
    if position.loop <= run.loop:
        return
    run.loop = position.loop
    timeline.record(
        incident, Kind.POLICY_REPEATED, at=now,
        text=f"all tiers were paged without an answer; beginning again, repeat {position.loop} of "
        f"{run.snapshot['repeats']}",
        data={"loop": position.loop},
    )  # fmt: skip


_GAPS = {
    Outcome.SKIPPED: GapOutcome.SKIPPED,
    Outcome.HELD: GapOutcome.HELD,
    Outcome.WAITED: GapOutcome.WAITED,
}


def _pass(incident: Incident, run: Run, passed: Passed, *, now: datetime) -> None:
    tier = run.snapshot["tiers"][passed.position.index]
    if passed.outcome is Outcome.AUTOMATED and not passed.why:
        return
    then = ""
    if passed.outcome in _GAPS:
        gap = _note_gap(
            incident,
            run,
            tier,
            loop=passed.position.loop,
            outcome=_GAPS[passed.outcome],
            why=passed.why,
            now=now,
        )
        if passed.outcome is Outcome.HELD:
            _hold(incident, run, gap, tier, now=now)
            then = ". It is paged as soon as somebody is there"
    timeline.record(
        incident, Kind.TIER_SKIPPED, at=now,
        text=f"skipped tier {tier['level']}, {tier['name']}: {passed.why}{then}",
        data={
            "tier": tier["level"], "loop": passed.position.loop, "why": passed.why, "outcome": str(passed.outcome),
            **_run_data(run),
        },
    )  # fmt: skip


def _wait_at(incident: Incident, run: Run, wait: WaitAt, *, now: datetime) -> None:
    tier = run.snapshot["tiers"][wait.position.index]
    within = rules.time_to_answer(run.snapshot, tier, incident.severity)
    _note_gap(incident, run, tier, loop=wait.position.loop, outcome=GapOutcome.WAITED, why=wait.why, now=now)
    run.index, run.loop = wait.position.index, wait.position.loop
    _next_step(run, now=now)
    timeline.record(
        incident, Kind.TIER_SKIPPED, at=now,
        text=f"nobody is paged by tier {tier['level']}, {tier['name']}: {wait.why}. Its time passes, then "
        f"{_lower_first(next_label(run))} in {duration(within)}",
        data={
            "tier": tier["level"], "loop": wait.position.loop, "why": wait.why, "outcome": str(Outcome.WAITED),
            **_run_data(run),
        },
    )  # fmt: skip
    _arm(incident, run, due_at=now + within, now=now)
    _watch_handoff(incident, run, tier, now=now)


def _end_of_tiers(incident: Incident, run: Run, end: CatchAll, *, now: datetime, why: str) -> None:
    if run.status == RunStatus.GATHERING:
        _ask_higher_ended(incident, run, now=now)
        return
    if end.nobody:
        _note_gap(
            incident, run, None, loop=run.loop, outcome=GapOutcome.NOBODY, now=now,
            why="no tier that counts at this time has anybody",
        )  # fmt: skip
    if end.exhausted and _is_timed(incident, run):
        count = run.loop + 1
        timeline.record(
            incident, Kind.EXHAUSTED, at=now,
            text=f"all tiers were paged {'once' if count == 1 else f'{count} times'} without an answer",
            data={"loops": count, **_run_data(run)},
        )  # fmt: skip
    _page_catch_all(incident, run, now=now, why=end.why if end.nobody or not end.exhausted else why)


def _ask_higher_ended(incident: Incident, run: Run, *, now: datetime) -> None:
    timeline.record(
        incident, Kind.EXHAUSTED, at=now, data={"run": run.pk},
        text="too few have answered, and nobody is left to page. It goes on with those who have",
    )  # fmt: skip
    _stop(incident, run, now=now)
    _announce(incident)


def _note_gap(
    incident: Incident,
    run: Run,
    tier: dict[str, Any] | None,
    *,
    loop: int,
    outcome: str,
    why: str,
    now: datetime,
) -> CoverageGap:
    """The record for the council. Once for each tier and pass; going there again changes nothing."""
    told = {
        "incident": incident, "service": incident.service, "policy_name": run.snapshot["name"][:120],
        "level_name": tier["name"][:80] if tier else "", "outcome": outcome, "why": why[:300], "at": now,
    }  # fmt: skip
    place = {"run": run, "loop": loop, "level": tier["level"] if tier else None}
    gap, is_new = CoverageGap.objects.get_or_create(**place, defaults=told)
    if not is_new and gap.at < run.started_at:  # of the course before the incident was reopened
        again = {**told, "look_at": None, "hold_until": None, "ended_at": None, "ended_because": ""}
        gap, _ = CoverageGap.objects.update_or_create(**place, defaults=again)
    return gap


def _page_tier(
    incident: Incident, run: Run, position: Position, *, recipients: list[tuple[User, str]], target: int | None,
    now: datetime, why: str, by: User | None,
) -> None:  # fmt: skip
    tier = run.snapshot["tiers"][position.index]
    within = rules.time_to_answer(run.snapshot, tier, incident.severity)
    goes_on = runs_on(incident, run)
    due_at = now + within if incident.urgency == Urgency.HIGH else None
    run.index, run.loop = position.index, position.loop
    if goes_on and run.status != RunStatus.GATHERING:
        run.status, run.stopped_at = RunStatus.RUNNING, None
    _next_step(run, now=now)
    otherwise = f"{next_label(run)} in {duration(within)}" if due_at and goes_on else ""
    pages = _page(
        incident, run, tier, recipients=recipients, now=now, answer_by=due_at if goes_on else None,
        otherwise=otherwise,
    )  # fmt: skip
    reasons = "; ".join(dict.fromkeys(_lower_first(reason) for _, reason in recipients))
    because = f" ({why})" if why else ""
    needed = rules.needed(tier, people=len(pages))
    wanted = f". {needed} of {len(pages)} have to answer" if needed > 1 else ""
    then = f". Without an answer, {_lower_first(otherwise)}" if otherwise else ""
    timeline.record(
        incident, Kind.PAGED, at=now, actor=by,
        text=f"paged tier {tier['level']}, {tier['name']}{because}: {_names([page.recipient for page in pages])}, "
        f"{reasons}{wanted}{then}",
        data={
            "tier": tier["level"], "loop": position.loop, "step": run.step, "why": why,
            "people": [page.recipient_id for page in pages], "pages": [page.pk for page in pages],
            "due_at": due_at.isoformat() if due_at and goes_on else None,
            **({"target": target} if target is not None else {}), **_run_data(run),
        },
    )  # fmt: skip
    if goes_on:
        _arm(incident, run, due_at=due_at, now=now)
        _watch_handoff(incident, run, tier, now=now)
    else:
        run.save(update_fields=_POSITION)


def _next_step(run: Run, *, now: datetime) -> None:
    """The fence of the timers: those of the step before do nothing any more."""
    run.step += 1
    run.step_started_at = now
    _watch_no_handoff(run)


def _page(
    incident: Incident, run: Run, tier: dict[str, Any], *, recipients: Iterable[tuple[User, str]], now: datetime,
    answer_by: datetime | None, otherwise: str,
) -> list[Page]:  # fmt: skip
    """One page for each person, in the present step."""
    called = f"{run.started_by} called in {run.team}: {run.reason}. " if run.team and run.reason else ""
    return page_people(
        incident, step_key=_step_key(run, tier), now=now,
        about=_about(incident, run) if _waits_for_its_own(run, tier) else "",
        requests=[
            PageRequest(
                recipient=person, reason=f"{called}{reason}", expected=tier["expected"], tier=tier["level"],
                tier_name=tier["name"], answer_by=answer_by, otherwise=otherwise,
                channels=tier.get("channels") or (),
            )
            for person, reason in recipients
        ],
    )  # fmt: skip


def _page_catch_all(incident: Incident, run: Run, *, now: datetime, why: str) -> None:
    """The last resort, which comes again and again while it is urgent: this pager never ends in silence."""
    every = timedelta(seconds=run.snapshot["catch_all_every_seconds"])
    goes_on = runs_on(incident, run)
    due_at = now + every if goes_on and incident.urgency == Urgency.HIGH else None
    if goes_on:
        run.status, run.stopped_at = RunStatus.CATCH_ALL, None
    _next_step(run, now=now)
    run.index = len(run.snapshot["tiers"])
    people = catch_all_people(run.snapshot["catch_all"])
    otherwise = f"You are paged again in {duration(every)}" if due_at else ""
    pages = page_people(
        incident, step_key=_step_key(run), now=now, about="" if run.is_own else _about(incident, run),
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
            "pages": [page.pk for page in pages], "due_at": due_at.isoformat() if due_at else None, **_run_data(run),
        },
    )  # fmt: skip
    if goes_on:
        _arm(incident, run, due_at=due_at, now=now)
    else:
        run.save(update_fields=_POSITION)


def _arm(incident: Incident, run: Run, *, due_at: datetime | None, now: datetime) -> None:
    run.due_at = due_at
    run.save(update_fields=[*_POSITION, "due_at"])
    if due_at is None:
        cancel_timer(kind=STEP, key=step_timer_key(run))
    else:
        set_timer(
            kind=STEP, key=step_timer_key(run), due_at=due_at, fence=run.step, now=now,
            payload={"incident": incident.pk, **({} if run.is_own else {"run": run.pk})},
        )  # fmt: skip
    _announce(incident)


def _announce(incident: Incident) -> None:
    """What the banner, the list and the API show of the countdown: the earliest of all runs."""
    due = [run for run in active_runs(incident) if run.due_at is not None]
    run = min(due, key=lambda each: each.due_at, default=None)
    incident.next_page_at = run.due_at if run else None
    incident.next_page_from = run.step_started_at or run.started_at if run else None
    incident.next_page_label = next_label(run)[:120] if run else ""
    incident.save(update_fields=["next_page_at", "next_page_from", "next_page_label"])


def next_label(run: Run) -> str:
    """What happens when the present step gets no answer: "Tier 2 is paged", of a team "Network, tier 2 is paged"."""
    label = _next_label(run)
    return label if run.is_own else f"{run.team or run.snapshot['name']}, {_lower_first(label)}"


def _next_label(run: Run) -> str:
    tiers = run.snapshot["tiers"]
    if run.status == RunStatus.CATCH_ALL:
        return "The catch-all is paged again"
    following = rules.next_position(run.snapshot, Position(run.index, run.loop))
    if run.status == RunStatus.GATHERING and (following is None or following.loop > run.loop):
        return "The wait for more answers ends"
    if following is None:
        return "The catch-all is paged"
    tier = tiers[following.index]
    if tier["level"] == 0 and not tier["targets"] and following.index + 1 < len(tiers):
        tier = tiers[following.index + 1]
    again = " again" if following.loop > run.loop else ""
    return f"Tier {tier['level']} is paged{again}"


# ---------------------------------------------------------------------------------------------------- who comes on call


def _watch_handoff(incident: Incident, run: Run, tier: dict[str, Any], *, now: datetime) -> None:
    """Look again when somebody else comes on call in the tier that waits, if that is before its time is up."""
    _watch_no_handoff(run)
    schedules = schedules_of(tier) if run.snapshot.get("add_on_handoff", True) else []
    if not schedules:
        return
    changes = staffing_changes(schedules, now, run.due_at or now + LONGEST_WATCH)
    if not changes:
        return
    run.handoff_at = changes[0]
    run.save(update_fields=["handoff_at"])
    watch_again(incident, run, now=now)


def _watch_no_handoff(run: Run) -> None:
    if run.handoff_at is not None:
        run.handoff_at = None
        run.save(update_fields=["handoff_at"])
        cancel_timer(kind=HANDOFF, key=str(run.pk))


def watch_again(incident: Incident, run: Run, *, now: datetime) -> None:
    """Set the timer of the handoff that the run waits for."""
    set_timer(
        kind=HANDOFF, key=str(run.pk), due_at=run.handoff_at, fence=run.step, now=now,
        payload={"incident": incident.pk, "run": run.pk},
    )  # fmt: skip


def handed_off(incident: Incident, *, run_id: int, step: int, now: datetime) -> None:
    """Somebody else has come on call while the tier waits: page the new person as well."""
    run = Run.objects.filter(incident=incident, pk=run_id).select_related("team", "started_by").first()
    if run is None or run.step != step or not runs_on(incident, run):
        return
    if run.status == RunStatus.STOPPED or not 0 <= run.index < len(run.snapshot["tiers"]):
        return
    tier = run.snapshot["tiers"][run.index]
    last = incident.timeline.filter(
        kind=Kind.PAGED, data__step=run.step, data__tier=tier["level"], at__gte=run.started_at
    )
    target = next((data.get("target") for data in last.values_list("data", flat=True)), None)
    joins, staffing = _joining(incident, run, Position(run.index, run.loop), now=now, target=target)
    _page_besides(incident, run, tier, staffing.chosen(joins), now=now, why="came on call while it waited")
    _watch_handoff(incident, run, tier, now=now)


def _joining(
    incident: Incident, run: Run, position: Position, *, now: datetime, target: int | None = None
) -> tuple[Sequence[Candidate], Staffing]:
    staffing = Staffing(run.snapshot, service=incident.service, at=now)
    joins = rules.joining(
        run.snapshot, position, situation=Situation(incident.severity, now), staffing=staffing,
        paged=paged_by(incident, run), target=target,
    )  # fmt: skip
    return joins, staffing


def _page_besides(
    incident: Incident,
    run: Run,
    tier: dict[str, Any],
    recipients: list[tuple[User, str]],
    *,
    now: datetime,
    why: str,
) -> None:
    """Page these people without moving the run: its countdown goes on as it was."""
    if not recipients:
        return
    left = duration(run.due_at - now) if run.due_at else ""
    otherwise = f"{next_label(run)} in {left}" if left else ""
    pages = _page(
        incident, run, tier, recipients=recipients, now=now, answer_by=run.due_at, otherwise=otherwise
    )
    if pages:
        reasons = "; ".join(dict.fromkeys(_lower_first(reason) for _, reason in recipients))
        timeline.record(
            incident, Kind.PAGED, at=now,
            text=f"paged tier {tier['level']}, {tier['name']} ({why}): {_names([page.recipient for page in pages])}, "
            f"{reasons}",
            data={
                "tier": tier["level"], "loop": run.loop, "step": run.step, "why": why, "besides": True,
                "people": [page.recipient_id for page in pages], "pages": [page.pk for page in pages],
                "due_at": run.due_at.isoformat() if run.due_at else None, **_run_data(run),
            },
        )  # fmt: skip


def _hold(incident: Incident, run: Run, gap: CoverageGap, tier: dict[str, Any], *, now: datetime) -> None:
    """Look for somebody until the limit, while the next tier is paged."""
    if gap.hold_until is not None or not runs_on(incident, run):
        return
    gap.hold_until = now + timedelta(seconds=tier.get("hold_seconds") or 86_400)
    gap.outcome = GapOutcome.HELD
    _look_later(incident, gap, tier, now=now)


def _look_later(incident: Incident, gap: CoverageGap, tier: dict[str, Any], *, now: datetime) -> None:
    staffed = next_staffed(schedules_of(tier), now) if schedules_of(tier) else None
    moments = [now + LOOK_AGAIN, gap.hold_until, *([staffed] if staffed and staffed > now else [])]
    gap.look_at = min(moments)
    gap.save(update_fields=["look_at", "hold_until", "outcome"])
    look_again(incident, gap, now=now)


def look_again(incident: Incident, gap: CoverageGap, *, now: datetime) -> None:
    """Set the timer of a hold."""
    set_timer(
        kind=HOLD, key=str(gap.pk), due_at=gap.look_at, now=now,
        payload={"incident": incident.pk, "gap": gap.pk},
    )  # fmt: skip


def look_for_somebody(incident: Incident, *, gap_id: int, now: datetime) -> None:
    """A tier that had nobody is looked at again: page who is there now, or look later, or give up at the limit."""
    gap = (
        CoverageGap.objects.select_related("run__team", "run__started_by")
        .filter(pk=gap_id, incident=incident, look_at__isnull=False)
        .first()
    )
    if gap is None:
        return
    run = gap.run
    index = rules.index_of_level(run.snapshot, gap.level) if gap.level is not None else None
    if index is None or not runs_on(incident, run):
        _end_hold(gap, "the escalation ended", now=now)
        return
    tier = run.snapshot["tiers"][index]
    joins, staffing = _joining(incident, run, Position(index, run.loop), now=now)
    if joins:
        _page_besides(incident, run, tier, staffing.chosen(joins), now=now, why="somebody is there now")
        _end_hold(gap, "somebody came", now=now)
    elif any(
        rules.there(run.snapshot, index, situation=Situation(incident.severity, now), staffing=staffing)
    ):
        _end_hold(gap, "everybody there was paged meanwhile", now=now)
    elif now >= gap.hold_until:
        held = duration(gap.hold_until - gap.at)
        timeline.record(
            incident, Kind.TIER_SKIPPED, at=now,
            text=f"no longer waits for somebody in tier {tier['level']}, {tier['name']}: nobody came within {held}",
            data={"tier": tier["level"], "loop": gap.loop, "why": f"nobody came within {held}", **_run_data(run)},
        )  # fmt: skip
        _end_hold(gap, "nobody came", now=now)
    else:
        _look_later(incident, gap, tier, now=now)


def _end_hold(gap: CoverageGap, because: str, *, now: datetime) -> None:
    gap.look_at, gap.ended_at, gap.ended_because = None, now, because
    gap.save(update_fields=["look_at", "ended_at", "ended_because"])


# ---------------------------------------------------------------------------------------------------- helpers


def _waits_for_its_own(run: Run, tier: dict[str, Any]) -> bool:
    """Whether somebody else's acknowledgement leaves these pages as they are."""
    return not run.is_own or run.status == RunStatus.GATHERING or rules.asks_for_more(tier)


def steps_of(run: Run) -> str:
    return f"run:{run.pk}:"


def _step_key(run: Run, tier: dict[str, Any] | None = None) -> str:
    each = _waits_for_its_own(run, tier) if tier is not None else not run.is_own
    return f"{steps_of(run)}{run.step}{EACH if each else ''}"


def _about(incident: Incident, run: Run) -> str:
    """The topic of the messages of pages that wait for their own person's answer."""
    return f"{topic(incident)}:run:{run.pk}"


def _run_data(run: Run) -> dict[str, Any]:
    """Which run a line of the timeline is about, where it is not the own one."""
    return {} if run.is_own else {"run": run.pk, "team": run.snapshot["name"]}


def paged_by(incident: Incident, run: Run) -> list[Paged]:
    """Whom the steps of this run have paged, in which pass. The timeline knows tier and pass of each step."""
    entries = incident.timeline.filter(kind=Kind.PAGED, at__gte=run.started_at, data__has_key="loop")
    found = []
    for data in entries.values_list("data", flat=True):
        if data.get("run") == (None if run.is_own else run.pk) and data.get("tier") is not None:
            found += [Paged(data["loop"], data["tier"], person) for person in data["people"]]
    return found


def _names(people: list[User]) -> str:
    names = [str(person) for person in people]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
