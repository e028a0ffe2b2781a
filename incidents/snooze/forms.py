"""What the dialog and the page behind a link offer, and what comes back from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.models import User
from accounts.permissions import zone_of
from core.durations import parse_duration
from core.errors import Invalid
from incidents.models import Incident
from incidents.snooze import rules
from incidents.snooze.hours import next_working_hours

AT = "at"


@dataclass(frozen=True)
class Choice:
    value: str
    label: str
    until: datetime


def choices(incident: Incident, *, person: User, now: datetime) -> list[Choice]:
    """Spans first, then the next working hours when they begin within the longest snooze."""
    found = [Choice(value, label, now + parse_duration(value)) for value, label in rules.SPANS]
    opens = next_working_hours(incident, person=person, now=now)
    if opens is not None:
        found.append(Choice(rules.WORKING_HOURS, "Next working hours", opens))
    return found


def until_given(given: Mapping[str, str], *, person: User, now: datetime) -> datetime | None:
    """The end that was chosen; None: the next working hours. Raises Invalid."""
    chosen = given.get("for", "")
    if chosen == rules.WORKING_HOURS:
        return None
    if chosen == AT:
        try:
            typed = parse_datetime(given.get("until", ""))
        except ValueError:
            typed = None
        if typed is None:
            raise Invalid("Choose a time.", fields={"until": ["Choose a time."]})
        return timezone.make_aware(typed, zone_of(person)) if timezone.is_naive(typed) else typed
    if chosen not in dict(rules.SPANS):
        raise Invalid("Choose until when.", fields={"for": ["Choose until when."]})
    return now + parse_duration(chosen)
