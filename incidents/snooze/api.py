"""Putting an incident off, and ending that."""

from datetime import timedelta

from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from core.api import StrictSerializer, Text, Whole, read_body
from core.errors import Invalid
from incidents import queries as incidents
from incidents.api import REF, EmptyIn, IncidentOut, incident_id
from incidents.snooze import transitions

LONGEST = 604_800


class SnoozeIn(StrictSerializer):
    seconds = Whole(
        min_value=1, max_value=LONGEST, required=False, allow_null=True, default=None, help_text="From now."
    )
    until = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="At most 7 days ahead."
    )
    reason = Text(max_length=300, required=False, default="", allow_blank=True)


class Snooze(APIView):
    @extend_schema(
        request=SnoozeIn,
        responses=IncidentOut,
        operation_id="incidents_snooze",
        summary="Page nobody until a time; without one, until the next working hours",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data, now = read_body(request, SnoozeIn), timezone.now()
        seconds, until = data["seconds"], data["until"]
        if seconds is not None and until is not None:
            raise Invalid("Say seconds or until.", fields={"until": ["Not together with seconds."]})
        if seconds is not None:
            until = now + timedelta(seconds=seconds)
        pk = incident_id(ref)
        transitions.snooze(
            incident_id=pk, by=request.user, until=until, reason=data["reason"], now=now, via="api"
        )
        return Response(IncidentOut(incidents.incident(pk)).data)


class Wake(APIView):
    @extend_schema(
        request=EmptyIn,
        responses=IncidentOut,
        operation_id="incidents_unsnooze",
        summary="End the snooze; it stays acknowledged",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        read_body(request, EmptyIn)
        pk = incident_id(ref)
        transitions.wake(incident_id=pk, by=request.user, now=timezone.now())
        return Response(IncidentOut(incidents.incident(pk)).data)


endpoints: list[URLPattern] = [
    path("incidents/<str:ref>/snooze/", Snooze.as_view(), name="incident-snooze"),
    path("incidents/<str:ref>/unsnooze/", Wake.as_view(), name="incident-unsnooze"),
]
"""Under /api/v1/, before the routers."""
