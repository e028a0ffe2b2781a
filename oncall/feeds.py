"""Shifts as iCalendar, at a secret address that can be taken back."""

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db import transaction
from icalendar import Calendar, Event

from accounts.models import Role, User, digest
from accounts.permissions import at_least, who_may
from accounts.transitions import audit
from core.errors import Missing, NotAllowed
from oncall import queries, rules
from oncall.models import CalendarFeed, Schedule
from oncall.rules import Run

PREFIX = "cal_"
BEHIND = timedelta(days=31)
AHEAD = timedelta(days=397)  # twelve months are in it on every day of a month
# Shifts that begin before what is shown keep their true start, so that they keep their identity, if it is not older.
LOOKBACK = timedelta(days=120)


@transaction.atomic
def make_feed(*, owner: User, schedule: Schedule | None, now: datetime) -> tuple[CalendarFeed, str]:
    """The feed and its secret, which cannot be shown again. One that the owner had of the same is revoked: so this is
    also how a secret is replaced."""
    if not at_least(owner, Role.VIEWER):
        raise NotAllowed(who_may(Role.VIEWER))
    User.objects.select_for_update(no_key=True).get(pk=owner.pk)
    CalendarFeed.objects.filter(owner=owner, schedule=schedule, revoked_at=None).update(revoked_at=now)
    secret = PREFIX + secrets.token_urlsafe(32)
    feed = CalendarFeed.objects.create(
        owner=owner, schedule=schedule, digest=digest(secret), hint=secret[:8], created_at=now
    )
    audit(
        action="calendar_feed_created", text=f"made the calendar address {feed}", actor=owner, subject=owner, at=now,
        feed=feed.pk,
    )  # fmt: skip
    return feed, secret


@transaction.atomic
def revoke_feed(*, feed_id: int, by: User, now: datetime) -> CalendarFeed:
    """Its owner, or an admin. Revoking again changes nothing."""
    feeds = CalendarFeed.objects.select_for_update(of=("self",), no_key=True).select_related(
        "owner", "schedule"
    )
    if not at_least(by, Role.ADMIN):
        feeds = feeds.filter(owner=by)
    feed = feeds.filter(pk=feed_id).first()
    if feed is None:
        raise Missing("There is no such calendar address.")
    if feed.revoked_at is None:
        feed.revoked_at = now
        feed.save(update_fields=["revoked_at"])
        audit(
            action="calendar_feed_revoked", text=f"revoked the calendar address {feed}", actor=by,
            subject=feed.owner, at=now, feed=feed.pk,
        )  # fmt: skip
    return feed


def open_feed(secret: str, *, now: datetime) -> CalendarFeed:
    """The feed of this secret. Raises Missing for any other: whoever guesses learns nothing."""
    feed = (
        CalendarFeed.objects.filter(digest=digest(secret), revoked_at=None, owner__is_active=True)
        .select_related("owner", "schedule")
        .first()
    )
    if feed is None:
        raise Missing("There is no such calendar.")
    if feed.last_used_at is None or now - feed.last_used_at > timedelta(minutes=15):
        CalendarFeed.objects.filter(pk=feed.pk).update(last_used_at=now)
    return feed


def render(feed: CalendarFeed, *, now: datetime, base_url: str) -> bytes:
    """The same bytes all day while nothing changes."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    shown_from, end = today - BEHIND, today + AHEAD
    host = hashlib.sha256(base_url.encode()).hexdigest()[:12]
    calendar = Calendar()
    calendar.add("prodid", "-//Muster//On call//EN")
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("method", "PUBLISH")
    name = f"On call: {feed.schedule}" if feed.schedule else f"On call: {feed.owner}"
    calendar.add("x-wr-calname", name)
    calendar.add("refresh-interval", timedelta(hours=1), parameters={"value": "DURATION"})
    calendar.add("x-published-ttl", "PT1H")
    schedules = [feed.schedule] if feed.schedule else queries.schedules_of(feed.owner, shown_from)
    loaded = queries.load(
        [schedule.pk for schedule in schedules], start=shown_from - LOOKBACK, end=end, past=True
    )
    for schedule in schedules:
        mine = loaded.get(schedule.pk)
        if mine is None:
            continue
        start = shown_from - LOOKBACK
        kinds: Iterable[tuple[str, list[Run]]] = (
            ("", rules.runs(rules.shifts(mine.data, start, end))),
            ("shadow", rules.runs(rules.shadow_shifts(mine.data, start, end))),
        )
        for kind, runs in kinds:
            for run in runs:
                if run.ends_at <= shown_from or (feed.schedule is None and run.user != feed.owner_id):
                    continue
                event = Event()
                # One that began before the look begins has no start to be known by.
                since = "ever" if run.starts_at == start else f"{run.starts_at:%Y%m%dT%H%M%SZ}"
                event.add("uid", f"{schedule.pk}-{run.user}-{since}{kind}@{host}.muster")
                event.add("dtstamp", today)
                event.add("dtstart", run.starts_at.astimezone(UTC))
                event.add("dtend", run.ends_at.astimezone(UTC))
                event.add("summary", _summary(schedule, mine.people[run.user], feed, kind))
                event.add("url", f"{base_url}/schedules/{schedule.slug}/")
                event.add("transp", "TRANSPARENT")
                calendar.add_component(event)
    return calendar.to_ical()


def _summary(schedule: Schedule, user: User, feed: CalendarFeed, kind: str) -> str:
    what = "Shadowing" if kind else "On call"
    return f"{what}: {schedule}" if feed.schedule is None else f"{what}: {user} ({schedule})"
