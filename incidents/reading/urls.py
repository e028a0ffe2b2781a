from django.urls import URLPattern, path

from incidents.reading import views

room: list[URLPattern] = [
    path("search/", views.search, name="search"),
    path("<ref:incident_id>/transcript.md", views.export_md, name="export_md"),
    path("<ref:incident_id>/transcript.json", views.export_json, name="export_json"),
    path("<ref:incident_id>/print/", views.to_print, name="print"),
    path("<ref:incident_id>/phases/", views.phases, name="phases"),
]
"""Under /incidents/, in the name space `incidents`."""
