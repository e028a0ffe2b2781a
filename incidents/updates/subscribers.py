"""The clock of the next update follows the incident, and what its timers do."""

from datetime import datetime

from django.db import transaction

from incidents import timeline
from incidents.models import Incident, Kind, TimelineEntry, Update, UpdateMail
from incidents.transitions import lock_incident
from incidents.updates import mails, transitions
from timers.models import Timer
from timers.registry import handler


@timeline.on(Kind.ACKNOWLEDGED, Kind.CONTAINED)
def first_update_is_due(incident: Incident, entry: TimelineEntry) -> None:
    transitions.start_clock(incident, now=entry.at)


@timeline.on(Kind.SEVERITY_CHANGED)
def update_follows_severity(incident: Incident, entry: TimelineEntry) -> None:
    if entry.data["to"] < entry.data["from"]:  # a better severity leaves the promise as it was made
        transitions.follow_severity(incident, now=entry.at)


@timeline.on(Kind.RESOLVED)
def no_update_is_due(incident: Incident, entry: TimelineEntry) -> None:
    transitions.stop_clock(incident, now=entry.at)
    transitions.remind_to_end_the_story(incident, now=entry.at)


# The key says whose timer it is, so that one that was repaired by hand works without its payload.


def _lock_incident(timer: Timer) -> Incident:
    return lock_incident(int(timer.key))


@handler(transitions.OVERDUE, queue="timers", lock=_lock_incident)
def overdue(timer: Timer, now: datetime, incident: Incident) -> None:
    transitions.nag(incident, now=now)


def _lock_mail(timer: Timer) -> UpdateMail | None:
    return mails.lock(int(timer.key))


@handler(transitions.MAIL, queue="deliver", lock=_lock_mail, bulk=True)
def mail(timer: Timer, now: datetime, row: UpdateMail | None) -> None:
    queued = mails.queue_locked(row, now=now)
    if queued is not None:
        transaction.on_commit(lambda: mails.dispatch(queued, now=now))


def _lock_incident_of_update(timer: Timer) -> tuple[Update, Incident]:
    update = Update.objects.get(pk=int(timer.key))
    return update, lock_incident(update.incident_id)


@handler(transitions.UNREACHED, queue="default", lock=_lock_incident_of_update)
def unreached(timer: Timer, now: datetime, locked: tuple[Update, Incident]) -> None:
    update, incident = locked
    mails.tell_the_room(update, incident, now=now)
