"""Writes to the repository, and what brings a runbook into an incident. Each locks first, then looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.models import Team, User
from accounts.permissions import at_least
from catalog.models import Service
from core.errors import Invalid, Missing, NotAllowed, Refused
from core.slugs import free_slug
from core.words import clean_tags, duration
from incidents import timeline
from incidents.models import Incident, Kind
from incidents.transitions import clean_text, lock_incident
from runbooks import rules
from runbooks.models import OutageClass, Runbook, Use, Version, VersionStatus

RESERVED = {"new", "incidents", "services"}  # addresses that are pages
MOST_TAGS = 20
MOST_SERVICES = 100
MOST_AT_HAND = 20


@dataclass(frozen=True)
class RunbookData:
    """A runbook as somebody wants it. `text` is Markdown; see runbooks/rules.py. `why`: what changed."""

    title: str
    text: str
    summary: str = ""
    outage_class: str = OutageClass.OTHER
    team: Team | None = None
    services: Sequence[Service] = ()
    tags: Sequence[str] = ()
    why: str = ""


@transaction.atomic
def create_runbook(*, data: RunbookData, by: User, now: datetime) -> Runbook:
    """With its first draft. Raises Invalid."""
    _check(data)
    runbook = Runbook(slug=free_slug(Runbook, data.title, kind="runbook", reserved=RESERVED), created_at=now)
    _write_head(runbook, data, now=now)
    _write_draft(runbook, data, by=by, now=now)
    return runbook


@transaction.atomic
def save_draft(
    *, runbook_id: int, data: RunbookData, by: User, now: datetime, read_at: datetime | None = None
) -> Version:
    """The text becomes the draft, and the head takes effect at once. The published text stays what it is.

    `read_at`: `saved_at` of the runbook that was edited; without it only a draft of somebody else is in the way. Raises
    Refused `changed_meanwhile`. The same again changes nothing.
    """
    _check(data)
    runbook = _lock(runbook_id)
    newest = runbook.versions.select_related("author").order_by("-number")[0]
    if _says_this(runbook, newest, data):
        return newest
    is_draft_of_another = newest.status == VersionStatus.DRAFT and newest.author != by
    if is_draft_of_another if read_at is None else read_at != runbook.saved_at:
        raise Refused(
            f"It was saved {duration(now - runbook.saved_at)} ago, after you began; {newest.author} wrote version "
            f"{newest.number}. Yours is not saved yet: it stays in this form. Read theirs, then save again.",
            code="changed_meanwhile",
        )
    _write_head(runbook, data, now=now)
    return _write_draft(runbook, data, by=by, now=now)


@transaction.atomic
def publish(
    *, runbook_id: int, number: int, by: User, now: datetime, read_at: datetime | None = None
) -> Version:
    """The repository shows this version from now on. By a second person, or by a manager.

    Incidents in which an earlier one is in use keep it. `read_at`: `saved_at` of the version that was read; Refused
    `changed_meanwhile` when it says something else by now.
    """
    runbook = _lock(runbook_id)
    version = runbook.versions.filter(number=number).select_related("author", "published_by").first()
    if version is None:
        raise Missing(f"{runbook} has no version {number}.")
    if version.status == VersionStatus.PUBLISHED:
        ago = duration(now - version.published_at)
        raise Refused(
            f"{version.published_by} published version {number} {ago} ago.", code="already_published"
        )
    if read_at is not None and read_at != version.saved_at:
        raise Refused(
            f"{version.author} changed this draft {duration(now - version.saved_at)} ago, after you opened it. Nothing was "
            "published. Read it again, then publish it.",
            code="changed_meanwhile",
        )
    if version.author == by and not at_least(by, "manager"):
        raise NotAllowed("A second person publishes what you wrote: any other responder, or a manager.")
    version.status, version.published_by, version.published_at = VersionStatus.PUBLISHED, by, now
    version.save(update_fields=["status", "published_by", "published_at"])
    runbook.published, runbook.archived_at = version, None
    runbook.save(update_fields=["published", "archived_at"])
    return version


@transaction.atomic
def archive(*, runbook_id: int, by: User, now: datetime) -> Runbook:
    """It is no longer offered; where it was used it can still be read. Archiving again changes nothing."""
    if not at_least(by, "manager"):
        raise NotAllowed("Managers and admins may archive a runbook.")
    runbook = _lock(runbook_id)
    if runbook.archived_at is None:
        runbook.archived_at = now
        runbook.save(update_fields=["archived_at"])
    return runbook


@transaction.atomic
def attach(*, incident_id: int, runbook_id: int, by: User, now: datetime) -> Use:
    """Bring the published version into the room. Attaching what is there changes nothing."""
    incident = lock_incident(incident_id)
    runbook = _lock(runbook_id)
    if runbook.published is None or runbook.archived_at is not None:
        raise Refused(f"{runbook} is not published. Publish it first.", code="not_published")
    _refuse_when_over(incident)
    if incident.runbook_uses.exclude(runbook=runbook).count() >= MOST_AT_HAND:
        raise Refused(f"{MOST_AT_HAND} runbooks are at hand. Lay one aside first.", code="too_many")
    use, is_new = Use.objects.get_or_create(
        incident=incident, runbook=runbook,
        defaults={"version": runbook.published, "attached_by": by, "attached_at": now},
    )  # fmt: skip
    if is_new:
        number = runbook.published.number
        timeline.record(
            incident, Kind.RUNBOOK, at=now, actor=by, text=f"took up the runbook {runbook}, version {number}",
            data={"runbook": runbook.pk, "slug": runbook.slug, "version": number, "change": "attached"},
        )  # fmt: skip
    return use


@transaction.atomic
def detach(*, incident_id: int, runbook_id: int, by: User, now: datetime) -> None:
    """It was the wrong one. What is not there is not an error."""
    incident = lock_incident(incident_id)
    use = incident.runbook_uses.filter(runbook=runbook_id).select_related("runbook").first()
    if use is None:
        return
    _refuse_when_over(incident)
    runbook = use.runbook
    use.delete()
    timeline.record(
        incident, Kind.RUNBOOK, at=now, actor=by, text=f"laid the runbook {runbook} aside",
        data={"runbook": runbook.pk, "slug": runbook.slug, "change": "detached"},
    )  # fmt: skip


# --- shared -----------------------------------------------------------------------------------------


def _lock(runbook_id: int) -> Runbook:
    runbook = Runbook.objects.select_for_update(no_key=True).filter(pk=runbook_id).first()
    if runbook is None:
        raise Missing("There is no such runbook.")
    return runbook


def _refuse_when_over(incident: Incident) -> None:
    if not incident.is_open:
        raise Refused(f"{incident.ref} is over. Reopen it first.", code="resolved")


def _check(data: RunbookData) -> None:
    wrong: dict[str, list[str]] = {}
    if not data.title.strip():
        wrong["title"] = ["Give the runbook a title."]
    elif len(data.title) > 160:
        wrong["title"] = ["At most 160 characters."]
    if len(data.summary) > 300:
        wrong["summary"] = ["At most 300 characters."]
    if len(data.why) > 300:
        wrong["why"] = ["At most 300 characters."]
    if data.outage_class not in OutageClass.values:
        wrong["outage_class"] = [f"One of {', '.join(OutageClass.values)}."]
    tags = clean_tags(data.tags)
    if len(tags) > MOST_TAGS:
        wrong["tags"] = [f"At most {MOST_TAGS} tags."]
    elif any(len(tag) > 40 for tag in tags):
        wrong["tags"] = ["At most 40 characters for a tag."]
    if len(data.services) > MOST_SERVICES:
        wrong["services"] = [f"At most {MOST_SERVICES} services."]
    if found := rules.faults(data.text):
        wrong["text"] = found
    if wrong:
        raise Invalid("The runbook was not saved.", fields=wrong)


def _text(data: RunbookData) -> str:
    return clean_text(data.text).replace("\r\n", "\n").strip() + "\n"


def _says_this(runbook: Runbook, version: Version, data: RunbookData) -> bool:
    now = (runbook.title, runbook.summary, runbook.outage_class, runbook.team_id, runbook.tags)
    wanted = (
        clean_text(data.title).strip(), clean_text(data.summary).strip(), data.outage_class,
        data.team.pk if data.team else None, clean_tags(data.tags),
    )  # fmt: skip
    services = set(runbook.services.values_list("pk", flat=True))
    same_head = now == wanted and services == {service.pk for service in data.services}
    why = version.why if version.status == VersionStatus.PUBLISHED else clean_text(data.why).strip()
    return same_head and (version.text, version.why) == (_text(data), why)


def _write_head(runbook: Runbook, data: RunbookData, *, now: datetime) -> None:
    runbook.saved_at = now
    runbook.title, runbook.summary = clean_text(data.title).strip(), clean_text(data.summary).strip()
    runbook.outage_class, runbook.team, runbook.tags = (
        data.outage_class,
        data.team,
        clean_tags(data.tags),
    )
    runbook.save()
    runbook.services.set(data.services)


def _write_draft(runbook: Runbook, data: RunbookData, *, by: User, now: datetime) -> Version:
    """Saving what is published already makes no draft, and removes one that was begun.

    Who leaves the text of a draft as it is has not written it: its author still needs a second person to publish it.
    """
    text = _text(data)
    draft = runbook.versions.filter(status=VersionStatus.DRAFT).first()
    if runbook.published is not None and runbook.published.text == text:
        if draft is not None:
            draft.delete()
        return runbook.published
    if draft is None:
        last = runbook.versions.order_by("-number").values_list("number", flat=True).first() or 0
        draft = Version(runbook=runbook, number=last + 1, created_at=now)
    draft.why = clean_text(data.why).strip()
    if draft.text != text:
        draft.text, draft.author, draft.saved_at = text, by, now
    draft.save()
    return draft
