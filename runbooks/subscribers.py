"""What runbooks add to the room."""

from datetime import datetime

from accounts.models import User
from incidents.channel import commands
from incidents.models import Incident
from runbooks import queries, transitions

RUNBOOK = "/runbook words of its title"


def _runbook(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    """/runbook checkout takes up the one runbook that these words find."""
    if not rest:
        raise commands.usage_error("Say which.", RUNBOOK)
    found = queries.named(rest)
    if len(found) != 1:
        near = f" Several are: {', '.join(one.title for one in found)}." if found else ""
        raise commands.usage_error(f"No one runbook is meant by {rest[:60]}.{near}", RUNBOOK)
    transitions.attach(incident_id=incident.pk, runbook_id=found[0].pk, by=by, now=now)


commands.register(
    "runbook", RUNBOOK, "Take up a runbook", _runbook,
    opens="runbooks:attach", offered=lambda incident: incident.is_open,
)  # fmt: skip
