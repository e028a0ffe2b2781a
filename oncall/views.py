"""Schedules: who is on call now, the calendar of one, changing it, and standing in for somebody."""

from datetime import date, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.fields import suggestions
from accounts.models import Role, Team
from accounts.permissions import at_least, role_required
from core.errors import MusterError
from core.forms import show_refusal
from oncall import presenters, queries, rules, transitions
from oncall.forms import LayerForms, OverrideForm, ScheduleForm, initial_of, initial_of_new
from oncall.models import Override, Schedule

PER_PAGE = 25
SHOWN = timedelta(days=14)
MOST_SHIFTS = 12
MOST_OVERRIDES = 50


def _schedule(slug: str) -> Schedule:
    schedule = queries.schedules_with_layers().filter(slug=slug).first()
    if schedule is None:
        raise Http404("There is no such schedule.")
    return schedule


def _typed(request: HttpRequest, name: str, longest: int = 120) -> str:
    return request.GET.get(name, "").replace("\x00", "").strip()[:longest]


@require_safe
@role_required("viewer")
def schedule_list(request: HttpRequest) -> HttpResponse:
    search, team = _typed(request, "q"), _typed(request, "team")
    page = Paginator(queries.schedule_list(search=search, team=team), PER_PAGE).get_page(
        request.GET.get("page")
    )
    found = queries.standings(page.object_list, timezone.now())
    return render(
        request,
        "oncall/schedule_list.html",
        {
            "page": page,
            "standings": found,
            "uncovered": [standing for standing in found if not standing.people],
            "with_gaps": [standing for standing in found if standing.people and standing.gaps],
            "teams": Team.objects.order_by("name"),
            "q": search,
            "chosen_team": team,
            "may_edit": at_least(request.user, Role.MANAGER),
        },
    )


# --- one schedule -----------------------------------------------------------------------------------


@require_safe
@role_required("viewer")
def schedule_detail(request: HttpRequest, slug: str) -> HttpResponse:
    return _detail(request, _schedule(slug))


def _first_day(request: HttpRequest, schedule: Schedule, now: datetime) -> date:
    """The date with which the calendar begins, in the schedule's zone; today when none is asked for."""
    try:
        asked = date.fromisoformat(request.GET.get("from", ""))
    except ValueError:
        asked = None
    if asked is None or not 2001 <= asked.year < 2099:
        return rules.wall_clock(now, schedule.time_zone).date()
    return asked


def _detail(
    request: HttpRequest, schedule: Schedule, *, form: OverrideForm | None = None, status: int = 200
) -> HttpResponse:
    now = timezone.now()
    zone, viewer_zone = schedule.time_zone, timezone.get_current_timezone_name()
    first = _first_day(request, schedule, now)
    start = rules.first_instant(datetime(first.year, first.month, first.day), zone)  # noqa: DTZ001
    last = first + SHOWN
    end = rules.first_instant(datetime(last.year, last.month, last.day), zone)  # noqa: DTZ001
    calendar = queries.calendar(schedule, start, end)
    overrides = list(queries.overrides_of(schedule, now)[:MOST_OVERRIDES])
    later = queries.covered_by_later(overrides)
    is_manager = at_least(request.user, Role.MANAGER)
    standing = queries.standings([schedule], now)[0]
    context: dict[str, Any] = {
        "schedule": schedule,
        "standing": standing,
        "drawing": presenters.draw(
            calendar, zone=zone, viewer_zone=viewer_zone, viewer=request.user, now=now
        ),
        "first": first,
        "last": last - timedelta(days=1),
        "is_now": start <= now < end,
        "earlier": first - SHOWN,
        "later": last,
        "shifts": [
            (
                span,
                presenters.say_time(span.starts_at, zone),
                presenters.say_until(span.starts_at, span.ends_at, zone)
                if number
                else presenters.say_time(span.ends_at, zone),
            )
            for number, span in enumerate(standing.shifts[:MOST_SHIFTS])
        ],
        "ahead_ends": now + queries.HORIZON,
        "layers": [presenters.say_layer(layer, zone) for layer in schedule.layers.all()],
        "overrides": [
            (
                override,
                later[override.pk],
                presenters.say_time(override.starts_at, zone),
                presenters.say_until(override.starts_at, override.ends_at, zone),
                is_manager or request.user.pk in (override.user_id, override.created_by_id),
            )
            for override in overrides
        ],
        "form": form or _override_form(request, schedule, now),
        "people": suggestions() if is_manager else [],
        "zone": zone,
        "viewer_zone": viewer_zone,
        "zones_differ": viewer_zone != zone,
        "zone_offset": presenters.say_offset(zone, viewer_zone, now),
        "may_edit": is_manager,
        "may_cover": at_least(request.user, Role.RESPONDER),
        "now": now,
    }
    return render(request, "oncall/schedule_detail.html", context, status=status)


# --- overrides --------------------------------------------------------------------------------------


def _override_form(request: HttpRequest, schedule: Schedule, now: datetime, data: Any = None) -> OverrideForm:
    zones = [(schedule.time_zone, f"in {schedule.time_zone.replace('_', ' ')}, the schedule's zone")]
    mine = timezone.get_current_timezone_name()
    if mine != schedule.time_zone:
        zones.append((mine, f"in {mine.replace('_', ' ')}, your zone"))
    is_manager = at_least(request.user, Role.MANAGER)
    return OverrideForm(
        data,
        zones=zones,
        person=None if is_manager else request.user,
        initial={"user": request.user, "zone": schedule.time_zone},
        prefix="override",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
def override_add(request: HttpRequest, slug: str) -> HttpResponse:
    """The form is on the schedule's page; when it is refused that page shows it with what was typed."""
    schedule, now = _schedule(slug), timezone.now()
    if request.method != "POST":
        return redirect("oncall:schedule_detail", slug=schedule.slug)
    form = _override_form(request, schedule, now, request.POST)
    if not form.is_valid():
        return _detail(request, schedule, form=form, status=422)
    try:
        override = transitions.add_override(
            schedule_id=schedule.pk, by=request.user, now=now, **form.wanted()
        )
    except MusterError as refusal:
        show_refusal(refusal, form)
        return _detail(request, schedule, form=form, status=refusal.status)
    zone = schedule.time_zone
    span = f"{presenters.say_time(override.starts_at, zone)} to " + presenters.say_until(
        override.starts_at, override.ends_at, zone
    )
    messages.success(request, f"{override.user} is on call from {span}, {zone}")
    return redirect("oncall:schedule_detail", slug=schedule.slug)


@require_POST
@role_required("responder")
def override_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    schedule, now = _schedule(slug), timezone.now()
    override = Override.objects.filter(pk=pk, schedule=schedule).select_related("user").first()
    if override is None:
        raise Http404("There is no such override.")
    try:
        transitions.remove_override(override_id=override.pk, by=request.user, now=now)
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"{override.user} no longer stands in. The rotation counts again.")
    return redirect("oncall:schedule_detail", slug=schedule.slug)


# --- changing it ------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def schedule_new(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def schedule_edit(request: HttpRequest, slug: str) -> HttpResponse:
    return _edit(request, _schedule(slug))


def _edit(request: HttpRequest, schedule: Schedule | None) -> HttpResponse:
    """Make or change a schedule. What was typed stays when it is refused."""
    now = timezone.now()
    head_initial, layers_initial = (
        initial_of(schedule) if schedule else initial_of_new(now, timezone.get_current_timezone_name())
    )
    if request.method != "POST":
        form = ScheduleForm(initial=head_initial)
        layers = LayerForms(initial=layers_initial, prefix="layer")
        return _edit_page(request, schedule, form, layers)
    form = ScheduleForm(request.POST, initial=head_initial)
    layers = LayerForms(request.POST, initial=layers_initial, prefix="layer")
    if not (form.is_valid() & layers.is_valid()):
        return _edit_page(request, schedule, form, layers, status=422)
    kept = [item for item in layers if item not in layers.deleted_forms and not item.is_empty]
    zone = form.cleaned_data["time_zone"]
    present = {layer.pk: layer for layer in schedule.layers.all()} if schedule else {}
    zone_stays = schedule is not None and schedule.time_zone == zone
    data = form.cleaned_data | {
        "layers": [item.wanted(zone=zone, present=present, zone_stays=zone_stays) for item in kept]
    }
    try:
        if schedule:
            saved = transitions.update_schedule(schedule_id=schedule.pk, by=request.user, now=now, **data)
        else:
            saved = transitions.create_schedule(by=request.user, now=now, **data)
    except MusterError as refusal:
        _show_refusal(refusal, form, kept)
        return _edit_page(request, schedule, form, layers, status=refusal.status)
    messages.success(
        request, f"{saved} is saved. It counts from now on; who was on call before stays on record."
    )
    return redirect("oncall:schedule_detail", slug=saved.slug)


def _show_refusal(refusal: MusterError, form: ScheduleForm, layers: list[Any]) -> None:
    """`layers.1.people` goes to the second of the layers that were sent."""
    if not refusal.fields:
        form.add_error(None, refusal.message)
    for path, sentences in refusal.fields.items():
        parts = path.split(".")
        if len(parts) == 3 and parts[0] == "layers":
            target, key = layers[int(parts[1])], parts[2]
        else:
            target, key = form, path
        for sentence in sentences:
            target.add_error(key if key in target.fields else None, sentence)


def _edit_page(
    request: HttpRequest, schedule: Schedule | None, form: ScheduleForm, layers: Any, *, status: int = 200
) -> HttpResponse:
    context = {"schedule": schedule, "form": form, "layers": layers, "people": suggestions()}
    return render(request, "oncall/schedule_form.html", context, status=status)
