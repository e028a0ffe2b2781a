"""Where senders knock: no sign-in, JSON whatever the headers say, and an answer in the sender's own language.

202 is sent after the event is committed, never before. A lost database is 503, which every sender repeats.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

import structlog
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from core.bridge import ANSWER_AFTER
from core.middleware import RETRY_AFTER, database_is_away
from integrations import hints, inbox, queries, rules
from integrations.adapters import alertmanager, grafana, opsgenie, pagerduty, webhook
from integrations.keys import Sender, directory
from integrations.limits import Buckets
from integrations.models import IngestEvent, IntegrationKind, Verdict

log = structlog.get_logger(__name__)

# What strangers may cost, in each process: look-ups of keys that are not known, by address …
strangers = Buckets(burst=20, per_minute=60)
# … and rows in the ledger about what was refused, by sender and for all strangers together.
refusals = Buckets(burst=30, per_minute=10)

# Who sends more than this gets its answers later while the workers are behind. The event itself does not wait.
modest = Buckets(burst=40, per_minute=20 * 60)
LONGEST_HOLD = 1.0  # seconds; senders give up after ten

TOO_LATE_TO_READ = 16 * 1024 * 1024


class TooLarge(Exception):
    pass


def answer(status: int, body: Mapping[str, Any], **headers: str) -> HttpResponse:
    response = HttpResponse(rules.as_json(body), status=status, content_type="application/json")
    response._has_been_logged = True  # by the ledger; a log line for each refusal is what a flood would like
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


class Contract(ABC):
    """What one kind of sender sends and expects back."""

    kind: ClassVar[str]
    takes: ClassVar[str]  # the kind of integration whose keys are good here
    longest = rules.LONGEST_EVENT
    methods: ClassVar[tuple[str, ...]] = ("POST",)
    refused: ClassVar[int] = 400  # the status of a body that is JSON and not what is expected
    empty_is_object: ClassVar[bool] = False

    def known(self, sender: Sender) -> None:
        """Whose request it is, before it is parsed."""
        self.sender: Sender | None = sender

    @abstractmethod
    def parse(self, body: dict[str, Any]) -> rules.Parsed: ...

    @abstractmethod
    def key_of(self, body: dict[str, Any], key_in_path: str) -> str: ...

    @abstractmethod
    def accepted(self, parsed: rules.Parsed, event_id: int) -> HttpResponse: ...

    @abstractmethod
    def error(
        self, status: int, message: str, *, code: str = "invalid", errors: list[str] | None = None
    ) -> HttpResponse: ...

    def unreadable(self, why: str) -> HttpResponse:
        return self.error(400, why, code="malformed")

    @abstractmethod
    def unknown_key(self, *, checked: bool) -> HttpResponse: ...

    def disabled(self) -> HttpResponse:
        return self.error(403, "This integration is disabled.", code="integration_disabled")


class EventsV2(Contract):
    kind = takes = IntegrationKind.PAGERDUTY.value

    def parse(self, body: dict[str, Any]) -> rules.Parsed:
        return pagerduty.parse(body)

    def key_of(self, body: dict[str, Any], key_in_path: str) -> str:
        return pagerduty.key_of(body)

    def accepted(self, parsed: rules.Parsed, event_id: int) -> HttpResponse:
        return answer(202, {"status": "success", "message": "Event processed", "dedup_key": parsed.dedup_key})

    def error(
        self, status: int, message: str, *, code: str = "invalid", errors: list[str] | None = None
    ) -> HttpResponse:
        return answer(
            status,
            {"status": "invalid event", "message": "Event object is invalid", "errors": errors or [message]},
        )

    def unreadable(self, why: str) -> HttpResponse:
        return answer(
            400,
            {
                "status": "Unrecognized object",
                "message": "Event object format is unrecognized",
                "errors": [why],
            },
        )

    def unknown_key(self, *, checked: bool) -> HttpResponse:
        if checked:
            return self.error(400, "Invalid routing key")
        # Not 400: a key that was made a second ago may not be known here yet.
        body = {
            "status": "throttle exceeded",
            "message": "Requests for this service are arriving too quickly",
            "errors": ["Too many events with unknown routing keys from this address"],
        }
        return answer(429, body, Retry_After="30")

    def disabled(self) -> HttpResponse:
        return self.error(400, "This integration is disabled")


class ChangesV2(EventsV2):
    kind = "change"

    def parse(self, body: dict[str, Any]) -> rules.Parsed:
        return pagerduty.parse_change(body)

    def accepted(self, parsed: rules.Parsed, event_id: int) -> HttpResponse:
        return answer(202, {"status": "success", "message": "Change event processed"})


class _KeyInPath(Contract):
    def key_of(self, body: dict[str, Any], key_in_path: str) -> str:
        return key_in_path

    def error(
        self, status: int, message: str, *, code: str = "invalid", errors: list[str] | None = None
    ) -> HttpResponse:
        body: dict[str, Any] = {"error": {"code": code, "message": message}}
        if errors and len(errors) > 1:
            body["error"]["errors"] = errors
        return answer(status, body)

    def unknown_key(self, *, checked: bool) -> HttpResponse:
        if checked:
            return self.error(404, "No integration has this key.", code="unknown_key")
        # A key that was made a second ago may not be known here yet. Never 429: Alertmanager drops what is answered so.
        response = self.error(
            503, "Too many requests with unknown keys from this address. Send it again.", code="throttled"
        )
        response.headers["Retry-After"] = "30"
        return response


class Alertmanager(_KeyInPath):
    kind = takes = IntegrationKind.ALERTMANAGER.value
    longest = rules.LONGEST_GROUP

    def parse(self, body: dict[str, Any]) -> rules.Parsed:
        return alertmanager.parse(body)

    def accepted(self, parsed: rules.Parsed, event_id: int) -> HttpResponse:
        return answer(202, {"status": "success", "message": "Alerts stored", "alerts": len(parsed.signals)})


class Grafana(Alertmanager):
    kind = takes = IntegrationKind.GRAFANA.value

    def parse(self, body: dict[str, Any]) -> rules.Parsed:
        return grafana.parse(body)


class Webhook(_KeyInPath):
    kind = takes = IntegrationKind.WEBHOOK.value

    def parse(self, body: dict[str, Any]) -> rules.Parsed:
        return webhook.parse(body)

    def accepted(self, parsed: rules.Parsed, event_id: int) -> HttpResponse:
        return answer(202, {"status": "success", "message": "Event stored", "dedup_key": parsed.dedup_key})


class Opsgenie(Contract):
    """`verb` "" creates. The key is in the Authorization header, the alert in the path."""

    kind = takes = IntegrationKind.OPSGENIE.value
    methods = ("POST", "PUT", "PATCH")
    refused = 422
    empty_is_object = True

    def __init__(self, verb: str = "", identifier: str = "", named_by: str = "id") -> None:
        self.verb, self.identifier, self.named_by = verb, identifier, named_by
        self.began = time.monotonic()
        self.sender = None

    def parse(self, body: dict[str, Any]) -> rules.Parsed:
        if not self.verb:
            return opsgenie.parse_create(body)
        key = queries.key_of_alert(self.identifier, self.named_by, integration_id=self.sender.integration_id)
        return opsgenie.parse_action(self.verb, key, body)

    def key_of(self, body: dict[str, Any], key_in_path: str) -> str:
        return key_in_path

    def say(self, status: int, body: Mapping[str, Any], *, event_id: int = 0, **headers: str) -> HttpResponse:
        """Clients fail on an answer without these two."""
        request_id = opsgenie.public_id(opsgenie.REQUEST, event_id)
        took = round(time.monotonic() - self.began, 3)
        return answer(status, {**body, "took": took, "requestId": request_id}, **headers)

    def accepted(self, parsed: rules.Parsed, event_id: int) -> HttpResponse:
        return self.say(202, {"result": "Request will be processed"}, event_id=event_id)

    def error(
        self, status: int, message: str, *, code: str = "invalid", errors: list[str] | None = None
    ) -> HttpResponse:
        return self.say(status, {"message": message, **({"errors": {"body": errors}} if errors else {})})

    def unknown_key(self, *, checked: bool) -> HttpResponse:
        if checked:
            return self.error(401, "Key is not valid: no integration of the kind Opsgenie has it")
        state = {"X_RateLimit_State": "THROTTLED", "X_RateLimit_Reason": "INTEGRATION", "Retry_After": "30"}
        return self.say(
            429, {"message": "Too many requests with unknown keys from this address"},
            X_RateLimit_Period_In_Sec="60", **state,
        )  # fmt: skip


@csrf_exempt
def enqueue(request: HttpRequest) -> HttpResponse:
    return _receive(request, EventsV2())


@csrf_exempt
def change_enqueue(request: HttpRequest) -> HttpResponse:
    return _receive(request, ChangesV2())


@csrf_exempt
def from_alertmanager(request: HttpRequest, key: str) -> HttpResponse:
    return _receive(request, Alertmanager(), key)


@csrf_exempt
def from_webhook(request: HttpRequest, key: str) -> HttpResponse:
    return _receive(request, Webhook(), key)


@csrf_exempt
def from_grafana(request: HttpRequest, key: str) -> HttpResponse:
    return _receive(request, Grafana(), key)


def genie_key(request: HttpRequest) -> str:
    """The key of `Authorization: GenieKey …`; "" when there is none."""
    scheme, _, key = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    return key.strip() if scheme.lower() == "geniekey" else ""


@csrf_exempt
def opsgenie_create(request: HttpRequest) -> HttpResponse:
    return _receive(request, Opsgenie(), genie_key(request))


@csrf_exempt
def opsgenie_act(request: HttpRequest, identifier: str, verb: str) -> HttpResponse:
    named_by = request.GET.get("identifierType", "id").lower()
    contract = Opsgenie(verb, identifier.replace("\x00", ""), named_by)
    return _receive(request, contract, genie_key(request))


LONGEST_WAIT = 2.0  # seconds for the verdict of a request; some clients ask at once, and only ten times


@csrf_exempt
def opsgenie_request(request: HttpRequest, request_id: str) -> HttpResponse:
    """What became of a request. The inbox is taken out from here, if nobody is at it."""
    contract = Opsgenie()
    return _asked(request, contract, lambda sender: _request_status(contract, sender, request_id))


@csrf_exempt
def opsgenie_alert(request: HttpRequest, identifier: str) -> HttpResponse:
    contract = Opsgenie(identifier=identifier.replace("\x00", ""))
    named_by = request.GET.get("identifierType", "id").lower()
    return _asked(request, contract, lambda sender: _alert_of(contract, sender, named_by))


def _asked(request: HttpRequest, contract: Opsgenie, look: Callable[[Sender], HttpResponse]) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        response = contract.error(405, "Only GET is understood here.")
        response.headers["Allow"] = "GET, HEAD"
        return response
    try:
        address = rules.address_of(request.META.get("REMOTE_ADDR", ""))
        sender, checked = _sender_of(genie_key(request), address)
        if sender is None or sender.kind != contract.takes:
            return contract.unknown_key(checked=checked)
        return look(sender)
    except Exception as error:
        if not database_is_away(error):
            raise
        return contract.error(503, "The database does not answer. Ask again.")


def _request_status(contract: Opsgenie, sender: Sender, request_id: str) -> HttpResponse:
    found = opsgenie.read_id(request_id)
    event = None
    if found is not None and found[0] == opsgenie.REQUEST:
        event = _processed(found[1], sender)
    if event is None or event.verdict == Verdict.PENDING:
        return contract.error(404, "Request not found. It might not be processed, yet.")
    done = event.verdict not in (Verdict.FAILED, Verdict.DROPPED, Verdict.REJECTED)
    created = event.payload[0]["action"] == rules.TRIGGER
    action = "Create" if created else queries.action_of(event.payload)
    status = {True: "Created alert", False: f"{action} is done"}[created] if done else event.reason
    alert = queries.alert_of(event.dedup_key, integration_id=sender.integration_id)
    data = {
        "success": done, "isSuccess": done, "action": action, "status": status,
        "processedAt": event.processed_at and event.processed_at.isoformat(),
        "integrationId": str(sender.integration_id),
        "alertId": opsgenie.public_id(opsgenie.ALERT, alert.pk) if alert else request_id, "alias": event.dedup_key,
    }  # fmt: skip
    return contract.say(200, {"data": data}, event_id=event.pk)


def _processed(event_id: int, sender: Sender) -> IngestEvent | None:
    """The event with its verdict, waited for; still without one when it takes too long."""
    give_up_at = time.monotonic() + LONGEST_WAIT
    while True:
        event = (
            IngestEvent.objects.filter(pk=event_id, integration_id=sender.integration_id).defer("raw").first()
        )
        if event is None or event.verdict != Verdict.PENDING or time.monotonic() > give_up_at:
            return event
        if inbox.drain(integration_id=sender.integration_id, now=timezone.now()) is None:
            time.sleep(0.05)


def _alert_of(contract: Opsgenie, sender: Sender, named_by: str) -> HttpResponse:
    key = queries.key_of_alert(contract.identifier, named_by, integration_id=sender.integration_id)
    alert = queries.alert_of(key, integration_id=sender.integration_id)
    if alert is None:
        return contract.error(404, "Alert not found")
    data = {
        "id": opsgenie.public_id(opsgenie.ALERT, alert.pk), "tinyId": str(alert.pk), "alias": alert.dedup_key,
        "message": alert.title, "status": "open" if alert.status == "firing" else "closed",
        "acknowledged": alert.incident.status in ("acknowledged", "contained"), "count": alert.count,
        "source": alert.source, "createdAt": alert.first_seen_at.isoformat(),
        "updatedAt": alert.last_seen_at.isoformat(), "lastOccurredAt": alert.last_seen_at.isoformat(),
        "priority": {"critical": "P1", "error": "P2", "warning": "P3"}.get(alert.severity, "P4"),
        "tags": alert.details.get("tags", []), "incident": alert.incident.ref,
    }  # fmt: skip
    return contract.say(200, {"data": data})


def _receive(request: HttpRequest, contract: Contract, key_in_path: str = "") -> HttpResponse:
    if request.method not in contract.methods:
        response = contract.error(
            405, f"Only {' and '.join(contract.methods)} are understood here."
            if len(contract.methods) > 1 else "Only POST is understood here.", code="method_not_allowed",
        )  # fmt: skip
        response.headers["Allow"] = ", ".join(contract.methods)
        return response
    try:
        return _take(request, contract, key_in_path, now=timezone.now())
    except TooLarge:
        return contract.error(
            413, f"The body is larger than {contract.longest // 1024} KB.", code="too_large"
        )
    except Exception as error:
        if database_is_away(error):
            log.warning("event_not_stored", error=str(error).strip().splitlines()[:1])
            response = contract.error(
                503, "The database does not answer. Nothing was stored. Send it again.", code="unavailable"
            )
            response.headers["Retry-After"] = RETRY_AFTER
            return response
        log.exception("event_not_stored")
        return contract.error(500, "Muster failed here. Nothing was stored. Send it again.", code="failed")


def _take(request: HttpRequest, contract: Contract, key_in_path: str, *, now: datetime) -> HttpResponse:
    raw = read_body(request, contract.longest)
    address = rules.address_of(request.META.get("REMOTE_ADDR", ""))
    text, key = "", key_in_path
    try:
        text = rules.read_text(raw)
        body = {} if contract.empty_is_object and not text.strip() else rules.read_object(text)
        key = contract.key_of(body, key_in_path)
    except rules.Unreadable as why:
        sender, checked = _sender_of(key_in_path, address) if key_in_path else (None, False)
        if key_in_path and (sender is None or sender.kind != contract.takes):
            return contract.unknown_key(checked=checked)
        _note_refusal(
            contract, sender, address, str(why), text or raw.decode("utf-8", "replace"), key, now=now
        )
        return contract.unreadable(str(why))
    except rules.Refusal as refusal:
        errors = refusal.errors + _errors_of(contract, body)
        _note_refusal(contract, None, address, "; ".join(errors), text, key, now=now)
        return contract.error(contract.refused, "; ".join(errors), errors=errors)

    sender, checked = _sender_of(key, address)
    if sender is None or sender.kind != contract.takes:
        if checked:
            reason = (
                "Unknown key"
                if sender is None
                else f"The key belongs to an integration of the kind {sender.kind}"
            )
            _note_refusal(contract, sender, address, reason, text, key, now=now)
        return contract.unknown_key(checked=checked)
    if sender.disabled:
        _note_refusal(contract, sender, address, "The integration is disabled", text, key, now=now)
        return contract.disabled()
    contract.known(sender)
    try:
        parsed = contract.parse(body)
    except rules.Refusal as refusal:
        _note_refusal(contract, sender, address, "; ".join(refusal.errors), text, key, now=now)
        return contract.error(contract.refused, "; ".join(refusal.errors), errors=refusal.errors)
    if sender.overfull:
        response = contract.error(
            503, "Too much of this sender waits already. Send it again.", code="overfull"
        )
        response.headers["Retry-After"] = RETRY_AFTER
        return response
    event_id = _store(
        contract, sender, parsed, address, rules.without_key(text, key, longest=rules.LONGEST_RAW), now=now
    )
    if not modest.take(sender.integration_id, time.monotonic()):
        request.META[ANSWER_AFTER] = min(hints.lateness(), LONGEST_HOLD)
    return contract.accepted(parsed, event_id)


def _sender_of(key: str, address: str | None) -> tuple[Sender | None, bool]:
    """The sender, and whether the answer is certain: an address that tries key after key is not looked up for."""
    sender = directory.find(key)
    if sender is not None:
        return sender, True
    if not strangers.take(address, time.monotonic()):
        return None, False
    return directory.look_up(key), True


def _errors_of(contract: Contract, body: dict[str, Any]) -> list[str]:
    try:
        contract.parse(body)
    except rules.Refusal as refusal:
        return refusal.errors
    return []


def read_body(request: HttpRequest, longest: int) -> bytes:
    """The body, whatever its Content-Type. What is too large is read to its end if that is near, so that the sender
    gets to see the answer."""
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        stream: Any = request.META["wsgi.input"]
    else:
        stream = request
    body = stream.read(longest + 1)
    if len(body) <= longest:
        return body
    read = len(body)
    while read < TOO_LATE_TO_READ and (more := stream.read(256 * 1024)):
        read += len(more)
    raise TooLarge


_INSERT = """
INSERT INTO integrations_ingestevent
    (integration_id, kind, received_at, payload, raw, verdict, reason, dedup_key, remote_address, attempts, due_at,
     processed_at)
VALUES (%s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s, 0, %s, %s)
RETURNING id
"""


def _store(
    contract: Contract, sender: Sender, parsed: rules.Parsed, address: str | None, raw: str, *, now: datetime
) -> int:
    """One statement, committed when it returns. Plain SQL: a third of the time that a model instance takes."""
    values = [
        sender.integration_id, contract.kind, now, rules.as_json(parsed.signals), raw, Verdict.PENDING.value,
        rules.cut(". ".join(parsed.warnings), 300), parsed.dedup_key, address, now, None,
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)
        event_id = cursor.fetchone()[0]
    transaction.on_commit(lambda: hints.wake(sender.integration_id))
    return event_id


def _note_refusal(
    contract: Contract,
    sender: Sender | None,
    address: str | None,
    reason: str,
    text: str,
    key: str,
    *,
    now: datetime,
) -> None:
    """A row in the ledger for a person who wonders where the alert is; so many a minute, so that no stranger fills
    the disk. Losing the note does not change the answer."""
    integration_id = sender.integration_id if sender else None
    if not refusals.take(integration_id, time.monotonic()):
        return
    values = [
        integration_id, contract.kind, now, None, rules.masked_refusal(text, key), Verdict.REJECTED.value,
        rules.cut(rules.clean_text(reason), 300), "", address, None, now,
    ]  # fmt: skip
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_INSERT, values)
    except Exception as error:
        log.warning("refusal_not_noted", error=repr(error))
