"""The banner for programs: what stands at the top of the room, in one small answer."""

from datetime import datetime
from typing import Any

from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonRef
from incidents import presenters
from incidents.api import REF, IncidentOut, ServiceRef, SeverityOut
from incidents.models import Phase, Status
from incidents.refs import incident_of

_CLOCK_STATES = ["calm", "soon", "over"]


class PhaseStampOut(serializers.Serializer):
    phase = serializers.ChoiceField(choices=Phase.choices)
    state = serializers.ChoiceField(choices=["done", "now", "todo"])
    at = serializers.DateTimeField(allow_null=True, help_text="When it began. Null: not yet, or skipped.")


class NextPageOut(serializers.Serializer):
    at = serializers.DateTimeField(source="due_at")
    label = serializers.CharField(help_text="Who is paged then.")  # type: ignore[assignment]
    state = serializers.ChoiceField(choices=_CLOCK_STATES)


class NextUpdateOut(serializers.Serializer):
    at = serializers.DateTimeField(source="due_at")
    state = serializers.ChoiceField(choices=_CLOCK_STATES, help_text="`over`: it is late.")


class BannerOut(serializers.Serializer):
    ref = serializers.CharField(source="incident.ref", help_text="INC-42")
    title = serializers.CharField(source="incident.title")
    severity = SeverityOut(source="incident.severity")
    status = serializers.ChoiceField(source="incident.status", choices=Status.choices)
    state = serializers.CharField(source="state.words", help_text="The status in words, as the page says it.")
    service = ServiceRef(source="incident.service")
    phase = serializers.ChoiceField(source="incident.phase", choices=Phase.choices)
    phases = serializers.SerializerMethodField(help_text="The whole course, in order.")
    commander = PersonRef(source="incident.commander", allow_null=True)
    impact = serializers.CharField(source="incident.impact", help_text="Empty: nobody has said.")
    is_drill = serializers.BooleanField(source="incident.is_drill")
    triggered_at = serializers.DateTimeField(source="incident.triggered_at")
    running_seconds = serializers.SerializerMethodField(help_text="Until now, or until its end.")
    next_page = NextPageOut(allow_null=True, help_text="Null: nobody is paged next.")
    next_update = NextUpdateOut(allow_null=True, help_text="Null: none is promised.")
    snooze = NextUpdateOut(allow_null=True, help_text="When it pages again. Null: not snoozed.")
    contain = NextUpdateOut(allow_null=True, help_text="When it should be contained. Null: no target.")
    url = serializers.SerializerMethodField(help_text="Its room, for people.")

    @extend_schema_field(PhaseStampOut(many=True))
    def get_phases(self, banner: presenters.Banner) -> list[dict[str, Any]]:
        rows = [
            {"phase": phase.value, "state": tick.state, "at": tick.at}
            for phase, tick in zip(Phase, banner.ticks, strict=True)
        ]
        return list(PhaseStampOut(rows, many=True).data)

    @extend_schema_field({"type": "integer", "minimum": 0})
    def get_running_seconds(self, banner: presenters.Banner) -> int:
        return max(int(banner.running.total_seconds()), 0)

    @extend_schema_field({"type": "string", "format": "uri"})
    def get_url(self, banner: presenters.Banner) -> str:
        return IncidentOut().get_url(banner.incident)


@extend_schema(parameters=[REF], responses=BannerOut)
class Banner(APIView):
    def get(self, request: Request, ref: str) -> Response:
        """The status banner: how bad, what state, who commands, what is due next."""
        return Response(BannerOut(banner_of(ref, timezone.now())).data)


def banner_of(ref: str, now: datetime) -> presenters.Banner:
    return presenters.banner(incident_of(ref), now)


endpoints: list[URLPattern] = [
    path("incidents/<str:ref>/banner/", Banner.as_view(), name="incident-banner"),
]
"""Under /api/v1/, before the routers. Without the slash at its end it is sent on (core.api.not_found)."""
