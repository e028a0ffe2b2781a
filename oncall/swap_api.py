"""Asking others to take a shift, and the addresses of calendars."""

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import PersonField, PersonRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import Role
from core.api import StrictSerializer, Text, read_body, read_query
from core.errors import Missing
from oncall import feeds, queries, swaps
from oncall.api import ScheduleRef, TimeField, end_of, start_of
from oncall.models import CalendarFeed, Schedule, SwapRequest, SwapStatus


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "integer"}], "description": "Slug or id."})
class ScheduleField(serializers.Field):
    """A schedule by its slug or id. Costs a query."""

    def to_internal_value(self, data: Any) -> Schedule:
        schedule = None
        if isinstance(data, int) and not isinstance(data, bool):
            schedule = Schedule.objects.filter(pk=data).first() if 0 < data < 2**63 else None
        elif isinstance(data, str):
            schedule = Schedule.objects.filter(slug=data[:121]).first() if data else None
        else:
            raise serializers.ValidationError("A slug or an id.")
        if schedule is None:
            raise serializers.ValidationError("There is no such schedule.")
        return schedule

    def to_representation(self, value: Schedule) -> str:
        return value.slug


class SwapOut(serializers.Serializer):
    id = serializers.IntegerField()
    schedule = ScheduleRef()
    requester = PersonRef()
    asked = PersonRef()
    starts_at = TimeField()
    ends_at = TimeField()
    back_starts_at = TimeField(allow_null=True, help_text="What the requester takes in return.")
    back_ends_at = TimeField(allow_null=True)
    message = serializers.CharField()
    answer = serializers.CharField()
    status = serializers.ChoiceField(choices=SwapStatus.choices)
    expires_at = TimeField()
    created_at = TimeField()
    answered_at = TimeField(allow_null=True)


class SwapIn(StrictSerializer):
    schedule = ScheduleField()
    asked = PersonField(help_text="Who would be on call in the place of whoever asks.")
    starts_at = TimeField()
    ends_at = TimeField()
    back_starts_at = TimeField(required=False, allow_null=True, default=None)
    back_ends_at = TimeField(required=False, allow_null=True, default=None)
    message = Text(max_length=300, required=False, default="", allow_blank=True)
    expires_at = TimeField(required=False, allow_null=True, default=None, help_text="Null: two days at most.")


class AnswerIn(StrictSerializer):
    answer = Text(max_length=300, required=False, default="", allow_blank=True)


class SwapQuery(StrictSerializer):
    status = serializers.ChoiceField(choices=SwapStatus.choices, required=False)
    limit = serializers.CharField(required=False)
    cursor = serializers.CharField(required=False)


def _number(pk: str) -> int:
    if not (pk.isdecimal() and pk.isascii() and len(pk) < 19):
        raise Missing("There is no such thing here.")
    return int(pk)


class SwapViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Requests that whoever asks has made or was asked. What is accepted becomes overrides."""

    queryset = SwapRequest.objects.none()
    serializer_class = SwapOut

    def get_queryset(self) -> QuerySet[SwapRequest]:
        found = queries.swaps_of(self.request.user)
        if self.action == "list":
            status = read_query(self.request, SwapQuery).get("status")
            return found.filter(status=status) if status else found
        return found

    def get_object(self) -> SwapRequest:
        swap = self.get_queryset().filter(pk=_number(self.kwargs["pk"])).first()
        if swap is None:
            raise Missing("There is no such request.")
        return swap

    @extend_schema(parameters=[OpenApiParameter("status", OpenApiTypes.STR, enum=SwapStatus.values)])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=SwapIn, responses={201: SwapOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        """Ask somebody to be on call in your place, or to swap one shift for another."""
        data = read_body(request, SwapIn)
        schedule = data.pop("schedule")
        zone = schedule.time_zone
        for key in ("starts_at", "back_starts_at"):
            data[key] = start_of(data[key], zone) if data[key] else None
        for key in ("ends_at", "back_ends_at", "expires_at"):
            data[key] = end_of(data[key], zone)
        swap = swaps.ask_swap(schedule_id=schedule.pk, by=request.user, now=timezone.now(), **data)
        return Response(SwapOut(swap).data, status=201)

    @extend_schema(request=AnswerIn, responses=SwapOut)
    @action(detail=True, methods=["post"])
    def accept(self, request: Request, pk: str) -> Response:
        """The two change places. Accepting twice is accepting once."""
        return self._answer(request, swaps.accept_swap)

    @extend_schema(request=AnswerIn, responses=SwapOut)
    @action(detail=True, methods=["post"])
    def decline(self, request: Request, pk: str) -> Response:
        return self._answer(request, swaps.decline_swap)

    def _answer(self, request: Request, transition: Any) -> Response:
        data = read_body(request, AnswerIn)
        swap = transition(
            swap_id=self.get_object().pk, by=request.user, now=timezone.now(), answer=data["answer"]
        )
        return Response(SwapOut(swap).data)

    @extend_schema(request=None, responses=SwapOut)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        swap = swaps.withdraw_swap(swap_id=self.get_object().pk, by=request.user, now=timezone.now())
        return Response(SwapOut(swap).data)


class FeedOut(serializers.Serializer):
    id = serializers.IntegerField()
    schedule = ScheduleRef(allow_null=True, help_text="Null: one's own shifts in all schedules.")
    hint = serializers.CharField(help_text="How the secret begins.")
    created_at = TimeField()
    revoked_at = TimeField(allow_null=True)
    last_used_at = TimeField(allow_null=True)


class NewFeedOut(FeedOut):
    url = serializers.CharField(
        help_text="Whoever knows it can read it. Shown in this answer and never again."
    )


class FeedIn(StrictSerializer):
    schedule = ScheduleField(
        required=False, allow_null=True, default=None, help_text="Null: one's own shifts in all schedules."
    )


class FeedViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """One's own secret addresses of calendars."""

    queryset = CalendarFeed.objects.none()
    serializer_class = FeedOut
    write_role = Role.VIEWER

    def get_queryset(self) -> QuerySet[CalendarFeed]:
        return queries.feeds_of(self.request.user)

    @extend_schema(request=FeedIn, responses={201: NewFeedOut})
    def create(self, request: Request) -> Response:
        """Make an address. One that there was for the same is revoked, so this is also how a secret is replaced."""
        schedule = read_body(request, FeedIn)["schedule"]
        feed, secret = feeds.make_feed(owner=request.user, schedule=schedule, now=timezone.now())
        feed.url = settings.MUSTER_BASE_URL + reverse("oncall:feed", args=[secret])
        return Response(NewFeedOut(feed).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke an address. It stays in the list with the time of its end."""
        feeds.revoke_feed(feed_id=_number(pk), by=request.user, now=timezone.now())
        return Response(status=204)
