"""Runs a WSGI application under an ASGI server, each request in one hop to a pool of threads.

The body is read before the thread is taken and the answer is sent after it is given back, so a slow sender or reader
holds none. Answers are small here: pages, JSON, style sheets; live streams do not come this way. a2wsgi, which serves
streams as well, takes several hops for each request and with them about twice the time (docs/performance.md).
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

LONGEST_BODY = 32 * 1024 * 1024  # the views have their own, lower limits; this one protects the memory
UNPREFIXED = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


ANSWER_AFTER = "muster.answer_after"
"""Key of the environment for seconds that the finished answer is kept back, while no thread waits."""


class TooLong(Exception):
    pass


def environ(scope: dict[str, Any], body: bytes) -> Environ:
    host, port = scope.get("server") or ("localhost", 80)
    values: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # WSGI wants the bytes of the path, written as Latin-1.
        "PATH_INFO": unquote_to_bytes(scope.get("raw_path") or scope["path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or 80),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope.get("client"):
        values["REMOTE_ADDR"], values["REMOTE_PORT"] = scope["client"][0], str(scope["client"][1])
    for name, value in scope["headers"]:
        key = UNPREFIXED.get(name)
        if key is None:
            if b"_" in name:
                continue  # X_Forwarded_For must not pass for X-Forwarded-For
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        if key in values:
            text = f"{values[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        values[key] = text
    # A chunked body has no length of its own; now that it is read it has one.
    values["CONTENT_LENGTH"] = str(len(body))
    return values


class Bridge:
    def __init__(self, application: Application, *, threads: int) -> None:
        self.application = application
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="page")

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        try:
            body = await self._body(receive)
        except TooLong:
            await send({"type": "http.response.start", "status": 413, "headers": [(b"connection", b"close")]})
            await send({"type": "http.response.body"})
            return
        if body is None:
            return
        run = asyncio.get_running_loop().run_in_executor
        values = environ(scope, body)
        status, headers, answer = await run(self.pool, self._answer, values)
        if seconds := values.get(ANSWER_AFTER):
            await asyncio.sleep(seconds)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _body(self, receive: Callable) -> bytes | None:
        """The whole body; None when the sender has gone."""
        parts, length = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            length += len(part)
            if length > LONGEST_BODY:
                raise TooLong
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts) if len(parts) > 1 else part

    def _answer(self, values: Environ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        told: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> None:
            told[:] = [int(status[:3]), headers]

        result = self.application(values, start_response)
        try:
            body = b"".join(result)
        finally:
            if hasattr(result, "close"):
                result.close()  # Django gives the database connection back here
        status, headers = told
        sent = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if status not in {204, 304} and not any(name == b"content-length" for name, _ in sent):
            sent.append((b"content-length", str(len(body)).encode()))
        return status, sent, body
