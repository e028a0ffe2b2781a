"""People and teams. The same call always gives the same row, but for the number in names that nobody gave."""

import itertools
from datetime import datetime
from typing import Any

from accounts.models import ApiToken, ContactKind, ContactMethod, Role, Scope, Team, User, digest

_numbers = itertools.count(1)

PASSWORD = "correct horse battery"


def make_user(username: str = "", *, full_name: str = "", role: str = Role.RESPONDER, **fields: Any) -> User:
    """A person without a usable password; tests sign in with `client.force_login`."""
    username = username or f"person{next(_numbers)}"
    fields.setdefault("email", f"{username}@example.org")
    password = fields.pop("password", None)
    user = User(username=username, full_name=full_name or username.title(), role=role, **fields)
    user.set_password(password) if password else user.set_unusable_password()
    user.save()
    return user


def make_team(name: str = "", *, members: tuple[User, ...] | list[User] = (), **fields: Any) -> Team:
    name = name or f"Team {next(_numbers)}"
    fields.setdefault("slug", name.lower().replace(" ", "-"))
    team = Team.objects.create(name=name, **fields)
    team.members.add(*members)
    return team


def make_email(
    user: User, *, address: str = "", verified_at: datetime | None = None, **fields: Any
) -> ContactMethod:
    return ContactMethod.objects.create(
        user=user, kind=ContactKind.EMAIL, address=address or user.email, verified_at=verified_at, **fields
    )


def make_token(user: User, *, scope: str = Scope.WRITE, **fields: Any) -> str:
    """The token itself, for `Authorization: Bearer …`; the row holds only its digest."""
    secret = ApiToken.new_secret()
    fields.setdefault("name", "test")
    ApiToken.objects.create(user=user, scope=scope, hint=secret[:12], digest=digest(secret), **fields)
    return secret
