"""Status pages: the internal one, the public one, who is told by mail, and what outsiders see of the catalogue."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.permissions import at_least, role_required
from catalog.models import Service
from core.errors import Missing, MusterError
from core.forms import show_refusal
from incidents.models import StatusComponent, Subscription
from incidents.presenters import next_update, state
from incidents.updates import links, mails, queries, transitions
from incidents.updates.forms import ComponentForm, SubscribeForm, first_error

PER_PAGE = 50
PUBLIC_SECONDS = 15


@require_safe
@never_cache
@role_required("viewer")
def internal(request: HttpRequest) -> HttpResponse:
    """For everybody in the house: what is hurt, what is done about it, when the next word comes."""
    now = timezone.now()
    page = queries.overview(now)
    context = {
        "now": now,
        "page": page,
        "running": [(row, state(row.incident), next_update(row.incident, now)) for row in page.running],
        "ended_days": queries.ENDED_DAYS,
        "public": settings.MUSTER_PUBLIC_STATUS,
        "may_manage": at_least(request.user, "manager"),
    }
    return render(request, "status/internal.html", context)


# --- subscriptions ----------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("viewer")
def subscriptions(request: HttpRequest) -> HttpResponse:
    """One's own for a viewer; a responder sees and makes those of others too."""
    may_choose = at_least(request.user, "responder")
    form = SubscribeForm(
        request.POST if request.method == "POST" else None,
        may_choose=may_choose,
        initial={"email": request.user.email},
    )
    status = 200
    if request.method == "POST":
        if form.is_valid():
            try:
                made = _subscribe(request, form.cleaned_data)
            except MusterError as error:
                show_refusal(error, form)
            else:
                messages.success(request, f"{made.email} gets {mails.what(made)}.")
                return redirect("status:subscriptions")
        status = 400
    rows = queries.all_subscriptions() if may_choose else queries.subscriptions_of(request.user)
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "form": form,
        "page": page,
        "rows": [(row, mails.what(row)) for row in page.object_list],
        "may_choose": may_choose,
    }
    return render(request, "status/subscriptions.html", context, status=status)


def _subscribe(request: HttpRequest, given: dict[str, Any]) -> Subscription:
    email = given.get("email") or request.user.email
    service = given["service"]
    return transitions.subscribe(
        email=email, user=request.user if email.lower() == request.user.email.lower() else None, incident_id=None,
        service_id=service.pk if service else None, min_severity=given["min_severity"], by=request.user,
        now=timezone.now(),
    )  # fmt: skip


@require_POST
@role_required("viewer")
def stop(request: HttpRequest, pk: int) -> HttpResponse:
    """End a subscription from the list: one's own, or as a responder any."""
    rows = (
        queries.all_subscriptions()
        if at_least(request.user, "responder")
        else queries.subscriptions_of(request.user)
    )
    row = rows.filter(pk=pk).first()
    if row is None:
        raise Missing("There is no such subscription.")
    transitions.unsubscribe(subscription_id=row.pk, now=timezone.now())
    messages.success(request, f"{row.email} gets no more {mails.what(row)}.")
    return redirect("status:subscriptions")


# Exempt from the check against forged requests: the signed token in the address is what such a check looks for, and mail
# programs that offer one press to stop send no cookie.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Looking changes nothing, because mail scanners open every link; a POST ends the mails."""
    try:
        row = queries.with_what(Subscription.objects.filter(pk=links.read_stop_token(token))).first()
    except (signing.BadSignature, ValueError, TypeError):
        row = None
    if row is None:
        return render(request, "status/unsubscribe.html", {"row": None}, status=404)
    if request.method == "POST":
        transitions.unsubscribe(subscription_id=row.pk, now=timezone.now())
        row.ended_at = row.ended_at or timezone.now()
    return render(request, "status/unsubscribe.html", {"row": row, "what": mails.what(row)})


# --- in public --------------------------------------------------------------------------------------------------


@require_safe
def public(request: HttpRequest) -> HttpResponse:
    """What was published, for everybody. The page knows neither the reader nor the time of day, so it is the same for
    all and changes only when somebody publishes."""
    if not settings.MUSTER_PUBLIC_STATUS:
        raise Http404("There is no public status page")
    html = render_to_string("status/public.html", {"page": queries.public_page(timezone.now())})
    response = HttpResponse(html)
    patch_cache_control(response, public=True, max_age=PUBLIC_SECONDS)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("manager")
def components(request: HttpRequest) -> HttpResponse:
    """Which services outsiders see, and under which name. A line is saved by itself."""
    services = list(Service.objects.order_by("criticality", "name"))
    known = {row.service_id: row for row in StatusComponent.objects.all()}
    wanted = request.POST.get("service", "")
    chosen = next((service for service in services if str(service.pk) == wanted), None)
    status, refused = 200, None
    if request.method == "POST":
        if chosen is None:
            raise Missing("There is no such service.")
        refused = ComponentForm(request.POST, prefix=f"s{chosen.pk}")
        if refused.is_valid():
            try:
                _save(request, chosen, refused.cleaned_data)
            except MusterError as error:
                show_refusal(error, refused)
            else:
                messages.success(request, f"{chosen} is saved.")
                return redirect("status:components")
        status = 400
    rows = [
        (service, refused if service == chosen and refused else _line(service, known.get(service.pk)))
        for service in services
    ]
    context = {
        "rows": rows, "public": settings.MUSTER_PUBLIC_STATUS, "refused": first_error(refused) if refused else "",
    }  # fmt: skip
    return render(request, "status/components.html", context, status=status)


def _save(request: HttpRequest, service: Service, given: dict[str, Any]) -> None:
    transitions.save_component(
        service_id=service.pk, name=given["name"], group=given["group"], position=given["position"] or 0,
        is_public=given["is_public"], by=request.user,
    )  # fmt: skip


def _line(service: Service, row: StatusComponent | None) -> ComponentForm:
    values = (
        {"name": row.name, "group": row.group, "position": row.position, "is_public": row.is_public}
        if row
        else {"name": service.name}
    )
    return ComponentForm(initial=values, prefix=f"s{service.pk}")
