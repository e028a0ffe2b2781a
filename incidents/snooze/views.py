"""The dialog that puts an incident off, and the button that ends that."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.permissions import role_required
from incidents.models import Incident
from incidents.snooze import forms, rules, transitions
from incidents.web import acted, ask_page, room


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def snooze(request: HttpRequest, incident: Incident) -> HttpResponse:
    now = timezone.now()
    context = {
        "title": f"Snooze {incident.ref}",
        "choices": forms.choices(incident, person=request.user, now=now),
        "given": {"for": "1h"},
    }
    if request.method != "POST":
        return ask_page(request, incident, "_snooze.html", context)

    def act() -> str:
        until = forms.until_given(request.POST, person=request.user, now=now)
        after = transitions.snooze(
            incident_id=incident.pk, by=request.user, until=until, reason=request.POST.get("reason", ""), now=now
        )  # fmt: skip
        said = rules.say_until(after.snoozed_until, zone=request.user.time_zone, now=now)
        return f"{incident.ref} is snoozed until {said}."

    return acted(request, incident, "_snooze.html", lambda: context, act)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def wake(request: HttpRequest, incident: Incident) -> HttpResponse:
    context = {"title": "End the snooze?", "given": {}}
    if request.method != "POST":
        return ask_page(request, incident, "_snooze_end.html", context)

    def act() -> str:
        transitions.wake(incident_id=incident.pk, by=request.user, now=timezone.now())
        return "The snooze is ended."

    return acted(request, incident, "_snooze_end.html", lambda: context, act)
