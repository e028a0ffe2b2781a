"""Live streams run in Django's async handler; every other path runs in a pool of threads.

Django's sync views are two to three times slower under its own ASGI handler than under WSGI
(docs/architecture.md), and one port for both keeps set-up simple.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.asgi import get_asgi_application

live = get_asgi_application()  # sets Django up; what follows needs the settings

from a2wsgi import WSGIMiddleware  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

pages = WSGIMiddleware(get_wsgi_application(), workers=settings.MUSTER_WEB_THREADS)


async def application(scope, receive, send):
    if scope["type"] == "http":
        chosen = live if scope["path"].startswith("/live/") else pages
        await chosen(scope, receive, send)
