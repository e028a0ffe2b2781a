"""The address of the streams, as a plain ASGI application.

Django's own handler would give each open stream a thread of its own for as long as it lasts (its middleware runs in
one), so requests under /live/ do not pass through it: no middleware, the session is read here.
"""

import asyncio
import json
import logging
import re
from contextlib import suppress
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import timezone

from incidents.live import reads
from incidents.live.hub import Hub, Viewer, hub
from incidents.live.reads import in_thread

PER_PERSON = 20  # streams, in each process
RETRY_MS = 2000
RECENT_CALLS_S = 30  # a page that came between the reading of the page and the opening of its stream

_INCIDENT = re.compile(r"/live/incidents/(\d{1,18})/\Z")
_SEQ = re.compile(r"\d{1,10}\Z")

log = logging.getLogger(__name__)


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def _headers(scope: dict[str, Any]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        # A browser on HTTP/2 may send several cookie headers.
        found[name] = found[name] + b"; " + value if name == b"cookie" and name in found else value
    return found


def _session_key(headers: dict[bytes, bytes]) -> str | None:
    with suppress(CookieError):
        cookies = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        if settings.SESSION_COOKIE_NAME in cookies:
            return cookies[settings.SESSION_COOKIE_NAME].value
    return None


def _seq(scope: dict[str, Any], headers: dict[bytes, bytes]) -> int | None:
    """The seq that the browser has. Coming back it sends the same address with a newer Last-Event-ID."""
    given = [
        *parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=False).get("after", []),
        *([headers[b"last-event-id"].decode("latin-1")] if headers.get(b"last-event-id") else []),
    ]
    for value in given:
        if not _SEQ.match(value):
            raise Refusal(400, "invalid", "after and Last-Event-ID are the number of an entry.")
    return max(map(int, given), default=None)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    try:
        await _answer(scope, receive, send)
    except Refusal as refusal:
        body = json.dumps({"error": {"code": refusal.code, "message": refusal.message}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"cache-control", b"no-store")]
        if refusal.status == 503:
            headers.append((b"retry-after", b"2"))
        if refusal.status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    incident = _INCIDENT.match(scope["path"])
    incident_id = int(incident[1]) if incident else None
    if incident is None and scope["path"] != "/live/now/":
        raise Refusal(404, "not_found", "There is no such stream.")
    if scope["method"] not in {"GET", "HEAD"}:
        raise Refusal(405, "method_not_allowed", "Streams are read with GET.")
    sent = _headers(scope)
    after = _seq(scope, sent)
    session_key = _session_key(sent)
    live = hub()
    if live.closing:
        raise Refusal(503, "unavailable", "This server is being restarted.")
    try:
        user_id, last_seq = await in_thread(live.doors, reads.admit, session_key, incident_id)
    except DatabaseError as error:
        live.complain("Nobody can come in: %s", error)
        raise Refusal(503, "unavailable", "The database does not answer. Try again in a moment.") from None
    if user_id is None:
        raise Refusal(401, "not_signed_in", "Sign in to see this.")
    if incident_id is not None and last_seq is None:
        raise Refusal(404, "not_found", f"There is no INC-{incident_id}.")
    if sum(viewer.user_id == user_id for viewer in live.viewers) >= PER_PERSON:
        raise Refusal(429, "too_many", f"{PER_PERSON} live pages of yours are open. Close one.")
    if (
        scope["method"] == "HEAD"
    ):  # a browser cannot see why its EventSource was refused, so it asks like this
        headers = [(b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body"})
        return
    viewer = Viewer(user_id=user_id, session_key=session_key or "", after=after, now=live.loop.time())
    try:
        await _stream(live, viewer, incident_id, last_seq, after, receive, send)
    finally:
        live.leave(viewer, incident_id)


async def _stream(
    live: Hub,
    viewer: Viewer,
    incident_id: int | None,
    last_seq: int | None,
    after: int | None,
    receive: Any,
    send: Any,
) -> None:
    missed = b""
    try:
        if incident_id is None:
            live.enter_lists(viewer)
        else:
            room = live.enter_room(viewer, incident_id, last_seq)
            slots = room.slots
            missed = await live.missed(room, room.seq if after is None else after)
            if slots is not None and room.slots is slots:  # else the new ones wait in the queue
                missed += slots
            missed += room.here or b""
        if live.sees:
            missed += live.beat(live.lists if incident_id is None else room.viewers)
        since = timezone.now() - timedelta(seconds=RECENT_CALLS_S)
        live.call([viewer], await in_thread(live.doors, reads.waiting_calls, [viewer.user_id], None, since))
    except DatabaseError as error:
        live.complain("Nobody can come in: %s", error)
        raise Refusal(503, "unavailable", "The database does not answer. Try again in a moment.") from None

    async def write() -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream; charset=utf-8"),
                    (b"cache-control", b"no-cache, no-transform"),
                    (b"x-accel-buffering", b"no"),  # nginx
                    (b"x-content-type-options", b"nosniff"),
                ],
            }
        )
        await send(
            {
                "type": "http.response.body",
                "body": f"retry: {RETRY_MS}\n\n".encode() + missed,
                "more_body": True,
            }
        )
        async for data in viewer.chunks():
            viewer.sending_since = live.loop.time()
            await send({"type": "http.response.body", "body": data, "more_body": True})
            viewer.sending_since = None
        await send({"type": "http.response.body"})

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    writer, leaver = asyncio.create_task(write()), asyncio.create_task(gone())
    viewer.cut = writer.cancel
    try:
        await asyncio.wait({writer, leaver}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writer, leaver):
            task.cancel()
        for result in await asyncio.gather(writer, leaver, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, OSError):
                log.warning("A live stream ended early: %r", result)
