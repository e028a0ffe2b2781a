from django.urls import URLPattern, path

import incidents.refs  # noqa: F401  (registers <ref:…>)
from incidents.updates import views

room: list[URLPattern] = [
    path("<ref:incident_id>/update/", views.update, name="update"),
    path("<ref:incident_id>/update/subscribe/", views.subscribe, name="update_subscribe"),
    path("<ref:incident_id>/publish/", views.publish, name="publish"),
    path("<ref:incident_id>/publish/<int:post_id>/withdraw/", views.withdraw, name="withdraw"),
]
"""Under /incidents/, in the name space `incidents`."""
