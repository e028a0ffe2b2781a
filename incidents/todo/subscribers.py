"""What tasks do when their incident ends, and when their time is over."""

from datetime import datetime

from incidents import timeline
from incidents.models import Incident, Kind, TimelineEntry
from incidents.todo import transitions
from incidents.transitions import lock_incident
from timers import registry
from timers.models import Timer


@timeline.on(Kind.RESOLVED)
def end(incident: Incident, entry: TimelineEntry) -> None:
    transitions.end_all(incident, now=entry.at)


@timeline.on(Kind.REOPENED)
def go_on(incident: Incident, entry: TimelineEntry) -> None:
    transitions.arm_all(incident, now=entry.at)


def _lock(timer: Timer) -> Incident:
    return lock_incident(timer.payload["incident"])


@registry.handler(transitions.DUE, queue="timers", lock=_lock)
def due(timer: Timer, now: datetime, incident: Incident) -> None:
    transitions.remind(incident, task_id=timer.payload["task"], now=now)
