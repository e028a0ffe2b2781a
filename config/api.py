"""The REST API under /api/v1/: which app serves what, the schema, and a page to browse it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework.routers import SimpleRouter

from accounts.api import Me, TeamViewSet, TokenViewSet, UserViewSet
from accounts.permissions import role_required
from catalog.api import ServiceViewSet
from core.api import not_found
from escalation import api as escalation_api
from escalation import plan_api
from escalation.api import Escalate, Escalation, PolicyViewSet
from incidents.api import IncidentViewSet
from incidents.channel import api as channel_api
from incidents.grouping import api as grouping_api
from incidents.reading import api as reading_api
from incidents.roles import api as roles_api
from incidents.snooze import api as snooze_api
from incidents.todo import api as todo_api
from incidents.travel import api as travel_api
from incidents.updates import api as updates_api
from integrations.api import IngestEventViewSet, IntegrationViewSet
from integrations.heartbeats.api import HeartbeatViewSet
from metrics.api import Metrics
from oncall.api import ScheduleViewSet
from oncall.swap_api import FeedViewSet, SwapViewSet
from readiness import api as readiness_api
from readiness.api import WaiverViewSet
from runbooks import api as runbooks_api
from runbooks.api import RunbookViewSet

router = SimpleRouter()
router.register("heartbeats", HeartbeatViewSet, basename="heartbeat")
router.register("held-alerts", grouping_api.HeldAlertViewSet, basename="held-alert")
router.register("incidents", IncidentViewSet, basename="incident")
router.register("ingest-events", IngestEventViewSet, basename="ingest-event")
router.register("integrations", IntegrationViewSet, basename="integration")
router.register("maintenance", grouping_api.MaintenanceViewSet, basename="maintenance")
router.register("policies", PolicyViewSet, basename="policy")
router.register("runbooks", RunbookViewSet, basename="runbook")
router.register("rotations", roles_api.RotationViewSet, basename="rotation")
router.register("schedules", ScheduleViewSet, basename="schedule")
router.register("swaps", SwapViewSet, basename="swap")
router.register("calendar-feeds", FeedViewSet, basename="calendar-feed")
router.register("waivers", WaiverViewSet, basename="waiver")
router.register("services", ServiceViewSet, basename="service")
router.register("teams", TeamViewSet, basename="team")
router.register("users", UserViewSet, basename="user")
router.register("tokens", TokenViewSet, basename="token")


@role_required("viewer")
def docs(request: HttpRequest) -> HttpResponse:
    return render(request, "api/docs.html")


endpoints = [
    path("services/<slug:slug>/page-plan/", plan_api.ServicePlan.as_view(), name="service-page-plan"),
    path("me/", Me.as_view(), name="me"),
    path("incidents/<str:ref>/escalation/", Escalation.as_view(), name="incident-escalation"),
    path("incidents/<str:ref>/escalate/", Escalate.as_view(), name="incident-escalate"),
    *escalation_api.endpoints,
    *updates_api.endpoints,
    *roles_api.endpoints,
    *snooze_api.endpoints,
    *todo_api.endpoints,
    *channel_api.endpoints,
    *grouping_api.endpoints,
    *reading_api.endpoints,
    *travel_api.endpoints,
    *readiness_api.endpoints,
    *runbooks_api.endpoints,
    path("metrics/", Metrics.as_view(), name="metrics"),
    *router.urls,
    path("schema/", SpectacularJSONAPIView.as_view(), name="schema"),
]

urlpatterns = [
    path("docs/", docs, name="api-docs"),
    path("", include((endpoints, "api"))),
    re_path(r"^.*$", not_found),
]
