"""Runbooks: the repository, and which of them are at hand in an incident."""

from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonRef, TeamField, TeamRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from catalog.api import ServiceField, ServiceLink
from core.api import StrictSerializer, Text, Whole, by_ref, read_body, read_query
from core.errors import Missing
from incidents.api import REF
from incidents.refs import incident_id, incident_of
from runbooks import queries, rules, transitions
from runbooks.models import OutageClass, Runbook, Version, VersionStatus
from runbooks.transitions import MOST_SERVICES, MOST_TAGS, RunbookData


class StepOut(serializers.Serializer):
    number = serializers.IntegerField()
    title = serializers.CharField()
    minutes = serializers.IntegerField(allow_null=True, help_text="Expected. Null: the text names none.")
    body = serializers.CharField(help_text="Markdown.")


class VersionOut(serializers.Serializer):
    number = serializers.IntegerField()
    status = serializers.ChoiceField(choices=VersionStatus.choices)
    author = PersonRef()
    saved_at = serializers.DateTimeField()
    published_by = PersonRef(allow_null=True)
    published_at = serializers.DateTimeField(allow_null=True)
    why = serializers.CharField()
    text = serializers.CharField(help_text="The whole runbook, as Markdown.")
    steps = serializers.SerializerMethodField(help_text="As they are read from the text.")

    @extend_schema_field(StepOut(many=True))
    def get_steps(self, version: Version) -> Any:
        return StepOut(rules.read(version.text).steps, many=True).data


class RunbookOut(serializers.Serializer):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    title = serializers.CharField()
    summary = serializers.CharField()
    outage_class = serializers.ChoiceField(choices=OutageClass.choices)
    team = TeamRef(allow_null=True)
    services = ServiceLink(many=True)
    tags = serializers.ListField(child=serializers.CharField())
    published_version = serializers.IntegerField(
        source="published.number", default=None, allow_null=True, help_text="Null: never published."
    )
    draft_version = serializers.IntegerField(
        source="draft", allow_null=True, help_text="Null: there is none."
    )
    saved_at = serializers.DateTimeField(help_text="Send it back as `read_at` with a change.")
    archived_at = serializers.DateTimeField(allow_null=True, help_text="Then it is in no list any more.")


class RunbookIn(StrictSerializer):
    title = Text(max_length=160)
    text = Text(max_length=rules.LONGEST, trim_whitespace=False)
    summary = Text(max_length=300, required=False, default="", allow_blank=True)
    outage_class = serializers.ChoiceField(choices=OutageClass.choices, default=OutageClass.OTHER)
    team = TeamField(required=False, allow_null=True, default=None)
    services = serializers.ListField(
        child=ServiceField(), required=False, default=list, max_length=MOST_SERVICES
    )
    tags = serializers.ListField(
        child=Text(max_length=40), required=False, default=list, max_length=MOST_TAGS
    )
    why = Text(max_length=300, required=False, default="", allow_blank=True)
    read_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None,
        help_text="`saved_at` of the runbook that you changed; 409 when it was saved since. Without it a draft of somebody else "
        "is not overwritten.",
    )  # fmt: skip


class RunbookQuery(StrictSerializer):
    search = serializers.CharField(required=False, max_length=120)
    outage_class = serializers.ChoiceField(choices=OutageClass.choices, required=False)
    team = serializers.CharField(required=False, max_length=80)
    service = serializers.CharField(required=False, max_length=80)
    tag = serializers.CharField(required=False, max_length=40)


class PublishIn(StrictSerializer):
    version = Whole(min_value=1, max_value=1_000_000)
    read_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None,
        help_text="`saved_at` of the version that you read; 409 when it says something else by now.",
    )  # fmt: skip


def _data(asked: dict[str, Any]) -> tuple[RunbookData, datetime | None]:
    read_at = asked.pop("read_at")
    return RunbookData(**asked), read_at


class RunbookViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """The repository. A runbook is written as a whole; what is written is a draft until somebody publishes it."""

    queryset = Runbook.objects.none()
    serializer_class = RunbookOut
    lookup_field = "ref"
    lookup_value_regex = r"[-\w]+"
    cursor_field = "id"

    def get_queryset(self) -> QuerySet[Runbook]:
        asked = read_query(self.request, RunbookQuery) if self.action == "list" else {}
        return queries.repository(**asked)

    def get_object(self) -> Runbook:
        """By id or by slug; archived ones too, as an old incident leads to them."""
        found = queries.repository(archived=True).filter(by_ref(self.kwargs["ref"])).first()
        if found is None:
            raise Missing("There is no such runbook.")
        return found

    def _answer(self, runbook_id: int, status: int = 200) -> Response:
        return Response(RunbookOut(queries.repository(archived=True).get(pk=runbook_id)).data, status=status)

    @extend_schema(
        parameters=[
            OpenApiParameter("search", str, description="In title, summary, tags, services and the text."),
            OpenApiParameter("outage_class", str, enum=OutageClass.values),
            OpenApiParameter("team", str, description="Slug of the team."),
            OpenApiParameter("service", str, description="Slug of a service."),
            OpenApiParameter("tag", str),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=RunbookIn, responses={201: RunbookOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        data, _ = _data(read_body(request, RunbookIn))
        runbook = transitions.create_runbook(data=data, by=request.user, now=timezone.now())
        return self._answer(runbook.pk, status=201)

    @extend_schema(request=RunbookIn, responses=RunbookOut, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def update(self, request: Request, ref: str) -> Response:
        """The text becomes the draft; everything else takes effect at once."""
        runbook = self.get_object()
        data, read_at = _data(read_body(request, RunbookIn))
        transitions.save_draft(
            runbook_id=runbook.pk, data=data, by=request.user, now=timezone.now(), read_at=read_at
        )
        return self._answer(runbook.pk)

    @extend_schema(
        responses=VersionOut,
        parameters=[OpenApiParameter("number", int, OpenApiParameter.PATH)],
        filters=False,
    )
    @action(detail=True, methods=["get"], url_path=r"versions/(?P<number>[0-9]{1,7})", pagination_class=None)
    def version(self, request: Request, ref: str, number: str) -> Response:
        """One version, with its text and its steps."""
        runbook = self.get_object()
        version = queries.version_of(runbook, int(number))
        if version is None:
            raise Missing(f"{runbook} has no version {number}.")
        return Response(VersionOut(version).data)

    @extend_schema(request=PublishIn, responses=RunbookOut, parameters=[IDEMPOTENCY_KEY])
    @action(detail=True, methods=["post"])
    @idempotent
    def publish(self, request: Request, ref: str) -> Response:
        """By a second person, or a manager. Incidents that use an earlier version keep it."""
        runbook = self.get_object()
        asked = read_body(request, PublishIn)
        transitions.publish(
            runbook_id=runbook.pk, number=asked["version"], read_at=asked["read_at"], by=request.user, now=timezone.now()
        )  # fmt: skip
        return self._answer(runbook.pk)


# --- in an incident ---------------------------------------------------------------------------------


class UseOut(serializers.Serializer):
    slug = serializers.CharField(source="runbook.slug")
    title = serializers.CharField(source="runbook.title")
    version = serializers.IntegerField(
        source="version.number", help_text="Stays what it was when it was taken up."
    )
    attached_by = PersonRef(allow_null=True)
    attached_at = serializers.DateTimeField()


class UseIn(StrictSerializer):
    runbook = Text(max_length=120, help_text="Slug.")


class IncidentRunbooks(APIView):
    """The runbooks at hand in an incident; at most one use of each."""

    @extend_schema(
        operation_id="incident_runbooks", parameters=[REF], responses=UseOut(many=True), filters=False
    )
    def get(self, request: Request, ref: str) -> Response:
        return Response(UseOut(queries.uses_of(incident_of(ref)), many=True).data)

    @extend_schema(
        operation_id="incident_runbook_take_up", parameters=[REF, IDEMPOTENCY_KEY], request=UseIn,
        responses={201: UseOut},
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        """Take one up in its published version. What is at hand already stays as it is."""
        runbook = queries.runbook_by_slug(read_body(request, UseIn)["runbook"])
        use = transitions.attach(
            incident_id=incident_id(ref), runbook_id=runbook.pk, by=request.user, now=timezone.now()
        )
        return Response(UseOut(use).data, status=201)


class IncidentRunbook(APIView):
    @extend_schema(
        operation_id="incident_runbook_lay_aside", responses={204: None},
        parameters=[REF, OpenApiParameter("slug", str, OpenApiParameter.PATH)],
    )  # fmt: skip
    def delete(self, request: Request, ref: str, slug: str) -> Response:
        """Lay it aside. What is not at hand is not an error."""
        transitions.detach(
            incident_id=incident_id(ref),
            runbook_id=queries.runbook_by_slug(slug).pk,
            by=request.user,
            now=timezone.now(),
        )
        return Response(status=204)


endpoints: list[URLPattern] = [
    path("incidents/<str:ref>/runbooks/", IncidentRunbooks.as_view(), name="incident-runbooks"),
    path("incidents/<str:ref>/runbooks/<slug:slug>/", IncidentRunbook.as_view(), name="incident-runbook"),
]
