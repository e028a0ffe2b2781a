"""Each app brings its own `urls.py`; this list puts them under a prefix. An app's line appears with its
file."""

from django.urls import include, path

from config import health

APPS: list[tuple[str, str]] = []

handler500 = "config.health.server_error"

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    *(path(prefix, include(module)) for prefix, module in APPS),
]
