"""Reads of people and teams, each named for the question it answers."""

from datetime import datetime

from django.db.models import Count, Q, QuerySet

from accounts.models import ApiToken, AuditEntry, Membership, Role, Team, User


def people(text: str = "") -> QuerySet[User]:
    """Who is active, by name; `text` narrows by name, user name or address."""
    found = User.objects.filter(is_active=True).prefetch_related("teams").order_by("full_name", "pk")
    if text:
        found = found.filter(
            Q(full_name__icontains=text) | Q(username__icontains=text) | Q(email__icontains=text)
        )
    return found


def teams() -> QuerySet[Team]:
    active = Count("memberships", filter=Q(memberships__user__is_active=True))
    return Team.objects.annotate(member_count=active).order_by("name")


def active_members() -> QuerySet[Membership]:
    return Membership.objects.filter(user__is_active=True).select_related("user")


def admins() -> QuerySet[User]:
    """Those who can change roles; there is always at least one."""
    return User.objects.filter(Q(role=Role.ADMIN) | Q(is_superuser=True), is_active=True)


def is_address_of_another(user: User, address: str) -> bool:
    return User.objects.exclude(pk=user.pk).filter(email__iexact=address.replace("\x00", "")).exists()


def tokens_of(user: User) -> QuerySet[ApiToken]:
    return user.api_tokens.order_by("-pk")


def usable_tokens_of(user: User, *, now: datetime) -> QuerySet[ApiToken]:
    return tokens_of(user).filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), revoked_at__isnull=True)


def audit_of(user: User, *, limit: int = 20) -> list[AuditEntry]:
    """What was done to this person's rights, newest first."""
    return list(AuditEntry.objects.filter(subject=user).select_related("actor")[:limit])
