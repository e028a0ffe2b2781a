"""The service catalogue: the list with its gaps, one service with what hangs on it, and changing it."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.fields import MOST_SUGGESTIONS, suggestions
from accounts.models import Role, Team
from accounts.permissions import at_least, role_required
from catalog import queries, readiness, transitions
from catalog.forms import DependencyForm, LinkForms, ServiceForm, SloForms, initial_of, wanted
from catalog.models import Criticality, Service
from core.errors import Missing, MusterError

PER_PAGE = 50
MOST_SHOWN = 60  # of a blast radius


def _typed(request: HttpRequest, name: str, longest: int = 120) -> str:
    return request.GET.get(name, "").replace("\x00", "").strip()[:longest]


def _service(slug: str) -> Service:
    try:
        return queries.get_service(slug)
    except Missing as error:
        raise Http404(error.message) from None


@require_safe
@role_required("viewer")
def service_list(request: HttpRequest) -> HttpResponse:
    search, team, gap = _typed(request, "q"), _typed(request, "team"), _typed(request, "gap")
    level = _typed(request, "criticality")
    criticality = int(level) if level in {str(value) for value in Criticality.values} else None
    found = queries.service_list(search=search, criticality=criticality, team=team, gap=gap)
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    with_gaps = queries.count_with_gaps()
    return render(
        request,
        "catalog/service_list.html",
        {
            "page": page,
            "rows": [(service, readiness.gaps_of(service)) for service in page.object_list],
            "with_gaps": with_gaps,
            "filtered": bool(search or team or gap or criticality),
            "q": search,
            "chosen_team": team,
            "chosen_gap": gap,
            "chosen_criticality": criticality,
            "teams": Team.objects.order_by("name"),
            "criticalities": Criticality.choices,
            "checks": readiness.checks(),
            "may_edit": at_least(request.user, Role.MANAGER),
        },
    )


# --- one service ------------------------------------------------------------------------------------


@require_safe
@role_required("viewer")
def service_detail(request: HttpRequest, slug: str) -> HttpResponse:
    return _detail(request, slug)


def _detail(
    request: HttpRequest, slug: str, *, form: DependencyForm | None = None, status: int = 200
) -> HttpResponse:
    try:
        detail = queries.detail(slug)
    except Missing as error:
        raise Http404(error.message) from None
    may_edit = at_least(request.user, Role.MANAGER)
    context = {
        "service": detail.service,
        "detail": detail,
        "shown": detail.affected[:MOST_SHOWN],
        "hidden": max(len(detail.affected) - MOST_SHOWN, 0),
        "worst": min((item.service.criticality for item in detail.affected), default=None),
        "form": form or DependencyForm(),
        "others": _names() if may_edit else [],
        "may_edit": may_edit,
    }
    return render(request, "catalog/service_detail.html", context, status=status)


def _names() -> list[str]:
    return list(Service.objects.order_by("name").values_list("name", flat=True)[:MOST_SUGGESTIONS])


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def dependency_add(request: HttpRequest, slug: str) -> HttpResponse:
    """The form is on the service's page; when it is refused that page shows it with what was typed."""
    service = _service(slug)
    if request.method != "POST":
        return redirect("catalog:service_detail", slug=service.slug)
    form = DependencyForm(request.POST)
    if not form.is_valid():
        return _detail(request, slug, form=form, status=422)
    needs = form.cleaned_data["service"]
    try:
        transitions.add_dependency(
            service_id=service.pk, needs_id=needs.pk, note=form.cleaned_data["note"], by=request.user
        )
    except MusterError as refusal:
        form.add_error("service", refusal.message)
        return _detail(request, slug, form=form, status=refusal.status)
    messages.success(request, f"{service} needs {needs}")
    return redirect("catalog:service_detail", slug=service.slug)


@require_POST
@role_required("manager")
def dependency_remove(request: HttpRequest, slug: str, needs: str) -> HttpResponse:
    service, other = _service(slug), _service(needs)
    transitions.remove_dependency(service_id=service.pk, needs_id=other.pk, by=request.user)
    messages.success(request, f"{service} no longer needs {other}")
    return redirect("catalog:service_detail", slug=service.slug)


# --- changing it ------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def service_new(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def service_edit(request: HttpRequest, slug: str) -> HttpResponse:
    return _edit(request, _service(slug))


def _edit(request: HttpRequest, service: Service | None) -> HttpResponse:
    """Make or change a service. What was typed stays when it is refused."""
    head, link_rows, slo_rows = initial_of(service) if service else ({}, [], [])
    data = request.POST if request.method == "POST" else None
    form = ServiceForm(data, initial=head)
    links = LinkForms(data, initial=link_rows, prefix="link")
    slos = SloForms(data, initial=slo_rows, prefix="slo")
    if data is None:
        return _edit_page(request, service, form, links, slos)
    if not (form.is_valid() & links.is_valid() & slos.is_valid()):
        return _edit_page(request, service, form, links, slos, status=422)
    kept_links = [item for item in links if not item.is_empty]
    kept_slos = [item for item in slos if not item.is_empty]
    asked = wanted(form, kept_links, kept_slos)
    try:
        if service:
            saved = transitions.update_service(service_id=service.pk, data=asked, by=request.user)
        else:
            saved = transitions.create_service(data=asked, by=request.user)
    except MusterError as refusal:
        _show(refusal, form, {"links": kept_links, "slos": kept_slos})
        return _edit_page(request, service, form, links, slos, status=refusal.status)
    messages.success(request, f"{saved} is saved")
    return redirect("catalog:service_detail", slug=saved.slug)


def _show(refusal: MusterError, form: ServiceForm, rows: dict[str, list[Any]]) -> None:
    """`links.1.href` goes to the second of the links that were sent."""
    if not refusal.fields:
        form.add_error(None, refusal.message)
    for path, sentences in refusal.fields.items():
        parts = path.split(".")
        if len(parts) == 3 and parts[0] in rows:
            target, key = rows[parts[0]][int(parts[1])], parts[2]
        else:
            target, key = form, path
        for sentence in sentences:
            target.add_error(key if key in target.fields else None, sentence)


def _edit_page(
    request: HttpRequest, service: Service | None, form: Any, links: Any, slos: Any, *, status: int = 200
) -> HttpResponse:
    context = {"service": service, "form": form, "links": links, "slos": slos, "people": suggestions()}
    return render(request, "catalog/service_form.html", context, status=status)
