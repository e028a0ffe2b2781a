"""Correcting the course of an incident: when a phase began, and that it stands in an earlier one. Each with a reason.

The stamps are corrected, and the timeline says what stood there before. The times from which the metrics follow
(opened, acknowledged, contained, resolved) are what the system measured; they stay.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from django.db import transaction

from accounts.models import User
from core.errors import Invalid, Refused
from incidents import timeline
from incidents.models import Incident, Kind, Phase, PhaseStamp
from incidents.reading import rules
from incidents.transitions import clean_text, lock_incident

MAX_REASON = 300


def correct_phase(
    *, incident_id: int, phase: str, at: datetime, reason: str, by: User, now: datetime
) -> Incident:
    """`phase` began at `at`. Raises Invalid for a time out of order, Refused for a phase that has not begun."""
    return correct_phases(incident_id=incident_id, stamps={phase: at}, reason=reason, by=by, now=now)


@transaction.atomic
def correct_phases(
    *,
    incident_id: int,
    stamps: Mapping[str, datetime],
    reason: str,
    by: User,
    now: datetime,
    seen: Mapping[str, datetime | None] | None = None,
) -> Incident:
    """Several stamps at once, which must be in order afterwards. `seen`: the stamps, to the second, as they stood
    before the person; Refused when somebody else has corrected one of them meanwhile."""
    reason = _reason(reason)
    for phase in stamps:
        _known(phase)
    incident = lock_incident(incident_id)
    rows = {row.phase: row for row in PhaseStamp.objects.filter(incident=incident)}
    for phase in stamps:
        if not rules.begun(phase, now_in=incident.phase):
            raise Refused(f"{Phase(phase).label} has not begun yet.", code="not_begun")
        old = rows[phase].at if phase in rows else None
        if seen is not None and _to_the_second(seen.get(phase)) != _to_the_second(old):
            message = f"{Phase(phase).label} was corrected meanwhile. Look again before you change it."
            raise Refused(message, code="changed_meanwhile")
    order = [phase for phase in Phase.values if phase in stamps]
    changed = [phase for phase in order if phase not in rows or rows[phase].at != stamps[phase]]
    after = {phase: row.at for phase, row in rows.items()} | dict(stamps)
    rules.check_stamps(after, changed=changed, triggered_at=incident.triggered_at, now=now)
    for phase in changed:
        row = rows.get(phase)
        before = row.at if row else None
        if row is None:
            PhaseStamp.objects.create(incident=incident, phase=phase, at=stamps[phase])
        else:
            row.at = stamps[phase]
            row.save(update_fields=["at"])
        was = f"was {_utc(before)}" if before else "had no time"
        timeline.record(
            incident, Kind.PHASE_CORRECTED, at=now, actor=by,
            text=f"corrected the start of {Phase(phase).label} to {_utc(stamps[phase])} ({was}): {reason}",
            data={
                "phase": phase,
                "from": before.isoformat() if before else None,
                "to": stamps[phase].isoformat(),
                "reason": reason,
            },
        )  # fmt: skip
    return incident


@transaction.atomic
def set_back(*, incident_id: int, phase: str, reason: str, by: User, now: datetime) -> Incident:
    """The incident stands in an earlier phase again; the stamps of the later ones go, as they have not begun."""
    reason = _reason(reason)
    _known(phase)
    incident = lock_incident(incident_id)
    before = incident.phase
    rules.check_set_back(phase, now_in=before, status=incident.status)
    later = Phase.values[Phase.values.index(phase) + 1 :]
    gone = {row.phase: row.at.isoformat() for row in incident.phase_stamps.filter(phase__in=later)}
    incident.phase_stamps.filter(phase__in=later).delete()
    PhaseStamp.objects.get_or_create(incident=incident, phase=phase, defaults={"at": now})
    incident.phase = phase
    incident.save(update_fields=["phase"])
    timeline.record(
        incident, Kind.PHASE_CORRECTED, at=now, actor=by,
        text=f"set the phase back to {Phase(phase).label} from {Phase(before).label}: {reason}",
        data={"phase": phase, "from_phase": before, "gone": gone, "reason": reason},
    )  # fmt: skip
    return incident


def _reason(text: str) -> str:
    reason = clean_text(text).strip()
    if not reason:
        raise Invalid("Say why it is corrected.", fields={"reason": ["Say why."]})
    if len(reason) > MAX_REASON:
        raise Invalid("The reason is too long.", fields={"reason": [f"At most {MAX_REASON} characters."]})
    return reason


def _known(phase: str) -> None:
    if phase not in Phase.values:
        raise Invalid("No such phase.", fields={"phase": [f"One of {', '.join(Phase.values)}."]})


def _to_the_second(at: datetime | None) -> datetime | None:
    return at.replace(microsecond=0) if at else None


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
