"""The hub in this process, where its clocks can be turned."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import OperationalError, connections
from django.utils import timezone

from accounts.models import User
from incidents import transitions
from incidents.live import hub as hub_module
from incidents.live import sse
from incidents.live.stream import application

pytestmark = pytest.mark.django_db(transaction=True)


class Call:
    """One request to the application."""

    def __init__(self, path: str, session: str) -> None:
        cookie = f"{settings.SESSION_COOKIE_NAME}={session}".encode()
        self.scope = {"method": "GET", "path": path, "query_string": b"", "headers": [(b"cookie", cookie)]}
        self.sent = b""
        self.gone = asyncio.Event()
        self.task = asyncio.create_task(application(self.scope, self._receive, self._send))

    async def _receive(self) -> dict:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict) -> None:
        self.sent += message.get("body", b"")

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(10):
            while text not in self.sent:
                await asyncio.sleep(0.02)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        try:
            await story()
        finally:
            hub_module.hub().close()

    # In a thread of its own: a browser test of the same worker leaves its loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(whole())).result()


def test_whose_session_has_ended_is_shown_out(publishing, incident, session, monkeypatch):
    monkeypatch.setattr(hub_module, "CHECK_EVERY", 0.1)

    async def story() -> None:
        call = Call(f"/live/incidents/{incident.pk}/", session)
        await call.until(b"event: beat")
        await asyncio.to_thread(Session.objects.all().delete)
        await call.until(b'event: bye\ndata: {"reason":"signed_out"}')
        async with asyncio.timeout(5):
            await call.task
        assert hub_module.hub().viewers == []

    run(story)


def test_who_is_no_longer_active_is_shown_out(publishing, incident, session, viewer, monkeypatch):
    monkeypatch.setattr(hub_module, "CHECK_EVERY", 0.1)

    async def story() -> None:
        call = Call("/live/now/", session)
        await call.until(b"event: beat")
        await asyncio.to_thread(User.objects.filter(pk=viewer.pk).update, is_active=False)
        await call.until(b'event: bye\ndata: {"reason":"signed_out"}')

    run(story)


def test_who_leaves_is_forgotten(publishing, incident, session):
    async def story() -> None:
        call = Call(f"/live/incidents/{incident.pk}/", session)
        await call.until(b"event: beat")
        assert list(hub_module.hub().rooms) == [incident.pk]
        call.gone.set()
        async with asyncio.timeout(5):
            await call.task
        assert hub_module.hub().rooms == {}

    run(story)


def test_while_the_database_is_away_nobody_is_told_that_all_is_well(
    publishing, incident, session, monkeypatch
):
    def broken(*_: object) -> None:
        raise OSError("the database is away")

    async def story() -> None:
        call = Call(f"/live/incidents/{incident.pk}/", session)
        await call.until(b"event: beat")
        monkeypatch.setattr(hub_module.reads, "changed", broken)
        await asyncio.sleep(1.5)  # a look that is under way may still succeed
        beats = call.sent.count(b"event: beat")
        await asyncio.sleep(3)
        assert call.sent.count(b"event: beat") == beats
        assert not hub_module.hub().sees
        monkeypatch.undo()

    run(story)


def test_a_page_is_told_although_the_database_was_away_when_it_came(
    publishing, incident, session, viewer, writer, monkeypatch
):
    read, failures = hub_module.reads.waiting_calls, []

    def away_at_first(users, incident_ids, since=None):
        if incident_ids and not failures:
            failures.append(incident_ids)
            raise OperationalError("the database is away")
        return read(users, incident_ids, since)

    def page() -> None:
        try:
            transitions.page_person(
                incident_id=incident.pk, user=viewer, by=writer, reason="look", now=timezone.now()
            )
        finally:
            connections.close_all()

    async def story() -> None:
        call = Call("/live/now/", session)
        await call.until(b"event: beat")
        monkeypatch.setattr(hub_module.reads, "waiting_calls", away_at_first)
        await asyncio.to_thread(page)
        await call.until(b"event: page")
        assert failures == [{incident.pk}]

    run(story)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ("one", "data: one\n"),
        ("one\ntwo", "data: one\ndata: two\n"),
        ("one\r\ntwo\rthree\n", "data: one\ndata: two\ndata: three\n"),
        ("a\u2028b\x0bc", "data: a\u2028b\x0bc\n"),
        ("", "data: \n"),
    ],
)
def test_an_event_holds_its_text_line_by_line(data, lines):
    assert sse.event("entry", data, id=7) == f"id: 7\nevent: entry\n{lines}\n".encode()


def test_json_is_on_one_line():
    head, body, *_ = sse.event_json("page", {"title": "two\nlines"}).decode().split("\n")
    assert (head, json.loads(body.removeprefix("data: "))) == ("event: page", {"title": "two\nlines"})
