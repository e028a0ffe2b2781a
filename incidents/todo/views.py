"""The tasks of a room: adding one, and what becomes of it."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.permissions import at_least, role_required
from core.errors import Invalid, MusterError
from incidents.models import Incident
from incidents.roles.queries import able, people_to_choose
from incidents.todo import forms, queries, rules, transitions
from incidents.web import answered, is_fragment, load, room, sentence


def _page(
    request: HttpRequest, incident: Incident, name: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """In the room a dialog, without script a page."""
    part = f"incidents/{name}"
    template = part if is_fragment(request) else "incidents/role_page.html"
    return render(request, template, {"incident": incident, "part": part, **context}, status=status)


def _acted(
    request: HttpRequest,
    incident: Incident,
    name: str,
    context: Callable[[], dict[str, Any]],
    act: Callable[[], str],
) -> HttpResponse:
    try:
        words = act()
    except MusterError as error:
        if is_fragment(request):
            return sentence(error.message, status=error.status)
        again = {**context(), "refused": error.message, "given": request.POST.dict()}
        return _page(request, load(incident.pk), name, again, status=error.status)
    return answered(request, incident.pk, words)


def _person(text: str) -> User:
    user = able().filter(pk=int(text)).first() if text.isdecimal() and len(text) < 10 else None
    if user is None:
        raise Invalid("Choose a person.", fields={"user": ["Choose a person."]})
    return user


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def task_new(request: HttpRequest, incident: Incident) -> HttpResponse:
    def context() -> dict[str, Any]:
        given = {"title": request.GET.get("title", "")[: rules.LONGEST]}
        return {"title": "Add a task", "people": people_to_choose(), "within": forms.WITHIN, "given": given}

    if request.method != "POST":
        return _page(request, incident, "_task_new.html", context())

    def act() -> str:
        now, user = timezone.now(), request.POST.get("user", "")
        task = transitions.add_task(
            incident_id=incident.pk, title=request.POST.get("title", ""), by=request.user, now=now,
            assignee=_person(user) if user else None, due_at=forms.due_at(request.POST.get("due", ""), now=now),
        )  # fmt: skip
        return f"Task {task.number} is added."

    return _acted(request, incident, "_task_new.html", context, act)


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
        return _page(request, incident, "_task.html", context())
    return _act_on(request, incident, number, context)


@role_required("responder")
def _act_on(
    request: HttpRequest, incident: Incident, number: int, context: Callable[[], dict[str, Any]]
) -> HttpResponse:
    def act() -> str:
        wanted, now = request.POST.get("act", ""), timezone.now()
        if wanted == "assign":
            seen = request.POST.get("seen", "")
            done = transitions.assign(
                incident_id=incident.pk, number=number, user=_person(request.POST.get("user", "")), by=request.user,
                now=now, seen=int(seen) if seen.isdecimal() and len(seen) < 10 else None,
            )  # fmt: skip
            return f"{done.assignee} has task {done.number}."
        if wanted not in transitions.ACTS:
            raise Invalid("There is no such act.")
        done = transitions.ACTS[wanted](incident_id=incident.pk, number=number, by=request.user, now=now)
        return {
            "claim": f"Task {done.number} is yours.",
            "release": f"Task {done.number} is free.",
            "done": f"Task {done.number} is done.",
            "reopen": f"Task {done.number} is open again.",
            "drop": f"Task {done.number} is dropped.",
        }[wanted]

    return _acted(request, incident, "_task.html", context, act)
