"""What would fail tonight, as it was found, and who may be on call although no page is known to reach them."""

from django.db import models
from django.db.models import Q

from accounts.models import User


class Waiver(models.Model):
    """Somebody answers for it that this person is on call without a verified way to be reached."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="waivers")
    reason = models.CharField(max_length=300)
    until = models.DateTimeField()
    given_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    given_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True, help_text="Taken back before `until`.")

    class Meta:
        ordering = ["until", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=Q(ended_at__isnull=True), name="waiver_one_at_a_time"
            ),
            models.CheckConstraint(condition=Q(until__gt=models.F("given_at")), name="waiver_lasts_a_while"),
        ]

    def __str__(self) -> str:
        return f"{self.user} until {self.until:%Y-%m-%d %H:%M}"


class Report(models.Model):
    """One look at the coming night. `findings` are those of rules.py as JSON, the worst first."""

    looked_at = models.DateTimeField()
    asked_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
        help_text="Null: the daily look.",
    )  # fmt: skip
    findings = models.JSONField(default=list)
    bad = models.PositiveIntegerField(default=0, help_text="How many would fail tonight.")
    took_ms = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-looked_at", "-pk"]
        indexes = [
            # the newest report, and those that are old enough to go
            models.Index(fields=["-looked_at"], name="report_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.looked_at:%Y-%m-%d %H:%M}: {self.bad} would fail"
