"""What escalation does when something happens to an incident, and when its time is up."""

from datetime import datetime

from accounts.models import User
from escalation import auditor, deadlines, engine, transitions
from escalation import replies as _replies  # noqa: F401  registers itself
from escalation.rules import EXPERTISE, Cause
from incidents import timeline
from incidents.channel import commands
from incidents.models import Incident, Kind, RoomRole, Status, TimelineEntry
from incidents.transitions import lock_incident
from timers import registry
from timers.models import Timer


@timeline.on(Kind.TRIGGERED)
def begin(incident: Incident, entry: TimelineEntry) -> None:
    engine.start(incident, now=entry.at, not_before=incident.tier0_until)
    deadlines.begin_containment(incident, now=entry.at)


@timeline.on(Kind.TIER0)
def page_people_now(incident: Incident, entry: TimelineEntry) -> None:
    """The automated action cannot help any more, so nobody waits for the end of its time."""
    run = engine.own_run(incident)
    if entry.data.get("failed") and incident.status == Status.TRIGGERED and run is not None and run.index < 0:
        engine.time_is_up(incident, step=run.step, now=entry.at)


@timeline.on(Kind.REPAGED)
def page_again(incident: Incident, entry: TimelineEntry) -> None:
    engine.resume(incident, level=None, now=entry.at, why="it was triggered again")


@timeline.on(Kind.ACKNOWLEDGED, Kind.ALSO_ACKNOWLEDGED)
def answer(incident: Incident, entry: TimelineEntry) -> None:
    engine.answered(incident, by=entry.actor, now=entry.at)


@timeline.on(Kind.CONTAINED, Kind.RESOLVED)
def end(incident: Incident, entry: TimelineEntry) -> None:
    engine.stop(incident, now=entry.at)
    deadlines.forget_acknowledgement(incident)
    deadlines.forget_containment(incident)


@timeline.on(Kind.REOPENED)
def begin_again(incident: Incident, entry: TimelineEntry) -> None:
    engine.start(incident, now=entry.at, why="it was reopened")
    deadlines.begin_containment(incident, now=entry.at)


@timeline.on(Kind.UNACKNOWLEDGED)
def go_on(incident: Incident, entry: TimelineEntry) -> None:
    """Whoever had it is paged besides the tier: after a snooze whoever snoozed it, after a handover the new one."""
    snoozed_by = entry.data.get("snoozed_by")
    acker = User.objects.filter(pk=snoozed_by).first() if snoozed_by else incident.acknowledged_by
    why = "the snooze ended" if snoozed_by else "the acknowledgement no longer holds"
    engine.resume(incident, level=deadlines.answered_level(incident), acker=acker, now=entry.at, why=why)


@timeline.on(Kind.SEVERITY_CHANGED)
def follow_severity(incident: Incident, entry: TimelineEntry) -> None:
    got_worse = entry.data.get("to", 0) < entry.data.get("from", 0)
    engine.severity_changed(incident, now=entry.at, got_worse=got_worse)


@timeline.on(Kind.ROLE_OFFERED)
def follow_call_for_expertise(incident: Incident, entry: TimelineEntry) -> None:
    if entry.data.get("role") == RoomRole.EXPERT and entry.data.get("field"):
        cause = Cause(EXPERTISE, entry.data["field"])
        engine.enter_early(incident, cause, now=entry.at, by=entry.actor)


def _lock(timer: Timer) -> Incident:
    return lock_incident(timer.payload["incident"])


@registry.handler(engine.STEP, queue="timers", lock=_lock)
def step(timer: Timer, now: datetime, incident: Incident) -> None:
    engine.time_is_up(incident, step=timer.fence, run_id=timer.payload.get("run"), now=now)


@registry.handler(engine.HANDOFF, queue="timers", lock=_lock)
def handoff(timer: Timer, now: datetime, incident: Incident) -> None:
    engine.handed_off(incident, run_id=timer.payload["run"], step=timer.fence, now=now)


@registry.handler(engine.HOLD, queue="timers", lock=_lock)
def hold(timer: Timer, now: datetime, incident: Incident) -> None:
    engine.look_for_somebody(incident, gap_id=timer.payload["gap"], now=now)


def _escalate(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    """/escalate why pages the next tier, /escalate 2 why the second, /escalate team network why calls in that team."""
    word, _, reason = rest.partition(" ")
    told = {"incident_id": incident.pk, "by": by, "now": now}
    if word.isdecimal() and len(word) == 1:
        transitions.escalate_to(level=int(word), reason=reason.strip(), **told)
    elif word.lower() == "team":
        slug, _, reason = reason.strip().partition(" ")
        transitions.escalate_to_team(team=transitions.team_named(slug), reason=reason.strip(), **told)
    else:
        transitions.escalate_now(reason=rest, **told)


commands.register(
    "escalate", "/escalate [2, team x] why", "Page the next tier, that one or a team", _escalate,
    opens="escalation:escalate", offered=lambda incident: incident.is_open,
)  # fmt: skip

registry.sweep(auditor.audit_when_due)
