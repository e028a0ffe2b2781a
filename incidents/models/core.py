"""Incidents, the alerts that belong to them, whom they paged, and the timeline from which everything follows."""

import pgtrigger
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models import Q

from accounts.models import User
from catalog.models import Service
from notifications.models import Notification, Urgency


class Severity(models.IntegerChoices):
    SEV1 = 1, "SEV1"
    SEV2 = 2, "SEV2"
    SEV3 = 3, "SEV3"
    SEV4 = 4, "SEV4"


class Status(models.TextChoices):
    TRIGGERED = "triggered", "Nobody has answered"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    CONTAINED = "contained", "Contained"
    RESOLVED = "resolved", "Resolved"


OPEN_STATUSES = (Status.TRIGGERED, Status.ACKNOWLEDGED, Status.CONTAINED)


class Phase(models.TextChoices):
    """The standard course of an incident, in order."""

    DETECTION = "detection", "Detection"
    TRIAGE = "triage", "Triage"
    ESCALATION = "escalation", "Escalation"
    CONTAINMENT = "containment", "Containment"
    ROOT_CAUSE = "root_cause", "Root cause"
    REVIEW = "review", "Review"


class Incident(models.Model):
    title = models.CharField(max_length=300)
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="incidents")
    severity = models.PositiveSmallIntegerField(choices=Severity)
    urgency = models.CharField(max_length=8, choices=Urgency)
    status = models.CharField(max_length=16, choices=Status, default=Status.TRIGGERED)
    phase = models.CharField(max_length=16, choices=Phase, default=Phase.DETECTION)
    impact = models.CharField(
        max_length=300, blank=True, help_text="Who is hurt and how much, for anyone to read."
    )
    is_drill = models.BooleanField(default=False)
    commander = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="commands"
    )
    opened_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    opened_from = models.CharField(
        max_length=120, blank=True, help_text="Name of the integration; empty: a person."
    )
    follows = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="followed_by",
        help_text="The resolved incident that this one continues.",
    )  # fmt: skip

    triggered_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(
        null=True, blank=True, help_text="First explicit acknowledgement. It stays."
    )
    acknowledged_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    contained_at = models.DateTimeField(null=True, blank=True)
    contained_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    alert_count = models.PositiveIntegerField(default=0, help_text="Distinct alerts.")
    event_count = models.PositiveIntegerField(default=0, help_text="All events, repeats included.")
    last_event_at = models.DateTimeField(null=True, blank=True)

    fence = models.PositiveIntegerField(
        default=0, help_text="State version: a timer set for an older one does nothing."
    )
    last_seq = models.PositiveIntegerField(default=0)
    last_hash = models.CharField(max_length=64, blank=True)
    next_page_at = models.DateTimeField(
        null=True, blank=True, help_text="When the next tier is paged; null: nothing is due."
    )
    next_page_from = models.DateTimeField(null=True, blank=True, help_text="When that countdown began.")
    next_page_label = models.CharField(max_length=120, blank=True, help_text="Who is paged then, in words.")
    repage_at = models.DateTimeField(
        null=True, blank=True, help_text="From then on a new trigger of its alerts pages again; null: never."
    )
    tier0_until = models.DateTimeField(
        null=True, blank=True, help_text="People are paged then, unless an automated action helps before."
    )

    snoozed_until = models.DateTimeField(
        null=True, blank=True, help_text="Acknowledged, and it pages again then; null: not snoozed."
    )
    snoozed_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    snooze_reason = models.CharField(max_length=300, blank=True)
    contain_by = models.DateTimeField(
        null=True, blank=True, help_text="When it should be contained; null: no target."
    )
    contain_from = models.DateTimeField(null=True, blank=True, help_text="When that countdown began.")
    contain_missed_at = models.DateTimeField(
        null=True, blank=True, help_text="It was not contained in time, and that has been told."
    )

    next_update_at = models.DateTimeField(
        null=True, blank=True, help_text="When stakeholders expect the next word; null: none is promised."
    )
    next_update_from = models.DateTimeField(null=True, blank=True, help_text="When that countdown began.")
    last_update_at = models.DateTimeField(null=True, blank=True)
    update_nags = models.PositiveSmallIntegerField(default=0, help_text="Reminders since the update was due.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="resolved") | Q(resolved_at__isnull=False),
                name="incident_resolved_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="acknowledged") | Q(acknowledged_at__isnull=False),
                name="incident_acknowledged_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="contained") | Q(contained_at__isnull=False),
                name="incident_contained_has_time",
            ),
            models.CheckConstraint(condition=Q(severity__in=Severity.values), name="incident_severity_known"),
        ]
        indexes = [
            # open_incidents: the home page, worst first; small whatever the history
            models.Index(
                fields=["severity", "-id"], condition=~Q(status="resolved"), name="incident_open_worst_first"
            ),
            # grouping: the newest open incident of a service
            models.Index(
                fields=["service", "-id"], condition=~Q(status="resolved"), name="incident_open_of_service"
            ),
            # list filters with cursor by id
            models.Index(fields=["status", "-id"], name="incident_by_status"),
            models.Index(fields=["service", "-id"], name="incident_by_service"),
            models.Index(fields=["severity", "-id"], name="incident_by_severity"),
            # closed in the last days; metrics by time
            models.Index(
                fields=["-resolved_at"], condition=Q(status="resolved"), name="incident_by_resolved_at"
            ),
            models.Index(fields=["triggered_at"], name="incident_by_triggered_at"),
            # the list's search box
            GinIndex(fields=["title"], opclasses=["gin_trgm_ops"], name="incident_title_trigrams"),
        ]

    def __str__(self) -> str:
        return f"{self.ref} {self.title}"

    @property
    def ref(self) -> str:
        return f"INC-{self.pk}"

    @property
    def is_open(self) -> bool:
        return self.status != Status.RESOLVED


class PhaseStamp(models.Model):
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="phase_stamps")
    phase = models.CharField(max_length=16, choices=Phase)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["incident", "phase"], name="phase_stamped_once")]

    def __str__(self) -> str:
        return f"{self.incident_id} {self.phase} {self.at}"


class AlertStatus(models.TextChoices):
    FIRING = "firing", "Firing"
    RESOLVED = "resolved", "Cleared"


class Alert(models.Model):
    """One problem as one sender sees it. While it fires, the same key of the same origin is the same alert."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="alerts")
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="alerts")
    origin = models.CharField(max_length=60, help_text="Scope of the key: integration:12")
    dedup_key = models.CharField(max_length=512)
    group_key = models.CharField(
        max_length=512, blank=True, help_text="Alerts of one origin and group share an incident."
    )
    status = models.CharField(max_length=12, choices=AlertStatus, default=AlertStatus.FIRING)
    title = models.CharField(max_length=1024)
    severity = models.CharField(max_length=12, help_text="As sent: critical, error, warning, info")
    source = models.CharField(max_length=300, blank=True)
    details = models.JSONField(
        default=dict, blank=True, help_text="component, group, class, custom_details, labels …"
    )
    links = models.JSONField(default=list, blank=True, help_text='[{"href": …, "text": …}]')
    joined_because = models.CharField(max_length=200, blank=True)
    count = models.PositiveIntegerField(default=1)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    closed_by_hand = models.BooleanField(
        default=False,
        help_text="The incident was resolved while this still fired; a repeat then opens a new incident.",
    )
    guard_until = models.DateTimeField(
        null=True, blank=True, help_text="Closed by hand: until then a repeat pages nobody."
    )
    muted_until = models.DateTimeField(
        null=True, blank=True, help_text="A person silenced this one alert until then."
    )
    muted_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    flapping_since = models.DateTimeField(
        null=True, blank=True, help_text="It opens and clears again and again; held as one."
    )
    flap_count = models.PositiveIntegerField(default=0, help_text="How often it opened while it flapped.")
    held_clear_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Flapping: the sender says that it cleared; believed once it stays so.",
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            # De-duplication: concurrent duplicates meet here.
            models.UniqueConstraint(
                fields=["origin", "dedup_key"], condition=Q(status="firing"), name="alert_open_once_per_key"
            ),
        ]
        indexes = [
            # incidents?dedup_key=
            models.Index(fields=["dedup_key", "-id"], name="alert_by_dedup_key"),
            # grouping by the sender's group
            models.Index(
                fields=["origin", "group_key", "-id"], condition=~Q(group_key=""), name="alert_by_group"
            ),
        ]

    def __str__(self) -> str:
        return self.title


class Kind(models.TextChoices):
    """What happened. Subscribers name these; the values are stored and hashed, so they never change."""

    TRIGGERED = "triggered", "Triggered"
    ALERT_JOINED = "alert_joined", "Alert joined"
    ALERT_RESOLVED = "alert_resolved", "Alert cleared"
    CHANGE = "change", "Change"
    SEVERITY_CHANGED = "severity_changed", "Severity changed"
    PAGED = "paged", "Paged"
    PAGE_MISSED = "page_missed", "No answer"
    TIER_SKIPPED = "tier_skipped", "Tier skipped"
    ESCALATED = "escalated", "Escalated"
    POLICY_REPEATED = "policy_repeated", "Policy repeats"
    CATCH_ALL = "catch_all", "Catch-all paged"
    EXHAUSTED = "exhausted", "All tiers exhausted"
    DELIVERY_FAILED = "delivery_failed", "Delivery failed"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    ALSO_ACKNOWLEDGED = "also_acknowledged", "Also acknowledged"
    UNACKNOWLEDGED = "unacknowledged", "Acknowledgement ended"
    CONTAINED = "contained", "Contained"
    RESOLVED = "resolved", "Resolved"
    REOPENED = "reopened", "Reopened"
    ROLE_ASSIGNED = "role_assigned", "Role"
    PHASE = "phase", "Phase"
    NOTE = "note", "Note"
    IMPACT_CHANGED = "impact_changed", "Impact"
    REPAIRED = "repaired", "Repaired"
    UPDATE_POSTED = "update_posted", "Update to stakeholders"
    UPDATE_OVERDUE = "update_overdue", "Update overdue"
    UPDATE_PUBLISHED = "update_published", "Published"
    ROLE_OFFERED = "role_offered", "Role offered"
    ROLE_DECLINED = "role_declined", "Role declined"
    ROLE_MISSED = "role_missed", "Role not answered"
    TASK = "task", "Task"
    DECISION = "decision", "Decision"
    AMENDED = "amended", "Amended"
    MARKED = "marked", "Pinned or starred"
    PHASE_CORRECTED = "phase_corrected", "Phase corrected"
    RUNBOOK = "runbook", "Runbook"
    ALERT_MOVED = "alert_moved", "Alert moved"
    ALERT_MUTED = "alert_muted", "Alert silenced"
    FLAPPING = "flapping", "Flapping"
    REPAGED = "repaged", "Paged again"
    MERGED = "merged", "Merged"
    UNMERGED = "unmerged", "Merge undone"
    MAINTENANCE = "maintenance", "Maintenance"
    TIER0 = "tier0", "Automated action"
    SNOOZED = "snoozed", "Snoozed"
    SNOOZE_ENDED = "snooze_ended", "Snooze ended"
    HANDED_OVER = "handed_over", "Handed over"
    CONTAINMENT_MISSED = "containment_missed", "Not contained in time"
    HORIZON = "horizon", "Open for long"


class TimelineEntry(models.Model):
    """Append-only: the database refuses changes. `hash` covers the entry and the hash before it."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="timeline")
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=24, choices=Kind)
    at = models.DateTimeField()
    actor = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Null: Muster or a sender.",
    )
    actor_name = models.CharField(
        max_length=120, help_text="As it was then: a person, an integration, or Muster."
    )
    text = models.TextField(help_text="What happened and why, in words, without the actor's name in front.")
    data = models.JSONField(default=dict, blank=True)
    prev_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["incident_id", "seq"]
        constraints = [models.UniqueConstraint(fields=["incident", "seq"], name="timeline_seq_once")]
        indexes = [
            # the search over all timelines
            GinIndex(SearchVector("text", config="english"), name="timeline_words"),
        ]
        triggers = [
            pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.incident_id}#{self.seq} {self.kind}"


class PageStatus(models.TextChoices):
    PAGING = "paging", "Waiting for an answer"
    ACKNOWLEDGED = "acknowledged", "Answered"
    MISSED = "missed", "No answer"
    CANCELLED = "cancelled", "Called off"


class PagePurpose(models.TextChoices):
    ANSWER = "answer", "Somebody has to answer"
    ROLE = "role", "This person is asked to take a role"


class Page(models.Model):
    """One person called to one incident. The person reads `reason` and `expected`."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="pages")
    recipient = models.ForeignKey(User, on_delete=models.PROTECT, related_name="pages")
    notification = models.OneToOneField(
        Notification, on_delete=models.PROTECT, null=True, blank=True, related_name="page"
    )
    step_key = models.CharField(
        max_length=80, help_text="Which step of which run: a person is paged once per step."
    )
    tier = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Null: called by hand or catch-all."
    )
    tier_name = models.CharField(max_length=80, blank=True)
    reason = models.CharField(max_length=300, help_text="Why this person.")
    expected = models.CharField(max_length=300, blank=True, help_text="What is expected of the person.")
    answer_by = models.DateTimeField(
        null=True, blank=True, help_text="Null: nothing happens without an answer."
    )
    otherwise = models.CharField(
        max_length=160, blank=True, help_text="What happens without an answer, in words."
    )
    status = models.CharField(max_length=16, choices=PageStatus, default=PageStatus.PAGING)
    purpose = models.CharField(max_length=8, choices=PagePurpose, default=PagePurpose.ANSWER)
    paged_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["incident", "step_key", "recipient"], name="page_once_per_step"),
        ]
        indexes = [
            # my pages: waiting ones first, then newest
            models.Index(fields=["recipient", "-id"], name="page_of_person"),
            # acknowledge and stop: the waiting pages of an incident
            models.Index(fields=["incident"], condition=Q(status="paging"), name="page_waiting_of_incident"),
        ]

    def __str__(self) -> str:
        return f"{self.recipient} for {self.incident_id}"
