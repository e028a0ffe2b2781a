"""Everything that changes a task. Each function locks the incident first, then looks at the task.

One person at a time has a task: whoever comes second is refused and told who has it.
"""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max

from accounts.models import User
from core.errors import Invalid, Missing, Refused
from core.words import duration
from incidents import timeline
from incidents.models import Incident, Kind, Status, Task, TaskStatus
from incidents.rules import drill_mark
from incidents.todo import rules
from incidents.transitions import check_can_act, clean_text, lock_incident
from notifications.models import Urgency
from notifications.transitions import cancel_topic, notify
from timers.transitions import cancel_timer, cancel_timers, set_timer

DUE = "tasks.due"


def topic(incident: Incident) -> str:
    return f"incident:{incident.pk}:tasks"


# --- beginning --------------------------------------------------------------------------------------------------


@transaction.atomic
def add_task(
    *, incident_id: int, title: str, by: User, now: datetime, assignee: User | None = None,
    due_at: datetime | None = None,
) -> Task:  # fmt: skip
    """Something to do. Raises Invalid; tasks can be added after the end, for what is left to do."""
    title = clean_text(title).strip()
    if not title:
        raise Invalid("Say what is to be done.", fields={"title": ["Say what is to be done."]})
    if len(title) > rules.LONGEST:
        raise Invalid(
            "The task was not added.", fields={"title": ["At most 300 characters. Put the rest into a note."]}
        )
    if assignee is not None:
        check_can_act(assignee)
    if due_at is not None and due_at <= now:
        raise Invalid("That time is over.", fields={"due_at": ["That time is over."]})
    incident = lock_incident(incident_id)
    number = (incident.tasks.aggregate(last=Max("number"))["last"] or 0) + 1
    task = Task.objects.create(
        incident=incident, number=number, title=title, assignee=assignee, claimed_at=now if assignee else None,
        due_at=due_at, created_by=by, created_at=now,
    )  # fmt: skip
    _note(incident, task, "added", by=by, now=now, to=str(assignee or ""))
    _tell(incident, task, by=by, now=now)
    _arm(incident, task, now=now)
    return task


# --- who has it -------------------------------------------------------------------------------------------------


@transaction.atomic
def claim(*, incident_id: int, number: int, by: User, now: datetime) -> Task:
    """`by` has it from now on. Claiming one's own changes nothing; raises Refused `task_taken` when another has it."""
    incident, task = _locked(incident_id, number)
    _refuse_unless(task, "claim", now=now)
    if task.assignee == by:
        return task
    if task.assignee is not None:
        raise Refused(f"{_who_has(task, now)} Nothing was changed.", code="task_taken")
    task.assignee, task.claimed_at = by, now
    task.save(update_fields=["assignee", "claimed_at"])
    _note(incident, task, "claimed", by=by, now=now)
    return task


@transaction.atomic
def assign(
    *, incident_id: int, number: int, user: User, by: User, now: datetime, seen: int | None = None
) -> Task:
    """Give it to `user`, whoever has it. `seen` is the id of whom the asking person saw (0: nobody): Refused
    `task_taken` when somebody else has it by now."""
    check_can_act(user)
    incident, task = _locked(incident_id, number)
    _refuse_unless(task, "assign", now=now)
    if task.assignee == user:
        return task
    if seen is not None and seen != (task.assignee_id or 0):
        said = _who_has(task, now) if task.assignee else f"Task {task.number} was released."
        raise Refused(f"{said} Nothing was changed.", code="task_taken")
    before = task.assignee
    task.assignee, task.claimed_at = user, now
    task.save(update_fields=["assignee", "claimed_at"])
    _note(
        incident, task, "assigned", by=by, now=now, to=str(user), before=str(before or ""), himself=user == by
    )  # fmt: skip
    _tell(incident, task, by=by, now=now)
    return task


@transaction.atomic
def release(*, incident_id: int, number: int, by: User, now: datetime, seen: int | None = None) -> Task:
    """Nobody has it, so anybody may claim it. `seen` as in `assign`."""
    incident, task = _locked(incident_id, number)
    _refuse_unless(task, "release", now=now)
    if task.assignee is None:
        return task
    if seen is not None and seen != task.assignee_id:
        raise Refused(f"{_who_has(task, now)} Nothing was changed.", code="task_taken")
    before = task.assignee if task.assignee != by else None
    task.assignee = task.claimed_at = None
    task.save(update_fields=["assignee", "claimed_at"])
    _note(incident, task, "released", by=by, now=now, before=str(before or ""))
    return task


# --- the end ----------------------------------------------------------------------------------------------------


@transaction.atomic
def finish(*, incident_id: int, number: int, by: User, now: datetime) -> Task:
    """It is done. Finishing again changes nothing."""
    incident, task = _locked(incident_id, number)
    if task.status == TaskStatus.DONE:
        return task
    _refuse_unless(task, "done", now=now)
    task.status, task.done_by, task.done_at = TaskStatus.DONE, by, now
    task.save(update_fields=["status", "done_by", "done_at"])
    _note(incident, task, "done", by=by, now=now)
    cancel_timer(kind=DUE, key=str(task.pk))
    return task


@transaction.atomic
def reopen_task(*, incident_id: int, number: int, by: User, now: datetime) -> Task:
    """It was not done after all. Whoever had it has it again."""
    incident, task = _locked(incident_id, number)
    if task.status == TaskStatus.OPEN:
        return task
    task.status, task.done_by, task.done_at = TaskStatus.OPEN, None, None
    task.save(update_fields=["status", "done_by", "done_at"])
    _note(incident, task, "reopened", by=by, now=now)
    _arm(incident, task, now=now)
    return task


@transaction.atomic
def drop(*, incident_id: int, number: int, by: User, now: datetime) -> Task:
    """It need not be done."""
    incident, task = _locked(incident_id, number)
    if task.status == TaskStatus.DROPPED:
        return task
    _refuse_unless(task, "drop", now=now)
    task.status = TaskStatus.DROPPED
    task.save(update_fields=["status"])
    _note(incident, task, "dropped", by=by, now=now)
    cancel_timer(kind=DUE, key=str(task.pk))
    return task


ACTS = {"claim": claim, "release": release, "done": finish, "reopen": reopen_task, "drop": drop}
"""The acts that need nothing but the task; `assign` needs a person besides."""


# --- time -------------------------------------------------------------------------------------------------------


def remind(incident: Incident, *, task_id: int, now: datetime) -> None:
    """The time of a task is over: whoever has it is told, else the commander, else who wrote it. For the timer, which
    holds the lock."""
    task = Task.objects.select_related("assignee", "created_by").get(pk=task_id)
    who = task.assignee or incident.commander or task.created_by
    if task.status != TaskStatus.OPEN or task.due_at is None or task.due_at > now or who is None:
        return
    notify(
        recipient=who, dedupe_key=f"task:{task.pk}:due:{task.due_at.isoformat()}", topic=topic(incident),
        urgency=Urgency.LOW, title=_headline(incident, f"task {task.number} is due: {task.title}"),
        body=f"{task.title}\n{'It is yours.' if task.assignee else 'Nobody has it.'}", now=now, link=_link(incident, task),
        context={"ref": incident.ref, "kind": "task", "task": task.number, "drill": incident.is_drill},
    )  # fmt: skip


def end_all(incident: Incident, *, now: datetime) -> None:
    """The incident is over: nobody is reminded any more. For callers that hold the lock."""
    cancel_topic(topic=topic(incident), now=now)
    waiting = incident.tasks.filter(status=TaskStatus.OPEN, due_at__isnull=False).values_list("pk", flat=True)
    cancel_timers(kind=DUE, keys=[str(pk) for pk in waiting])


def arm_all(incident: Incident, *, now: datetime) -> None:
    """It goes on: what is due is told again. For callers that hold the lock."""
    for task in incident.tasks.filter(status=TaskStatus.OPEN, due_at__gt=now):
        _arm(incident, task, now=now)


def _arm(incident: Incident, task: Task, *, now: datetime) -> None:
    if task.due_at is None or task.due_at <= now or incident.status == Status.RESOLVED:
        return
    payload = {"incident": incident.pk, "task": task.pk}
    set_timer(kind=DUE, key=str(task.pk), due_at=task.due_at, now=now, payload=payload)


# --- looking first, and saying so -------------------------------------------------------------------------------


def _locked(incident_id: int, number: int) -> tuple[Incident, Task]:
    incident = lock_incident(incident_id)
    task = incident.tasks.select_related("assignee", "done_by").filter(number=number).first()
    if task is None:
        raise Missing(f"{incident.ref} has no task {number}.")
    return incident, task


def _refuse_unless(task: Task, act: str, *, now: datetime) -> None:
    if rules.fits(act, status=task.status):
        return
    said = f"Task {task.number} was dropped."
    if task.status == TaskStatus.DONE:
        said = f"{task.done_by} finished task {task.number} {duration(now - task.done_at)} ago."
    raise Refused(f"{said} Nothing was changed.", code="task_closed")


def _who_has(task: Task, now: datetime) -> str:
    since = f" since {duration(now - task.claimed_at)}" if task.claimed_at else ""
    return f"{task.assignee} has task {task.number}{since}."


def _note(incident: Incident, task: Task, act: str, *, by: User, now: datetime, **words: Any) -> None:
    timeline.record(
        incident, Kind.TASK, at=now, actor=by, text=rules.said(act, number=task.number, title=task.title, **words),
        data={
            "task": task.pk, "number": task.number, "act": act, "assignee": task.assignee_id,
            "due_at": task.due_at.isoformat() if task.due_at else None,
        },
    )  # fmt: skip


def _tell(incident: Incident, task: Task, *, by: User, now: datetime) -> None:
    """Whoever was given something to do is told, unless it was himself."""
    if task.assignee is None or task.assignee == by:
        return
    notify(
        recipient=task.assignee, dedupe_key=f"task:{task.pk}:{incident.last_seq}", topic=topic(incident),
        urgency=Urgency.LOW, title=_headline(incident, f"{by} gave you a task: {task.title}"), body=task.title, now=now,
        link=_link(incident, task),
        context={"ref": incident.ref, "kind": "task", "task": task.number, "drill": incident.is_drill},
    )  # fmt: skip


def _headline(incident: Incident, text: str) -> str:
    return f"{drill_mark(incident.is_drill)}{incident.ref}: {text}"[:300]


def _link(incident: Incident, task: Task) -> str:
    return f"/incidents/{incident.ref}/tasks/{task.number}/"
