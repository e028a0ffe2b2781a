"""What the hub asks the database, and how it renders. All of it blocks, so it runs in threads (`in_thread`)."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth import get_user
from django.db import connections
from django.db.models import Max
from django.http import HttpRequest
from django.template.loader import get_template, render_to_string
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from accounts.permissions import at_least
from incidents import presenters
from incidents.channel import queries as channel
from incidents.live import sse
from incidents.models import Incident, Page, PageStatus, TimelineEntry

T = TypeVar("T")

_KEPT_ENTRIES = 4000  # rendered, in each process
_LATE_COMMITS = 500  # ids that may be committed after higher ones, see `changed`


async def in_thread(pool: ThreadPoolExecutor, function: Callable[..., T], *args: Any) -> T:
    """Run `function` in the pool; the thread gives its database connection back before the next one needs it."""

    def run() -> T:
        try:
            return function(*args)
        finally:
            connections.close_all()

    return await asyncio.get_running_loop().run_in_executor(pool, run)


# --- who looks ------------------------------------------------------------------------------------


def signed_in(session_key: str | None) -> User | None:
    """Whose session this is. None: nobody's, or somebody's who may no longer look."""
    if not session_key:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if at_least(user, "viewer") else None


def admit(session_key: str | None, incident_id: int | None) -> tuple[int | None, int | None]:
    """(id of the person, seq that the incident is at); None for a person or an incident that is not there."""
    user = signed_in(session_key)
    if user is None:
        return None, None
    if incident_id is None:
        return user.pk, None
    return user.pk, Incident.objects.filter(pk=incident_id).values_list("last_seq", flat=True).first()


def still_welcome(sessions: Mapping[str, int]) -> set[str]:
    """Of these session keys, each with its person, those that may go on looking."""
    welcome = set()
    for key, user_id in sessions.items():
        user = signed_in(key)
        if user is not None and user.pk == user_id:
            welcome.add(key)
    return welcome


def names(user_ids: Collection[int]) -> dict[int, str]:
    return {user.pk: str(user) for user in User.objects.filter(pk__in=user_ids)}


# --- what they see --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """One timeline entry as it goes to every browser."""

    seq: int
    data: bytes


_kept: OrderedDict[tuple[int, int], Sent] = OrderedDict()
_kept_lock = threading.Lock()


def warm_up() -> None:
    """Load the templates, so that the first entry is no later than the next."""
    for name in ("incidents/_entry.html", "incidents/_slots.html"):
        get_template(name)


def _render_entry(entry: TimelineEntry, older: Mapping[int, TimelineEntry]) -> Sent:
    """What changes how an older entry reads brings that one with it, as it reads now, and is not kept."""
    if entry.kind in channel.OVERLAYS:
        return Sent(entry.seq, sse.event("entry", presenters.entry_news(entry, older), id=entry.seq))
    key = entry.incident_id, entry.seq
    with _kept_lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    html = presenters.entry_html(entry)
    sent = Sent(entry.seq, sse.event("entry", html, id=entry.seq))
    with _kept_lock:
        _kept[key] = sent
        while len(_kept) > _KEPT_ENTRIES:
            _kept.popitem(last=False)
    return sent


def entries(incident_id: int, after: int, limit: int) -> list[Sent]:
    """The next entries after a seq. They are committed in the order of seq, as each is written under the incident's
    lock, so what is here now has no gap that could be filled later."""
    found = TimelineEntry.objects.filter(incident_id=incident_id, seq__gt=after).order_by("seq")
    rows = list(found.select_related("actor", "incident")[:limit])
    older = channel.changed_by(incident_id, rows)
    return [_render_entry(entry, older) for entry in rows]


def slots(incident_id: int) -> bytes:
    """The parts of the page that follow from the incident's state, alike for all viewers."""
    incident = Incident.objects.select_related("service", "service__team", "commander").get(pk=incident_id)
    html = render_to_string("incidents/_slots.html", presenters.slots_context(incident, timezone.now()))
    return sse.event("slots", html)


# --- what has changed -----------------------------------------------------------------------------


def changed(watched: Collection[int], mark: int | None) -> tuple[int, dict[int, int]]:
    """(new mark, last seq by incident) of the watched incidents and of all that have entries after `mark`.

    Ids are given out before they are committed, so some entries from before the mark are read again; the caller
    knows what it has seen.
    """
    found = dict(Incident.objects.filter(pk__in=watched).values_list("pk", "last_seq")) if watched else {}
    newest = TimelineEntry.objects.aggregate(newest=Max("pk"))["newest"] or 0
    if mark is not None and newest != mark:
        rows = TimelineEntry.objects.filter(pk__gt=mark - _LATE_COMMITS).order_by().values_list("incident_id")
        found = dict(rows.annotate(Max("seq"))) | found
    return newest, found


@dataclass(frozen=True)
class Call:
    """A page that waits for its recipient's answer."""

    page_id: int
    user_id: int
    data: bytes


def waiting_calls(
    user_ids: Collection[int], incident_ids: Collection[int] | None, since: datetime | None = None
) -> list[Call]:
    """Pages of these people that wait. `incident_ids`: of these incidents only; `since`: paged after that."""
    pages = Page.objects.filter(status=PageStatus.PAGING).select_related("incident")
    if incident_ids is None:
        pages = pages.filter(recipient_id__in=user_ids)
    else:
        # Few pages wait for an answer, many people may look: the people are compared here.
        pages = pages.filter(incident_id__in=incident_ids)
    if since is not None:
        pages = pages.filter(paged_at__gt=since)
    return [
        Call(
            page_id=page.pk,
            user_id=page.recipient_id,
            data=sse.event_json(
                "page",
                {
                    "page": page.pk,
                    "incident": page.incident_id,
                    "ref": page.incident.ref,
                    "severity": page.incident.severity,
                    "title": page.incident.title,
                    "drill": page.incident.is_drill,
                    "reason": page.reason,
                    "answer_by": page.answer_by.isoformat() if page.answer_by else None,
                    "url": reverse("incidents:detail", args=[page.incident_id]),
                },
            ),
        )
        for page in pages.order_by("pk")
        if page.recipient_id in user_ids
    ]
