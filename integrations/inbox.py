"""Taking events out of the inbox, in order, one worker at a time for each sender."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import InterfaceError, connection, transaction
from django.db.models import Func, IntegerField, Q, QuerySet

from catalog.models import Service
from core.middleware import database_is_away
from incidents.alerts import AlertSignal, apply_signal
from incidents.grouping.rules import Plan
from incidents.models import Incident, Status
from incidents.transitions import record_change
from integrations import rules
from integrations.models import ChangeEvent, IngestEvent, Integration, Verdict

log = structlog.get_logger(__name__)

BATCH = 500
MOST_KEYS = 25
"""Different alerts are applied one by one, and patience ends after some ten of them: more would be read in vain."""
MOST_BYTES = 2 * 1024 * 1024
"""As stored, which is compressed: several times that in memory."""
PATIENCE_SECONDS = 0.1
"""A transaction takes no further event after this time, so that nobody waits long for an incident it has locked."""

FINAL = [verdict for verdict in Verdict.values if verdict not in (Verdict.PENDING, Verdict.FAILED)]


@dataclass
class _Row:
    event: IngestEvent
    outcomes: list[dict[str, Any] | None]
    error: str = ""


@dataclass(frozen=True)
class Turn:
    """`handled`: rows that it dealt with; 0: nothing waited. `left`: it saw more than it had the time or room for."""

    handled: int
    left: bool = False


def drain(*, integration_id: int, now: datetime, limit: int = BATCH) -> Turn | None:
    """Process what waits, oldest first. None: somebody else is at it.

    Effects and verdicts are committed together, so a crash leaves the rows waiting. What one event does wrong is
    undone and does not stop the others.
    """
    with transaction.atomic():
        integration = (
            Integration.objects.select_for_update(skip_locked=True, of=("self",), no_key=True)
            .select_related("service")
            .filter(pk=integration_id)
            .first()
        )
        if integration is None:
            return None
        events, left = _oldest(integration_id, now=now, limit=limit)
        if not events:
            return Turn(0)
        rows = [_Row(event, event.outcomes or [None] * len(event.payload)) for event in events]
        # Before any incident, as everywhere: two senders of one service would deadlock over its incidents.
        Service.objects.select_for_update(no_key=True).only("pk").get(pk=integration.service_id)
        in_time = _process(integration, rows, now=now)
        handled = _write(rows, now=now)
        newest = events[-1].received_at
        if integration.last_event_at is None or newest - integration.last_event_at > timedelta(seconds=10):
            Integration.objects.filter(pk=integration_id).update(last_event_at=newest)
    return Turn(handled, left=left or not in_time)


def _oldest(integration_id: int, *, now: datetime, limit: int) -> tuple[list[IngestEvent], bool]:
    """What one transaction takes, and whether there may be more. Hundreds of repeats are one piece of work, hundreds of
    different alerts are not, and hundreds of the largest groups would need gigabytes of memory: so keys and sizes are
    looked at first."""
    waiting = _waiting(integration_id, now=now).order_by("pk")
    stored = Func("payload", function="pg_column_size", output_field=IntegerField())
    seen = list(waiting.annotate(stored=stored).values_list("pk", "stored", "dedup_key")[:limit])
    keys: set[str] = set()
    taken = total = 0
    for pk, size, dedup_key in seen:
        total += size
        keys.add(dedup_key or f"event {pk}")
        if taken and (total > MOST_BYTES or len(keys) > MOST_KEYS):
            break
        taken += 1
    if not taken:
        return [], False
    events = list(waiting.filter(pk__lte=seen[taken - 1][0]).defer("raw"))
    return events, taken < len(seen) or len(seen) == limit


def waits(*, integration_id: int, now: datetime) -> bool:
    """Whether drain would find something."""
    return _waiting(integration_id, now=now).exists()


def _waiting(integration_id: int, *, now: datetime) -> QuerySet[IngestEvent]:
    return IngestEvent.objects.filter(
        Q(verdict=Verdict.PENDING) | Q(due_at__lte=now), integration_id=integration_id, due_at__isnull=False
    )


def _process(integration: Integration, rows: list[_Row], *, now: datetime) -> bool:
    """Whether all was reached before patience ran out."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    to_do = [
        (number, place, signal)
        for number, row in enumerate(rows)
        if not _superseded(row)
        for place, signal in enumerate(row.event.payload)
        if row.outcomes[place] is None
    ]
    operations = rules.collapse(to_do)
    for number_of_it, operation in enumerate(operations, start=1):
        try:
            outcome = _apply(
                integration, operation, received_at=rows[operation.places[0][0]].event.received_at, now=now
            )
        except Exception as error:
            if isinstance(error, InterfaceError) or database_is_away(error):
                raise
            log.exception(
                "event_failed", integration=integration.pk, dedup_key=operation.signal.get("dedup_key")
            )
            reason = f"{type(error).__name__}: {error}"
            for number, _ in operation.places:
                rows[number].error = rows[number].error or reason
        else:
            for position, (number, place) in enumerate(operation.places):
                rows[number].outcomes[place] = outcome if position == 0 else _again(outcome)
        if time.monotonic() > give_up_at:
            return number_of_it == len(operations)
    return True


def _superseded(row: _Row) -> bool:
    """A retry must not undo what the same alert's later events have done meanwhile."""
    event = row.event
    if not event.attempts or len(event.payload) != 1 or not event.dedup_key:
        return False
    later = IngestEvent.objects.filter(
        integration_id=event.integration_id, dedup_key=event.dedup_key, pk__gt=event.pk, verdict__in=FINAL
    ).exclude(verdict=Verdict.REJECTED)
    # An acknowledgement that came too early found nothing and did nothing: the alert that it meant still has to open.
    later = later.exclude(verdict=Verdict.DROPPED, payload__0__action=rules.ACKNOWLEDGE)
    if not later.exists():
        return False
    row.outcomes[0] = {"verdict": "dropped", "reason": "A later event of this alert was processed first."}
    return True


def _apply(
    integration: Integration, operation: rules.Operation, *, received_at: datetime, now: datetime
) -> dict[str, Any]:
    signal = operation.signal
    if signal["action"] == rules.CHANGE:
        return _record_change(integration, signal, received_at=received_at, now=now)
    outcome = apply_signal(
        origin=integration.origin,
        origin_name=integration.name,
        service=integration.service,
        signal=AlertSignal(
            action=signal["action"],
            dedup_key=signal["dedup_key"],
            title=signal["title"],
            severity=signal["severity"],
            source=signal["source"],
            details=signal["details"],
            links=signal["links"],
            group_key=signal["group_key"],
            episode_at=rules.time_of(signal["episode_at"]),
        ),
        now=now,
        count=operation.count,
        plan=_plan_of(integration),
    )
    return {"verdict": outcome.verdict, "reason": outcome.reason, "incident": outcome.incident_id}


def _plan_of(integration: Integration) -> Plan | None:
    if not integration.grouping:
        return None
    return Plan(
        mode=integration.grouping,
        fields=tuple(integration.grouping_fields),
        seconds=integration.grouping_seconds,
    )


MOST_INCIDENTS_OF_A_CHANGE = 5


@transaction.atomic
def _record_change(
    integration: Integration, signal: dict[str, Any], *, received_at: datetime, now: datetime
) -> dict[str, Any]:
    """Kept for who asks what changed before it broke, and written into what is open on the service. Pages nobody."""
    change = ChangeEvent.objects.create(
        integration=integration,
        service=integration.service,
        summary=signal["summary"],
        source=signal["source"],
        occurred_at=rules.time_of(signal["occurred_at"]) or received_at,
        received_at=received_at,
        details=signal["details"],
        links=signal["links"],
    )
    open_now = list(
        Incident.objects.filter(service=integration.service)
        .exclude(status=Status.RESOLVED)
        .order_by("-pk")
        .values_list("pk", flat=True)[:MOST_INCIDENTS_OF_A_CHANGE]
    )
    for incident_id in sorted(open_now):
        record_change(
            incident_id=incident_id,
            text=signal["summary"],
            data={"change": change.pk, "source": signal["source"], "links": signal["links"][:5]},
            by_name=integration.name,
            now=now,
        )
    return {
        "verdict": "change",
        "reason": rules.cut(signal["summary"], 200),
        "incident": open_now[0] if open_now else None,
    }


def _again(outcome: dict[str, Any]) -> dict[str, Any]:
    if outcome["verdict"] in (Verdict.OPENED, Verdict.JOINED, Verdict.REPEATED):
        return {**outcome, "verdict": "repeated", "reason": "Arrived together with the same alert."}
    return outcome


_UPDATE = """
UPDATE integrations_ingestevent AS e
SET verdict = v.verdict,
    reason = left(CASE WHEN e.attempts > 0 THEN v.reason
                  ELSE concat_ws(' ', nullif(v.reason, ''), nullif(e.reason, '')) END, 300),
    outcomes = v.outcomes, incident_id = v.incident, attempts = v.attempts, due_at = v.due_at,
    processed_at = v.processed_at
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::jsonb[], %s::bigint[], %s::smallint[], %s::timestamptz[],
            %s::timestamptz[])
    AS v (id, verdict, reason, outcomes, incident, attempts, due_at, processed_at)
WHERE e.id = v.id
"""


def _write(rows: list[_Row], *, now: datetime) -> int:
    """All verdicts in one statement. Rows that were not reached stay as they are."""
    values = [_verdict(row, now=now) for row in rows]
    values = [value for value in values if value is not None]
    if values:
        with connection.cursor() as cursor:
            cursor.execute(_UPDATE, [list(column) for column in zip(*values, strict=True)])
    return len(values)


def _verdict(row: _Row, *, now: datetime) -> tuple | None:
    event = row.event
    done = [outcome for outcome in row.outcomes if outcome is not None]
    incident = next((outcome["incident"] for outcome in done if outcome.get("incident")), None)
    several = rules.as_json(row.outcomes) if len(row.outcomes) > 1 else None
    if row.error:
        attempts = event.attempts + 1
        again = rules.next_attempt(attempts, now)
        return (event.pk, Verdict.FAILED.value, rules.clean_text(row.error)[:200], several, incident, attempts, again,
                None if again else now)  # fmt: skip
    if len(done) < len(row.outcomes):
        if several is None or not done:
            return None
        return (event.pk, event.verdict, "", several, incident, event.attempts, event.due_at, None)
    verdicts = [outcome["verdict"] for outcome in done]
    if len(done) == 1:
        reason = done[0]["reason"]
    else:
        reason = rules.counted(verdicts) if done else "There was no alert in it."
    return (event.pk, rules.verdict_of_all(verdicts), reason, several, incident, event.attempts, None, now)
