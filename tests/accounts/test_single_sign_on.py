"""OpenID Connect against a provider that speaks the protocol, over real HTTP."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from accounts.models import User
from tests.factories.accounts import make_user

pytestmark = pytest.mark.django_db


class Provider:
    """Answers as `claims` says. `asked` is what the token endpoint was sent."""

    def __init__(self, server: HTTPServer) -> None:
        self.claims: dict[str, Any] = {"sub": "17", "email": "ravi@example.org", "email_verified": True}
        self.asked: dict[str, list[str]] = {}
        issuer = server.url_for("")
        server.expect_request("/.well-known/openid-configuration").respond_with_json(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            }
        )
        server.expect_request("/token").respond_with_handler(self.token)
        server.expect_request("/userinfo").respond_with_handler(self.userinfo)

    def token(self, request: Request) -> Response:
        self.asked = parse_qs(request.get_data(as_text=True))
        return Response(
            json.dumps({"access_token": "at", "token_type": "Bearer"}), content_type="application/json"
        )

    def userinfo(self, request: Request) -> Response:
        assert request.headers["Authorization"] == "Bearer at"
        return Response(json.dumps(self.claims), content_type="application/json")


@pytest.fixture
def provider(httpserver: HTTPServer, settings: Any) -> Iterator[Provider]:
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [
                {
                    "provider_id": "sso",
                    "name": "Harbor",
                    "client_id": "muster",
                    "secret": "s3cret",
                    "settings": {"server_url": httpserver.url_for("")},
                }
            ],
        }
    }
    cache.clear()
    yield Provider(httpserver)
    cache.clear()


def sign_in(client: Client) -> Any:
    begun = client.post("/account/oidc/sso/login/")
    assert begun.status_code == 302
    query = parse_qs(urlsplit(begun["Location"]).query)
    assert query["client_id"] == ["muster"]
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == ["http://testserver/account/oidc/sso/login/callback/"]
    return client.get(
        "/account/oidc/sso/login/callback/", {"code": "c", "state": query["state"][0]}, follow=True
    )


def is_signed_in(client: Client) -> bool:
    return client.get("/profile/").status_code == 200


def test_who_is_known_by_a_verified_address_comes_in(client: Client, provider: Provider) -> None:
    user = make_user("ravi")
    sign_in(client)
    assert is_signed_in(client)
    assert client.session["_auth_user_id"] == str(user.pk)
    assert provider.asked["code"] == ["c"]
    assert provider.asked["code_verifier"]


def test_who_came_in_once_is_known_by_the_providers_id(client: Client, provider: Provider) -> None:
    user = make_user("ravi")
    sign_in(client)
    provider.claims["email"] = "ravi.new@example.org"
    other = Client()
    sign_in(other)
    assert other.session["_auth_user_id"] == str(user.pk)


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "stranger@example.org"},
        {"email_verified": False},
        {"email": ""},
    ],
)
def test_nobody_else_comes_in_and_nobody_is_made(client: Client, provider: Provider, claims: dict) -> None:
    make_user("ravi")
    provider.claims |= claims
    sign_in(client)
    assert not is_signed_in(client)
    assert User.objects.count() == 1


def test_who_is_not_active_does_not_come_in(client: Client, provider: Provider) -> None:
    make_user("ravi", is_active=False)
    sign_in(client)
    assert not is_signed_in(client)


def test_an_answer_that_nobody_asked_for_is_refused(client: Client, provider: Provider) -> None:
    make_user("ravi")
    client.get("/account/oidc/sso/login/callback/", {"code": "c", "state": "made-up"})
    assert not is_signed_in(client)
    assert not provider.asked
