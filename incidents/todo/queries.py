"""Reads of tasks."""

from datetime import datetime

from django.db.models import F, QuerySet

from accounts.models import User
from incidents.models import OPEN_STATUSES, Incident, Task, TaskStatus

MOST_SHOWN = 100


def tasks_of(incident: Incident) -> QuerySet[Task]:
    return incident.tasks.select_related("assignee", "created_by", "done_by").order_by("number")


def waiting_for(user: User) -> QuerySet[Task]:
    """Open tasks that this person has in incidents that go on, what is due first, then what has no time."""
    mine = Task.objects.filter(assignee=user, status=TaskStatus.OPEN, incident__status__in=OPEN_STATUSES)
    return mine.select_related("incident").order_by(F("due_at").asc(nulls_last=True), "pk")


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
