"""People, teams, how to reach them, and what may act in their name."""

import hashlib
import secrets
import zoneinfo
from datetime import datetime

import pgtrigger
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower


class Role(models.TextChoices):
    """Each role may do all that the one before it may."""

    VIEWER = "viewer", "Viewer"
    RESPONDER = "responder", "Responder"
    MANAGER = "manager", "Manager"
    ADMIN = "admin", "Admin"


class Theme(models.TextChoices):
    SYSTEM = "system", "Like the system"
    DARK = "dark", "Dark"
    LIGHT = "light", "Light"


def validate_time_zone(name: str) -> None:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationError(f"{name!r} is not a time zone. Example: Europe/Berlin") from None


class User(AbstractUser):
    """A person. `email` is the address of last resort: it is used when no contact method is verified."""

    first_name = None
    last_name = None
    full_name = models.CharField(max_length=120)
    email = models.EmailField(unique=True)
    role = models.CharField(max_length=16, choices=Role, default=Role.RESPONDER)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    theme = models.CharField(max_length=8, choices=Theme, default=Theme.SYSTEM)
    expertise = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    is_bot = models.BooleanField(default=False, help_text="Acknowledgements by bots do not count in metrics.")

    REQUIRED_FIELDS = ["email", "full_name"]

    class Meta:
        ordering = ["full_name", "id"]
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_email_once_whatever_case"),
            # sign-in looks a username up whatever its case
            models.UniqueConstraint(Lower("username"), name="user_username_once_whatever_case"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_role_known"),
        ]

    def __str__(self) -> str:
        return self.full_name or self.username

    def get_full_name(self) -> str:
        return str(self)

    def get_short_name(self) -> str:
        return str(self).split(" ")[0]

    @property
    def initials(self) -> str:
        words = str(self).split()
        return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


class Team(models.Model):
    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.CharField(max_length=300, blank=True)
    members = models.ManyToManyField(User, through="Membership", related_name="teams")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    is_lead = models.BooleanField(default=False)

    class Meta:
        ordering = ["-is_lead", "user__full_name"]
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="membership_once_per_team")]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"


class ContactKind(models.TextChoices):
    EMAIL = "email", "E-mail"
    SMS = "sms", "SMS"
    VOICE = "voice", "Phone call"
    PUSH = "push", "Push message"
    NTFY = "ntfy", "ntfy"
    TELEGRAM = "telegram", "Telegram"
    MATRIX = "matrix", "Matrix"
    SLACK = "slack", "Slack"
    TEAMS = "teams", "Teams"
    DISCORD = "discord", "Discord"
    APPRISE = "apprise", "Another service"
    WEBHOOK = "webhook", "Webhook"


class ContactMethod(models.Model):
    """A way to reach a person. Only verified ones count as a way to reach them."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="contact_methods")
    kind = models.CharField(max_length=16, choices=ContactKind)
    label = models.CharField(max_length=60, blank=True)
    address = models.CharField(
        max_length=500,
        help_text="An e-mail address, a phone number as +4930123456, an https URL for a webhook; for a chat, what may be shown.",
    )
    sealed = models.TextField(
        blank=True, help_text="The address with its secrets, encrypted; see notifications/sealing.py."
    )
    secret = models.CharField(
        max_length=160,
        blank=True,
        help_text="Signs the body of a webhook. Two with a comma while one replaces the other.",
    )
    verified_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    flagged_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when it does not reach the person."
    )
    flag_reason = models.CharField(max_length=300, blank=True)
    last_code = models.PositiveSmallIntegerField(
        default=0, help_text="The newest reply code, from 1 to 999 and round."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "kind", "address"], name="contact_method_once_per_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.label or self.address}"


class Scope(models.TextChoices):
    READ = "read", "Read"
    WRITE = "write", "Read and write"


def digest(secret: str) -> str:
    """SHA-256 in hex. Right for secrets of full entropy that we made ourselves, never for passwords."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiToken(models.Model):
    """Acts as `user`, at most with the user's role. Only the digest is kept; the token is shown once."""

    PREFIX = "muster_"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    hint = models.CharField(max_length=12, help_text="How the token begins, to tell one from another.")
    digest = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.WRITE)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @classmethod
    def new_secret(cls) -> str:
        return cls.PREFIX + secrets.token_urlsafe(32)

    def is_usable(self, now: datetime) -> bool:
        current = self.revoked_at is None and (self.expires_at is None or self.expires_at > now)
        return current and self.user.is_active


class IdempotentRequest(models.Model):
    """A request that came with an Idempotency-Key, and its answer, which the same key gets again."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Digest of method, path and body.")
    status = models.PositiveSmallIntegerField()
    answer = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once_per_person"),
        ]
        indexes = [
            # forgetting old ones
            models.Index(fields=["created_at"], name="idempotent_request_by_age"),
        ]

    def __str__(self) -> str:
        return self.key


class AuditEntry(models.Model):
    """Who changed what people may do. Append-only: the database refuses changes."""

    at = models.DateTimeField()
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    subject = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    action = models.CharField(max_length=40, help_text="role_changed, token_created, token_revoked …")
    text = models.CharField(max_length=300)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return self.text
