"""Each app brings its own `urls.py`; this list puts them under a prefix. An app's line appears with its
file."""

from django.urls import include, path

from config import health
from config.prometheus import metrics
from incidents.views import home

APPS: list[tuple[str, str]] = [
    ("", "integrations.ingest_urls"),  # first: incoming alerts are the most frequent requests
    ("", "accounts.urls"),
    ("account/", "allauth.urls"),
    ("incidents/", "incidents.urls"),
    ("schedules/", "oncall.urls"),
    ("alerts/", "incidents.grouping.page_urls"),
    ("status/", "incidents.updates.status_urls"),
    ("embed/", "incidents.travel.embed_urls"),
    ("services/", "catalog.urls"),
    ("escalation/", "escalation.urls"),
    ("runbooks/", "runbooks.urls"),
    ("p/", "incidents.answer_urls"),
    ("notifications/", "notifications.urls"),
    ("", "notifications.push.root_urls"),
    ("integrations/", "integrations.urls"),
    ("tonight/", "readiness.urls"),
    ("metrics/", "metrics.urls"),
    ("api/v1/", "config.api"),
]

handler500 = "config.health.server_error"

urlpatterns = [
    path("", home, name="home"),
    path("readyz", health.readyz),
    path("metrics", metrics),
    *(path(prefix, include(module)) for prefix, module in APPS),
]
