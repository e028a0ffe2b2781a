from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, QuerySet
from django.db.models.functions import Coalesce

from timers.models import Firing, Heartbeat, Timer


def overdue(*, now: datetime, by: timedelta) -> QuerySet[Timer]:
    """Timers that should have fired long ago, oldest first: each is a broken promise.

    Those too whose handler fails again and again: their back-off moves `due_at`, not the deadline.
    """
    late = Q(due_at__lt=now - by) | Q(attempts__gt=0, first_due_at__lt=now - by)
    return Timer.objects.filter(late).order_by("first_due_at")


def next_due_at() -> datetime | None:
    return Timer.objects.order_by("due_at").values_list("due_at", flat=True).first()


def failing() -> QuerySet[Timer]:
    """Timers whose handler raised, worst first."""
    return Timer.objects.filter(attempts__gt=0).order_by("-attempts", "due_at")


def firings_since(since: datetime) -> QuerySet[Firing]:
    return Firing.objects.filter(fired_at__gte=since)


def lateness_since(since: datetime) -> dict[str, int]:
    """Count and worst lateness in milliseconds."""
    return firings_since(since).aggregate(count=Count("pk"), worst_ms=Coalesce(Max("lateness_ms"), 0))


def alive(*, name_prefix: str, now: datetime, within: timedelta) -> QuerySet[Heartbeat]:
    return Heartbeat.objects.filter(name__startswith=name_prefix, beat_at__gte=now - within)
