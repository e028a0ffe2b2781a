from django.db import migrations


class Migration(migrations.Migration):
    """The entries that the measures look at, so that they are read from the index alone (metrics/queries.py)."""

    dependencies = [("incidents", "0001_incidents_and_timeline")]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX timeline_milestones ON incidents_timelineentry (incident_id, seq)"
            " INCLUDE (kind, at, actor_id)"
            " WHERE kind IN ('acknowledged', 'also_acknowledged', 'contained', 'resolved', 'reopened')",
            "DROP INDEX timeline_milestones",
        ),
    ]
