"""Reads of people and teams, each named for the question it answers."""

from datetime import datetime

from django.db.models import Count, Prefetch, Q, QuerySet

from accounts.models import ApiToken, AuditEntry, Membership, Role, Team, User


def people(text: str = "", *, role: str = "", team: str = "", active: bool = True) -> QuerySet[User]:
    """By name; `text` narrows by name, user name, address or field of expertise, `team` is a slug. Who is not
    active is listed only when asked for."""
    found = User.objects.filter(is_active=active).prefetch_related("teams").order_by("full_name", "pk")
    if text:
        found = found.filter(
            Q(full_name__icontains=text)
            | Q(username__icontains=text)
            | Q(email__icontains=text)
            | Q(expertise__contains=[text.lower()])
        )
    if role:
        found = found.filter(role=role)
    return found.filter(memberships__team__slug=team) if team else found


def teams(text: str = "") -> QuerySet[Team]:
    """By name, each with how many are in it and, as `faces`, who: leads first."""
    active = Count("memberships", filter=Q(memberships__user__is_active=True))
    faces = Prefetch("memberships", active_members().order_by("-is_lead", "user__full_name"), to_attr="faces")
    found = Team.objects.annotate(member_count=active).prefetch_related(faces).order_by("name")
    return found.filter(Q(name__icontains=text) | Q(description__icontains=text)) if text else found


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
