"""Who does what in an incident: roles, offers of a role that must be accepted, and tasks."""

from django.db import models
from django.db.models import F, Q

from accounts.models import Team, User
from incidents.models.core import Incident, Page
from oncall.models import Schedule


class RoomRole(models.TextChoices):
    COMMANDER = "commander", "Commander"
    DEPUTY = "deputy", "Deputy commander"
    SCRIBE = "scribe", "Scribe"
    COMMUNICATIONS = "communications", "Communications"
    EXPERT = "expert", "Expert"


WHOLE_INCIDENT = "incident"
"""What is offered when the incident itself is handed over: who accepts has it from then on. Nobody holds it as a role."""


class RoleHolding(models.Model):
    """Who holds or held a role. The open holding of the commander equals Incident.commander."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="holdings")
    role = models.CharField(max_length=16, choices=RoomRole)
    field = models.CharField(max_length=40, blank=True, help_text="Of an expert: network, database …")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="holdings")
    given_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    since = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    via = models.CharField(max_length=12, default="hand", help_text="hand, rotation, handoff")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["incident", "role"],
                condition=Q(ended_at__isnull=True) & ~Q(role="expert"),
                name="role_held_once",
            ),
            models.UniqueConstraint(
                fields=["incident", "field", "user"],
                condition=Q(ended_at__isnull=True, role="expert"),
                name="expert_once_per_field",
            ),
            models.CheckConstraint(
                condition=Q(role="expert") & ~Q(field="") | ~Q(role="expert") & Q(field=""),
                name="expert_has_a_field",
            ),
        ]
        indexes = [
            # what a person holds now
            models.Index(fields=["user"], condition=Q(ended_at__isnull=True), name="role_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.role}"


class OfferStatus(models.TextChoices):
    OPEN = "open", "Waiting for an answer"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"
    MISSED = "missed", "No answer"
    WITHDRAWN = "withdrawn", "Withdrawn"


class RoleOffer(models.Model):
    """A role, or the incident itself, that somebody is asked to take. Until it is accepted the giver keeps it.

    Only the incident itself is offered to a team as well: then `to_user` is who accepted for it, null before.
    """

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="offers")
    role = models.CharField(
        max_length=16, choices=[*RoomRole.choices, (WHOLE_INCIDENT, "The incident itself")]
    )
    field = models.CharField(max_length=40, blank=True)
    to_user = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="role_offers"
    )
    to_team = models.ForeignKey(Team, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    to_name = models.CharField(max_length=120, blank=True, help_text="Of the team, as it was then.")
    from_user = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Who holds it and gives it; null: nobody held it.",
    )  # fmt: skip
    by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+",
        help_text="Who asked; null: the rotation.",
    )  # fmt: skip
    rotation = models.ForeignKey(
        "incidents.RoleRotation", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    known = models.TextField(blank=True, help_text="What is known.")
    in_progress = models.TextField(blank=True)
    next_steps = models.TextField(blank=True)
    status = models.CharField(max_length=12, choices=OfferStatus, default=OfferStatus.OPEN)
    searches = models.BooleanField(
        default=False, help_text="Without a yes the next one is asked; false: this person was chosen by name."
    )
    asked = models.PositiveSmallIntegerField(
        default=1, help_text="How many were asked so far, this one included."
    )
    offered_at = models.DateTimeField()
    accept_by = models.DateTimeField(
        null=True, blank=True, help_text="Null: nothing happens without an answer."
    )
    ended_at = models.DateTimeField(null=True, blank=True)
    page = models.OneToOneField(
        Page, on_delete=models.SET_NULL, null=True, blank=True, related_name="role_offer"
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["incident", "role", "field"], condition=Q(status="open"), name="role_offered_once"
            ),
            models.CheckConstraint(
                condition=Q(status="open", ended_at__isnull=True)
                | ~Q(status="open") & Q(ended_at__isnull=False),
                name="role_offer_ends",
            ),
            models.CheckConstraint(
                condition=Q(to_user__isnull=False) | Q(role=WHOLE_INCIDENT) & ~Q(to_name=""),
                name="role_offer_asks_somebody",
            ),
        ]
        indexes = [
            # what waits for me
            models.Index(fields=["to_user"], condition=Q(status="open"), name="role_offer_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.role} to {self.asked_name}"

    @property
    def asked_name(self) -> str:
        return self.to_name or str(self.to_user)


class RoleRotation(models.Model):
    """Which schedule gives a role: of one team's services, or (team null) of all others."""

    role = models.CharField(max_length=16, choices=RoomRole)
    field = models.CharField(max_length=40, blank=True)
    schedule = models.ForeignKey(Schedule, on_delete=models.PROTECT, related_name="role_rotations")
    team = models.ForeignKey(
        Team, on_delete=models.CASCADE, null=True, blank=True, related_name="role_rotations"
    )
    accept_seconds = models.PositiveIntegerField(default=300, help_text="Then the next one is asked.")
    max_severity = models.PositiveSmallIntegerField(
        default=2, help_text="Asked by itself for this severity and worse; 0: only by hand."
    )

    class Meta:
        ordering = ["role", "field", F("team__name").asc(nulls_last=True)]
        constraints = [
            models.UniqueConstraint(
                fields=["role", "field", "team"], nulls_distinct=False, name="role_rotation_once"
            ),
            models.CheckConstraint(
                condition=Q(accept_seconds__gte=60, accept_seconds__lte=86400),
                name="role_rotation_waits_sensibly",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} from {self.schedule}"


class TaskStatus(models.TextChoices):
    OPEN = "open", "Open"
    DONE = "done", "Done"
    DROPPED = "dropped", "Dropped"


class Task(models.Model):
    """Something to do in the room. One person at a time holds it."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="tasks")
    number = models.PositiveIntegerField(help_text="Counted within the incident.")
    title = models.CharField(max_length=300)
    assignee = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="room_tasks"
    )
    claimed_at = models.DateTimeField(
        null=True, blank=True, help_text="When the assignee took it or was given it."
    )
    due_at = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=8, choices=TaskStatus, default=TaskStatus.OPEN)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField()
    done_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["incident", "number"], name="task_number_once"),
            models.CheckConstraint(
                condition=~Q(status="done") | Q(done_at__isnull=False), name="task_done_has_time"
            ),
        ]
        indexes = [
            # my tasks
            models.Index(fields=["assignee"], condition=Q(status="open"), name="task_of_person"),
        ]

    def __str__(self) -> str:
        return self.title
