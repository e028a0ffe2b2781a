"""How long a failed timer waits, and when the timekeeper stops trusting the broker."""

from datetime import timedelta

HORIZON = timedelta(seconds=10)
"""Timers due within this time are given to Celery with their exact time; later ones rest in Postgres."""

HANDED_ON_COMMIT = 50
"""So many of the timers that are set together are given to Celery by whoever sets them."""

PATIENCE = timedelta(seconds=2)
"""A timer that is overdue by more is fired by the timekeeper itself, whoever was to fire it."""

BULK_PATIENCE = timedelta(seconds=30)
"""The same for timers of a bulk kind: the workers are most likely at it."""

BULK_AT_ONCE = 100
"""So many of them the timekeeper takes in one round, so that it is soon back to look for what is urgent."""

EARLY = timedelta(milliseconds=20)
"""Celery's clock may be this much early; the timer is fired as if it were its due time."""

_BACKOFF_SECONDS = (1, 2, 5, 10, 30, 60, 300)


def backoff(attempts: int) -> timedelta:
    """Wait after the `attempts`-th failure, counted from 1. A deadline is never given up: it ends at five minutes."""
    return timedelta(seconds=_BACKOFF_SECONDS[min(attempts, len(_BACKOFF_SECONDS)) - 1])
