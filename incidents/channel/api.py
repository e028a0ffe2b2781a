"""The channel for programs: messages, decisions, and what lies over an entry."""

from typing import Any

from django.http import QueryDict
from django.urls import URLPattern, path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import IDEMPOTENCY_KEY, idempotent
from core.api import Flag, StrictJSONParser, StrictSerializer, Text, Whole, read_body
from core.errors import Missing
from incidents.api import REF, EntryOut
from incidents.channel import files, transitions
from incidents.models import TimelineEntry
from incidents.refs import incident_id
from incidents.transitions import MAX_NOTE

SEQ = OpenApiParameter(
    "seq", {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, OpenApiParameter.PATH, description="Of the entry."
)  # fmt: skip


class MessageIn(StrictSerializer):
    text = Text(max_length=MAX_NOTE, help_text="A small Markdown. @username tells that person.")
    reply_to = Whole(
        required=False, allow_null=True, min_value=1, max_value=2**31 - 1, help_text="The entry that it answers."
    )  # fmt: skip


class MessageFormIn(StrictSerializer):
    """The same as a form, with files."""

    text = Text(
        max_length=MAX_NOTE,
        required=False,
        default="",
        allow_blank=True,
        help_text="May be empty beside files.",
    )
    reply_to = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=2**31 - 1, help_text="The entry that it answers."
    )  # fmt: skip
    files = serializers.ListField(
        child=serializers.FileField(allow_empty_file=True), required=False, default=list,
        help_text="Images, logs, PDF, ZIP or gzip; what a file is, its bytes say.",
    )  # fmt: skip


class DecisionIn(StrictSerializer):
    text = Text(max_length=transitions.MAX_DECISION)


class AmendIn(StrictSerializer):
    text = Text(max_length=MAX_NOTE)
    rev = Whole(
        required=False, allow_null=True, min_value=0, max_value=2**31 - 1,
        help_text="The version that was read; 409 when it was amended since.",
    )  # fmt: skip


class MarkIn(StrictSerializer):
    mark = serializers.ChoiceField(choices=list(transitions.MARKS))
    on = Flag(help_text="False takes it back.")


def _entry(entry: TimelineEntry, *, status: int = 200) -> Response:
    return Response(EntryOut(entry).data, status=status)


def _post(
    body: type[StrictSerializer] | dict[str, type[StrictSerializer]],
    summary: str,
    *,
    status: int = 201,
    seq: bool = False,
) -> Any:
    """POST, once per Idempotency-Key, answered with the timeline entry that it made."""

    def decorate(handler: Any) -> Any:
        return extend_schema(
            request=body, responses={status: EntryOut}, summary=summary,
            parameters=[REF, *([SEQ] if seq else []), IDEMPOTENCY_KEY],
        )(idempotent(handler))  # fmt: skip

    return decorate


class Messages(APIView):
    parser_classes = [StrictJSONParser, MultiPartParser]

    @_post({"application/json": MessageIn, "multipart/form-data": MessageFormIn}, "Write to the room")
    def post(self, request: Request, ref: str) -> Response:
        """Whoever is mentioned is told. Commands are not read here: call the moves themselves. Files come as a form."""
        is_form = isinstance(request.data, QueryDict)
        data = read_body(request, MessageFormIn if is_form else MessageIn)
        entry = transitions.say(
            incident_id=incident_id(ref), by=request.user, now=timezone.now(), text=data["text"],
            reply_to=data.get("reply_to"), files=files.read(data.get("files", [])),
        )  # fmt: skip
        return _entry(entry, status=201)


class Decisions(APIView):
    @_post(DecisionIn, "Record a decision")
    def post(self, request: Request, ref: str) -> Response:
        data = read_body(request, DecisionIn)
        entry = transitions.decide(incident_id=incident_id(ref), by=request.user, now=timezone.now(), **data)
        return _entry(entry, status=201)


class Amend(APIView):
    @_post(AmendIn, "Amend a message or a decision", status=200, seq=True)
    def post(self, request: Request, ref: str, seq: int) -> Response:
        """One's own, or any as a manager. The first words stay in the timeline."""
        data = read_body(request, AmendIn)
        entry = transitions.amend(
            incident_id=incident_id(ref), seq=_seq(seq), by=request.user, now=timezone.now(), **data
        )
        return _entry(entry)


class Mark(APIView):
    @_post(MarkIn, "Pin or star an entry", status=200, seq=True)
    def post(self, request: Request, ref: str, seq: int) -> Response:
        """Already so: nothing happens, and the answer is the entry itself."""
        data = read_body(request, MarkIn)
        entry = transitions.mark(
            incident_id=incident_id(ref), seq=_seq(seq), by=request.user, now=timezone.now(), **data
        )
        return _entry(entry)


def _seq(seq: int) -> int:
    if not 0 < seq < 2**31:
        raise Missing(f"There is no entry {seq}.")
    return seq


endpoints: list[URLPattern] = [
    path("incidents/<str:ref>/messages/", Messages.as_view(), name="incident-messages"),
    path("incidents/<str:ref>/decisions/", Decisions.as_view(), name="incident-decisions"),
    path("incidents/<str:ref>/entries/<int:seq>/amend/", Amend.as_view(), name="incident-amend"),
    path("incidents/<str:ref>/entries/<int:seq>/mark/", Mark.as_view(), name="incident-mark"),
]
"""Under /api/v1/, before the routers."""
