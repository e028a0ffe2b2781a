"""The figures of each incident, kept beside its timeline so that a page over years need not read the timelines."""

from django.db import models

from catalog.models import Service
from incidents.models import Incident, Severity
from metrics.rules import Unanswered


class IncidentFigures(models.Model):
    """What the timeline says, and nothing else: `manage.py rebuild_metrics` makes the same rows from the timelines.

    Written by metrics/transitions.py only, by whoever holds the incident's lock. A row is never deleted.
    """

    incident = models.OneToOneField(
        Incident, on_delete=models.CASCADE, primary_key=True, related_name="figures"
    )
    # The constraint is the incident's: opening one should not pay for it twice.
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    severity = models.PositiveSmallIntegerField(choices=Severity)
    is_drill = models.BooleanField()
    triggered_at = models.DateTimeField()
    acknowledge = models.FloatField(null=True, help_text="Seconds; null: not measured.")
    contain = models.FloatField(null=True)
    repair = models.FloatField(null=True)
    unanswered = models.CharField(
        max_length=16, blank=True, choices=[(each.value, each.value) for each in Unanswered],
        help_text="Why there is no time to acknowledge; empty: there is one.",
    )  # fmt: skip
    changed_by = models.BigIntegerField(help_text="The transaction that wrote this row last.")

    class Meta:
        verbose_name_plural = "incident figures"
        indexes = [
            # the windows of the metrics page
            models.Index(fields=["is_drill", "triggered_at"], name="figures_by_time"),
            # what has changed last (metrics/queries.py)
            models.Index(fields=["changed_by"], name="figures_by_change"),
        ]

    def __str__(self) -> str:
        return f"INC-{self.incident_id}"
