"""Who is on call when: layers of rotations, overrides, temporary schedules, and what people ask of each other."""

from django.db import models

from accounts.models import Team, User, validate_time_zone


class Schedule(models.Model):
    name = models.CharField(max_length=120, unique=True)
    slug = models.SlugField(max_length=120, unique=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="schedules")
    description = models.CharField(max_length=300, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    notice_minutes = models.PositiveIntegerField(
        default=24 * 60, help_text="So long before a shift its people are told. 0: not before."
    )
    notice_at_start = models.BooleanField(default=True, help_text="They are told again when it begins.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Turn(models.TextChoices):
    HOURS = "hours", "Hours"
    DAYS = "days", "Days"
    WEEKS = "weeks", "Weeks"
    CUSTOM = "custom", "Several lengths in turn"


class LayerMode(models.TextChoices):
    OVERRIDE = "override", "In place of the layers before it"
    PARALLEL = "parallel", "Together with the layers before it"
    SHADOW = "shadow", "Shadow: hears of its shifts, is never paged"


class Layer(models.Model):
    """A rotation. Times are wall-clock in the schedule's zone. From the highest position down, each adds its people,
    until one in override mode has somebody: that one hides what is below it.

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
    turns = models.JSONField(
        default=list,
        blank=True,
        help_text='Custom turns, one after the other and again: [{"unit": "days", "length": 5}, …].',
    )
    mode = models.CharField(max_length=8, choices=LayerMode, default=LayerMode.OVERRIDE)
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


class OverrideKind(models.TextChoices):
    REPLACE = "replace", "In place of"
    ADD = "add", "Together with whoever is on call"
    REMOVE = "remove", "Not on call"
    SHADOW = "shadow", "Shadows"


class Override(models.Model):
    """From starts_at until before ends_at. Those that overlap act in the order in which they were made."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="overrides")
    kind = models.CharField(max_length=8, choices=OverrideKind, default=OverrideKind.REPLACE)
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", help_text="Who comes; with remove, who goes."
    )
    replaces = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="With replace: only this person, while on call. Empty: everybody.",
    )  # fmt: skip
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=200, blank=True)
    swap = models.ForeignKey(
        "SwapRequest",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="overrides",
    )
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="override_ends_after_it_starts"
            ),
            models.CheckConstraint(
                condition=models.Q(replaces__isnull=True)
                | (models.Q(kind="replace") & ~models.Q(replaces=models.F("user"))),
                name="override_replaces_another",
            ),
        ]
        indexes = [
            # on_call and the calendar: overrides that touch a span
            models.Index(fields=["schedule", "ends_at"], name="override_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.starts_at:%Y-%m-%d %H:%M}"


class Filler(models.Model):
    """Who is on call from starts_at on whenever nobody else is. One that ended stays, for the past."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="fillers")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["schedule"], condition=models.Q(ends_at__isnull=True), name="filler_one_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} fills gaps"


class TemporarySchedule(models.Model):
    """For its span these shifts and nothing else: it beats layers and overrides. Of two, the one made later counts."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="temporary")
    name = models.CharField(max_length=80)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="temporary_ends_after_it_starts"
            ),
        ]
        indexes = [
            # on_call and the calendar: those that touch a span
            models.Index(fields=["schedule", "ends_at"], name="temporary_by_end"),
        ]

    def __str__(self) -> str:
        return self.name


class TemporaryShift(models.Model):
    temporary = models.ForeignKey(TemporarySchedule, on_delete=models.CASCADE, related_name="shifts")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        ordering = ["starts_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="temporary_shift_ends_after_start"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.starts_at:%Y-%m-%d %H:%M}"


class SwapStatus(models.TextChoices):
    PENDING = "pending", "Waits for an answer"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"
    WITHDRAWN = "withdrawn", "Withdrawn"
    EXPIRED = "expired", "Not answered in time"


class SwapRequest(models.Model):
    """`asked` would be on call in place of `requester` in the span, and the other way round in the other, if given."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="swaps")
    requester = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    asked = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    back_starts_at = models.DateTimeField(null=True, blank=True)
    back_ends_at = models.DateTimeField(null=True, blank=True)
    message = models.CharField(max_length=300, blank=True)
    answer = models.CharField(max_length=300, blank=True)
    status = models.CharField(max_length=12, choices=SwapStatus, default=SwapStatus.PENDING)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(requester=models.F("asked")), name="swap_between_two_people"
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at")), name="swap_ends_after_it_starts"
            ),
            models.CheckConstraint(
                condition=models.Q(back_starts_at__isnull=True, back_ends_at__isnull=True)
                | models.Q(back_ends_at__gt=models.F("back_starts_at")),
                name="swap_back_ends_after_it_starts",
            ),
        ]
        indexes = [
            # what waits for a person's answer
            models.Index(
                fields=["asked"], condition=models.Q(status="pending"), name="swap_pending_by_asked"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.requester} asks {self.asked}"


class DutyNotice(models.Model):
    """That somebody was told of a shift. The row is made in the transaction that tells, so each is told once."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    starts_at = models.DateTimeField(help_text="When the shift begins.")
    kind = models.CharField(max_length=8, help_text="before or start")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "user", "starts_at", "kind"], name="duty_notice_once_per_shift"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.kind} {self.starts_at:%Y-%m-%d %H:%M}"


class CalendarFeed(models.Model):
    """A secret address with shifts as iCalendar: of `owner` in all schedules, or of everybody in one.

    Only the digest is kept; the address is shown once. It ends with its owner's account.
    """

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    schedule = models.ForeignKey(
        Schedule, on_delete=models.CASCADE, null=True, blank=True, related_name="feeds"
    )
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=12, help_text="How the secret begins, to tell one from another.")
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "schedule"],
                condition=models.Q(revoked_at__isnull=True),
                nulls_distinct=False,
                name="calendar_feed_one_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.schedule or self.owner} ({self.hint}…)"
