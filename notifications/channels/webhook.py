"""A signed POST to an address that a person gave. The address is not trusted: it must not reach into this network."""

import functools
import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder

from notifications import rules
from notifications.channels.base import Message, NoLongerWanted, PermanentError, TransientError, one_line

SIGNATURE_HEADER = "X-Muster-Signature"
ID_HEADER = "X-Webhook-Id"
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
ANSWER_BYTES = 4096
SECONDS_IN_ALL = 15.0


def sign(body: bytes, secrets: list[str]) -> str:
    """`v1=<hex>` for each secret, separated by commas, so that a secret can be changed without a gap."""
    return ",".join(f"v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}" for secret in secrets)


def validate_url(url: str) -> None:
    """What can be said without asking the name server. Raises Django's ValidationError with a sentence that helps."""
    parts = urlsplit(url)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValidationError("The port is not a number. Example: https://example.org/hook") from None
    private = settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise ValidationError("A webhook starts with https://. Example: https://example.org/hook")
    if not host:
        raise ValidationError("The address names no host. Example: https://example.org/hook")
    if parts.username or parts.password:
        raise ValidationError(
            "Leave user and password out of the address. Muster signs each message instead."
        )
    if any(letter.isspace() or ord(letter) < 32 for letter in url) or parts.fragment:
        raise ValidationError("The address holds a blank or a #. Example: https://example.org/hook")
    if private:
        return
    try:
        public = rules.is_public(host)
    except ValueError:
        public = host not in {"localhost"} and not host.endswith((".localhost", ".internal", ".local"))
    if not public:
        raise ValidationError("This address is inside a private network. Muster calls public addresses only.")


class WebhookChannel:
    kind = "webhook"

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        try:
            validate_url(message.address)
            url = httpx.URL(message.address)
        except ValidationError as error:
            raise PermanentError(error.messages[0]) from None
        except httpx.InvalidURL as error:
            raise PermanentError(f"Not an address: {error}") from None
        host = url.raw_host.decode()
        port = url.port or (443 if url.scheme == "https" else 80)
        line = _Line(target=_checked_address(host, port), last_look=last_look)
        body = payload(message)
        headers = {
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": "Muster",
            ID_HEADER: message.idempotency_key,
        }
        if message.secret:
            headers[SIGNATURE_HEADER] = sign(body, message.secret.split(","))
        try:
            status, said = _post(url, port, body, headers, line)
        except httpcore.TimeoutException:
            raise TransientError(f"No answer within {ANSWER_SECONDS:.0f} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
            raise TransientError(f"Cannot connect: {one_line(str(error))[:200]}") from None
        answer = f"{status} {said}".strip()[:200]
        if 200 <= status < 300:
            return answer
        if status in (408, 429) or status >= 500:
            raise TransientError(f"Answered {answer}")
        if 300 <= status < 400:
            raise PermanentError(f"Answered {status}. Muster follows no redirect: give the final address")
        raise PermanentError(f"Answered {answer}")


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def call(
    method: str, address: str, *, body: bytes = b"", headers: dict[str, str] | None = None,
    last_look: Callable[[], bool] = lambda: True,
) -> tuple[int, bytes]:  # fmt: skip
    """Status and beginning of the answer to one request that is no webhook, behind the same guard.

    Raises TransientError and PermanentError.
    """
    try:
        validate_url(address)
        url = httpx.URL(address)
    except ValidationError as error:
        raise PermanentError(error.messages[0]) from None
    except httpx.InvalidURL as error:
        raise PermanentError(f"Not an address: {error}") from None
    port = url.port or (443 if url.scheme == "https" else 80)
    line = _Line(target=_checked_address(url.raw_host.decode(), port), last_look=last_look)
    sent = {"Host": url.netloc.decode(), "User-Agent": "Muster", **(headers or {})}
    if method != "GET":
        sent["Content-Length"] = str(len(body))
    try:
        return _exchange(method, url, port, body, sent, line)
    except httpcore.TimeoutException:
        raise TransientError(f"No answer within {ANSWER_SECONDS:.0f} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as error:
        raise TransientError(f"Cannot connect: {one_line(str(error))[:200]}") from None


def _post(url: httpx.URL, port: int, body: bytes, headers: dict[str, str], line: "_Line") -> tuple[int, str]:
    """Status and the first words of the answer."""
    status, kept = _exchange("POST", url, port, body, headers, line)
    return status, one_line(kept.decode("utf-8", "replace"))[:160]


def _exchange(
    method: str, url: httpx.URL, port: int, body: bytes, headers: dict[str, str], line: "_Line"
) -> tuple[int, bytes]:
    """No redirect is followed and no proxy used: both would undo the check."""
    timeout = {"connect": CONNECT_SECONDS, "read": ANSWER_SECONDS, "write": ANSWER_SECONDS, "pool": 1.0}
    with (
        httpcore.ConnectionPool(ssl_context=_tls(), network_backend=line) as pool,
        pool.stream(
            method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path),
            headers=headers,
            content=body,
            extensions={"timeout": timeout},
        ) as response,
    ):
        kept = b""
        for chunk in response.iter_stream():
            kept += chunk
            if len(kept) >= ANSWER_BYTES:
                break
        return response.status, kept[:ANSWER_BYTES]


class _Line(httpcore.NetworkBackend):
    """Connects to the address that was checked, whatever the name says by now, and to no other."""

    def __init__(self, *, target: str, last_look: Callable[[], bool]) -> None:
        self.target = target
        self.last_look = last_look
        self.ends = time.monotonic() + SECONDS_IN_ALL

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:  # fmt: skip
        stream = httpcore.SyncBackend().connect_tcp(self.target, port, timeout=timeout)
        return _Stream(stream, self)

    def left(self, timeout: float | None) -> float:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the answer takes too long")
        return left if timeout is None else min(left, timeout)


class _Stream(httpcore.NetworkStream):
    """A connection that ends in time even if the other side sends a byte now and then, and asks before its first byte."""

    def __init__(self, stream: httpcore.NetworkStream, line: _Line) -> None:
        self.stream = stream
        self.line = line
        self.asked = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.line.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not self.asked:
            self.asked = True
            if not self.line.last_look():
                raise NoLongerWanted
        self.stream.write(buffer, self.line.left(timeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(
            self.stream.start_tls(ssl_context, server_hostname, self.line.left(timeout)), self.line
        )

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _checked_address(host: str, port: int) -> str:
    """An IP address of `host` to connect to. All of its addresses must be public, or a mixed answer would be a way in."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise TransientError(f"The name {host} is not found: {error}") from None
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    if not addresses:
        raise TransientError(f"The name {host} has no address")
    if not settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS:
        for address in addresses:
            if not rules.is_public(address):
                raise PermanentError(
                    f"{host} is {address}, inside a private network. Muster does not call it."
                )
    addresses.sort(key=lambda each: ipaddress.ip_address(each.split("%")[0]).version)
    return addresses[0]


def payload(message: Message) -> bytes:
    data = {
        "recipient": message.recipient,
        "urgency": message.urgency,
        "topic": message.topic,
        "title": message.title,
        "body": message.body,
        "short": rules.short_text(title=message.title, body=message.body, link=message.link),
        "link": message.link or None,
        **({"context": message.context} if message.context else {}),
    }
    event = {
        "id": message.idempotency_key,
        "event_type": f"notification.{message.kind}",
        "resource_type": "notification",
        "occurred_at": message.created_at,
        "data": data,
    }
    return json.dumps({"event": event}, cls=DjangoJSONEncoder, ensure_ascii=False).encode()
