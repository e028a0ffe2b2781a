"""Addresses for senders. With and without a slash at the end, since a redirect would lose the body."""

from django.urls import re_path

from integrations import endpoints
from integrations.bridge.endpoint import from_chat

urlpatterns = [
    re_path(r"^v2/enqueue/?$", endpoints.enqueue),
    re_path(r"^v2/change/enqueue/?$", endpoints.change_enqueue),
    re_path(r"^api/v1/integrations/alertmanager/(?P<key>[^/]+)/?$", endpoints.from_alertmanager),
    re_path(r"^api/v1/integrations/webhook/(?P<key>[^/]+)/?$", endpoints.from_webhook),
    re_path(r"^api/v1/integrations/chat/(?P<key>[^/]+)/?$", from_chat),
]
