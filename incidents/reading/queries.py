"""Reads of whole timelines: the search over all of them, and everything that one incident's transcript holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.postgres.search import SearchHeadline, SearchQuery, SearchVector
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform

from incidents import timeline
from incidents.models import (
    Alert,
    Attachment,
    EntryOverlay,
    Incident,
    Kind,
    Page,
    Phase,
    PhaseStamp,
    RoleHolding,
    Task,
    TimelineEntry,
    Update,
)
from incidents.reading import rules

CONFIG = "english"  # as in the index of TimelineEntry; with another one it is not used


@dataclass(frozen=True)
class Found:
    """An entry with the searched words: `html` is the place where they stand, escaped, the words in <mark>."""

    entry: TimelineEntry
    html: str

    @property
    def about(self) -> int:
        """The seq to look at: an amendment is read where the amended entry stands."""
        of = self.entry.data.get("of")
        shows_another = self.entry.kind in (Kind.AMENDED, Kind.MARKED)
        return of if shows_another and isinstance(of, int) else self.entry.seq

    @property
    def is_old(self) -> bool:
        """Whether these words were changed later."""
        overlay: EntryOverlay | None = getattr(self.entry, "overlay", None)
        return bool(overlay and overlay.text)


def search(
    text: str,
    *,
    incident_id: int | None = None,
    kinds: Sequence[str] = (),
    severity: int | None = None,
    service_id: int | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Found]:
    """Entries of all timelines with these words, newest first: "exact words", or, -without. `before`: an entry's id."""
    wanted = SearchQuery(text, config=CONFIG, search_type="websearch")
    entries = TimelineEntry.objects.annotate(words=SearchVector("text", config=CONFIG)).filter(words=wanted)
    if incident_id is not None:
        entries = entries.filter(incident_id=incident_id)
    if kinds:
        entries = entries.filter(kind__in=kinds)
    if severity is not None:
        entries = entries.filter(incident__severity=severity)
    if service_id is not None:
        entries = entries.filter(incident__service_id=service_id)
    if before is not None:
        entries = entries.filter(pk__lt=before)
    # Of the whole text: a shorter headline would leave out what looks like a tag.
    place = SearchHeadline(
        "text", wanted, config=CONFIG, start_sel=rules.MARK, stop_sel=rules.END_MARK, highlight_all=True
    )
    rows = entries.select_related("incident__service", "actor", "overlay").order_by("-pk")[:limit]
    # The place is looked for in the rows that are shown, not in all that were found.
    places: dict[int, str] = dict(
        TimelineEntry.objects.filter(pk__in=[row.pk for row in rows])
        .annotate(place=place)
        .values_list("pk", "place")
    )
    words = {row.pk: rules.without_fences(places.get(row.pk, row.text)) for row in rows}
    return [Found(entry=row, html=rules.marked(rules.excerpt(words[row.pk]))) for row in rows]


# --- phases ---------------------------------------------------------------------------------------------------------


def stamps(incident_id: int) -> QuerySet[PhaseStamp]:
    """When the phases began; `corrected` says of each whether a person has changed it."""
    corrections = TimelineEntry.objects.filter(incident_id=incident_id, kind=Kind.PHASE_CORRECTED)
    phases = corrections.annotate(about=KeyTextTransform("phase", "data")).values("about")
    corrected = ExpressionWrapper(Q(phase__in=phases), output_field=BooleanField())
    return PhaseStamp.objects.filter(incident_id=incident_id).annotate(corrected=corrected)


# --- the transcript -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transcript:
    """Everything about one incident up to its entry `incident.last_seq`."""

    incident: Incident
    entries: list[TimelineEntry]
    wrong: list[str]
    """What is wrong with the chain of the timeline. Empty: it is whole."""
    stamps: list[PhaseStamp]
    roles: list[RoleHolding]
    updates: list[Update]
    tasks: list[Task]
    alerts: list[Alert]
    pages: list[Page]
    attachments: list[Attachment]
    overlays: dict[int, EntryOverlay]
    """By seq: what was amended, pinned or starred."""

    @property
    def verified(self) -> bool:
        return not self.wrong


def transcript(incident: Incident) -> Transcript:
    """The same few reads, whatever the size. What is written meanwhile is left out."""
    entries = list(
        incident.timeline.filter(seq__lte=incident.last_seq).select_related("actor").order_by("seq")
    )
    order = {phase: number for number, phase in enumerate(Phase.values)}
    return Transcript(
        incident=incident,
        entries=entries,
        wrong=list(timeline.check(incident, entries)),
        stamps=sorted(incident.phase_stamps.all(), key=lambda stamp: order[stamp.phase]),
        roles=list(incident.holdings.select_related("user").order_by("pk")),
        updates=list(incident.updates.select_related("author").order_by("seq")),
        tasks=list(incident.tasks.select_related("assignee", "created_by", "done_by").order_by("number")),
        alerts=list(_oldest_first(incident.alerts.all())),
        pages=list(_oldest_first(incident.pages.select_related("recipient"))),
        attachments=list(incident.attachments.select_related("uploaded_by").order_by("pk")),
        overlays={
            overlay.seq: overlay
            for overlay in EntryOverlay.objects.filter(incident=incident).select_related("amended_by")
        },
    )


def _oldest_first(rows: QuerySet) -> QuerySet:
    return rows.order_by("pk")
