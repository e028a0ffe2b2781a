"""The repository of runbooks: the list, one runbook in its versions, writing and publishing, and the room's part."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import Role, Team
from accounts.permissions import at_least, role_required
from catalog.models import Service
from core.errors import Missing, MusterError
from core.forms import show_refusal
from incidents.models import Incident
from incidents.web import acted, ask_page, room
from runbooks import queries, rules, transitions
from runbooks import render as markdown
from runbooks.forms import RunbookForm, initial_of
from runbooks.models import OutageClass, Runbook, Version, VersionStatus

PER_PAGE = 50
FOUND = 12
MOST_OF_SERVICE = 8


def _typed(request: HttpRequest, name: str, longest: int = 120) -> str:
    return request.GET.get(name, "").replace("\x00", "").strip()[:longest]


def _load(slug: str) -> Runbook:
    try:
        return queries.runbook_by_slug(slug)
    except Missing as error:
        raise Http404(error.message) from None


@require_safe
@role_required("viewer")
def runbook_list(request: HttpRequest) -> HttpResponse:
    search, team, service = _typed(request, "q"), _typed(request, "team"), _typed(request, "service")
    outage_class, drafts = _typed(request, "class"), _typed(request, "drafts") == "1"
    found = queries.repository(
        search=search, team=team, service=service, drafts=drafts,
        outage_class=outage_class if outage_class in OutageClass.values else "",
    )  # fmt: skip
    context = {
        "page": Paginator(found, PER_PAGE).get_page(request.GET.get("page")),
        "filtered": bool(search or team or service or outage_class or drafts),
        "q": search, "chosen_team": team, "chosen_service": service, "chosen_class": outage_class, "drafts": drafts,
        "teams": Team.objects.order_by("name"),
        "service": Service.objects.filter(slug=service).first() if service else None,
        "classes": OutageClass.choices,
        "may_write": at_least(request.user, Role.RESPONDER),
    }  # fmt: skip
    return render(request, "runbooks/runbook_list.html", context)


# --- one runbook ------------------------------------------------------------------------------------


def _read(version: Version) -> dict[str, Any]:
    """The version's document with its parts as HTML."""
    document = rules.read(version.text)
    return {
        "document": document,
        "intro": markdown.html(document.intro),
        "sections": [
            (
                section,
                markdown.html(section.body),
                [(step, markdown.html(step.body)) for step in section.steps],
            )
            for section in document.sections
        ],
        "weaknesses": rules.weaknesses(document),
    }


@require_safe
@role_required("viewer")
def runbook_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """The published text; with ?version= another one, and what changed in it."""
    runbook = _load(slug)
    asked = _typed(request, "version", 9)
    version = queries.version_of(runbook, int(asked) if asked.isascii() and asked.isdecimal() else None)
    if version is None:
        raise Http404(f"{runbook} has no version {asked}.")
    versions = Paginator(queries.versions_of(runbook), 20).get_page(request.GET.get("page"))
    before = queries.versions_of(runbook).filter(number__lt=version.number).first() if asked else None
    now = timezone.now()
    context = {
        "runbook": runbook, "version": version, "versions": versions, "now": now, "asked": bool(asked),
        "before": before, "difference": rules.difference(before.text, version.text) if before else [],
        "draft": queries.draft_of(runbook), "banners": queries.banners(runbook, now),
        "may_write": at_least(request.user, Role.RESPONDER),
        "may_publish": version.status == VersionStatus.DRAFT and _may_publish(request, version),
        "may_archive": at_least(request.user, Role.MANAGER) and runbook.archived_at is None,
        **_read(version),
    }  # fmt: skip
    return render(request, "runbooks/runbook_detail.html", context)


def _may_publish(request: HttpRequest, version: Version) -> bool:
    own = version.author_id == request.user.pk
    return at_least(request.user, Role.MANAGER if own else Role.RESPONDER)


@require_safe
@never_cache
@role_required("viewer")
def burning(request: HttpRequest, slug: str) -> HttpResponse:
    """The banners of where it is needed; its page reads them again when an incident changes."""
    now = timezone.now()
    runbook = _load(slug)
    context = {"runbook": runbook, "banners": queries.banners(runbook, now), "now": now}
    return render(request, "runbooks/_burning.html", context)


# --- writing it -------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
def runbook_new(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
def runbook_edit(request: HttpRequest, slug: str) -> HttpResponse:
    return _edit(request, _load(slug))


def _edit(request: HttpRequest, runbook: Runbook | None) -> HttpResponse:
    """Make a runbook, or its next version. What was typed stays when it is refused."""
    initial: dict[str, object] = {}
    if runbook:
        latest = queries.draft_of(runbook) or queries.version_of(runbook, None)
        initial = initial_of(runbook, latest) if latest else {}
    form = RunbookForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method != "POST":
        return _edit_page(request, runbook, form)
    if not form.is_valid():
        return _edit_page(request, runbook, form, status=422)
    now = timezone.now()
    try:
        if runbook:
            saved = transitions.save_draft(
                runbook_id=runbook.pk, data=form.data_of(), by=request.user, now=now,
                read_at=form.cleaned_data["read_at"],
            )  # fmt: skip
            number = saved.number
        else:
            runbook = transitions.create_runbook(data=form.data_of(), by=request.user, now=now)
            number = 1
    except MusterError as refusal:
        show_refusal(refusal, form)
        if refusal.code == "changed_meanwhile":  # having been told, a second press saves over the other's
            form.data = form.data.copy()
            form.data["read_at"] = _load(runbook.slug).saved_at.isoformat()
        return _edit_page(request, runbook, form, status=refusal.status)
    messages.success(request, f"Version {number} is saved")
    return redirect(f"{reverse('runbooks:detail', args=[runbook.slug])}?version={number}")


def _edit_page(
    request: HttpRequest, runbook: Runbook | None, form: RunbookForm, *, status: int = 200
) -> HttpResponse:
    context = {"runbook": runbook, "form": form, "draft": queries.draft_of(runbook) if runbook else None}
    return render(request, "runbooks/runbook_form.html", context, status=status)


@require_POST
@role_required("responder")
def publish(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    runbook, now = _load(slug), timezone.now()
    try:
        read_at = parse_datetime(request.POST.get("read_at", ""))
    except ValueError:
        read_at = None
    try:
        transitions.publish(runbook_id=runbook.pk, number=number, by=request.user, now=now, read_at=read_at)
    except MusterError as refusal:
        messages.error(request, refusal.message)
        if refusal.code == "changed_meanwhile":
            return redirect(f"{reverse('runbooks:detail', args=[slug])}?version={number}")
    else:
        messages.success(request, f"Version {number} is what everybody sees now")
    return redirect("runbooks:detail", runbook.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def archive(request: HttpRequest, slug: str) -> HttpResponse:
    runbook = _load(slug)
    if request.method != "POST":
        return render(request, "runbooks/archive.html", {"runbook": runbook})
    transitions.archive(runbook_id=runbook.pk, by=request.user, now=timezone.now())
    messages.success(request, f"{runbook} is archived. Incidents that used it still lead to it")
    return redirect("runbooks:list")


@require_safe
@role_required("viewer")
def of_service(request: HttpRequest, slug: str) -> HttpResponse:
    """The runbooks of one service, which its page loads."""
    service = get_object_or_404(Service, slug=slug)
    found = list(queries.repository(service=slug, published=True)[: MOST_OF_SERVICE + 1])
    context = {
        "service": service,
        "found_runbooks": found[:MOST_OF_SERVICE],
        "more": len(found) > MOST_OF_SERVICE,
    }
    return render(request, "runbooks/_of_service.html", context)


# --- in the room ------------------------------------------------------------------------------------


@require_safe
@role_required("viewer")
@room
def panel(request: HttpRequest, incident: Incident) -> HttpResponse:
    """What is at hand in this room, and what fits its service."""
    uses = list(queries.uses_of(incident))
    context = {
        "incident": incident,
        "uses": [(use, rules.read(use.version.text)) for use in uses],
        "fitting": list(queries.fitting(incident)) if incident.is_open else [],
        "may_write": incident.is_open and at_least(request.user, Role.RESPONDER),
    }
    return render(request, "runbooks/_panel.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def attach(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Choose a runbook: what fits the service first, then what the words find."""
    if request.method == "POST":
        return acted(
            request, incident, "runbooks/_attach.html", lambda: _choices(request, incident),
            lambda: _attach(request, incident),
        )  # fmt: skip
    return ask_page(request, incident, "runbooks/_attach.html", _choices(request, incident))


def _choices(request: HttpRequest, incident: Incident) -> dict[str, Any]:
    words = _typed(request, "q")
    found = (
        queries.repository(search=words, published=True) if words else queries.fitting(incident, limit=FOUND)
    )
    return {"title": "Take up a runbook", "q": words, "choices": found[:FOUND]}


def _attach(request: HttpRequest, incident: Incident) -> str:
    runbook = Runbook.objects.filter(slug=request.POST.get("runbook", "")[:121].replace("\x00", "")).first()
    if runbook is None:
        raise Missing("There is no such runbook.")
    use = transitions.attach(
        incident_id=incident.pk, runbook_id=runbook.pk, by=request.user, now=timezone.now()
    )
    return f"{use.runbook} is at hand"


@require_POST
@role_required("responder")
@room
def detach(request: HttpRequest, incident: Incident, slug: str) -> HttpResponse:
    def act() -> str:
        runbook = _load(slug)
        transitions.detach(
            incident_id=incident.pk, runbook_id=runbook.pk, by=request.user, now=timezone.now()
        )
        return f"{runbook} is laid aside"

    return acted(request, incident, "runbooks/_attach.html", lambda: _choices(request, incident), act)
