"""What lies over the timeline, which itself never changes: corrections, pins, stars; and attachments."""

from django.db import models
from django.db.models import Q

from accounts.models import User
from incidents.models.core import Incident, TimelineEntry


class EntryOverlay(models.Model):
    """How an entry reads now. A projection of the AMENDED and MARKED entries that came after it."""

    entry = models.OneToOneField(
        TimelineEntry, on_delete=models.CASCADE, primary_key=True, related_name="overlay"
    )
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="+")
    seq = models.PositiveIntegerField()
    rev = models.PositiveIntegerField(default=0, help_text="How often it was amended, pinned or starred.")
    text = models.TextField(blank=True, help_text="Empty: as it was first written.")
    mentions = models.JSONField(
        default=list, blank=True, help_text="Whom these words mention, as in an entry's data."
    )
    amended_at = models.DateTimeField(null=True, blank=True)
    amended_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    pinned_at = models.DateTimeField(null=True, blank=True)
    pinned_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    starred_at = models.DateTimeField(null=True, blank=True)
    starred_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["incident", "seq"], name="overlay_once_per_entry")]
        indexes = [
            # what is pinned above the feed
            models.Index(
                fields=["incident", "-pinned_at"], condition=Q(pinned_at__isnull=False), name="overlay_pinned"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.incident_id}#{self.seq} rev {self.rev}"


class AttachmentBlob(models.Model):
    """The bytes, once for each content. In the database, which is all that several web servers share."""

    sha256 = models.CharField(max_length=64, primary_key=True, help_text="In hex.")
    data = models.BinaryField()

    def __str__(self) -> str:
        return self.sha256


class Attachment(models.Model):
    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="attachments")
    seq = models.PositiveIntegerField(help_text="Of the entry that it belongs to.")
    name = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100, help_text="By its bytes, whatever the sender claimed.")
    size = models.PositiveIntegerField(help_text="Bytes.")
    blob = models.ForeignKey(AttachmentBlob, on_delete=models.PROTECT, related_name="+")
    uploaded_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    uploaded_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        indexes = [
            # attachments of an incident, by entry
            models.Index(fields=["incident", "seq"], name="attachment_of_entry"),
        ]

    def __str__(self) -> str:
        return self.name
