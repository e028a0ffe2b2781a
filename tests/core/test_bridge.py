"""The step from the event loop to the threads that run Django."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from core import bridge


def scope(**more: Any) -> dict[str, Any]:
    base = {
        "type": "http",
        "method": "POST",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"x=1&y=%C3%BC",
        "http_version": "1.1",
        "scheme": "https",
        "client": ("203.0.113.9", 4711),
        "server": ("127.0.0.1", 8000),
        "headers": [(b"host", b"muster.example.com"), (b"content-type", b"application/json")],
    }
    return {**base, **more}


def ask(application: bridge.Application, messages: list[dict], **more: Any) -> list[dict]:
    """What the server is told to send when it hands over these messages."""
    waiting, sent = list(messages), []

    async def receive() -> dict:
        return waiting.pop(0)

    async def send(message: dict) -> None:
        sent.append(message)

    # In a thread of its own: after a browser test a loop of playwright's is running in this one.
    with ThreadPoolExecutor(1) as aside:
        aside.submit(
            lambda: asyncio.run(bridge.Bridge(application, threads=1)(scope(**more), receive, send))
        ).result()
    return sent


def echo(seen: dict[str, Any]) -> bridge.Application:
    def application(environ: bridge.Environ, start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response(
            "202 Accepted", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        )
        return [environ["wsgi.input"].read(), b"!"]

    return application


def test_a_body_that_comes_in_parts_is_read_whole_and_gets_its_length() -> None:
    seen: dict[str, Any] = {}
    parts = [
        {"type": "http.request", "body": b"one ", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": False},
    ]
    start, body = ask(echo(seen), parts)
    assert seen["CONTENT_LENGTH"] == "7"
    assert body["body"] == b"one two!"
    assert start["status"] == 202
    assert start["headers"] == [
        (b"content-type", b"text/plain"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"8"),
    ]


def test_the_environment_is_what_wsgi_asks_for() -> None:
    seen: dict[str, Any] = {}
    ask(echo(seen), [{"type": "http.request", "body": b"{}"}])
    wanted = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "x=1&y=%C3%BC",
        "REMOTE_ADDR": "203.0.113.9",
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "muster.example.com",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "2",
    }
    assert {name: seen[name] for name in wanted} == wanted


def test_a_finished_answer_can_be_kept_back_while_no_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(bridge.asyncio, "sleep", sleep)

    def application(environ: bridge.Environ, start_response: Any) -> list[bytes]:
        environ[bridge.ANSWER_AFTER] = 0.4
        start_response("202 Accepted", [])
        return [b"stored"]

    _, body = ask(application, [{"type": "http.request"}])
    assert (body["body"], slept) == (b"stored", [0.4])


def test_a_header_with_an_underscore_cannot_pass_for_one_with_a_dash() -> None:
    seen: dict[str, Any] = {}
    headers = [
        (b"x_forwarded_for", b"10.0.0.1"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"x-list", b"1"),
        (b"x-list", b"2"),
    ]
    ask(echo(seen), [{"type": "http.request"}], headers=headers)
    assert "HTTP_X_FORWARDED_FOR" not in seen
    assert seen["HTTP_COOKIE"] == "a=1; b=2"
    assert seen["HTTP_X_LIST"] == "1,2"


def test_a_body_beyond_the_limit_is_413_and_reaches_no_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "LONGEST_BODY", 3)
    seen: dict[str, Any] = {}
    sent = ask(echo(seen), [{"type": "http.request", "body": b"four", "more_body": True}])
    assert sent[0]["status"] == 413
    assert seen == {}


def test_a_sender_that_leaves_in_the_middle_reaches_no_view() -> None:
    seen: dict[str, Any] = {}
    parts = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    assert ask(echo(seen), parts) == []
    assert seen == {}


def test_the_answer_is_closed_even_when_it_breaks() -> None:
    closed = []

    class Breaks:
        def __iter__(self) -> Any:
            raise RuntimeError("half way")

        def close(self) -> None:
            closed.append(True)

    def application(environ: bridge.Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Breaks()

    with pytest.raises(RuntimeError, match="half way"):
        ask(application, [{"type": "http.request"}])
    assert closed == [True]
