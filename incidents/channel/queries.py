"""Reads of the channel: how entries read now, what is pinned, whom a name means."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Lower

from accounts.models import User
from incidents.channel import render, rules
from incidents.models import Attachment, EntryOverlay, Incident, Kind, TimelineEntry

SHOWN_PINS = 3

WITH_WORDS = (Kind.NOTE, Kind.DECISION, Kind.UPDATE_POSTED)
"""Entries that are somebody's words: they can be answered, and show what can be done with them."""
AMENDABLE = (Kind.NOTE, Kind.DECISION)
OVERLAYS = (Kind.AMENDED, Kind.MARKED)
"""Entries that change how an older one reads; `data["of"]` is its seq."""


def overlay_of(entry: TimelineEntry) -> EntryOverlay | None:
    """How the entry reads now, where it was read together with that (`select_related("overlay")`); never asks."""
    return entry.overlay if TimelineEntry.overlay.is_cached(entry) and _has_overlay(entry) else None


def _has_overlay(entry: TimelineEntry) -> bool:
    return TimelineEntry.overlay.related.get_cached_value(entry) is not None


def words_of(entry: TimelineEntry) -> str:
    """The entry's text as it reads now."""
    overlay = overlay_of(entry)
    return overlay.text if overlay is not None and overlay.text else entry.text


def entry(incident_id: int, seq: int) -> TimelineEntry | None:
    """One entry as it reads now."""
    found = TimelineEntry.objects.filter(incident_id=incident_id, seq=seq)
    return found.select_related("actor", "overlay__amended_by").first()


def changed_by(incident_id: int, entries: Iterable[TimelineEntry]) -> dict[int, TimelineEntry]:
    """The older entries that these are about (amended, pinned, starred), by seq, as they read now. One query or none."""
    seqs = {entry.data.get("of") for entry in entries if entry.kind in OVERLAYS}
    if not seqs:
        return {}
    found = TimelineEntry.objects.filter(incident_id=incident_id, seq__in=[seq for seq in seqs if seq])
    return {row.seq: row for row in found.select_related("actor", "overlay")}


def versions(incident_id: int, seq: int) -> list[TimelineEntry]:
    """The amendments of an entry, oldest first."""
    found = TimelineEntry.objects.filter(incident_id=incident_id, kind=Kind.AMENDED, data__of=seq)
    return list(found.select_related("actor").order_by("seq"))


def answers(incident_id: int, seq: int, *, limit: int) -> list[TimelineEntry]:
    """The replies to an entry, oldest first."""
    found = TimelineEntry.objects.filter(incident_id=incident_id, kind=Kind.NOTE, data__reply_to=seq)
    return list(found.select_related("actor", "overlay").order_by("seq")[:limit])


def pinned(incident_id: int, limit: int = SHOWN_PINS) -> list[EntryOverlay]:
    """What is pinned, the latest pin first."""
    found = EntryOverlay.objects.filter(incident_id=incident_id, pinned_at__isnull=False)
    return list(found.select_related("entry__actor").order_by("-pinned_at", "-seq")[:limit])


def room_context(incident: Incident, now: datetime) -> dict[str, object]:
    """What the shared parts of the room show of this. The same for every viewer."""
    known = [
        {
            "seq": pin.seq,
            "at": pin.amended_at or pin.entry.at,
            "who": pin.entry.actor.get_short_name() if pin.entry.actor else pin.entry.actor_name,
            "words": render.say(rules.excerpt(words_of(pin.entry), 400), people_in(pin.entry)),
        }
        for pin in pinned(incident.pk)
    ]
    return {"known": known}


def people_in(entry: TimelineEntry) -> dict[str, int]:
    """Ids of whom the entry mentions as it reads now, by lower-case username."""
    overlay = overlay_of(entry)
    amended = overlay is not None and overlay.text
    found = (overlay.mentions if amended else entry.data.get("mentions")) or []
    return {str(one.get("user", "")).lower(): int(one["id"]) for one in found if "id" in one}


def mentionable() -> QuerySet[User]:
    return User.objects.filter(is_active=True, is_bot=False)


def people_named(usernames: Iterable[str]) -> list[User]:
    """The active people of these lower-case usernames, in their order."""
    wanted = list(usernames)
    if not wanted:
        return []
    found = mentionable().annotate(called=Lower("username")).filter(called__in=wanted)
    return sorted(found, key=lambda person: wanted.index(person.called))


def people_matching(prefix: str, limit: int = 8) -> list[User]:
    """Whose username or a word of whose name begins so."""
    prefix = prefix.strip()
    wanted = Q(username__istartswith=prefix) | Q(full_name__istartswith=prefix)
    if prefix:
        wanted |= Q(full_name__icontains=f" {prefix}")
    return list(mentionable().filter(wanted).order_by("full_name", "pk")[:limit])


def stored_bytes(incident_id: int) -> int:
    return Attachment.objects.filter(incident_id=incident_id).aggregate(total=Sum("size"))["total"] or 0


def attachment(incident_id: int, pk: int) -> Attachment | None:
    return Attachment.objects.filter(incident_id=incident_id, pk=pk).first()
