"""What the views of the room share: reading the incident, answering htmx and plain forms alike."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache

from core.errors import MusterError
from incidents import queries
from incidents.models import Incident, Kind, TimelineEntry


def load(incident_id: int) -> Incident:
    incident = queries.incident(incident_id)
    if incident is None:
        raise Http404(f"INC-{incident_id} does not exist")
    return incident


def is_fragment(request: HttpRequest) -> bool:
    return bool(request.htmx) and not request.htmx.boosted


def sentence(message: str, *, status: int) -> HttpResponse:
    """A refusal as one sentence; static/js/ui.js puts it beside the form and keeps the text."""
    return HttpResponse(
        message, status=status, content_type="text/plain; charset=utf-8", headers={"X-Muster-Sentence": "1"}
    )


def done(**events: Any) -> HttpResponse:
    """204 for htmx: the fragments that are the viewer's own read themselves again."""
    return HttpResponse(status=204, headers={"HX-Trigger": json.dumps({"incident:changed": True, **events})})


def next_address(request: HttpRequest, otherwise: str) -> str:
    """Where a form without script goes on: the page that it came from, if that is ours."""
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return otherwise


def room(view: Any) -> Any:
    """A fragment or page of one incident, read fresh each time."""

    @wraps(view)
    @never_cache
    def loaded(request: HttpRequest, incident_id: int, **kwargs: Any) -> HttpResponse:
        return view(request, load(incident_id), **kwargs)

    return loaded


def ask_page(
    request: HttpRequest, incident: Incident, name: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """A question, as templates/incidents/`name`, or the template of another app by its whole name: in the room a dialog,
    without script a page."""
    part = name if "/" in name else f"incidents/{name}"
    template = part if is_fragment(request) else "incidents/role_page.html"
    return render(request, template, {"incident": incident, "part": part, **context}, status=status)


def acted(
    request: HttpRequest, incident: Incident, name: str, context: Callable[[], dict[str, Any]], act: Callable[[], str]
) -> HttpResponse:  # fmt: skip
    """Do it and say so; a refusal is a sentence beside the form, which keeps what was typed."""
    try:
        words = act()
    except MusterError as error:
        if is_fragment(request):
            return sentence(error.in_full, status=error.status)
        again = {**context(), "refused": error.in_full, "given": request.POST.dict()}
        return ask_page(request, load(incident.pk), name, again, status=error.status)
    return answered(request, incident.pk, words)


def answered(request: HttpRequest, incident_id: int, words: str) -> HttpResponse:
    """It is done: 204 for htmx, else `words` on the page that the form came from, or in the room."""
    if is_fragment(request):
        return done()
    messages.success(request, words)
    return redirect(next_address(request, reverse("incidents:detail", args=[incident_id])))


def who_was_first(incident_id: int, error: MusterError) -> str:
    """A refused move says who moved it before, and when."""
    if error.status != 409 or error.code == "changed_meanwhile":
        return error.message
    last = (
        TimelineEntry.objects.filter(
            incident_id=incident_id,
            kind__in=[Kind.ACKNOWLEDGED, Kind.CONTAINED, Kind.RESOLVED, Kind.REOPENED, Kind.UNACKNOWLEDGED],
        )
        .order_by("-seq")
        .first()
    )
    if last is None:
        return f"Not done. {error.message} Your text is kept."
    at = timezone.localtime(last.at)
    return f"Not done. {last.actor_name} {last.text} at {at:%H:%M:%S}. Your text is kept."
