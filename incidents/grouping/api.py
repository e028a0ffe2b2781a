"""How a service's alerts are grouped and held, maintenance, and what people do with single alerts."""

from typing import Any

from django.db.models import Q, QuerySet
from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import Role
from catalog.api import ServiceField, ServiceLink
from catalog.models import Service
from core.api import Flag, StrictSerializer, Text, Whole, read_body, read_query
from core.errors import Invalid, Missing
from incidents import queries as incidents
from incidents.api import REF, AlertOut, IncidentOut, incident_id
from incidents.grouping import queries, rules, transitions
from incidents.models import (
    Alert,
    AlertSettings,
    Grouping,
    HeldAlert,
    HeldStatus,
    HeldWhy,
    Maintenance,
    MaintenanceState,
)


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Missing(f"There is no such {what}.")
    return int(text)


# --- settings ----------------------------------------------------------------------------------------------------

_LIMITS = transitions.LIMITS


class AlertSettingsOut(serializers.Serializer):
    grouping = serializers.ChoiceField(
        choices=Grouping.choices,
        help_text="`service`: within its grouping_minutes; `open`: until it is resolved.",
    )
    grouping_fields = serializers.ListField(child=serializers.CharField())
    grouping_seconds = serializers.IntegerField(
        help_text="300 to 3600, or 86400; counts from the last alert."
    )
    flap_count = serializers.IntegerField(help_text="Flapping when it opens so often; 0: never.")
    flap_minutes = serializers.IntegerField()
    flap_stable_minutes = serializers.IntegerField()
    auto_resolve_minutes = serializers.IntegerField(help_text="Over without news for so long; 0: never.")
    repage_hours = serializers.IntegerField(help_text="A trigger pages again after so long; 0: never.")
    guard_minutes = serializers.IntegerField(help_text="Proposed when resolving what still fires.")
    tier0_seconds = serializers.IntegerField(help_text="Time of an automated action before people; 0: none.")
    tier0_url = serializers.CharField()
    tier0_check_url = serializers.CharField()
    tier0_check_path = serializers.CharField()
    tier0_check_value = serializers.CharField()


class AlertSettingsIn(StrictSerializer):
    grouping = serializers.ChoiceField(choices=Grouping.choices, required=False)
    grouping_fields = serializers.ListField(
        child=Text(max_length=80), required=False, max_length=rules.MOST_FIELDS
    )
    grouping_seconds = Whole(required=False, min_value=300, max_value=86400)
    flap_count = Whole(required=False, min_value=0, max_value=_LIMITS["flap_count"][1])
    flap_minutes = Whole(required=False, min_value=1, max_value=_LIMITS["flap_minutes"][1])
    flap_stable_minutes = Whole(required=False, min_value=1, max_value=_LIMITS["flap_stable_minutes"][1])
    auto_resolve_minutes = Whole(required=False, min_value=0, max_value=_LIMITS["auto_resolve_minutes"][1])
    repage_hours = Whole(required=False, min_value=0, max_value=_LIMITS["repage_hours"][1])
    guard_minutes = Whole(required=False, min_value=0, max_value=_LIMITS["guard_minutes"][1])
    tier0_seconds = Whole(required=False, min_value=0, max_value=_LIMITS["tier0_seconds"][1])
    tier0_url = Text(max_length=500, required=False, allow_blank=True)
    tier0_check_url = Text(max_length=500, required=False, allow_blank=True)
    tier0_check_path = Text(max_length=120, required=False, allow_blank=True)
    tier0_check_value = Text(max_length=120, required=False, allow_blank=True)


def _service(ref: str) -> Service:
    by_id = Q(pk=int(ref)) if ref.isascii() and ref.isdecimal() and len(ref) < 19 else Q()
    found = Service.objects.filter(Q(slug=ref[:81]) | by_id).order_by("pk").first()
    if found is None:
        raise Missing("There is no such service.")
    return found


SERVICE = OpenApiParameter("service", str, OpenApiParameter.PATH, description="Slug or id.")


class ServiceAlertSettings(APIView):
    write_role = Role.MANAGER

    @extend_schema(
        responses=AlertSettingsOut, parameters=[SERVICE], operation_id="services_alert_settings_retrieve"
    )
    def get(self, request: Request, service: str) -> Response:
        """How alerts of this service become incidents."""
        return self._answer(queries.settings_of(_service(service)))

    @extend_schema(
        request=AlertSettingsIn, responses=AlertSettingsOut, parameters=[SERVICE],
        operation_id="services_alert_settings_change",
    )  # fmt: skip
    def patch(self, request: Request, service: str) -> Response:
        """Change what is given. It counts for alerts that come from now on."""
        given = read_body(request, AlertSettingsIn)
        found = _service(service)
        return self._answer(
            transitions.change_settings(service_id=found.pk, by=request.user, now=timezone.now(), **given)
        )

    def _answer(self, settings: AlertSettings) -> Response:
        return Response(AlertSettingsOut(settings).data)


# --- maintenance -------------------------------------------------------------------------------------------------


class ConditionOut(serializers.Serializer):
    field = serializers.CharField()
    op = serializers.ChoiceField(choices=[(op, op) for op in rules.OPS])
    value = serializers.CharField()


class MaintenanceOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    reason = serializers.CharField()
    services = ServiceLink(many=True)
    conditions = ConditionOut(many=True, help_text="All must hold. None: every alert.")
    state = serializers.ChoiceField(choices=MaintenanceState.choices)
    starts_at = serializers.DateTimeField(help_text="Of the occurrence under way, or of the next one.")
    ends_at = serializers.DateTimeField()
    minutes = serializers.IntegerField()
    zone = serializers.CharField()
    recurrence = serializers.CharField(help_text="RRULE; empty: once.")
    reroute_on_end = serializers.BooleanField()
    critical_pierces = serializers.BooleanField()
    created_by = PersonRef(allow_null=True)


class ConditionIn(StrictSerializer):
    field = Text(max_length=80)
    op = serializers.ChoiceField(choices=[(op, op) for op in rules.OPS])
    value = Text(max_length=200)


class MaintenanceIn(StrictSerializer):
    name = Text(max_length=120)
    reason = Text(max_length=300, required=False, default="", allow_blank=True)
    services = serializers.ListField(child=ServiceField(), min_length=1, max_length=transitions.MOST_SERVICES)
    conditions = ConditionIn(many=True, required=False, default=list)
    starts_at = serializers.DateTimeField(help_text="In the past means now.")
    minutes = Whole(min_value=1, max_value=rules.LONGEST_MINUTES)
    zone = Text(max_length=60, required=False, default="UTC")
    recurrence = Text(
        max_length=200, required=False, default="", allow_blank=True, help_text="FREQ=WEEKLY;BYDAY=SU"
    )
    reroute_on_end = Flag(required=False, default=True)
    critical_pierces = Flag(required=False, default=False)


class MaintenanceEventOut(serializers.Serializer):
    id = serializers.IntegerField()
    kind = serializers.ChoiceField(
        choices=[(kind, kind) for kind in ("planned", "changed", "started", "ended", "cancelled")]
    )
    occurrence_at = serializers.DateTimeField(help_text="The start of the occurrence that it is about.")
    at = serializers.DateTimeField()
    by = PersonRef(allow_null=True, help_text="Null: its time had come.")


class MaintenanceQuery(StrictSerializer):
    state = serializers.ChoiceField(
        required=False, choices=["open", *MaintenanceState.values], help_text="`open`: planned or under way."
    )


class MaintenanceViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """Times in which alerts of some services page nobody. They are kept; see held-alerts."""

    queryset = Maintenance.objects.none()
    serializer_class = MaintenanceOut
    cursor_field = "-id"
    lookup_value_regex = r"\d+"

    def get_queryset(self) -> QuerySet[Maintenance]:
        asked = read_query(self.request, MaintenanceQuery) if self.action == "list" else {}
        return queries.maintenance_list(state=asked.get("state", ""))

    @extend_schema(parameters=[MaintenanceQuery])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().list(request, *args, **kwargs)

    def _answer(self, pk: int, *, status: int = 200) -> Response:
        found = queries.maintenance(pk)
        if found is None:
            raise Missing("There is no such maintenance.")
        return Response(MaintenanceOut(found).data, status=status)

    @extend_schema(responses=MaintenanceOut)
    def retrieve(self, request: Request, pk: str) -> Response:
        return self._answer(_number(pk, "maintenance"))

    @extend_schema(request=MaintenanceIn, responses={201: MaintenanceOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        """Plan one. A start in the past is now."""
        data = transitions.MaintenanceData(**read_body(request, MaintenanceIn))
        row = transitions.plan_maintenance(data=data, by=request.user, now=timezone.now())
        return self._answer(row.pk, status=201)

    @extend_schema(request=MaintenanceIn, responses=MaintenanceOut)
    def update(self, request: Request, pk: str) -> Response:
        """Change it as a whole. What is over stays as it was; what is under way keeps its start."""
        data = transitions.MaintenanceData(**read_body(request, MaintenanceIn))
        row = transitions.change_maintenance(
            maintenance_id=_number(pk, "maintenance"), data=data, by=request.user, now=timezone.now()
        )
        return self._answer(row.pk)

    @extend_schema(request=None, responses=MaintenanceOut, parameters=[IDEMPOTENCY_KEY])
    @action(detail=True, methods=["post"])
    @idempotent
    def end(self, request: Request, pk: str) -> Response:
        """End what is under way; a series goes on with its next occurrence. What has not begun is cancelled."""
        row = transitions.end_maintenance(
            maintenance_id=_number(pk, "maintenance"), by=request.user, now=timezone.now()
        )
        return self._answer(row.pk)

    @extend_schema(request=None, responses=MaintenanceOut, parameters=[IDEMPOTENCY_KEY])
    @action(detail=True, methods=["post"])
    @idempotent
    def cancel(self, request: Request, pk: str) -> Response:
        """End it with all that follows."""
        row = transitions.cancel_series(
            maintenance_id=_number(pk, "maintenance"), by=request.user, now=timezone.now()
        )
        return self._answer(row.pk)

    @extend_schema(responses=MaintenanceEventOut(many=True))
    @action(detail=True)
    def events(self, request: Request, pk: str) -> Response:
        """What became of it, newest first; each start and each end once."""
        found = queries.maintenance(_number(pk, "maintenance"))
        if found is None:
            raise Missing("There is no such maintenance.")
        rows = self.paginate_queryset(found.events.select_related("by"))
        return self.get_paginated_response(MaintenanceEventOut(rows, many=True).data)


# --- held back ---------------------------------------------------------------------------------------------------


class HeldIncidentRef(serializers.Serializer):
    id = serializers.IntegerField()
    ref = serializers.CharField()


class HeldAlertOut(serializers.Serializer):
    id = serializers.IntegerField()
    service = ServiceLink()
    sender = serializers.CharField(source="origin_name")
    dedup_key = serializers.CharField()
    title = serializers.CharField()
    severity = serializers.CharField()
    why = serializers.ChoiceField(choices=HeldWhy.choices)
    maintenance = serializers.IntegerField(source="maintenance_id", allow_null=True)
    status = serializers.ChoiceField(choices=HeldStatus.choices)
    until = serializers.DateTimeField(help_text="When it is looked at again.")
    count = serializers.IntegerField()
    first_seen_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    incident = HeldIncidentRef(allow_null=True, help_text="Which it opened or joined at the end.")


class HeldAlertQuery(StrictSerializer):
    status = serializers.ChoiceField(choices=HeldStatus.choices, required=False)


class HeldAlertViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """Alerts that were kept without paging: in maintenance, silenced, or right after a resolve by hand."""

    queryset = HeldAlert.objects.none()
    serializer_class = HeldAlertOut
    cursor_field = "-id"

    def get_queryset(self) -> QuerySet[HeldAlert]:
        asked = read_query(self.request, HeldAlertQuery)
        return queries.held_list(status=asked.get("status", ""))

    @extend_schema(parameters=[HeldAlertQuery])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first."""
        return super().list(request, *args, **kwargs)


# --- single alerts, and two incidents ----------------------------------------------------------------------------

ALERT = OpenApiParameter("alert_id", {"type": "integer"}, OpenApiParameter.PATH, description="Of the alert.")


class MuteIn(StrictSerializer):
    until = serializers.DateTimeField(
        allow_null=True, help_text="At most 30 days ahead. Null: it pages again."
    )


class WhyIn(StrictSerializer):
    reason = Text(max_length=300, required=False, default="", allow_blank=True)


class MergeIn(WhyIn):
    into = Text(max_length=30, help_text="INC-42 or 42: the incident that goes on.")


class AlertMute(APIView):
    @extend_schema(
        request=MuteIn, responses=AlertOut, parameters=[ALERT, IDEMPOTENCY_KEY], operation_id="alerts_mute",
        summary="Silence one alert of a group until then",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, alert_id: int) -> Response:
        data = read_body(request, MuteIn)
        alert = transitions.mute(alert_id=alert_id, by=request.user, now=timezone.now(), **data)
        return Response(AlertOut(Alert.objects.get(pk=alert.pk)).data)


class AlertSplit(APIView):
    @extend_schema(
        request=WhyIn, responses={201: IncidentOut}, parameters=[ALERT, IDEMPOTENCY_KEY],
        operation_id="alerts_split", summary="Give one alert an incident of its own, which pages at once",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, alert_id: int) -> Response:
        data = read_body(request, WhyIn)
        found = transitions.split_off(alert_id=alert_id, by=request.user, now=timezone.now(), **data)
        return Response(IncidentOut(incidents.incident(found.pk)).data, status=201)


class IncidentMerge(APIView):
    @extend_schema(
        request=MergeIn, responses=IncidentOut, parameters=[REF, IDEMPOTENCY_KEY],
        operation_id="incidents_merge", summary="Merge it into another incident; that one is the answer",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, MergeIn)
        try:
            into = incident_id(data["into"])
        except Missing as error:
            raise Invalid(error.message, fields={"into": [error.message]}) from None
        target = transitions.merge(
            source_id=incident_id(ref),
            target_id=into,
            by=request.user,
            now=timezone.now(),
            reason=data["reason"],
        )
        return Response(IncidentOut(incidents.incident(target.pk)).data)


class IncidentUnmerge(APIView):
    @extend_schema(
        request=None, responses=IncidentOut, parameters=[REF, IDEMPOTENCY_KEY], operation_id="incidents_unmerge",
        summary="Undo its merge within an hour: it is open again",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        found = incidents.incident(incident_id(ref))
        move = queries.merge_of(found) if found else None
        if move is None:
            raise Missing("It was not merged into another one.")
        back = transitions.undo(move_id=move.pk, by=request.user, now=timezone.now())
        return Response(IncidentOut(incidents.incident(back.pk)).data)


endpoints: list[URLPattern] = [
    path(
        "services/<str:service>/alert-settings/",
        ServiceAlertSettings.as_view(),
        name="service-alert-settings",
    ),
    path("alerts/<int:alert_id>/mute/", AlertMute.as_view(), name="alert-mute"),
    path("alerts/<int:alert_id>/split/", AlertSplit.as_view(), name="alert-split"),
    path("incidents/<str:ref>/merge/", IncidentMerge.as_view(), name="incident-merge"),
    path("incidents/<str:ref>/unmerge/", IncidentUnmerge.as_view(), name="incident-unmerge"),
]
"""Under /api/v1/, before the routers."""
