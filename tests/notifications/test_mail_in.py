"""Replies to mails: the first word is carried out for whom the mail was, once, and nothing else is."""

import hashlib
import hmac
import json

import pytest
from django.test import Client
from django.utils import timezone

from notifications import hooks, mail
from notifications.channels.email import compose
from notifications.models import Delivery, Notification, Reply
from notifications.sending import message_of
from tests.factories.accounts import make_email, make_user
from tests.factories.notifications import make_notification, make_rule

SECRET = "a signing key of the mail service"
KEY = "6d7f5a7e-0c64-4a3a-8a55-1f2a2c1f0b11"


@pytest.mark.parametrize(
    ("text", "do"),
    [
        ("Ack", "acknowledge"), ("\n  ACK, on it\n> quoted", "acknowledge"), ("acknowledge.", "acknowledge"),
        ("escalate: need the DBA", "escalate"), ("Resolve\nOn Tue, Muster wrote:", "resolve"),
        ("A quick note", ""), ("4", ""), ("> ack", ""), ("On Tue, Muster wrote:\n> x\nack", ""), ("Acknowledged by?", ""),
        ("I am on vacation. ack", ""), ("", ""), ("\x00", ""),
    ],
)  # fmt: skip
def test_only_a_whole_first_word_above_what_is_quoted_counts(text, do):
    assert mail.wish(text) == do


@pytest.mark.parametrize(
    ("more", "automatic"),
    [
        ({}, False), ({"auto-submitted": "no"}, False), ({"auto-submitted": "auto-replied; x"}, True),
        ({"precedence": "bulk"}, True), ({"x-autoreply": "yes"}, True), ({"return-path": "<>"}, True), ({"list-id": "x"}, True),
    ],
)  # fmt: skip
def test_mails_of_machines_are_told_from_those_of_people(more, automatic):
    assert mail.is_automatic(mail.Mail(id="1", sender="a@b.c", to=(), text="ack", headers=more)) is automatic


def test_three_shapes_of_one_mail_read_the_same():
    headers = {"Message-ID": "<1@x>", "Auto-Submitted": "no"}
    shapes = [
        {"from": "Ravi <ravi@example.org>", "to": "page+1@r.example", "text": "ack", "headers": headers},
        {"From": "ravi@example.org", "To": "page+1@r.example", "TextBody": "ack\n> old", "StrippedTextReply": "ack",
         "Headers": [{"Name": name, "Value": value} for name, value in headers.items()]},
        {"sender": "ravi@example.org", "recipient": "page+1@r.example", "body-plain": "ack\n> old", "stripped-text": "ack",
         "message-headers": json.dumps([list(pair) for pair in headers.items()])},
    ]  # fmt: skip
    read = [mail.read(shape) for shape in shapes]

    assert {(each.id, each.sender, each.text, each.headers["auto-submitted"]) for each in read} == {
        ("<1@x>", "ravi@example.org", "ack", "no")
    }
    assert all("page+1@r.example" in each.to for each in read)
    assert mail.read({"from": "a@b.c"}) is None and mail.read({"headers": [1, [2], "x"]}) is None


def test_the_address_of_a_reply_is_ours_in_any_case_of_letters_and_no_other():
    token = mail.token(KEY, secret="s" * 40)
    address = f"page+{token}@reply.example"

    def read(address: str, secret: str = "s" * 40) -> str | None:
        return mail.read_token(address, domain="reply.example", secret=secret)

    assert len(address.split("@")[0]) <= 64
    assert read(address) == read(address.upper()) == KEY
    wrong = f"{'0' if token[-1] != '0' else '1'}"
    for other in (
        f"page+{token[:-1]}{wrong}@reply.example",
        f"page+{token}@other.example",
        "page+@reply.example",
        "",
    ):
        assert read(other) is None
    assert read(address, secret="t" * 40) is None


@pytest.fixture
def ravi(db, settings, monkeypatch):
    settings.MUSTER_REPLY_DOMAIN, settings.MUSTER_REPLY_SECRET = "reply.example", SECRET
    user = make_user("ravi")
    make_rule(make_email(user, verified_at=timezone.now()))
    user.did = []

    def do(name):
        def act(notification: Notification, by, now, via) -> str:
            user.did.append((name, notification.pk, by.pk, via))
            return f"{name} done"

        return act

    for name in ("acknowledge", "escalate", "resolve"):
        monkeypatch.setitem(hooks._actions, name, do(name))
    return user


def bring(fields: dict, *, secret: str = SECRET):
    body = json.dumps(fields).encode()
    signature = "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return Client().post(
        "/notifications/mail/in/", body, "application/json", headers={"X-Muster-Signature": signature}
    )


def test_a_reply_acts_for_whom_the_mail_was_once_and_says_so(ravi, settings):
    page = make_notification(ravi, now=timezone.now())
    sent = Delivery.objects.get()
    to = compose(message_of(sent)).extra_headers["Reply-To"]
    reply = {
        "from": "Ravi <RAVI@example.org>",
        "to": to,
        "text": "ack\n> x",
        "headers": {"message-id": "<1@x>"},
    }

    for wrong in (
        {"text": "thanks"}, {"from": "eve@example.org"}, {"to": to.replace("@reply", "@other")},
        {"headers": {"message-id": "<1@x>", "auto-submitted": "auto-replied"}},
    ):  # fmt: skip
        assert bring({**reply, **wrong}).content == b"Ignored.\n"
    assert bring(reply, secret="x" * 32).status_code == 403
    assert bring({**reply, "headers": {}}).status_code == 400
    assert ravi.did == [] and not Reply.objects.exists()

    assert [bring(reply).content for _ in range(2)] == [b"acknowledge done\n"] * 2
    assert ravi.did == [("acknowledge", page.pk, ravi.pk, "mail")]
    answer = Notification.objects.latest("pk")
    assert (answer.title, answer.context) == ("acknowledge done", {"kind": "answer"})
    assert "Reply-To" not in compose(message_of(answer.deliveries.get())).extra_headers

    ravi.contact_methods.update(verified_at=None)
    assert bring({**reply, "headers": {"message-id": "<2@x>"}}).content == b"Ignored.\n"
    settings.MUSTER_REPLY_DOMAIN = ""
    assert bring(reply).status_code == 404
    assert len(ravi.did) == 1


def test_mailguns_own_signature_counts_while_it_is_fresh(ravi):
    make_notification(ravi, now=timezone.now())
    to = compose(message_of(Delivery.objects.get())).extra_headers["Reply-To"]

    def form(age: int) -> int:
        stamp = str(int(timezone.now().timestamp()) - age)
        signature = hmac.new(SECRET.encode(), f"{stamp}nonce".encode(), hashlib.sha256).hexdigest()
        fields = {
            "sender": "ravi@example.org",
            "recipient": to,
            "stripped-text": "resolve",
            "Message-Id": "<3@x>",
        }
        signed = {"timestamp": stamp, "token": "nonce", "signature": signature}
        return Client().post("/notifications/mail/in/", {**fields, **signed}).status_code

    assert [form(3600), form(10)] == [403, 200]
    assert [do[0] for do in ravi.did] == ["resolve"]
