"""Live streams run in the event loop; every other path runs in a pool of threads.

Django's sync views are two to three times slower under its own ASGI handler than under WSGI
(docs/architecture.md), and one port for both keeps set-up simple.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from core.bridge import Bridge

pages = Bridge(get_wsgi_application(), threads=settings.MUSTER_WEB_THREADS)  # sets Django up

from incidents.live.stream import application as live  # noqa: E402  needs the models


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    path = scope["path"]
    if path == "/healthz":
        # Answered here, so that it tells of this process even while every thread waits for a database.
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
        )
        await send({"type": "http.response.body", "body": b"ok\n"})
    elif path.startswith("/live/"):
        await live(scope, receive, send)
    else:
        await pages(scope, receive, send)
