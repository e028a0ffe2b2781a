"""Updates to stakeholders and the internal status, for programs."""

from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from core.api import CursorPagination, StrictSerializer, Text, Whole, read_body
from incidents.api import REF, ServiceRef, SeverityOut
from incidents.models import Status, Update
from incidents.presenters import next_update
from incidents.refs import incident_id, incident_of
from incidents.updates import queries, transitions

_CLOCK = ["calm", "soon", "over"]


class MailsOut(serializers.Serializer):
    waiting = serializers.IntegerField()
    sent = serializers.IntegerField()
    failed = serializers.IntegerField()
    dropped = serializers.IntegerField(help_text="The reader had ended the subscription.")


class UpdateOut(serializers.Serializer):
    id = serializers.IntegerField()
    seq = serializers.IntegerField(help_text="Of its entry in the timeline.")
    at = serializers.DateTimeField()
    author = PersonRef(allow_null=True, help_text="Null: a sender.")
    author_name = serializers.CharField()
    impact = serializers.CharField()
    action = serializers.CharField()
    next_update_at = serializers.DateTimeField(allow_null=True, help_text="Null: none was promised.")
    mails = serializers.SerializerMethodField()

    @extend_schema_field(MailsOut)
    def get_mails(self, update: Update) -> dict[str, int]:
        return self.context["mails"][update.pk]


class UpdateIn(StrictSerializer):
    impact = Text(max_length=transitions.MAX_IMPACT, help_text="Who is hurt and how much.")
    action = Text(max_length=transitions.MAX_ACTION, help_text="What is done about it.")
    next_minutes = Whole(
        required=False, allow_null=True, default=None, min_value=0, max_value=1440,
        help_text="When the next one comes. Null: as the severity asks for; 0: none is promised.",
    )  # fmt: skip


def _shown(updates: list[Update]) -> list[dict]:
    mails = queries.mail_counts([update.pk for update in updates])
    return UpdateOut(updates, many=True, context={"mails": mails}).data


@extend_schema(parameters=[REF])
class Updates(APIView):
    serializer_class = UpdateOut
    pagination_class = CursorPagination
    cursor_field = "-id"

    @extend_schema(responses=UpdateOut(many=True), operation_id="incidents_updates_list")
    def get(self, request: Request, ref: str) -> Response:
        """What stakeholders were told, newest first."""
        pages, updates = CursorPagination(), queries.updates_of(incident_of(ref).pk)
        return pages.get_paginated_response(_shown(pages.paginate_queryset(updates, request, view=self)))

    @extend_schema(request=UpdateIn, responses={201: UpdateOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        """Send an update. The clock of the next one begins anew."""
        data = read_body(request, UpdateIn)
        update = transitions.post_update(
            incident_id=incident_id(ref), by=request.user, now=timezone.now(), **data
        )
        return Response(_shown([update])[0], status=201)


class LastUpdateOut(serializers.Serializer):
    at = serializers.DateTimeField()
    author_name = serializers.CharField()
    impact = serializers.CharField()
    action = serializers.CharField()


class PromiseOut(serializers.Serializer):
    at = serializers.DateTimeField(source="due_at")
    state = serializers.ChoiceField(choices=_CLOCK, help_text="over: it is late.")


class RunningOut(serializers.Serializer):
    ref = serializers.CharField(source="incident.ref")
    title = serializers.CharField(source="incident.title")
    severity = SeverityOut(source="incident.severity")
    status = serializers.ChoiceField(choices=Status.choices, source="incident.status")
    service = ServiceRef(source="incident.service")
    impact = serializers.CharField(source="incident.impact")
    is_drill = serializers.BooleanField(source="incident.is_drill")
    triggered_at = serializers.DateTimeField(source="incident.triggered_at")
    last_update = LastUpdateOut(source="last", allow_null=True)
    next_update = serializers.SerializerMethodField(help_text="Null: none is promised.")

    @extend_schema_field(PromiseOut(allow_null=True))
    def get_next_update(self, row: queries.Running) -> dict | None:
        due = next_update(row.incident, self.context["now"])
        return PromiseOut(due).data if due else None


class ServiceStateOut(serializers.Serializer):
    service = ServiceRef()
    severity = SeverityOut(allow_null=True, help_text="The worst that burns on it. Null: it works.")
    incidents = serializers.SerializerMethodField()

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_incidents(self, state: queries.ServiceState) -> list[str]:
        return [incident.ref for incident in state.incidents]


class StatusOut(serializers.Serializer):
    at = serializers.DateTimeField()
    incidents = RunningOut(many=True, help_text="Open ones, worst first.")
    services = ServiceStateOut(many=True, help_text="Drills do not count.")


class StatusNow(APIView):
    @extend_schema(responses=StatusOut, operation_id="status_retrieve")
    def get(self, request: Request) -> Response:
        """What is hurt, what was said about it, and when the next word comes."""
        now = timezone.now()
        page = queries.overview(now)
        shown = {"at": now, "incidents": page.running, "services": page.services}
        return Response(StatusOut(shown, context={"now": now}).data)


endpoints: list[URLPattern] = [
    path("incidents/<str:ref>/updates/", Updates.as_view(), name="incident-updates"),
    path("status/", StatusNow.as_view(), name="status"),
]
"""Under /api/v1/, before the routers."""
