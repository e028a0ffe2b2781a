"""Where pings arrive: at an address that holds the key, and where Opsgenie's clients send them."""

import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from core.middleware import RETRY_AFTER, database_is_away
from integrations import rules
from integrations.endpoints import Opsgenie, answer, genie_key, strangers
from integrations.heartbeats import transitions
from integrations.heartbeats.directory import Known, watches
from integrations.keys import directory

log = structlog.get_logger(__name__)

Say = Callable[[int, str], HttpResponse]


@csrf_exempt
def ping(request: HttpRequest, key: str) -> HttpResponse:
    """GET, HEAD and POST all count: whatever a script can do without thinking."""

    def say(status: int, message: str) -> HttpResponse:
        if status == 200:
            return answer(200, {"status": "success", "message": message})
        return answer(status, {"error": {"code": "heartbeat", "message": message}})

    def whose() -> Known | HttpResponse:
        found = watches.by_key(key)
        if found is None:
            address = rules.address_of(request.META.get("REMOTE_ADDR", ""))
            if not strangers.take(address, time.monotonic()):
                return answer(429, {"error": {"code": "throttled", "message": "Too many unknown keys."}})
            found = watches.look_up(key)
        return found or say(404, "No heartbeat has this key.")

    return _take(request, whose, say)


@csrf_exempt
def ping_by_name(request: HttpRequest, name: str) -> HttpResponse:
    contract = Opsgenie()

    def say(status: int, message: str) -> HttpResponse:
        if status == 200:
            return contract.say(202, {"result": "PONG - Heartbeat received"})
        return contract.error(status, message)

    def whose() -> Known | HttpResponse:
        address = rules.address_of(request.META.get("REMOTE_ADDR", ""))
        key = genie_key(request)
        sender = directory.find(key)
        if sender is None:
            if not strangers.take(address, time.monotonic()):
                return contract.unknown_key(checked=False)
            sender = directory.look_up(key)
        if sender is None or sender.kind != contract.takes:
            return contract.unknown_key(checked=True)
        if sender.disabled:
            return contract.disabled()
        return watches.by_name(name) or say(404, f"There is no heartbeat {name[:100]!r}")

    return _take(request, whose, say)


def _take(request: HttpRequest, whose: Callable[[], Known | HttpResponse], say: Say) -> HttpResponse:
    if request.method not in ("GET", "HEAD", "POST", "PUT", "PATCH"):
        response = say(405, "GET and POST are understood here.")
        response.headers["Allow"] = "GET, HEAD, POST, PUT, PATCH"
        return response
    try:
        found = whose()
        if isinstance(found, HttpResponse):
            return found
        if watches.is_due(found.watch_id, time.monotonic()):
            try:
                transitions.ping(watch_id=found.watch_id, now=timezone.now())
            except Exception:
                watches.forget()  # not written: the next one has to be
                raise
    except Exception as error:
        if not database_is_away(error):
            log.exception("ping_not_stored")
            return say(500, "Muster failed here. The ping was not stored. Send it again.")
        response = say(503, "The database does not answer. The ping was not stored. Send it again.")
        response.headers["Retry-After"] = RETRY_AFTER
        return response
    return say(200, "Heartbeat received")
