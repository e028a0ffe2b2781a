"""Signing in by django-allauth, as this project configures it."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts.models import User
from tests.factories.accounts import PASSWORD, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _forget_failures() -> Any:
    cache.clear()
    yield
    cache.clear()


def sign_in(client: Client, login: str, password: str = PASSWORD, **more: str) -> Any:
    return client.post("/account/login/", {"login": login, "password": password, **more})


def is_signed_in(client: Client) -> bool:
    return client.get("/profile/").status_code == 200


@pytest.mark.parametrize("login", ["ravi", "Ravi", "ravi@example.org", "RAVI@example.org"])
def test_user_name_or_address_and_password_sign_in(client: Client, login: str) -> None:
    make_user("ravi", password=PASSWORD)
    response = sign_in(client, login, next="/people/")
    assert response["Location"] == "/people/"
    assert is_signed_in(client)


def test_a_wrong_password_is_refused_in_the_same_words_as_an_unknown_person(client: Client) -> None:
    make_user("ravi", password=PASSWORD)
    wrong, unknown = sign_in(client, "ravi", "wrong"), sign_in(client, "nobody", "wrong")
    assert wrong.status_code == unknown.status_code == 200
    said = [list(response.context["form"].non_field_errors()) for response in (wrong, unknown)]
    assert said == [["The username and/or password you specified are not correct."]] * 2
    assert not is_signed_in(client)


def test_who_is_not_active_does_not_come_in(client: Client) -> None:
    make_user("ravi", password=PASSWORD, is_active=False)
    sign_in(client, "ravi")
    assert not is_signed_in(client)


def test_after_five_wrong_passwords_even_the_right_one_waits(client: Client) -> None:
    make_user("ravi", password=PASSWORD)
    for _ in range(5):
        sign_in(client, "ravi", "wrong")
    sign_in(client, "ravi")
    assert not is_signed_in(client)


def test_strangers_cannot_make_an_account(client: Client) -> None:
    form = {"username": "mallory", "email": "m@evil.example", "password1": PASSWORD, "password2": PASSWORD}
    assert client.get("/account/signup/").status_code == 200
    client.post("/account/signup/", form)
    assert not User.objects.exists()


def test_signing_out_needs_a_post(client: Client) -> None:
    make_user("ravi", password=PASSWORD)
    sign_in(client, "ravi")
    assert client.get("/account/logout/").status_code == 200
    assert is_signed_in(client)
    client.post("/account/logout/")
    assert not is_signed_in(client)


def test_a_second_factor_is_asked_for_and_a_wrong_one_is_refused(client: Client) -> None:
    user = make_user("ravi", password=PASSWORD)
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    response = sign_in(client, "ravi")
    assert response["Location"].startswith("/account/2fa/authenticate/")
    assert not is_signed_in(client)
    counter = next(iter(yield_hotp_counters_from_time()))
    right = format_hotp_value(hotp_value(secret, counter))
    wrong = f"{(int(right) + 1) % 1_000_000:06d}"
    client.post("/account/2fa/authenticate/", {"code": wrong})
    assert not is_signed_in(client)
    client.post("/account/2fa/authenticate/", {"code": right})
    assert is_signed_in(client)


def test_without_a_provider_nobody_comes_in_by_single_sign_on(client: Client) -> None:
    assert client.get("/account/oidc/sso/login/").status_code == 404


def test_signing_in_clears_away_sessions_that_have_ended(client: Client) -> None:
    make_user("ravi", password=PASSWORD)
    now = timezone.now()
    Session.objects.create(session_key="ended", session_data="", expire_date=now - timedelta(seconds=1))
    Session.objects.create(session_key="running", session_data="", expire_date=now + timedelta(days=1))
    sign_in(client, "ravi")
    assert set(Session.objects.values_list("session_key", flat=True)) == {
        "running",
        client.session.session_key,
    }
