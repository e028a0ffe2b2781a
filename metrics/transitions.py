"""Keeps the figures of each incident beside its timeline, in the same transaction.

Whoever writes a row holds the incident's lock, so that nobody writes what an older look at the timeline said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Q

from incidents.models import Incident, Status, TimelineEntry
from metrics.rules import BOT_GRACE, MILESTONES, Unanswered

BATCH = 1000

# One row for each of the incidents. Says in SQL what rules.figures says in Python; a test compares the two.
# A sender or Muster has no account, so a missing actor is a machine. The kinds stand in the condition of the index
# `timeline_milestones` too, which is read alone.
_FROM_TIMELINES = """
WITH chosen AS MATERIALIZED (
    SELECT id, service_id, severity, is_drill, triggered_at FROM incidents_incident WHERE id = ANY(%(ids)s)
), marks AS (
    SELECT c.id,
        min(e.at) FILTER (WHERE {counts}) AS acknowledged_at,
        min(e.seq) FILTER (WHERE {counts}) AS acknowledged_seq,
        min(e.at) FILTER (WHERE e.kind = 'contained') AS contained_at,
        max(e.at) FILTER (WHERE e.kind = 'resolved') AS resolved_at,
        max(e.seq) FILTER (WHERE e.kind = 'resolved') AS resolved_seq,
        max(e.seq) FILTER (WHERE e.kind = 'reopened') AS reopened_seq,
        -- the first resolution: its seq, and in the last bit whether a machine gave it
        min(e.seq * 2 + COALESCE(u.is_bot, true)::int) FILTER (WHERE e.kind = 'resolved') AS ended
    FROM chosen c
    JOIN incidents_timelineentry e ON e.incident_id = c.id
    LEFT JOIN accounts_user u ON u.id = e.actor_id
    WHERE e.kind IN ('acknowledged', 'also_acknowledged', 'contained', 'resolved', 'reopened')
      AND e.incident_id = ANY(%(ids)s)
    GROUP BY c.id
), measured AS (
    SELECT *, CASE WHEN ended IS NULL OR acknowledged_seq < ended / 2 THEN acknowledged_at END AS answered_at
    FROM marks
), figures AS (
    SELECT c.id, c.service_id, c.severity, c.is_drill, c.triggered_at,
        EXTRACT(epoch FROM m.answered_at - c.triggered_at)::float8 AS acknowledge,
        EXTRACT(epoch FROM m.contained_at - c.triggered_at)::float8 AS contain,
        CASE WHEN m.reopened_seq IS NULL OR m.reopened_seq < m.resolved_seq
             THEN EXTRACT(epoch FROM m.resolved_at - c.triggered_at)::float8 END AS repair,
        CASE WHEN m.answered_at IS NOT NULL THEN ''
             WHEN m.ended IS NULL THEN 'open'
             WHEN m.ended %% 2 = 1 THEN 'ended_itself'
             ELSE 'ended_by_hand' END AS unanswered
    FROM chosen c
    LEFT JOIN measured m ON m.id = c.id
)
""".replace(
    "{counts}",
    "e.kind IN ('acknowledged', 'also_acknowledged')"
    " AND (NOT COALESCE(u.is_bot, true) OR e.at > c.triggered_at + %(bot_grace)s)",
)

_COLUMNS = (
    "service_id",
    "severity",
    "is_drill",
    "triggered_at",
    "acknowledge",
    "contain",
    "repair",
    "unanswered",
)

# A row that is right already stays as it is, so that nothing seems to have changed.
_KEEP = f"""
{_FROM_TIMELINES}
INSERT INTO metrics_incidentfigures AS kept (incident_id, {", ".join(_COLUMNS)}, changed_by)
SELECT id, {", ".join(_COLUMNS)}, pg_current_xact_id()::text::bigint FROM figures ORDER BY id
ON CONFLICT (incident_id) DO UPDATE
SET {", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)}, changed_by = excluded.changed_by
WHERE ({", ".join(f"kept.{column}" for column in _COLUMNS)})
    IS DISTINCT FROM ({", ".join(f"excluded.{column}" for column in _COLUMNS)})
"""  # noqa: S608  constants of this file joined; every value goes in as a parameter

# Never a reason not to open an incident: should a row be there, it was made from the timeline.
_BEGIN = """
INSERT INTO metrics_incidentfigures (incident_id, service_id, severity, is_drill, triggered_at, unanswered, changed_by)
VALUES (%s, %s, %s, %s, %s, %s, pg_current_xact_id()::text::bigint)
ON CONFLICT (incident_id) DO NOTHING
"""


def begin(incident: Incident) -> None:
    """An incident that was opened just now: nothing is measured yet."""
    values = [
        incident.pk, incident.service_id, int(incident.severity), incident.is_drill, incident.triggered_at,
        Unanswered.OPEN.value,
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, values)


def figure(*, incident_ids: Sequence[int]) -> int:
    """Bring the figures of these incidents up to date, for callers that hold their locks. How many rows changed."""
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, {"ids": list(incident_ids), "bot_grace": BOT_GRACE})
        return cursor.rowcount


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    incidents: int
    changed: int  # rows that were missing or said something else


def rebuild(*, batch: int = BATCH) -> Rebuilt:
    """Make all figures from the timelines, a batch in each transaction. Safe while people work."""
    looked_at = changed = last = 0
    while True:
        with transaction.atomic():
            ids = _lock(Incident.objects.filter(pk__gt=last).order_by("pk")[:batch])
            if not ids:
                return Rebuilt(incidents=looked_at, changed=changed)
            changed += figure(incident_ids=ids)
        looked_at, last = looked_at + len(ids), ids[-1]


@transaction.atomic
def refigure_actor(*, user_id: int) -> int:
    """Whether an account is a machine has changed, and with it what its entries count. How many rows changed.

    Locks every open incident as well: a transition that is under way there may have looked before the change.
    """
    acted = TimelineEntry.objects.filter(actor_id=user_id, kind__in=MILESTONES).values("incident_id")
    wanted = Incident.objects.filter(~Q(status=Status.RESOLVED) | Q(pk__in=acted)).order_by("pk")
    ids = list(wanted.values_list("pk", flat=True))
    changed = 0
    for start in range(0, len(ids), BATCH):
        locked = _lock(Incident.objects.filter(pk__in=ids[start : start + BATCH]).order_by("pk"))
        changed += figure(incident_ids=locked)
    return changed


def _lock(incidents) -> list[int]:
    return list(incidents.select_for_update(no_key=True).values_list("pk", flat=True))
