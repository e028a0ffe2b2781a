"""The pages of django-allauth, in our frame and under our content policy."""

import re

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client

from accounts.models import User
from tests.factories.accounts import PASSWORD, make_user

pytestmark = pytest.mark.django_db

ADDRESSES = [
    "/account/email/",
    "/account/password/change/",
    "/account/logout/",
    "/account/2fa/",
    "/account/2fa/totp/activate/",
    "/account/2fa/recovery-codes/",
    "/account/3rdparty/",
]


def _signed_in(client: Client, *, with_factor: bool) -> None:
    user = make_user("ravi", password=PASSWORD)
    client.post("/account/login/", {"login": "ravi", "password": PASSWORD})
    if with_factor:
        TOTP.activate(user, generate_totp_secret())
        RecoveryCodes.activate(user)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("with_factor", [False, True])
def test_each_page_opens_and_breaks_no_policy(client: Client, address: str, with_factor: bool) -> None:
    _signed_in(client, with_factor=with_factor)
    response = client.get(address, follow=True)
    may_be_missing = not with_factor and "recovery-codes" in address
    assert response.status_code == 200 or (may_be_missing and response.status_code == 404)
    page = response.content.decode()
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
    assert 'id="main"' in page


def test_an_address_changes_when_the_link_sent_there_is_opened(client: Client, mailoutbox: list) -> None:
    _signed_in(client, with_factor=False)
    user = User.objects.get()
    client.post("/account/email/", {"email": "new@example.org", "action_add": ""})
    user.refresh_from_db()
    assert user.email == "ravi@example.org"
    [mail] = [mail for mail in mailoutbox if mail.to == ["new@example.org"]]
    page = client.get("/account/email/").content.decode()
    assert "It changes to new@example.org when you open the link that was sent there." in page
    assert not re.search(r"<style|\sstyle=", page)
    link = re.search(r"http://testserver(/account/confirm-email/\S+)", mail.body)[1]
    client.post(link)
    user.refresh_from_db()
    assert user.email == "new@example.org"


def test_the_address_of_another_cannot_be_taken(client: Client, mailoutbox: list) -> None:
    make_user("boss")
    _signed_in(client, with_factor=False)
    user = User.objects.get(username="ravi")
    client.post("/account/email/", {"email": "BOSS@example.org", "action_add": ""})
    for mail in mailoutbox:
        if link := re.search(r"http://testserver(/account/confirm-email/\S+)", mail.body):
            client.post(link[1])
    user.refresh_from_db()
    assert user.email == "ravi@example.org"
