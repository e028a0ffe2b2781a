"""Who would be paged when, for programs."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonRef
from catalog.queries import get_service
from core.api import StrictSerializer, Whole, read_query
from escalation import foresight
from incidents.api import ServiceRef
from notifications.models import Urgency


class FaultOut(serializers.Serializer):
    level = serializers.IntegerField(allow_null=True, help_text="Null: about the whole policy.")
    text = serializers.CharField()
    is_bad = serializers.BooleanField()


class MessageOut(serializers.Serializer):
    at = serializers.DateTimeField()
    channel = serializers.CharField()
    why = serializers.CharField()


class CallOut(serializers.Serializer):
    person = PersonRef()
    reason = serializers.CharField()
    messages = MessageOut(many=True, help_text="Unless somebody answers before.")
    unreachable = serializers.BooleanField(help_text="No verified contact method: the sign-in address.")


class MomentOut(serializers.Serializer):
    at = serializers.DateTimeField()
    title = serializers.CharField()
    note = serializers.CharField()
    passed = serializers.ListField(child=serializers.CharField())
    calls = CallOut(many=True)
    due_at = serializers.DateTimeField(allow_null=True, help_text="When the next step comes.")
    is_catch_all = serializers.BooleanField()


class PlanOut(serializers.Serializer):
    service = ServiceRef()
    policy = serializers.CharField(source="policy.slug", default=None, allow_null=True)
    severity = serializers.IntegerField()
    urgency = serializers.ChoiceField(choices=Urgency.choices)
    at = serializers.DateTimeField()
    moments = MomentOut(many=True)
    is_cut = serializers.BooleanField(help_text="There are more moments than these.")
    faults = FaultOut(many=True)


class PlanQuery(StrictSerializer):
    severity = Whole(min_value=1, max_value=4, default=1)
    at = serializers.DateTimeField(required=False)
    urgency = serializers.ChoiceField(choices=Urgency.choices, required=False)

    def to_internal_value(self, data: Any) -> Any:
        given = dict(data)
        if isinstance(given.get("severity"), str) and given["severity"].isdecimal():
            given["severity"] = int(given["severity"])
        return super().to_internal_value(given)


class ServicePlan(APIView):
    @extend_schema(
        operation_id="service_page_plan", responses=PlanOut,
        parameters=[
            OpenApiParameter("slug", str, OpenApiParameter.PATH),
            OpenApiParameter("severity", int, description="1 to 4; 1 without it."),
            OpenApiParameter("at", datetime, description="Now without it."),
            OpenApiParameter("urgency", str, enum=Urgency.values, description="That of the severity without it."),
        ],
    )  # fmt: skip
    def get(self, request: Request, slug: str) -> Response:
        """Who would be paged when, and by what, if it broke then and nobody answered; as things stand now."""
        service = get_service(slug)
        asked = read_query(request, PlanQuery)
        plan = foresight.page_plan(
            service=service, severity=asked["severity"], at=asked.get("at") or timezone.now(),
            urgency=asked.get("urgency", ""),
        )  # fmt: skip
        return Response(PlanOut(plan).data)
