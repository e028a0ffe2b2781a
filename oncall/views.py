"""Schedules: who is on call now, the calendar of one, changing it, and standing in for somebody."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.fields import suggestions
from accounts.models import Role, Team
from accounts.permissions import at_least, role_required
from core.errors import MusterError
from core.forms import show_refusal
from oncall import presenters, quality, queries, rules, transitions
from oncall.forms import (
    LayerForms,
    OverrideForm,
    ScheduleForm,
    TemporaryForm,
    initial_of,
    initial_of_new,
    minute,
)
from oncall.models import Override, OverrideKind, Schedule
from oncall.transitions import Preview

PER_PAGE = 25
SHOWN = timedelta(days=14)
MOST_SHIFTS = 12
MOST_OVERRIDES = 50
MOST_CHANGES = 40
DRAWN = timedelta(days=28)  # of a difference


def schedule_by(slug: str) -> Schedule:
    schedule = queries.schedules_with_layers().filter(slug=slug).first()
    if schedule is None:
        raise Http404("There is no such schedule.")
    return schedule


def typed(request: HttpRequest, name: str, longest: int = 120) -> str:
    return request.GET.get(name, "").replace("\x00", "").strip()[:longest]


@require_safe
@role_required("viewer")
def schedule_list(request: HttpRequest) -> HttpResponse:
    search, team = typed(request, "q"), typed(request, "team")
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
    return _detail(request, schedule_by(slug))


def _first_day(request: HttpRequest, schedule: Schedule, now: datetime) -> date:
    """The date with which the calendar begins, in the schedule's zone; today when none is asked for."""
    try:
        asked = date.fromisoformat(request.GET.get("from", ""))
    except ValueError:
        asked = None
    if asked is None or not 2001 <= asked.year < 2099:
        return rules.wall_clock(now, schedule.time_zone).date()
    return asked


def _month_of(day: date) -> tuple[date, date]:
    """The first days of its month and of the next."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def _midnight(day: date, zone: str) -> datetime:
    return rules.first_instant(datetime(day.year, day.month, day.day), zone)  # noqa: DTZ001 (wall clock)


def _change_link(schedule: Schedule) -> Callable[[queries.Span], str]:
    """Where a span of the calendar is changed, with the form filled in."""
    address, zone = reverse("oncall:override_add", args=[schedule.slug]), schedule.time_zone

    def link(span: queries.Span) -> str:
        asked = {
            "start": f"{minute(span.starts_at, zone):%Y-%m-%dT%H:%M}",
            "end": f"{minute(span.ends_at, zone):%Y-%m-%dT%H:%M}",
        }
        if len(span.people) == 1:
            asked["replaces"] = span.people[0].username
        return f"{address}?{urlencode(asked)}"

    return link


def _detail(
    request: HttpRequest, schedule: Schedule, *, form: OverrideForm | None = None, status: int = 200
) -> HttpResponse:
    now = timezone.now()
    zone, viewer_zone = schedule.time_zone, timezone.get_current_timezone_name()
    may_cover = at_least(request.user, Role.RESPONDER)
    link = _change_link(schedule) if may_cover else None
    first = _first_day(request, schedule, now)
    by_month = request.GET.get("view") == "month"
    if by_month:
        first, last = _month_of(first)
        # whole weeks around it
        start, end = _midnight(first - timedelta(days=7), zone), _midnight(last + timedelta(days=7), zone)
        earlier, later = first - timedelta(days=1), last
    else:
        last = first + SHOWN
        start, end = _midnight(first, zone), _midnight(last, zone)
        earlier, later = first - SHOWN, last
    calendar = queries.calendar(schedule, start, end)
    overrides = list(queries.overrides_of(schedule, now)[:MOST_OVERRIDES])
    covered = queries.covered_by_later(overrides)
    is_manager = at_least(request.user, Role.MANAGER)
    standing = queries.standings([schedule], now)[0]
    context: dict[str, Any] = {
        "schedule": schedule,
        "standing": standing,
        "view": "month" if by_month else "weeks",
        "weeks": presenters.month(
            calendar.final, first=first, zone=zone, viewer=request.user, now=now, link=link
        )
        if by_month
        else [],
        "day_names": rules.DAY_NAMES,
        "drawing": None
        if by_month
        else presenters.draw(
            calendar, zone=zone, viewer_zone=viewer_zone, viewer=request.user, now=now, link=link
        ),
        "first": first,
        "last": last - timedelta(days=1),
        "is_now": _midnight(first, zone) <= now < _midnight(last, zone),
        "earlier": earlier,
        "later": later,
        "overlaps": queries.overlaps(schedule, now),
        "temporary": [
            (
                each,
                presenters.say_time(each.starts_at, zone),
                presenters.say_until(each.starts_at, each.ends_at, zone),
            )
            for each in queries.temporary_of(schedule, now)
        ],
        "swaps": [
            (
                swap,
                presenters.say_time(swap.starts_at, zone),
                presenters.say_until(swap.starts_at, swap.ends_at, zone),
            )
            for swap in queries.swaps_to_show(schedule)
        ],
        "filler": queries.filler_of(schedule),
        "is_mine": any(request.user in span.people for span in standing.shifts),
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
        "layers": [
            presenters.say_layer(layer, zone, now)
            for layer in schedule.layers.all()
            if layer.ends_at is None or layer.ends_at > now
        ],
        "overrides": [
            (
                override,
                covered[override.pk],
                presenters.say_time(override.starts_at, zone),
                presenters.say_until(override.starts_at, override.ends_at, zone),
                is_manager or request.user.pk in (override.user_id, override.created_by_id),
                presenters.say_override(override),
            )
            for override in overrides
        ],
        "form": form or _override_form(request, schedule),
        "people": suggestions() if is_manager else [],
        "zone": zone,
        "viewer_zone": viewer_zone,
        "zones_differ": viewer_zone != zone,
        "zone_offset": presenters.say_offset(zone, viewer_zone, now),
        "may_edit": is_manager,
        "may_cover": may_cover,
        "now": now,
    }
    return render(request, "oncall/schedule_detail.html", context, status=status)


# --- overrides --------------------------------------------------------------------------------------


def zones_of(schedule: Schedule) -> list[tuple[str, str]]:
    """The clocks that a form can be filled in by."""
    zones = [(schedule.time_zone, f"in {schedule.time_zone.replace('_', ' ')}, the schedule's zone")]
    mine = timezone.get_current_timezone_name()
    if mine != schedule.time_zone:
        zones.append((mine, f"in {mine.replace('_', ' ')}, your zone"))
    return zones


def _override_form(
    request: HttpRequest, schedule: Schedule, data: Any = None, *, asked: dict[str, Any] | None = None
) -> OverrideForm:
    is_manager = at_least(request.user, Role.MANAGER)
    return OverrideForm(
        data,
        zones=zones_of(schedule),
        person=None if is_manager else request.user,
        initial={"user": request.user, "zone": schedule.time_zone} | (asked or {}),
        prefix="override",
    )


def _asked_of(request: HttpRequest) -> dict[str, Any]:
    """What the address fills in: what was clicked in the calendar."""
    asked: dict[str, Any] = {}
    for key, name in (("start", "starts_at"), ("end", "ends_at"), ("replaces", "replaces"), ("user", "user")):
        if typed(request, key):
            asked[name] = typed(request, key)
    if request.GET.get("kind") in OverrideKind.values:
        asked["kind"] = request.GET["kind"]
    return asked


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
def override_add(request: HttpRequest, slug: str) -> HttpResponse:
    """The form is on a page of its own and, for a shift, on the schedule's page. It may be looked at before it counts."""
    schedule, now = schedule_by(slug), timezone.now()
    if request.method != "POST":
        return _override_page(request, schedule, _override_form(request, schedule, asked=_asked_of(request)))
    form = _override_form(request, schedule, request.POST)
    if not form.is_valid():
        return _override_page(request, schedule, form, status=422)
    try:
        if "preview" in request.POST:

            def write() -> Schedule:
                transitions.add_override(schedule_id=schedule.pk, by=request.user, now=now, **form.wanted())
                return schedule

            found = transitions.preview(write=write, schedule=schedule, now=now)
            return _override_page(request, schedule, form, preview=found)
        override = transitions.add_override(
            schedule_id=schedule.pk, by=request.user, now=now, **form.wanted()
        )
    except MusterError as refusal:
        show_refusal(refusal, form)
        return _override_page(request, schedule, form, status=refusal.status)
    zone = schedule.time_zone
    span = f"{presenters.say_time(override.starts_at, zone)} to " + presenters.say_until(
        override.starts_at, override.ends_at, zone
    )
    what = {OverrideKind.REMOVE: "is not on call", OverrideKind.SHADOW: "shadows"}.get(
        OverrideKind(override.kind), "is on call"
    )
    messages.success(request, f"{override.user} {what} from {span}, {zone}")
    return redirect("oncall:schedule_detail", slug=schedule.slug)


def _override_page(
    request: HttpRequest,
    schedule: Schedule,
    form: OverrideForm,
    *,
    preview: Preview | None = None,
    status: int = 200,
) -> HttpResponse:
    context = _form_context(request, schedule) | {"form": form} | _difference(request, schedule, preview)
    # A refusal, too, is shown in the place of the form.
    return render(request, "oncall/override_form.html", context, status=200 if request.htmx else status)


def _form_context(request: HttpRequest, schedule: Schedule) -> dict[str, Any]:
    is_manager = at_least(request.user, Role.MANAGER)
    return {
        "schedule": schedule,
        "zone": schedule.time_zone,
        "zones_differ": timezone.get_current_timezone_name() != schedule.time_zone,
        "may_edit": is_manager,
        "people": suggestions(),
    }


def _difference(request: HttpRequest, schedule: Schedule | None, preview: Preview | None) -> dict[str, Any]:
    """What would change, as a table and as two rows of four weeks."""
    if preview is None:
        return {"preview": None}
    zone = preview.after.data.zone
    end = preview.starts_at + DRAWN
    rows = [
        presenters.draw_row(
            name,
            [
                queries.Span(shift.starts_at, shift.ends_at, loaded.users(shift.people))
                for shift in rules.shifts(loaded.data, preview.starts_at, end)
            ],
            start=preview.starts_at, end=end, zone=zone, viewer=request.user, gaps=True,
        )
        for name, loaded in (("As it is", preview.before), ("As it would be", preview.after))
    ]  # fmt: skip
    people = preview.people
    return {
        "preview": preview,
        "preview_rows": rows if schedule else rows[1:],
        "preview_end": end,
        "preview_zone": zone,
        "changes": [
            (
                each,
                presenters.say_time(each.starts_at, zone),
                presenters.say_until(each.starts_at, each.ends_at, zone),
                [people[person] for person in each.before],
                [people[person] for person in each.after],
            )
            for each in preview.changed[:MOST_CHANGES]
        ],
        "more_changes": max(len(preview.changed) - MOST_CHANGES, 0),
        "is_new": schedule is None,
    }


@require_POST
@role_required("responder")
def override_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    schedule, now = schedule_by(slug), timezone.now()
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


# --- temporary schedules ----------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def temporary_add(request: HttpRequest, slug: str) -> HttpResponse:
    schedule, now = schedule_by(slug), timezone.now()
    zones = zones_of(schedule)
    initial = {"zone": schedule.time_zone} | _asked_of(request)
    if request.method != "POST":
        return _temporary_page(request, schedule, TemporaryForm(zones=zones, initial=initial))
    form = TemporaryForm(request.POST, zones=zones)
    if not form.is_valid():
        return _temporary_page(request, schedule, form, status=422)

    def write() -> Schedule:
        transitions.add_temporary(
            schedule_id=schedule.pk, by=request.user, now=now, **form.wanted(schedule.time_zone)
        )
        return schedule

    try:
        if "preview" in request.POST:
            found = transitions.preview(write=write, schedule=schedule, now=now)
            return _temporary_page(request, schedule, form, preview=found)
        write()
    except MusterError as refusal:
        show_refusal(refusal, form)
        return _temporary_page(request, schedule, form, status=refusal.status)
    messages.success(request, f"{form.cleaned_data['name']} is saved. For its time nothing else counts.")
    return redirect("oncall:schedule_detail", slug=schedule.slug)


def _temporary_page(
    request: HttpRequest,
    schedule: Schedule,
    form: TemporaryForm,
    *,
    preview: Preview | None = None,
    status: int = 200,
) -> HttpResponse:
    context = _form_context(request, schedule) | {"form": form} | _difference(request, schedule, preview)
    return render(request, "oncall/temporary_form.html", context, status=200 if request.htmx else status)


@require_POST
@role_required("manager")
def temporary_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    schedule = schedule_by(slug)
    try:
        transitions.remove_temporary(
            schedule_id=schedule.pk, temporary_id=pk, by=request.user, now=timezone.now()
        )
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "The temporary schedule is over. Layers and overrides count again.")
    return redirect("oncall:schedule_detail", slug=schedule.slug)


# --- how good it is ---------------------------------------------------------------------------------


@require_safe
@role_required("viewer")
def schedule_quality(request: HttpRequest, slug: str) -> HttpResponse:
    """52 weeks from today, or as many as are asked for."""
    schedule, now = schedule_by(slug), timezone.now()
    asked = request.GET.get("weeks", "")
    weeks = int(asked) if asked.isdecimal() and len(asked) < 3 and 1 <= int(asked) <= 52 else 52
    start = _midnight(rules.wall_clock(now, schedule.time_zone).date(), schedule.time_zone)
    found, people = queries.quality_of(schedule, start, start + timedelta(weeks=weeks))
    hour = timedelta(hours=1)
    most = max((load.time for load in found.loads), default=timedelta())
    context = {
        "schedule": schedule,
        "quality": found,
        "weeks": weeks,
        "spans": [4, 13, 26, 52],
        "loads": [
            (
                people[load.user],
                load.shifts,
                round(load.time / most * 100) if most else 0,
                [f"{amount / hour:,.0f}" for amount in (load.time, load.nights, load.weekends)],
            )
            for load in found.loads
        ],
        "night": quality.NIGHT_WORDS,
    }
    return render(request, "oncall/schedule_quality.html", context)


# --- changing it ------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def schedule_new(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("manager")
def schedule_edit(request: HttpRequest, slug: str) -> HttpResponse:
    return _edit(request, schedule_by(slug))


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
    data = form.wanted() | {
        "layers": [item.wanted(zone=zone, present=present, zone_stays=zone_stays) for item in kept]
    }

    def write() -> Schedule:
        if schedule:
            return transitions.update_schedule(schedule_id=schedule.pk, by=request.user, now=now, **data)
        return transitions.create_schedule(by=request.user, now=now, **data)

    try:
        if "preview" in request.POST:
            found = transitions.preview(write=write, schedule=schedule, now=now)
            return _edit_page(request, schedule, form, layers, preview=found)
        saved = write()
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
    request: HttpRequest,
    schedule: Schedule | None,
    form: ScheduleForm,
    layers: Any,
    *,
    preview: Preview | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {"schedule": schedule, "form": form, "layers": layers, "people": suggestions()}
    return render(
        request, "oncall/schedule_form.html", context | _difference(request, schedule, preview), status=status
    )
