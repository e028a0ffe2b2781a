"""Whom amended words mention stood only in the entry that amended; now the overlay has it too."""

from typing import Any

from django.db import migrations, models


def fill(apps: Any, schema_editor: Any) -> None:
    overlays = apps.get_model("incidents", "EntryOverlay").objects.exclude(text="")
    entries = apps.get_model("incidents", "TimelineEntry").objects
    for overlay in overlays.only("pk", "incident_id", "seq").iterator():
        amended = entries.filter(incident_id=overlay.incident_id, kind="amended", data__of=overlay.seq)
        data = amended.order_by("-seq").values_list("data", flat=True).first() or {}
        if mentions := data.get("mentions"):
            overlays.filter(pk=overlay.pk).update(mentions=mentions)


class Migration(migrations.Migration):
    dependencies = [
        ("incidents", "0006_snooze_and_handoffs"),
    ]

    operations = [
        migrations.AddField(
            model_name="entryoverlay",
            name="mentions",
            field=models.JSONField(
                blank=True, default=list, help_text="Whom these words mention, as in an entry's data."
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
