"""Vonage's SMS API and Voice API v1, and whoever speaks them."""

import hashlib
import hmac
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jwt

from notifications.channels.base import one_line
from notifications.providers.base import (
    NumberRefused,
    Provider,
    ProviderFailed,
    Receipt,
    Spoken,
    object_of,
)

BAD_NUMBER = {"6", "7", "33"}
"""Of an SMS that was sent: cannot be routed, barred, deactivated."""

SKEW_SECONDS = 300
RING_SECONDS = 45
KEY_SECONDS = 10

_SMS = {"delivered": "reached", "expired": "failed", "failed": "failed", "rejected": "failed"}
_CALL = {
    "completed": "reached", "busy": "failed", "unanswered": "failed", "timeout": "failed", "failed": "failed",
    "rejected": "failed", "cancelled": "failed", "machine": "machine",
}  # fmt: skip


class Vonage(Provider):
    family: ClassVar[str] = "vonage"

    def send_sms(
        self, *, to: str, text: str, key: str, status_url: str, last_look: Callable[[], bool]
    ) -> tuple[str, str]:
        fields = {
            "api_key": self.account.user, "api_secret": self.account.password, "from": self.account.sender.lstrip("+"),
            "to": to.lstrip("+"), "text": text, "type": "text" if text.isascii() else "unicode", "client-ref": key,
        }  # fmt: skip
        response = self._request("POST", "/sms/json", json=fields, last_look=last_look)
        found = object_of(response)
        messages = found.get("messages")
        first = (
            messages[0] if isinstance(messages, list) and messages and isinstance(messages[0], dict) else {}
        )
        status, said = str(first.get("status", "")), one_line(str(first.get("error-text", "")))[:200]
        if response.status_code == 200 and status == "0":
            return str(first.get("message-id", "")), f"accepted {first.get('message-id', '')}"
        if status in BAD_NUMBER:
            raise NumberRefused(f"Refused: {status} {said}")
        raise ProviderFailed(f"Answered {response.status_code} {status} {said}".strip())

    def call(
        self,
        *,
        to: str,
        spoken: Spoken,
        answer_url: str,
        status_url: str,
        key: str,
        last_look: Callable[[], bool],
    ) -> tuple[str, str]:
        fields: dict[str, Any] = {
            "to": [{"type": "phone", "number": to.lstrip("+")}],
            "from": {"type": "phone", "number": self.account.sender.lstrip("+")},
            "ncco": ncco(spoken), "ringing_timer": RING_SECONDS,
            # It hangs up on a machine, and says so in an event and in the call's status.
            "machine_detection": "hangup",
        }  # fmt: skip
        if status_url:
            fields |= {"event_url": [status_url], "event_method": "POST"}
        response = self._request(
            "POST", "/v1/calls", json=fields, headers=self._bearer(), last_look=last_look
        )
        found = object_of(response)
        if response.status_code == 201 and found.get("uuid"):
            return str(found["uuid"]), one_line(f"{found.get('status', 'started')} {found['uuid']}")[:200]
        said = one_line(f"{response.status_code} {found.get('title') or found.get('error_title') or ''}")[
            :250
        ]
        if response.status_code == 400 and any(
            isinstance(each, dict) and str(each.get("name", "")).startswith("to")
            for each in found.get("invalid_parameters") or []
        ):
            raise NumberRefused(f"Refused: {said}")
        raise ProviderFailed(f"Answered {said}")

    def _bearer(self) -> dict[str, str]:
        now = int(time.time())
        claims = {"application_id": self.account.user, "iat": now, "exp": now + 300, "jti": str(uuid.uuid4())}
        try:
            token = jwt.encode(claims, self.account.private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError):
            raise ProviderFailed("The application's private key cannot be used") from None
        return {"Authorization": f"Bearer {token}"}

    def ask(self, provider_id: str) -> Receipt:
        if self.account.kind != "voice":
            return Receipt("", "")  # this API tells only by callback
        response = self._request("GET", f"/v1/calls/{provider_id}", headers=self._bearer())
        found = object_of(response)
        if response.status_code != 200:
            raise ProviderFailed(f"Answered {response.status_code}")
        return call_receipt(str(found.get("status") or ""))

    def is_genuine(
        self, *, url: str, headers: Mapping[str, str], body: bytes, fields: Mapping[str, Any]
    ) -> bool:
        secret = self.account.signature_secret
        if not secret:
            return False
        if headers.get("Authorization", "").startswith("Bearer "):
            return _is_signed_token(secret, headers["Authorization"].removeprefix("Bearer "), body)
        given = str(fields.get("sig", ""))
        stamp = str(fields.get("timestamp", ""))
        fresh = stamp.isdecimal() and len(stamp) < 12 and abs(time.time() - int(stamp)) <= SKEW_SECONDS
        return fresh and hmac.compare_digest(
            sign(secret, fields).encode(), given.lower().encode("utf-8", "replace")
        )


def _is_signed_token(secret: str, token: str, body: bytes) -> bool:
    try:
        claims = jwt.decode(
            token, secret, algorithms=["HS256"], options={"require": ["iat"]}, leeway=SKEW_SECONDS
        )
    except jwt.PyJWTError:
        return False
    if abs(time.time() - float(claims["iat"])) > SKEW_SECONDS:
        return False
    wanted = hashlib.sha256(body).hexdigest()
    return hmac.compare_digest(
        wanted.encode(), str(claims.get("payload_hash", "")).encode("utf-8", "replace")
    )


def sign(secret: str, fields: Mapping[str, Any]) -> str:
    """The SMS API's `sig` by SHA-256 HMAC: all fields but itself in the order of their names; & and = become _."""
    text = "".join(
        f"&{name}={str(fields[name]).replace('&', '_').replace('=', '_')}"
        for name in sorted(fields)
        if name != "sig"
    )
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def sms_receipt(status: str, error: Any = None) -> Receipt:
    said = f"{status}, error {error}" if str(error or "0") not in ("0", "") else status
    return Receipt(_SMS.get(status, ""), said, number_is_bad=status in ("failed", "rejected"))


def call_receipt(status: str) -> Receipt:
    return Receipt(_CALL.get(status, ""), "answered by a machine" if status == "machine" else status)


def ncco(spoken: Spoken) -> list[dict[str, Any]]:
    talk = {"action": "talk", "text": spoken.text, "language": "en-US", "bargeIn": bool(spoken.keys_url)}
    if not spoken.keys_url:
        return [{**talk, "loop": 2}]
    take = {
        "action": "input", "type": ["dtmf"], "dtmf": {"maxDigits": 1, "timeOut": KEY_SECONDS},
        "eventUrl": [spoken.keys_url], "eventMethod": "POST",
    }  # fmt: skip
    return [talk, take]


def say_and_hang_up(text: str) -> list[dict[str, Any]]:
    return [{"action": "talk", "text": text, "language": "en-US"}]
