"""Putting an incident off until a time. Each function locks the incident first and looks second.

Whoever snoozes says that somebody has it, so an incident that nobody had is acknowledged by that. Nothing of it pages
until the end; then it is as if the acknowledgement had run out. Updates to stakeholders go on meanwhile.
"""

from datetime import datetime

from django.db import transaction

from accounts.models import User
from core.errors import Invalid, Refused
from core.words import duration
from incidents import timeline
from incidents.models import Incident, Kind, Status
from incidents.rules import past_horizon
from incidents.snooze import rules
from incidents.snooze.hours import next_working_hours
from incidents.transitions import (
    SNOOZE,
    acknowledge,
    call_off_all,
    clean_text,
    end_snooze,
    lock_incident,
    unacknowledge,
)
from timers.transitions import set_timer


@transaction.atomic
def snooze(
    *, incident_id: int, by: User, now: datetime, until: datetime | None = None, reason: str = "",
    via: str = "web",
) -> Incident:  # fmt: skip
    """Nobody is paged before `until`; None: before the next working hours. A snooze that runs is replaced.

    Raises Invalid for a time in the past or more than 7 days ahead, Refused when contained or resolved.
    """
    incident = lock_incident(incident_id)
    if incident.status == Status.RESOLVED:
        raise Refused(f"{incident.ref} is resolved. There is nothing to put off.", code="already_resolved")
    if incident.status == Status.CONTAINED:
        raise Refused(f"{incident.ref} is contained. It pages nobody.", code="already_contained")
    to_hours = until is None
    if until is None:
        until = next_working_hours(incident, person=by, now=now)
    if until is None:
        raise Refused("No working hours begin within 7 days. Choose a time.", code="no_working_hours")
    wrong = rules.check(until, now=now)
    if wrong:
        raise Invalid(wrong, fields={"until": [wrong]})
    reason = clean_text(reason).strip()[:300]
    if (incident.snoozed_until, incident.snoozed_by_id, incident.snooze_reason) == (until, by.pk, reason):
        return incident
    if incident.status == Status.TRIGGERED:
        incident = acknowledge(incident_id=incident_id, by=by, now=now, via=via)
    incident.snoozed_until, incident.snoozed_by, incident.snooze_reason = until, by, reason
    incident.fence += 1
    incident.save(update_fields=["snoozed_until", "snoozed_by", "snooze_reason", "fence"])
    call_off_all(incident, answered_by=by, now=now)
    set_timer(
        kind=SNOOZE, key=str(incident.pk), due_at=until, now=now, fence=incident.fence,
        payload={"incident": incident.pk},
    )  # fmt: skip
    where = ", until the next working hours" if to_hours else ""
    timeline.record(
        incident, Kind.SNOOZED, at=now, actor=by,
        text=f"snoozed it for {duration(until - now)}{where}{f': {reason}' if reason else ''}",
        data={"until": until.isoformat(), "reason": reason, "via": via},
    )  # fmt: skip
    return incident


@transaction.atomic
def wake(*, incident_id: int, by: User, now: datetime) -> Incident:
    """End the snooze by hand: it stays acknowledged, and its other deadlines run again. Nothing when not snoozed."""
    incident = lock_incident(incident_id)
    if incident.snoozed_until is None:
        return incident
    who = end_snooze(incident)
    incident.fence += 1
    incident.save(update_fields=["fence"])
    whose = f" of {who}" if who is not None and who != by else ""
    timeline.record(
        incident, Kind.SNOOZE_ENDED, at=now, actor=by,
        text=f"ended the snooze{whose}", data={"snoozed_by": who.pk if who else None},
    )  # fmt: skip
    return incident


def time_is_up(incident: Incident, *, fence: int, now: datetime) -> None:
    """The time until which it was put off has come; for the timer, which holds the lock."""
    if incident.fence != fence or incident.snoozed_until is None or incident.snoozed_until > now:
        return
    who = end_snooze(incident)
    said = f"the snooze of {who} ended" if who else "the snooze ended"
    if past_horizon(incident.triggered_at, now):
        timeline.record(
            incident, Kind.HORIZON, at=now,
            text=f"{said}. It is open for more than 7 days, so nobody is paged again; it stands on the list of those",
            data={"of": "snooze", "snoozed_by": who.pk if who else None},
        )  # fmt: skip
        return
    unacknowledge(incident_id=incident.pk, now=now, reason=said, data={"snoozed_by": who.pk if who else None})
