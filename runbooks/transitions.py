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
from core.words import duration
from incidents import timeline
from incidents.models import Incident, Kind
from incidents.transitions import clean_text, lock_incident
from runbooks import rules
from runbooks.models import OutageClass, Runbook, Use, Version, VersionStatus

RESERVED = {"new", "incidents", "services"}  # addresses that are pages
MOST_TAGS = 20
MOST_SERVICES = 100


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
    _write_head(runbook, data)
    _write_draft(runbook, data, by=by, now=now)
    return runbook


@transaction.atomic
def save_draft(
    *, runbook_id: int, data: RunbookData, by: User, now: datetime, read_at: datetime | None = None
) -> Version:
    """The text becomes the draft, and the head takes effect at once. The published text stays what it is.

    `read_at`: `saved_at` of the draft that was edited. Raises Refused `changed_meanwhile` when another was saved since.
    """
    _check(data)
    runbook = _lock(runbook_id)
    draft = runbook.versions.filter(status=VersionStatus.DRAFT).select_related("author").first()
    if draft is not None and draft.saved_at != read_at and draft.text != data.text:
        raise Refused(
            f"{draft.author} saved a draft {duration(now - draft.saved_at)} ago, after you began. Yours is not saved yet: it "
            "stays in this form. Read theirs, then save again.",
            code="changed_meanwhile",
        )
    _write_head(runbook, data)
    return _write_draft(runbook, data, by=by, now=now)


@transaction.atomic
def publish(*, runbook_id: int, number: int, by: User, now: datetime) -> Version:
    """The repository shows this version from now on. By a second person, or by a manager.

    Incidents in which an earlier one is in use keep it.
    """
    runbook = _lock(runbook_id)
    version = runbook.versions.filter(number=number).select_related("author").first()
    if version is None:
        raise Missing(f"{runbook} has no version {number}.")
    if version.status == VersionStatus.PUBLISHED:
        raise Refused(f"Version {number} is published already.")
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
    runbook = Runbook.objects.select_related("published").filter(pk=runbook_id).first()
    if runbook is None:
        raise Missing("There is no such runbook.")
    if runbook.published is None or runbook.archived_at is not None:
        raise Refused(f"{runbook} is not published. Publish it first.", code="not_published")
    incident = lock_incident(incident_id)
    _refuse_when_over(incident)
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
    tags = rules.clean_tags(data.tags)
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


def _write_head(runbook: Runbook, data: RunbookData) -> None:
    runbook.title, runbook.summary = clean_text(data.title).strip(), clean_text(data.summary).strip()
    runbook.outage_class, runbook.team, runbook.tags = (
        data.outage_class,
        data.team,
        rules.clean_tags(data.tags),
    )
    runbook.save()
    runbook.services.set(data.services)


def _write_draft(runbook: Runbook, data: RunbookData, *, by: User, now: datetime) -> Version:
    """Saving what is published already makes no draft, and removes one that was begun."""
    text = clean_text(data.text).replace("\r\n", "\n").strip() + "\n"
    draft = runbook.versions.filter(status=VersionStatus.DRAFT).first()
    if runbook.published is not None and runbook.published.text == text:
        if draft is not None:
            draft.delete()
        return runbook.published
    if draft is None:
        last = runbook.versions.order_by("-number").values_list("number", flat=True).first() or 0
        draft = Version(runbook=runbook, number=last + 1, created_at=now)
    draft.text, draft.why, draft.author, draft.saved_at = text, clean_text(data.why).strip(), by, now
    draft.save()
    return draft
