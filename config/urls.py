"""Each app brings its own `urls.py`; this list puts them under a prefix. An app's line appears with its file."""

from django.urls import include, path

APPS: list[tuple[str, str]] = []

urlpatterns = [path(prefix, include(module)) for prefix, module in APPS]
