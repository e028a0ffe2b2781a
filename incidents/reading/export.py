"""An incident's transcript as Markdown and as JSON. What people wrote is shown as they wrote it and read as nothing else."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from core.words import duration
from incidents.api import AlertOut, EntryOut, IncidentOut, PageOut
from incidents.models import Phase, Status, TimelineEntry
from incidents.reading.queries import Transcript
from incidents.reading.rules import fenced, one_line, quoted
from incidents.rules import drill_mark

FORMAT = "muster.transcript/1"


# --- JSON -----------------------------------------------------------------------------------------------------------


def as_json(transcript: Transcript, *, now: datetime) -> Iterator[str]:
    """The pieces of one JSON object. Entries have the shape of the API; their hashes can be computed again."""
    yield "{"
    for name, value in _head(transcript, now=now).items():
        yield f"{json.dumps(name)}:{_dump(value)},"
    yield '"timeline":['
    shape = EntryOut()
    for number, entry in enumerate(transcript.entries):
        yield f"{',' if number else ''}{_dump(shape.to_representation(entry))}"
    yield "]}"


def _dump(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, separators=(",", ":"), ensure_ascii=False)


def _head(transcript: Transcript, *, now: datetime) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "exported_at": now,
        "verified": transcript.verified,
        "wrong": transcript.wrong[:100],
        "incident": IncidentOut(transcript.incident).data,
        "phases": [{"phase": stamp.phase, "at": stamp.at} for stamp in transcript.stamps],
        "roles": [
            {
                "role": held.role,
                "field": held.field,
                "user": _person(held.user),
                "since": held.since,
                "ended_at": held.ended_at,
                "via": held.via,
            }
            for held in transcript.roles
        ],
        "updates": [
            {
                "seq": update.seq,
                "at": update.at,
                "author": _person(update.author),
                "author_name": update.author_name,
                "impact": update.impact,
                "action": update.action,
                "next_update_at": update.next_update_at,
            }
            for update in transcript.updates
        ],
        "tasks": [
            {
                "number": task.number,
                "title": task.title,
                "status": task.status,
                "assignee": _person(task.assignee),
                "due_at": task.due_at,
                "created_by": _person(task.created_by),
                "created_at": task.created_at,
                "done_by": _person(task.done_by),
                "done_at": task.done_at,
            }
            for task in transcript.tasks
        ],
        "alerts": AlertOut(transcript.alerts, many=True).data,
        "pages": PageOut(transcript.pages, many=True).data,
        "attachments": [
            {
                "seq": attachment.seq,
                "name": attachment.name,
                "content_type": attachment.content_type,
                "size": attachment.size,
                "sha256": attachment.blob_id,
                "uploaded_by": _person(attachment.uploaded_by),
                "uploaded_at": attachment.uploaded_at,
            }
            for attachment in transcript.attachments
        ],
        "amended": [
            {
                "seq": overlay.seq,
                "text": overlay.text or None,
                "amended_at": overlay.amended_at,
                "amended_by": _person(overlay.amended_by),
                "pinned": overlay.pinned_at is not None,
                "starred": overlay.starred_at is not None,
            }
            for overlay in transcript.overlays.values()
        ],
    }


def _person(user: Any) -> dict[str, Any] | None:
    return {"id": user.pk, "username": user.username, "name": str(user)} if user else None


# --- Markdown -------------------------------------------------------------------------------------------------------


def as_markdown(transcript: Transcript, *, now: datetime) -> Iterator[str]:
    """Lines of Markdown, each with its end. All times are UTC."""
    for line in _lines(transcript, now=now):
        yield line + "\n"


def _lines(transcript: Transcript, *, now: datetime) -> Iterator[str]:
    incident = transcript.incident
    yield f"# {incident.ref} {drill_mark(incident.is_drill)}{one_line(incident.title)}"
    yield ""
    yield f"- Severity: SEV{incident.severity}"
    yield f"- Status: {Status(incident.status).label}, phase {Phase(incident.phase).label}"
    yield f"- Service: {one_line(incident.service.name)}"
    yield f"- Impact: {one_line(incident.impact) or 'not said'}"
    yield f"- Commander: {one_line(str(incident.commander)) if incident.commander else 'nobody'}"
    yield f"- Opened: {_at(incident.triggered_at)}"
    for name in ("acknowledged", "contained", "resolved"):
        at, by = getattr(incident, f"{name}_at"), getattr(incident, f"{name}_by")
        if at is not None:
            who = f" by {one_line(str(by))}" if by else ""
            yield f"- {name.capitalize()}: {_at(at)}{who}, after {duration(at - incident.triggered_at)}"
    whole = (
        "whole, every entry follows from the one before" if transcript.verified else "NOT whole, see below"
    )
    yield f"- Timeline: {len(transcript.entries)} entries, {whole}"
    yield f"- Exported: {_at(now)}"
    if transcript.wrong:
        yield from _section("What is wrong with the timeline", transcript.wrong[:100], one_line)
    yield from _section(
        "Phases", transcript.stamps, lambda stamp: f"{_at(stamp.at)} {Phase(stamp.phase).label}"
    )
    yield from _section("Roles", transcript.roles, _role)
    yield from _blocks("Updates to stakeholders", transcript.updates, _update)
    yield from _section("Tasks", transcript.tasks, _task)
    yield from _section("Alerts", transcript.alerts, _alert)
    yield from _section("Pages", transcript.pages, _page)
    yield from _section("Attachments", transcript.attachments, _attachment)
    yield from _blocks("Timeline", transcript.entries, lambda entry: _entry(entry, transcript))


def _section(title: str, rows: list[Any], say: Callable[[Any], str]) -> Iterator[str]:
    if not rows:
        return
    yield from ("", f"## {title}", "")
    for row in rows:
        yield f"- {say(row)}"


def _blocks(title: str, rows: list[Any], say: Callable[[Any], Iterator[str]]) -> Iterator[str]:
    if not rows:
        return
    yield from ("", f"## {title}", "")
    for row in rows:
        yield from say(row)


def _at(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if at else "never"


def _name(person: Model | None) -> str:
    return one_line(str(person)) if person else "nobody"


def _role(held: Any) -> str:
    what = f"{held.get_role_display()}{f', {one_line(held.field)}' if held.field else ''}"
    until = f" until {_at(held.ended_at)}" if held.ended_at else ""
    return f"{what}: {_name(held.user)}, since {_at(held.since)}{until}"


def _update(update: Any) -> Iterator[str]:
    promised = f", next one promised for {_at(update.next_update_at)}" if update.next_update_at else ""
    yield f"- **{_at(update.at)}** {one_line(update.author_name)}: {one_line(update.impact)}{promised}"
    if update.action:
        yield from ("", fenced(update.action, indent="  "), "")


def _task(task: Any) -> str:
    done = {"open": " ", "done": "x"}.get(task.status)
    box = f"[{done}] " if done else "[ ] dropped: "
    due = f", due {_at(task.due_at)}" if task.due_at and task.status == "open" else ""
    ended = f", done {_at(task.done_at)} by {_name(task.done_by)}" if task.done_at else ""
    return f"{box}{task.number}. {one_line(task.title)} ({_name(task.assignee)}{due}{ended})"


def _alert(alert: Any) -> str:
    cleared = f", cleared {_at(alert.resolved_at)}" if alert.resolved_at else ", still firing"
    times = f", {alert.count} times" if alert.count > 1 else ""
    source = f" from {one_line(alert.source)}" if alert.source else ""
    return f"{_at(alert.first_seen_at)} {one_line(alert.title)}{source} ({one_line(alert.severity)}{times}{cleared})"


def _page(page: Any) -> str:
    ended = f" {_at(page.ended_at)}" if page.ended_at else ""
    return (
        f"{_at(page.paged_at)} {_name(page.recipient)}: {page.get_status_display().lower()}{ended} "
        f"({one_line(page.reason)})"
    )


def _attachment(attachment: Any) -> str:
    return (
        f"{one_line(attachment.name)}, {one_line(attachment.content_type)}, {attachment.size} bytes, "
        f"entry {attachment.seq}, SHA-256 {attachment.blob_id}"
    )


def _entry(entry: TimelineEntry, transcript: Transcript) -> Iterator[str]:
    overlay = transcript.overlays.get(entry.seq)
    later = " (amended later)" if overlay is not None and overlay.text else ""
    pinned = " (pinned)" if overlay is not None and overlay.pinned_at else ""
    line, block = quoted(entry.text, indent="  ")
    said = f" {line}" if line else ""
    yield f"- **{_at(entry.at)}** ({entry.seq}) {one_line(entry.actor_name)}:{said}{later}{pinned}"
    if block:
        yield from ("", block, "")
