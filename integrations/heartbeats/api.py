"""Senders that have to ping."""

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import Role
from catalog.api import ServiceField, ServiceLink
from core.api import StrictSerializer, Text, Whole, read_body
from core.errors import Missing
from incidents.alerts import SEVERITIES
from integrations.heartbeats import transitions
from integrations.models import HeartbeatState, Watch

_SEVERITY_CHOICES = [(severity, severity) for severity in SEVERITIES]


class HeartbeatOut(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    service = ServiceLink()
    description = serializers.CharField()
    interval_seconds = serializers.IntegerField()
    grace_seconds = serializers.IntegerField()
    severity = serializers.ChoiceField(choices=_SEVERITY_CHOICES)
    state = serializers.ChoiceField(choices=HeartbeatState.choices)
    state_since = serializers.DateTimeField()
    last_ping_at = serializers.DateTimeField(allow_null=True)
    key_hint = serializers.CharField(help_text="The last characters of its key.")


class NewHeartbeatOut(HeartbeatOut):
    key = serializers.CharField(help_text="Shown in this answer and never again.")
    ping_url = serializers.SerializerMethodField(help_text="GET or POST it.")

    def get_ping_url(self, watch: Watch) -> str:
        return f"{settings.MUSTER_BASE_URL}/heartbeat/{watch.key}"


class HeartbeatIn(StrictSerializer):
    name = Text(max_length=100)
    service = ServiceField()
    interval_seconds = Whole(min_value=10, max_value=31 * 86400)
    grace_seconds = Whole(required=False, default=60, min_value=0, max_value=31 * 86400)
    severity = serializers.ChoiceField(choices=_SEVERITY_CHOICES, required=False, default="error")
    description = Text(max_length=300, required=False, default="", allow_blank=True)


class HeartbeatChangeIn(StrictSerializer):
    name = Text(max_length=100, required=False)
    service = ServiceField(required=False)
    interval_seconds = Whole(required=False, min_value=10, max_value=31 * 86400)
    grace_seconds = Whole(required=False, min_value=0, max_value=31 * 86400)
    severity = serializers.ChoiceField(choices=_SEVERITY_CHOICES, required=False)
    description = Text(max_length=300, required=False, allow_blank=True)


class HeartbeatViewSet(mixins.ListModelMixin, viewsets.GenericViewSet):
    """Senders whose silence opens an incident. The key is shown when it is made."""

    queryset = Watch.objects.none()
    serializer_class = HeartbeatOut
    cursor_field = "id"
    lookup_value_regex = r"\d+"
    write_role = Role.MANAGER

    def get_queryset(self) -> QuerySet[Watch]:
        return Watch.objects.select_related("service")

    def _get(self, pk: str) -> Watch:
        found = self.get_queryset().filter(pk=int(pk)).first() if len(pk) < 19 else None
        if found is None:
            raise Missing("There is no such heartbeat.")
        return found

    def _with_key(self, watch: Watch, key: str, *, status: int = 200) -> Response:
        watch = self._get(str(watch.pk))
        watch.key = key
        return Response(NewHeartbeatOut(watch).data, status=status)

    @extend_schema(responses=HeartbeatOut)
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(HeartbeatOut(self._get(pk)).data)

    @extend_schema(request=HeartbeatIn, responses={201: NewHeartbeatOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        """Add one. It is watched from its first ping on."""
        watch, key = transitions.add(now=timezone.now(), **read_body(request, HeartbeatIn))
        return self._with_key(watch, key, status=201)

    @extend_schema(request=HeartbeatChangeIn, responses=HeartbeatOut)
    def partial_update(self, request: Request, pk: str) -> Response:
        watch = self._get(pk)
        names = ("name", "service", "interval_seconds", "grace_seconds", "severity", "description")
        given: dict[str, Any] = {name: getattr(watch, name) for name in names}
        given |= read_body(request, HeartbeatChangeIn)
        transitions.change(watch_id=watch.pk, now=timezone.now(), **given)
        return self.retrieve(request, pk)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """It is no longer watched; an incident that it opened ends."""
        transitions.remove(watch_id=self._get(pk).pk, now=timezone.now())
        return Response(status=204)

    @extend_schema(request=None, responses=NewHeartbeatOut)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """A new key. The old one is refused from then on."""
        watch, key = transitions.rotate_key(watch_id=self._get(pk).pk)
        return self._with_key(watch, key)

    @extend_schema(request=None, responses=HeartbeatOut)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Nobody is paged for its silence; an incident that it opened ends."""
        transitions.pause(watch_id=self._get(pk).pk, now=timezone.now())
        return self.retrieve(request, pk)

    @extend_schema(request=None, responses=HeartbeatOut)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """It is watched again from its next ping on."""
        transitions.unpause(watch_id=self._get(pk).pk, now=timezone.now())
        return self.retrieve(request, pk)
