"""What roles do when something happens to an incident, and when the time to accept one is over."""

from datetime import datetime, timedelta

import structlog
from django.db import InterfaceError, OperationalError, transaction

from incidents import timeline
from incidents.models import Incident, Kind, TimelineEntry
from incidents.roles import transitions
from incidents.transitions import ROLE_ACCEPT, lock_incident
from timers import registry
from timers.models import Timer
from timers.transitions import set_timer

log = structlog.get_logger(__name__)

SEEK_AGAIN = timedelta(seconds=10)


@timeline.on(Kind.TRIGGERED, Kind.REOPENED, Kind.SEVERITY_CHANGED)
def seek(incident: Incident, entry: TimelineEntry) -> None:
    if not transitions.wants_commander(incident):
        return
    # A schedule that cannot be read must not keep an incident from being opened and paged. The timer tries again until
    # it can, and operators see what it says.
    try:
        with transaction.atomic():
            transitions.seek_commander(incident, now=entry.at)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("no_commander_asked", incident=incident.pk)
        incident.refresh_from_db(fields=["last_seq", "last_hash"])
        set_timer(
            kind=transitions.SEEK, key=str(incident.pk), due_at=entry.at + SEEK_AGAIN, now=entry.at,
            payload={"incident": incident.pk},
        )  # fmt: skip


@timeline.on(Kind.RESOLVED)
def end(incident: Incident, entry: TimelineEntry) -> None:
    transitions.end_all(incident, now=entry.at)


def _lock(timer: Timer) -> Incident:
    return lock_incident(timer.payload["incident"])


@registry.handler(ROLE_ACCEPT, queue="timers", lock=_lock)
def time_to_accept_is_over(timer: Timer, now: datetime, incident: Incident) -> None:
    transitions.time_is_up(incident, offer_id=timer.payload["offer"], now=now)


@registry.handler(transitions.SEEK, queue="timers", lock=_lock)
def seek_again(timer: Timer, now: datetime, incident: Incident) -> None:
    transitions.seek_commander(incident, now=now)
