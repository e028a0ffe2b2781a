"""What escalation does when something happens to an incident, and when its time is up."""

from datetime import datetime, timedelta

from accounts.models import User
from escalation import auditor, engine, transitions
from escalation import replies as _replies  # noqa: F401  registers itself
from escalation.rules import EXPERTISE, Cause
from incidents import timeline
from incidents.channel import commands
from incidents.models import Incident, Kind, RoomRole, Status, TimelineEntry
from incidents.transitions import lock_incident, unacknowledge
from timers import registry
from timers.models import Timer
from timers.transitions import cancel_timer, set_timer

ACK_TIMEOUT = "escalation.ack_timeout"


@timeline.on(Kind.TRIGGERED)
def begin(incident: Incident, entry: TimelineEntry) -> None:
    engine.start(incident, now=entry.at, not_before=incident.tier0_until)


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
    cancel_timer(kind=ACK_TIMEOUT, key=str(incident.pk))


@timeline.on(Kind.ACKNOWLEDGED)
def watch_acknowledgement(incident: Incident, entry: TimelineEntry) -> None:
    minutes = incident.service.acknowledge_timeout_minutes
    if minutes:
        set_timer(
            kind=ACK_TIMEOUT, key=str(incident.pk), due_at=entry.at + timedelta(minutes=minutes), now=entry.at,
            fence=incident.fence, payload={"incident": incident.pk, "minutes": minutes},
        )  # fmt: skip


@timeline.on(Kind.REOPENED)
def begin_again(incident: Incident, entry: TimelineEntry) -> None:
    engine.start(incident, now=entry.at, why="it was reopened")


@timeline.on(Kind.UNACKNOWLEDGED)
def go_on(incident: Incident, entry: TimelineEntry) -> None:
    given = incident.timeline.filter(kind=Kind.ACKNOWLEDGED).order_by("-seq").first()
    level, acker = (given.data.get("tier"), given.actor) if given else (None, None)
    engine.resume(incident, level=level, acker=acker, now=entry.at, why="the acknowledgement no longer holds")


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


@registry.handler(ACK_TIMEOUT, queue="timers", lock=_lock)
def acknowledgement_timed_out(timer: Timer, now: datetime, incident: Incident) -> None:
    if incident.fence == timer.fence:
        minutes = timer.payload["minutes"]
        reason = f"the acknowledgement ended: not contained within {minutes} min"
        unacknowledge(incident_id=incident.pk, now=now, reason=reason)


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
    "escalate", "/escalate [2, team network] why", "Page the next tier, that one or another team now", _escalate,
    opens="escalation:escalate", offered=lambda incident: incident.is_open,
)  # fmt: skip

registry.sweep(auditor.audit_when_due)
