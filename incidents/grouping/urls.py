from django.urls import URLPattern, path

from incidents.grouping import views

room: list[URLPattern] = [
    path("<ref:incident_id>/alerts/<int:alert_id>/", views.alert, name="alert"),
    path("<ref:incident_id>/merge/", views.merge, name="merge"),
]
"""Under /incidents/, in the name space `incidents`."""
