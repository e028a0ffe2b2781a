"""Who may do what. Roles are a ladder: each may do all that the one below it may."""

import zoneinfo
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from rest_framework.permissions import SAFE_METHODS, BasePermission

from accounts.models import ApiToken, Role, Scope, User
from core.errors import NotAllowed

_RANK = {role: rank for rank, role in enumerate(Role.values)}
_PLURALS = {role: f"{role}s" for role in Role.values}

View = Callable[..., HttpResponse]


def at_least(user: User | AnonymousUser, role: str) -> bool:
    """Whether `user` has this role or a higher one. Nobody who is not signed in, or not active, has any."""
    if not user.is_authenticated or not user.is_active:
        return False
    return user.is_superuser or _RANK[user.role] >= _RANK[role]


def who_may(role: str) -> str:
    """Managers and admins may do this."""
    words = [_PLURALS[value] for value in Role.values if _RANK[value] >= _RANK[role]]
    listed = " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
    return f"{listed[0].upper()}{listed[1:]} may do this."


def role_required(role: str) -> Callable[[View], View]:
    """Guards a view. Anonymous: to the sign-in page and back. A lower role: a 403 page that says who may.

    The view runs in the person's time zone.
    """
    if role not in _RANK:
        raise ValueError(f"{role!r} is not a role")

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return to_sign_in(request)
            if not at_least(request.user, role):
                return not_allowed(request, role)
            with timezone.override(zone_of(request.user)):  # pages say times as the person reads clocks
                return view(request, *args, **kwargs)

        guarded.required_role = role
        return guarded

    return decorate


def zone_of(user: User) -> zoneinfo.ZoneInfo:
    """Where the person reads times. A name that the machine's database no longer knows counts as UTC."""
    try:
        return zoneinfo.ZoneInfo(user.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return zoneinfo.ZoneInfo("UTC")


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """A page is redirected; a fragment answers 401 and makes its whole page go: no form belongs inside it."""
    fragment = request.headers.get("HX-Request") == "true"
    if fragment:
        current = urlsplit(request.headers.get("HX-Current-URL", ""))
        back = current.path + (f"?{current.query}" if current.query else "")
    else:
        # A POST cannot be repeated after signing in: go to the page that it came from.
        referer = urlsplit(request.headers.get("Referer", ""))
        back = request.get_full_path() if request.method in {"GET", "HEAD"} else referer.path
    if not back or not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        back = "/"
    address = f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': back})}"
    if fragment:
        headers = {"HX-Redirect": address}
        return HttpResponse("Sign in to go on.", status=401, content_type="text/plain", headers=headers)
    return HttpResponse(status=302, headers={"Location": address})


def not_allowed(request: HttpRequest, role: str) -> HttpResponse:
    """403: who may do this, who the person is, and whom to ask for more."""
    person = request.user
    message = f"{who_may(role)} You are signed in as {person}, {person.get_role_display().lower()}."
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(message, status=403, content_type="text/plain; charset=utf-8")
    admins = User.objects.filter(role=Role.ADMIN, is_active=True)[:3]
    if admins:
        message += f" Ask {' or '.join(str(admin) for admin in admins)} for a higher role."
    return render(request, "403.html", {"exception": NotAllowed(message)}, status=403)


class RolePermission(BasePermission):
    """Reading needs a viewer, writing `required_roles[action]`, else `write_role`, else a responder.

    A token with the scope `read` never writes.
    """

    def has_permission(self, request: Any, view: Any) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False  # DRF answers 401
        role = self.needed(request, view)
        if not at_least(request.user, role):
            self.message = f"{who_may(role)} You are a {request.user.get_role_display().lower()}."
            return False
        token = request.auth
        if isinstance(token, ApiToken) and token.scope == Scope.READ and request.method not in SAFE_METHODS:
            self.message = "This token may only read. Use one with the scope write."
            return False
        return True

    @staticmethod
    def needed(request: Any, view: Any) -> str:
        by_action = getattr(view, "required_roles", {})
        action = getattr(view, "action", None)
        if action in by_action:
            return by_action[action]
        if request.method in SAFE_METHODS:
            return getattr(view, "read_role", Role.VIEWER)
        return getattr(view, "write_role", Role.RESPONDER)
