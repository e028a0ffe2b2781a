"""The incident's pages: what burns, the list, declaring one, and the war room with its fragments."""

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from django.db.models import Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.models import Team, User
from accounts.permissions import at_least, role_required, who_may
from catalog.models import Service
from core.context_processors import NAV, reverse_or_none
from core.errors import Invalid, MusterError
from core.forms import show_refusal
from incidents import asks, presenters, queries, transitions
from incidents.forms import SEVERITY_WORDS, DeclareForm
from incidents.models import OPEN_STATUSES, Incident, Severity, Status, TimelineEntry
from incidents.refs import number_in
from incidents.roles import queries as roles
from incidents.rules import past_horizon
from incidents.todo import queries as todo
from incidents.updates import queries as updates
from incidents.web import answered, is_fragment, load, room, sentence, who_was_first
from oncall.models import Schedule
from oncall.queries import standings

FEED_FIRST = 120  # entries on the page at first
FEED_MORE = 200  # entries that "earlier" loads
PAGE = 40  # incidents in the list
FOUND = 8
TASKS = 20  # of one's own on home
CLOSED_DAYS = 7
SOON = timedelta(hours=24)  # handoffs and gaps on home
COMING = 8


def _entries(entries: Iterable[TimelineEntry]) -> list[str]:
    return [presenters.entry_html(entry) for entry in entries]


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
    coming = presenters.coming(duty, now, SOON)
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
        "long_open": [
            banner.incident for banner in banners if past_horizon(banner.incident.triggered_at, now)
        ],
        "coming": coming[:COMING],
        "coming_more": len(coming[COMING:]),
        # what begins sooner stands among what comes, or on call now
        "gaps": [row for row in duty if row.first_gap is not None and row.first_gap.starts_at > now + SOON],
        "waiting": list(queries.waiting_pages(request.user)[:10]),
        "my_tasks": todo.waiting_for(request.user)[:TASKS],
        "answered": queries.page_history(request.user).filter(status="acknowledged").first(),
        "may_declare": at_least(request.user, "responder"),
    }
    return render(request, "incidents/_now.html" if is_fragment(request) else "home.html", context)


def _strips(incidents: Iterable[Incident], now: datetime) -> list[presenters.Banner]:
    rows = list(incidents.prefetch_related("phase_stamps"))
    roles.read_offers(rows)
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
    roles.read_offers(rows)
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
    banners = [presenters.banner(row, now) for row in open_rows]
    filtered = any(value for name, value in chosen.items() if name != "status")
    is_whole = show == "open" and not filtered and not more and before is None
    context = {
        "now": now,
        "banners": banners,
        "finding": presenters.finding(banners) if is_whole else "",
        "closed": [row for row in rows if not row.is_open],
        "show": show,
        "shows": SHOWS,
        "severities": Severity.choices,
        "services": services.values(),
        "teams": teams.values(),
        "chosen": chosen,
        "filtered": filtered,
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


# Label, URL name, icon, role. A page that this installation does not have is left out.
PLACES = (
    ("Declare an incident", "incidents:declare", "flame", "responder"),
    ("Your pages", "incidents:my_pages", "bell", "viewer"),
    ("Search all timelines", "incidents:search", "search", "viewer"),
    ("Subscriptions to updates", "status:subscriptions", "mail", "viewer"),
    ("Who is asked to take a role", "incidents:rotations", "user-star", "viewer"),
    ("People", "accounts:people", "users", "viewer"),
    ("Teams", "accounts:teams", "users", "viewer"),
    ("Profile and contact data", "accounts:profile", "user", "viewer"),
    ("Sign-in security", "mfa_index", "shield-lock", "viewer"),
    ("Integrations", "integrations:list", "plug-connected", "viewer"),
    ("Received events", "integrations:ledger", "inbox", "responder"),
    ("Chat bridges", "integrations:bridges", "messages", "viewer"),
    ("What was sent", "notifications:ledger", "send", "responder"),
    ("API", "api-docs", "api", "viewer"),
)


@dataclass(frozen=True)
class Place:
    """Something that the palette leads to."""

    label: str
    url: str
    icon: str
    what: str = ""


def _places(text: str, user: User) -> list[Place]:
    """Pages with all of these words in their name."""
    named = text.lower().split()
    pages = [(label, name, icon, "viewer") for label, name, _, icon in NAV] + list(PLACES)
    found = []
    for label, name, icon, role in pages:
        url = reverse_or_none(name)
        if url and at_least(user, role) and all(word in label.lower() for word in named):
            found.append(Place(label, url, icon))
    return found


@require_safe
@role_required("viewer")
def jump(request: HttpRequest) -> HttpResponse:
    """The palette: incidents by number or title, services and people by name, pages. Without script Enter opens the
    incident of that number, or the list."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    if not is_fragment(request):
        if (number := number_in(text)) and Incident.objects.filter(pk=number).exists():
            return redirect("incidents:detail", number)
        return redirect(f"{reverse('incidents:list')}?{urlencode({'status': 'all', 'q': text})}")
    context: dict[str, Any] = {"q": text}
    if text:
        context |= {
            "found": list(queries.incident_list(queries.IncidentFilter(text=text))[:FOUND]),
            "services": [
                Place(
                    service.name, reverse("catalog:service_detail", args=[service.slug]), "stack-2", "service"
                )
                for service in Service.objects.filter(name__icontains=text).order_by("criticality", "name")[
                    :4
                ]
            ],
            "people": [
                Place(
                    str(person),
                    reverse("accounts:person", args=[person.pk]),
                    "user",
                    f"@{person.username}",
                )
                for person in User.objects.filter(
                    Q(full_name__icontains=text) | Q(username__icontains=text), is_active=True, is_bot=False
                ).order_by("full_name")[:4]
            ],
            "places": _places(text, request.user),
        }
    return render(request, "incidents/_found.html", context)


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
    return room_page(request, incident)


def room_page(
    request: HttpRequest, incident: Incident, *, draft: str = "", refused: str = "", reply_to: int | None = None,
    status: int = 200,
) -> HttpResponse:  # fmt: skip
    """The room. `draft` and `reply_to` are what its form begins with, `refused` why that was not sent."""
    now = timezone.now()
    show = _shown(request)
    context = {
        **presenters.slots_context(incident, now),
        **_acts_context(request, incident),
        **_feed_context(incident, None, show=show, limit=FEED_FIRST),
        "tabs": presenters.tabs(queries.entry_counts(incident)),
        "service": incident.service,
        "service_links": [
            link
            for link in incident.service.links
            if str(link.get("href", "")).startswith(("https://", "http://"))
        ],
        "depends_on": incident.service.depends_on.values_list("name", flat=True),
        "dependants": incident.service.dependants.values_list("name", flat=True),
        "may_write": at_least(request.user, "responder"),
        "draft": draft,
        "refused": refused,
        "reply_to": reply_to,
        "message_key": secrets.token_urlsafe(16),
    }
    return render(request, "incidents/detail.html", context, status=status)


NOTHING = {
    "decision": "Nothing was decided yet. Decisions and updates to stakeholders stand here.",
    "message": "Nobody has written yet. Press m and say what you see.",
    "page": "Nobody was paged.",
    "alert": "No alert belongs to it.",
    "course": "No milestone yet.",
    "pinned": "Nothing is pinned. What is pinned stands above the feed for everybody.",
    "starred": "Nothing is starred. Star what the review should look at.",
}

SHOWN: dict[str, Q] = {
    **{group: Q(kind__in=kinds) for group, kinds in presenters.KINDS_OF_GROUP.items()},
    "pinned": Q(overlay__pinned_at__isnull=False),
    "starred": Q(overlay__starred_at__isnull=False),
}
"""The filters of the feed, as they stand in the address."""


def _shown(request: HttpRequest) -> str:
    """Which entries the address asks for; `all` when it asks for none that there is."""
    show = request.GET.get("show", "")
    return show if show in SHOWN else "all"


def _feed_context(incident: Incident, before: int | None, *, show: str, limit: int) -> dict[str, object]:
    """The `limit` entries before the seq `before` (None: the last ones) that fit, and how many are before them."""
    only = SHOWN.get(show)
    entries = queries.timeline_before(incident.pk, before, limit=limit, only=only)
    first = entries[0] if entries else None
    earlier = first.seq - 1 if first else 0
    if only and first:
        earlier = queries.entries_before(incident.pk, first.seq, only=only) if len(entries) == limit else 0
    return {
        "incident": incident,
        "entries": _entries(entries),
        "show": show,
        "earlier": earlier,
        "before": first.seq if first else 0,
        "began_at": incident.triggered_at,
        "nothing": NOTHING.get(show, "Nothing happened yet."),
    }


@require_safe
@role_required("viewer")
@room
def earlier(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Entries before `before`, for the top of the feed; as a page of its own without script."""
    before = request.GET.get("before", "")
    seq = int(before) if before.isdecimal() and len(before) < 10 else None
    context = _feed_context(incident, seq, show=_shown(request), limit=FEED_MORE)
    return render(
        request, "incidents/_earlier.html" if is_fragment(request) else "incidents/earlier.html", context
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
        context = {
            **presenters.slots_context(incident, timezone.now()),
            "entries": presenters.news_html(incident.pk, entries),
        }
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
        and incident.pages.filter(recipient=request.user, status="paging", purpose="answer").exists()
    )
    offered = {verb: asks.is_offered(verb, incident) for verb in asks.ASKS}
    return {
        "incident": incident,
        "acts": presenters.acts(incident, offered, page_waits=waits),
        "may_act": may_act,
        "why_not": who_may("responder"),
        "my_page_waits": waits,
        "i_command": incident.commander_id == request.user.pk,
        "publishable": updates.publishable(incident),
        **roles.acts_context(incident, request.user),
    }


# --- acting ---------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def act(request: HttpRequest, incident: Incident, verb: str) -> HttpResponse:
    """GET asks, POST acts. The question is a dialog in the room and a page without script."""
    if request.method != "POST":
        name = "incidents/_ask.html" if is_fragment(request) else "incidents/ask.html"
        return render(request, name, _ask_context(incident, verb, given={}))
    given = request.POST.dict()
    try:
        after = asks.do(verb, incident_id=incident.pk, by=request.user, given=given, now=timezone.now())
    except MusterError as error:
        message = who_was_first(incident.pk, error)
        told = {**_ask_context(load(incident.pk), verb, given=given), "refused": message}
        if is_fragment(request):
            response = sentence(message, status=error.status)
            if told["ask"].seen is not None:  # told what it is now, the person may decide again
                response.headers["X-Muster-Seen"] = quote(told["ask"].seen)
            return response
        return render(request, "incidents/ask.html", told, status=error.status)
    if after.pk != incident.pk:  # reopened as a new one
        address = reverse("incidents:detail", args=[after.pk])
        if is_fragment(request):
            return HttpResponse(status=204, headers={"HX-Redirect": address})
        return redirect(address)
    return answered(request, incident.pk, asks.done_words(verb, after))


def _ask_context(incident: Incident, verb: str, *, given: dict[str, str]) -> dict[str, Any]:
    ask = asks.ASKS[verb](incident)
    return {"incident": incident, "ask": ask, "given": given, "severities": _severities(incident)}


def _severities(incident: Incident) -> list[tuple[int, str, str]]:
    return [
        (value, label, SEVERITY_WORDS[value])
        for value, label in Severity.choices
        if value != incident.severity
    ]
