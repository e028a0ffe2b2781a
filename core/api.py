"""What every endpoint of the REST API shares: reading JSON, turning pages, and one shape for errors.

{"error": {"code": "invalid", "message": "…", "fields": {"tiers.0.targets": ["…"]}}}
"""

import base64
import binascii
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import DataError, InterfaceError, OperationalError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, serializers
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import BasePagination
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from core.errors import Invalid, MusterError

logger = logging.getLogger(__name__)

BODY_LIMIT = 256 * 1024
BIGGEST_ID = 2**63 - 1


# --- reading ------------------------------------------------------------------------------------------------


class TooLarge(exceptions.APIException):
    status_code = 413
    default_detail = f"The body is larger than {BODY_LIMIT // 1024} KB."
    default_code = "too_large"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _storable(value: Any) -> bool:
    """False for what no text column takes: NUL characters and halves of surrogate pairs, at any depth."""
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, dict):
        return all(_storable(key) and _storable(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_storable(item) for item in value)
    return True


class StrictJSONParser(BaseParser):
    """JSON as the standard has it, of bounded size, and only with text that can be stored."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping | None = None) -> Any:
        body = stream.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            raise TooLarge()
        try:
            data = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
            storable = _storable(data)
        except UnicodeDecodeError:
            raise exceptions.ParseError("The body is not UTF-8.") from None
        except RecursionError:
            raise exceptions.ParseError("The body is nested too deeply.") from None
        except ValueError as error:
            raise exceptions.ParseError(f"The body is not JSON: {error}.") from None
        if not storable:
            raise exceptions.ParseError("A text in the body holds a NUL character or half a surrogate pair.")
        if not isinstance(data, dict):
            raise exceptions.ParseError("The body is not a JSON object.")
        return data


class AlwaysJSON(BaseContentNegotiation):
    """Whatever the Accept header says, the answer is JSON: a program gets its error and not a 406."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:
        wanted = (request.content_type or "").split(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == wanted), None)

    def select_renderer(
        self, request: Request, renderers: Sequence[Any], format_suffix: str | None = None
    ) -> Any:
        return renderers[0], renderers[0].media_type


class Metadata(BaseMetadata):
    def determine_metadata(self, request: Request, view: Any) -> dict[str, str]:
        return {"name": view.get_view_name(), "schema": "/api/v1/schema/"}


class Text(serializers.CharField):
    """A string and nothing else: a number or a flag where a text belongs is a mistake of the sender."""

    default_error_messages = {"invalid": "A text in quotes."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A whole number and nothing else."""

    default_error_messages = {"invalid": "A whole number."}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """true or false and nothing else."""

    default_error_messages = {"invalid": "true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid")
        return data


class StrictSerializer(serializers.Serializer):
    """Refuses fields that it does not know, so that a misspelt one is not silently ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(map(str, data)) - set(self.fields))
            if unknown:
                known = ", ".join(self.fields) or "none"
                raise serializers.ValidationError(
                    {name[:100]: [f"Not a field here. Known: {known}."] for name in unknown}
                )
        return super().to_internal_value(data)


def read_query(request: Request, serializer_class: type[serializers.Serializer]) -> dict[str, Any]:
    """The query parameters, checked; a 400 names the wrong ones.

    An empty one is wrong too: a script whose variable is empty must not get everything instead of one thing.
    """
    serializer = serializer_class()
    given = request.query_params.dict()
    paging = {"cursor", "limit"} - set(serializer.fields)  # read by the pagination
    serializer.initial_data = {name: value for name, value in given.items() if name not in paging}
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def read_body(
    request: Request, serializer_class: type[serializers.Serializer], **kwargs: Any
) -> dict[str, Any]:
    serializer = serializer_class(data=request.data, **kwargs)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


def by_ref(ref: str) -> Q:
    """The row that an address names, by id or by slug."""
    is_id = ref.isdecimal() and ref.isascii() and len(ref) < 19
    return Q(pk=int(ref)) if is_id else Q(slug=ref[:120])


# --- pages --------------------------------------------------------------------------------------------------


def whole_parameter(request: Request, name: str, *, default: int, low: int, high: int) -> int:
    raw = request.query_params.get(name)
    if raw is None:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", raw) or not low <= int(raw) <= high:
        sentence = f"A whole number from {low} to {high}."
        raise Invalid(f"{name}: {sentence}", fields={name: [sentence]})
    return int(raw)


class SeqPagination(BasePagination):
    """For the timeline: oldest first, after the `seq` that the reader already has."""

    default_limit = 100
    max_limit = 500

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: Any = None) -> list:
        self.request = request
        limit = whole_parameter(request, "limit", default=self.default_limit, low=1, high=self.max_limit)
        after = whole_parameter(request, "after", default=0, low=0, high=2**31 - 1)
        rows = list(queryset.filter(seq__gt=after).order_by("seq")[: limit + 1])
        self.last_seq = rows[limit - 1].seq if len(rows) > limit else None
        return rows[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        address = None
        if self.last_seq is not None:
            address = replace_query_param(self.request.build_absolute_uri(), "after", self.last_seq)
        return Response({"next": address, "results": data})

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        after = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
        return [
            _parameter("after", "Entries later than this `seq`.", after),
            _parameter(
                "limit", "Entries on a page.", {"type": "integer", "minimum": 1, "maximum": self.max_limit}
            ),
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return _page_schema(schema)


class CursorPagination(BasePagination):
    """By the view's `cursor_field`, "-id" unless told: a unique whole number.

    So a page costs the same at any depth, and none is skipped while rows arrive. `next` is a whole address.
    """

    default_limit = 50
    max_limit = 200

    def paginate_queryset(self, queryset: QuerySet, request: Request, view: Any = None) -> list:
        ordering = getattr(view, "cursor_field", "-id")
        self.field = ordering.lstrip("-")
        self.request = request
        limit = whole_parameter(request, "limit", default=self.default_limit, low=1, high=self.max_limit)
        cursor = request.query_params.get("cursor")
        if cursor is not None:
            lookup = "lt" if ordering.startswith("-") else "gt"
            queryset = queryset.filter(**{f"{self.field}__{lookup}": self._position(cursor)})
        rows = list(queryset.order_by(ordering)[: limit + 1])
        self.last = rows[limit - 1] if len(rows) > limit else None
        return rows[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        address = None
        if self.last is not None:
            cursor = self.encode(getattr(self.last, self.field))
            address = replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)
        return Response({"next": address, "results": data})

    def _position(self, cursor: str) -> int:
        try:
            position = int(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii"))
            if not 0 <= position <= BIGGEST_ID:
                raise ValueError
        except (ValueError, binascii.Error, UnicodeError):
            raise Invalid(
                "This cursor is not one of ours.", fields={"cursor": ["Not one of ours."]}
            ) from None
        return position

    @staticmethod
    def encode(position: int) -> str:
        return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            _parameter("cursor", "Where the page begins; taken from `next`.", {"type": "string"}),
            _parameter(
                "limit", "Rows on a page.", {"type": "integer", "minimum": 1, "maximum": self.max_limit}
            ),
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return _page_schema(schema)


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _page_schema(rows: dict[str, Any]) -> dict[str, Any]:
    address = {
        "type": "string",
        "format": "uri",
        "nullable": True,
        "description": "Null: this is the last page.",
    }
    return {
        "type": "object",
        "required": ["next", "results"],
        "properties": {"next": address, "results": rows},
    }


# --- errors -------------------------------------------------------------------------------------------------


def error_body(code: str, message: str, fields: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if fields:
        error["fields"] = {name: list(messages) for name, messages in fields.items()}
    return {"error": error}


def _flatten(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """{"tiers": [{}, {"targets": ["Empty."]}]} gives ("tiers.1.targets", "Empty.")."""
    if isinstance(detail, dict):
        for name, item in detail.items():
            yield from _flatten(item, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    elif isinstance(detail, list):
        for position, item in enumerate(detail):
            nested = isinstance(item, (dict, list))
            yield from _flatten(item, f"{path}.{position}".lstrip(".") if nested else path)
    else:
        yield path or "body", str(detail)


def _fields(detail: Any) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, message in _flatten(detail):
        fields.setdefault(name, []).append(message)
    return fields


def _invalid_body(detail: Any) -> dict[str, Any]:
    fields = _fields(detail)
    name, messages = next(iter(fields.items()), ("body", ["Not valid."]))
    message = messages[0] if name == "body" else f"{name}: {messages[0]}"
    return error_body("invalid", message, fields)


_CODES = {
    exceptions.ParseError: "malformed",
    exceptions.NotAuthenticated: "not_authenticated",
    exceptions.AuthenticationFailed: "not_authenticated",
    exceptions.PermissionDenied: "not_allowed",
    exceptions.NotFound: "not_found",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
    exceptions.Throttled: "too_many_requests",
}


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Every refusal in the one shape. None, for what nobody foresaw, lets Django log it and answer 500."""
    headers: dict[str, str] = {}
    if isinstance(error, MusterError):
        status, body = error.status, error_body(error.code, error.message, error.fields)
    elif isinstance(error, exceptions.ValidationError):
        status, body = 400, _invalid_body(error.detail)
    elif isinstance(error, ModelValidationError):
        detail = error.message_dict if hasattr(error, "error_dict") else {"__all__": error.messages}
        detail = {"body" if name == "__all__" else name: messages for name, messages in detail.items()}
        status, body = 400, _invalid_body(detail)
    elif isinstance(error, Http404):
        status, body = 404, error_body("not_found", "There is nothing at this address.")
    elif isinstance(error, PermissionDenied):
        status, body = 403, error_body("not_allowed", str(error) or "You may not do this.")
    elif isinstance(error, exceptions.APIException):
        status = error.status_code
        body = error_body(_CODES.get(type(error), error.default_code), str(error.detail))
        if getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = error.auth_header
        if getattr(error, "wait", None):
            headers["Retry-After"] = str(int(error.wait))
    elif isinstance(error, RequestDataTooBig):
        status, body = 413, error_body("too_large", "The body is too large.")
    elif isinstance(error, SuspiciousOperation):
        status, body = 400, error_body("malformed", "The request is malformed.")
    elif isinstance(error, (OperationalError, InterfaceError)):
        logger.warning("The database does not answer: %s", error)
        status, body = (
            503,
            error_body("unavailable", "The database does not answer. Try again in a few seconds."),
        )
        headers["Retry-After"] = "5"
    elif isinstance(error, DataError):
        logger.warning("The database refused a value that the checks let through: %s", error)
        status, body = 400, error_body("invalid", "A value is out of its range.")
    else:
        return None
    return Response(body, status=status, headers=headers)


@csrf_exempt
def not_found(request: HttpRequest, **_: Any) -> HttpResponse:
    """What no address under /api/ matches. One that only lacks its slash is sent on, method and body kept."""
    if not request.path.endswith("/"):
        try:
            found = resolve(request.path + "/")
        except Resolver404:
            found = None
        if found is not None and found.func is not not_found:
            address = request.get_full_path(force_append_slash=True)
            response = HttpResponsePermanentRedirect(address)
            response.status_code = 308
            return response
    return JsonResponse(error_body("not_found", "There is nothing at this address."), status=404)


# --- schema -------------------------------------------------------------------------------------------------

_ERRORS = {
    "400": "The request is malformed or a value is wrong; `fields` says which.",
    "401": "The token is missing, wrong, expired or revoked.",
    "403": "The role or the token's scope does not allow it.",
    "404": "There is no such thing.",
    "405": "The address does not take this method; `Allow` says which.",
    "409": "The state does not admit it.",
    "413": "The body is too large.",
    "415": "The body is not `application/json`.",
    "422": "The Idempotency-Key was used for another request.",
    "429": "Too many requests with wrong tokens.",
    "503": "The database does not answer. Try again.",
}

_ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "For programs."},
                "message": {"type": "string", "description": "A sentence for people."},
                "fields": {
                    "type": "object",
                    "description": "What is wrong by field, nested ones as `tiers.0.targets`.",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
            },
        }
    },
}


def declare_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A drf-spectacular hook: each operation declares each error status that can come back, with its body."""
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = _ERROR_SCHEMA
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for name, schema in result["components"]["schemas"].items():
        if name.removesuffix("Request").endswith("In"):  # a StrictSerializer by the naming of this project
            schema["additionalProperties"] = False
    for operations in result["paths"].values():
        for method, operation in operations.items():
            if not isinstance(operation, dict):
                continue
            body_less = method in {"get", "head", "delete"}
            for status, description in _ERRORS.items():
                if body_less and status in {"409", "413", "415", "422"}:
                    continue
                operation["responses"].setdefault(status, {"description": description, "content": content})
    return result
