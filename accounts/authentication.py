"""API tokens: `Authorization: Bearer muster_…`, or `Token muster_…` for clients that know only that word."""

from datetime import datetime, timedelta

from django.core.cache import cache
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from accounts.models import ApiToken, User, digest

FAILURES_ALLOWED = 30
FAILURES_WINDOW = timedelta(minutes=5)


class TokenAuthentication(BaseAuthentication):
    """A wrong token is refused even beside a good session.

    Only failures are limited, so that a program goes on working behind the same address as a wrong token.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        words = get_authorization_header(request).split()
        if not words or words[0].lower() not in (b"bearer", b"token"):
            return None
        try:
            secret = words[1].decode("ascii") if len(words) == 2 else ""
        except UnicodeDecodeError:
            secret = ""
        now = timezone.now()
        token = None
        if secret.startswith(ApiToken.PREFIX):
            token = ApiToken.objects.select_related("user").filter(digest=digest(secret)).first()
        if token is None or not token.is_usable(now):
            count_failure(request.META.get("REMOTE_ADDR", ""))
            raise AuthenticationFailed(why_not(token, now))
        note_use(token, now=now)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Muster"'


def why_not(token: ApiToken | None, now: datetime) -> str:
    if token is None:
        return "This token is not known. Send `Authorization: Bearer muster_…`."
    if token.revoked_at is not None:
        return "This token was revoked."
    if token.expires_at is not None and token.expires_at <= now:
        return "This token has expired."
    return "The person of this token is not active."


def note_use(token: ApiToken, *, now: datetime) -> None:
    """At most once a minute, so that a busy program does not write a row with each request."""
    before = now - timedelta(minutes=1)
    if token.last_used_at is None or token.last_used_at < before:
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=before)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


def count_failure(address: str) -> None:
    """Raises Throttled, a 429, for the address that has failed too often."""
    key = f"api-token-failures:{address}"
    seconds = int(FAILURES_WINDOW.total_seconds())
    cache.add(key, 0, timeout=seconds)
    try:
        failures = cache.incr(key)
    except ValueError:  # it ran out in between
        return
    if failures > FAILURES_ALLOWED:
        raise Throttled(wait=seconds, detail="Too many requests with wrong tokens from this address.")


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token, `muster_…`, from the profile page.",
        }
