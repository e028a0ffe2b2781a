"""/snooze in the composer."""

from datetime import datetime

from accounts.models import User
from incidents.channel import commands
from incidents.models import Incident, Status
from incidents.snooze import rules, transitions


def _snooze(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    typed = rules.read(rest, zone=by.time_zone, now=now)
    until = typed.at or (now + typed.span if typed.span is not None else None)
    transitions.snooze(incident_id=incident.pk, by=by, until=until, reason=typed.why, now=now)


def offered(incident: Incident) -> bool:
    return incident.status in (Status.TRIGGERED, Status.ACKNOWLEDGED)


commands.register(
    "snooze", "/snooze 2h why, /snooze until 09:00", "Nobody is paged until then", _snooze,
    opens="incidents:snooze", offered=offered,
)  # fmt: skip
