"""Reads of tasks."""

from datetime import datetime

from django.db.models import QuerySet

from incidents.models import Incident, Task, TaskStatus

MOST_SHOWN = 100


def tasks_of(incident: Incident) -> QuerySet[Task]:
    return incident.tasks.select_related("assignee", "created_by", "done_by").order_by("number")


def room_context(incident: Incident, now: datetime) -> dict[str, object]:
    """What the shared parts of the room show of this. The same for every viewer. One query."""
    rows = list(
        incident.tasks.exclude(status=TaskStatus.DROPPED)
        .select_related("assignee")
        .order_by("-status", "number")[:MOST_SHOWN]  # open before done
    )
    waiting = [task for task in rows if task.status == TaskStatus.OPEN]
    return {
        "tasks": waiting + [task for task in rows if task.status == TaskStatus.DONE],
        "tasks_open": len(waiting),
        "tasks_late": {task.pk for task in waiting if task.due_at and task.due_at <= now},
    }
