"""Schedules with their layers and overrides, and who is on call."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import PersonField, PersonRef, TeamField, TeamRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import Role, validate_time_zone
from core.api import StrictSerializer, Text, Whole, by_ref, read_body, read_query
from core.errors import Invalid, Missing
from oncall import queries, rules, transitions
from oncall.models import Override, Schedule, Turn
from oncall.transitions import (
    EARLIEST,
    LATEST,
    LONGEST_TURN,
    MOST_LAYERS,
    MOST_PEOPLE,
    LayerInput,
)

LONGEST_SPAN = timedelta(days=366)
# In an address "+" is read as a space unless it is written as %2B.
_LOST_PLUS = re.compile(r" (\d\d:?\d\d)$")

# --- times ------------------------------------------------------------------------------------------


@extend_schema_field(
    {
        "type": "string",
        "description": "ISO 8601. Without an offset: wall-clock time in the schedule's zone.",
        "example": "2026-11-24T08:00",
    }
)
class TimeField(serializers.Field):
    """An instant, or a wall-clock time (naive) that the schedule's zone makes one."""

    default_error_messages = {
        "invalid": "A time in ISO 8601. Example: 2026-11-24T08:00+01:00",
        "range": f"A time between {EARLIEST.year} and {LATEST.year}.",
    }

    def to_internal_value(self, data: Any) -> datetime:
        try:
            value = parse_datetime(data) if isinstance(data, str) and len(data) <= 40 else None
        except ValueError:
            value = None
        if value is None:
            self.fail("invalid")
        if not EARLIEST.year <= value.year < LATEST.year:
            self.fail("range")
        return value

    def to_representation(self, value: datetime) -> str:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class InstantField(TimeField):
    """A time with its offset, for addresses."""

    default_error_messages = {"offset": "Add the offset. Example: 2026-11-24T08:00Z"}

    def to_internal_value(self, data: Any) -> datetime:
        value = super().to_internal_value(_LOST_PLUS.sub(r"+\1", data) if isinstance(data, str) else data)
        if value.tzinfo is None:
            self.fail("offset")
        return value


def _start(value: datetime, zone: str) -> datetime:
    return value.astimezone(UTC) if value.tzinfo else rules.first_instant(value, zone)


def _end(value: datetime | None, zone: str) -> datetime | None:
    if value is None:
        return None
    return value.astimezone(UTC) if value.tzinfo else rules.last_instant(value, zone)


# --- what is told -----------------------------------------------------------------------------------


class WindowOut(serializers.Serializer):
    days = serializers.ListField(child=serializers.IntegerField(), help_text="0 is Monday.")
    start = serializers.CharField(help_text="18:00")
    end = serializers.CharField(help_text="At or before the start: on the next day.")


class LayerOut(serializers.Serializer):
    id = serializers.IntegerField(help_text="Changes when an edit replaces the layer.")
    name = serializers.CharField()
    position = serializers.IntegerField(help_text="The highest that has somebody wins.")
    starts_at = TimeField(help_text="First handoff; its wall-clock time is that of every handoff.")
    ends_at = TimeField(allow_null=True)
    turn_unit = serializers.ChoiceField(choices=Turn.choices)
    turn_length = serializers.IntegerField()
    people_at_once = serializers.IntegerField()
    restrictions = WindowOut(many=True, help_text="Empty: the layer always counts.")
    people = serializers.SerializerMethodField(help_text="In the order of the rotation.")

    @extend_schema_field(PersonRef(many=True))
    def get_people(self, layer: Any) -> Any:
        return PersonRef([member.user for member in layer.members.all()], many=True).data


class ScheduleOut(serializers.Serializer):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    team = TeamRef(allow_null=True)
    time_zone = serializers.CharField()
    layers = LayerOut(many=True, help_text="The lowest first.")


class ScheduleRef(serializers.Serializer):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()


@extend_schema_field(
    {
        "oneOf": [{"type": "string", "maxLength": 121}, {"type": "integer"}],
        "description": "Slug or id.",
    }
)
class ScheduleField(serializers.Field):
    """A schedule by its slug or id. Costs a query."""

    def to_internal_value(self, data: Any) -> Schedule:
        if isinstance(data, int) and not isinstance(data, bool):
            schedule = Schedule.objects.filter(pk=data).first() if 0 < data < 2**63 else None
        elif isinstance(data, str):
            schedule = Schedule.objects.filter(slug=data[:121]).first() if data else None
        else:
            raise serializers.ValidationError("A slug or an id.")
        if schedule is None:
            raise serializers.ValidationError("There is no such schedule.")
        return schedule


class ShiftOut(serializers.Serializer):
    starts_at = TimeField()
    ends_at = TimeField()
    people = PersonRef(many=True, help_text="Empty: nobody is on call.")


class GapOut(serializers.Serializer):
    starts_at = TimeField()
    ends_at = TimeField()


class OnCallOut(serializers.Serializer):
    schedule = ScheduleRef()
    at = TimeField()
    people = PersonRef(many=True, help_text="Empty: nobody is on call.")
    until = TimeField(allow_null=True, help_text="Null: no change in the next 100 days.")
    instead_of = PersonRef(many=True, help_text="Whom an override replaces.")
    next = ShiftOut(allow_null=True)
    gaps = GapOut(many=True, help_text=f"Where nobody is on call in the {queries.GAP_DAYS} days after `at`.")


class OverrideOut(serializers.Serializer):
    id = serializers.IntegerField()
    user = PersonRef()
    starts_at = TimeField()
    ends_at = TimeField()
    reason = serializers.CharField()
    created_by = PersonRef(allow_null=True)
    created_at = TimeField(help_text="Where two overlap, the one created later wins.")


# --- what is asked ----------------------------------------------------------------------------------


class WindowIn(StrictSerializer):
    days = serializers.ListField(child=Whole(min_value=0, max_value=6), min_length=1, max_length=7)
    start = Text(max_length=5)
    end = Text(max_length=5)


class LayerIn(StrictSerializer):
    id = Whole(
        required=False, allow_null=True, default=None, min_value=1, max_value=2**63 - 1,
        help_text="The layer that this one changes. Null: a new one.",
    )  # fmt: skip
    name = Text(max_length=80, required=False, default="", allow_blank=True)
    starts_at = TimeField()
    ends_at = TimeField(required=False, allow_null=True, default=None)
    turn_unit = serializers.ChoiceField(choices=Turn.choices, default=Turn.WEEKS)
    turn_length = Whole(min_value=1, max_value=LONGEST_TURN, default=1)
    people_at_once = Whole(min_value=1, max_value=MOST_PEOPLE, default=1)
    restrictions = WindowIn(many=True, required=False, default=list, max_length=rules.MOST_WINDOWS)
    people = serializers.ListField(
        child=PersonField(),
        max_length=MOST_PEOPLE,
        help_text="User names or ids, in the order of the rotation.",
    )


class ScheduleIn(StrictSerializer):
    name = Text(max_length=120)
    description = Text(max_length=300, required=False, default="", allow_blank=True)
    team = TeamField(required=False, allow_null=True, default=None)
    time_zone = Text(max_length=64, help_text="IANA name. Example: Europe/Berlin")
    layers = LayerIn(many=True, max_length=MOST_LAYERS, help_text="The lowest first.")

    def validate_time_zone(self, name: str) -> str:
        # Here already, since the layers' wall-clock times need it.
        try:
            validate_time_zone(name)
        except ValidationError as error:
            raise serializers.ValidationError(error.messages) from None
        return name

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        zone = data["time_zone"]
        data["layers"] = [
            LayerInput(
                **layer
                | {
                    "starts_at": _start(layer["starts_at"], zone),
                    "ends_at": _end(layer["ends_at"], zone),
                    "restrictions": [dict(window) for window in layer["restrictions"]],
                }
            )
            for layer in data["layers"]
        ]
        return data


class OverrideIn(StrictSerializer):
    user = PersonField(required=False, help_text="Whoever asks, unless given.")
    starts_at = TimeField()
    ends_at = TimeField()
    reason = Text(max_length=200, required=False, default="", allow_blank=True)


class AtQuery(StrictSerializer):
    at = InstantField(required=False)


class SpanQuery(StrictSerializer):
    start = InstantField(required=False)
    end = InstantField(required=False)


class OverrideQuery(StrictSerializer):
    since = InstantField(required=False)
    limit = serializers.CharField(required=False)
    cursor = serializers.CharField(required=False)


class ListQuery(StrictSerializer):
    search = serializers.CharField(required=False, max_length=120)
    team = serializers.CharField(required=False, max_length=80)
    limit = serializers.CharField(required=False)
    cursor = serializers.CharField(required=False)


# --- endpoints --------------------------------------------------------------------------------------


def _at(name: str, description: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.DATETIME, description=description)


class ScheduleViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Who is on call when. A schedule is written as a whole, its layers with it."""

    queryset = Schedule.objects.none()
    serializer_class = ScheduleOut
    lookup_field = "ref"
    lookup_value_regex = r"[-\w]+"
    cursor_field = "id"
    required_roles = {"create": Role.MANAGER, "update": Role.MANAGER, "destroy": Role.MANAGER}

    def get_queryset(self) -> QuerySet[Schedule]:
        if self.action != "list":
            return queries.schedules_with_layers()
        asked = read_query(self.request, ListQuery)
        wanted = queries.schedule_list(search=asked.get("search", ""), team=asked.get("team", ""))
        return queries.schedules_with_layers().filter(pk__in=wanted.order_by().values("pk"))

    def get_object(self) -> Schedule:
        """By id or by slug."""
        schedule = self.get_queryset().filter(by_ref(self.kwargs["ref"])).first()
        if schedule is None:
            raise Missing("There is no such schedule.")
        return schedule

    @extend_schema(
        parameters=[
            OpenApiParameter("search", str, description="In the name of the schedule or its team."),
            OpenApiParameter("team", str, description="Slug of the team."),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=ScheduleIn, responses={201: ScheduleOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        schedule = transitions.create_schedule(
            by=request.user, now=timezone.now(), **read_body(request, ScheduleIn)
        )
        return Response(ScheduleOut(queries.get_schedule(schedule.pk)).data, status=201)

    @extend_schema(request=ScheduleIn, responses=ScheduleOut, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def update(self, request: Request, ref: str) -> Response:
        """Replaces the whole schedule from now on. Who was on call before stays on record.

        Layers keep their `id` where they are to stay; one that is not named ends now.
        """
        schedule = self.get_object()
        transitions.update_schedule(
            schedule_id=schedule.pk, by=request.user, now=timezone.now(), **read_body(request, ScheduleIn)
        )
        return Response(ScheduleOut(queries.get_schedule(schedule.pk)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, ref: str) -> Response:
        """Refused while an escalation policy pages it."""
        transitions.delete_schedule(schedule_id=self.get_object().pk, by=request.user)
        return Response(status=204)

    @extend_schema(responses=OnCallOut, parameters=[_at("at", "When; now unless given.")])
    @action(detail=True, methods=["get"], url_path="on-call")
    def on_call(self, request: Request, ref: str) -> Response:
        """Who is on call, until when, who is next, and where nobody is."""
        schedule = self.get_object()
        at = read_query(request, AtQuery).get("at") or timezone.now()
        standing = queries.standings([schedule], at)[0]
        return Response(
            OnCallOut(
                {
                    "schedule": schedule,
                    "at": at,
                    "people": standing.people,
                    "until": standing.until,
                    "instead_of": standing.instead_of,
                    "next": standing.next,
                    "gaps": standing.gaps,
                }
            ).data
        )

    @extend_schema(
        responses=ShiftOut(many=True),
        parameters=[
            _at("start", "Now unless given."),
            _at("end", "Two weeks after the start unless given; a year at most."),
        ],
        filters=False,
    )
    @action(detail=True, methods=["get"], pagination_class=None)
    def shifts(self, request: Request, ref: str) -> Response:
        """The final schedule from `start` until `end`, without holes: where nobody is on call, `people` is empty."""
        schedule = self.get_object()
        asked = read_query(request, SpanQuery)
        start = asked.get("start") or timezone.now()
        end = asked.get("end") or start + timedelta(days=14)
        if not start < end <= start + LONGEST_SPAN:
            sentence = "After the start, and at most a year after it."
            raise Invalid(f"end: {sentence}", fields={"end": [sentence]})
        return Response(ShiftOut(queries.calendar(schedule, start, end).final, many=True).data)

    @extend_schema(
        methods=["GET"],
        responses=OverrideOut(many=True),
        parameters=[_at("since", "Those that end after this time; now unless given.")],
    )
    @extend_schema(
        methods=["POST"], request=OverrideIn, responses={201: OverrideOut}, parameters=[IDEMPOTENCY_KEY]
    )
    @action(detail=True, methods=["get", "post"])
    def overrides(self, request: Request, ref: str) -> Response:
        """Who stands in for whom. Responders put themselves on call, managers anybody."""
        if request.method == "POST":
            return self._add_override(request)
        schedule = self.get_object()
        since = read_query(request, OverrideQuery).get("since") or timezone.now()
        page = self.paginate_queryset(queries.overrides_of(schedule, since))
        return self.get_paginated_response(OverrideOut(page, many=True).data)

    @idempotent
    def _add_override(self, request: Request) -> Response:
        schedule = self.get_object()
        data = read_body(request, OverrideIn)
        override = transitions.add_override(
            schedule_id=schedule.pk,
            user=data.get("user") or request.user,
            starts_at=_start(data["starts_at"], schedule.time_zone),
            ends_at=_end(data["ends_at"], schedule.time_zone),
            reason=data["reason"],
            by=request.user,
            now=timezone.now(),
        )
        return Response(OverrideOut(override).data, status=201)

    @extend_schema(
        responses={204: None}, parameters=[OpenApiParameter("override_id", int, OpenApiParameter.PATH)]
    )
    @action(detail=True, methods=["delete"], url_path=r"overrides/(?P<override_id>[0-9]{1,18})")
    def override(self, request: Request, ref: str, override_id: str) -> Response:
        """One that runs ends now; one that lies ahead goes away; one that is over stays (409)."""
        schedule = self.get_object()
        if not Override.objects.filter(pk=int(override_id), schedule=schedule).exists():
            raise Missing("There is no such override.")
        transitions.remove_override(override_id=int(override_id), by=request.user, now=timezone.now())
        return Response(status=204)
