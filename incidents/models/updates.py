"""What stakeholders are told, who is told, and what is published."""

import uuid

from django.db import models
from django.db.models import Q

from accounts.models import User
from catalog.models import Service
from incidents.models.core import Incident


class Update(models.Model):
    """One update to stakeholders: what is hurt, what is done about it, when the next word comes."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="updates")
    seq = models.PositiveIntegerField(help_text="Of the entry in the timeline.")
    author = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    author_name = models.CharField(max_length=120)
    at = models.DateTimeField()
    impact = models.CharField(max_length=300)
    action = models.TextField()
    next_update_at = models.DateTimeField(null=True, blank=True, help_text="Null: none is promised.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["incident", "seq"], name="update_once_per_entry"),
        ]
        indexes = [
            # the last updates of an incident: room, status page, mails
            models.Index(fields=["incident", "-id"], name="update_of_incident"),
        ]

    def __str__(self) -> str:
        return f"{self.incident_id}#{self.seq} {self.impact}"


class Subscription(models.Model):
    """Somebody who gets updates by e-mail: of one incident, of one service, or of all."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, blank=True, related_name="subscriptions"
    )
    email = models.EmailField(help_text="In lower case.")
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    service = models.ForeignKey(Service, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    min_severity = models.PositiveSmallIntegerField(default=4, help_text="Only of this severity and worse.")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(incident__isnull=True) | Q(service__isnull=True), name="subscription_of_one_thing"
            ),
            models.UniqueConstraint(
                fields=["email", "incident", "service"],
                condition=Q(ended_at__isnull=True),
                nulls_distinct=False,
                name="subscription_once",
            ),
        ]
        indexes = [
            # who is told of an update: three reads, one for each kind of subscription
            models.Index(
                fields=["incident"], condition=Q(ended_at__isnull=True), name="subscription_of_incident"
            ),
            models.Index(
                fields=["service"], condition=Q(ended_at__isnull=True), name="subscription_of_service"
            ),
            # my subscriptions
            models.Index(fields=["user"], condition=Q(ended_at__isnull=True), name="subscription_of_person"),
        ]

    def __str__(self) -> str:
        return self.email


class MailStatus(models.TextChoices):
    WAITING = "waiting", "Waiting"
    SENT = "sent", "Sent"
    FAILED = "failed", "Failed"
    DROPPED = "dropped", "Not wanted any more"


class UpdateMail(models.Model):
    """One update to one address. A row before it is a message."""

    update = models.ForeignKey(Update, on_delete=models.CASCADE, related_name="mails")
    subscription = models.ForeignKey(
        Subscription, on_delete=models.SET_NULL, null=True, blank=True, related_name="mails"
    )
    email = models.EmailField()
    idempotency_key = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    status = models.CharField(max_length=8, choices=MailStatus, default=MailStatus.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["update", "email"], name="update_mailed_once")]

    def __str__(self) -> str:
        return f"{self.update_id} to {self.email}"


class StatusComponent(models.Model):
    """A service as outsiders know it. Only what stands here can be named in public."""

    service = models.OneToOneField(Service, on_delete=models.CASCADE, related_name="component")
    name = models.CharField(max_length=80)
    group = models.CharField(max_length=80, blank=True)
    position = models.PositiveSmallIntegerField(default=0)
    is_public = models.BooleanField(default=False)

    class Meta:
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.name


class PostState(models.TextChoices):
    INVESTIGATING = "investigating", "Investigating"
    IDENTIFIED = "identified", "Cause found"
    WATCHING = "watching", "Watching"
    OVER = "over", "Over"


class PostLevel(models.TextChoices):
    NONE = "none", "Works"
    DEGRADED = "degraded", "Slow or faulty"
    PARTIAL = "partial", "Partly down"
    MAJOR = "major", "Down"


class PublicPost(models.Model):
    """What was deliberately published. There is no draft: nothing of it exists before somebody publishes."""

    incident = models.ForeignKey(
        Incident, on_delete=models.PROTECT, null=True, blank=True, related_name="public_posts"
    )
    components = models.ManyToManyField(StatusComponent, related_name="posts")
    state = models.CharField(max_length=16, choices=PostState)
    level = models.CharField(max_length=16, choices=PostLevel)
    title = models.CharField(max_length=200)
    text = models.TextField()
    published_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    published_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["-published_at", "-id"]
        indexes = [
            # the public page: the last days, newest first
            models.Index(
                fields=["-published_at"], condition=Q(withdrawn_at__isnull=True), name="public_post_by_time"
            ),
        ]

    def __str__(self) -> str:
        return self.title
