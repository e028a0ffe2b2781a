"""Roles of an incident: who holds them, giving and offering them, answering, and calling experts."""

from django.db.models import QuerySet
from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api import PersonField, PersonRef, TeamField, TeamRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from accounts.models import Role
from core.api import CursorPagination, StrictSerializer, Text, Whole, read_body
from core.errors import Missing
from incidents.api import REF, EmptyIn, SeenIn
from incidents.models import WHOLE_INCIDENT, OfferStatus, RoleOffer, RoleRotation, RoomRole
from incidents.refs import incident_id, incident_of
from incidents.roles import queries, rules, transitions
from incidents.transitions import assign_role
from oncall.api import ScheduleField, ScheduleRef

# --- what is told ---------------------------------------------------------------------------------------------


class HoldingOut(serializers.Serializer):
    role = serializers.ChoiceField(choices=RoomRole.choices)
    field = serializers.CharField(help_text="Of an expert; else empty.")
    user = PersonRef()
    since = serializers.DateTimeField(allow_null=True)
    via = serializers.CharField(help_text="hand, offer, rotation or handoff.")


class OfferOut(serializers.Serializer):
    id = serializers.IntegerField()
    role = serializers.ChoiceField(
        choices=[*RoomRole.choices, (WHOLE_INCIDENT, "The incident itself")],
        help_text="incident: not a role but all of it.",
    )
    field = serializers.CharField()
    status = serializers.ChoiceField(choices=OfferStatus.choices)
    to = PersonRef(
        source="to_user", allow_null=True, help_text="Null: a team is asked, and nobody has accepted for it."
    )
    to_team = serializers.CharField(source="to_name", help_text="Empty: a person is asked.")
    held_by = PersonRef(source="from_user", allow_null=True, help_text="Keeps it until it is accepted.")
    asked_by = PersonRef(source="by", allow_null=True, help_text="Null: the rotation.")
    known = serializers.CharField()
    in_progress = serializers.CharField()
    next_steps = serializers.CharField()
    searches = serializers.BooleanField(
        help_text="Without a yes the next one is asked; false: chosen by name."
    )
    asked = serializers.IntegerField(help_text="How many were asked so far, this one included.")
    offered_at = serializers.DateTimeField()
    accept_by = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class RolesOut(serializers.Serializer):
    roles = HoldingOut(many=True)
    offers = OfferOut(many=True, help_text="Those that wait for an answer.")


# --- what is asked --------------------------------------------------------------------------------------------


class RoleIn(StrictSerializer):
    role = serializers.ChoiceField(choices=RoomRole.choices)
    field = Text(max_length=40, required=False, default="", allow_blank=True, help_text="Only of an expert.")


class AssignIn(SeenIn, RoleIn):
    user = PersonField(allow_null=True, help_text="Null: nobody holds it.")


class OfferIn(RoleIn):
    user = PersonField()
    known = Text(max_length=2000, required=False, default="", allow_blank=True)
    in_progress = Text(max_length=2000, required=False, default="", allow_blank=True)
    next_steps = Text(max_length=2000, required=False, default="", allow_blank=True)
    accept_seconds = Whole(required=False, default=rules.ACCEPT_SECONDS, min_value=60, max_value=86_400)


class HandoverIn(StrictSerializer):
    user = PersonField(required=False, allow_null=True, default=None)
    team = TeamField(required=False, allow_null=True, default=None, help_text="Its policy pages it.")
    known = Text(max_length=2000, required=False, default="", allow_blank=True)
    in_progress = Text(max_length=2000, required=False, default="", allow_blank=True)
    next_steps = Text(max_length=2000, required=False, default="", allow_blank=True)
    accept_seconds = Whole(
        required=False, allow_null=True, default=None, min_value=60, max_value=86_400,
        help_text="Null: 300 for SEV1 and SEV2, else 900.",
    )  # fmt: skip


class DeclineIn(StrictSerializer):
    why = Text(max_length=300, required=False, default="", allow_blank=True)


class ExpertIn(StrictSerializer):
    field = Text(max_length=40)
    reason = Text(max_length=200, required=False, default="", allow_blank=True)


class RotationOut(serializers.Serializer):
    id = serializers.IntegerField()
    role = serializers.ChoiceField(choices=RoomRole.choices)
    field = serializers.CharField(help_text="Of an expert; else empty.")
    schedule = ScheduleRef()
    team = TeamRef(allow_null=True, help_text="Null: all services whose team has none of its own.")
    accept_seconds = serializers.IntegerField(help_text="Then the next person is asked.")
    max_severity = serializers.IntegerField(
        help_text="Asked by itself for this severity and worse; 0: only by hand, as experts always are."
    )
    seen = serializers.SerializerMethodField(help_text="How it stands. Send it back with a change.")

    def get_seen(self, rotation: RoleRotation) -> str:
        return queries.seen(rotation)


class RotationIn(RoleIn):
    role = serializers.ChoiceField(choices=rules.ROTATING)
    schedule = ScheduleField()
    team = TeamField(required=False, allow_null=True, default=None)
    accept_seconds = Whole(required=False, default=rules.ACCEPT_SECONDS, min_value=60, max_value=86_400)
    max_severity = Whole(required=False, default=2, min_value=0, max_value=4)
    seen = Text(
        required=False, max_length=120,
        help_text="As you read it; 409 when somebody has changed it since. Left out: it is replaced, whatever it says.",
    )  # fmt: skip


# --- endpoints ------------------------------------------------------------------------------------------------

OFFER = OpenApiParameter("id", {"type": "integer"}, OpenApiParameter.PATH, description="Of the offer.")


def _roles(ref: str) -> Response:
    incident = incident_of(ref)
    return Response(
        RolesOut({"roles": queries.holdings(incident), "offers": queries.open_offers(incident)}).data
    )


def _offer(offer: RoleOffer, *, status: int = 200) -> Response:
    row = RoleOffer.objects.select_related("to_user", "from_user", "by").get(pk=offer.pk)
    return Response(OfferOut(row).data, status=status)


def _offer_of(ref: str, offer_id: int) -> int:
    """The id, when it is an offer of this incident."""
    if not RoleOffer.objects.filter(pk=offer_id, incident=incident_of(ref)).exists():
        raise Missing(f"There is no offer {offer_id} in this incident.")
    return offer_id


class Roles(APIView):
    @extend_schema(responses=RolesOut, operation_id="incidents_roles_retrieve", parameters=[REF])
    def get(self, request: Request, ref: str) -> Response:
        """Who holds a role, and who is asked to take one."""
        return _roles(ref)

    @extend_schema(
        request=AssignIn,
        responses=RolesOut,
        operation_id="incidents_roles_create",
        summary="Give a role at once, or leave it to nobody",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, AssignIn)
        assign_role(incident_id=incident_id(ref), by=request.user, now=timezone.now(), **data)
        return _roles(ref)


class Offers(APIView):
    @extend_schema(
        request=OfferIn,
        responses={201: OfferOut},
        operation_id="incidents_offers_create",
        summary="Ask somebody to take a role; whoever holds it keeps it until then",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, OfferIn)
        offer = transitions.offer_role(
            incident_id=incident_id(ref), to=data.pop("user"), by=request.user, now=timezone.now(), **data
        )
        return _offer(offer, status=201)


@extend_schema(parameters=[REF])
class Handovers(APIView):
    serializer_class = OfferOut
    pagination_class = CursorPagination
    cursor_field = "-id"

    @extend_schema(responses=OfferOut(many=True), operation_id="incidents_handovers_list")
    def get(self, request: Request, ref: str) -> Response:
        """Each time the incident itself was offered to somebody, newest first."""
        pages = CursorPagination()
        rows = pages.paginate_queryset(queries.handovers(incident_of(ref)), request, view=self)
        return pages.get_paginated_response(OfferOut(rows, many=True).data)

    @extend_schema(
        request=HandoverIn,
        responses={201: OfferOut},
        operation_id="incidents_handovers_create",
        summary="Ask a person or a team to take the incident; whoever has it keeps it until then",
        parameters=[IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, HandoverIn)
        offer = transitions.hand_over(
            incident_id=incident_id(ref), to=data.pop("user"), by=request.user, now=timezone.now(), **data
        )
        return _offer(offer, status=201)


class Accept(APIView):
    @extend_schema(
        request=EmptyIn,
        responses=OfferOut,
        operation_id="incidents_offers_accept",
        summary="Take the role that one is asked to take",
        parameters=[REF, OFFER, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str, id: int) -> Response:
        read_body(request, EmptyIn)
        return _offer(transitions.accept(offer_id=_offer_of(ref, id), by=request.user, now=timezone.now()))


class Decline(APIView):
    @extend_schema(
        request=DeclineIn,
        responses=OfferOut,
        operation_id="incidents_offers_decline",
        summary="Do not take it: the giver keeps it, or the next one is asked",
        parameters=[REF, OFFER, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str, id: int) -> Response:
        data = read_body(request, DeclineIn)
        offer = transitions.decline(offer_id=_offer_of(ref, id), by=request.user, now=timezone.now(), **data)
        return _offer(offer)


class Withdraw(APIView):
    @extend_schema(
        request=EmptyIn,
        responses=OfferOut,
        operation_id="incidents_offers_withdraw",
        summary="Ask nobody any more",
        description="For whoever asked or gives the role, the commander, and managers.",
        parameters=[REF, OFFER, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str, id: int) -> Response:
        read_body(request, EmptyIn)
        return _offer(transitions.withdraw(offer_id=_offer_of(ref, id), by=request.user, now=timezone.now()))


class Experts(APIView):
    @extend_schema(
        request=ExpertIn,
        responses={201: OfferOut},
        operation_id="incidents_experts_create",
        summary="Page whoever is on call for a field, else who knows it",
        parameters=[REF, IDEMPOTENCY_KEY],
    )
    @idempotent
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, ExpertIn)
        offer = transitions.call_expert(
            incident_id=incident_id(ref), by=request.user, now=timezone.now(), **data
        )
        return _offer(offer, status=201)


# --- rotations ------------------------------------------------------------------------------------------------


class RotationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):
    """Which schedule gives which role. A rotation is written as a whole, by managers."""

    queryset = RoleRotation.objects.none()
    serializer_class = RotationOut
    lookup_value_regex = "[0-9]{1,18}"
    cursor_field = "id"
    write_role = Role.MANAGER

    def get_queryset(self) -> QuerySet[RoleRotation]:
        return queries.rotations()

    def get_object(self) -> RoleRotation:
        rotation = self.get_queryset().filter(pk=self.kwargs["pk"]).first()
        if rotation is None:
            raise Missing("There is no such rotation.")
        return rotation

    def _save(self, request: Request, rotation_id: int | None) -> Response:
        data = read_body(request, RotationIn)
        schedule, team = data.pop("schedule"), data.pop("team")
        saved = transitions.save_rotation(
            rotation_id=rotation_id, schedule_id=schedule.pk, team_id=team.pk if team else None, **data
        )
        shown = self.get_queryset().get(pk=saved.pk)
        return Response(RotationOut(shown).data, status=200 if rotation_id else 201)

    @extend_schema(request=RotationIn, responses={201: RotationOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        """One for each role, field and team; whoever is asked next is asked by it."""
        return self._save(request, None)

    @extend_schema(request=RotationIn, responses=RotationOut, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def update(self, request: Request, pk: str) -> Response:
        """Replaces it. Whoever is asked stays asked."""
        return self._save(request, self.get_object().pk)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Whoever is asked stays asked; after that, nobody is."""
        transitions.remove_rotation(rotation_id=self.get_object().pk)
        return Response(status=204)


endpoints: list[URLPattern] = [
    path("incidents/<str:ref>/roles/", Roles.as_view(), name="incident-roles"),
    path("incidents/<str:ref>/offers/", Offers.as_view(), name="incident-offers"),
    path("incidents/<str:ref>/offers/<int:id>/accept/", Accept.as_view(), name="incident-offer-accept"),
    path("incidents/<str:ref>/offers/<int:id>/decline/", Decline.as_view(), name="incident-offer-decline"),
    path("incidents/<str:ref>/offers/<int:id>/withdraw/", Withdraw.as_view(), name="incident-offer-withdraw"),
    path("incidents/<str:ref>/handovers/", Handovers.as_view(), name="incident-handovers"),
    path("incidents/<str:ref>/experts/", Experts.as_view(), name="incident-experts"),
]
"""Under /api/v1/, before the routers."""
