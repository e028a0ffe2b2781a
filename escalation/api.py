"""Policies, and the escalation of one incident."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonField, PersonRef, TeamField, TeamRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import Role, Team, User
from core.api import StrictSerializer, Text, Whole, read_body
from core.errors import Missing
from escalation import queries, transitions
from escalation.models import Policy, TargetKind, TierTarget
from escalation.rules import MAX_REPEATS, MAX_TARGETS, MAX_TIERS, PolicyData, TargetData, TierData
from incidents.api import REF, IncidentOut, ServiceRef
from incidents.models import PageStatus
from incidents.queries import incident as incident_with_people
from incidents.refs import incident_id, incident_of
from oncall.models import Schedule

A_DAY = 86_400
ACK_SECONDS = {1: 300, 2: 600, 3: 1800, 4: 3600}
"""By severity, where the request says nothing."""


# --- what is told ---------------------------------------------------------------------------------------------


class TargetOut(serializers.Serializer):
    kind = serializers.ChoiceField(choices=TargetKind.choices)
    id = serializers.SerializerMethodField(help_text="Of the schedule, person or team.")
    role = serializers.CharField(help_text="Empty unless kind is role.")
    name = serializers.CharField(source="__str__")

    @extend_schema_field({"type": "integer", "nullable": True})
    def get_id(self, target: TierTarget) -> int | None:
        return target.schedule_id or target.user_id or target.team_id


class AckSecondsOut(serializers.Serializer):
    SEV1 = serializers.IntegerField(source="ack_seconds_sev1")
    SEV2 = serializers.IntegerField(source="ack_seconds_sev2")
    SEV3 = serializers.IntegerField(source="ack_seconds_sev3")
    SEV4 = serializers.IntegerField(source="ack_seconds_sev4")


class TierOut(serializers.Serializer):
    level = serializers.IntegerField()
    name = serializers.CharField()
    criteria = serializers.CharField()
    expected_outcome = serializers.CharField()
    expertise = serializers.CharField()
    ack_seconds = AckSecondsOut(source="*", help_text="Time to acknowledge.")
    targets = TargetOut(many=True)


class PolicyOut(serializers.Serializer):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    team = TeamRef(allow_null=True)
    version = serializers.IntegerField(help_text="Goes up with each change. Running incidents keep theirs.")
    repeats = serializers.IntegerField()
    catch_all = PersonRef(allow_null=True, help_text="Null: all admins.")
    catch_all_every_minutes = serializers.IntegerField()
    tiers = TierOut(many=True)
    services = serializers.SerializerMethodField(help_text="What it pages for.")

    @extend_schema_field(ServiceRef(many=True))
    def get_services(self, policy: Policy) -> list[dict[str, Any]]:
        services = [link.service for link in policy.service_policies.all()]
        return ServiceRef(sorted(services, key=lambda service: service.pk), many=True).data


# --- what is asked --------------------------------------------------------------------------------------------


@extend_schema_field(
    {
        "oneOf": [{"type": "string", "maxLength": 254}, {"type": "integer"}],
        "description": "Slug, user name or id.",
    }
)
class TargetIdField(serializers.Field):
    def to_internal_value(self, data: Any) -> int | str:
        if isinstance(data, bool) or not isinstance(data, (int, str)):
            raise serializers.ValidationError("A slug, a user name or an id.")
        return data[:254] if isinstance(data, str) else data

    def to_representation(self, value: Any) -> Any:
        return value


_LOOK_UP = {
    TargetKind.SCHEDULE: (Schedule.objects.all(), "slug"),
    TargetKind.USER: (User.objects.filter(is_active=True), "username__iexact"),
    TargetKind.TEAM: (Team.objects.all(), "slug"),
}


class TargetIn(StrictSerializer):
    kind = serializers.ChoiceField(choices=TargetKind.choices)
    id = TargetIdField(required=False, allow_null=True, help_text="For schedule, user and team.")
    role = serializers.ChoiceField(choices=["", *Role.values], required=False, help_text="For role.")

    def validate(self, data: dict[str, Any]) -> TargetData:
        kind, wanted, role = data["kind"], data.get("id"), data.get("role", "")
        if kind not in _LOOK_UP:
            if wanted is not None:
                raise serializers.ValidationError({"id": ["Only for schedule, user and team."]})
            if kind == TargetKind.ROLE and not role:
                raise serializers.ValidationError({"role": [f"One of {', '.join(Role.values)}."]})
            return TargetData(kind=kind, role=role if kind == TargetKind.ROLE else "")
        rows, name = _LOOK_UP[kind]
        if isinstance(wanted, int):
            row = rows.filter(pk=wanted).first() if 0 < wanted < 2**63 else None
        else:
            row = rows.filter(**{name: wanted}).first() if wanted else None
        if row is None:
            raise serializers.ValidationError({"id": [f"There is no such {kind}."]})
        return TargetData(kind=kind, id=row.pk)


class AckSecondsIn(StrictSerializer):
    SEV1 = Whole(min_value=1, max_value=A_DAY, default=ACK_SECONDS[1])
    SEV2 = Whole(min_value=1, max_value=A_DAY, default=ACK_SECONDS[2])
    SEV3 = Whole(min_value=1, max_value=A_DAY, default=ACK_SECONDS[3])
    SEV4 = Whole(min_value=1, max_value=A_DAY, default=ACK_SECONDS[4])


class TierIn(StrictSerializer):
    level = Whole(min_value=0, max_value=9)
    name = Text(max_length=80)
    expected_outcome = Text(max_length=300, allow_blank=True, help_text="The paged person reads this.")
    criteria = Text(max_length=300, required=False, default="", allow_blank=True)
    expertise = Text(max_length=40, required=False, default="", allow_blank=True)
    ack_seconds = AckSecondsIn(required=False)
    targets = TargetIn(many=True, max_length=MAX_TARGETS)

    def validate(self, data: dict[str, Any]) -> TierData:
        given = data.pop("ack_seconds", {})
        seconds = {number: given.get(f"SEV{number}", default) for number, default in ACK_SECONDS.items()}
        return TierData(ack_seconds=seconds, **data)


class PolicyIn(StrictSerializer):
    name = Text(max_length=120)
    description = Text(max_length=300, required=False, default="", allow_blank=True)
    team = TeamField(required=False, allow_null=True, default=None)
    repeats = Whole(min_value=0, max_value=MAX_REPEATS, default=1)
    catch_all = PersonField(required=False, allow_null=True, default=None, help_text="Null: all admins.")
    catch_all_every_minutes = Whole(min_value=1, max_value=1440, default=15)
    tiers = TierIn(many=True, max_length=MAX_TIERS)

    def validate(self, data: dict[str, Any]) -> PolicyData:
        team, catch_all = data.pop("team"), data.pop("catch_all")
        return PolicyData(
            team_id=team.pk if team else None, catch_all_id=catch_all.pk if catch_all else None, **data
        )


class EscalateIn(StrictSerializer):
    level = Whole(required=False, allow_null=True, min_value=0, max_value=9, default=None)
    reason = Text(max_length=300, required=False, default="", allow_blank=True)


# --- endpoints ------------------------------------------------------------------------------------------------


class PolicyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """How an incident pages. A policy is written as a whole, its tiers and targets with it."""

    queryset = Policy.objects.select_related("team", "catch_all").prefetch_related(
        "tiers__targets__schedule",
        "tiers__targets__user",
        "tiers__targets__team",
        "service_policies__service",
    )
    serializer_class = PolicyOut
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]{1,120}"
    cursor_field = "id"
    write_role = "manager"

    @extend_schema(request=PolicyIn, responses={201: PolicyOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        policy = transitions.save_policy(policy=None, data=read_body(request, PolicyIn))
        return Response(PolicyOut(self.get_queryset().get(pk=policy.pk)).data, status=201)

    @extend_schema(request=PolicyIn, responses=PolicyOut, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def update(self, request: Request, slug: str) -> Response:
        """Replaces the whole policy. Running incidents keep the version that they began with."""
        policy = transitions.save_policy(policy=self.get_object(), data=read_body(request, PolicyIn))
        return Response(PolicyOut(self.get_queryset().get(pk=policy.pk)).data)


class RungPersonOut(serializers.Serializer):
    user = PersonRef()
    status = serializers.ChoiceField(choices=PageStatus.choices)
    at = serializers.DateTimeField(allow_null=True)


class RungOut(serializers.Serializer):
    level = serializers.IntegerField(allow_null=True, help_text="Null: the catch-all.")
    name = serializers.CharField()
    state = serializers.ChoiceField(
        choices=["answered", "paging", "missed", "skipped", "next", "later", "passed"]
    )
    due_at = serializers.DateTimeField(allow_null=True)
    paged_at = serializers.DateTimeField(allow_null=True)
    people = RungPersonOut(many=True)
    expected = serializers.CharField()
    criteria = serializers.CharField()
    note = serializers.CharField()


class LadderOut(serializers.Serializer):
    policy_name = serializers.CharField()
    policy_version = serializers.IntegerField()
    is_running = serializers.BooleanField()
    loop = serializers.IntegerField()
    repeats = serializers.IntegerField()
    due_at = serializers.DateTimeField(allow_null=True)
    rungs = RungOut(many=True)


class Escalation(APIView):
    @extend_schema(responses=LadderOut, operation_id="incidents_escalation_retrieve", parameters=[REF])
    def get(self, request: Request, ref: str) -> Response:
        """Every tier of this incident's policy: what happened there, or when it will."""
        incident = incident_of(ref)
        ladder = queries.ladder(incident, now=timezone.now())
        if ladder is None:
            raise Missing(f"{incident.ref} has no escalation.")
        return Response(LadderOut(ladder).data)


class Escalate(APIView):
    @extend_schema(
        request=EscalateIn,
        responses=IncidentOut,
        operation_id="incidents_escalate_create",
        summary="Page the next tier now, or the tier with this number",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, EscalateIn)
        level = data.pop("level")
        told = {"incident_id": incident_id(ref), "by": request.user, "now": timezone.now(), **data}
        if level is None:
            incident = transitions.escalate_now(**told)
        else:
            incident = transitions.escalate_to(level=level, **told)
        return Response(IncidentOut(incident_with_people(incident.pk)).data)
