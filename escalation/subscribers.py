"""What escalation does when something happens to an incident, and when its time is up."""

from datetime import datetime, timedelta

from accounts.models import User
from escalation import auditor, engine, transitions
from incidents import timeline
from incidents.channel import commands
from incidents.models import Incident, Kind, TimelineEntry
from incidents.transitions import lock_incident, unacknowledge
from timers import registry
from timers.models import Timer
from timers.transitions import cancel_timer, set_timer

ACK_TIMEOUT = "escalation.ack_timeout"


@timeline.on(Kind.TRIGGERED)
def begin(incident: Incident, entry: TimelineEntry) -> None:
    engine.start(incident, now=entry.at)


@timeline.on(Kind.ACKNOWLEDGED, Kind.CONTAINED, Kind.RESOLVED)
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
    level = given.data.get("tier") if given else None
    engine.resume(incident, level=level, now=entry.at, why="the acknowledgement no longer holds")


@timeline.on(Kind.SEVERITY_CHANGED)
def follow_severity(incident: Incident, entry: TimelineEntry) -> None:
    engine.severity_changed(incident, now=entry.at)


def _lock(timer: Timer) -> Incident:
    return lock_incident(timer.payload["incident"])


@registry.handler(engine.STEP, queue="timers", lock=_lock)
def step(timer: Timer, now: datetime, incident: Incident) -> None:
    engine.time_is_up(incident, step=timer.fence, now=now)


@registry.handler(ACK_TIMEOUT, queue="timers", lock=_lock)
def acknowledgement_timed_out(timer: Timer, now: datetime, incident: Incident) -> None:
    if incident.fence == timer.fence:
        minutes = timer.payload["minutes"]
        reason = f"the acknowledgement ended: not contained within {minutes} min"
        unacknowledge(incident_id=incident.pk, now=now, reason=reason)


def _escalate(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    """/escalate why pages the next tier, /escalate 2 why the second."""
    word, _, reason = rest.partition(" ")
    told = {"incident_id": incident.pk, "by": by, "now": now}
    if word.isdecimal() and len(word) == 1:
        transitions.escalate_to(level=int(word), reason=reason.strip(), **told)
    else:
        transitions.escalate_now(reason=rest, **told)


commands.register(
    "escalate", "/escalate [tier] why", "Page the next tier or that one now", _escalate,
    opens="escalation:escalate", offered=lambda incident: incident.is_open,
)  # fmt: skip

registry.sweep(auditor.audit_when_due)
