"""Incidents, their timeline, alerts and pages, and the moves a person or a program can make."""

from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api import PersonField, PersonRef
from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from catalog.api import ServiceField
from catalog.models import Service
from core.api import (
    CursorPagination,
    Flag,
    SeqPagination,
    StrictSerializer,
    Text,
    Whole,
    read_body,
    read_query,
)
from core.errors import Missing
from incidents import queries, transitions
from incidents.models import (
    OPEN_STATUSES,
    Alert,
    AlertStatus,
    Incident,
    Kind,
    Page,
    PageStatus,
    Phase,
    Severity,
    Status,
    TimelineEntry,
)
from incidents.refs import incident_id, incident_of
from notifications.models import Urgency

_SEVERITIES = {f"SEV{value}": value for value in Severity.values}
_STATUSES = ["open", *Status.values]
_POPULATIONS = ["production", "drill"]


# --- fields -----------------------------------------------------------------------------------------------


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": list(_SEVERITIES)},
            {"type": "integer", "minimum": 1, "maximum": 4},
        ],
        "example": "SEV1",
    }
)
class SeverityField(serializers.Field):
    """SEV1 or 1, worst, to SEV4 or 4."""

    def to_internal_value(self, data: Any) -> int:
        severity = None
        if isinstance(data, str):
            text = data.strip().upper()
            severity = _SEVERITIES.get(text if text.startswith("SEV") else f"SEV{text}")
        elif isinstance(data, int) and not isinstance(data, bool) and data in Severity.values:
            severity = data
        if severity is None:
            raise serializers.ValidationError(f"One of {', '.join(_SEVERITIES)}.")
        return severity

    def to_representation(self, value: int) -> str:
        return f"SEV{value}"


@extend_schema_field({"type": "string", "enum": list(_SEVERITIES)})
class SeverityOut(serializers.Field):
    def to_representation(self, value: int) -> str:
        return f"SEV{value}"


@extend_schema_field({"type": "string"})
class CommaList(serializers.Field):
    """One or more words with commas between."""

    def to_internal_value(self, data: Any) -> list[str]:
        if "\x00" in str(data):
            raise serializers.ValidationError("Null characters are not allowed.")
        words = [word.strip() for word in str(data)[:2000].split(",") if word.strip()]
        if not words or len(words) > 50:
            raise serializers.ValidationError("From 1 to 50 words with commas between.")
        return words


def _list_of(words: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^({words})(,({words}))*$"}


@extend_schema_field(_list_of("|".join(_STATUSES)))
class StatusList(CommaList):
    pass


@extend_schema_field(_list_of("SEV[1-4]|[1-4]"))
class SeverityList(CommaList):
    pass


# --- what is told ---------------------------------------------------------------------------------------------


class ServiceRef(serializers.Serializer):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()


class IncidentOut(serializers.Serializer):
    id = serializers.IntegerField()
    ref = serializers.CharField(help_text="INC-42")
    title = serializers.CharField()
    status = serializers.ChoiceField(choices=Status.choices)
    severity = SeverityOut()
    severity_number = serializers.IntegerField(source="severity", help_text="1 is worst.")
    service = ServiceRef()
    urgency = serializers.ChoiceField(choices=Urgency.choices)
    phase = serializers.ChoiceField(choices=Phase.choices)
    impact = serializers.CharField(help_text="Who is hurt and how much. Empty: nobody has said.")
    is_drill = serializers.BooleanField()
    alert_count = serializers.IntegerField(help_text="Distinct alerts.")
    event_count = serializers.IntegerField(help_text="All events, repeats included.")
    commander = PersonRef(allow_null=True)
    opened_by = PersonRef(allow_null=True, help_text="Null: a sender opened it.")
    opened_from = serializers.CharField(help_text="Name of the integration. Empty: a person opened it.")
    triggered_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True, help_text="First explicit acknowledgement.")
    acknowledged_by = PersonRef(allow_null=True)
    contained_at = serializers.DateTimeField(allow_null=True)
    contained_by = PersonRef(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)
    resolved_by = PersonRef(allow_null=True)
    last_event_at = serializers.DateTimeField(allow_null=True)
    next_page_at = serializers.DateTimeField(allow_null=True, help_text="Null: nobody is paged next.")
    next_page_to = serializers.CharField(source="next_page_label")
    snoozed_until = serializers.DateTimeField(
        allow_null=True, help_text="Nobody is paged before. Null: not snoozed."
    )
    snoozed_by = PersonRef(allow_null=True)
    snooze_reason = serializers.CharField()
    contain_by = serializers.DateTimeField(
        allow_null=True, help_text="Not contained by then, it escalates though acknowledged. Null: no target."
    )
    contain_missed_at = serializers.DateTimeField(allow_null=True, help_text="It was not contained in time.")
    last_seq = serializers.IntegerField(help_text="The latest timeline entry.")
    follows = serializers.SerializerMethodField(help_text="The incident that this one continues. Null: none.")
    url = serializers.SerializerMethodField(help_text="Its room, for people.")

    @extend_schema_field({"type": "string", "nullable": True})
    def get_follows(self, incident: Incident) -> str | None:
        return f"INC-{incident.follows_id}" if incident.follows_id else None

    @extend_schema_field({"type": "string", "format": "uri"})
    def get_url(self, incident: Incident) -> str:
        return f"{settings.MUSTER_BASE_URL}/incidents/{incident.ref}/"


class EntryOut(serializers.Serializer):
    seq = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    at = serializers.DateTimeField()
    actor = PersonRef(allow_null=True, help_text="Null: Muster or a sender.")
    actor_name = serializers.CharField()
    text = serializers.CharField()
    data = serializers.DictField()
    prev_hash = serializers.CharField()
    hash = serializers.CharField()


@extend_schema_field({"type": "array", "items": {}})
class AnyList(serializers.ReadOnlyField):
    pass


class AlertOut(serializers.Serializer):
    id = serializers.IntegerField()
    dedup_key = serializers.CharField()
    status = serializers.ChoiceField(choices=AlertStatus.choices)
    title = serializers.CharField()
    severity = serializers.CharField(help_text="As the sender said: critical, error, warning, info.")
    source = serializers.CharField()
    details = serializers.DictField()
    links = AnyList()
    joined_because = serializers.CharField()
    count = serializers.IntegerField()
    first_seen_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(allow_null=True)
    muted_until = serializers.DateTimeField(allow_null=True, help_text="Silenced by a person until then.")
    flapping_since = serializers.DateTimeField(allow_null=True, help_text="It opens and clears; held as one.")
    flap_count = serializers.IntegerField(help_text="How often it opened while it flapped.")


class PageOut(serializers.Serializer):
    id = serializers.IntegerField()
    recipient = PersonRef()
    status = serializers.ChoiceField(choices=PageStatus.choices)
    tier = serializers.IntegerField(allow_null=True, help_text="Null: called by hand, or the catch-all.")
    tier_name = serializers.CharField()
    reason = serializers.CharField()
    expected = serializers.CharField()
    answer_by = serializers.DateTimeField(allow_null=True)
    paged_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


# --- what is asked --------------------------------------------------------------------------------------------


class IncidentQuery(StrictSerializer):
    dedup_key = Text(required=False, max_length=512, help_text="Incidents with an alert of this key.")
    status = StatusList(
        required=False, help_text="One or more with commas between; `open` is all but resolved."
    )
    service = CommaList(required=False, help_text="Slugs or ids with commas between.")
    severity = SeverityList(required=False, help_text="`SEV1` or `1`, one or more with commas between.")
    q = Text(required=False, max_length=200, help_text="Words of the title, or a ref.")
    population = serializers.ChoiceField(
        required=False, choices=_POPULATIONS, help_text="Without it both are listed."
    )

    def validate_status(self, words: list[str]) -> list[str]:
        unknown = [word for word in words if word not in _STATUSES]
        if unknown:
            raise serializers.ValidationError(f"{unknown[0][:40]!r} is none of {', '.join(_STATUSES)}.")
        opened = list(OPEN_STATUSES) if "open" in words else []
        return list(dict.fromkeys([*opened, *(word for word in words if word != "open")]))

    def validate_severity(self, words: list[str]) -> list[int]:
        field = SeverityField()
        return [field.to_internal_value(word) for word in words]

    def validate_service(self, words: list[str]) -> list[int]:
        ids = [int(word) for word in words if word.isdecimal() and word.isascii() and len(word) < 19]
        wanted = Q(slug__in=words) | Q(pk__in=ids)
        found = list(Service.objects.filter(wanted).values_list("pk", "slug"))
        known = {slug for _, slug in found} | {str(pk) for pk, _ in found}
        unknown = [word for word in words if word.lstrip("0") not in known and word not in known]
        if unknown:
            raise serializers.ValidationError(f"There is no service {unknown[0][:80]!r}.")
        return [pk for pk, _ in found]


class DeclareIn(StrictSerializer):
    service = ServiceField()
    title = Text(max_length=300)
    severity = SeverityField()
    impact = Text(max_length=300, required=False, default="", allow_blank=True)
    is_drill = Flag(required=False, default=False)


class EmptyIn(StrictSerializer):
    pass


class SeenIn(StrictSerializer):
    """For what one person has at a time, so that two who decide at once do not undo each other unseen."""

    seen = PersonField(
        required=False, allow_null=True,
        help_text="Who had it when you looked; null: nobody. 409 when somebody else has it by now. Left out: whoever has it.",
    )  # fmt: skip

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        """As transitions take it: an id, 0 for nobody, None for not told."""
        seen = given.get("seen")
        return {**given, "seen": seen.pk if seen else 0 if "seen" in given else None}


class NoteOptionalIn(StrictSerializer):
    note = Text(max_length=2000, required=False, default="", allow_blank=True)


class ResolveIn(NoteOptionalIn):
    guard_minutes = Whole(
        required=False,
        default=0,
        min_value=0,
        max_value=1440,
        help_text="For so long repeats of what still fires open nothing.",
    )


class ReasonIn(StrictSerializer):
    reason = Text(max_length=1000)


class ReasonOptionalIn(StrictSerializer):
    reason = Text(max_length=1000, required=False, default="", allow_blank=True)


class SeverityIn(ReasonOptionalIn):
    severity = SeverityField()


class CommanderIn(StrictSerializer):
    user = PersonField(allow_null=True, help_text="Null: nobody commands.")


class CallIn(ReasonOptionalIn):
    user = PersonField()


class NoteIn(StrictSerializer):
    text = Text(max_length=transitions.MAX_NOTE)


class ImpactIn(StrictSerializer):
    impact = Text(max_length=300, allow_blank=True)


class PhaseIn(StrictSerializer):
    phase = serializers.ChoiceField(choices=Phase.choices)


# --- endpoints ------------------------------------------------------------------------------------------------


def _move(body: type[StrictSerializer], summary: str) -> Any:
    """A move of an incident: POST, once per Idempotency-Key, answered with the incident as it is then."""

    def decorate(handler: Any) -> Any:
        posted = action(detail=True, methods=["post"], pagination_class=None)(idempotent(handler))
        return extend_schema(
            request=body, responses=IncidentOut, summary=summary, parameters=[IDEMPOTENCY_KEY]
        )(posted)

    return decorate


REF = OpenApiParameter(
    "ref",
    {"type": "string", "pattern": "^(INC-)?[0-9]{1,18}$"},
    OpenApiParameter.PATH,
    description="INC-42 or 42.",
)


@extend_schema(parameters=[REF])
class IncidentViewSet(viewsets.GenericViewSet):
    """Incidents and the moves that they take."""

    queryset = Incident.objects.none()
    serializer_class = IncidentOut
    pagination_class = CursorPagination
    lookup_field = "ref"
    cursor_field = "-id"

    @extend_schema(parameters=[IncidentQuery], responses=IncidentOut(many=True))
    def list(self, request: Request) -> Response:
        """Newest first."""
        asked = read_query(request, IncidentQuery)
        wanted = queries.IncidentFilter(
            statuses=asked.get("status", ()),
            severities=asked.get("severity", ()),
            service_ids=asked.get("service", ()),
            dedup_key=asked.get("dedup_key", ""),
            text=asked.get("q", ""),
            population=asked.get("population", ""),
        )
        return self._page_of(queries.incident_list(wanted), IncidentOut)

    def retrieve(self, request: Request, ref: str) -> Response:
        return Response(IncidentOut(incident_of(ref)).data)

    @extend_schema(request=DeclareIn, responses={201: IncidentOut}, parameters=[IDEMPOTENCY_KEY])
    @idempotent
    def create(self, request: Request) -> Response:
        """Declare an incident by hand: the service's policy begins to page."""
        data = read_body(request, DeclareIn)
        incident = transitions.declare(by=request.user, now=timezone.now(), **data)
        return self._answer(incident.pk, status=201)

    # --- what belongs to it

    @extend_schema(responses=EntryOut(many=True))
    @action(detail=True, pagination_class=SeqPagination)
    def timeline(self, request: Request, ref: str) -> Response:
        """Oldest first. Ask again with `after` set to the last `seq` that you have."""
        entries = TimelineEntry.objects.filter(incident_id=self._existing(ref)).select_related("actor")
        return self._page_of(entries, EntryOut)

    @extend_schema(responses=AlertOut(many=True))
    @action(detail=True)
    def alerts(self, request: Request, ref: str) -> Response:
        return self._page_of(Alert.objects.filter(incident_id=self._existing(ref)), AlertOut)

    @extend_schema(responses=PageOut(many=True))
    @action(detail=True)
    def pages(self, request: Request, ref: str) -> Response:
        """Who was paged, why, and whether they answered."""
        pages = Page.objects.filter(incident_id=self._existing(ref)).select_related("recipient")
        return self._page_of(pages, PageOut)

    # --- moves

    @_move(EmptyIn, "Acknowledge: paging stops")
    def acknowledge(self, request: Request, ref: str) -> Response:
        read_body(request, EmptyIn)
        return self._moved(transitions.acknowledge, ref, via="api")

    @_move(NoteOptionalIn, "Mark contained: the damage no longer grows")
    def contain(self, request: Request, ref: str) -> Response:
        return self._moved(transitions.contain, ref, **read_body(request, NoteOptionalIn))

    @_move(ResolveIn, "Resolve")
    def resolve(self, request: Request, ref: str) -> Response:
        return self._moved(transitions.resolve, ref, **read_body(request, ResolveIn))

    @_move(ReasonIn, "Reopen: it pages again")
    def reopen(self, request: Request, ref: str) -> Response:
        """Within an hour of its end the incident goes on; later a new one that follows it is opened and answered."""
        return self._moved(transitions.reopen, ref, **read_body(request, ReasonIn))

    @_move(SeverityIn, "Change the severity")
    def severity(self, request: Request, ref: str) -> Response:
        return self._moved(transitions.set_severity, ref, **read_body(request, SeverityIn))

    @_move(CommanderIn, "Say who commands")
    def commander(self, request: Request, ref: str) -> Response:
        return self._moved(transitions.assign_commander, ref, **read_body(request, CommanderIn))

    @_move(CallIn, "Page one person by hand")
    def call(self, request: Request, ref: str) -> Response:
        return self._moved(transitions.page_person, ref, **read_body(request, CallIn))

    @_move(NoteIn, "Write a note")
    def note(self, request: Request, ref: str) -> Response:
        return self._moved(transitions.add_note, ref, **read_body(request, NoteIn))

    @_move(ImpactIn, "Describe the impact")
    def impact(self, request: Request, ref: str) -> Response:
        return self._moved(transitions.set_impact, ref, **read_body(request, ImpactIn))

    @_move(PhaseIn, "Go on to a later phase")
    def phase(self, request: Request, ref: str) -> Response:
        return self._moved(transitions.move_phase, ref, **read_body(request, PhaseIn))

    # --- helpers

    def _existing(self, ref: str) -> int:
        pk = incident_id(ref)
        if not Incident.objects.filter(pk=pk).exists():
            raise Missing(f"There is no incident INC-{pk}.")
        return pk

    def _moved(self, transition: Any, ref: str, **data: Any) -> Response:
        incident = transition(incident_id=incident_id(ref), by=self.request.user, now=timezone.now(), **data)
        return self._answer(incident.pk)

    def _answer(self, pk: int, *, status: int = 200) -> Response:
        return Response(IncidentOut(queries.incident(pk)).data, status=status)

    def _page_of(self, rows: QuerySet, shape: type[serializers.Serializer]) -> Response:
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(shape(page, many=True).data)
