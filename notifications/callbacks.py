"""Where providers of SMS and calls knock. Every request is signed by the provider's account, and carried out once.

No sign-in and no check against forged requests: the signature is what such a check looks for.
"""

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications import providers, queries, replies, rules, transitions
from notifications.channels.phone import callback, spoken_text
from notifications.models import Delivery
from notifications.providers import twilio, vonage
from notifications.providers.base import Provider, Receipt, Spoken
from notifications.sending import message_of

LONGEST = 64 * 1024

View = Callable[..., HttpResponse]


def _signed(kind: str) -> Callable[[View], View]:
    """The view gets the provider and the fields of the request, whether they came as a form or as JSON."""

    def wrap(view: View) -> View:
        @csrf_exempt
        @require_http_methods(["GET", "POST"])
        def wrapped(request: HttpRequest, provider: str, **path: Any) -> HttpResponse:
            found = providers.named(kind, provider)
            if found is None or not settings.MUSTER_PHONE_CALLBACKS:
                return HttpResponse(status=404)
            if int(request.headers.get("Content-Length") or 0) > LONGEST:
                return HttpResponse(status=413)
            body = request.body
            fields = _fields(request, body)
            if fields is None:
                return HttpResponse(status=400)
            url = urljoin(f"{settings.MUSTER_BASE_URL}/", request.get_full_path())
            if not found.is_genuine(url=url, headers=request.headers, body=body, fields=fields):
                return HttpResponse("The signature is wrong.\n", status=403, content_type="text/plain")
            return view(found, fields, **path)

        return wrapped

    return wrap


def _fields(request: HttpRequest, body: bytes) -> dict[str, Any] | None:
    if request.method == "GET":
        return request.GET.dict()
    if request.content_type == "application/json":
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None
    return request.POST.dict()


def _settle(deliveries: Any, receipt: Receipt) -> None:
    if receipt.result:
        transitions.settle(
            deliveries=deliveries, result=receipt.result, said=receipt.said, now=timezone.now(),
            number_is_bad=receipt.number_is_bad,
        )  # fmt: skip


# --- SMS --------------------------------------------------------------------------------------------------------


@_signed("sms")
def sms_status(provider: Provider, fields: dict[str, Any], key: uuid.UUID | None = None) -> HttpResponse:
    if provider.family == "twilio":
        receipt = twilio.sms_receipt(str(fields.get("MessageStatus", "")), fields.get("ErrorCode"))
    else:
        receipt = vonage.sms_receipt(str(fields.get("status", "")), fields.get("err-code"))
        key = key or _uuid(fields.get("client-ref"))
    provider_id = str(fields.get("MessageSid") or fields.get("messageId") or "")
    found = queries.of_provider(key=str(key or ""), provider=provider.account.name, provider_id=provider_id)
    _settle(found.filter(channel="sms"), receipt)
    return HttpResponse(status=204)


@_signed("sms")
def sms_in(provider: Provider, fields: dict[str, Any]) -> HttpResponse:
    is_twilio = provider.family == "twilio"
    external_id = str(fields.get("MessageSid" if is_twilio else "messageId") or "")
    sender = str(fields.get("From" if is_twilio else "msisdn") or "")
    text = str(fields.get("Body" if is_twilio else "text") or "")
    if not external_id or not sender:
        return HttpResponse(status=400)
    now = timezone.now()
    with transaction.atomic():
        answer = replies.read_sms(
            provider=provider.account.name, external_id=external_id, sender=sender, text=text, now=now
        )
        if not is_twilio and answer.text and not answer.again:
            method = queries.method_that_replied(provider.account.name, external_id)
            if method is not None:
                replies.answer_by_sms(method=method, key=external_id, text=answer.text, now=now)
    if is_twilio:
        return HttpResponse(twilio.reply("" if answer.again else answer.text), content_type="text/xml")
    return HttpResponse(status=204)


# --- calls ------------------------------------------------------------------------------------------------------


@_signed("voice")
def answered(provider: Provider, fields: dict[str, Any], key: uuid.UUID) -> HttpResponse:
    """Somebody, or something, took the call: what is said now. Only Twilio asks; Vonage was told when the call began."""
    deliveries = _of_call(key)
    receipt = twilio.call_receipt(str(fields.get("CallStatus", "")), str(fields.get("AnsweredBy", "")))
    if receipt.result == "machine":
        _settle(queries.of_provider(key=str(key)), receipt)
        return HttpResponse(twilio.HANG_UP, content_type="text/xml")
    if not deliveries:
        return _say(provider, "This is Muster. Nothing waits for you any more. Goodbye.")
    return _speak(provider, deliveries, key=key, turn=1)


@_signed("voice")
def call_status(provider: Provider, fields: dict[str, Any], key: uuid.UUID) -> HttpResponse:
    if provider.family == "twilio":
        receipt = twilio.call_receipt(str(fields.get("CallStatus", "")), str(fields.get("AnsweredBy", "")))
    else:
        receipt = vonage.call_receipt(str(fields.get("status", "")))
    _settle(queries.of_provider(key=str(key)), receipt)
    return HttpResponse(status=204)


@_signed("voice")
def keys(provider: Provider, fields: dict[str, Any], key: uuid.UUID, turn: int) -> HttpResponse:
    """A key was pressed. `turn` tells a key pressed twice from a request that was sent twice."""
    if provider.family == "twilio":
        call, pressed = str(fields.get("CallSid", "")), str(fields.get("Digits", ""))
    else:
        dtmf = fields.get("dtmf")
        call, pressed = (
            str(fields.get("uuid", "")),
            str(dtmf.get("digits", "") if isinstance(dtmf, dict) else ""),
        )
    deliveries = list(
        queries.of_provider(key=str(key)).select_related("notification__recipient", "method__user")
    )
    if not call or not deliveries:
        return HttpResponse(status=404)
    if not pressed:
        return _say(provider, "Goodbye. Nobody has acknowledged.")
    answer = replies.press(
        provider=provider.account.name, external_id=f"{call}:{turn}", deliveries=deliveries, key=pressed,
        now=timezone.now(),
    )  # fmt: skip
    waiting = _of_call(key)
    do = rules.KEYS.get(pressed)
    if do == rules.REPEAT and waiting:
        return _speak(provider, waiting, key=key, turn=turn + 1)
    several = len(waiting) > 1
    again = f" {rules.spoken_keys(several=several)}" if waiting or do == rules.HELP else " Goodbye."
    if not waiting and do != rules.HELP:
        return _say(provider, f"{answer.text}{again}")
    return _turn(provider, f"{answer.text}{again}", key=key, turn=turn + 1)


def _of_call(key: uuid.UUID) -> list[Delivery]:
    """What of this call still waits for an answer."""
    found = queries.of_provider(key=str(key)).filter(notification__status="active")
    return list(found.select_related("notification__recipient", "method__user").order_by("due_at", "pk"))


def _speak(provider: Provider, deliveries: list[Delivery], *, key: uuid.UUID, turn: int) -> HttpResponse:
    message = message_of(deliveries[0], others=deliveries[1:])
    is_page = message.kind == "page"
    text = spoken_text(message, keys=is_page)
    return _turn(provider, text, key=key, turn=turn) if is_page else _say(provider, text)


def _turn(provider: Provider, text: str, *, key: uuid.UUID, turn: int) -> HttpResponse:
    spoken = Spoken(text, callback("keys", provider.account.name, key=key, turn=turn))
    if provider.family == "twilio":
        return HttpResponse(twilio.twiml(spoken), content_type="text/xml")
    return JsonResponse(vonage.ncco(spoken), safe=False)


def _say(provider: Provider, text: str) -> HttpResponse:
    if provider.family == "twilio":
        return HttpResponse(twilio.say_and_hang_up(text), content_type="text/xml")
    return JsonResponse(vonage.say_and_hang_up(text), safe=False)


def _uuid(value: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        return None
