"""One row per deadline. A row is the truth; what Celery holds is only a hint to look at it on time."""

from django.db import models


class Timer(models.Model):
    kind = models.CharField(max_length=60)
    key = models.CharField(max_length=120, help_text="Unique with kind: setting it again replaces.")
    due_at = models.DateTimeField()
    fence = models.BigIntegerField(
        default=0, help_text="State version that it was set for; the handler compares."
    )
    payload = models.JSONField(default=dict, blank=True)
    handed_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was given to Celery for this due_at. Null: not yet."
    )
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    first_due_at = models.DateTimeField(
        help_text="The due time before any back-off; lateness counts from here."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="timer_once_per_kind_and_key")]
        indexes = [
            # due_soon and overdue of the timekeeper: oldest first, bounded
            models.Index(fields=["due_at"], name="timer_by_due_at"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key} due {self.due_at:%Y-%m-%d %H:%M:%S}"


class Firing(models.Model):
    """Each firing with its lateness, for the promise that we make about it. Kept for 30 days."""

    kind = models.CharField(max_length=60)
    key = models.CharField(max_length=120)
    due_at = models.DateTimeField()
    fired_at = models.DateTimeField()
    lateness_ms = models.IntegerField()
    by = models.CharField(max_length=40, help_text="celery or timekeeper")

    class Meta:
        indexes = [
            # lateness_since and prune
            models.Index(fields=["fired_at"], name="firing_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key} +{self.lateness_ms} ms"


class Heartbeat(models.Model):
    """Each process that must run writes one row again and again, so that its silence shows."""

    name = models.CharField(max_length=120, primary_key=True)
    beat_at = models.DateTimeField()
    detail = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.name} {self.beat_at:%H:%M:%S}"
