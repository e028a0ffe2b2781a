"""A request that is sent again with the same Idempotency-Key acts once and is answered the same."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotentRequest, User
from core.errors import Invalid, MusterError

REMEMBERED_FOR = timedelta(hours=24)
KEY = re.compile(r"[\x21-\x7e]{1,255}")


class KeyReused(MusterError):
    status = 422
    code = "idempotency_key_reused"


@dataclass(frozen=True)
class Answer:
    """What a request did: `again` when it had done it before, and did nothing now."""

    status: int
    body: Any
    again: bool = False


@transaction.atomic
def once(*, user: User, key: str, fingerprint: str, now: datetime, act: Callable[[], Answer]) -> Answer:
    """Act, unless this person's `key` did it within a day: then what it answered. Two at once: the second waits.

    Only what succeeded is remembered, in the same transaction as what it did, so a refused request may be sent again
    with its key. Raises KeyReused when the key did something else.
    """
    _wait_for_twins(user.pk, key)
    row = IdempotentRequest.objects.filter(user=user, key=key).first()
    if row is not None and row.created_at > now - REMEMBERED_FOR:
        if row.fingerprint != fingerprint:
            raise KeyReused("This Idempotency-Key was used for another request. Use a new one.")
        return Answer(row.status, row.answer, again=True)
    answer = act()
    IdempotentRequest.objects.filter(created_at__lte=now - REMEMBERED_FOR).delete()
    IdempotentRequest.objects.create(
        user=user, key=key, fingerprint=fingerprint, status=answer.status, answer=answer.body, created_at=now
    )
    return answer


def idempotent(handler: Callable[..., Response]) -> Callable[..., Response]:
    """An endpoint that acts once for each Idempotency-Key; see `once`."""

    @wraps(handler)
    def guarded(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return handler(view, request, *args, **kwargs)
        if not KEY.fullmatch(key):
            raise Invalid(
                "Idempotency-Key is 1 to 255 visible ASCII characters.", code="invalid_idempotency_key"
            )
        first: list[Response] = []

        def act() -> Answer:
            first.append(handler(view, request, *args, **kwargs))
            return Answer(first[0].status_code, json.loads(JSONRenderer().render(first[0].data)))

        answer = once(
            user=request.user, key=key, fingerprint=_fingerprint(request), now=timezone.now(), act=act
        )
        if answer.again:
            return Response(answer.body, status=answer.status, headers={"Idempotent-Replay": "true"})
        return first[0]

    return guarded


def _fingerprint(request: Request) -> str:
    files = request.FILES
    body = json.dumps(
        {name: value for name, value in request.data.items() if name not in files}, sort_keys=True
    )
    said = [f"{request.method} {request.get_full_path()} {body}"]
    for name, sent in files.lists():
        said += [f"{name} {file.name} {digest_of(file)}" for file in sent]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def digest_of(file: UploadedFile) -> str:
    """Of its bytes, which can be read again after."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


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
