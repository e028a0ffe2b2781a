"""The incident's pages: what burns, the list, declaring one, and the war room with its fragments."""

import base64
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import Team
from accounts.permissions import at_least, role_required, who_may
from catalog.models import Service
from core.errors import Invalid, MusterError
from core.forms import show_refusal
from incidents import asks, presenters, queries, transitions
from incidents.forms import SEVERITY_WORDS, DeclareForm
from incidents.models import OPEN_STATUSES, Incident, Kind, Severity, Status, TimelineEntry
from oncall.models import Schedule
from oncall.queries import standings

FEED_FIRST = 120  # entries on the page at first
FEED_MORE = 200  # entries that "earlier" loads
PAGE = 40  # incidents in the list
FOUND = 8
CLOSED_DAYS = 7

# --- shared by the views --------------------------------------------------------------------------------------------


def _load(incident_id: int) -> Incident:
    incident = queries.incident(incident_id)
    if incident is None:
        raise Http404(f"INC-{incident_id} does not exist")
    return incident


def _is_fragment(request: HttpRequest) -> bool:
    return bool(request.htmx) and not request.htmx.boosted


def _sentence(message: str, *, status: int) -> HttpResponse:
    """A refusal as one sentence; static/js/ui.js puts it beside the form and keeps the text."""
    return HttpResponse(
        message, status=status, content_type="text/plain; charset=utf-8", headers={"X-Muster-Sentence": "1"}
    )


def _done(**events: Any) -> HttpResponse:
    """204 for htmx: the fragments that are the viewer's own read themselves again."""
    return HttpResponse(status=204, headers={"HX-Trigger": json.dumps({"incident:changed": True, **events})})


def _next(request: HttpRequest, otherwise: str) -> str:
    """Where a form without script goes on: the page that it came from, if that is ours."""
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return wanted
    return otherwise


def _entries(entries: Iterable[TimelineEntry]) -> list[str]:
    return [render_to_string("incidents/_entry.html", presenters.entry_context(entry)) for entry in entries]


def room(view: Any) -> Any:
    """A fragment or page of one incident, read fresh each time."""

    @wraps(view)
    @never_cache
    def loaded(request: HttpRequest, incident_id: int, **kwargs: Any) -> HttpResponse:
        return view(request, _load(incident_id), **kwargs)

    return loaded


# --- now ------------------------------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("viewer")
def home(request: HttpRequest) -> HttpResponse:
    """What burns, who is on call, what waits for me."""
    now = timezone.now()
    banners = _strips(queries.open_incidents()[:50], now)
    burning = [
        banner
        for banner in banners
        if not banner.incident.is_drill and banner.incident.status != Status.CONTAINED
    ]
    closed = list(queries.closed_since(now - timedelta(days=CLOSED_DAYS))[:8])
    duty = standings(list(Schedule.objects.select_related("team").order_by("name")[:30]), now)
    context = {
        "now": now,
        "banners": banners,
        "headline": presenters.headline(banners),
        "subline": presenters.subline(banners, quiet=_quiet_services(banners)),
        "burning": burning,
        "closed": closed,
        "closed_days": CLOSED_DAYS,
        "last_ended": None if banners or closed else _last_ended(),
        "duty": duty,
        "gaps": [standing for standing in duty if standing.first_gap is not None],
        "waiting": list(queries.waiting_pages(request.user)[:10]),
        "answered": queries.page_history(request.user).filter(status="acknowledged").first(),
        "may_declare": at_least(request.user, "responder"),
    }
    return render(request, "incidents/_now.html" if _is_fragment(request) else "home.html", context)


def _strips(incidents: Iterable[Incident], now: datetime) -> list[presenters.Banner]:
    rows = list(incidents.prefetch_related("phase_stamps"))
    return [presenters.banner(incident, now) for incident in rows]


def _quiet_services(banners: list[presenters.Banner]) -> tuple[int, int]:
    total = Service.objects.count()
    return total - len({banner.incident.service_id for banner in banners}), total


def _last_ended() -> datetime | None:
    return Incident.objects.filter(status=Status.RESOLVED).aggregate(at=Max("resolved_at"))["at"]


# --- list -----------------------------------------------------------------------------------------------------------

SHOWS = (("open", "Open"), ("closed", "Closed"), ("all", "All"))


@require_safe
@never_cache
@role_required("viewer")
def incident_list(request: HttpRequest) -> HttpResponse:
    """Strips for what is open, a table for what is over; every filter stands in the address."""
    now = timezone.now()
    show = request.GET.get("status", "open")
    statuses = {
        "open": OPEN_STATUSES,
        "closed": (Status.RESOLVED,),
        "all": (),
        **{status: (status,) for status in Status.values},
    }.get(show)
    if statuses is None:
        show, statuses = "open", OPEN_STATUSES
    severity = _one_of(request.GET.get("severity"), {str(value): value for value in Severity.values})
    services = {service.slug: service for service in Service.objects.order_by("name")}
    service = services.get(request.GET.get("service", ""))
    teams = {team.slug: team for team in Team.objects.order_by("name")}
    team = teams.get(request.GET.get("team", ""))
    text = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    kind = _one_of(request.GET.get("kind"), {"production": "production", "drill": "drill"})
    wanted = queries.IncidentFilter(
        statuses=statuses,
        severities=(severity,) if severity else (),
        service_ids=(service.pk,) if service else (),
        team_ids=(team.pk,) if team else (),
        text=text,
        population=kind or "",
    )
    found = queries.incident_list(wanted)
    before = _cursor(request.GET.get("before", ""))
    if before is not None:
        found = found.filter(pk__lt=before)
    rows = list(found.prefetch_related("phase_stamps")[: PAGE + 1])
    more, rows = len(rows) > PAGE, rows[:PAGE]
    open_rows = sorted((row for row in rows if row.is_open), key=lambda row: (row.severity, -row.pk))
    chosen = {
        "status": show if show != "open" else "",
        "severity": str(severity or ""),
        "service": service.slug if service else "",
        "team": team.slug if team else "",
        "kind": kind or "",
        "q": text,
    }
    context = {
        "now": now,
        "banners": [presenters.banner(row, now) for row in open_rows],
        "closed": [row for row in rows if not row.is_open],
        "show": show,
        "shows": SHOWS,
        "severities": Severity.choices,
        "services": services.values(),
        "teams": teams.values(),
        "chosen": chosen,
        "filtered": any(value for name, value in chosen.items() if name != "status"),
        "is_later_page": before is not None,
        "older_url": _with(request, before=_cursor_of(rows[-1].pk)) if more else None,
        "first_url": _with(request, before=None),
        "show_urls": [(value, label, _with(request, status=value, before=None)) for value, label in SHOWS],
        "clear_url": reverse("incidents:list"),
        "may_declare": at_least(request.user, "responder"),
    }
    return render(request, "incidents/list.html", context)


def _one_of(text: str | None, values: dict[str, Any]) -> Any:
    return values.get(text or "")


def _cursor_of(pk: int) -> str:
    return base64.urlsafe_b64encode(str(pk).encode()).decode().rstrip("=")


def _cursor(text: str) -> int | None:
    """The id after which the page begins; a damaged cursor shows the first page."""
    try:
        value = int(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, UnicodeError):
        return None
    return value if 0 < value < 2**63 else None


def _with(request: HttpRequest, **changes: str | None) -> str:
    query = {name: value for name, value in request.GET.items() if value}
    query.update(changes)
    text = urlencode({name: value for name, value in query.items() if value})
    return f"{request.path}?{text}" if text else request.path


@require_safe
@role_required("viewer")
def jump(request: HttpRequest) -> HttpResponse:
    """The jump box: incidents by number or title, services by name. Without script Enter opens the list."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    if not _is_fragment(request):
        return redirect(f"{reverse('incidents:list')}?{urlencode({'status': 'all', 'q': text})}")
    found, places = [], []
    if text:
        found = list(queries.incident_list(queries.IncidentFilter(text=text))[:FOUND])
        places = [
            {
                "label": service.name,
                "url": f"{reverse('incidents:list')}?{urlencode({'status': 'all', 'service': service.slug})}",
                "icon": "stack-2",
                "what": "incidents of this service",
            }
            for service in Service.objects.filter(name__icontains=text)[:4]
        ]
    return render(request, "incidents/_found.html", {"found": found, "places": places, "q": text})


# --- declaring ------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
def declare(request: HttpRequest) -> HttpResponse:
    form = DeclareForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())
    status = 200
    if request.method == "POST":
        if form.is_valid():
            try:
                incident = transitions.declare(by=request.user, now=timezone.now(), **form.cleaned_data)
            except Invalid as error:
                show_refusal(error, form)
            else:
                return redirect("incidents:detail", incident.pk)
        status = 400
    severities = [(value, label, SEVERITY_WORDS[value]) for value, label in Severity.choices]
    return render(request, "incidents/declare.html", {"form": form, "severities": severities}, status=status)


# --- the room -------------------------------------------------------------------------------------------------------


@require_safe
@role_required("viewer")
@room
def detail(request: HttpRequest, incident: Incident) -> HttpResponse:
    now = timezone.now()
    entries = queries.timeline_before(incident.pk, None, limit=FEED_FIRST)
    counts = queries.entry_counts(incident)
    context = {
        **presenters.slots_context(incident, now),
        **_acts_context(request, incident),
        **_feed_context(incident, entries),
        "tabs": presenters.tabs(counts),
        "service": incident.service,
        "service_links": [
            link
            for link in incident.service.links
            if str(link.get("href", "")).startswith(("https://", "http://"))
        ],
        "depends_on": incident.service.depends_on.values_list("name", flat=True),
        "dependants": incident.service.dependants.values_list("name", flat=True),
        "may_write": at_least(request.user, "responder"),
        "draft": request.GET.get("text", "")[:2000],
    }
    return render(request, "incidents/detail.html", context)


def _feed_context(incident: Incident, entries: list[TimelineEntry]) -> dict[str, object]:
    first = entries[0] if entries else None
    return {
        "incident": incident,
        "entries": _entries(entries),
        "earlier": first.seq - 1 if first else 0,
        "before": first.seq if first else 0,
        "began_at": incident.triggered_at,
    }


@require_safe
@role_required("viewer")
@room
def earlier(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Entries before `before`, for the top of the feed; as a page of its own without script."""
    before = request.GET.get("before", "")
    seq = int(before) if before.isdecimal() and len(before) < 10 else None
    context = _feed_context(incident, queries.timeline_before(incident.pk, seq, limit=FEED_MORE))
    return render(
        request, "incidents/_earlier.html" if _is_fragment(request) else "incidents/earlier.html", context
    )


@require_safe
@role_required("viewer")
@room
def news(request: HttpRequest, incident: Incident) -> HttpResponse:
    """What is later than `after`, and the slots: for a browser whose stream is away, and after a lost connection."""
    after = request.GET.get("after", "")
    seq = int(after) if after.isdecimal() and len(after) < 10 else incident.last_seq
    entries = queries.timeline_after(incident.pk, seq, limit=FEED_MORE)
    with timezone.override("UTC"):
        context = {**presenters.slots_context(incident, timezone.now()), "entries": _entries(entries)}
        return render(request, "incidents/_news.html", context)


@require_safe
@role_required("viewer")
@room
def acts(request: HttpRequest, incident: Incident) -> HttpResponse:
    """The viewer's own buttons."""
    return render(
        request, "incidents/_acts.html", {**_acts_context(request, incident), "with_page_now": True}
    )


def _acts_context(request: HttpRequest, incident: Incident) -> dict[str, object]:
    may_act = at_least(request.user, "responder")
    waits = (
        may_act
        and incident.is_open
        and incident.pages.filter(recipient=request.user, status="paging").exists()
    )
    offered = {verb: asks.is_offered(verb, incident) for verb in asks.ASKS}
    return {
        "incident": incident,
        "acts": presenters.acts(incident, offered, page_waits=waits),
        "may_act": may_act,
        "why_not": who_may("responder"),
        "my_page_waits": waits,
        "i_command": incident.commander_id == request.user.pk,
    }


# --- acting ---------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def act(request: HttpRequest, incident: Incident, verb: str) -> HttpResponse:
    """GET asks, POST acts. The question is a dialog in the room and a page without script."""
    if request.method != "POST":
        name = "incidents/_ask.html" if _is_fragment(request) else "incidents/ask.html"
        return render(request, name, _ask_context(incident, verb, given={}))
    given = request.POST.dict()
    try:
        after = asks.do(verb, incident_id=incident.pk, by=request.user, given=given, now=timezone.now())
    except MusterError as error:
        message = _who_was_first(incident.pk, error)
        if _is_fragment(request):
            return _sentence(message, status=error.status)
        context = {**_ask_context(_load(incident.pk), verb, given=given), "refused": message}
        return render(request, "incidents/ask.html", context, status=error.status)
    if after.pk != incident.pk:  # reopened as a new one
        address = reverse("incidents:detail", args=[after.pk])
        if _is_fragment(request):
            return HttpResponse(status=204, headers={"HX-Redirect": address})
        return redirect(address)
    if _is_fragment(request):
        return _done()
    messages.success(request, asks.done_words(verb, after))
    return redirect(_next(request, reverse("incidents:detail", args=[incident.pk])))


def _ask_context(incident: Incident, verb: str, *, given: dict[str, str]) -> dict[str, object]:
    ask = asks.ASKS[verb](incident)
    return {"incident": incident, "ask": ask, "given": given, "severities": _severities(incident)}


def _severities(incident: Incident) -> list[tuple[int, str, str]]:
    return [
        (value, label, SEVERITY_WORDS[value])
        for value, label in Severity.choices
        if value != incident.severity
    ]


def _who_was_first(incident_id: int, error: MusterError) -> str:
    """A refused move says who moved it before, and when."""
    if error.status != 409:
        return error.message
    last = (
        TimelineEntry.objects.filter(
            incident_id=incident_id,
            kind__in=[Kind.ACKNOWLEDGED, Kind.CONTAINED, Kind.RESOLVED, Kind.REOPENED, Kind.UNACKNOWLEDGED],
        )
        .order_by("-seq")
        .first()
    )
    if last is None:
        return f"Not done. {error.message} Your text is kept."
    at = timezone.localtime(last.at)
    return f"Not done. {last.actor_name} {last.text} at {at:%H:%M:%S}. Your text is kept."


@require_POST
@role_required("responder")
@room
def note(request: HttpRequest, incident: Incident) -> HttpResponse:
    """A note of the composer. htmx gets every entry that its feed lacks, so that the own note never waits."""
    text = request.POST.get("text", "")
    try:
        transitions.add_note(incident_id=incident.pk, text=text, by=request.user, now=timezone.now())
    except MusterError as error:
        if _is_fragment(request):
            return _sentence(error.message, status=error.status)
        messages.error(request, error.message)
        return redirect(
            f"{reverse('incidents:detail', args=[incident.pk])}?{urlencode({'text': text[:1500]})}#composer"
        )
    if not _is_fragment(request):
        return redirect(f"{reverse('incidents:detail', args=[incident.pk])}#composer")
    after = request.POST.get("after", "")
    seq = int(after) if after.isdecimal() and len(after) < 10 else incident.last_seq
    entries = queries.timeline_after(incident.pk, seq, limit=FEED_MORE)
    return HttpResponse("".join(_entries(entries)))
