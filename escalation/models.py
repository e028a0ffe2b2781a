"""Policies and the runs that carry them out. A run keeps a copy of its policy, so that editing moves no running incident."""

from django.db import models
from django.db.models import Q

from accounts.models import Team, User
from catalog.models import Service
from incidents.models import Incident
from oncall.models import Schedule


class Policy(models.Model):
    name = models.CharField(max_length=120, unique=True)
    slug = models.SlugField(max_length=120, unique=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="policies")
    description = models.CharField(max_length=300, blank=True)
    version = models.PositiveIntegerField(default=1, help_text="Goes up with each change.")
    repeats = models.PositiveSmallIntegerField(
        default=1, help_text="How often all tiers are paged again, 0 to 20."
    )
    catch_all = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Paged when the last repeat got no answer. Empty: all admins.",
    )  # fmt: skip
    catch_all_every_minutes = models.PositiveSmallIntegerField(
        default=15, help_text="The catch-all is paged again and again until somebody answers."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "policies"
        constraints = [
            models.CheckConstraint(condition=Q(repeats__lte=20), name="policy_repeats_at_most_20"),
            models.CheckConstraint(
                condition=Q(catch_all_every_minutes__gte=1), name="policy_catch_all_comes_again"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Tier(models.Model):
    """0 automated monitoring, 1 on call, 2 senior or platform specialists, 3 cross-functional leads."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="tiers")
    level = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=80)
    criteria = models.CharField(max_length=300, blank=True, help_text="When this tier is right, in words.")
    expected_outcome = models.CharField(max_length=300, help_text="The paged person reads this.")
    expertise = models.CharField(max_length=40, blank=True)
    ack_seconds_sev1 = models.PositiveIntegerField(default=300)
    ack_seconds_sev2 = models.PositiveIntegerField(default=600)
    ack_seconds_sev3 = models.PositiveIntegerField(default=1800)
    ack_seconds_sev4 = models.PositiveIntegerField(default=3600)

    class Meta:
        ordering = ["policy_id", "level"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "level"], name="tier_once_per_policy"),
            models.CheckConstraint(
                condition=Q(
                    ack_seconds_sev1__gte=1,
                    ack_seconds_sev2__gte=1,
                    ack_seconds_sev3__gte=1,
                    ack_seconds_sev4__gte=1,
                ),
                name="tier_gives_time_to_answer",
            ),
        ]

    def __str__(self) -> str:
        return f"Tier {self.level}, {self.name}"


class TargetKind(models.TextChoices):
    SCHEDULE = "schedule", "Who is on call on a schedule"
    USER = "user", "A person"
    TEAM = "team", "Everybody in a team"
    ROLE = "role", "Everybody with a role"
    SERVICE_PRIMARY = "service_primary", "The service's primary responder"
    SERVICE_SECONDARY = "service_secondary", "The service's secondary responder"


class TierTarget(models.Model):
    tier = models.ForeignKey(Tier, on_delete=models.CASCADE, related_name="targets")
    kind = models.CharField(max_length=20, choices=TargetKind)
    schedule = models.ForeignKey(Schedule, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    role = models.CharField(max_length=16, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="schedule", schedule__isnull=False)
                | Q(kind="user", user__isnull=False)
                | Q(kind="team", team__isnull=False)
                | (Q(kind="role") & ~Q(role=""))
                | Q(kind__in=["service_primary", "service_secondary"]),
                name="tier_target_names_its_target",
            ),
        ]

    def __str__(self) -> str:
        return str(self.schedule or self.user or self.team or self.role or self.get_kind_display())


class ServicePolicy(models.Model):
    """Which policy pages for a service. Kept here, as the catalogue knows nothing of escalation."""

    service = models.OneToOneField(Service, on_delete=models.CASCADE, related_name="escalation")
    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="service_policies")

    def __str__(self) -> str:
        return f"{self.service}: {self.policy}"


class RunStatus(models.TextChoices):
    RUNNING = "running", "Running"
    CATCH_ALL = "catch_all", "With the catch-all"
    STOPPED = "stopped", "Stopped"


class Run(models.Model):
    """Where the escalation of one incident stands. `snapshot` is the policy as it was when the run began."""

    incident = models.OneToOneField(Incident, on_delete=models.PROTECT, related_name="run")
    policy = models.ForeignKey(Policy, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs")
    snapshot = models.JSONField()
    status = models.CharField(max_length=12, choices=RunStatus, default=RunStatus.RUNNING)
    index = models.SmallIntegerField(default=-1, help_text="Position in snapshot.tiers; -1: none begun.")
    loop = models.PositiveSmallIntegerField(default=0)
    step = models.PositiveIntegerField(
        default=0, help_text="Counts every paging step: the fence of its timer."
    )
    step_started_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When the next step begins; null: nothing is due."
    )
    started_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status="stopped", due_at__isnull=True, stopped_at__isnull=False)
                | (~Q(status="stopped") & Q(stopped_at__isnull=True)),
                name="run_stopped_has_nothing_due",
            ),
        ]
        indexes = [
            # the auditor: runs that outlive their incidents; small, as most runs have stopped
            models.Index(fields=["due_at"], condition=~Q(status="stopped"), name="run_by_due_at"),
        ]

    def __str__(self) -> str:
        return f"Run of {self.incident_id}: {self.status}"
