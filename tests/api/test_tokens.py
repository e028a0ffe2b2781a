from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts import authentication
from accounts.models import ApiToken, Role, Scope, User
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user
from tests.factories.catalog import make_service

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _forget_failures() -> Any:
    cache.clear()
    yield
    cache.clear()


@pytest.mark.parametrize("word", ["Bearer", "bearer", "Token"])
def test_a_token_says_who_one_is(responder: User, word: str) -> None:
    response = Client().get("/api/v1/me/", headers={"Authorization": f"{word} {make_token(responder)}"})
    assert response.status_code == 200
    assert response.json()["username"] == "ravi"
    assert response.json()["scope"] == "write"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "Authentication credentials were not provided."),
        ("Bearer", "This token is not known. Send `Authorization: Bearer muster_…`."),
        ("Bearer a b", "This token is not known. Send `Authorization: Bearer muster_…`."),
        ("Bearer muster_unknown", "This token is not known. Send `Authorization: Bearer muster_…`."),
        ("Bearer \xe9\xe9", "This token is not known. Send `Authorization: Bearer muster_…`."),
        ("Basic cmF2aTpwYXNz", "Authentication credentials were not provided."),
    ],
)
def test_without_a_good_token_the_answer_is_401(header: str | None, message: str) -> None:
    response = Client().get("/api/v1/me/", headers={"Authorization": header} if header else {})
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="Muster"'
    assert response.json() == {"error": {"code": "not_authenticated", "message": message}}


def test_a_revoked_token_an_expired_one_and_one_of_somebody_gone_are_refused(responder: User) -> None:
    now = timezone.now()
    gone = make_user(is_active=False)
    tokens = {
        "This token was revoked.": make_token(responder, revoked_at=now),
        "This token has expired.": make_token(responder, expires_at=now - timedelta(seconds=1)),
        "The person of this token is not active.": make_token(gone),
    }
    for message, token in tokens.items():
        response = Api(token).get("me/")
        assert response.status_code == 401
        assert response.json()["error"]["message"] == message


def test_a_wrong_token_is_refused_even_beside_a_good_session(client: Client, responder: User) -> None:
    client.force_login(responder)
    assert client.get("/api/v1/me/").status_code == 200
    assert client.get("/api/v1/me/", headers={"Authorization": "Bearer muster_x"}).status_code == 401


def test_a_session_writes_only_with_its_csrf_token(responder: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(responder)
    body = {"service": make_service("Checkout").slug, "title": "It is down", "severity": 1}
    refused = client.post("/api/v1/incidents/", body, content_type="application/json")
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "not_allowed"
    page = client.get("/api/v1/docs/").content.decode()
    csrf = page.split('data-csrf="')[1].split('"')[0]
    done = client.post(
        "/api/v1/incidents/", body, content_type="application/json", headers={"X-CSRFToken": csrf}
    )
    assert done.status_code == 201


def test_a_token_that_may_read_does_not_write(api_of: Callable[..., Api], responder: User) -> None:
    api = api_of(responder, scope=Scope.READ)
    assert api.get("incidents/").status_code == 200
    response = api.post("incidents/", {"service": make_service("x").slug, "title": "x", "severity": 1})
    assert response.status_code == 403
    assert response.json()["error"]["message"] == "This token may only read. Use one with the scope write."


def test_use_is_noted_at_most_once_a_minute(responder: User) -> None:
    api = Api(make_token(responder))
    token = ApiToken.objects.get()
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        api.get("me/")
    with time_machine.travel("2026-03-01T12:00:59Z", tick=False):
        api.get("me/")
    token.refresh_from_db()
    assert token.last_used_at.isoformat() == "2026-03-01T12:00:00+00:00"
    with time_machine.travel("2026-03-01T12:01:01Z", tick=False):
        api.get("me/")
    token.refresh_from_db()
    assert token.last_used_at.isoformat() == "2026-03-01T12:01:01+00:00"


def test_too_many_wrong_tokens_are_429_while_a_good_one_goes_on(api: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr(authentication, "FAILURES_ALLOWED", 3)
    wrong = Api("muster_wrong")
    assert [wrong.get("me/").status_code for _ in range(4)] == [401, 401, 401, 429]
    response = wrong.get("me/")
    assert response.json()["error"]["code"] == "too_many_requests"
    assert int(response["Retry-After"]) > 0
    assert api.get("me/").status_code == 200


def test_one_makes_lists_and_revokes_ones_own_tokens(api: Api, responder: User) -> None:
    made = api.post("tokens/", {"name": "deploys", "scope": "read"})
    assert made.status_code == 201
    secret = made.json()["token"]
    assert Api(secret).get("me/").json()["scope"] == "read"
    listed = api.get("tokens/").json()["results"]
    assert [token["name"] for token in listed] == ["deploys", "test"]
    assert secret not in str(listed) and "digest" not in str(listed)
    assert api.delete(f"tokens/{made.json()['id']}/").status_code == 204
    assert Api(secret).get("me/").status_code == 401


def test_nobody_revokes_the_token_of_another(api: Api, manager: User) -> None:
    make_token(manager)
    token = manager.api_tokens.get()
    assert api.delete(f"tokens/{token.pk}/").status_code == 404
    token.refresh_from_db()
    assert token.revoked_at is None
    assert manager.api_tokens.count() == 1
    assert str(token.pk) not in [str(each["id"]) for each in api.get("tokens/").json()["results"]]


def test_a_token_that_ends_makes_none_that_does_not(api_of: Callable[..., Api], responder: User) -> None:
    api = api_of(responder, expires_at=timezone.now() + timedelta(days=1))
    response = api.post("tokens/", {"name": "for ever"})
    assert response.status_code == 400
    assert "expires_at" in response.json()["error"]["fields"]
    assert ApiToken.objects.count() == 1


def test_a_viewer_may_make_a_token_which_is_a_viewer_too(api_of: Callable[..., Api], viewer: User) -> None:
    secret = api_of(viewer).post("tokens/", {"name": "board"}).json()["token"]
    body = {"service": make_service("x").slug, "title": "x", "severity": 1}
    response = Api(secret).post("incidents/", body)
    assert response.status_code == 403
    assert response.json()["error"]["message"] == (
        "Responders, managers and admins may do this. You are a viewer."
    )


def test_people_are_told_without_their_addresses(api: Api, responder: User) -> None:
    make_user("gone", is_active=False, role=Role.ADMIN)
    listed = api.get("users/").json()["results"]
    assert [person["username"] for person in listed] == ["ravi"]
    assert responder.email not in str(listed)
    assert api.get("users/RAVI/").json()["id"] == responder.pk
    assert api.get(f"users/{responder.pk}/").json()["name"] == "Ravi Menon"
    assert api.get("users/gone/").status_code == 404
