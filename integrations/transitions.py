"""Integrations come, get a new key and are disabled by managers; events are replayed; old rows go."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction

from accounts.models import User, digest
from catalog.models import Service
from core.errors import Invalid, Missing, Refused
from incidents.grouping.transitions import check_grouping
from integrations import hints
from integrations.keys import directory
from integrations.models import IngestEvent, Integration, IntegrationKind, Verdict

KEEP = timedelta(days=30)
KEEP_BULK = timedelta(days=3)
BULK = (Verdict.REPEATED, Verdict.REJECTED)
PRUNE_BATCH = 5000

RECEIVED_KINDS = tuple(IntegrationKind)
"""The kinds that have an address here."""


@transaction.atomic
def create_integration(*, name: str, kind: str, service: Service, key: str = "") -> tuple[Integration, str]:
    """The integration and its key, which nobody can read again. `key`: one that senders use already."""
    name = name.strip()
    if not name:
        raise Invalid("An integration needs a name.", fields={"name": ["Give it a name."]})
    if kind not in IntegrationKind.values:
        raise Invalid("This kind of sender is not known.", fields={"kind": ["Choose one of the list."]})
    key = key or Integration.new_key()
    integration = Integration.objects.create(
        name=name[:120], kind=kind, service=service, key_digest=digest(key), key_hint=key[-4:]
    )
    transaction.on_commit(directory.forget)
    return integration, key


@transaction.atomic
def rotate_key(*, integration_id: int) -> tuple[Integration, str]:
    """A new key; the old one is refused within two seconds, everywhere."""
    integration = _lock(integration_id)
    key = Integration.new_key()
    integration.key_digest, integration.key_hint = digest(key), key[-4:]
    integration.save(update_fields=["key_digest", "key_hint"])
    transaction.on_commit(directory.forget)
    return integration, key


@transaction.atomic
def change_integration(
    *, integration_id: int, name: str, service: Service, grouping: str | None = None,
    grouping_fields: Sequence[str] | None = None, grouping_seconds: int | None = None,
) -> Integration:  # fmt: skip
    """What is None stays. `grouping` "": its alerts are grouped as the service says, or not at all."""
    integration = _lock(integration_id)
    if not name.strip():
        raise Invalid("An integration needs a name.", fields={"name": ["Give it a name."]})
    integration.name, integration.service = name.strip()[:120], service
    if grouping is not None:
        integration.grouping = grouping
    if grouping_fields is not None:
        integration.grouping_fields = [name.strip() for name in grouping_fields if name.strip()]
    if grouping_seconds is not None:
        integration.grouping_seconds = grouping_seconds
    if integration.grouping:
        wrong = check_grouping(
            grouping=integration.grouping,
            fields=integration.grouping_fields,
            seconds=integration.grouping_seconds,
        )
        if wrong:
            raise Invalid("The integration was not changed.", fields=wrong)
    integration.save(update_fields=["name", "service", "grouping", "grouping_fields", "grouping_seconds"])
    return integration


@transaction.atomic
def disable(*, integration_id: int, now: datetime) -> Integration:
    """Its events are refused from now on. Open alerts stay. Again changes nothing."""
    integration = _lock(integration_id)
    if integration.disabled_at is None:
        integration.disabled_at = now
        integration.save(update_fields=["disabled_at"])
        transaction.on_commit(directory.forget)
    return integration


@transaction.atomic
def enable(*, integration_id: int) -> Integration:
    integration = _lock(integration_id)
    if integration.disabled_at is not None:
        integration.disabled_at = None
        integration.save(update_fields=["disabled_at"])
        transaction.on_commit(directory.forget)
    return integration


def _lock(integration_id: int) -> Integration:
    found = Integration.objects.select_for_update(of=("self",), no_key=True).filter(pk=integration_id).first()
    if found is None:
        raise Missing("There is no such integration.")
    return found


@transaction.atomic
def replay(*, event_id: int, by: User, now: datetime) -> IngestEvent:
    """Process an event once more. One that failed goes on; one that was processed comes in again as a new row."""
    event = IngestEvent.objects.select_for_update(of=("self",), no_key=True).filter(pk=event_id).first()
    if event is None:
        raise Missing("There is no such event.")
    if event.payload is None or event.integration_id is None:
        raise Refused(
            "This request was refused, so there is nothing to replay. Send it again.",
            code="nothing_to_replay",
        )
    if event.verdict == Verdict.PENDING:
        raise Refused("It waits to be processed already.", code="already_pending")
    if event.verdict == Verdict.FAILED:
        event.verdict, event.due_at, event.attempts, event.processed_at = Verdict.PENDING, now, 0, None
        event.reason = f"Replayed by {by}."[:300]
        event.save(update_fields=["verdict", "due_at", "attempts", "processed_at", "reason"])
        again = event
    else:
        again = IngestEvent.objects.create(
            integration_id=event.integration_id,
            kind=event.kind,
            received_at=now,
            payload=event.payload,
            raw=event.raw,
            dedup_key=event.dedup_key,
            due_at=now,
            reason=f"Request {event.pk} replayed by {by}."[:300],
        )
    integration_id = event.integration_id
    transaction.on_commit(lambda: hints.wake(integration_id))
    return again


_PRUNE = """
DELETE FROM integrations_ingestevent WHERE id IN (
    SELECT id FROM integrations_ingestevent
    WHERE due_at IS NULL AND (received_at < %s OR (received_at < %s AND verdict = ANY(%s)))
    LIMIT %s
)
"""


def prune(*, now: datetime) -> int:
    """Forget what is old: the bulk of repeats and refusals after days, the rest after a month. Nothing that waits."""
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE, [now - KEEP, now - KEEP_BULK, [str(verdict) for verdict in BULK], PRUNE_BATCH])
        return cursor.rowcount
