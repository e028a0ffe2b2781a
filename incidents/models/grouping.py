"""How a service's alerts become incidents, what is held back from paging and why, and what people moved by hand."""

import secrets

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from accounts.models import User
from catalog.models import Service
from incidents.models.core import Incident


class Grouping(models.TextChoices):
    SERVICE = "service", "By time, as the service says"
    OPEN = "open", "All of them, until the incident is resolved"
    ALL = "all", "When all of the fields are equal"
    ANY = "any", "When any of the fields is equal"


def new_secret() -> str:
    return secrets.token_hex(32)


class AlertSettings(models.Model):
    """Everything is off until somebody turns it on; a service without a row has nothing turned on."""

    service = models.OneToOneField(
        Service, on_delete=models.CASCADE, primary_key=True, related_name="alert_settings"
    )
    grouping = models.CharField(max_length=8, choices=Grouping, default=Grouping.SERVICE)
    grouping_fields = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    grouping_seconds = models.PositiveIntegerField(
        default=3600, help_text="By content: how long after the last alert another may join."
    )
    flap_count = models.PositiveSmallIntegerField(
        default=0, help_text="An alert that opens so often is flapping. 0: never."
    )
    flap_minutes = models.PositiveSmallIntegerField(default=30, help_text="… within so many minutes.")
    flap_stable_minutes = models.PositiveSmallIntegerField(
        default=15, help_text="It has to stay cleared so long to be believed."
    )
    auto_resolve_minutes = models.PositiveIntegerField(
        default=0, help_text="An alert without news for so long is over. 0: never."
    )
    repage_hours = models.PositiveSmallIntegerField(
        default=0,
        help_text="So long after the trigger or the acknowledgement a repeat pages again. 0: never.",
    )
    guard_minutes = models.PositiveSmallIntegerField(
        default=60, help_text="Proposed when somebody resolves what still fires: repeats page nobody so long."
    )
    tier0_seconds = models.PositiveSmallIntegerField(
        default=0, help_text="An automated action has so long before people are paged. 0: none."
    )
    tier0_url = models.CharField(max_length=500, blank=True, help_text="Called by POST, signed.")
    tier0_secret = models.CharField(max_length=64, default=new_secret)
    tier0_check_url = models.CharField(
        max_length=500, blank=True, help_text="Read again and again. Empty: only the alert's end counts."
    )
    tier0_check_path = models.CharField(
        max_length=120, blank=True, help_text="Where in the JSON answer the value is: status.ready"
    )
    tier0_check_value = models.CharField(max_length=120, blank=True, help_text="What it has to be.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(grouping_seconds__range=(300, 3600)) | Q(grouping_seconds=86400),
                name="grouping_window_known",
            ),
            models.CheckConstraint(condition=Q(tier0_seconds__lte=900), name="tier0_window_is_short"),
        ]

    def __str__(self) -> str:
        return f"Alerts of {self.service}"


class MaintenanceState(models.TextChoices):
    PLANNED = "planned", "Planned"
    ACTIVE = "active", "Under way"
    OVER = "over", "Over"
    CANCELLED = "cancelled", "Cancelled"


class Maintenance(models.Model):
    """`starts_at` and `ends_at` are those of the occurrence that is under way or comes next; the last one when over."""

    name = models.CharField(max_length=120)
    reason = models.CharField(max_length=300, blank=True)
    services = models.ManyToManyField(Service, related_name="maintenance")
    conditions = models.JSONField(
        default=list, blank=True, help_text='All must hold: [{"field", "op", "value"}]. None: every alert.'
    )
    zone = models.CharField(max_length=60, default="UTC")
    recurrence = models.CharField(max_length=200, blank=True, help_text="RRULE; empty: once.")
    first_starts_at = models.DateTimeField(help_text="Of the series; its wall-clock time is that of all.")
    minutes = models.PositiveIntegerField(help_text="How long each lasts, by the clock on the wall.")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    state = models.CharField(max_length=12, choices=MaintenanceState, default=MaintenanceState.PLANNED)
    reroute_on_end = models.BooleanField(
        default=True, help_text="What still fires at the end opens its incident then."
    )
    critical_pierces = models.BooleanField(default=False, help_text="Critical alerts page nevertheless.")
    fence = models.PositiveIntegerField(
        default=0, help_text="A timer that was set for an older plan does nothing."
    )
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-starts_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")), name="maintenance_ends_after_start"
            ),
        ]
        indexes = [
            # each new alert asks for what is under way; the banners too
            models.Index(
                fields=["ends_at"], condition=Q(state__in=["planned", "active"]), name="maintenance_coming"
            ),
            # the list, newest first
            models.Index(fields=["-starts_at", "-id"], name="maintenance_by_start"),
        ]

    def __str__(self) -> str:
        return self.name


class MaintenanceEvent(models.Model):
    """What became of it, for people and for programs that ask. Each start and each end is there once."""

    maintenance = models.ForeignKey(Maintenance, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=12, help_text="planned, changed, started, ended, cancelled")
    occurrence_at = models.DateTimeField(help_text="The start of the occurrence that it is about.")
    at = models.DateTimeField()
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    text = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["maintenance", "kind", "occurrence_at"],
                condition=Q(kind__in=["started", "ended"]),
                name="maintenance_event_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.maintenance_id} {self.kind}"


class HeldWhy(models.TextChoices):
    MAINTENANCE = "maintenance", "Maintenance"
    MUTED = "muted", "Silenced"
    GUARD = "guard", "Resolved by hand"


class HeldStatus(models.TextChoices):
    FIRING = "firing", "Firing"
    CLEARED = "cleared", "Cleared"
    RELEASED = "released", "Opened or joined an incident"
    DROPPED = "dropped", "Left at the end"


class HeldAlert(models.Model):
    """An alert that opens no incident for now. While it fires its key is here once, and its resolve is heard."""

    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="held_alerts")
    origin = models.CharField(max_length=60)
    origin_name = models.CharField(max_length=120)
    dedup_key = models.CharField(max_length=512)
    why = models.CharField(max_length=12, choices=HeldWhy)
    maintenance = models.ForeignKey(
        Maintenance, on_delete=models.SET_NULL, null=True, blank=True, related_name="held"
    )
    until = models.DateTimeField(help_text="When it is looked at again.")
    status = models.CharField(max_length=8, choices=HeldStatus, default=HeldStatus.FIRING)
    title = models.CharField(max_length=1024)
    severity = models.CharField(max_length=12)
    signal = models.JSONField(help_text="The newest, as it opens an incident at the end.")
    grouping = models.JSONField(null=True, blank=True, help_text="The integration's own grouping, if any.")
    count = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    incident = models.ForeignKey(
        Incident, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False,
        help_text="Which it opened or joined at the end.",
    )  # fmt: skip

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["origin", "dedup_key"], condition=Q(status="firing"), name="held_once_per_key"
            ),
        ]
        indexes = [
            # the service's page and the list, newest first
            models.Index(fields=["service", "-id"], name="held_of_service"),
        ]

    def __str__(self) -> str:
        return self.title


class Merge(models.Model):
    """Alerts that a person moved from one incident to another, so that it can be undone."""

    source = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="merged_away")
    target = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="merged_in")
    alerts = ArrayField(models.BigIntegerField(), default=list)
    whole = models.BooleanField(default=True, help_text="False: one alert was split off.")
    status_before = models.CharField(max_length=16, blank=True)
    acknowledged_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    reason = models.CharField(max_length=300, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["source"], condition=Q(whole=True, undone_at__isnull=True), name="merged_away_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source_id} into {self.target_id}"
