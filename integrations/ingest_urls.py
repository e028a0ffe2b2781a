"""Addresses for senders. With and without a slash at the end, since a redirect would lose the body."""

from django.urls import re_path

from integrations import endpoints
from integrations.adapters.opsgenie import VERBS
from integrations.bridge.endpoint import from_chat
from integrations.heartbeats import endpoint as heartbeats

urlpatterns = [
    re_path(r"^v2/enqueue/?$", endpoints.enqueue),
    re_path(r"^v2/change/enqueue/?$", endpoints.change_enqueue),
    re_path(r"^api/v1/integrations/alertmanager/(?P<key>[^/]+)/?$", endpoints.from_alertmanager),
    re_path(r"^v2/alerts/?$", endpoints.opsgenie_create),
    re_path(r"^v2/alerts/requests/(?P<request_id>[^/]+)/?$", endpoints.opsgenie_request),
    # an alias may hold slashes
    re_path(rf"^v2/alerts/(?P<identifier>.+?)/(?P<verb>{'|'.join(VERBS)})/?$", endpoints.opsgenie_act),
    re_path(r"^v2/alerts/(?P<identifier>.+?)/?$", endpoints.opsgenie_alert),
    re_path(r"^v2/heartbeats/(?P<name>.+?)/ping/?$", heartbeats.ping_by_name),
    re_path(r"^heartbeat/(?P<key>[^/]+)/?$", heartbeats.ping),
    re_path(r"^api/v1/integrations/grafana/(?P<key>[^/]+)/?$", endpoints.from_grafana),
    re_path(r"^api/v1/integrations/webhook/(?P<key>[^/]+)/?$", endpoints.from_webhook),
    re_path(r"^api/v1/integrations/chat/(?P<key>[^/]+)/?$", from_chat),
]
