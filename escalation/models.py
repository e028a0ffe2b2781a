"""Policies and the runs that carry them out. A run keeps a copy of its policy, so that editing moves no running incident."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from accounts.models import Team, User, validate_time_zone
from catalog.models import Criticality, Service
from incidents.models import Incident, Severity
from notifications.models import Urgency
from oncall.models import Schedule


class OnAckTimeout(models.TextChoices):
    RESUME = "resume", "Go on at the tier of whoever acknowledged"
    RESTART = "restart", "Begin again with the first tier"


def office_hours() -> list[dict]:
    return [{"days": [0, 1, 2, 3, 4], "start": "09:00", "end": "17:00"}]


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
    on_ack_timeout = models.CharField(max_length=8, choices=OnAckTimeout, default=OnAckTimeout.RESUME)
    add_on_handoff = models.BooleanField(
        default=True,
        help_text="Whoever comes on call while a tier waits for an answer is paged as well.",
    )
    working_hours = models.JSONField(
        default=office_hours, blank=True,
        help_text='Wall-clock windows: [{"days": [0..6, Monday is 0], "start": "09:00", "end": "17:00"}]',
    )  # fmt: skip
    time_zone = models.CharField(
        max_length=64, blank=True, validators=[validate_time_zone],
        help_text="Of the working hours. Empty: that of the tier's schedule, else UTC.",
    )  # fmt: skip
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


class AckMode(models.TextChoices):
    ANY = "any", "One answer is enough"
    ALL = "all", "Everybody has to answer"
    QUORUM = "quorum", "So many have to answer"


class WhenUnstaffed(models.TextChoices):
    SKIP = "skip", "The next tier at once"
    HOLD = "hold_until_staffed", "The next tier at once, and this one as soon as somebody is there"
    WAIT = "wait", "The next tier when this one's time is up"


class Hours(models.TextChoices):
    ALWAYS = "", "At any time"
    IN = "in", "In working hours only"
    OUT = "out", "Outside working hours only"


def _severities() -> ArrayField:
    return ArrayField(
        models.PositiveSmallIntegerField(choices=Severity), default=list, blank=True, help_text="Empty: all."
    )


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
    ack_mode = models.CharField(max_length=8, choices=AckMode, default=AckMode.ANY)
    quorum = models.PositiveSmallIntegerField(default=2, help_text="How many, when ack_mode is quorum.")
    when_unstaffed = models.CharField(max_length=20, choices=WhenUnstaffed, default=WhenUnstaffed.SKIP)
    hold_limit_minutes = models.PositiveIntegerField(
        default=1440,
        help_text="How long it is looked for somebody, when when_unstaffed is hold_until_staffed.",
    )
    hours = models.CharField(max_length=4, choices=Hours, default=Hours.ALWAYS, blank=True)
    severities = _severities()
    round_robin = models.BooleanField(default=False, help_text="One target after the other, not all at once.")
    early = models.JSONField(
        default=list, blank=True,
        help_text='What has it paged before its turn: [{"kind": "containment_missed"}, {"kind": "impact_grew"}, '
        '{"kind": "expertise", "field": "database"}]',
    )  # fmt: skip
    channels = ArrayField(
        models.CharField(max_length=12), default=list, blank=True,
        help_text="Kinds of contact methods. Empty: by each person's own rules.",
    )  # fmt: skip

    class Meta:
        ordering = ["policy_id", "level"]
        constraints = [
            models.CheckConstraint(condition=Q(quorum__gte=1), name="tier_quorum_is_somebody"),
            models.CheckConstraint(condition=Q(hold_limit_minutes__gte=1), name="tier_holds_for_a_time"),
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
    SCHEDULE_NEXT = "schedule_next", "Who is next on call on a schedule"
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
    hours = models.CharField(max_length=4, choices=Hours, default=Hours.ALWAYS, blank=True)
    severities = _severities()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["schedule", "schedule_next"], schedule__isnull=False)
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


class PolicyVersion(models.Model):
    """One save of a policy: what it said then, who saved it and why. `snapshot` is what a run would have got."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="versions")
    version = models.PositiveIntegerField()
    snapshot = models.JSONField()
    saved_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    saved_by_name = models.CharField(max_length=120, blank=True)
    saved_at = models.DateTimeField(null=True, blank=True, help_text="Null: before versions were kept.")
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["policy_id", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "version"], name="policy_version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.policy} v{self.version}"


class RoundRobin(models.Model):
    """Whose turn it is in a tier that pages one target after the other."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="turns")
    level = models.PositiveSmallIntegerField()
    turn = models.PositiveIntegerField(default=0, help_text="Place of the next target, from 0.")

    class Meta:
        ordering = ["policy_id", "level"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "level"], name="round_robin_once_per_tier"),
        ]

    def __str__(self) -> str:
        return f"{self.policy_id} tier {self.level}: {self.turn}"


class AsksCommander(models.TextChoices):
    BY_ROTATION = "", "As the rotation of commanders says"
    ASK = "ask", "A commander is asked"
    NO = "no", "Nobody is asked"


class MatrixCell(models.Model):
    """What a severity means on services of one criticality, where an admin has set it. No row: the defaults."""

    severity = models.PositiveSmallIntegerField(choices=Severity)
    criticality = models.PositiveSmallIntegerField(choices=Criticality)
    urgency = models.CharField(
        max_length=8, choices=Urgency, blank=True,
        help_text="Empty: critical and error are high, warning and info low; SEV1 and SEV2 always high.",
    )  # fmt: skip
    start_level = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The tier that is paged first. Null: the lowest."
    )
    answer_seconds = models.PositiveIntegerField(
        null=True, blank=True,
        help_text="Target for the first answer; no tier waits longer. Null: each tier's own time.",
    )  # fmt: skip
    containment_minutes = models.PositiveIntegerField(
        null=True, blank=True,
        help_text="From detection: not contained by then, it escalates though acknowledged. Null: no target.",
    )  # fmt: skip
    commander = models.CharField(
        max_length=4, choices=AsksCommander, default=AsksCommander.BY_ROTATION, blank=True
    )

    class Meta:
        ordering = ["severity", "criticality"]
        constraints = [
            models.UniqueConstraint(fields=["severity", "criticality"], name="matrix_cell_once"),
            models.CheckConstraint(
                condition=Q(answer_seconds__isnull=True) | Q(answer_seconds__gte=1),
                name="matrix_gives_time_to_answer",
            ),
            models.CheckConstraint(
                condition=Q(containment_minutes__isnull=True) | Q(containment_minutes__gte=1),
                name="matrix_gives_time_to_contain",
            ),
        ]

    def __str__(self) -> str:
        return f"SEV{self.severity} on criticality {self.criticality}"


class RunStatus(models.TextChoices):
    RUNNING = "running", "Running"
    GATHERING = "gathering", "Acknowledged, but more have to answer"
    CATCH_ALL = "catch_all", "With the catch-all"
    STOPPED = "stopped", "Stopped"


OWN = "own"
"""Origin of the run of the service's own policy; that of a team that was called in is team:<id>."""


class Run(models.Model):
    """Where one escalation of an incident stands. `snapshot` is the policy as it was when the run began.

    The own run pages while nobody has acknowledged the incident. A team's run pages until somebody of that team answers.
    """

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="runs")
    origin = models.CharField(max_length=40, default=OWN)
    team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
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
    handoff_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When somebody else comes on call in the present tier; null: not before due_at.",
    )
    started_at = models.DateTimeField()
    started_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    reason = models.CharField(max_length=300, blank=True, help_text="Why the team was called in.")
    stopped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["incident", "origin"], name="run_once_per_origin"),
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

    @property
    def is_own(self) -> bool:
        return self.origin == OWN


class GapOutcome(models.TextChoices):
    SKIPPED = "skipped", "The next tier was paged at once"
    HELD = "held", "The next tier was paged, and this one waits for somebody"
    WAITED = "waited", "Its time passed, then the next tier was paged"
    NOBODY = "nobody", "No tier had anybody, so the catch-all was paged"


class CoverageGap(models.Model):
    """A page found nobody: kept for the council. With outcome held, also what still waits for somebody to come on call."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="gaps")
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="coverage_gaps")
    service = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="coverage_gaps")
    policy_name = models.CharField(max_length=120)
    level = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Null: all tiers.")
    level_name = models.CharField(max_length=80, blank=True)
    loop = models.PositiveSmallIntegerField(default=0)
    outcome = models.CharField(max_length=8, choices=GapOutcome)
    why = models.CharField(max_length=300)
    at = models.DateTimeField()
    look_at = models.DateTimeField(
        null=True, blank=True, help_text="When it is looked again who is on call; null: not any more."
    )
    hold_until = models.DateTimeField(null=True, blank=True, help_text="Then the looking ends.")
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When the hold ended.")
    ended_because = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "loop", "level"], nulls_distinct=False, name="coverage_gap_once"
            ),
        ]
        indexes = [
            # the auditor and the end of a run: holds that still look
            models.Index(fields=["look_at"], condition=Q(look_at__isnull=False), name="coverage_gap_looking"),
            # the council's list
            models.Index(fields=["-at"], name="coverage_gap_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.incident_id}: {self.why}"
