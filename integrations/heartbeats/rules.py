"""When a sender that has to ping is silent. Pure."""

from datetime import datetime, timedelta

SHORTEST, LONGEST = timedelta(seconds=10), timedelta(days=31)


def silent_at(*, last_ping_at: datetime, interval_seconds: int, grace_seconds: int) -> datetime:
    return last_ping_at + timedelta(seconds=interval_seconds + grace_seconds)
