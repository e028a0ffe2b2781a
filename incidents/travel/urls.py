from django.urls import URLPattern, path

import incidents.refs  # noqa: F401  (registers <ref:…>)
from incidents.travel import views

room: list[URLPattern] = [
    path("of-service/<slug:slug>/", views.of_service, name="of_service"),
    path("<ref:incident_id>/strip/", views.strip, name="strip"),
    path("<ref:incident_id>/embed/", views.embed, name="embed"),
]
"""Under /incidents/, in the name space `incidents`."""
