import re
import socket
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from notifications import channels
from notifications.channels import email as email_channel
from tests.notifications.fakes import FakeChannel
from tests.notifications.phones import Sink, TwilioSink, VonageSink


class Mailbox:
    """A real mail server's handler. What it says to a recipient can be set by `refuse`."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.refuse: dict[str, str] = {}
        self.connections = 0
        self.hang_up_next = False

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        return f"250 OK queued as {len(self.mails)}"

    async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
        return "421 closing" if self.hang_up_next else "250 OK"


@pytest.fixture
def mailbox(settings) -> Iterator[Mailbox]:
    handler = Mailbox()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    use_mail_server(settings, controller.port)
    yield handler
    email_channel._line().hang_up()
    controller.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def use_mail_server(settings, port: int) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_PORT = port
    settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_TIMEOUT = 2


@pytest.fixture
def fake(monkeypatch) -> FakeChannel:
    """Instead of the e-mail channel."""
    channel = FakeChannel("email")
    monkeypatch.setitem(channels.CHANNELS, "email", channel)
    return channel


@pytest.fixture
def fake_webhook(monkeypatch) -> FakeChannel:
    channel = FakeChannel("webhook")
    monkeypatch.setitem(channels.CHANNELS, "webhook", channel)
    return channel


@pytest.fixture
def phones(settings, httpserver) -> dict[str, Sink]:
    """Two providers of SMS and two of calls, by `sms1`, `sms2`, `voice1`, `voice2`: Twilio's API first, then Vonage's."""
    sinks: dict[str, Sink] = {}
    for kind in ("sms", "voice"):
        for number, family in enumerate((TwilioSink, VonageSink), start=1):
            name = f"{kind}{number}"
            sink = family(kind=kind, name=name, base=httpserver.url_for(f"/{name}"))
            sinks[name] = sink
            httpserver.expect_request(re.compile(f"^/{name}/.*")).respond_with_handler(
                _strip(sink, f"/{name}")
            )
    settings.MUSTER_SMS_PROVIDERS = [sinks["sms1"].account(), sinks["sms2"].account()]
    settings.MUSTER_VOICE_PROVIDERS = [sinks["voice1"].account(), sinks["voice2"].account()]
    settings.MUSTER_PHONE_CALLBACKS = True
    settings.MUSTER_BASE_URL = "https://muster.example"
    settings.ALLOWED_HOSTS = ["*"]
    return sinks


def _strip(sink: Sink, prefix: str):
    def handle(request):
        request.path = request.path.removeprefix(prefix)
        return sink.handle(request)

    return handle
