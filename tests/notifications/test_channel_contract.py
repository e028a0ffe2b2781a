"""One contract for every channel, the fake of the tests included, so that the tests that use the fake mean something."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from werkzeug import Response

from notifications.channels.base import Channel, Message, NoLongerWanted, PermanentError, TransientError
from notifications.channels.chat import ChatChannel
from notifications.channels.email import EmailChannel
from notifications.channels.phone import SmsChannel, VoiceChannel
from notifications.channels.push import PushChannel
from notifications.channels.webhook import WebhookChannel
from tests.notifications.browsers import PushService
from tests.notifications.conftest import use_mail_server
from tests.notifications.fakes import FakeChannel
from tests.notifications.phones import GOOD, LATER, NEVER

pytestmark = pytest.mark.django_db  # the breakers of providers are rows

KEY = "6d7f5a7e-0c64-4a3a-8a55-1f2a2c1f0b11"


@dataclass
class Bench:
    """A channel, an address for each behaviour of the other side, and how to see what arrived."""

    channel: Channel
    good: str
    later: str
    never: str
    keys_received: Callable[[], list[str]]


def make_message(address: str, **fields) -> Message:
    fields = {
        "idempotency_key": KEY, "address": address, "title": "SEV1 Checkout fails", "body": "How bad: all of it",
        "link": "https://muster.example/p/x/", "created_at": datetime(2026, 11, 24, 2, 41, tzinfo=UTC),
        "recipient": "Ravi Menon", "topic": "incident:42", "secret": "s3cret", **fields,
    }  # fmt: skip
    return Message(**fields)


def _email(request) -> Bench:
    mailbox = request.getfixturevalue("mailbox")
    mailbox.refuse = {"later@example.org": "451 try again later", "never@example.org": "550 no such user"}

    def keys() -> list[str]:
        return [
            line.split(b": ")[1].decode()
            for mail in mailbox.mails
            for line in mail.content.splitlines()
            if line.startswith(b"X-Muster-Delivery: ")
        ]

    return Bench(EmailChannel(), "good@example.org", "later@example.org", "never@example.org", keys)


def _webhook(request) -> Bench:
    request.getfixturevalue("settings").MUSTER_ALLOW_PRIVATE_WEBHOOKS = True
    server = request.getfixturevalue("httpserver")
    received: list[str] = []

    def answer(status: int) -> Callable:
        def handle(asked) -> Response:
            if status < 300:
                received.append(asked.headers["X-Webhook-Id"])
            return Response("said", status=status)

        return handle

    for path, status in (("/good", 204), ("/later", 503), ("/never", 410)):
        server.expect_request(path, method="POST").respond_with_handler(answer(status))
    return Bench(
        WebhookChannel(),
        server.url_for("/good"),
        server.url_for("/later"),
        server.url_for("/never"),
        lambda: received,
    )


def _fake(request) -> Bench:
    channel = FakeChannel()
    channel.by_address = {"later": "transient", "never": "permanent"}
    return Bench(
        channel, "good", "later", "never", lambda: [message.idempotency_key for message in channel.accepted]
    )


def _phone(kind: str, number: int) -> Callable:
    def make(request) -> Bench:
        phones = request.getfixturevalue("phones")
        sink = phones[f"{kind}{number}"]
        request.getfixturevalue("settings").__setattr__(f"MUSTER_{kind.upper()}_PROVIDERS", [sink.account()])

        def keys() -> list[str]:
            return [KEY if KEY in key else key for key in sink.keys]

        return Bench({"sms": SmsChannel(), "voice": VoiceChannel()}[kind], GOOD, LATER, NEVER, keys)

    return make


def _ntfy(request) -> Bench:
    request.getfixturevalue("settings").MUSTER_ALLOW_PRIVATE_WEBHOOKS = True
    server = request.getfixturevalue("httpserver")
    received: list[str] = []

    def handle(asked) -> Response:
        topic = asked.get_json()["topic"]
        status = {"good": 200, "later": 503, "never": 403}[topic]
        if status == 200:
            received.append(KEY)  # it keeps none of ours
        return Response("{}", status=status, content_type="application/json")

    server.expect_request("/", method="POST").respond_with_handler(handle)
    base = f"ntfy://localhost:{server.port}"
    return Bench(ChatChannel("ntfy"), f"{base}/good", f"{base}/later", f"{base}/never", lambda: received)


def _push(request) -> Bench:
    request.getfixturevalue("settings").MUSTER_ALLOW_PRIVATE_WEBHOOKS = True
    service = PushService(request.getfixturevalue("httpserver"))

    def keys() -> list[str]:
        return [said["id"] for said in service.opened()]

    return Bench(
        PushChannel(), service.address("good"), service.address("later"), service.address("never"), keys
    )


BENCHES = {
    "push": _push,
    "email": _email, "webhook": _webhook, "fake": _fake, "ntfy": _ntfy, "sms-twilio": _phone("sms", 1),
    "sms-vonage": _phone("sms", 2), "voice-twilio": _phone("voice", 1), "voice-vonage": _phone("voice", 2),
}  # fmt: skip


@pytest.fixture(params=BENCHES.values(), ids=BENCHES.keys())
def bench(request) -> Bench:
    return request.param(request)


def yes() -> bool:
    return True


def test_an_accepted_message_arrives_once_with_its_idempotency_key(bench):
    said = bench.channel.send(make_message(bench.good), last_look=yes)

    assert bench.keys_received() == [KEY]
    assert isinstance(said, str)


def test_a_temporary_refusal_is_transient_and_nothing_arrives(bench):
    with pytest.raises(TransientError):
        bench.channel.send(make_message(bench.later), last_look=yes)

    assert bench.keys_received() == []


def test_a_final_refusal_is_permanent_and_nothing_arrives(bench):
    with pytest.raises(PermanentError):
        bench.channel.send(make_message(bench.never), last_look=yes)

    assert bench.keys_received() == []


def test_a_channel_works_again_after_each_kind_of_refusal(bench):
    for address in (bench.later, bench.never):
        with pytest.raises((TransientError, PermanentError)):
            bench.channel.send(make_message(address), last_look=yes)
    bench.channel.send(make_message(bench.good), last_look=yes)

    assert bench.keys_received() == [KEY]


def test_the_last_look_is_taken_once_before_anything_leaves(bench):
    looks = []

    def no() -> bool:
        looks.append(bench.keys_received())
        return False

    with pytest.raises(NoLongerWanted):
        bench.channel.send(make_message(bench.good), last_look=no)

    assert looks == [[]]
    assert bench.keys_received() == []


def test_text_in_any_script_and_control_characters_do_not_break_a_channel(bench):
    bench.channel.send(
        make_message(bench.good, title="Überfällig\r\nBcc: x@example.org 請求", body="línea\n\x07 ünï"),
        last_look=yes,
    )

    assert bench.keys_received() == [KEY]


@pytest.mark.parametrize("kind", ["email", "webhook"])
def test_a_server_that_is_not_there_is_transient(kind, settings):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = True
    with socket.socket() as held:  # bound, but nobody listens
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        use_mail_server(settings, port)
        channel, address = {
            "email": (EmailChannel(), "good@example.org"),
            "webhook": (WebhookChannel(), f"http://127.0.0.1:{port}/"),
        }[kind]

        with pytest.raises(TransientError):
            channel.send(make_message(address), last_look=yes)


@pytest.mark.parametrize("kind", ["email", "webhook"])
def test_a_server_that_never_answers_is_transient_and_ends_in_time(kind, settings, monkeypatch):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = True
    monkeypatch.setattr("notifications.channels.webhook.ANSWER_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        use_mail_server(settings, port)
        settings.EMAIL_TIMEOUT = 0.2
        channel, address = {
            "email": (EmailChannel(), "good@example.org"),
            "webhook": (WebhookChannel(), f"http://127.0.0.1:{port}/"),
        }[kind]

        with pytest.raises(TransientError):
            channel.send(make_message(address), last_look=yes)
