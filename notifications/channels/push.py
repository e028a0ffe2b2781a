"""Web push: encrypted for one browser (RFC 8291), signed by this installation, handed to that browser's push service."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Any
from urllib.parse import urlsplit

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.core import signing

from notifications import rules
from notifications.channels.base import Message, PermanentError, TransientError, one_line
from notifications.channels.webhook import call
from notifications.push import rules as push
from notifications.push import vapid

CONFIRM_SALT = "muster.push.confirm"
GONE = "The browser takes no push messages of Muster any more"


def key() -> ec.EllipticCurvePrivateKey:
    return settings.MUSTER_VAPID_PRIVATE_KEY or vapid.derived_key(settings.SECRET_KEY)


class PushChannel:
    kind = "push"

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        try:
            to = push.read_subscription(message.address)
            signed = vapid.authorization(
                key=key(), endpoint=to.endpoint, now=datetime.now(UTC),
                subject=vapid.subject(
                    base_url=settings.MUSTER_BASE_URL, mail=parseaddr(settings.DEFAULT_FROM_EMAIL)[1]
                ),
            )  # fmt: skip
        except ValueError:
            raise PermanentError(
                "This subscription cannot be used. Press Use this browser there once more."
            ) from None
        body = http_ece.encrypt(
            payload(message, to), salt=os.urandom(16), private_key=ec.generate_private_key(ec.SECP256R1()),
            dh=to.p256dh, auth_secret=to.auth, version="aes128gcm",
        )  # fmt: skip
        headers = {
            **signed,
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(int(push.KEPT.get(message.kind, push.KEPT_OTHERWISE).total_seconds())),
            "Urgency": "normal" if message.urgency == "low" and message.kind == "page" else "high",
        }
        if message.topic:
            headers["Topic"] = push.topic(message.topic)
        status, answer = call("POST", to.endpoint, body=body, headers=headers, last_look=last_look)
        said = f"{status} {one_line(answer.decode('utf-8', 'replace'))[:160]}".strip()
        if 200 <= status < 300:
            return said
        if status in (404, 410):
            raise PermanentError(f"{GONE}: {said}")
        if status in (408, 429) or status >= 500:
            raise TransientError(f"The push service answered {said}")
        raise PermanentError(f"The push service answered {said}")


def payload(message: Message, to: push.Subscription) -> bytes:
    """What the service worker shows: `static/js/sw.js` reads these names."""
    is_page = message.kind == "page"
    top, rest = rules.heading(title=message.title, body=message.body)
    path = _path(message.link)
    said: dict[str, Any] = {
        "id": message.idempotency_key,
        "kind": message.kind,
        "title": rules.subject(top),
        "url": path,
        "tag": push.topic(message.topic or message.idempotency_key),
        "at": int(message.created_at.timestamp() * 1000),
    }
    if is_page:
        # Who is asked to take a role answers that question, on the page.
        said["ack"] = "" if ":roles:" in message.topic else path
        said["urgent"] = message.urgency != "low"
        said["icon"] = _icon(message.context)
    if message.kind == "verification":
        code = str(message.context.get("code", ""))
        said["code"] = code
        said["confirm"] = signing.dumps([push.mark(to.endpoint), code], salt=CONFIRM_SALT)
    left = push.MOST_BYTES - len(_json({**said, "body": ""}))
    said["body"] = _cut(rest.strip(), left)
    return _json(said)


def _icon(context: dict[str, Any]) -> str:
    if context.get("drill"):
        return "drill"
    severities = [str(page.get("severity", "")) for page in context.get("pages", [context])]
    return min((each.lower() for each in severities if each), default="")


def _path(link: str) -> str:
    """Without its host: the worker belongs to the address under which its person opens Muster."""
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _cut(text: str, most: int) -> str:
    """Whole letters that take at most so many bytes as JSON."""
    if len(_json(text)) - 2 <= most:
        return text
    while text and len(_json(text)) - 2 > most - 3:
        text = text[: max(0, min(len(text) - 1, int(len(text) * 0.9)))]
    return f"{text.rstrip()}…"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
