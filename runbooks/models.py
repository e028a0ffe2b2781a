"""The repository of runbooks: one Markdown text in versions, and which of them are in use in an incident."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models.functions import Upper

from accounts.models import Team, User
from catalog.models import Service
from incidents.models import Incident


class OutageClass(models.TextChoices):
    NETWORK = "network", "Network failure"
    DEGRADATION = "degradation", "Service degradation"
    DATA = "data", "Data inconsistency"
    CONFIGURATION = "configuration", "Configuration drift"
    API = "api", "Degraded API"
    DEPENDENCY = "dependency", "Dependency outage"
    CAPACITY = "capacity", "Capacity exhaustion"
    CERTIFICATE = "certificate", "Certificate expiry"
    RELEASE = "release", "Bad release"
    SECURITY = "security", "Security incident"
    OTHER = "other", "Something else"


class Runbook(models.Model):
    slug = models.SlugField(max_length=120, unique=True)
    title = models.CharField(max_length=160)
    summary = models.CharField(max_length=300, blank=True, help_text="When this is the right one.")
    outage_class = models.CharField(max_length=16, choices=OutageClass, default=OutageClass.OTHER)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="runbooks")
    services = models.ManyToManyField(Service, blank=True, related_name="runbooks")
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    published = models.ForeignKey(
        "Version", on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="What the repository shows. Null: never published.",
    )  # fmt: skip
    created_at = models.DateTimeField()
    saved_at = models.DateTimeField(help_text="When its text or anything else of it was last written.")
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["title", "pk"]
        indexes = [
            # the list's search by parts of a title
            GinIndex(OpClass(Upper("title"), name="gin_trgm_ops"), name="runbook_title_parts"),
        ]

    def __str__(self) -> str:
        return self.title


class VersionStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    PUBLISHED = "published", "Published"


class Version(models.Model):
    """A text that does not change once it is published; a change is the next version."""

    runbook = models.ForeignKey(Runbook, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    text = models.TextField(help_text="Markdown; see runbooks/rules.py.")
    why = models.CharField(max_length=300, blank=True, help_text="What changed, and why.")
    status = models.CharField(max_length=12, choices=VersionStatus, default=VersionStatus.DRAFT)
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    saved_at = models.DateTimeField(help_text="When a draft's text was last changed.")
    published_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["runbook_id", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["runbook", "number"], name="runbook_version_once"),
            models.UniqueConstraint(
                fields=["runbook"], condition=models.Q(status="draft"), name="runbook_has_one_draft"
            ),
            models.CheckConstraint(
                condition=models.Q(status="draft", published_at__isnull=True, published_by__isnull=True)
                | models.Q(status="published", published_at__isnull=False, published_by__isnull=False),
                name="runbook_version_published_by_somebody",
            ),
        ]
        indexes = [
            # the list's search by words of the text
            GinIndex(SearchVector("text", config="english"), name="runbook_version_words"),
        ]

    def __str__(self) -> str:
        return f"{self.runbook_id}, version {self.number}"


class Use(models.Model):
    """A runbook at hand in an incident, in the version that was published when it was attached."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="runbook_uses")
    runbook = models.ForeignKey(Runbook, on_delete=models.PROTECT, related_name="uses")
    version = models.ForeignKey(Version, on_delete=models.PROTECT, related_name="uses")
    attached_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    attached_at = models.DateTimeField()

    class Meta:
        ordering = ["incident_id", "attached_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["incident", "runbook"], name="runbook_once_per_incident"),
        ]

    def __str__(self) -> str:
        return f"{self.runbook_id} in {self.incident_id}"
