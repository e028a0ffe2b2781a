"""Who is on call when: schedules made of layers of rotations, and overrides on top."""

from django.db import models

from accounts.models import Team, User, validate_time_zone


class Schedule(models.Model):
    name = models.CharField(max_length=120, unique=True)
    slug = models.SlugField(max_length=120, unique=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="schedules")
    description = models.CharField(max_length=300, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Turn(models.TextChoices):
    HOURS = "hours", "Hours"
    DAYS = "days", "Days"
    WEEKS = "weeks", "Weeks"


class Layer(models.Model):
    """A rotation. Times are wall-clock in the schedule's zone. The highest position that has somebody wins.

    An edit never changes who was on call before it: the row that it replaces gets `superseded_at` and keeps
    counting for the time before, and its successor counts from `effective_from`.
    """

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="layers")
    position = models.PositiveSmallIntegerField(default=0)
    name = models.CharField(max_length=80, blank=True)
    starts_at = models.DateTimeField(
        help_text="First handoff. Its wall-clock time in the zone is the handoff time."
    )
    ends_at = models.DateTimeField(null=True, blank=True)
    effective_from = models.DateTimeField(null=True, blank=True, editable=False)
    superseded_at = models.DateTimeField(null=True, blank=True, editable=False)
    time_zone = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="The schedule's zone while this row counted, kept when the schedule moved to another.",
    )
    turn_unit = models.CharField(max_length=8, choices=Turn, default=Turn.WEEKS)
    turn_length = models.PositiveSmallIntegerField(default=1)
    people_at_once = models.PositiveSmallIntegerField(default=1)
    restrictions = models.JSONField(
        default=list,
        blank=True,
        help_text="Wall-clock windows in which the layer counts; empty: always. "
        '[{"days": [0..6, Monday is 0], "start": "18:00", "end": "08:00"}]; '
        "an end at or before the start is on the next day.",
    )

    class Meta:
        ordering = ["schedule_id", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "position"],
                condition=models.Q(superseded_at__isnull=True),
                name="layer_position_once",
            ),
            models.CheckConstraint(condition=models.Q(turn_length__gte=1), name="layer_turn_has_length"),
            models.CheckConstraint(
                condition=models.Q(people_at_once__gte=1), name="layer_has_somebody_at_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"Layer {self.position + 1}"


class LayerMember(models.Model):
    layer = models.ForeignKey(Layer, on_delete=models.CASCADE, related_name="members")
    position = models.PositiveSmallIntegerField()
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["layer_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["layer", "position"], name="layer_member_position_once")
        ]

    def __str__(self) -> str:
        return f"{self.position + 1}. {self.user}"


class Override(models.Model):
    """From starts_at until before ends_at this person is on call in place of whoever the layers say."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="overrides")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="override_ends_after_it_starts"
            ),
        ]
        indexes = [
            # on_call and the calendar: overrides that touch a span
            models.Index(fields=["schedule", "ends_at"], name="override_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.starts_at:%Y-%m-%d %H:%M}"
