from django.urls import URLPattern, path

from incidents.snooze import views

room: list[URLPattern] = [
    path("<ref:incident_id>/snooze/", views.snooze, name="snooze"),
    path("<ref:incident_id>/snooze/end/", views.wake, name="snooze_end"),
]
"""Under /incidents/, in the name space `incidents`."""
