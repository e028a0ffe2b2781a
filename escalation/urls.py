from django.urls import path

import incidents.refs  # noqa: F401  (registers <ref:…>)
from escalation import plan_views, views

app_name = "escalation"

urlpatterns = [
    path("", views.policy_list, name="policy_list"),
    path("plan/", plan_views.plan, name="plan"),
    path("policies/<slug:slug>/faults/", plan_views.faults, name="faults"),
    path("new/", views.policy_edit, name="policy_new"),
    path("policies/<slug:slug>/", views.policy_detail, name="policy_detail"),
    path("policies/<slug:slug>/edit/", views.policy_edit, name="policy_edit"),
    path("policies/<slug:slug>/versions/", views.policy_versions, name="policy_versions"),
    path("policies/<slug:slug>/versions/<int:number>/", views.policy_version, name="policy_version"),
    path("matrix/", views.matrix, name="matrix"),
    path("matrix/<int:severity>/<int:criticality>/", views.matrix_cell, name="matrix_cell"),
    path("gaps/", views.gap_list, name="gap_list"),
    path("services/<slug:slug>/", views.service_panel, name="service_panel"),
    path("incidents/<ref:incident_id>/ladder/", views.ladder, name="ladder"),
    path("incidents/<ref:incident_id>/escalate/", views.escalate, name="escalate"),
    path("answer/<str:token>/", views.answer_escalate, name="answer_escalate"),
]
