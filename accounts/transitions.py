"""Everything that changes people and what may act in their name. Changes of rights go to the audit table."""

import zoneinfo
from datetime import datetime
from typing import Any

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import queries
from accounts.models import ApiToken, AuditEntry, Role, Scope, Theme, User, digest
from core.errors import Invalid, Missing, Refused

MAX_TOKENS = 50


def audit(
    *, action: str, text: str, actor: User | None, subject: User | None, at: datetime, **data: Any
) -> None:
    AuditEntry.objects.create(at=at, actor=actor, subject=subject, action=action, text=text[:300], data=data)


@transaction.atomic
def create_token(
    *, user: User, name: str, scope: str, expires_at: datetime | None, now: datetime
) -> tuple[ApiToken, str]:
    """The row and the token itself, which cannot be shown again. `expires_at` None: until it is revoked."""
    name = name.strip()
    fields: dict[str, list[str]] = {}
    if not name:
        fields["name"] = ["Say what will use it. Example: deploy script"]
    elif len(name) > 80:
        fields["name"] = ["At most 80 characters."]
    if scope not in Scope.values:
        fields["scope"] = ["read or write."]
    if expires_at is not None and expires_at <= now:
        fields["expires_at"] = ["A time that is still to come."]
    if fields:
        raise Invalid("The token was not made.", fields=fields)
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if queries.usable_tokens_of(user, now=now).count() >= MAX_TOKENS:
        raise Refused(f"You have {MAX_TOKENS} tokens. Revoke one first.", code="too_many_tokens")
    secret = ApiToken.new_secret()
    token = ApiToken.objects.create(
        user=user, name=name, scope=scope, expires_at=expires_at, hint=secret[:12], digest=digest(secret)
    )
    audit(
        action="token_created",
        text=f"made the token {token}",
        actor=user,
        subject=user,
        at=now,
        token=token.pk,
        scope=str(scope),
    )
    return token, secret


@transaction.atomic
def revoke_token(*, token_id: int, user: User, now: datetime) -> ApiToken:
    """`user` ends a token of their own; admins end anybody's. Revoking again changes nothing."""
    tokens = ApiToken.objects.select_for_update(of=("self",), no_key=True).select_related("user")
    if not queries.admins().filter(pk=user.pk).exists():
        tokens = tokens.filter(user=user)
    token = tokens.filter(pk=token_id).first()
    if token is None:
        raise Missing("There is no such token.")
    if token.revoked_at is None:
        token.revoked_at = now
        token.save(update_fields=["revoked_at"])
        audit(
            action="token_revoked",
            text=f"revoked the token {token}",
            actor=user,
            subject=token.user,
            at=now,
            token=token.pk,
        )
    return token


@transaction.atomic
def add_person(*, username: str, full_name: str, email: str, role: str, by: User, now: datetime) -> User:
    """A person who cannot sign in yet: they set a password by the link that the caller sends, or use single sign-on."""
    user = User(username=username.strip(), full_name=full_name.strip(), email=email.strip(), role=role)
    user.set_unusable_password()
    try:
        user.full_clean()
    except ValidationError as refusal:
        fields = {name: list(sentences) for name, sentences in refusal.message_dict.items()}
        taken = {"Constraint “user_email_once_whatever_case” is violated.": "email",
                 "Constraint “user_username_once_whatever_case” is violated.": "username"}  # fmt: skip
        for sentence in fields.pop("__all__", []):
            fields.setdefault(taken.get(sentence, "username"), ["Somebody has this already."])
        raise Invalid("Nobody was added.", fields=fields) from None
    user.save()
    audit(
        action="person_added",
        text=f"added {user} as {role}",
        actor=by,
        subject=user,
        at=now,
        username=user.username,
        role=str(role),
    )
    return user


@transaction.atomic
def set_active(*, user_id: int, active: bool, by: User, now: datetime) -> User:
    """Who is not active cannot sign in, has no working token and is not paged. Raises Refused for the last admin."""
    remaining = {admin.pk for admin in queries.admins().select_for_update(no_key=True).order_by("pk")}
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise Missing("There is no such person.")
    if user.is_active == active:
        return user
    if not active and remaining <= {user.pk}:
        raise Refused(f"{user} is the last admin. Make somebody else an admin first.", code="last_admin")
    user.is_active = active
    user.save(update_fields=["is_active"])
    audit(
        action="person_activated" if active else "person_deactivated",
        text=f"made {user} {'active' if active else 'inactive'}",
        actor=by,
        subject=user,
        at=now,
    )
    return user


@transaction.atomic
def set_role(*, user_id: int, role: str, by: User, now: datetime) -> User:
    """Raises Refused for the last admin: nobody would be left to give the role back."""
    if role not in Role.values:
        raise Invalid("No such role.", fields={"role": [f"One of {', '.join(Role.values)}."]})
    # All admins are locked, in one order, so that two of them cannot demote each other at the same moment.
    remaining = {admin.pk for admin in queries.admins().select_for_update(no_key=True).order_by("pk")}
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise Missing("There is no such person.")
    if user.role == role:
        return user
    if role != Role.ADMIN and remaining <= {user.pk}:
        raise Refused(f"{user} is the last admin. Make somebody else an admin first.", code="last_admin")
    before, user.role = user.role, role
    user.save(update_fields=["role"])
    audit(
        action="role_changed",
        text=f"changed the role of {user} from {before} to {role}",
        actor=by,
        subject=user,
        at=now,
        before=str(before),
        after=str(role),
    )
    return user


def set_theme(*, user: User, theme: str) -> None:
    if theme not in Theme.values:
        raise Invalid("No such theme.", fields={"theme": [f"One of {', '.join(Theme.values)}."]})
    User.objects.filter(pk=user.pk).update(theme=theme)


@transaction.atomic
def vouch_for_address(*, user: User) -> None:
    """Tell allauth that the address is the person's own: an admin gave it, or its link was opened."""
    known = EmailAddress.objects.filter(user=user)
    known.exclude(email__iexact=user.email).filter(primary=True).update(primary=False)
    if not known.filter(email__iexact=user.email).update(verified=True, primary=True):
        EmailAddress.objects.create(user=user, email=user.email.lower(), verified=True, primary=True)


def update_profile(*, user: User, full_name: str, time_zone: str) -> None:
    full_name = full_name.strip()
    fields: dict[str, list[str]] = {}
    if not full_name:
        fields["full_name"] = ["Others see this name when you answer."]
    elif len(full_name) > 120 or "\x00" in full_name:
        fields["full_name"] = ["At most 120 characters."]
    if time_zone not in zoneinfo.available_timezones():
        fields["time_zone"] = ["Not a time zone. Example: Europe/Berlin"]
    if fields:
        raise Invalid("Nothing was changed.", fields=fields)
    User.objects.filter(pk=user.pk).update(full_name=full_name, time_zone=time_zone)
