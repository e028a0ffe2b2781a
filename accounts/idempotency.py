"""A request that is sent again with the same Idempotency-Key acts once and is answered the same."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotentRequest
from core.errors import Invalid, MusterError

REMEMBERED_FOR = timedelta(hours=24)


class KeyReused(MusterError):
    status = 422
    code = "idempotency_key_reused"


def idempotent(handler: Callable[..., Response]) -> Callable[..., Response]:
    """Only what succeeded is remembered, in the same transaction as what it did.

    So a refused request may be sent again with the same key. Two at once: the second waits for the first.
    """

    @wraps(handler)
    def once(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return handler(view, request, *args, **kwargs)
        if not re.fullmatch(r"[\x21-\x7e]{1,255}", key):
            raise Invalid(
                "Idempotency-Key is 1 to 255 visible ASCII characters.", code="invalid_idempotency_key"
            )
        fingerprint = _fingerprint(request)
        now = timezone.now()
        with transaction.atomic():
            _wait_for_twins(request.user.pk, key)
            row = IdempotentRequest.objects.filter(user=request.user, key=key).first()
            if row is not None and row.created_at > now - REMEMBERED_FOR:
                if row.fingerprint != fingerprint:
                    raise KeyReused("This Idempotency-Key was used for another request. Use a new one.")
                return Response(row.answer, status=row.status, headers={"Idempotent-Replay": "true"})
            response = handler(view, request, *args, **kwargs)
            IdempotentRequest.objects.filter(created_at__lte=now - REMEMBERED_FOR).delete()
            IdempotentRequest.objects.create(
                user=request.user,
                key=key,
                fingerprint=fingerprint,
                status=response.status_code,
                answer=json.loads(JSONRenderer().render(response.data)),
                created_at=now,
            )
            return response

    return once


def _fingerprint(request: Request) -> str:
    body = json.dumps(request.data, sort_keys=True)
    return hashlib.sha256(f"{request.method} {request.get_full_path()} {body}".encode()).hexdigest()


def _wait_for_twins(user_id: int, key: str) -> None:
    """Held until the transaction ends. Two keys with the same number only wait for each other."""
    number = int.from_bytes(hashlib.sha256(f"{user_id} {key}".encode()).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
    OpenApiParameter.HEADER,
    description="Sent again with the same key within a day, the request acts once and is answered the same.",
)
