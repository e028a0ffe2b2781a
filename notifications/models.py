"""A person, a text and a dedupe key become messages on channels. Knows no incident."""

from django.db import models

from accounts.models import ContactKind, ContactMethod, User


class Urgency(models.TextChoices):
    HIGH = "high", "High"
    LOW = "low", "Low"


class NotificationRule(models.Model):
    """One step of a person's rules: so long after the page, use this method."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notification_rules")
    urgency = models.CharField(max_length=8, choices=Urgency)
    delay_seconds = models.PositiveIntegerField(default=0)
    method = models.ForeignKey(ContactMethod, on_delete=models.CASCADE, related_name="rules")

    class Meta:
        ordering = ["urgency", "delay_seconds", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "urgency", "delay_seconds", "method"], name="notification_rule_once"
            ),
            models.CheckConstraint(
                condition=models.Q(delay_seconds__lte=86_400), name="notification_rule_within_a_day"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.method} after {self.delay_seconds} s ({self.urgency})"


class NotificationStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    ANSWERED = "answered", "Answered"
    CANCELLED = "cancelled", "Cancelled"
    DONE = "done", "Done"


class Notification(models.Model):
    """What one person must hear. Its deliveries follow the person's rules until it is no longer active."""

    recipient = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notifications")
    dedupe_key = models.CharField(max_length=200, unique=True)
    topic = models.CharField(
        max_length=120, help_text="What it is about; all of a topic are cancelled together."
    )
    urgency = models.CharField(max_length=8, choices=Urgency, default=Urgency.HIGH)
    title = models.CharField(max_length=300)
    body = models.TextField(blank=True)
    link = models.CharField(max_length=500, blank=True, help_text="Path within Muster; signed where it acts.")
    context = models.JSONField(
        default=dict, blank=True, help_text="Facts for channel templates and webhooks."
    )
    status = models.CharField(max_length=12, choices=NotificationStatus, default=NotificationStatus.ACTIVE)
    unreachable = models.BooleanField(
        default=False, help_text="No verified method and rule: the sign-in address was used at once."
    )
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status="active", ended_at__isnull=True)
                | (~models.Q(status="active") & models.Q(ended_at__isnull=False)),
                name="notification_ended_when_not_active",
            ),
        ]
        indexes = [
            # cancel_topic
            models.Index(
                fields=["topic"], condition=models.Q(status="active"), name="notification_active_by_topic"
            ),
            # a person's ledger, newest first
            models.Index(fields=["recipient", "-created_at"], name="notification_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.title} to {self.recipient}"


class Bundle(models.Model):
    """Several messages to one person that leave as one. The same set of messages is the same bundle."""

    recipient = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    method = models.ForeignKey(
        ContactMethod, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    idempotency_key = models.UUIDField(unique=True, help_text="Made from the keys of its messages.")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Bundle {self.pk} to {self.recipient}"


class DeliveryStatus(models.TextChoices):
    WAITING = "waiting", "Waiting"
    SENDING = "sending", "Sending"
    SENT = "sent", "Sent"
    MACHINE = "machine", "A machine answered"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Delivery(models.Model):
    """One message on one channel: a row before it is a message. The ledger of what was sent, when and with what result."""

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="deliveries")
    method = models.ForeignKey(ContactMethod, on_delete=models.SET_NULL, null=True, blank=True)
    channel = models.CharField(max_length=16)
    address = models.CharField(max_length=500)
    step = models.PositiveSmallIntegerField(default=0)
    status = models.CharField(max_length=12, choices=DeliveryStatus, default=DeliveryStatus.WAITING)
    reason = models.CharField(
        max_length=200, blank=True, help_text="Why this channel at this time, in words."
    )
    due_at = models.DateTimeField(help_text="When the person's rule says; retries do not move it.")
    retry_at = models.DateTimeField(
        null=True, blank=True, help_text="When the next attempt is due after a failed one."
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True)
    idempotency_key = models.UUIDField(unique=True)
    provider = models.CharField(max_length=40, blank=True, help_text="Which of several providers took it.")
    provider_id = models.CharField(max_length=200, blank=True)
    receipt = models.CharField(
        max_length=200,
        blank=True,
        help_text="What the provider said after it took it: delivered, a person answered …",
    )
    receipt_at = models.DateTimeField(null=True, blank=True)
    code = models.PositiveSmallIntegerField(null=True, blank=True, help_text="What to answer with: ack 12.")
    bundle = models.ForeignKey(
        Bundle, on_delete=models.SET_NULL, null=True, blank=True, related_name="deliveries",
        help_text="It leaves, or left, together with others.",
    )  # fmt: skip
    held_at = models.DateTimeField(
        null=True, blank=True, help_text="Held back since then, so as not to flood a person."
    )
    held_why = models.CharField(max_length=200, blank=True)
    again_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    claimed_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["due_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["notification", "step", "channel", "address"],
                name="delivery_once_per_step_and_address",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["waiting", "sending"], finished_at__isnull=True)
                | (~models.Q(status__in=["waiting", "sending"]) & models.Q(finished_at__isnull=False)),
                name="delivery_finished_when_final",
            ),
        ]
        indexes = [
            # the ledger page: newest first, by status
            models.Index(fields=["status", "-id"], name="delivery_by_status"),
            # methods page: how the last message on a method went
            models.Index(fields=["method", "-id"], name="delivery_of_method"),
            # what could leave together with a message by this method
            models.Index(
                fields=["method", "due_at"],
                condition=models.Q(status="waiting"),
                name="delivery_waiting_by_method",
            ),
            # how many left lately, for throttles
            models.Index(fields=["method", "claimed_at"], name="delivery_left_by_method"),
            # a provider's callback
            models.Index(
                fields=["provider_id"], condition=~models.Q(provider_id=""), name="delivery_by_provider_id"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} to {self.address}: {self.status}"

    @property
    def channel_label(self) -> str:
        return str(ContactKind(self.channel).label) if self.channel in ContactKind.values else self.channel


class AttemptOutcome(models.TextChoices):
    PENDING = "pending", "No result yet"
    SENT = "sent", "Sent"
    TRANSIENT = "transient", "Not accepted for now"
    PERMANENT = "permanent", "Refused"
    DROPPED = "dropped", "No longer wanted"
    LOST = "lost", "The worker did not report back"


class Attempt(models.Model):
    """One try to hand a message over. The row is written before the network is used, so a crash leaves a trace."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tries")
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=12, choices=AttemptOutcome, default=AttemptOutcome.PENDING)
    detail = models.CharField(max_length=500, blank=True, help_text="What the other side said.")

    class Meta:
        ordering = ["delivery_id", "number"]
        constraints = [
            # Two workers never send the same attempt.
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once_per_delivery"),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id}#{self.number} {self.outcome}"


class Verification(models.Model):
    """A code is on its way to a contact method. The code itself is derived from `nonce` and kept nowhere."""

    method = models.OneToOneField(ContactMethod, on_delete=models.CASCADE, related_name="verification")
    nonce = models.CharField(max_length=32)
    wrong_tries = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Code for {self.method}"


class ProviderKind(models.TextChoices):
    SMS = "sms", "SMS"
    VOICE = "voice", "Phone calls"


class ProviderState(models.Model):
    """A provider's circuit breaker: after some failures in a row it is left out until a probe goes well."""

    kind = models.CharField(max_length=8, choices=ProviderKind)
    name = models.CharField(max_length=40)
    failures = models.PositiveIntegerField(default=0, help_text="In a row.")
    opened_at = models.DateTimeField(null=True, blank=True, help_text="Left out since then.")
    probe_at = models.DateTimeField(null=True, blank=True, help_text="When one message may try again.")
    last_error = models.CharField(max_length=300, blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)
    last_success_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "name"], name="provider_state_once"),
            models.CheckConstraint(
                condition=models.Q(opened_at__isnull=True, probe_at__isnull=True)
                | models.Q(opened_at__isnull=False, probe_at__isnull=False),
                name="provider_open_has_probe",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.name}"


class Reply(models.Model):
    """What a person or a provider sent back. The same id again does nothing."""

    provider = models.CharField(max_length=40)
    external_id = models.CharField(max_length=200)
    channel = models.CharField(max_length=16)
    method = models.ForeignKey(
        ContactMethod, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    delivery = models.ForeignKey(
        Delivery, on_delete=models.SET_NULL, null=True, blank=True, related_name="replies"
    )
    text = models.CharField(max_length=500, blank=True)
    answer = models.CharField(max_length=700, blank=True, help_text="What was answered.")
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "external_id"], name="reply_once"),
        ]
        indexes = [
            # prune
            models.Index(fields=["received_at"], name="reply_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.external_id}"
