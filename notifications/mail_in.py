"""Where a mail service hands over replies to our mails. Every request is signed, and every mail is carried out once."""

import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notifications import mail, replies
from notifications.channels.webhook import SIGNATURE_HEADER

LONGEST = 5 * 1024 * 1024


# The signature is what a check against forged requests looks for.
@csrf_exempt
@require_POST
def mail_in(request: HttpRequest) -> HttpResponse:
    if not settings.MUSTER_REPLY_DOMAIN:
        return HttpResponse(status=404)
    if int(request.headers.get("Content-Length") or 0) > LONGEST:
        return HttpResponse(status=413)
    body, now = request.body, timezone.now()
    fields = _fields(request, body)
    if fields is None:
        return HttpResponse(status=400)
    if not mail.is_genuine(
        body=body, signature=request.headers.get(SIGNATURE_HEADER, ""), fields=fields,
        secret=settings.MUSTER_REPLY_SECRET, now=now,
    ):  # fmt: skip
        return HttpResponse("The signature is wrong.\n", status=403, content_type="text/plain")
    found = mail.read(fields)
    if found is None:
        return HttpResponse("No sender or no Message-Id.\n", status=400, content_type="text/plain")
    # What is ignored is taken too: the service would bring it again.
    return HttpResponse(
        f"{replies.read_mail(mail=found, now=now)}\n", content_type="text/plain; charset=utf-8"
    )


def _fields(request: HttpRequest, body: bytes) -> dict[str, Any] | None:
    if request.content_type == "application/json":
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None
    return request.POST.dict()
