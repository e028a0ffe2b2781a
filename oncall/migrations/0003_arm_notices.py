"""Schedules that were there before notices of shifts get their timer; new ones get it when they are made."""

from django.db import migrations
from django.utils import timezone


def arm(apps, schema_editor):
    Schedule = apps.get_model("oncall", "Schedule")
    Timer = apps.get_model("timers", "Timer")
    now = timezone.now()
    Timer.objects.bulk_create(
        [
            Timer(kind="duty_notices", key=str(pk), due_at=now, first_due_at=now)
            for pk in Schedule.objects.values_list("pk", flat=True)
        ],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):

    dependencies = [
        ("oncall", "0002_complete_schedules"),
        ("timers", "0001_timers_and_firings"),
    ]

    operations = [migrations.RunPython(arm, migrations.RunPython.noop)]
