"""Where the chat knocks: JSON in, JSON out, and every request signed."""

import time
from datetime import datetime

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts.models import digest
from core.errors import MusterError
from core.middleware import RETRY_AFTER, database_is_away
from integrations import rules as reading
from integrations.bridge import inbound, rules
from integrations.endpoints import TooLarge, answer, read_body, strangers
from integrations.models import ChatBridge

log = structlog.get_logger(__name__)

LONGEST = 64 * 1024

_known: set[str] = set()
"""Digests of keys that were good once: looking them up again is not what a stranger may cost."""


def refusal(status: int, code: str, message: str, fields: dict[str, list[str]] | None = None) -> HttpResponse:
    return answer(
        status, {"error": {"code": code, "message": message, **({"fields": fields} if fields else {})}}
    )


@csrf_exempt
def from_chat(request: HttpRequest, key: str) -> HttpResponse:
    if request.method != "POST":
        response = refusal(405, "method_not_allowed", "Only POST is understood here.")
        response.headers["Allow"] = "POST"
        return response
    try:
        return _take(request, key, now=timezone.now())
    except TooLarge:
        return refusal(413, "too_large", f"The body is larger than {LONGEST // 1024} KB.")
    except MusterError as error:
        return refusal(error.status, error.code, error.message, error.fields)
    except Exception as error:
        if database_is_away(error):
            response = refusal(
                503, "unavailable", "The database does not answer. Nothing was done. Send it again."
            )
            response.headers["Retry-After"] = RETRY_AFTER
            return response
        log.exception("chat_request_failed")
        return refusal(500, "failed", "Muster failed here. Nothing was done. Send it again.")


def _take(request: HttpRequest, key: str, *, now: datetime) -> HttpResponse:
    body = read_body(request, LONGEST)
    bridge = _bridge(key, request.META.get("REMOTE_ADDR", ""))
    if bridge is None:
        return refusal(404, "unknown_key", "No bridge has this key.")
    if not rules.is_signed(
        secret=bridge.signing_secret, timestamp=request.headers.get("X-Muster-Timestamp", ""), body=body,
        signatures=request.headers.get("X-Muster-Signature", ""), now=now,
    ):  # fmt: skip
        return refusal(
            401, "bad_signature",
            "The signature is wrong, or the time is more than 5 minutes away. Nothing was done.",
        )  # fmt: skip
    if bridge.disabled_at is not None:
        return refusal(403, "bridge_disabled", "This bridge is disabled.")
    try:
        given = reading.read_object(reading.read_text(body))
    except reading.Unreadable as error:
        return refusal(400, "malformed", str(error))
    done = inbound.carry_out(bridge=bridge, request=inbound.read(given), now=now)
    return answer(200, {"status": done.status, "incident": done.ref, "message": done.message})


def _bridge(key: str, address: str) -> ChatBridge | None:
    wanted = digest(key)
    if wanted not in _known and not strangers.take(reading.address_of(address), time.monotonic()):
        return None
    found = ChatBridge.objects.filter(key_digest=wanted).first()
    if found is None:
        _known.discard(wanted)
        return None
    _known.add(wanted)
    return found
