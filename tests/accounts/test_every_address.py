"""Nobody can add a page or an endpoint and forget to guard it: every address is public by name here, or refuses."""

import re
from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.regex_helper import normalize

# Routes as written in the urls.py files, with the reason why a stranger may open them.
PUBLIC = {
    "healthz": "load balancers ask it",
    "readyz": "load balancers ask it",
    "metrics": "guarded by its own token or by the address; tests/core",
    "account/login/": "signing in",
    "account/logout/": "says that nobody is signed in",
    "account/signup/": "says that admins add people",
    "account/inactive/": "says why somebody cannot sign in",
    "account/confirm-email/": "the second half of confirming an address",
    "account/^confirm-email/(?P<key>[-:\\w]+)/$": "carries a signed key",
    "account/password/reset/": "for who cannot sign in",
    "account/password/reset/done/": "for who cannot sign in",
    "account/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": "carries a signed key",
    "account/password/reset/key/done/": "for who cannot sign in",
    "account/3rdparty/login/cancelled/": "back from the provider",
    "account/3rdparty/login/error/": "back from the provider",
    "account/3rdparty/signup/": "closed",
    "account/social/login/cancelled/": "an old address, redirects",
    "account/social/login/error/": "an old address, redirects",
    "account/social/signup/": "an old address, redirects",
    "account/social/connections/": "an old address, redirects",
    "account/oidc/^(?P<provider_id>[^/]+)/login/": "signing in",
    "account/oidc/^(?P<provider_id>[^/]+)/login/callback/": "signing in",
    "account/2fa/authenticate/": "the second step of signing in",
    "account/login/code/confirm/": "the second step of signing in",
    "p/<str:token>/": "a signed link that answers one page",
    "sw.js": "the service worker, the same for everybody",
    "offline/": "what the service worker keeps, the same for everybody",
    "notifications/push/confirm/": "carries a signed token out of a push",
    "notifications/mail/in/": "signed by the mail service; 404 unless the operator wants it",
    "notifications/all/<str:token>/": "a signed link that answers the pages of one message",
    "notifications/phone/<str:provider>/sms/": "signed by the provider of text messages",
    "notifications/phone/<str:provider>/sms/status/": "signed by the provider of text messages",
    "notifications/phone/<str:provider>/sms/status/<uuid:key>/": "signed by the provider of text messages",
    "notifications/phone/<str:provider>/call/<uuid:key>/": "signed by the provider of calls",
    "notifications/phone/<str:provider>/call/<uuid:key>/status/": "signed by the provider of calls",
    "notifications/phone/<str:provider>/call/<uuid:key>/keys/<int:turn>/": "signed by the provider of calls",
    "status/unsubscribe/<str:token>/": "a signed link that ends one subscription to updates",
    "status/public/": "shows what was published; 404 unless the operator wants it",
    "escalation/answer/<str:token>/": "the same signed link: escalates where its person cannot help",
    "embed/<str:token>/": "a signed link that shows one banner",
    "schedules/feeds/<str:secret>.ics": "a secret address that shows one calendar",
    "api/v1/^.*$": "says 404",
}
# Every route that begins so: senders of alerts, whose key in the request is checked instead.
SENDERS = (
    "v2/",
    "heartbeat/",
    "api/v1/integrations/alertmanager/",
    "api/v1/integrations/grafana/",
    "api/v1/integrations/webhook/",
    "api/v1/integrations/chat/",
)

SAMPLES = {"int": "1", "slug": "x", "str": "x", "uuid": "00000000-0000-4000-8000-000000000000", "path": "x"}


def routes(patterns: list, prefix: str = "") -> Iterator[str]:
    for entry in patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, route)
        elif isinstance(entry, URLPattern):
            yield route


def address(route: str) -> str:
    if "(?P" in route or "^" in route:
        template, names = normalize(route.replace("^", ""))[0]
        return "/" + template % dict.fromkeys(names, "1")
    path = re.sub(r"<(?:(\w+):)?\w+>", lambda match: SAMPLES.get(match[1] or "str", "INC-1"), route)
    return "/" + path


ROUTES = sorted(set(routes(get_resolver().url_patterns)))
GUARDED = [route for route in ROUTES if route not in PUBLIC and not route.lstrip("^").startswith(SENDERS)]


@pytest.mark.django_db
@pytest.mark.parametrize("route", GUARDED)
def test_a_stranger_is_refused_or_the_address_is_public_by_name(route: str) -> None:
    path = address(route)
    answers = {}
    for method in ("get", "post"):
        response = getattr(Client(), method)(path)
        location = response.headers.get("Location", "")
        to_sign_in = response.status_code == 302 and location.startswith("/account/login/")
        answers[method] = "refused" if to_sign_in else response.status_code
    assert set(answers.values()) <= {"refused", 401, 403, 405}, f"{route} answered a stranger with {answers}"
    assert set(answers.values()) != {405}, f"{route} takes neither GET nor POST"
