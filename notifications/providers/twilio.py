"""Twilio's API of 2010-04-01, and whoever speaks it."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from xml.sax.saxutils import escape, quoteattr

import httpx

from notifications.channels.base import one_line
from notifications.providers.base import (
    NumberRefused,
    Provider,
    ProviderFailed,
    Receipt,
    Spoken,
    object_of,
)

BAD_NUMBER = {13224, 21211, 21214, 21217, 21401, 21421, 21601, 21610, 21614, 30004, 30005, 30006}
"""Not a number, not a mobile, unsubscribed, blocked by its owner, a landline."""

RING_SECONDS = 45
KEY_SECONDS = 10

_SMS = {
    "delivered": "reached",
    "read": "reached",
    "undelivered": "failed",
    "failed": "failed",
    "canceled": "failed",
}
_CALL = {"busy": "failed", "no-answer": "failed", "failed": "failed", "canceled": "failed"}


class Twilio(Provider):
    family: ClassVar[str] = "twilio"

    def send_sms(
        self, *, to: str, text: str, key: str, status_url: str, last_look: Callable[[], bool]
    ) -> tuple[str, str]:
        fields = {"To": to, "Body": text, **self._from()}
        if status_url:
            fields["StatusCallback"] = status_url
        return self._create("Messages.json", fields, key, last_look)

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
        fields = {
            "To": to,
            "From": self.account.sender,
            "Timeout": str(RING_SECONDS),
            "MachineDetection": "Enable",
        }
        if answer_url:
            fields |= {"Url": answer_url, "Method": "POST"}
        else:
            fields["Twiml"] = twiml(spoken)
        if status_url:
            fields |= {
                "StatusCallback": status_url,
                "StatusCallbackEvent": "completed",
                "StatusCallbackMethod": "POST",
            }
        return self._create("Calls.json", fields, key, last_look)

    def _from(self) -> dict[str, str]:
        sender = self.account.sender
        return {"MessagingServiceSid" if sender.startswith("MG") and len(sender) == 34 else "From": sender}

    def _path(self, what: str) -> str:
        return f"/2010-04-01/Accounts/{self.account.user}/{what}"

    def _create(
        self, what: str, fields: dict[str, str], key: str, last_look: Callable[[], bool]
    ) -> tuple[str, str]:
        # Twilio itself knows no key for repeats here; a gateway in between may know the one that it sends to others.
        response = self._request(
            "POST", self._path(what), data=fields, auth=(self.account.user, self.account.password),
            headers={"I-Twilio-Idempotency-Token": key}, last_look=last_look,
        )  # fmt: skip
        found = object_of(response)
        if response.status_code in (200, 201) and found.get("sid"):
            return str(found["sid"]), one_line(f"{found.get('status', 'accepted')} {found['sid']}")[:200]
        raise _refusal(response, found)

    def ask(self, provider_id: str) -> Receipt:
        what = "Calls" if self.account.kind == "voice" else "Messages"
        response = self._request(
            "GET", self._path(f"{what}/{provider_id}.json"), auth=(self.account.user, self.account.password)
        )
        found = object_of(response)
        if response.status_code != 200:
            raise ProviderFailed(f"Answered {response.status_code}")
        if self.account.kind == "voice":
            return call_receipt(str(found.get("status") or ""), str(found.get("answered_by") or ""))
        return sms_receipt(str(found.get("status") or ""), found.get("error_code"))

    def is_genuine(
        self, *, url: str, headers: Mapping[str, str], body: bytes, fields: Mapping[str, Any]
    ) -> bool:
        wanted = sign(self.account.password, url, fields)
        return hmac.compare_digest(
            wanted.encode(), headers.get("X-Twilio-Signature", "").encode("utf-8", "replace")
        )


def sign(token: str, url: str, fields: Mapping[str, Any]) -> str:
    """X-Twilio-Signature: the address with all fields of the form, in the order of their names, under the auth token."""
    text = url + "".join(f"{name}{fields[name]}" for name in sorted(fields))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def sms_receipt(status: str, error: Any = None) -> Receipt:
    code = int(error) if str(error or "").isdecimal() else 0
    said = f"{status}, error {code}" if code else status
    return Receipt(_SMS.get(status, ""), said, number_is_bad=code in BAD_NUMBER)


def call_receipt(status: str, answered_by: str) -> Receipt:
    if answered_by.startswith("machine") or answered_by == "fax":
        return Receipt("machine", f"{status or 'answered'} by {answered_by.replace('_', ' ')}")
    if status == "completed":
        return Receipt("reached", f"completed, answered by {answered_by or 'somebody'}")
    return Receipt(_CALL.get(status, ""), status)


def _refusal(response: httpx.Response, found: dict[str, Any]) -> Exception:
    code = found.get("code")
    said = one_line(f"{response.status_code} {code or ''} {found.get('message') or ''}")[:250]
    if code in BAD_NUMBER:
        return NumberRefused(f"Refused: {said}")
    return ProviderFailed(f"Answered {said}")


def twiml(spoken: Spoken) -> str:
    """The text twice, since whoever is woken by it misses the first half, and room for a key in between."""
    say = f'<Say language="en-US">{escape(spoken.text)}</Say>'
    if not spoken.keys_url:
        return f'<?xml version="1.0" encoding="UTF-8"?><Response>{say}<Pause length="1"/>{say}</Response>'
    gather = (
        f'<Gather input="dtmf" numDigits="1" timeout="{KEY_SECONDS}" finishOnKey="" method="POST" '
        f"action={quoteattr(spoken.keys_url)}>{say}</Gather>"
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{gather}{gather}</Response>'


HANG_UP = '<?xml version="1.0" encoding="UTF-8"?><Response><Hangup/></Response>'


def say_and_hang_up(text: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<Response><Say language="en-US">{escape(text)}</Say><Hangup/></Response>'
    )


def reply(text: str) -> str:
    """The answer to an SMS that came in; empty: none."""
    inner = f"<Message>{escape(text)}</Message>" if text else ""
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{inner}</Response>'
