"""Figures from the timeline, computed by PostgreSQL, so that a page over years of incidents moves few rows.

Which index serves: incidents by `incident_by_triggered_at`, their milestones by `timeline_milestones` (a partial index of
this app's migration, read alone), firings by `firing_by_time`. What a page costs follows the number of incidents in its
window, not the length of the history.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from incidents.models import Incident
from metrics.rules import (
    BOT_GRACE,
    ENOUGH,
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

# The same literals stand in the index's condition.
MILESTONES = ("acknowledged", "also_acknowledged", "contained", "resolved", "reopened")

# One row for each incident of the span. Says in SQL what rules.figures says in Python; a test compares the two.
# A sender or Muster has no account, so a missing actor is a machine.
_FIGURES = """
WITH chosen AS MATERIALIZED (
    SELECT id, service_id, severity, triggered_at
    FROM incidents_incident
    WHERE triggered_at >= %(since)s AND triggered_at < %(until)s AND is_drill = %(is_drill)s
      AND (%(severity)s::int IS NULL OR severity = %(severity)s)
      AND (%(service)s::bigint IS NULL OR service_id = %(service)s)
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
      -- Says nothing new, but lets a scan begin within the index instead of at the first incident ever.
      AND e.incident_id BETWEEN (SELECT min(id) FROM chosen) AND (SELECT max(id) FROM chosen)
    GROUP BY c.id
), measured AS (
    SELECT *, CASE WHEN ended IS NULL OR acknowledged_seq < ended / 2 THEN acknowledged_at END AS answered_at
    FROM marks
), figures AS (
    SELECT c.id, c.service_id, c.severity, c.triggered_at,
        EXTRACT(epoch FROM m.answered_at - c.triggered_at)::float8 AS acknowledge,
        EXTRACT(epoch FROM m.contained_at - c.triggered_at)::float8 AS contain,
        CASE WHEN m.reopened_seq IS NULL OR m.reopened_seq < m.resolved_seq
             THEN EXTRACT(epoch FROM m.resolved_at - c.triggered_at)::float8 END AS repair,
        CASE WHEN m.answered_at IS NOT NULL THEN NULL
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
{_FIGURES}, placed AS MATERIALIZED (
    SELECT *, width_bucket(triggered_at, %(edges)s::timestamptz[]) AS bucket FROM figures
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

    def parameters(self) -> dict:
        return {
            "since": self.since,
            "until": self.until,
            "is_drill": self.population == Population.DRILL,
            "severity": self.severity,
            "service": self.service_id,
            "bot_grace": BOT_GRACE,
        }


def _spread(count: int, cuts: list[float | None] | None, few: list[float | None] | None) -> Spread:
    if not count:
        return NOTHING
    median, p90 = cuts
    points = tuple(sorted(set(few))) if count < ENOUGH else ()
    return Spread(count=count, median=median, p90=p90, points=points)


def overview(*, choice: Choice, edges: list[datetime]) -> Overview:
    """The whole page in one query. `edges` are the starts of the buckets, first `choice.since`, last `choice.until`."""
    length = choice.until - choice.since
    parameters = choice.parameters() | {
        "since": choice.since - length,
        "edges": edges[:-1],
        "cuts": _CUTS,
        "few": _FEW,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SPREADS, parameters)
        rows = cursor.fetchall()
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
    ) in rows:
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


_ROWS = (
    _FIGURES
    + """
SELECT f.id, i.title, s.name, f.severity, f.triggered_at, f.acknowledge, f.contain, f.repair,
    COALESCE(f.unanswered, '')
FROM figures f JOIN incidents_incident i ON i.id = f.id JOIN catalog_service s ON s.id = f.service_id
ORDER BY f.triggered_at DESC, f.id DESC
"""
)


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
