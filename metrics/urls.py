from django.urls import path

import incidents.refs  # noqa: F401  (registers <ref:…>)
from metrics import views

app_name = "metrics"

urlpatterns = [
    path("", views.overview, name="overview"),
    path("incidents.csv", views.as_csv, name="csv"),
    path("incident/<ref:incident_id>/", views.incident, name="incident"),
]
