"""Policies, and the escalation of one incident."""

from typing import Any

from django.db.models import QuerySet
from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonField, PersonRef, TeamField, TeamRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import ContactKind, Role, Team, User
from core.api import StrictSerializer, Text, Whole, read_body
from core.errors import Missing
from escalation import queries, rules, transitions
from escalation.models import (
    AckMode,
    CoverageGap,
    GapOutcome,
    Hours,
    OnAckTimeout,
    Policy,
    PolicyVersion,
    TargetKind,
    TierTarget,
    WhenUnstaffed,
)
from escalation.rules import (
    EARLY_KINDS,
    LONGEST_HOLD,
    MAX_REPEATS,
    MAX_TARGETS,
    MAX_TIERS,
    OFFICE_HOURS,
    PolicyData,
    TargetData,
    TierData,
)
from incidents.api import REF, IncidentOut, ServiceRef
from incidents.models import PageStatus
from incidents.queries import incident as incident_with_people
from incidents.refs import incident_id, incident_of
from notifications.models import Urgency
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
    hours = serializers.ChoiceField(choices=Hours.choices, help_text="Empty: at any time.")
    severities = serializers.ListField(child=serializers.IntegerField(), help_text="Empty: for all.")

    @extend_schema_field({"type": "integer", "nullable": True})
    def get_id(self, target: TierTarget) -> int | None:
        return target.schedule_id or target.user_id or target.team_id


class AckSecondsOut(serializers.Serializer):
    SEV1 = serializers.IntegerField(source="ack_seconds_sev1")
    SEV2 = serializers.IntegerField(source="ack_seconds_sev2")
    SEV3 = serializers.IntegerField(source="ack_seconds_sev3")
    SEV4 = serializers.IntegerField(source="ack_seconds_sev4")


class CriterionOut(serializers.Serializer):
    kind = serializers.ChoiceField(choices=EARLY_KINDS)
    field = serializers.CharField(required=False, help_text="Of expertise. Missing: the tier's own.")


class WorkingHoursOut(serializers.Serializer):
    days = serializers.ListField(child=serializers.IntegerField(), help_text="0 is Monday.")
    start = serializers.CharField()
    end = serializers.CharField()


class TierOut(serializers.Serializer):
    level = serializers.IntegerField()
    name = serializers.CharField()
    criteria = serializers.CharField()
    expected_outcome = serializers.CharField()
    expertise = serializers.CharField()
    ack_seconds = AckSecondsOut(source="*", help_text="Time to acknowledge.")
    targets = TargetOut(many=True)
    ack_mode = serializers.ChoiceField(choices=AckMode.choices)
    quorum = serializers.IntegerField()
    when_unstaffed = serializers.ChoiceField(choices=WhenUnstaffed.choices)
    hold_limit_minutes = serializers.IntegerField()
    hours = serializers.ChoiceField(choices=Hours.choices, help_text="Empty: at any time.")
    severities = serializers.ListField(child=serializers.IntegerField(), help_text="Empty: for all.")
    round_robin = serializers.BooleanField()
    early = CriterionOut(many=True, help_text="What has it paged before its turn.")
    channels = serializers.ListField(
        child=serializers.CharField(), help_text="Empty: by each person's own rules."
    )


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
    on_ack_timeout = serializers.ChoiceField(choices=OnAckTimeout.choices)
    add_on_handoff = serializers.BooleanField()
    working_hours = WorkingHoursOut(many=True)
    time_zone = serializers.CharField(help_text="Empty: that of each tier's schedule, else UTC.")
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
    TargetKind.SCHEDULE_NEXT: (Schedule.objects.all(), "slug"),
    TargetKind.USER: (User.objects.filter(is_active=True), "username__iexact"),
    TargetKind.TEAM: (Team.objects.all(), "slug"),
}


class Severities(serializers.ListField):
    """Numbers from 1 to 4; empty: all."""

    child = Whole(min_value=1, max_value=4)

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=4, **options)


class CriterionIn(StrictSerializer):
    kind = serializers.ChoiceField(choices=EARLY_KINDS)
    field = Text(max_length=40, required=False, help_text="Of expertise. Missing: the tier's own.")


class WorkingHoursIn(StrictSerializer):
    days = serializers.ListField(child=Whole(min_value=0, max_value=6), min_length=1, max_length=7)
    start = Text(max_length=5)
    end = Text(max_length=5)


class TargetIn(StrictSerializer):
    kind = serializers.ChoiceField(choices=TargetKind.choices)
    id = TargetIdField(required=False, allow_null=True, help_text="For schedule, user and team.")
    role = serializers.ChoiceField(choices=["", *Role.values], required=False, help_text="For role.")
    hours = serializers.ChoiceField(choices=Hours.choices, required=False, default="")
    severities = Severities(required=False, default=list)

    def validate(self, data: dict[str, Any]) -> TargetData:
        kind, wanted, role = data["kind"], data.get("id"), data.get("role", "")
        limits = {"hours": data["hours"], "severities": data["severities"]}
        if kind not in _LOOK_UP:
            if wanted is not None:
                raise serializers.ValidationError({"id": ["Only for schedule, user and team."]})
            if kind == TargetKind.ROLE and not role:
                raise serializers.ValidationError({"role": [f"One of {', '.join(Role.values)}."]})
            return TargetData(kind=kind, role=role if kind == TargetKind.ROLE else "", **limits)
        rows, name = _LOOK_UP[kind]
        if isinstance(wanted, int):
            row = rows.filter(pk=wanted).first() if 0 < wanted < 2**63 else None
        else:
            row = rows.filter(**{name: wanted}).first() if wanted else None
        if row is None:
            raise serializers.ValidationError({"id": [f"There is no such {kind}."]})
        return TargetData(kind=kind, id=row.pk, **limits)


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
    ack_mode = serializers.ChoiceField(choices=AckMode.choices, default=AckMode.ANY)
    quorum = Whole(min_value=1, max_value=100, default=2, help_text="When ack_mode is quorum.")
    when_unstaffed = serializers.ChoiceField(choices=WhenUnstaffed.choices, default=WhenUnstaffed.SKIP)
    hold_limit_minutes = Whole(
        min_value=1,
        max_value=LONGEST_HOLD,
        default=1440,
        help_text="When when_unstaffed is hold_until_staffed.",
    )
    hours = serializers.ChoiceField(choices=Hours.choices, required=False, default="")
    severities = Severities(required=False, default=list)
    round_robin = serializers.BooleanField(default=False)
    early = CriterionIn(many=True, required=False, default=list, max_length=10)
    channels = serializers.ListField(
        child=serializers.ChoiceField(choices=ContactKind.choices),
        required=False,
        default=list,
        max_length=12,
    )

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
    on_ack_timeout = serializers.ChoiceField(choices=OnAckTimeout.choices, default=OnAckTimeout.RESUME)
    add_on_handoff = serializers.BooleanField(default=True)
    working_hours = WorkingHoursIn(many=True, required=False, default=list(OFFICE_HOURS), max_length=14)
    time_zone = Text(max_length=64, required=False, default="", allow_blank=True)
    why = Text(
        max_length=300, required=False, default="", allow_blank=True, help_text="Kept with the version."
    )
    tiers = TierIn(many=True, max_length=MAX_TIERS)

    def validate(self, data: dict[str, Any]) -> tuple[PolicyData, str]:
        why = data.pop("why")
        team, catch_all = data.pop("team"), data.pop("catch_all")
        return PolicyData(
            team_id=team.pk if team else None, catch_all_id=catch_all.pk if catch_all else None, **data
        ), why


class EscalateIn(StrictSerializer):
    level = Whole(required=False, allow_null=True, min_value=0, max_value=9, default=None)
    team = TeamField(
        required=False, allow_null=True, default=None, help_text="Called in beside the own policy."
    )
    reason = Text(max_length=300, required=False, default="", allow_blank=True)


class RestoreIn(StrictSerializer):
    version = Whole(min_value=1, max_value=2**31 - 1)
    why = Text(max_length=300, required=False, default="", allow_blank=True)


class CellIn(StrictSerializer):
    severity = Whole(min_value=1, max_value=4)
    criticality = Whole(min_value=1, max_value=4)
    urgency = serializers.ChoiceField(choices=["", *Urgency.values], required=False, default="")
    start_level = Whole(min_value=0, max_value=9, required=False, allow_null=True, default=None)
    answer_seconds = Whole(min_value=1, max_value=A_DAY, required=False, allow_null=True, default=None)
    commander = serializers.ChoiceField(choices=["", "ask", "no"], required=False, default="")
    containment_minutes = Whole(
        min_value=1, max_value=10_080, required=False, allow_null=True, default=None,
        help_text="From detection. Not contained by then, it escalates though acknowledged. Null: no target.",
    )  # fmt: skip


class CellOut(serializers.Serializer):
    severity = serializers.IntegerField()
    criticality = serializers.IntegerField()
    urgency = serializers.CharField(help_text="high, low; empty: as the alert says.")
    start_level = serializers.IntegerField(allow_null=True)
    answer_seconds = serializers.IntegerField(allow_null=True)
    commander = serializers.CharField(help_text="ask, no; empty: as the rotation of commanders says.")
    containment_minutes = serializers.IntegerField(allow_null=True)


class VersionOut(serializers.Serializer):
    version = serializers.IntegerField()
    saved_at = serializers.DateTimeField(allow_null=True, help_text="Null: before versions were kept.")
    saved_by = serializers.CharField(source="saved_by_name")
    why = serializers.CharField()
    policy = serializers.DictField(source="snapshot", help_text="What an incident would have got.")
    changed = serializers.SerializerMethodField(help_text="Against the version before, in sentences.")

    @extend_schema_field({"type": "array", "items": {"type": "string"}})
    def get_changed(self, version: PolicyVersion) -> list[str]:
        before = version.policy.versions.filter(version=version.version - 1).first()
        return rules.difference(before.snapshot, version.snapshot) if before else []


class CoverageGapOut(serializers.Serializer):
    incident = serializers.SerializerMethodField()
    service = ServiceRef()
    policy = serializers.CharField(source="policy_name")
    level = serializers.IntegerField(allow_null=True, help_text="Null: all tiers.")
    level_name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=GapOutcome.choices)
    why = serializers.CharField()
    at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    ended_because = serializers.CharField()

    @extend_schema_field({"type": "string"})
    def get_incident(self, gap: CoverageGap) -> str:
        return f"INC-{gap.incident_id}"


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
        data, why = read_body(request, PolicyIn)
        policy = transitions.save_policy(policy=None, data=data, by=request.user, why=why, now=timezone.now())
        return Response(PolicyOut(self.get_queryset().get(pk=policy.pk)).data, status=201)

    @extend_schema(request=PolicyIn, responses=PolicyOut, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def update(self, request: Request, slug: str) -> Response:
        """Replaces the whole policy. Running incidents keep the version that they began with."""
        data, why = read_body(request, PolicyIn)
        policy = transitions.save_policy(
            policy=self.get_object(), data=data, by=request.user, why=why, now=timezone.now()
        )
        return Response(PolicyOut(self.get_queryset().get(pk=policy.pk)).data)

    @extend_schema(request=RestoreIn, responses=PolicyOut, parameters=[IDEMPOTENCY_KEY])
    @action(detail=True, methods=["post"])
    @idempotent
    def restore(self, request: Request, slug: str) -> Response:
        """Makes the policy what it was in a version, as a new one."""
        asked = read_body(request, RestoreIn)
        policy = transitions.restore_version(
            policy=self.get_object(), by=request.user, now=timezone.now(), **asked
        )
        return Response(PolicyOut(self.get_queryset().get(pk=policy.pk)).data)


class PolicyVersions(ListAPIView):
    """Each save of a policy, the newest first: who, when, why, what it said, and what it changed."""

    serializer_class = VersionOut
    cursor_field = "-id"

    def get_queryset(self) -> QuerySet[PolicyVersion]:
        policy = Policy.objects.filter(slug=self.kwargs.get("slug", "")).first()
        if policy is None:
            raise Missing("There is no such policy.")
        return policy.versions.all()


class CoverageGaps(ListAPIView):
    """Where a page found nobody, the newest first."""

    queryset = CoverageGap.objects.select_related("service")
    serializer_class = CoverageGapOut
    cursor_field = "-id"


class Matrix(APIView):
    write_role = Role.ADMIN

    @extend_schema(responses=CellOut(many=True), operation_id="matrix_list")
    def get(self, request: Request) -> Response:
        """What each severity means on services of each criticality. Empty and null: the default."""
        return Response([CellOut(cell).data for row in queries.matrix() for cell in row])

    @extend_schema(request=CellIn, responses=CellOut(many=True), parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def put(self, request: Request) -> Response:
        """Sets one cell; what is left out is the default. For incidents from now on."""
        transitions.set_matrix_cell(**read_body(request, CellIn))
        return Response([CellOut(cell).data for row in queries.matrix() for cell in row])


class RungPersonOut(serializers.Serializer):
    user = PersonRef()
    status = serializers.ChoiceField(choices=PageStatus.choices)
    at = serializers.DateTimeField(allow_null=True)


class RungOut(serializers.Serializer):
    level = serializers.IntegerField(allow_null=True, help_text="Null: the catch-all.")
    name = serializers.CharField()
    state = serializers.ChoiceField(
        choices=["answered", "paging", "missed", "off", "skipped", "next", "later", "passed"]
    )
    due_at = serializers.DateTimeField(allow_null=True)
    paged_at = serializers.DateTimeField(allow_null=True)
    people = RungPersonOut(many=True)
    expected = serializers.CharField()
    criteria = serializers.CharField()
    note = serializers.CharField()
    tally = serializers.CharField(help_text="How many have answered, where more than one has to.")


class RunOut(serializers.Serializer):
    policy_name = serializers.CharField()
    policy_version = serializers.IntegerField()
    is_running = serializers.BooleanField()
    loop = serializers.IntegerField()
    repeats = serializers.IntegerField()
    due_at = serializers.DateTimeField(allow_null=True)
    rungs = RungOut(many=True)


class CalledTeamOut(RunOut):
    team = TeamRef(allow_null=True)
    by = PersonRef(allow_null=True)
    reason = serializers.CharField()


class LadderOut(RunOut):
    nobody = serializers.CharField(help_text="Set when no tier had anybody, so that the catch-all was paged.")
    others = CalledTeamOut(many=True, help_text="Teams that were called in.")


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
        summary="Page the next tier now, the tier with this number, or another team",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, EscalateIn)
        level, team = data.pop("level"), data.pop("team")
        told = {"incident_id": incident_id(ref), "by": request.user, "now": timezone.now(), **data}
        if team is not None:
            incident = transitions.escalate_to_team(team=team, **told)
        elif level is None:
            incident = transitions.escalate_now(**told)
        else:
            incident = transitions.escalate_to(level=level, **told)
        return Response(IncidentOut(incident_with_people(incident.pk)).data)


endpoints: list[URLPattern] = [
    path("policies/<str:slug>/versions/", PolicyVersions.as_view(), name="policy-versions"),
    path("coverage-gaps/", CoverageGaps.as_view(), name="coverage-gaps"),
    path("matrix/", Matrix.as_view(), name="matrix"),
]
