"""E-mail through the server of EMAIL_URL. One open connection for each thread that sends, since opening costs most."""

import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend
from django.template.loader import render_to_string

from notifications import rules
from notifications.channels.base import Message, NoLongerWanted, PermanentError, TransientError, one_line
from notifications.mail import token as reply_token

SECONDS_IN_ALL = 35.0  # below the lease, so that a slow server cannot make two workers send
MESSAGES_PER_CONNECTION = 80  # many servers end a connection after a hundred
_TURNED_AWAY = (smtplib.SMTPAuthenticationError, smtplib.SMTPConnectError, smtplib.SMTPHeloError)
TRUST_IDLE_SECONDS = 0.5  # asked for a sign of life after that


class _Deadline:
    """Ends a conversation in which each answer comes in time but the whole does not."""

    last_reply: tuple[int, bytes] = (0, b"")
    deadline: float | None = None

    def getreply(self) -> tuple[int, bytes]:
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                self.close()  # type: ignore[attr-defined]
                raise TimeoutError("the server takes too long")
            if self.sock is not None:  # type: ignore[attr-defined]
                self.sock.settimeout(min(left, settings.EMAIL_TIMEOUT))  # type: ignore[attr-defined]
        self.last_reply = super().getreply()  # type: ignore[misc]
        return self.last_reply


class _Smtp(_Deadline, smtplib.SMTP):
    pass


class _SmtpSsl(_Deadline, smtplib.SMTP_SSL):
    pass


class _SmtpBackend(SmtpBackend):
    @property
    def connection_class(self) -> type:
        return _SmtpSsl if self.use_ssl else _Smtp


class _Line:
    """A thread's connection and how much it has been used."""

    def __init__(self) -> None:
        self.backend: BaseEmailBackend | None = None
        self.sent = 0
        self.used_at = 0.0
        self.settings: tuple = ()

    def ready(self, deadline: float) -> BaseEmailBackend:
        """An open connection that answered a moment ago."""
        wanted = (
            settings.EMAIL_BACKEND,
            getattr(settings, "EMAIL_HOST", ""),
            getattr(settings, "EMAIL_PORT", 0),
        )
        if self.backend is not None and (self.settings != wanted or self.sent >= MESSAGES_PER_CONNECTION):
            self.hang_up()
        if self.backend is not None and time.monotonic() - self.used_at > TRUST_IDLE_SECONDS:
            connection = getattr(self.backend, "connection", None)
            try:
                if connection is not None:
                    connection.deadline = min(deadline, time.monotonic() + 3)
                    if connection.noop()[0] != 250:
                        self.hang_up()
            except (OSError, smtplib.SMTPException):
                self.hang_up()
        if self.backend is None:
            is_smtp = settings.EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend"
            self.backend = _SmtpBackend() if is_smtp else get_connection()
            self.settings, self.sent = wanted, 0
            self.backend.open()
        connection = getattr(self.backend, "connection", None)
        if isinstance(connection, _Deadline):
            connection.deadline = deadline
        return self.backend

    def hang_up(self) -> None:
        backend, self.backend = self.backend, None
        connection = getattr(backend, "connection", None)
        if isinstance(connection, _Deadline):
            # No QUIT: it would wait for the answer of a server that may be gone.
            connection.close()
            backend.connection = None  # type: ignore[union-attr]


_lines = threading.local()


def _line() -> _Line:
    if not hasattr(_lines, "line"):
        _lines.line = _Line()
    return _lines.line


class EmailChannel:
    kind = "email"

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        mail = compose(message)
        line = _line()
        try:
            backend = line.ready(time.monotonic() + SECONDS_IN_ALL)
            if not last_look():
                raise NoLongerWanted
            backend.send_messages([mail])
            line.sent += 1
            line.used_at = time.monotonic()
            connection = getattr(backend, "connection", None)
            return _said(*connection.last_reply) if isinstance(connection, _Deadline) else ""
        except NoLongerWanted:
            raise
        except smtplib.SMTPRecipientsRefused as error:
            line.hang_up()
            raise _refusal(*next(iter(error.recipients.values()), (550, b"recipient refused"))) from None
        except _TURNED_AWAY as error:
            # Not this address's fault, and mended by the operator.
            line.hang_up()
            raise TransientError(
                f"The mail server does not let Muster in: {_said(error.smtp_code, error.smtp_error)}"
            ) from None
        except smtplib.SMTPResponseException as error:
            line.hang_up()
            raise _refusal(error.smtp_code, error.smtp_error) from None
        except (UnicodeError, ValueError) as error:
            line.hang_up()
            raise PermanentError(f"The mail cannot be written: {error}") from None
        except ssl.SSLError as error:
            line.hang_up()
            raise TransientError(
                f"No secure connection to the mail server: {error.reason or error}"
            ) from None
        except (OSError, smtplib.SMTPException, socket.gaierror) as error:
            line.hang_up()
            raise TransientError(f"The mail server does not answer: {_line_of(error)}") from None
        except BaseException:
            line.hang_up()
            raise


def _refusal(code: int, text: bytes | str) -> TransientError | PermanentError:
    said = f"The mail server said: {_said(code, text)}"
    return PermanentError(said) if code >= 500 else TransientError(said)


def _said(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return f"{code} {one_line(words)}"[:300]


def _line_of(error: Exception) -> str:
    return one_line(str(error))[:200] or type(error).__name__


def message_id(key: str) -> str:
    """The same for every attempt: a mail client shows a message that arrives twice once."""
    return f"<{key}@{_domain()}>"


def _domain() -> str:
    return urlsplit(settings.MUSTER_BASE_URL).hostname or "muster.invalid"


def compose(message: Message) -> EmailMultiAlternatives:
    """Plain text first; the HTML says the same and needs no picture, script or style sheet."""
    headers: dict[str, Any] = {
        "Message-ID": message_id(message.idempotency_key),
        "Date": format_datetime(message.created_at),
        "Auto-Submitted": "auto-generated",
        "X-Muster-Delivery": message.idempotency_key,
        "X-Muster-Urgency": message.urgency,
    }
    if message.topic:
        # Everything about one incident is one thread in the reader's list.
        thread = "".join(letter if letter.isalnum() else "-" for letter in message.topic)
        headers["References"] = f"<topic-{thread}@{_domain()}>"
        headers["X-Muster-Topic"] = rules.subject(message.topic)
    if settings.MUSTER_REPLY_DOMAIN and message.kind == "page":
        token = reply_token(message.idempotency_key, secret=settings.SECRET_KEY)
        headers["Reply-To"] = f"page+{token}@{settings.MUSTER_REPLY_DOMAIN}"
    if message.unsubscribe:
        headers["List-Unsubscribe"] = f"<{message.unsubscribe}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    if message.urgency == "high" and message.kind == "page":
        headers |= {"X-Priority": "1", "Importance": "high"}
    mail = EmailMultiAlternatives(
        subject=rules.subject(message.title),
        body=rules.plain_text(title=message.title, body=message.body, link=message.link, why=message.why),
        to=[message.address],
        headers=headers,
    )
    top, rest = rules.heading(title=message.title, body=message.body)
    html = render_to_string(
        "notifications/email.html",
        {
            "message": message,
            "top": top,
            "facts": [_fact(line) for line in rest.splitlines() if line.strip()],
        },
    )
    mail.attach_alternative(html, "text/html")
    return mail


def _fact(line: str) -> tuple[str, str]:
    """`Why you: secondary for Checkout` as label and text; a line without a label as text only."""
    label, colon, text = line.partition(": ")
    return (label, text) if colon and len(label) <= 24 else ("", line)
