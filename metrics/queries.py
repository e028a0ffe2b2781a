"""What the pages show of the figures, computed by PostgreSQL from the row that each incident has (metrics/models.py).

The figures of a window are computed once and kept in the cache, under a name that no longer fits as soon as a transaction
has changed any row. Losing the cache costs time only.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db import connection

from incidents.models import Incident
from metrics.rules import (
    ENOUGH,
    MILESTONES,
    NOTHING,
    Figures,
    Lateness,
    Mark,
    Measure,
    Population,
    Spread,
    Unanswered,
    figures,
)

_CHOSEN = """
    triggered_at >= %(since)s AND triggered_at < %(until)s AND is_drill = %(is_drill)s
    AND (%(severity)s::int IS NULL OR severity = %(severity)s)
    AND (%(service)s::bigint IS NULL OR service_id = %(service)s)
"""

# Which of severity, service and bucket a row is not cut by, as GROUPING() says it.
_WHOLE, _BY_SEVERITY, _BY_SERVICE, _BY_BUCKET = 0b111, 0b011, 0b101, 0b110

# The window before is needed as a whole only; the cuts are of the window itself.
_MEASURED = """
    count(*) AS incidents,
    count(*) FILTER (WHERE unanswered = 'ended_itself'),
    count(*) FILTER (WHERE unanswered = 'ended_by_hand'),
    count(*) FILTER (WHERE unanswered = 'open'),
    count(acknowledge), percentile_cont(%(cuts)s) WITHIN GROUP (ORDER BY acknowledge),
    percentile_disc(%(few)s) WITHIN GROUP (ORDER BY acknowledge),
    count(contain), percentile_cont(%(cuts)s) WITHIN GROUP (ORDER BY contain),
    percentile_disc(%(few)s) WITHIN GROUP (ORDER BY contain),
    count(repair), percentile_cont(%(cuts)s) WITHIN GROUP (ORDER BY repair),
    percentile_disc(%(few)s) WITHIN GROUP (ORDER BY repair)
"""
_SPREADS = f"""
WITH placed AS MATERIALIZED (
    SELECT service_id, severity, acknowledge, contain, repair, unanswered,
        width_bucket(triggered_at, %(edges)s::timestamptz[]) AS bucket
    FROM metrics_incidentfigures WHERE {_CHOSEN}
)
SELECT {_WHOLE}, bucket > 0, NULL, NULL, NULL, {_MEASURED}
FROM placed GROUP BY bucket > 0
UNION ALL
SELECT GROUPING(severity, service_id, bucket), true, severity, service_id, bucket, {_MEASURED}
FROM placed WHERE bucket > 0 GROUP BY GROUPING SETS (severity, service_id, bucket)
"""  # noqa: S608  constants of this file joined; every value goes in as a parameter

_CUTS = [0.5, 0.9]
# For one to four values these ranks name each of them.
_FEW = [(index + 1) / ENOUGH for index in range(ENOUGH - 1)]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What was measured over some incidents: how many there were, and how each measure is spread."""

    incidents: int
    spreads: dict[Measure, Spread]
    unanswered: dict[Unanswered, int]


EMPTY = Cut(
    incidents=0,
    spreads=dict.fromkeys(Measure, NOTHING),
    unanswered=dict.fromkeys(Unanswered, 0),
)


@dataclass(frozen=True, kw_only=True)
class Overview:
    now: Cut
    before: Cut  # the span of the same length just before
    by_severity: dict[int, Cut]
    by_service: dict[int, Cut]
    buckets: list[Cut]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which incidents: those that began in [since, until), of one population."""

    population: Population
    since: datetime
    until: datetime
    severity: int | None = None
    service_id: int | None = None

    def parameters(self) -> dict[str, Any]:
        return {
            "since": self.since,
            "until": self.until,
            "is_drill": self.population == Population.DRILL,
            "severity": self.severity,
            "service": self.service_id,
        }


def _spread(count: int, cuts: list[float | None] | None, few: list[float | None] | None) -> Spread:
    if not count:
        return NOTHING
    median, p90 = cuts
    points = tuple(sorted(set(few))) if count < ENOUGH else ()
    return Spread(count=count, median=median, p90=p90, points=points)


# Names the state of all figures, or says nothing when there is no name for it.
#
# The name is the newest transaction m that wrote a row that is to be seen, with the transactions up to m that had not
# ended. m alone would not do: transactions do not end in the order of their numbers, and one below m may still
# come. The two together do. Suppose two looks got the same name, and L was the last change to end between them.
# Nothing has written over the rows of L, so L <= m at the second look. At the first look L had not ended but had
# begun, since its number was below m's; so it stood in the list then. At the second it does not: the names differ.
#
# No name: the own transaction has written something, which nobody else may see; or m lies in the future, which happens
# in a database restored from another server's dump. The start of the server is in the name because a server that was
# restored to an earlier time gives the same numbers again.
_STATE = """
SELECT pg_postmaster_start_time()::text, newest.m::text, ARRAY(
    SELECT busy::text FROM pg_snapshot_xip(pg_current_snapshot()) AS busy WHERE busy::text::bigint <= newest.m
    ORDER BY busy::text
)
FROM (SELECT max(changed_by) AS m FROM metrics_incidentfigures) AS newest
WHERE newest.m < pg_snapshot_xmax(pg_current_snapshot())::text::bigint AND pg_current_xact_id_if_assigned() IS NULL
"""
_KEPT = 3600  # seconds; only so that names nobody will ask for again go away


def _spreads(parameters: dict[str, Any]) -> list[tuple]:
    """The rows of the query, kept while nothing changes. The name is read first: what is kept is never older than it."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE)
        state = cursor.fetchone()
        name = ""
        if state is not None:
            whole = repr((state, sorted(parameters.items()), _SPREADS))
            name = f"metrics:{hashlib.sha256(whole.encode()).hexdigest()}"
            kept = cache.get(name)
            if kept is not None:
                return kept
        cursor.execute(_SPREADS, parameters)
        rows = cursor.fetchall()
    if name:
        cache.set(name, rows, _KEPT)
    return rows


def overview(*, choice: Choice, edges: list[datetime]) -> Overview:
    """The whole page. `edges` are the starts of the buckets, first `choice.since`, last `choice.until`."""
    length = choice.until - choice.since
    parameters = choice.parameters() | {
        "since": choice.since - length,
        "edges": edges[:-1],
        "cuts": _CUTS,
        "few": _FEW,
    }
    whole = {True: EMPTY, False: EMPTY}
    by_severity: dict[int, Cut] = {}
    by_service: dict[int, Cut] = {}
    by_bucket: dict[int, Cut] = {}
    for (
        kind,
        is_current,
        severity,
        service_id,
        bucket,
        incidents,
        itself,
        by_hand,
        still_open,
        *measured,
    ) in _spreads(parameters):
        cut = Cut(
            incidents=incidents,
            spreads={measure: _spread(*measured[3 * at : 3 * at + 3]) for at, measure in enumerate(Measure)},
            unanswered={
                Unanswered.ENDED_ITSELF: itself,
                Unanswered.ENDED_BY_HAND: by_hand,
                Unanswered.OPEN: still_open,
            },
        )
        if kind == _WHOLE:
            whole[is_current] = cut
        elif not is_current:
            continue
        elif kind == _BY_SEVERITY:
            by_severity[severity] = cut
        elif kind == _BY_SERVICE:
            by_service[service_id] = cut
        else:
            by_bucket[bucket] = cut
    return Overview(
        now=whole[True],
        before=whole[False],
        by_severity=dict(sorted(by_severity.items())),
        by_service=by_service,
        buckets=[by_bucket.get(index + 1, EMPTY) for index in range(len(edges) - 1)],
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the CSV file. Seconds; None: not measured."""

    incident_id: int
    title: str
    service: str
    severity: int
    triggered_at: datetime
    acknowledge: float | None
    contain: float | None
    repair: float | None
    unanswered: str


_ROWS = f"""
SELECT f.incident_id, i.title, s.name, f.severity, f.triggered_at, f.acknowledge, f.contain, f.repair, f.unanswered
FROM (SELECT * FROM metrics_incidentfigures WHERE {_CHOSEN}) f
JOIN incidents_incident i ON i.id = f.incident_id JOIN catalog_service s ON s.id = f.service_id
ORDER BY f.triggered_at DESC, f.incident_id DESC
"""  # noqa: S608  constants of this file joined; every value goes in as a parameter


def rows(*, choice: Choice) -> Iterator[Row]:
    """Every incident with its figures, newest first."""
    with connection.cursor() as cursor:
        cursor.execute(_ROWS, choice.parameters())
        while some := cursor.fetchmany(1000):
            for row in some:
                names = ("incident_id", "title", "service", "severity", "triggered_at", "acknowledge", "contain",
                         "repair", "unanswered")  # fmt: skip
                yield Row(**dict(zip(names, row, strict=True)))


def of_incident(*, incident: Incident) -> Figures:
    """The measures of one incident, from its timeline."""
    entries = (
        incident.timeline.filter(kind__in=MILESTONES)
        .order_by("seq")
        .values_list("kind", "at", "actor__is_bot")
    )
    return figures(
        incident.triggered_at,
        [Mark(kind=kind, at=at, by_machine=is_bot is not False) for kind, at, is_bot in entries],
    )


def lateness(*, since: datetime) -> Lateness:
    """How late timers fired since then, of all kinds: when the effect was committed, counted from when it was due."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), percentile_cont(%s) WITHIN GROUP (ORDER BY lateness_ms), max(lateness_ms)"
            " FROM timers_firing WHERE fired_at >= %s",
            [[0.5, 0.99], since],
        )
        count, cuts, worst = cursor.fetchone()
    p50, p99 = cuts or (None, None)
    return Lateness(count=count, p50=p50, p99=p99, worst=worst)


LATENESS_SPAN = timedelta(hours=24)
