from django.urls import path

from integrations import views

app_name = "integrations"

urlpatterns = [
    path("", views.integration_list, name="list"),
    path("create/", views.create, name="create"),
    path("<int:pk>/", views.detail, name="detail"),
    path("<int:pk>/rotate/", views.rotate, name="rotate"),
    path("<int:pk>/disable/", views.disable, name="disable"),
    path("<int:pk>/enable/", views.enable, name="enable"),
    path("changes/<int:incident_id>/", views.changes, name="changes"),
    path("ledger/", views.ledger, name="ledger"),
    path("ledger/<int:pk>/", views.event, name="event"),
    path("ledger/<int:pk>/replay/", views.replay, name="replay"),
]
