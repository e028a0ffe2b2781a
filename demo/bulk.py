"""Writes many past incidents at once, by COPY: rows and valid hash chains, and nothing else.

No subscriber runs: history starts no escalation, sets no timer and sends nothing. Only the figures are made here too.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any

from django.db import connection, models, transaction
from psycopg.types.json import Jsonb

from demo.history import PastIncident
from escalation.models import Run
from incidents.models import Alert, Incident, Page, PhaseStamp, TimelineEntry
from incidents.timeline import chain_hash
from metrics.transitions import figure
from notifications.models import Attempt, Delivery, Notification


def next_ids(model: type[models.Model], count: int) -> Iterator[int]:
    """So many fresh primary keys of the model."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)",
            [model._meta.db_table, count],
        )
        return iter([row[0] for row in cursor.fetchall()])


def copy_in(model: type[models.Model], rows: Iterable[Mapping[str, Any]]) -> int:
    """COPY rows, each a mapping from column to value, all with the same columns. The others get their default.

    How many rows.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return 0
    fields = [
        field for field in model._meta.concrete_fields if not field.primary_key or field.column in first
    ]
    defaults = {field.column: field.get_default() for field in fields if field.column not in first}
    json = {field.column for field in fields if isinstance(field, models.JSONField)}
    columns = [field.column for field in fields]
    names = ", ".join(f'"{column}"' for column in columns)
    count = 0
    with (
        connection.cursor() as cursor,
        cursor.copy(f'COPY "{model._meta.db_table}" ({names}) FROM STDIN') as copy,
    ):
        for row in chain([first], rows):
            values = {**defaults, **row}
            copy.write_row(
                [Jsonb(values[column]) if column in json else values[column] for column in columns]
            )
            count += 1
    return count


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How a person was told of old pages."""

    method_id: int | None
    address: str


@transaction.atomic
def write(
    incidents: Sequence[PastIncident],
    *,
    service_ids: Mapping[str, int],
    origins: Mapping[str, str],
    policies: Mapping[str, tuple[int | None, dict]],
    reach: Mapping[int, Reach] | None = None,
) -> list[int]:
    """Write them in the order given. `policies`: id and snapshot by service. The ids of the incidents.

    With `reach`, by person, each page also has the message that told of it.
    """
    ids = list(next_ids(Incident, len(incidents)))
    page_ids = next_ids(Page, sum(len(past.pages) for past in incidents))
    alert_ids = next_ids(Alert, sum(len(past.alerts) for past in incidents))
    run_ids = list(next_ids(Run, len(incidents)))
    known: dict[int, int] = {}  # identity of a page or an alert of the history: its row's id
    for past in incidents:
        known |= {id(page): next(page_ids) for page in past.pages}
        known |= {id(alert): next(alert_ids) for alert in past.alerts}

    timelines = [list(_entries(past, ids[at], known)) for at, past in enumerate(incidents)]
    copy_in(
        Incident,
        (_incident(past, ids[at], service_ids, timelines[at][-1]) for at, past in enumerate(incidents)),
    )
    copy_in(
        Run,
        (
            {
                "id": run_ids[at], "incident_id": ids[at], "origin": "own", "reason": "",
                "policy_id": policies[past.service][0],
                "snapshot": policies[past.service][1], "status": "stopped", "index": past.run_index, "loop": 0,
                "step": past.run_step, "step_started_at": past.run_step_started_at, "due_at": None,
                "started_at": past.triggered_at, "stopped_at": past.run_stopped_at,
            }
            for at, past in enumerate(incidents)
        ),
    )  # fmt: skip
    copy_in(
        Alert,
        (
            {
                "id": known[id(alert)], "incident_id": ids[at], "service_id": service_ids[past.service],
                "origin": origins[past.service], "dedup_key": alert.dedup_key, "group_key": "", "status": "resolved",
                "title": alert.title, "severity": alert.severity, "source": alert.source, "details": {}, "links": [],
                "joined_because": alert.joined_because, "count": alert.count, "first_seen_at": alert.first_seen_at,
                "last_seen_at": alert.last_seen_at, "resolved_at": alert.resolved_at,
                "closed_by_hand": alert.closed_by_hand,
            }
            for at, past in enumerate(incidents)
            for alert in past.alerts
        ),
    )  # fmt: skip
    messages = _messages(incidents, ids, known, reach) if reach else {}
    copy_in(
        Page,
        (
            {
                "id": known[id(page)], "incident_id": ids[at], "recipient_id": page.recipient.id,
                "step_key": f"run:{run_ids[at]}:{page.step}", "tier": page.tier.level, "tier_name": page.tier.name,
                "reason": page.reason, "expected": page.tier.expected, "answer_by": page.answer_by,
                "otherwise": page.otherwise, "status": page.status,
                "notification_id": messages.get(id(page)), "paged_at": page.paged_at,
                "ended_at": page.ended_at,
            }
            for at, past in enumerate(incidents)
            for page in past.pages
        ),
    )  # fmt: skip
    copy_in(
        PhaseStamp,
        (
            {"incident_id": ids[at], "phase": phase, "at": stamped}
            for at, past in enumerate(incidents)
            for phase, stamped in past.stamps.items()
        ),
    )
    copy_in(TimelineEntry, (row for rows in timelines for row in rows))
    figure(incident_ids=ids)
    return ids


_ENDED = {"acknowledged": "answered", "missed": "cancelled", "cancelled": "cancelled"}


def _messages(
    incidents: Sequence[PastIncident],
    ids: Sequence[int],
    known: Mapping[int, int],
    reach: Mapping[int, Reach],
) -> dict[int, int]:
    """A notification and a sent message for each page. Notification ids by the identity of their page."""
    pages = [(past, ids[at], page) for at, past in enumerate(incidents) for page in past.pages]
    pages.sort(key=lambda row: row[2].paged_at)
    notifications = list(next_ids(Notification, len(pages)))
    deliveries = list(next_ids(Delivery, len(pages)))
    copy_in(
        Notification,
        (
            {
                "id": notifications[at],
                "recipient_id": page.recipient.id,
                "dedupe_key": f"page:{known[id(page)]}",
                "topic": f"incident:{incident_id}",
                "urgency": past.urgency,
                "title": f"{'DRILL ' if past.is_drill else ''}SEV{past.severity} {past.title}",
                "status": _ENDED[page.status],
                "unreachable": reach[page.recipient.id].method_id is None,
                "created_at": page.paged_at,
                "ended_at": page.ended_at,
            }
            for at, (past, incident_id, page) in enumerate(pages)
        ),
    )
    sent = [
        page.paged_at + timedelta(milliseconds=180 + 53 * at % 640) for at, (_, _, page) in enumerate(pages)
    ]
    copy_in(
        Delivery,
        (
            {
                "id": deliveries[at],
                "notification_id": notifications[at],
                "method_id": reach[page.recipient.id].method_id,
                "channel": "email",
                "address": reach[page.recipient.id].address,
                "status": "sent",
                "due_at": page.paged_at,
                "attempts": 1,
                "idempotency_key": uuid.uuid4(),
                "claimed_at": page.paged_at + timedelta(milliseconds=20),
                "finished_at": sent[at],
                "created_at": page.paged_at,
            }
            for at, (_, _, page) in enumerate(pages)
        ),
    )
    copy_in(
        Attempt,
        (
            {
                "delivery_id": deliveries[at],
                "number": 1,
                "started_at": page.paged_at + timedelta(milliseconds=20),
                "finished_at": sent[at],
                "outcome": "sent",
            }
            for at, (_, _, page) in enumerate(pages)
        ),
    )
    return {id(page): notifications[at] for at, (_, _, page) in enumerate(pages)}


def _entries(past: PastIncident, incident_id: int, known: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    previous = ""
    for seq, entry in enumerate(past.entries, start=1):
        data = dict(entry.data)
        if entry.pages is not None:
            data["pages"] = [known[id(page)] for page in entry.pages]
        if entry.alert is not None:
            data["alert"] = known[id(entry.alert)]
        content = {
            "incident_id": incident_id, "seq": seq, "kind": entry.kind, "at": entry.at,
            "actor_id": entry.actor.id if entry.actor else None, "actor_name": entry.actor_name, "text": entry.text,
            "data": data, "prev_hash": previous,
        }  # fmt: skip
        previous = chain_hash(**content)
        yield content | {"hash": previous}


def _incident(
    past: PastIncident, incident_id: int, service_ids: Mapping[str, int], last: Mapping[str, Any]
) -> dict[str, Any]:
    def pk(actor: Any) -> int | None:
        return actor.id if actor else None

    return {
        "id": incident_id, "title": past.title, "service_id": service_ids[past.service], "severity": past.severity,
        "urgency": past.urgency, "status": "resolved", "phase": past.phase, "impact": past.impact,
        "is_drill": past.is_drill, "commander_id": pk(past.commander), "opened_by_id": pk(past.opened_by),
        "opened_from": past.opened_from, "triggered_at": past.triggered_at, "acknowledged_at": past.acknowledged_at,
        "acknowledged_by_id": pk(past.acknowledged_by), "contained_at": past.contained_at,
        "contained_by_id": pk(past.contained_by), "resolved_at": past.resolved_at,
        "resolved_by_id": pk(past.resolved_by), "alert_count": len(past.alerts), "event_count": past.event_count,
        "last_event_at": past.last_event_at, "fence": past.fence, "last_seq": last["seq"], "last_hash": last["hash"],
        "next_page_at": None, "next_page_from": None, "next_page_label": "",
    }  # fmt: skip
