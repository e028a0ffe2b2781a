"""Senders, and the inbox of what they sent, which is the ledger too: one row for each request with its verdict."""

import secrets

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from catalog.models import Service
from core import words
from incidents.models import Grouping, Incident


class IntegrationKind(models.TextChoices):
    PAGERDUTY = "pagerduty", "PagerDuty Events v2"
    ALERTMANAGER = "alertmanager", "Prometheus Alertmanager"
    GRAFANA = "grafana", "Grafana"
    OPSGENIE = "opsgenie", "Opsgenie"
    WEBHOOK = "webhook", "Generic webhook"


class Integration(models.Model):
    """The key is the only credential of a sender. Only its SHA-256 is kept; it is shown once."""

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=16, choices=IntegrationKind)
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="integrations")
    key_digest = models.CharField(max_length=64, unique=True)
    key_hint = models.CharField(max_length=8, help_text="The last characters, to tell one from another.")
    grouping = models.CharField(
        max_length=8, choices=Grouping, blank=True,
        help_text="For services that group nothing themselves; empty: none.",
    )  # fmt: skip
    grouping_fields = ArrayField(models.CharField(max_length=80), default=list, blank=True)
    grouping_seconds = models.PositiveIntegerField(default=3600)
    disabled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_event_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def origin(self) -> str:
        return f"integration:{self.pk}"

    @staticmethod
    def new_key() -> str:
        """32 hexadecimal characters, which no client of any of the kinds refuses."""
        return secrets.token_hex(16)


class Verdict(models.TextChoices):
    PENDING = "pending", "Waiting"
    OPENED = "opened", "Opened an incident"
    JOINED = "joined", "Joined an incident"
    REPEATED = "repeated", "Same alert again"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESOLVED = "resolved", "Resolved"
    HELD = "held", "Held back, pages nobody"
    UPDATED = "updated", "Noted"
    CHANGE = "change", "Change recorded"
    DROPPED = "dropped", "Accepted, without effect"
    REJECTED = "rejected", "Refused"
    FAILED = "failed", "Failed, is tried again"


class IngestEvent(models.Model):
    """Committed before the sender hears 202; then a worker takes it from here."""

    integration = models.ForeignKey(
        Integration,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="events",
        # No constraint and no index of its own: each insert would lock the integration's row, and the ledger's index
        # serves. Integrations are disabled, never deleted.
        db_constraint=False,
        db_index=False,
        help_text="Null: unknown key.",
    )
    kind = models.CharField(max_length=16, help_text="Which endpoint took it.")
    received_at = models.DateTimeField()
    payload = models.JSONField(null=True, help_text="Normalised signals; null when refused.")
    outcomes = models.JSONField(
        null=True, help_text="One for each signal, where there are several; null: still to do."
    )
    raw = models.TextField(
        blank=True, help_text="The body as received, without its key; cut when it is long."
    )
    verdict = models.CharField(max_length=16, choices=Verdict, default=Verdict.PENDING)
    reason = models.CharField(max_length=300, blank=True)
    dedup_key = models.CharField(max_length=512, blank=True)
    incident = models.ForeignKey(
        Incident, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    remote_address = models.GenericIPAddressField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When it is to be processed; null: never again."
    )
    processed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(verdict="pending") | Q(due_at__isnull=False, payload__isnull=False),
                name="ingest_pending_is_due",
            ),
        ]
        indexes = [
            # the inbox: what is waiting, per integration in order of arrival
            models.Index(
                fields=["integration", "id"], condition=Q(due_at__isnull=False), name="ingest_waiting"
            ),
            # the ledger page: by integration, newest first
            models.Index(fields=["integration", "-id"], name="ingest_ledger"),
            # the ledger's search: what became of this alert
            models.Index(fields=["dedup_key", "-id"], condition=~Q(dedup_key=""), name="ingest_by_dedup_key"),
            # the ledger page by verdict; what is frequent is found without it
            models.Index(
                fields=["verdict", "-id"],
                condition=~Q(verdict__in=["pending", "repeated"]),
                name="ingest_by_verdict",
            ),
            # prune; without autosummarize it would read all that came since the last vacuum, in the timekeeper
            BrinIndex(fields=["received_at"], name="ingest_by_time", pages_per_range=32, autosummarize=True),
            # the incident's evidence
            models.Index(
                fields=["incident", "-id"], condition=Q(incident__isnull=False), name="ingest_of_incident"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.verdict}"

    @property
    def took(self) -> str:
        """From its arrival until its verdict; empty when it has none, or was refused at once."""
        if self.processed_at is None or self.verdict == Verdict.REJECTED:
            return ""
        waited = self.processed_at - self.received_at
        milliseconds = max(round(waited.total_seconds() * 1000), 0)
        return f"{milliseconds} ms" if milliseconds < 1000 else words.duration(waited)


class ChangeEvent(models.Model):
    """A deploy or the like, told by a sender. It never pages."""

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="changes")
    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="changes")
    summary = models.CharField(max_length=1024)
    source = models.CharField(max_length=300, blank=True)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    details = models.JSONField(default=dict, blank=True)
    links = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["-occurred_at", "-id"]
        indexes = [
            # what changed before it broke
            models.Index(fields=["service", "-occurred_at"], name="change_of_service"),
        ]

    def __str__(self) -> str:
        return self.summary


class HeartbeatState(models.TextChoices):
    NEW = "new", "Waits for its first ping"
    UP = "up", "Alive"
    SILENT = "silent", "Silent"
    PAUSED = "paused", "Paused"


class Watch(models.Model):
    """A sender that has to ping; its silence opens an incident, its next ping resolves it."""

    name = models.CharField(max_length=100, unique=True, help_text="Stands in the address of a ping.")
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="watches")
    description = models.CharField(max_length=300, blank=True, help_text="What to do when it is silent.")
    key_digest = models.CharField(max_length=64, unique=True)
    key_hint = models.CharField(max_length=8)
    interval_seconds = models.PositiveIntegerField(help_text="It pings at least so often …")
    grace_seconds = models.PositiveIntegerField(default=60, help_text="… and may be so late.")
    severity = models.CharField(max_length=12, default="error", help_text="Of the alert: critical, error …")
    state = models.CharField(max_length=8, choices=HeartbeatState, default=HeartbeatState.NEW)
    state_since = models.DateTimeField()
    last_ping_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(interval_seconds__gte=10), name="watch_interval_is_possible"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def origin(self) -> str:
        return f"heartbeat:{self.pk}"


class ChatBridge(models.Model):
    """A room in a chat that follows incidents, and from which people answer. Disabled, never deleted."""

    name = models.CharField(max_length=120)
    apprise_url = models.CharField(
        max_length=1000, help_text="Where messages go. It holds the chat's secret."
    )
    shown_as = models.CharField(max_length=200, help_text="The same without the secret, for pages.")
    service = models.ForeignKey(
        Service, on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text="Null: all."
    )
    min_severity = models.PositiveSmallIntegerField(
        default=4, help_text="The mildest severity that is told; 1 is worst."
    )
    mirrors_banner = models.BooleanField(default=True, help_text="State, severity, impact, roles, updates.")
    mirrors_talk = models.BooleanField(default=True, help_text="Messages and decisions.")
    key_digest = models.CharField(max_length=64, unique=True)
    key_hint = models.CharField(max_length=8)
    signing_secret = models.CharField(max_length=64, help_text="What the chat signs its requests with.")
    disabled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_sent_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(
        max_length=300, blank=True, help_text="Of the last attempt; empty: it went well."
    )

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(min_severity__range=(1, 4)), name="bridge_severity_known"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def via(self) -> str:
        """Marks what came in by this bridge, so that it does not go back."""
        return f"chat:{self.pk}"

    @staticmethod
    def new_secret() -> str:
        return secrets.token_hex(32)


class MessageStatus(models.TextChoices):
    WAITING = "waiting", "Waiting"
    SENT = "sent", "Sent"
    FAILED = "failed", "Given up"
    DROPPED = "dropped", "Not sent: the bridge was disabled"


class BridgeMessage(models.Model):
    """One timeline entry on its way to one chat."""

    bridge = models.ForeignKey(ChatBridge, on_delete=models.CASCADE, related_name="messages")
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="+")
    seq = models.PositiveIntegerField()
    status = models.CharField(max_length=8, choices=MessageStatus, default=MessageStatus.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(help_text="When it was to be told.")
    last_error = models.CharField(max_length=300, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["bridge", "incident", "seq"], name="bridge_message_once"),
        ]
        indexes = [
            # the timer's question: what waits
            models.Index(
                fields=["bridge", "incident", "seq"],
                condition=Q(status="waiting"),
                name="bridge_message_waiting",
            ),
            # the bridge's page, newest first
            models.Index(fields=["bridge", "-id"], name="bridge_message_of"),
        ]

    def __str__(self) -> str:
        return f"{self.incident_id}:{self.seq} {self.status}"


class BridgeInbound(models.Model):
    """A request of the chat that was carried out; the same id again does nothing."""

    bridge = models.ForeignKey(ChatBridge, on_delete=models.CASCADE, related_name="inbound")
    external_id = models.CharField(max_length=200)
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bridge", "external_id"], name="bridge_inbound_once"),
        ]
        indexes = [
            # prune
            models.Index(fields=["received_at"], name="bridge_inbound_by_time"),
        ]

    def __str__(self) -> str:
        return self.external_id
