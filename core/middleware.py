"""What every request passes. Kept lean: incoming alerts pass it too."""

import logging
import uuid
from collections.abc import Awaitable, Callable

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render
from django.template.loader import render_to_string

from core.errors import MusterError

log = logging.getLogger(__name__)

# A page may load and do what its own server gives it, nothing else.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
RETRY_AFTER = "5"
PROGRAMS = ("/api/", "/v2/")  # what lies below answers in JSON
MONITORS = ("/metrics", "/readyz")  # and these; /metrics/ is a page

Answer = HttpResponse | Awaitable[HttpResponse]


def database_is_away(error: BaseException | None) -> bool:
    """Whether `error`, or what caused it, says that the database cannot be reached. Waiting in vain for a
    connection of the pool is one of these too (psycopg_pool's PoolTimeout is an OperationalError). A
    statement that was refused by a database that answers, such as a deadlock or a timeout of its own, is
    not."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError):
            state = getattr(error.__cause__, "sqlstate", None)
            # 08: connection; 57P0x: shut down, crashed, starting; 53: too many connections, disk full. None:
            # no answer.
            return state is None or state[:2] in {"08", "53"} or state.startswith("57P0")
        error = error.__cause__
    return False


def unavailable(request: HttpRequest) -> HttpResponse:
    """503, which every sender of alerts answers by sending again; 429 or 4xx would lose the alert."""
    if for_programs(request):
        message = "The database does not answer. Nothing was stored. Send it again."
        response: HttpResponse = JsonResponse(
            {"error": {"code": "unavailable", "message": message}}, status=503
        )
    else:
        response = HttpResponse(render_to_string("503.html"), status=503)
    response.headers["Retry-After"] = RETRY_AFTER
    return response


def for_programs(request: HttpRequest) -> bool:
    return request.path.startswith(PROGRAMS) or request.path in MONITORS


def wants_a_page(request: HttpRequest) -> bool:
    """Somebody opened the address; a script of a page that asks for a part shows the words alone."""
    return "text/html" in request.headers.get("Accept", "") and request.headers.get("HX-Request") != "true"


class Around:
    """Both kinds of handler: threads for pages, async for live streams."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Answer]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Answer:
        self.before(request)
        if self.is_async:
            return self._later(request)
        return self.after(request, self.get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponse:
        return self.after(request, await self.get_response(request))

    def before(self, request: HttpRequest) -> None:
        """Nothing by default."""

    def after(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return response


class Headers(Around):
    """The content policy on every answer that has none of its own, and a number to find the request's log
    lines by."""

    def before(self, request: HttpRequest) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=uuid.uuid4().hex[:16], path=request.path)

    def after(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response


class Failures(Around):
    """A lost database is 503; what the rules refuse is the answer that the refusal names."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if database_is_away(exception):
            log.warning("The database does not answer: %s", str(exception).strip().partition("\n")[0])
            return unavailable(request)
        if isinstance(exception, MusterError):
            # Views and the API translate their own; this is for one that was forgotten.
            error: dict = {"code": exception.code, "message": exception.message}
            if exception.fields:
                error["fields"] = exception.fields
            if for_programs(request):
                return JsonResponse({"error": error}, status=exception.status)
            if request.method == "GET" and wants_a_page(request):
                return render(request, "refused.html", {"refusal": exception}, status=exception.status)
            return HttpResponse(
                exception.message, status=exception.status, content_type="text/plain; charset=utf-8"
            )
        return None


class Compression(GZipMiddleware):
    """Pages are sent compressed: a room is a seventh of its size then, and a phone far away waits for each
    kilobyte. Django adds some random bytes, so that the length does not tell what a page holds (BREACH).
    What programs read, attachments and what is streamed stay as they are; static files are compressed when
    they are collected, and the live stream does not come this way."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if response.streaming or not response.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)
