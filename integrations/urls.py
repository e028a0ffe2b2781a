from django.urls import path

from integrations import views
from integrations.bridge import views as bridge
from integrations.heartbeats import views as heartbeats

app_name = "integrations"

urlpatterns = [
    path("", views.integration_list, name="list"),
    path("create/", views.create, name="create"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/rotate/", views.rotate, name="rotate"),
    path("<int:pk>/disable/", views.disable, name="disable"),
    path("<int:pk>/enable/", views.enable, name="enable"),
    path("changes/<int:incident_id>/", views.changes, name="changes"),
    path("chat/", bridge.bridge_list, name="bridges"),
    path("chat/create/", bridge.create, name="bridge_create"),
    path("chat/<int:pk>/", bridge.bridge, name="bridge"),
    path("chat/<int:pk>/rotate/", bridge.rotate, name="bridge_rotate"),
    path("chat/<int:pk>/try/", bridge.try_out, name="bridge_try"),
    path("chat/<int:pk>/disable/", bridge.disable, name="bridge_disable"),
    path("chat/<int:pk>/enable/", bridge.enable, name="bridge_enable"),
    path("heartbeats/", heartbeats.watch_list, name="heartbeats"),
    path("heartbeats/create/", heartbeats.create, name="heartbeat_create"),
    path("heartbeats/<int:pk>/", heartbeats.detail, name="heartbeat"),
    path("heartbeats/<int:pk>/rotate/", heartbeats.rotate, name="heartbeat_rotate"),
    path("heartbeats/<int:pk>/pause/", heartbeats.pause, name="heartbeat_pause"),
    path("heartbeats/<int:pk>/remove/", heartbeats.remove, name="heartbeat_remove"),
    path("ledger/", views.ledger, name="ledger"),
    path("ledger/<int:pk>/", views.event, name="event"),
    path("ledger/<int:pk>/replay/", views.replay, name="replay"),
]
