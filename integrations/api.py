"""Who may send alerts, and what became of each request."""

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Role
from catalog.api import ServiceField, ServiceLink
from core.api import StrictSerializer, Text, Whole, read_body, read_query
from core.errors import Missing
from incidents.models import Grouping
from integrations import queries, transitions
from integrations.models import IngestEvent, Integration, IntegrationKind, Verdict
from integrations.transitions import RECEIVED_KINDS

RECEIVED = [(kind.value, kind.label) for kind in RECEIVED_KINDS]


def _id(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise Missing(f"There is no such {what}.")
    return int(text)


# --- integrations ---------------------------------------------------------------------------------------------


class IntegrationOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=IntegrationKind.choices)
    service = ServiceLink()
    key_hint = serializers.CharField(help_text="The last characters of its key.")
    grouping = serializers.ChoiceField(
        choices=Grouping.choices, allow_blank=True, help_text="For services that group nothing. Empty: none."
    )
    grouping_fields = serializers.ListField(child=serializers.CharField())
    grouping_seconds = serializers.IntegerField()
    disabled_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    last_event_at = serializers.DateTimeField(allow_null=True)


class NewIntegrationOut(IntegrationOut):
    key = serializers.CharField(help_text="Shown in this answer and never again.")


class IntegrationIn(StrictSerializer):
    name = Text(max_length=120)
    kind = serializers.ChoiceField(choices=RECEIVED)
    service = ServiceField()


class IntegrationChangeIn(StrictSerializer):
    name = Text(max_length=120, required=False)
    service = ServiceField(required=False)
    grouping = serializers.ChoiceField(choices=Grouping.choices, required=False, allow_blank=True)
    grouping_fields = serializers.ListField(child=Text(max_length=80), required=False, max_length=10)
    grouping_seconds = Whole(required=False, min_value=300, max_value=86400)


class IntegrationViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """Senders of alerts. The key is shown when it is made; only a digest of it is kept."""

    queryset = Integration.objects.none()
    serializer_class = IntegrationOut
    cursor_field = "id"
    lookup_value_regex = r"\d+"
    write_role = Role.MANAGER

    def get_queryset(self) -> QuerySet[Integration]:
        return queries.integration_list()

    def _answer(self, integration_id: int) -> Response:
        return Response(IntegrationOut(self._get(integration_id)).data)

    def _get(self, integration_id: int) -> Integration:
        found = self.get_queryset().filter(pk=integration_id).first()
        if found is None:
            raise Missing("There is no such integration.")
        return found

    @extend_schema(responses=IntegrationOut)
    def retrieve(self, request: Request, pk: str) -> Response:
        return self._answer(_id(pk, "integration"))

    @extend_schema(request=IntegrationIn, responses={201: NewIntegrationOut})
    def create(self, request: Request) -> Response:
        """Add a sender. The answer is the only place that shows its key."""
        integration, key = transitions.create_integration(**read_body(request, IntegrationIn))
        integration.key = key
        return Response(NewIntegrationOut(integration).data, status=201)

    @extend_schema(request=IntegrationChangeIn, responses=IntegrationOut)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Events that come from now on open incidents on the new service."""
        integration = self._get(_id(pk, "integration"))
        data = read_body(request, IntegrationChangeIn)
        transitions.change_integration(
            integration_id=integration.pk,
            name=data.get("name", integration.name),
            service=data.get("service", integration.service),
            **{
                name: data[name]
                for name in ("grouping", "grouping_fields", "grouping_seconds")
                if name in data
            },
        )
        return self._answer(integration.pk)

    @extend_schema(request=None, responses=NewIntegrationOut)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """A new key. The old one is refused from then on."""
        integration, key = transitions.rotate_key(integration_id=_id(pk, "integration"))
        integration = self._get(integration.pk)
        integration.key = key
        return Response(NewIntegrationOut(integration).data)

    @extend_schema(request=None, responses=IntegrationOut)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Its events are refused from now on. Open alerts stay."""
        transitions.disable(integration_id=_id(pk, "integration"), now=timezone.now())
        return self._answer(int(pk))

    @extend_schema(request=None, responses=IntegrationOut)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        transitions.enable(integration_id=_id(pk, "integration"))
        return self._answer(int(pk))


# --- the ledger -----------------------------------------------------------------------------------------------


class IntegrationRef(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=IntegrationKind.choices)


class IngestIncidentRef(serializers.Serializer):
    id = serializers.IntegerField()
    ref = serializers.CharField()


class IngestEventOut(serializers.Serializer):
    id = serializers.IntegerField()
    integration = IntegrationRef(allow_null=True, help_text="Null: nobody has the key.")
    kind = serializers.CharField(help_text="Which address took it.")
    verdict = serializers.ChoiceField(choices=Verdict.choices)
    reason = serializers.CharField()
    dedup_key = serializers.CharField()
    incident = IngestIncidentRef(allow_null=True)
    remote_address = serializers.CharField(allow_null=True)
    attempts = serializers.IntegerField()
    received_at = serializers.DateTimeField()
    processed_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True, help_text="When it is processed; null: never again.")


class IngestEventDetailOut(IngestEventOut):
    signals = serializers.SerializerMethodField(help_text="What the request means; null when it was refused.")
    outcomes = serializers.SerializerMethodField(help_text="One for each signal, where there are several.")
    raw = serializers.CharField(help_text="The body as received, without its key; long ones are cut.")

    @extend_schema_field(
        {"type": "array", "items": {"type": "object", "additionalProperties": {}}, "nullable": True}
    )
    def get_signals(self, event: IngestEvent) -> Any:
        return event.payload

    @extend_schema_field(
        {
            "type": "array",
            "items": {"type": "object", "additionalProperties": {}, "nullable": True},
            "nullable": True,
        }
    )
    def get_outcomes(self, event: IngestEvent) -> Any:
        return event.outcomes


class IngestEventQuery(StrictSerializer):
    integration = Whole(required=False, min_value=1, max_value=2**62)
    verdict = serializers.ChoiceField(choices=Verdict.choices, required=False)
    dedup_key = serializers.CharField(required=False, max_length=512)
    incident = Whole(required=False, min_value=1, max_value=2**62)
    limit = serializers.CharField(required=False)
    cursor = serializers.CharField(required=False)

    # what stands in an address is text
    def to_internal_value(self, data: Any) -> Any:
        data = {
            name: int(value) if name in ("integration", "incident") and _is_number(value) else value
            for name, value in data.items()
        }
        return super().to_internal_value(data)


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19


class IngestEventViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """The ingest ledger: every request of a sender with its verdict, newest first."""

    queryset = IngestEvent.objects.none()
    serializer_class = IngestEventOut
    cursor_field = "-id"
    lookup_value_regex = r"\d+"
    read_role = Role.RESPONDER
    write_role = Role.MANAGER

    def get_queryset(self) -> QuerySet[IngestEvent]:
        asked = read_query(self.request, IngestEventQuery) if self.action == "list" else {}
        return queries.ledger(
            integration=asked.get("integration"),
            verdict=asked.get("verdict", ""),
            dedup_key=asked.get("dedup_key", ""),
            incident_id=asked.get("incident"),
        )

    @extend_schema(
        parameters=[
            OpenApiParameter("integration", int, description="Id of the integration."),
            OpenApiParameter("verdict", str, enum=Verdict.values),
            OpenApiParameter("dedup_key", str),
            OpenApiParameter("incident", int, description="Id of the incident."),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(responses=IngestEventDetailOut)
    def retrieve(self, request: Request, pk: str) -> Response:
        """With what it said and, for a group of alerts, what became of each."""
        found = (
            IngestEvent.objects.select_related("integration", "incident")
            .filter(pk=_id(pk, "request"))
            .first()
        )
        if found is None:
            raise Missing("There is no such request.")
        return Response(IngestEventDetailOut(found).data)

    @extend_schema(request=None, responses={202: IngestEventOut})
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Process it again. One that was processed already comes in as a new request."""
        again = transitions.replay(event_id=_id(pk, "request"), by=request.user, now=timezone.now())
        found = IngestEvent.objects.select_related("integration", "incident").get(pk=again.pk)
        return Response(IngestEventOut(found).data, status=202)
