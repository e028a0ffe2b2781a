"""Live streams run in the event loop; every other path runs in a pool of threads.

Django's sync views are two to three times slower under its own ASGI handler than under WSGI
(docs/architecture.md), and one port for both keeps set-up simple.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from a2wsgi import WSGIMiddleware
from django.conf import settings
from django.core.wsgi import get_wsgi_application

pages = WSGIMiddleware(get_wsgi_application(), workers=settings.MUSTER_WEB_THREADS)  # sets Django up

from incidents.live.stream import application as live  # noqa: E402  needs the models


async def application(scope, receive, send):
    if scope["type"] == "http":
        chosen = live if scope["path"].startswith("/live/") else pages
        await chosen(scope, receive, send)
