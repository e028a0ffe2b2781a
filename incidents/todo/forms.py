"""What people type about a task."""

from datetime import datetime, timedelta

from core.errors import Invalid

WITHIN = (
    (0, "no time"),
    (10, "in 10 min"),
    (30, "in 30 min"),
    (60, "in 1 hour"),
    (240, "in 4 hours"),
    (1440, "tomorrow"),
)


def due_at(minutes: str, *, now: datetime) -> datetime | None:
    """When it is due, from the choice in the form. Raises Invalid."""
    if not minutes:
        return None
    if minutes not in {str(value) for value, _ in WITHIN}:
        raise Invalid("Choose one of the times.", fields={"due": ["Choose one of the times."]})
    return now + timedelta(minutes=int(minutes)) if int(minutes) else None
