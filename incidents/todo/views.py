"""The tasks of a room: adding one, and what becomes of it."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.permissions import at_least, role_required
from core.errors import Invalid
from incidents.models import Incident
from incidents.roles.queries import chosen, people_to_choose
from incidents.todo import forms, queries, rules, transitions
from incidents.web import acted, ask_page, room


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def task_new(request: HttpRequest, incident: Incident) -> HttpResponse:
    def context() -> dict[str, Any]:
        given = {"title": request.GET.get("title", "")[: rules.LONGEST]}
        return {"title": "Add a task", "people": people_to_choose(), "within": forms.WITHIN, "given": given}

    if request.method != "POST":
        return ask_page(request, incident, "_task_new.html", context())

    def act() -> str:
        now, user = timezone.now(), request.POST.get("user", "")
        task = transitions.add_task(
            incident_id=incident.pk, title=request.POST.get("title", ""), by=request.user, now=now,
            assignee=chosen(user) if user else None, due_at=forms.due_at(request.POST.get("due", ""), now=now),
        )  # fmt: skip
        return f"Task {task.number} is added."

    return acted(request, incident, "_task_new.html", context, act)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("viewer")
@room
def task(request: HttpRequest, incident: Incident, number: int) -> HttpResponse:
    """GET shows one task, POST does what `act` says with it."""

    def context() -> dict[str, Any]:
        found = queries.tasks_of(incident).filter(number=number).first()
        if found is None:
            raise Http404(f"{incident.ref} has no task {number}.")
        may_act = at_least(request.user, "responder")
        return {
            "title": f"Task {found.number}", "task": found, "now": timezone.now(), "given": {}, "may_act": may_act,
            "people": people_to_choose() if may_act else [],
        }  # fmt: skip

    if request.method != "POST":
        return ask_page(request, incident, "_task.html", context())
    return _act_on(request, incident, number, context)


@role_required("responder")
def _act_on(
    request: HttpRequest, incident: Incident, number: int, context: Callable[[], dict[str, Any]]
) -> HttpResponse:
    def act() -> str:
        wanted, now = request.POST.get("act", ""), timezone.now()
        text = request.POST.get("seen", "")
        seen = int(text) if text.isdecimal() and len(text) < 10 else None
        if wanted == "assign":
            done = transitions.assign(
                incident_id=incident.pk, number=number, user=chosen(request.POST.get("user", "")), by=request.user,
                now=now, seen=seen,
            )  # fmt: skip
            return f"{done.assignee} has task {done.number}."
        if wanted == "release":
            done = transitions.release(
                incident_id=incident.pk, number=number, by=request.user, now=now, seen=seen
            )
            return f"Task {done.number} is free."
        if wanted not in transitions.ACTS:
            raise Invalid("There is no such act.")
        done = transitions.ACTS[wanted](incident_id=incident.pk, number=number, by=request.user, now=now)
        return {
            "claim": f"Task {done.number} is yours.",
            "done": f"Task {done.number} is done.",
            "reopen": f"Task {done.number} is open again.",
            "drop": f"Task {done.number} is dropped.",
        }[wanted]

    return acted(request, incident, "_task.html", context, act)
