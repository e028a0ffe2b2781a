"""Everything that writes to the channel. Each locks the incident first, looks second, and appends one timeline entry.

The timeline never changes: amending, pinning and starring append an entry and update the overlay of the older one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from accounts.models import User
from accounts.permissions import at_least
from core.errors import Invalid, Missing, NotAllowed, Refused
from core.words import duration
from incidents import timeline
from incidents.channel import queries, render, rules
from incidents.models import (
    Attachment,
    AttachmentBlob,
    EntryOverlay,
    Incident,
    Kind,
    TimelineEntry,
)
from incidents.rules import drill_mark
from incidents.transitions import MAX_NOTE, clean_text, lock_incident, topic
from notifications.transitions import notify

MAX_DECISION = 2000
MARKS = {"pin": "pinned", "star": "starred"}


@dataclass(frozen=True)
class Upload:
    """A file as it was sent."""

    name: str
    data: bytes


# --- saying -----------------------------------------------------------------------------------------------------


@transaction.atomic
def say(
    *, incident_id: int, text: str, by: User | None, now: datetime, by_name: str = "", reply_to: int | None = None,
    files: Sequence[Upload] = (), via: str = "",
) -> TimelineEntry:  # fmt: skip
    """A message to the room, also after the end. Whom it mentions is told.

    `by` None: somebody outside, called `by_name`, who came by `via` ("chat:7"). Raises Invalid with the field.
    """
    text = _words(text, limit=MAX_NOTE, needed=not files)
    typed = [_checked(file) for file in files]
    incident = lock_incident(incident_id)
    if typed:
        stored = queries.stored_bytes(incident.pk)
        rules.check_files([len(file.data) for _, file, _ in typed], stored=stored)
    people = _mentioned(text)
    data: dict[str, Any] = {}
    if via:
        data["via"] = via
    if reply_to is not None:
        data |= _reply(incident, reply_to)
    if people:
        data["mentions"] = _names(people)
    if typed:
        data["attachments"] = [_store(incident, *file, by=by, now=now) for file in typed]
    entry = timeline.record(
        incident, Kind.NOTE, at=now, actor=by, actor_name=by_name, data=data,
        text=text or f"attached {', '.join(name for name, _, _ in typed)}",
    )  # fmt: skip
    for person in people:
        if by is None or person.pk != by.pk:
            _tell(incident, entry, person, text=entry.text, by=entry.actor_name, now=now)
    return entry


def _mentioned(text: str) -> list[User]:
    return queries.people_named(render.named(text)[: rules.MENTIONS_PER_MESSAGE])


def _names(people: Sequence[User]) -> list[dict[str, Any]]:
    return [{"id": person.pk, "name": str(person), "user": person.username} for person in people]


@transaction.atomic
def decide(*, incident_id: int, text: str, by: User, now: datetime) -> TimelineEntry:
    """What was decided, framed in the timeline so that it is found later."""
    text = _words(text, limit=MAX_DECISION)
    incident = lock_incident(incident_id)
    data = {"role": "commander"} if incident.commander_id == by.pk else {}
    return timeline.record(incident, Kind.DECISION, at=now, actor=by, text=text, data=data)


def _words(text: str, *, limit: int, needed: bool = True) -> str:
    text = clean_text(text).replace("\r\n", "\n").strip()
    if needed and not text:
        raise Invalid("Write something first.", fields={"text": ["Write something first."]})
    if len(text) > limit:
        sentence = f"At most {limit:,} characters; this has {len(text):,}."
        raise Invalid(sentence, fields={"text": [sentence]})
    return text


def _reply(incident: Incident, seq: int) -> dict[str, Any]:
    answered = queries.entry(incident.pk, seq)
    if answered is None:
        raise Missing(f"{incident.ref} has no entry {seq}.")
    return {
        "reply_to": seq,
        "reply_name": answered.actor_name,
        "reply_text": rules.excerpt(queries.words_of(answered)),
    }


def _tell(
    incident: Incident, entry: TimelineEntry, person: User, *, text: str, by: str, now: datetime
) -> None:
    """`text`: the entry's words as they read now, by whom they are."""
    where = f"{incident.ref}, SEV{incident.severity} {incident.title}"
    notify(
        recipient=person, dedupe_key=f"mention:{incident.pk}:{entry.seq}:{person.pk}", topic=f"{topic(incident)}:talk",
        urgency="low", title=f"{drill_mark(incident.is_drill)}{by} mentioned you in {where}",
        body=rules.excerpt(text, 500), link=f"{reverse('incidents:detail', args=[incident.pk])}#e-{entry.seq}", now=now,
        context={"kind": "mention", "ref": incident.ref, "seq": entry.seq, "drill": incident.is_drill},
    )  # fmt: skip


# --- files ------------------------------------------------------------------------------------------------------


def _checked(file: Upload) -> tuple[str, Upload, str]:
    """(name, file, type), before anything is locked."""
    name = rules.safe_name(file.name)
    rules.check_size(name, len(file.data), megabytes=settings.MUSTER_ATTACHMENT_MB)
    return name, file, rules.type_of(name, file.data)


def _store(
    incident: Incident, name: str, file: Upload, content_type: str, *, by: User | None, now: datetime
) -> dict[str, Any]:
    """The row, and how it stands in the entry that follows: the digest is part of the entry's hash."""
    digest = hashlib.sha256(file.data).hexdigest()
    AttachmentBlob.objects.bulk_create([AttachmentBlob(sha256=digest, data=file.data)], ignore_conflicts=True)
    row = Attachment.objects.create(
        incident=incident, seq=incident.last_seq + 1, name=name, content_type=content_type, size=len(file.data),
        blob_id=digest, uploaded_by=by, uploaded_at=now,
    )  # fmt: skip
    return {"id": row.pk, "name": name, "type": content_type, "bytes": row.size, "sha256": digest}


# --- what lies over an entry ------------------------------------------------------------------------------------


@transaction.atomic
def amend(
    *, incident_id: int, seq: int, text: str, by: User, now: datetime, rev: int | None = None
) -> TimelineEntry:
    """New words for a message or a decision; the first ones stay in the timeline. One's own, or as a manager.

    Whom they mention and the entry has not mentioned so far is told, once however often it is amended.
    `rev`: the version that was read. Raises Refused when somebody has amended it since.
    """
    text = _words(text, limit=MAX_NOTE)
    incident = lock_incident(incident_id)
    entry = _entry(incident, seq)
    if entry.kind not in queries.AMENDABLE:
        raise Refused("Only messages and decisions can be amended.", code="not_amendable")
    if entry.actor_id != by.pk and not at_least(by, "manager"):
        raise NotAllowed(f"{entry.actor_name} wrote this. Its author, managers and admins may amend it.")
    overlay = _overlay(incident, entry)
    if rev is not None and rev != overlay.rev:
        _refuse_when_amended(incident, seq, rev, now=now)
    if entry.kind == Kind.DECISION:
        _words(text, limit=MAX_DECISION)
    if text == queries.words_of(entry):
        return entry
    knew = {*queries.people_in(entry).values(), by.pk}  # of earlier words the key of what is sent knows
    people = _mentioned(text)
    overlay.rev += 1
    overlay.text, overlay.amended_at, overlay.amended_by = text, now, by
    overlay.mentions = _names(people)
    overlay.save()
    data: dict[str, Any] = {"of": seq, "rev": overlay.rev}
    if people:
        data["mentions"] = overlay.mentions
    amended = timeline.record(incident, Kind.AMENDED, at=now, actor=by, text=text, data=data)
    for person in people:
        if person.pk not in knew:
            _tell(incident, entry, person, text=text, by=str(by), now=now)
    return amended


@transaction.atomic
def mark(*, incident_id: int, seq: int, mark: str, on: bool, by: User, now: datetime) -> TimelineEntry:
    """Pin an entry above the feed or star it, or take that back. Already so: nothing happens."""
    if mark not in MARKS:
        raise Invalid("One of pin, star.", fields={"mark": ["One of pin, star."]})
    incident = lock_incident(incident_id)
    entry = _entry(incident, seq)
    if entry.kind in queries.OVERLAYS:
        raise Refused("This entry is about another one. Mark that one.", code="not_markable")
    overlay = _overlay(incident, entry)
    at, by_field = f"{MARKS[mark]}_at", f"{MARKS[mark]}_by"
    if (getattr(overlay, at) is not None) == on:
        return entry
    setattr(overlay, at, now if on else None)
    setattr(overlay, by_field, by if on else None)
    overlay.rev += 1
    overlay.save()
    words = rules.excerpt(queries.words_of(entry), 80)
    done = MARKS[mark] if on else f"un{MARKS[mark]}"
    return timeline.record(
        incident, Kind.MARKED, at=now, actor=by, text=f"{done}: {words}",
        data={"of": seq, "mark": mark, "on": on, "rev": overlay.rev},
    )  # fmt: skip


def _entry(incident: Incident, seq: int) -> TimelineEntry:
    entry = queries.entry(incident.pk, seq)
    if entry is None:
        raise Missing(f"{incident.ref} has no entry {seq}.")
    return entry


def _overlay(incident: Incident, entry: TimelineEntry) -> EntryOverlay:
    return queries.overlay_of(entry) or EntryOverlay(entry=entry, incident=incident, seq=entry.seq)


def _refuse_when_amended(incident: Incident, seq: int, rev: int, *, now: datetime) -> None:
    """Pins and stars count in `rev` too; only other words are in the way."""
    later = [row for row in queries.versions(incident.pk, seq) if row.data.get("rev", 0) > rev]
    if later:
        last = later[-1]
        raise Refused(
            f"{last.actor_name} changed it {duration(now - last.at)} ago. Your text is kept. Read it, then amend again.",
            code="amended_meanwhile",
        )
