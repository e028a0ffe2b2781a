"""When a snooze ends: at its time, and with whatever else changes who has the incident."""

from datetime import datetime

from incidents import timeline
from incidents.models import Incident, Kind, TimelineEntry
from incidents.snooze import transitions
from incidents.transitions import SNOOZE, end_snooze, lock_incident
from timers import registry
from timers.models import Timer


@timeline.on(Kind.CONTAINED, Kind.RESOLVED, Kind.REOPENED, Kind.UNACKNOWLEDGED)
def end(incident: Incident, entry: TimelineEntry) -> None:
    end_snooze(incident)


def _lock(timer: Timer) -> Incident:
    return lock_incident(timer.payload["incident"])


@registry.handler(SNOOZE, queue="timers", lock=_lock)
def time_is_up(timer: Timer, now: datetime, incident: Incident) -> None:
    transitions.time_is_up(incident, fence=timer.fence, now=now)
