from django.urls import path

import incidents.refs  # noqa: F401  (registers <ref:…>)
from runbooks import views

app_name = "runbooks"

urlpatterns = [
    path("", views.runbook_list, name="list"),
    path("new/", views.runbook_new, name="new"),
    path("incidents/<ref:incident_id>/", views.panel, name="panel"),
    path("incidents/<ref:incident_id>/attach/", views.attach, name="attach"),
    path("incidents/<ref:incident_id>/detach/<slug:slug>/", views.detach, name="detach"),
    path("services/<slug:slug>/", views.of_service, name="of_service"),
    path("<slug:slug>/", views.runbook_detail, name="detail"),
    path("<slug:slug>/edit/", views.runbook_edit, name="edit"),
    path("<slug:slug>/burning/", views.burning, name="burning"),
    path("<slug:slug>/archive/", views.archive, name="archive"),
    path("<slug:slug>/publish/<int:number>/", views.publish, name="publish"),
]
