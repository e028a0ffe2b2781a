"""Which working hours count for an incident. Escalation knows its policy's and registers itself here."""

from collections.abc import Callable, Sequence
from datetime import datetime

from accounts.models import User
from incidents.models import Incident
from incidents.snooze import rules
from oncall.rules import Window

Hours = tuple[Sequence[Window], str]
"""The windows, and the zone of their clock; without a zone, the person's."""

_hours_of: Callable[[Incident], Hours | None] = lambda incident: None  # noqa: E731


def told_by(function: Callable[[Incident], Hours | None]) -> Callable[[Incident], Hours | None]:
    """Have `function` say the working hours of an incident. None: it has none of its own."""
    global _hours_of
    _hours_of = function
    return function


def next_working_hours(incident: Incident, *, person: User, now: datetime) -> datetime | None:
    """When they begin next: as the incident has them, else 09:00 from Monday to Friday where the person is."""
    windows, zone = _hours_of(incident) or (rules.OFFICE, "")
    try:
        return rules.next_opening(windows, zone or person.time_zone, now)
    except (KeyError, ValueError, OSError):  # this machine lacks the zone
        return rules.next_opening(windows, "UTC", now)
