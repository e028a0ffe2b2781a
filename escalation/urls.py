from django.urls import path

import incidents.refs  # noqa: F401  (registers <ref:…>)
from escalation import views

app_name = "escalation"

urlpatterns = [
    path("", views.policy_list, name="policy_list"),
    path("new/", views.policy_edit, name="policy_new"),
    path("policies/<slug:slug>/", views.policy_detail, name="policy_detail"),
    path("policies/<slug:slug>/edit/", views.policy_edit, name="policy_edit"),
    path("services/<slug:slug>/", views.service_panel, name="service_panel"),
    path("incidents/<ref:incident_id>/ladder/", views.ladder, name="ladder"),
    path("incidents/<ref:incident_id>/escalate/", views.escalate, name="escalate"),
    path("answer/<str:token>/", views.answer_escalate, name="answer_escalate"),
]
