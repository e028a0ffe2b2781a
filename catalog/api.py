"""Services: who owns them, what they need, what breaks with them."""

from decimal import Decimal
from typing import Any

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import PersonField, PersonRef, TeamField, TeamRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import Role
from catalog import queries, readiness, transitions
from catalog.models import Criticality, Dependency, Service, Slo
from catalog.transitions import (
    LONGEST_GROUPING,
    LONGEST_TIMEOUT,
    MOST_LINKS,
    MOST_NEEDS,
    MOST_SLOS,
    MOST_TAGS,
    ServiceData,
    SloData,
)
from core.api import StrictSerializer, Text, Whole, by_ref, read_body, read_query
from core.errors import Missing

# --- what is told -----------------------------------------------------------------------------------


class ServiceLink(serializers.Serializer):
    """A service inside another one."""

    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()
    criticality = serializers.IntegerField()


class LinkOut(serializers.Serializer):
    text = serializers.CharField()
    href = serializers.CharField()


class SloOut(serializers.Serializer):
    name = serializers.CharField()
    target_percent = serializers.FloatField()
    window_days = serializers.IntegerField()
    indicator = serializers.CharField()


class ServiceGapOut(serializers.Serializer):
    code = serializers.CharField()
    text = serializers.CharField()
    consequence = serializers.CharField()


class ServiceOut(serializers.Serializer):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    criticality = serializers.IntegerField(help_text="1 critical, 2 high, 3 medium, 4 low.")
    team = TeamRef(allow_null=True)
    primary_responder = PersonRef(allow_null=True)
    secondary_responder = PersonRef(allow_null=True)
    tags = serializers.ListField(child=serializers.CharField())
    links = LinkOut(many=True)
    grouping_minutes = serializers.IntegerField(
        help_text="An alert within this time of the last one joins the open incident. 0: each opens its own."
    )
    acknowledge_timeout_minutes = serializers.IntegerField(
        help_text="An acknowledged incident pages again after this time. 0: never."
    )
    depends_on = serializers.SerializerMethodField()
    slos = SloOut(many=True)
    needed_by_count = serializers.IntegerField(help_text="Services that depend on it directly.")
    gaps = serializers.SerializerMethodField(help_text="What it lacks before the night it matters.")

    @extend_schema_field(ServiceLink(many=True))
    def get_depends_on(self, service: Service) -> Any:
        return ServiceLink([need.depends_on for need in service.dependencies.all()], many=True).data

    @extend_schema_field(ServiceGapOut(many=True))
    def get_gaps(self, service: Service) -> Any:
        return ServiceGapOut(readiness.gaps_of(service), many=True).data


class AffectedOut(serializers.Serializer):
    service = ServiceLink()
    distance = serializers.IntegerField(help_text="1: it depends on it directly.")
    via = ServiceLink(allow_null=True, help_text="The next service on the shortest way.")


class DependencyOut(serializers.Serializer):
    service = ServiceLink(source="depends_on")
    note = serializers.CharField()


# --- what is asked ----------------------------------------------------------------------------------


@extend_schema_field(
    {"oneOf": [{"type": "string", "maxLength": 80}, {"type": "integer"}], "description": "Slug or id."}
)
class ServiceField(serializers.Field):
    """Another service, by slug or id. Costs a query."""

    def to_internal_value(self, data: Any) -> Service:
        service = None
        if isinstance(data, int) and not isinstance(data, bool):
            service = Service.objects.filter(pk=data).first() if 0 < data < 2**63 else None
        elif isinstance(data, str):
            service = Service.objects.filter(slug=data[:81]).first()
        else:
            raise serializers.ValidationError("A slug or an id.")
        if service is None:
            raise serializers.ValidationError("There is no such service.")
        return service

    def to_representation(self, value: Service) -> str:
        return value.slug


class LinkIn(StrictSerializer):
    text = Text(max_length=80)
    href = Text(max_length=500)


class SloIn(StrictSerializer):
    name = Text(max_length=120)
    target_percent = serializers.FloatField(min_value=0.001, max_value=100)
    window_days = Whole(min_value=1, max_value=366, default=30)
    indicator = Text(max_length=300, required=False, default="", allow_blank=True)

    def validate(self, data: dict[str, Any]) -> SloData:
        percent = Decimal(str(data["target_percent"])).quantize(Decimal("0.001"))
        return SloData(**data | {"target_percent": percent})


class ServiceIn(StrictSerializer):
    name = Text(max_length=80)
    description = Text(max_length=500, required=False, default="", allow_blank=True)
    criticality = serializers.ChoiceField(choices=Criticality.choices, default=Criticality.MEDIUM)
    team = TeamField(required=False, allow_null=True, default=None)
    primary_responder = PersonField(required=False, allow_null=True, default=None)
    secondary_responder = PersonField(required=False, allow_null=True, default=None)
    tags = serializers.ListField(
        child=Text(max_length=40), required=False, default=list, max_length=MOST_TAGS
    )
    links = LinkIn(many=True, required=False, default=list, max_length=MOST_LINKS)
    grouping_minutes = Whole(min_value=0, max_value=LONGEST_GROUPING, default=0)
    acknowledge_timeout_minutes = Whole(min_value=0, max_value=LONGEST_TIMEOUT, default=0)
    depends_on = serializers.ListField(
        child=ServiceField(), required=False, allow_null=True, default=None, max_length=MOST_NEEDS,
        help_text="Slugs or ids. Null: those that it has stay.",
    )  # fmt: skip
    slos = SloIn(
        many=True, required=False, allow_null=True, default=None, max_length=MOST_SLOS,
        help_text="Null: those that it has stay.",
    )  # fmt: skip

    def validate(self, data: dict[str, Any]) -> ServiceData:
        needs = data.pop("depends_on")
        return ServiceData(needs=needs, **data | {"links": [dict(link) for link in data["links"]]})


class DependencyIn(StrictSerializer):
    service = ServiceField(help_text="What it needs.")
    note = Text(max_length=200, required=False, default="", allow_blank=True)


class ServiceQuery(StrictSerializer):
    search = serializers.CharField(required=False, max_length=120)
    criticality = serializers.ChoiceField(choices=Criticality.choices, required=False)
    team = serializers.CharField(required=False, max_length=80)
    tag = serializers.CharField(required=False, max_length=40)
    gap = serializers.CharField(required=False, max_length=40)
    limit = serializers.CharField(required=False)
    cursor = serializers.CharField(required=False)


# --- endpoints --------------------------------------------------------------------------------------


class ServiceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """The service catalogue. A service is written as a whole."""

    queryset = Service.objects.none()
    serializer_class = ServiceOut
    lookup_field = "ref"
    lookup_value_regex = r"[-\w]+"
    cursor_field = "id"
    write_role = Role.MANAGER

    def get_queryset(self) -> QuerySet[Service]:
        asked = read_query(self.request, ServiceQuery) if self.action == "list" else {}
        return queries.service_list(
            search=asked.get("search", ""),
            criticality=asked.get("criticality"),
            team=asked.get("team", ""),
            tag=asked.get("tag", ""),
            gap=asked.get("gap", ""),
        ).prefetch_related(
            Prefetch("slos", Slo.objects.order_by("name")),
            Prefetch(
                "dependencies", Dependency.objects.select_related("depends_on").order_by("depends_on__name")
            ),
        )

    def get_object(self) -> Service:
        """By id or by slug."""
        service = self.get_queryset().filter(by_ref(self.kwargs["ref"])).first()
        if service is None:
            raise Missing("There is no such service.")
        return service

    def _answer(self, service: Service, status: int = 200) -> Response:
        return Response(ServiceOut(self.get_queryset().get(pk=service.pk)).data, status=status)

    @extend_schema(
        parameters=[
            OpenApiParameter("search", str, description="In name, description, team or tags."),
            OpenApiParameter("criticality", int, enum=Criticality.values),
            OpenApiParameter("team", str, description="Slug of the team."),
            OpenApiParameter("tag", str),
            OpenApiParameter("gap", str, description="Code of a gap, or any."),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=ServiceIn, responses={201: ServiceOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        service = transitions.create_service(data=read_body(request, ServiceIn), by=request.user)
        return self._answer(service, status=201)

    @extend_schema(request=ServiceIn, responses=ServiceOut, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def update(self, request: Request, ref: str) -> Response:
        """Replaces the service; its slug stays."""
        service = self.get_object()
        transitions.update_service(service_id=service.pk, data=read_body(request, ServiceIn), by=request.user)
        return self._answer(service)

    @extend_schema(responses=AffectedOut(many=True), filters=False)
    @action(detail=True, methods=["get"], url_path="blast-radius", pagination_class=None)
    def blast_radius(self, request: Request, ref: str) -> Response:
        """Every service that depends on this one, also through others, the nearest first."""
        return Response(AffectedOut(queries.blast_radius(self.get_object()), many=True).data)

    @extend_schema(request=DependencyIn, responses={201: DependencyOut}, parameters=[IDEMPOTENCY_KEY])
    @action(detail=True, methods=["post"])
    @idempotent
    def dependencies(self, request: Request, ref: str) -> Response:
        """Refused when it would close a cycle."""
        data = read_body(request, DependencyIn)
        dependency = transitions.add_dependency(
            service_id=self.get_object().pk, needs_id=data["service"].pk, note=data["note"], by=request.user
        )
        return Response(DependencyOut(dependency).data, status=201)

    @extend_schema(responses={204: None}, parameters=[OpenApiParameter("needs", str, OpenApiParameter.PATH)])
    @action(detail=True, methods=["delete"], url_path=r"dependencies/(?P<needs>[-\w]+)")
    def dependency(self, request: Request, ref: str, needs: str) -> Response:
        """By slug of the service that is needed. Removing what is not there changes nothing."""
        other = Service.objects.filter(slug=needs[:80]).first()
        if other is None:
            raise Missing("There is no such service.")
        transitions.remove_dependency(service_id=self.get_object().pk, needs_id=other.pk, by=request.user)
        return Response(status=204)
