"""Schedules with their layers and overrides, and who is on call."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
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
from core.api import Flag, StrictSerializer, Text, Whole, read_body, read_query
from core.errors import Invalid, Missing
from oncall import notices, quality, queries, rules, transitions
from oncall.models import LayerMode, Override, OverrideKind, Schedule, TemporarySchedule, Turn
from oncall.rules import LONGEST_TURN, MOST_TURNS, Stint
from oncall.transitions import EARLIEST, LATEST, MOST_LAYERS, MOST_PEOPLE, MOST_SHIFTS, LayerInput

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


def start_of(value: datetime, zone: str) -> datetime:
    return value.astimezone(UTC) if value.tzinfo else rules.first_instant(value, zone)


def end_of(value: datetime | None, zone: str) -> datetime | None:
    if value is None:
        return None
    return value.astimezone(UTC) if value.tzinfo else rules.last_instant(value, zone)


# --- what is told -----------------------------------------------------------------------------------


class WindowOut(serializers.Serializer):
    days = serializers.ListField(child=serializers.IntegerField(), help_text="0 is Monday.")
    start = serializers.CharField(help_text="18:00")
    end = serializers.CharField(help_text="At or before the start: on the next day.")


class TurnOut(serializers.Serializer):
    unit = serializers.CharField(help_text="hours, days or weeks")
    length = serializers.IntegerField()


class LayerOut(serializers.Serializer):
    id = serializers.IntegerField(help_text="Changes when an edit replaces the layer.")
    name = serializers.CharField()
    position = serializers.IntegerField(help_text="From 0, the lowest.")
    mode = serializers.ChoiceField(
        choices=LayerMode.choices,
        help_text="override: in place of the layers below while it has somebody; parallel: beside them; "
        "shadow: hears of its shifts and is never paged.",
    )
    starts_at = TimeField(help_text="First handoff; its wall-clock time is that of every handoff.")
    effective_from = TimeField(
        allow_null=True, help_text="It counts from then. Null: from its first handoff."
    )
    ends_at = TimeField(allow_null=True)
    turn_unit = serializers.ChoiceField(choices=Turn.choices)
    turn_length = serializers.IntegerField()
    turns = TurnOut(many=True, help_text="With the unit custom: the lengths of turns, one after the other.")
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
    filler = serializers.SerializerMethodField(help_text="Who is on call when nobody else is.")
    notice_minutes = serializers.IntegerField(
        help_text="So long before a shift its people are told. 0: not before."
    )
    notice_at_start = serializers.BooleanField()
    layers = LayerOut(many=True, help_text="The lowest first.")

    @extend_schema_field(PersonRef(allow_null=True))
    def get_filler(self, schedule: Any) -> Any:
        filler = queries.filler_of(schedule)
        return PersonRef(filler).data if filler else None


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
    instead_of = PersonRef(many=True, help_text="Whom an override or a temporary schedule replaces.")
    is_filled = serializers.BooleanField(help_text="Nobody else is on call, so the filler is.")
    shadows = PersonRef(many=True, help_text="Who hears of the shift and is not paged.")
    next = ShiftOut(allow_null=True)
    next_on_call = PersonRef(many=True, help_text="Who comes on call next, of those who are not on call.")
    gaps = GapOut(many=True, help_text=f"Where nobody is on call in the {queries.GAP_DAYS} days after `at`.")


class OverrideOut(serializers.Serializer):
    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=OverrideKind.choices)
    user = PersonRef(help_text="Who comes, or shadows; with remove, who goes.")
    replaces = PersonRef(allow_null=True, help_text="With replace: only this person. Null: everybody.")
    starts_at = TimeField()
    ends_at = TimeField()
    reason = serializers.CharField()
    created_by = PersonRef(allow_null=True)
    created_at = TimeField(help_text="Those that overlap act in this order, so the one created later wins.")


class StintOut(serializers.Serializer):
    user = PersonRef()
    starts_at = TimeField()
    ends_at = TimeField()


class TemporaryOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    starts_at = TimeField()
    ends_at = TimeField()
    shifts = StintOut(many=True)
    created_by = PersonRef(allow_null=True)
    created_at = TimeField(help_text="Of two that overlap, the one created later counts.")


class ChangedOut(serializers.Serializer):
    starts_at = TimeField()
    ends_at = TimeField()
    before = PersonRef(many=True)
    after = PersonRef(many=True)


class PreviewOut(serializers.Serializer):
    starts_at = TimeField()
    ends_at = TimeField()
    changed = ChangedOut(many=True, help_text="Where other people would be on call.")
    gaps = GapOut(many=True, help_text="Where nobody would be on call.")


class PartOut(serializers.Serializer):
    name = serializers.CharField()
    points = serializers.IntegerField()
    of = serializers.IntegerField()
    text = serializers.CharField()


class LoadOut(serializers.Serializer):
    user = PersonRef()
    shifts = serializers.IntegerField()
    hours = serializers.FloatField()
    night_hours = serializers.FloatField(help_text="22:00 to 06:00 on this person's clock.")
    weekend_hours = serializers.FloatField(help_text="Saturday and Sunday on this person's clock.")


class QualityOut(serializers.Serializer):
    score = serializers.IntegerField(help_text="0 to 100: the sum of the points of its parts.")
    starts_at = TimeField()
    ends_at = TimeField()
    parts = PartOut(many=True)
    people = LoadOut(many=True, help_text="The busiest first.")
    uncovered_hours = serializers.FloatField()
    filled_hours = serializers.FloatField(help_text="In which only the filler is on call.")


class WarningOut(serializers.Serializer):
    kind = serializers.CharField(
        help_text="override_covered, override_beaten, temporary_covered or two_schedules"
    )
    text = serializers.CharField()
    starts_at = TimeField()
    ends_at = TimeField()


class MyShiftOut(serializers.Serializer):
    schedule = ScheduleRef()
    starts_at = TimeField()
    ends_at = TimeField()
    shadow = serializers.BooleanField(help_text="Shadows, and is not paged.")


# --- what is asked ----------------------------------------------------------------------------------


class WindowIn(StrictSerializer):
    days = serializers.ListField(child=Whole(min_value=0, max_value=6), min_length=1, max_length=7)
    start = Text(max_length=5)
    end = Text(max_length=5)


class TurnIn(StrictSerializer):
    unit = serializers.ChoiceField(choices=["hours", "days", "weeks"])
    length = Whole(min_value=1, max_value=LONGEST_TURN)


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
    turns = TurnIn(
        many=True, required=False, default=list, max_length=MOST_TURNS, help_text="With the unit custom."
    )
    mode = serializers.ChoiceField(choices=LayerMode.choices, default=LayerMode.OVERRIDE)
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
    filler = PersonField(
        required=False, allow_null=True, default=None, help_text="Who is on call when nobody else is."
    )
    notice_minutes = Whole(
        required=False, default=24 * 60, min_value=0, max_value=notices.LONGEST_BEFORE,
        help_text="So long before a shift its people are told. 0: not before.",
    )  # fmt: skip
    notice_at_start = Flag(required=False, default=True)
    counts_from = TimeField(
        required=False, allow_null=True, default=None,
        help_text="PUT only: until this time ahead the layers that there are go on. Null: from now on.",
    )  # fmt: skip
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
        counts_from = data.pop("counts_from")
        if counts_from is not None:
            data["counts_from"] = start_of(counts_from, zone)
        data["layers"] = [
            LayerInput(
                **layer
                | {
                    "starts_at": start_of(layer["starts_at"], zone),
                    "ends_at": end_of(layer["ends_at"], zone),
                    "restrictions": [dict(window) for window in layer["restrictions"]],
                    "turns": [dict(turn) for turn in layer["turns"]],
                }
            )
            for layer in data["layers"]
        ]
        return data


class OverrideIn(StrictSerializer):
    kind = serializers.ChoiceField(choices=OverrideKind.choices, default=OverrideKind.REPLACE)
    replaces = PersonField(
        required=False, allow_null=True, default=None,
        help_text="With replace: only this person, while on call. Null: everybody.",
    )  # fmt: skip
    user = PersonField(required=False, help_text="Whoever asks, unless given.")
    starts_at = TimeField()
    ends_at = TimeField()
    reason = Text(max_length=200, required=False, default="", allow_blank=True)


class StintIn(StrictSerializer):
    user = PersonField()
    starts_at = TimeField()
    ends_at = TimeField()


class TemporaryIn(StrictSerializer):
    name = Text(max_length=80)
    starts_at = TimeField()
    ends_at = TimeField()
    shifts = StintIn(many=True, max_length=MOST_SHIFTS)


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
        ref = self.kwargs["ref"]
        by_id = ref.isdecimal() and ref.isascii() and len(ref) < 19
        wanted = Q(pk=int(ref)) if by_id else Q(slug=ref[:120])
        schedule = self.get_queryset().filter(wanted).first()
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
        data = read_body(request, ScheduleIn)
        if "counts_from" in data:
            sentence = "A new schedule counts from its first handoffs."
            raise Invalid(sentence, fields={"counts_from": [sentence]})
        schedule = transitions.create_schedule(by=request.user, now=timezone.now(), **data)
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

    @extend_schema(request=ScheduleIn, responses=PreviewOut)
    @action(detail=True, methods=["post"], filter_backends=[])
    def preview(self, request: Request, ref: str) -> Response:
        """What saving the same body would change in the next twelve weeks. Nothing is saved."""
        schedule, now = self.get_object(), timezone.now()
        data = read_body(request, ScheduleIn)
        found = transitions.preview(
            schedule=schedule, now=now,
            write=lambda: transitions.update_schedule(
                schedule_id=schedule.pk, by=request.user, now=now, **data
            ),
        )  # fmt: skip
        return Response(
            PreviewOut(
                {
                    "starts_at": found.starts_at,
                    "ends_at": found.ends_at,
                    "gaps": found.gaps,
                    "changed": [
                        {
                            "starts_at": each.starts_at,
                            "ends_at": each.ends_at,
                            "before": [found.people[person] for person in each.before],
                            "after": [found.people[person] for person in each.after],
                        }
                        for each in found.changed
                    ],
                }
            ).data
        )

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
                    "is_filled": standing.is_filled,
                    "shadows": standing.shadows,
                    "next": standing.next,
                    "next_on_call": standing.next_people,
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
        start, end = self._span(request, timedelta(days=14))
        return Response(ShiftOut(queries.calendar(schedule, start, end).final, many=True).data)

    def _span(self, request: Request, default: timedelta) -> tuple[datetime, datetime]:
        asked = read_query(request, SpanQuery)
        start = asked.get("start") or timezone.now()
        end = asked.get("end") or start + default
        if not start < end <= start + LONGEST_SPAN:
            sentence = "After the start, and at most a year after it."
            raise Invalid(f"end: {sentence}", fields={"end": [sentence]})
        return start, end

    @extend_schema(
        responses=QualityOut,
        parameters=[
            _at("start", "Now unless given."),
            _at("end", "52 weeks after the start unless given; a year at most."),
        ],
        filters=False,
    )
    @action(detail=True, methods=["get"], pagination_class=None)
    def quality(self, request: Request, ref: str) -> Response:
        """How good the schedule is, from 0 to 100, how that comes about, and what each person carries."""
        schedule = self.get_object()
        start, end = self._span(request, quality.SPAN)
        found, people = queries.quality_of(schedule, start, end)
        hour = timedelta(hours=1)
        return Response(
            QualityOut(
                {
                    "score": found.score, "starts_at": start, "ends_at": end, "parts": found.parts,
                    "uncovered_hours": round(found.uncovered / hour, 2),
                    "filled_hours": round(found.filled / hour, 2),
                    "people": [
                        {
                            "user": people[load.user], "shifts": load.shifts, "hours": round(load.time / hour, 2),
                            "night_hours": round(load.nights / hour, 2),
                            "weekend_hours": round(load.weekends / hour, 2),
                        }
                        for load in found.loads
                    ],
                }
            ).data
        )  # fmt: skip

    @extend_schema(responses=WarningOut(many=True), filters=False)
    @action(detail=True, methods=["get"], pagination_class=None)
    def warnings(self, request: Request, ref: str) -> Response:
        """What overlaps in the next 30 days: overrides that do not count, and people who are on call twice."""
        return Response(WarningOut(queries.overlaps(self.get_object(), timezone.now()), many=True).data)

    @extend_schema(
        responses=MyShiftOut(many=True),
        parameters=[
            _at("start", "Now unless given."),
            _at("end", "30 days after the start unless given; a year at most."),
        ],
        filters=False,
    )
    @action(detail=False, methods=["get"], url_path="my-shifts", pagination_class=None)
    def my_shifts(self, request: Request) -> Response:
        """When whoever asks is on call or shadows, in all schedules, the next first."""
        start, end = self._span(request, timedelta(days=30))
        return Response(MyShiftOut(queries.shifts_of(request.user, start, end), many=True).data)

    @extend_schema(
        methods=["GET"],
        responses=TemporaryOut(many=True),
        parameters=[_at("since", "Those that end after this time; now unless given.")],
    )
    @extend_schema(
        methods=["POST"], request=TemporaryIn, responses={201: TemporaryOut}, parameters=[IDEMPOTENCY_KEY]
    )
    @action(detail=True, methods=["get", "post"])
    def temporary(self, request: Request, ref: str) -> Response:
        """Shifts that replace layers and overrides for a while. Managers write them."""
        if request.method == "POST":
            return self._add_temporary(request)
        since = read_query(request, OverrideQuery).get("since") or timezone.now()
        page = self.paginate_queryset(queries.temporary_of(self.get_object(), since))
        return self.get_paginated_response(TemporaryOut(page, many=True).data)

    @idempotent
    def _add_temporary(self, request: Request) -> Response:
        return Response(TemporaryOut(self._save_temporary(request, None)).data, status=201)

    def _save_temporary(self, request: Request, instead_of: int | None) -> TemporarySchedule:
        schedule = self.get_object()
        zone, data = schedule.time_zone, read_body(request, TemporaryIn)
        temporary = transitions.add_temporary(
            schedule_id=schedule.pk, name=data["name"], by=request.user, now=timezone.now(),
            starts_at=start_of(data["starts_at"], zone), ends_at=end_of(data["ends_at"], zone),
            shifts=[
                Stint(each["user"].pk, start_of(each["starts_at"], zone), end_of(each["ends_at"], zone))
                for each in data["shifts"]
            ],
            people={each["user"].pk: each["user"] for each in data["shifts"]},
            instead_of=instead_of,
        )  # fmt: skip
        return queries.temporary_of(schedule, None).get(pk=temporary.pk)

    @extend_schema(
        methods=["PUT"], request=TemporaryIn, responses=TemporaryOut,
        parameters=[OpenApiParameter("temporary_id", int, OpenApiParameter.PATH)],
    )  # fmt: skip
    @extend_schema(
        methods=["DELETE"], responses={204: None},
        parameters=[OpenApiParameter("temporary_id", int, OpenApiParameter.PATH)],
    )  # fmt: skip
    @action(detail=True, methods=["put", "delete"], url_path=r"temporary/(?P<temporary_id>[0-9]{1,18})")
    def one_temporary(self, request: Request, ref: str, temporary_id: str) -> Response:
        """PUT ends it now and puts another in its place (with an `id` of its own). DELETE: one that runs ends now."""
        if request.method == "PUT":
            return Response(TemporaryOut(self._save_temporary(request, int(temporary_id))).data)
        transitions.remove_temporary(
            schedule_id=self.get_object().pk, temporary_id=int(temporary_id), by=request.user, now=timezone.now()
        )  # fmt: skip
        return Response(status=204)

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
            kind=data["kind"],
            replaces=data["replaces"],
            starts_at=start_of(data["starts_at"], schedule.time_zone),
            ends_at=end_of(data["ends_at"], schedule.time_zone),
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
