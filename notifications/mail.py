"""A reply to a mail, in the shapes in which mail services hand it over. Pure."""

import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import getaddresses, parseaddr
from typing import Any

from notifications.rules import ACKNOWLEDGE, ESCALATE, RESOLVE

WORDS = {
    "ack": ACKNOWLEDGE, "acknowledge": ACKNOWLEDGE, "escalate": ESCALATE, "esc": ESCALATE, "resolve": RESOLVE,
    "res": RESOLVE,
}  # fmt: skip
"""Whole words only, and the first of the reply: a sentence may begin with any letter."""

FRESH_FOR = timedelta(minutes=15)
_TAG = 20


def token(key: str, *, secret: str) -> str:
    """What stands in the Reply-To after the +: the message, and that we wrote it. Lower case, since mail servers may change
    that, and short enough for the 64 letters of a local part."""
    name = uuid.UUID(key).hex
    return f"{name}{_tag(name, secret)}"


def read_token(address: str, *, domain: str, secret: str) -> str | None:
    """The key of the message that this is a reply to. None: not one of our addresses."""
    found = re.fullmatch(r"page\+([0-9a-f]{32})([0-9a-f]{20})@(.+)", address.strip().lower())
    if (
        found is None
        or found[3] != domain.lower()
        or not hmac.compare_digest(found[2], _tag(found[1], secret))
    ):
        return None
    return str(uuid.UUID(found[1]))


def _tag(name: str, secret: str) -> str:
    return hmac.new(f"muster.reply:{secret}".encode(), name.encode(), hashlib.sha256).hexdigest()[:_TAG]


@dataclass(frozen=True, kw_only=True)
class Mail:
    id: str
    sender: str
    to: tuple[str, ...]
    text: str
    subject: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case


def read(fields: Mapping[str, Any]) -> Mail | None:
    """From plain JSON (from, to, subject, text, headers), or as Postmark and Mailgun write it. None: it has no sender, or
    no id by which a repeat is recognised."""
    given = {name.lower(): value for name, value in fields.items()}
    headers = _headers(given.get("headers") or given.get("message-headers"))
    text = _first(given, "strippedtextreply", "stripped-text", "text", "textbody", "body-plain")
    to = _first(given, "to", "recipient") + ", " + headers.get("to", "") + ", " + _first(given, "recipient")
    sender = parseaddr(_first(given, "from", "sender") or headers.get("from", ""))[1]
    mail_id = headers.get("message-id") or _first(given, "message-id", "message_id", "messageid")
    if not sender or not mail_id.strip():
        return None
    return Mail(
        id=mail_id.strip()[:200], sender=sender, to=tuple(address for _, address in getaddresses([to]) if address),
        text=text, subject=_first(given, "subject"), headers=headers,
    )  # fmt: skip


def _first(given: Mapping[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := given.get(name), str) and value.strip()), "")


def _headers(found: Any) -> dict[str, str]:
    """An object, a list of pairs, a list of Name and Value, or one of these as JSON."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return {}
    if isinstance(found, dict):
        pairs = list(found.items())
    else:
        pairs = []
        for each in found if isinstance(found, list) else []:
            if isinstance(each, dict):
                pairs.append((each.get("Name", each.get("name")), each.get("Value", each.get("value"))))
            elif isinstance(each, list) and len(each) == 2:
                pairs.append((each[0], each[1]))
    return {str(name).lower(): str(value) for name, value in pairs}


def is_automatic(mail: Mail) -> bool:
    """No person wrote it: an answer to an answer would go on for ever (RFC 3834)."""
    said = mail.headers
    return (
        said.get("auto-submitted", "no").split(";")[0].strip().lower() != "no"
        or said.get("precedence", "").strip().lower() in ("bulk", "junk", "list", "auto_reply")
        or any(name in said for name in ("x-autoreply", "x-autorespond", "x-failed-recipients", "list-id"))
        or said.get("return-path", "x").strip() == "<>"
        or re.match(r"(?i)(mailer-daemon|postmaster|no-?reply)@", mail.sender) is not None
    )


def wish(text: str) -> str:
    """acknowledge, escalate or resolve, by the first word above anything that is quoted; empty: none of these."""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith(">"):
            return ""
        if line:
            return WORDS.get(re.split(r"[\s.,;:!]+", line.lower())[0], "")
    return ""


def is_genuine(*, body: bytes, signature: str, fields: Mapping[str, Any], secret: str, now: datetime) -> bool:
    """Signed as our own webhooks are (`v1=` and the HMAC-SHA256 of the body), or as Mailgun signs."""
    if not secret:
        return False
    if signature:
        wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return any(
            hmac.compare_digest(part.strip().encode(), f"v1={wanted}".encode())
            for part in signature.split(",")
        )
    stamp, nonce, given = (str(fields.get(name) or "") for name in ("timestamp", "token", "signature"))
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 12):
        return False
    wanted = hmac.new(secret.encode(), f"{stamp}{nonce}".encode(), hashlib.sha256).hexdigest()
    fresh = abs(now.timestamp() - int(stamp)) <= FRESH_FOR.total_seconds()
    return fresh and hmac.compare_digest(given.encode(), wanted.encode())
