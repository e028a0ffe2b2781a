"""What is one's own: shifts, requests to take one, and addresses of calendars. And the calendars themselves."""

import hashlib
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.fields import suggestions
from accounts.models import Role
from accounts.permissions import at_least, role_required
from core.errors import Missing, MusterError
from core.forms import show_refusal
from oncall import feeds, presenters, queries, swaps
from oncall.forms import SwapForm, minute
from oncall.models import Schedule, SwapStatus
from oncall.views import schedule_by, typed, zones_of

SHOWN = timedelta(days=90)
PER_PAGE = 25
# A calendar program asks every few minutes at most; more is a mistake, or somebody who guesses.
FEED_LIMIT, FEED_WINDOW = 60, 600

# --- mine -------------------------------------------------------------------------------------------


@require_safe
@role_required("viewer")
def mine(request: HttpRequest) -> HttpResponse:
    """The next three months of one person, what waits for an answer, and the calendar addresses."""
    return _mine(request)


def _mine(request: HttpRequest, *, made: tuple[str, str] | None = None) -> HttpResponse:
    now = timezone.now()
    duties = queries.shifts_of(request.user, now, now + SHOWN)
    page = Paginator(queries.swaps_of(request.user), PER_PAGE).get_page(request.GET.get("page"))
    live = [feed for feed in queries.feeds_of(request.user) if feed.revoked_at is None]
    zone = timezone.get_current_timezone_name()
    context = {
        "duties": [
            (
                duty,
                presenters.say_time(duty.starts_at, zone),
                presenters.say_until(duty.starts_at, duty.ends_at, zone),
                presenters.say_time(duty.starts_at, duty.schedule.time_zone),
                presenters.say_until(duty.starts_at, duty.ends_at, duty.schedule.time_zone),
            )
            for duty in duties[:60]
        ],
        "more_duties": max(len(duties) - 60, 0),
        "zone": zone,
        "ends": now + SHOWN,
        "now": now,
        "page": page,
        "pending": SwapStatus.PENDING,
        "feeds": live,
        "schedules": Schedule.objects.order_by("name")[:500],
        "made": made,
        "may_swap": at_least(request.user, Role.RESPONDER),
    }
    return render(request, "oncall/mine.html", context)


# --- swaps ------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
def swap_ask(request: HttpRequest, slug: str) -> HttpResponse:
    schedule, now = schedule_by(slug), timezone.now()
    zones = zones_of(schedule)
    if request.method != "POST":
        asked = {"starts_at": typed(request, "start"), "ends_at": typed(request, "end")}
        form = SwapForm(zones=zones, initial={"zone": schedule.time_zone} | asked)
        return _swap_page(request, schedule, form)
    form = SwapForm(request.POST, zones=zones)
    if not form.is_valid():
        return _swap_page(request, schedule, form, status=422)
    try:
        swap = swaps.ask_swap(schedule_id=schedule.pk, by=request.user, now=now, **form.wanted())
    except MusterError as refusal:
        show_refusal(refusal, form)
        return _swap_page(request, schedule, form, status=refusal.status)
    until = presenters.say_time(swap.expires_at, timezone.get_current_timezone_name())
    messages.success(request, f"{swap.asked} is asked and has until {until}. Until then you stay on call.")
    return redirect("oncall:mine")


def _swap_page(
    request: HttpRequest, schedule: Schedule, form: SwapForm, *, status: int = 200
) -> HttpResponse:
    now = timezone.now()
    zone = schedule.time_zone
    duties = [
        (
            f"{minute(duty.starts_at, zone):%Y-%m-%dT%H:%M}",
            f"{minute(duty.ends_at, zone):%Y-%m-%dT%H:%M}",
            presenters.say_time(duty.starts_at, zone),
            presenters.say_until(duty.starts_at, duty.ends_at, zone),
        )
        for duty in queries.shifts_of(request.user, now, now + SHOWN)
        if duty.schedule == schedule and not duty.shadow
    ][:8]
    context = {
        "schedule": schedule, "form": form, "duties": duties, "zone": zone, "people": suggestions(),
        "zones_differ": timezone.get_current_timezone_name() != zone,
    }  # fmt: skip
    return render(request, "oncall/swap_form.html", context, status=status)


_ANSWERS: dict[str, tuple[Any, str]] = {
    "accept": (swaps.accept_swap, "You are on call for {swap.requester} in that time."),
    "decline": (swaps.decline_swap, "{swap.requester} is told and stays on call."),
}


@require_POST
@role_required("responder")
def swap_answer(request: HttpRequest, pk: int, answer: str) -> HttpResponse:
    if answer not in {"withdraw", *_ANSWERS}:
        raise Http404("There is no such answer.")
    now = timezone.now()
    try:
        if answer == "withdraw":
            swaps.withdraw_swap(swap_id=pk, by=request.user, now=now)
            words = "The request is taken back. You stay on call."
        else:
            transition, words = _ANSWERS[answer]
            swap = transition(
                swap_id=pk,
                by=request.user,
                now=now,
                answer=request.POST.get("answer", "").replace("\x00", ""),
            )
            words = words.format(swap=swap)
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, words)
    return redirect("oncall:mine")


# --- calendars --------------------------------------------------------------------------------------


@require_POST
@role_required("viewer")
def feed_make(request: HttpRequest) -> HttpResponse:
    """The answer shows the address, the only time that it is shown; so it is no redirect."""
    slug = request.POST.get("schedule", "")
    schedule = schedule_by(slug) if slug else None
    _, secret = feeds.make_feed(owner=request.user, schedule=schedule, now=timezone.now())
    address = settings.MUSTER_BASE_URL + reverse("oncall:feed", args=[secret])
    response = _mine(request, made=(schedule.name if schedule else "Your shifts", address))
    response.headers["Cache-Control"] = "no-store"
    return response


@require_POST
@role_required("viewer")
def feed_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        feed = feeds.revoke_feed(feed_id=pk, by=request.user, now=timezone.now())
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"The address {feed.hint}… shows nothing any more.")
    return redirect("oncall:mine")


@require_safe
def feed(request: HttpRequest, secret: str) -> HttpResponse:
    """A calendar, for whoever knows its address. What is unknown, revoked or of somebody gone is the same 404."""
    if _is_too_often(request, secret):
        return HttpResponse(
            "Too often. Ask again in ten minutes.\n", status=429, content_type="text/plain",
            headers={"Retry-After": str(FEED_WINDOW)},
        )  # fmt: skip
    now = timezone.now()
    try:
        found = feeds.open_feed(secret, now=now)
    except Missing:
        return HttpResponse("There is no such calendar.\n", status=404, content_type="text/plain")
    body = feeds.render(found, now=now, base_url=settings.MUSTER_BASE_URL)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=900", "Referrer-Policy": "no-referrer"}
    if etag in request.headers.get("If-None-Match", ""):
        return HttpResponse(status=304, headers=headers)
    headers["Content-Disposition"] = 'inline; filename="on-call.ics"'
    return HttpResponse(body, content_type="text/calendar; charset=utf-8", headers=headers)


def _is_too_often(request: HttpRequest, secret: str) -> bool:
    """Counts by secret, and by address for all secrets together, so that nobody tries many."""
    over = False
    keys = {
        f"feed:{hashlib.sha256(secret.encode()).hexdigest()[:32]}": FEED_LIMIT,
        f"feeds-from:{request.META.get('REMOTE_ADDR', '')}": FEED_LIMIT * 20,
    }
    for key, limit in keys.items():
        cache.add(key, 0, timeout=FEED_WINDOW)
        try:
            over = cache.incr(key) > limit or over
        except ValueError:  # it ran out in between
            continue
    return over
