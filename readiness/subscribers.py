"""The daily look, and what the gate answers to schedules and to escalation."""

from datetime import datetime, timedelta
from time import monotonic

from readiness import gate, transitions
from timers.models import Timer
from timers.registry import handler, sweep
from timers.transitions import set_timer

LOOK = "readiness.look"
KEY = "daily"
HOUR = 15
"""UTC. In the afternoon of most of the world there is somebody who can still mend the night."""

SETTLING = timedelta(minutes=1)
"""A system that has just begun has its escalations to see to first."""

_EVERY = 60.0
_asked_at = -_EVERY

__all__ = ["gate"]


def next_look(now: datetime) -> datetime:
    today = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


@handler(LOOK, queue="default")
def daily(timer: Timer, now: datetime) -> None:
    set_timer(kind=LOOK, key=KEY, due_at=next_look(now), now=now)
    transitions.take_a_look(now=now)
    transitions.remind_of_proofs(now=now)


@sweep
def keep_looking(now: datetime) -> None:
    """There is always a next look, also on the first day. Asks the database once a minute."""
    global _asked_at
    if monotonic() - _asked_at < _EVERY:
        return
    _asked_at = monotonic()
    if not Timer.objects.filter(kind=LOOK, key=KEY).exists():
        set_timer(kind=LOOK, key=KEY, due_at=now + SETTLING, now=now)
