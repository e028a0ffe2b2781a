"""Sending an update and publishing one: dialogs in the room, pages without script."""

from urllib.parse import quote

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.permissions import role_required
from core.errors import Invalid, MusterError
from core.forms import show_refusal
from incidents.models import Incident, PostState, PublicPost
from incidents.updates import queries, rules, transitions
from incidents.updates.forms import PublishForm, UpdateForm, first_error
from incidents.web import answered, is_fragment, load, room, sentence

# --- updates --------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def update(request: HttpRequest, incident: Incident) -> HttpResponse:
    """GET shows what was said last and a draft; POST sends."""
    last = queries.updates_of(incident.pk).first()
    draft = queries.draft_for(incident, last)
    form = UpdateForm(
        request.POST if request.method == "POST" else None, draft=draft, over=not incident.is_open
    )
    context = {
        "incident": incident,
        "form": form,
        "seen": request.POST.get("seen", incident.impact),
        "last": last,
        "mails": queries.mail_counts([last.pk])[last.pk] if last else None,
        "readers": len(queries.subscriptions_for(incident)),
        "cadence": rules.cadence(incident.severity, settings.MUSTER_UPDATE_MINUTES),
        "now": timezone.now(),
    }
    if request.method != "POST":
        return _ask(request, "update", context)
    if form.is_valid():
        try:
            transitions.post_update(
                incident_id=incident.pk, by=request.user, now=timezone.now(), seen=request.POST.get("seen"),
                **{"next_minutes": None, **form.cleaned_data},
            )  # fmt: skip
        except MusterError as error:
            impact_now = load(incident.pk).impact  # told what it is now, the person may decide again
            response = _refused(request, "update", {**context, "seen": impact_now}, error)
            response.headers["X-Muster-Seen"] = quote(impact_now)
            return response
        return answered(request, incident.pk, "The update is sent.")
    return _refused(request, "update", context, Invalid(first_error(form)))


@require_POST
@role_required("viewer")
@room
def subscribe(request: HttpRequest, incident: Incident) -> HttpResponse:
    """The viewer gets this incident's updates by mail."""
    try:
        transitions.subscribe(
            email=request.user.email, user=request.user, incident_id=incident.pk, service_id=None, min_severity=4,
            by=request.user, now=timezone.now(),
        )  # fmt: skip
    except Invalid:
        raise Invalid("Your account has no e-mail address. Add one to your profile first.") from None
    return answered(request, incident.pk, f"Updates of {incident.ref} go to {request.user.email}.")


def _ask(request: HttpRequest, name: str, context: dict[str, object], *, status: int = 200) -> HttpResponse:
    """The form alone for the dialog, in a page of its own without script."""
    template = f"incidents/_{name}_form.html" if is_fragment(request) else f"incidents/{name}.html"
    return render(request, template, context, status=status)


def _refused(request: HttpRequest, name: str, context: dict[str, object], error: MusterError) -> HttpResponse:
    """Nothing happened and nothing that was typed is lost."""
    form = context["form"]
    if is_fragment(request):
        return sentence(error.in_full, status=error.status)
    if isinstance(form, forms.Form) and form.is_valid():
        show_refusal(error, form)
    return _ask(request, name, context, status=error.status)


# --- the public page --------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def publish(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Words for customers. They are typed here: neither the incident's title nor its updates are taken over."""
    transitions.check_may_publish(incident, request.user)
    transitions.check_can_be_published(incident)
    posts = queries.posts_of(incident)
    last = next((post for post in posts if post.withdrawn_at is None), None)
    form = PublishForm(request.POST if request.method == "POST" else None, initial=_as_before(incident, last))
    context = {"incident": incident, "form": form, "posts": posts, "last": last, "now": timezone.now()}
    if request.method != "POST":
        return _ask(request, "publish", context)
    if form.is_valid():
        try:
            transitions.publish(
                incident_id=incident.pk, by=request.user, now=timezone.now(), **form.cleaned_data
            )
        except MusterError as error:
            return _refused(request, "publish", context, error)
        return answered(request, incident.pk, "It is on the public page.")
    return _refused(request, "publish", context, Invalid(first_error(form)))


def _as_before(incident: Incident, last: PublicPost | None) -> dict[str, object]:
    if last is None:
        return {"state": PostState.INVESTIGATING}
    return {
        "title": last.title, "state": last.state if incident.is_open else PostState.OVER, "level": last.level,
        "components": [component.pk for component in last.components.all()],
    }  # fmt: skip


@require_POST
@role_required("responder")
@room
def withdraw(request: HttpRequest, incident: Incident, post_id: int) -> HttpResponse:
    if not incident.public_posts.filter(pk=post_id).exists():
        raise Http404("There is no such post")
    try:
        transitions.withdraw(post_id=post_id, by=request.user, now=timezone.now())
    except MusterError as error:
        if is_fragment(request):
            return sentence(error.message, status=error.status)
        raise
    return answered(request, incident.pk, "It is off the public page.")
