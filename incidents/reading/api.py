"""Words in all timelines, the transcript of one incident, and its phases."""

from typing import Any

from django.http import HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from core.api import StrictSerializer, Text, read_body, read_query, whole_parameter
from incidents.api import REF, EntryOut, SeverityField
from incidents.models import Incident, Kind, Phase
from incidents.reading import export, queries
from incidents.reading.phases import MAX_REASON, correct_phase
from incidents.reading.views import download
from incidents.refs import incident_id, incident_of

MOST = 200


# --- search ---------------------------------------------------------------------------------------------------------


class SearchQuery(StrictSerializer):
    q = Text(
        required=False,
        max_length=200,
        help_text='Words; "exact words", or, -without. Without any nothing is found.',
    )
    incident = Text(required=False, max_length=24, help_text="INC-42 or 42.")
    kind = serializers.ChoiceField(required=False, choices=Kind.choices)
    severity = SeverityField(required=False)
    before = serializers.CharField(
        required=False, max_length=18, help_text="Entries older than the one with this `id`."
    )
    limit = serializers.CharField(required=False, max_length=3, help_text=f"1 to {MOST}, 50 unless told.")

    def validate_before(self, text: str) -> int:
        if not (text.isdecimal() and text.isascii()):
            raise serializers.ValidationError("The id of an entry.")
        return int(text)


class FoundOut(EntryOut):
    id = serializers.IntegerField()
    incident = serializers.CharField(source="incident.ref", help_text="INC-42")


class FoundPage(serializers.Serializer):
    results = FoundOut(many=True)


class Search(APIView):
    @extend_schema(parameters=[SearchQuery], responses=FoundPage, operation_id="search_retrieve")
    def get(self, request: Request) -> Response:
        """Entries of all timelines with these words, newest first."""
        asked = read_query(request, SearchQuery)
        found = queries.search(
            asked.get("q", ""),
            incident_id=incident_id(asked["incident"]) if "incident" in asked else None,
            kinds=[asked["kind"]] if "kind" in asked else (),
            severity=asked.get("severity"),
            before=asked.get("before"),
            limit=whole_parameter(request, "limit", default=50, low=1, high=MOST),
        )
        return Response({"results": FoundOut([one.entry for one in found], many=True).data})


# --- the transcript -------------------------------------------------------------------------------------------------


class TranscriptOut(serializers.Serializer):
    format = serializers.CharField(help_text=export.FORMAT)
    exported_at = serializers.DateTimeField()
    verified = serializers.BooleanField(help_text="Whether every entry follows from the one before.")
    incident = serializers.DictField()
    timeline = EntryOut(many=True)


class TranscriptJSON(APIView):
    @extend_schema(
        responses=TranscriptOut, parameters=[REF], operation_id="incidents_transcript_json_retrieve"
    )
    def get(self, request: Request, ref: str) -> HttpResponse:
        """Everything about the incident: timeline, alerts, pages, roles, updates, tasks, names of attachments."""
        return download(incident_of(ref), "json", export.as_json, content_type="application/json")


class TranscriptMarkdown(APIView):
    @extend_schema(
        responses={(200, "text/markdown"): OpenApiTypes.STR},
        parameters=[REF],
        operation_id="incidents_transcript_md_retrieve",
    )
    def get(self, request: Request, ref: str) -> HttpResponse:
        """The same to read, as Markdown."""
        return download(incident_of(ref), "md", export.as_markdown, content_type="text/markdown")


# --- phases ---------------------------------------------------------------------------------------------------------


class StampOut(serializers.Serializer):
    phase = serializers.ChoiceField(choices=Phase.choices)
    at = serializers.DateTimeField()


class PhasesOut(serializers.Serializer):
    phase = serializers.ChoiceField(choices=Phase.choices, help_text="Where it stands.")
    stamps = StampOut(many=True, help_text="When each phase began; one that was passed over has none.")


class CorrectionIn(StrictSerializer):
    phase = serializers.ChoiceField(choices=Phase.choices)
    at = Text(max_length=40, help_text="When it began: 2026-11-24T02:41:08Z.")
    reason = Text(max_length=MAX_REASON)

    def validate_at(self, text: str) -> Any:
        at = serializers.DateTimeField().to_internal_value(text)
        if not 1970 <= at.year <= 9000:
            raise serializers.ValidationError("A date and a time.")
        return at


class Phases(APIView):
    @extend_schema(responses=PhasesOut, parameters=[REF], operation_id="incidents_phases_retrieve")
    def get(self, request: Request, ref: str) -> Response:
        """Where the incident stands, and when each phase began."""
        return self._answer(incident_of(ref))

    @extend_schema(
        request=CorrectionIn,
        responses=PhasesOut,
        operation_id="incidents_phases_create",
        summary="Correct when a phase began",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        """With a reason; the timeline says what stood there before. Measured times stay."""
        data = read_body(request, CorrectionIn)
        incident = correct_phase(incident_id=incident_id(ref), by=request.user, now=timezone.now(), **data)
        return self._answer(incident)

    @staticmethod
    def _answer(incident: Incident) -> Response:
        stamps = sorted(incident.phase_stamps.all(), key=lambda stamp: Phase.values.index(stamp.phase))
        return Response(PhasesOut({"phase": incident.phase, "stamps": stamps}).data)


endpoints: list[URLPattern] = [
    path("search/", Search.as_view(), name="search"),
    path("incidents/<str:ref>/transcript.json/", TranscriptJSON.as_view(), name="incident-transcript-json"),
    path("incidents/<str:ref>/transcript.md/", TranscriptMarkdown.as_view(), name="incident-transcript-md"),
    path("incidents/<str:ref>/phases/", Phases.as_view(), name="incident-phases"),
]
"""Under /api/v1/, before the routers."""
