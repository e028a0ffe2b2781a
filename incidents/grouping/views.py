"""Pages of maintenance, of what is held back, and of one service's alerts; and the questions about single alerts."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.permissions import at_least, role_required
from catalog.models import Service
from core.errors import Invalid, MusterError
from core.forms import show_refusal
from incidents.grouping import forms, queries, rules, transitions
from incidents.grouping.forms import MaintenanceForm, SettingsForm
from incidents.models import Alert, AlertStatus, Grouping, HeldStatus, Incident, Maintenance, MaintenanceState
from incidents.web import acted, ask_page, room

PER_PAGE = 50


# --- maintenance -------------------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("viewer")
def maintenance_list(request: HttpRequest) -> HttpResponse:
    state = request.GET.get("state", "open")
    state = state if state in ("open", *MaintenanceState.values, "all") else "open"
    found = queries.maintenance_list(state="" if state == "all" else state)
    context = {
        "page": Paginator(found, PER_PAGE).get_page(request.GET.get("page")),
        "state": state,
        "tabs": [("open", "Planned and under way"), ("over", "Over"), ("all", "All")],
        "may_edit": at_least(request.user, "responder"),
        "now": timezone.now(),
    }
    return render(request, "grouping/maintenance_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("responder")
def maintenance_new(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    chosen = list(
        Service.objects.filter(slug=request.GET.get("service", "")[:80]).values_list("pk", flat=True)
    )
    initial = MaintenanceForm.initial_of_new(now, timezone.get_current_timezone_name(), chosen)
    form = MaintenanceForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            row = transitions.plan_maintenance(data=form.wanted(more_conditions=[]), by=request.user, now=now)
        except MusterError as refusal:
            _show(refusal, form)
        else:
            messages.success(request, "Planned. It begins and ends by itself.")
            return redirect("alerts:maintenance", row.pk)
    return _form(request, form, None)


def _form(request: HttpRequest, form: MaintenanceForm, row: Maintenance | None) -> HttpResponse:
    context = {"form": form, "maintenance": row}
    return render(request, "grouping/maintenance_form.html", context, status=422 if form.errors else 200)


def _show(refusal: MusterError, form: MaintenanceForm) -> None:
    """The form has one condition, whose fields carry other names than in the API."""
    named = {
        {"minutes": "lasts"}.get(name, name.replace("conditions.0.", "condition_")): sentences
        for name, sentences in refusal.fields.items()
    }
    if "recurrence" in named and form.cleaned_data.get("repeats") != "own":
        named["repeats"] = named.pop("recurrence")
    show_refusal(Invalid(refusal.message, fields=named) if named else refusal, form)


def _maintenance(pk: int) -> Maintenance:
    found = queries.maintenance(pk)
    if found is None:
        raise Http404("There is no such maintenance")
    return found


@require_safe
@never_cache
@role_required("viewer")
def maintenance(request: HttpRequest, pk: int) -> HttpResponse:
    row = _maintenance(pk)
    held = queries.held_list(maintenance_id=pk)
    context = {
        "maintenance": row,
        "repeats": rules.say_recurrence(row.recurrence),
        "conditions": forms.say_conditions(row.conditions),
        "held": list(held[:50]),
        "counts": queries.held_counts(row),
        "events": list(row.events.select_related("by")[:50]),
        "is_past": row.state in (MaintenanceState.OVER, MaintenanceState.CANCELLED),
        "may_edit": at_least(request.user, "responder"),
        "now": timezone.now(),
    }
    return render(request, "grouping/maintenance.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("responder")
def maintenance_edit(request: HttpRequest, pk: int) -> HttpResponse:
    row = _maintenance(pk)
    form = MaintenanceForm(request.POST or None, initial=MaintenanceForm.initial_of(row))
    if request.method == "POST" and form.is_valid():
        try:
            data = form.wanted(more_conditions=row.conditions[1:])
            transitions.change_maintenance(maintenance_id=pk, data=data, by=request.user, now=timezone.now())
        except MusterError as refusal:
            _show(refusal, form)
        else:
            messages.success(request, "Saved.")
            return redirect("alerts:maintenance", pk)
    return _form(request, form, row)


@require_POST
@role_required("responder")
def maintenance_end(request: HttpRequest, pk: int) -> HttpResponse:
    _maintenance(pk)
    whole = request.POST.get("what") == "series"
    end = transitions.cancel_series if whole else transitions.end_maintenance
    try:
        row = end(maintenance_id=pk, by=request.user, now=timezone.now())
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        cancelled = row.state == MaintenanceState.CANCELLED
        messages.success(request, "It is cancelled." if cancelled else "It has ended. Alerts page again.")
    return redirect("alerts:maintenance", pk)


# --- held back ---------------------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("viewer")
def held(request: HttpRequest) -> HttpResponse:
    """What came in and pages nobody, newest first."""
    status = request.GET.get("status", HeldStatus.FIRING)
    status = status if status in (*HeldStatus.values, "all") else HeldStatus.FIRING
    found = queries.held_list(status="" if status == "all" else status)
    context = {
        "page": Paginator(found, PER_PAGE).get_page(request.GET.get("page")),
        "status": status,
        "tabs": [("firing", "Firing"), ("all", "All")],
        "now": timezone.now(),
    }
    return render(request, "grouping/held.html", context)


# --- one service -------------------------------------------------------------------------------------------------


def _service(slug: str) -> Service:
    found = Service.objects.filter(slug=slug).first()
    if found is None:
        raise Http404("There is no such service")
    return found


@require_safe
@never_cache
@role_required("viewer")
def service_panel(request: HttpRequest, slug: str) -> HttpResponse:
    """What its page loads: how alerts become incidents, what is held back, and maintenance now and next."""
    service, now = _service(slug), timezone.now()
    settings = queries.settings_of(service)
    context = {
        "service": service,
        "settings": settings,
        "by_content": settings.grouping in (Grouping.ALL, Grouping.ANY),
        "fields": ", ".join(settings.grouping_fields),
        "window": timedelta(seconds=settings.grouping_seconds),
        "banners": queries.banners(now=now, service=service),
        "coming": queries.coming_of(service, now=now),
        "held": queries.held_of(service, limit=8),
        "may_edit": at_least(request.user, "manager"),
        "may_plan": at_least(request.user, "responder"),
        "now": now,
    }
    return render(request, "grouping/_service_panel.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@role_required("manager")
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    service = _service(slug)
    current = queries.settings_of(service)
    form = SettingsForm(request.POST or None, initial=SettingsForm.initial_of(current))
    if request.method == "POST" and form.is_valid():
        try:
            transitions.change_settings(
                service_id=service.pk, by=request.user, now=timezone.now(), **form.cleaned_data
            )
        except MusterError as refusal:
            show_refusal(refusal, form)
        else:
            messages.success(request, "Saved. It counts for alerts that come from now on.")
            return redirect("catalog:service_detail", slug=service.slug)
    context = {"service": service, "form": form, "secret": current.tier0_secret if current.pk else ""}
    return render(request, "grouping/settings.html", context, status=422 if form.errors else 200)


# --- in the room -------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("viewer")
@room
def alert(request: HttpRequest, incident: Incident, alert_id: int) -> HttpResponse:
    """GET shows one alert; POST silences it, lets it speak again, or splits it off."""

    def context() -> dict[str, Any]:
        found = Alert.objects.select_related("muted_by").filter(pk=alert_id, incident=incident).first()
        if found is None:
            raise Http404(f"{incident.ref} has no such alert.")
        now = timezone.now()
        firing = found.status == AlertStatus.FIRING
        may_act = at_least(request.user, "responder")
        return {
            "title": found.title, "alert": found, "now": now, "given": {}, "mutes": forms.MUTES,
            "is_muted": found.muted_until is not None and found.muted_until > now, "is_firing": firing,
            "labels": _labels(found), "may_mute": may_act,
            "may_split": may_act and firing and incident.is_open and incident.alert_count > 1,
        }  # fmt: skip

    if request.method != "POST":
        return ask_page(request, incident, "_alert.html", context())
    return _act_on(request, incident, alert_id, context)


def _labels(alert: Alert) -> list[tuple[str, str]]:
    """What the sender says about it, as far as it is short."""
    found: dict[str, str] = {}
    for name, value in alert.details.items():
        if isinstance(value, dict):
            found |= {
                str(key): str(item)[:200] for key, item in value.items() if not isinstance(item, dict | list)
            }
        elif not isinstance(value, list) and name != "episode_at":
            found[name] = str(value)[:200]
    return list(found.items())[:30]


@role_required("responder")
def _act_on(request: HttpRequest, incident: Incident, alert_id: int, context: Any) -> HttpResponse:
    def act() -> str:
        now, told = timezone.now(), {"alert_id": alert_id, "by": request.user}
        wanted = request.POST.get("act", "")
        if not Alert.objects.filter(pk=alert_id, incident=incident).exists():
            raise Invalid("The alert is in another incident by now.")
        if wanted == "mute":
            minutes = request.POST.get("minutes", "")
            if minutes not in {str(value) for value, _ in forms.MUTES}:
                raise Invalid("Choose how long.")
            until = now + timedelta(minutes=int(minutes))
            transitions.mute(until=until, now=now, **told)
            return "It pages nobody until then."
        if wanted == "unmute":
            transitions.mute(until=None, now=now, **told)
            return "It pages again."
        if wanted == "split":
            other = transitions.split_off(reason=request.POST.get("reason", ""), now=now, **told)
            return f"It is {other.ref} now, which pages."
        raise Invalid("There is no such act.")

    return acted(request, incident, "_alert.html", context, act)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def merge(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Merge it into another incident; what was merged shows the way back."""

    def context() -> dict[str, Any]:
        move = queries.merge_of(incident)
        until = move.at + transitions.UNDO_WITHIN if move else None
        title = f"{incident.ref} was merged into {move.target.ref}" if move else "Merge into another incident"
        return {
            "title": title, "move": move, "undo_until": until, "given": {}, "now": timezone.now(),
            "may_undo": until is not None and timezone.now() < until,
            "others": queries.could_take(incident, limit=100) if incident.is_open else [],
        }  # fmt: skip

    if request.method != "POST":
        return ask_page(request, incident, "_merge.html", context())

    def act() -> str:
        now = timezone.now()
        if request.POST.get("act") == "undo":
            move = queries.merge_of(incident)
            if move is None:
                raise Invalid("It was not merged into another one.")
            back = transitions.undo(move_id=move.pk, by=request.user, now=now)
            return f"{back.ref} is open again."
        into = request.POST.get("into", "").upper().removeprefix("INC-")
        if not (into.isascii() and into.isdecimal() and len(into) < 18):
            raise Invalid("Choose the incident that goes on.", fields={"into": ["Choose one."]})
        target = transitions.merge(
            source_id=incident.pk, target_id=int(into), by=request.user, now=now,
            reason=request.POST.get("reason", ""),
        )  # fmt: skip
        return f"{incident.ref} is part of {target.ref} now."

    return acted(request, incident, "_merge.html", context, act)
