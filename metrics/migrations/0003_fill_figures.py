from django.db import migrations

# What metrics/transitions.py said when the table came. Later changes of the rules are `manage.py rebuild_metrics`.
FILL = """
WITH marks AS (
    SELECT i.id,
        min(e.at) FILTER (WHERE {counts}) AS acknowledged_at,
        min(e.seq) FILTER (WHERE {counts}) AS acknowledged_seq,
        min(e.at) FILTER (WHERE e.kind = 'contained') AS contained_at,
        max(e.at) FILTER (WHERE e.kind = 'resolved') AS resolved_at,
        max(e.seq) FILTER (WHERE e.kind = 'resolved') AS resolved_seq,
        max(e.seq) FILTER (WHERE e.kind = 'reopened') AS reopened_seq,
        min(e.seq * 2 + COALESCE(u.is_bot, true)::int) FILTER (WHERE e.kind = 'resolved') AS ended
    FROM incidents_incident i
    JOIN incidents_timelineentry e ON e.incident_id = i.id
    LEFT JOIN accounts_user u ON u.id = e.actor_id
    WHERE e.kind IN ('acknowledged', 'also_acknowledged', 'contained', 'resolved', 'reopened')
    GROUP BY i.id
), measured AS (
    SELECT *, CASE WHEN ended IS NULL OR acknowledged_seq < ended / 2 THEN acknowledged_at END AS answered_at
    FROM marks
)
INSERT INTO metrics_incidentfigures (incident_id, service_id, severity, is_drill, triggered_at, acknowledge, contain,
    repair, unanswered, changed_by)
SELECT i.id, i.service_id, i.severity, i.is_drill, i.triggered_at,
    EXTRACT(epoch FROM m.answered_at - i.triggered_at)::float8,
    EXTRACT(epoch FROM m.contained_at - i.triggered_at)::float8,
    CASE WHEN m.reopened_seq IS NULL OR m.reopened_seq < m.resolved_seq
         THEN EXTRACT(epoch FROM m.resolved_at - i.triggered_at)::float8 END,
    CASE WHEN m.answered_at IS NOT NULL THEN ''
         WHEN m.ended IS NULL THEN 'open'
         WHEN m.ended % 2 = 1 THEN 'ended_itself'
         ELSE 'ended_by_hand' END,
    pg_current_xact_id()::text::bigint
FROM incidents_incident i
LEFT JOIN measured m ON m.id = i.id
ON CONFLICT (incident_id) DO NOTHING
""".replace(
    "{counts}",
    "e.kind IN ('acknowledged', 'also_acknowledged')"
    " AND (NOT COALESCE(u.is_bot, true) OR e.at > i.triggered_at + interval '5 seconds')",
)


class Migration(migrations.Migration):
    """Figures of the incidents that were there before the table."""

    dependencies = [("metrics", "0002_incident_figures")]

    operations = [migrations.RunSQL(FILL, migrations.RunSQL.noop)]
