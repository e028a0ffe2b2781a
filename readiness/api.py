"""What would fail tonight, and the waivers, for programs."""

from typing import Any

from django.db.models import QuerySet
from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonField, PersonRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import Role
from core.api import StrictSerializer, Text, read_body
from core.errors import Missing
from readiness import queries, rules, transitions
from readiness.models import Waiver


class FindingOut(serializers.Serializer):
    topic = serializers.ChoiceField(choices=[each.value for each in rules.Topic])
    level = serializers.ChoiceField(
        choices=[each.value for each in rules.Level],
        help_text="bad: fails tonight. soon: later, or one fault away.",
    )
    about = serializers.CharField()
    text = serializers.CharField()
    consequence = serializers.CharField()
    link = serializers.CharField(help_text="Path of the page where it is mended.")


class ReportOut(serializers.Serializer):
    looked_at = serializers.DateTimeField()
    asked_by = PersonRef(allow_null=True, help_text="Null: the daily look.")
    bad = serializers.IntegerField(help_text="How many would fail tonight.")
    findings = FindingOut(many=True)


class Readiness(APIView):
    """The newest look at the coming 24 hours."""

    @extend_schema(operation_id="readiness", responses=ReportOut)
    def get(self, request: Request) -> Response:
        report = queries.newest_report()
        if report is None:
            raise Missing("Nobody has looked yet. POST takes a look.")
        return Response(ReportOut(report).data)

    @extend_schema(
        operation_id="readiness_look", request=None, responses={201: ReportOut}, parameters=[IDEMPOTENCY_KEY]
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Look now."""
        report = transitions.take_a_look(now=timezone.now(), by=request.user)
        return Response(ReportOut(report).data, status=201)


class WaiverOut(serializers.Serializer):
    id = serializers.IntegerField()
    user = PersonRef()
    reason = serializers.CharField()
    until = serializers.DateTimeField()
    given_by = PersonRef()
    given_at = serializers.DateTimeField()


class WaiverIn(StrictSerializer):
    user = PersonField()
    reason = Text(max_length=300)
    until = serializers.DateTimeField()


class WaiverViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """Who may be on call without a verified contact method. Those that hold now."""

    queryset = Waiver.objects.none()
    serializer_class = WaiverOut
    cursor_field = "id"
    write_role = Role.MANAGER

    def get_queryset(self) -> QuerySet[Waiver]:
        return queries.waivers()

    @extend_schema(request=WaiverIn, responses={201: WaiverOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        asked: dict[str, Any] = read_body(request, WaiverIn)
        waiver = transitions.give_waiver(**asked, by=request.user, now=timezone.now())
        return Response(WaiverOut(waiver).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Ends it. What is over stays over."""
        known = pk.isascii() and pk.isdecimal() and len(pk) < 18
        transitions.end_waiver(waiver_id=int(pk) if known else 0, by=request.user, now=timezone.now())
        return Response(status=204)


endpoints: list[URLPattern] = [path("readiness/", Readiness.as_view(), name="readiness")]
