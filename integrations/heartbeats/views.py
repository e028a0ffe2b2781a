"""The pages of senders that have to ping."""

from datetime import timedelta

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.permissions import at_least, role_required
from core.errors import MusterError
from core.forms import show_refusal
from integrations.heartbeats import rules, transitions
from integrations.heartbeats.forms import WatchForm
from integrations.models import HeartbeatState, Watch

PER_PAGE = 50


@require_safe
@never_cache
@role_required("viewer")
def watch_list(request: HttpRequest) -> HttpResponse:
    return _list(request)


def _list(request: HttpRequest, *, form: forms.Form | None = None, status: int = 200) -> HttpResponse:
    found = Watch.objects.select_related("service").order_by("name", "pk")
    context = {
        "page": Paginator(found, PER_PAGE).get_page(request.GET.get("page")),
        "form": form or WatchForm(),
        "may_edit": at_least(request.user, "manager"),
        "now": timezone.now(),
    }
    return render(request, "integrations/heartbeats.html", context, status=status)


@require_POST
@never_cache
@role_required("manager")
def create(request: HttpRequest) -> HttpResponse:
    """Answers with the page itself, not a redirect: the key is in this answer and nowhere else."""
    form = WatchForm(request.POST)
    if not form.is_valid():
        return _list(request, form=form, status=422)
    try:
        watch, key = transitions.add(now=timezone.now(), **form.cleaned_data)
    except MusterError as refusal:
        show_refusal(refusal, form)
        return _list(request, form=form, status=refusal.status)
    return _detail(request, watch, new_key=key)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("viewer")
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    watch = _watch(pk)
    if request.method != "POST":
        return _detail(request, watch)
    if not at_least(request.user, "manager"):
        messages.error(request, "Managers and admins may change a heartbeat.")
        return redirect("integrations:heartbeat", pk)
    form = WatchForm(request.POST)
    if form.is_valid():
        try:
            transitions.change(watch_id=pk, now=timezone.now(), **form.cleaned_data)
        except MusterError as refusal:
            show_refusal(refusal, form)
        else:
            messages.success(request, "Saved.")
            return redirect("integrations:heartbeat", pk)
    return _detail(request, watch, form=form, status=422)


def _detail(
    request: HttpRequest,
    watch: Watch,
    *,
    new_key: str = "",
    form: forms.Form | None = None,
    status: int = 200,
) -> HttpResponse:
    silent_at = None
    if watch.state == HeartbeatState.UP and watch.last_ping_at:
        silent_at = rules.silent_at(
            last_ping_at=watch.last_ping_at, interval_seconds=watch.interval_seconds,
            grace_seconds=watch.grace_seconds,
        )  # fmt: skip
    address = f"{settings.MUSTER_BASE_URL}/heartbeat/{new_key or 'KEY'}"
    context = {
        "watch": watch,
        "new_key": new_key,
        "address": address,
        "opsgenie": f"{settings.MUSTER_BASE_URL}/v2/heartbeats/{watch.name}/ping",
        "interval": timedelta(seconds=watch.interval_seconds),
        "grace": timedelta(seconds=watch.grace_seconds),
        "silent_at": silent_at,
        "form": form or WatchForm(initial=WatchForm.initial_of(watch)),
        "may_edit": at_least(request.user, "manager"),
        "now": timezone.now(),
    }
    return render(request, "integrations/heartbeat.html", context, status=status)


def _watch(pk: int) -> Watch:
    found = Watch.objects.select_related("service").filter(pk=pk).first()
    if found is None:
        raise Http404("There is no such heartbeat")
    return found


@require_POST
@never_cache
@role_required("manager")
def rotate(request: HttpRequest, pk: int) -> HttpResponse:
    _watch(pk)
    watch, key = transitions.rotate_key(watch_id=pk)
    return _detail(request, watch, new_key=key)


@require_POST
@role_required("manager")
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    """POST `to`=resume watches it again."""
    _watch(pk)
    if request.POST.get("to") == "resume":
        transitions.unpause(watch_id=pk, now=timezone.now())
        messages.success(request, "It is watched again from its next ping on.")
    else:
        transitions.pause(watch_id=pk, now=timezone.now())
        messages.success(request, "Nobody is paged for its silence.")
    return redirect("integrations:heartbeat", pk)


@require_POST
@role_required("manager")
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    watch = _watch(pk)
    transitions.remove(watch_id=pk, now=timezone.now())
    messages.success(request, f"{watch} is removed.")
    return redirect("integrations:heartbeats")
