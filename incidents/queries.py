"""Reads of incidents, each named for the question it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from accounts.models import User
from catalog.models import Service
from core.lookups import holds, pk_among
from incidents.models import (
    OPEN_STATUSES,
    Alert,
    AlertStatus,
    Incident,
    Kind,
    Page,
    PagePurpose,
    PageStatus,
    PhaseStamp,
    Status,
    TimelineEntry,
)


@dataclass(frozen=True, kw_only=True)
class IncidentFilter:
    """What to list; an empty field does not restrict."""

    statuses: Sequence[str] = field(default_factory=tuple)
    severities: Sequence[int] = field(default_factory=tuple)
    service_ids: Sequence[int] = field(default_factory=tuple)
    team_ids: Sequence[int] = field(default_factory=tuple)
    dedup_key: str = ""
    text: str = ""
    population: str = ""  # production or drill


def with_people(incidents: QuerySet[Incident]) -> QuerySet[Incident]:
    return incidents.select_related(
        "service__team",
        "commander",
        "acknowledged_by",
        "contained_by",
        "resolved_by",
        "opened_by",
        "snoozed_by",
    )


def incident_list(wanted: IncidentFilter | None = None) -> QuerySet[Incident]:
    """Newest first. Page through it by id; the order is stable."""
    wanted = wanted or IncidentFilter()
    found = with_people(Incident.objects.order_by("-pk"))
    if wanted.statuses:
        found = found.filter(status__in=wanted.statuses)
    if wanted.severities:
        found = found.filter(severity__in=wanted.severities)
    if wanted.service_ids:
        found = found.filter(service_id__in=wanted.service_ids)
    if wanted.team_ids:
        found = found.filter(service__team_id__in=wanted.team_ids)
    if wanted.population:
        found = found.filter(is_drill=wanted.population == "drill")
    if wanted.dedup_key:
        found = found.filter(pk_among(Alert.objects.filter(dedup_key=wanted.dedup_key).values("incident_id")))
    if wanted.text:
        number = wanted.text.upper().removeprefix("INC-")
        by_number = Q(pk=int(number)) if number.isdecimal() and len(number) < 18 else Q()
        found = found.filter(Q(holds("title", wanted.text)) | by_number)
    return found


def open_incidents() -> QuerySet[Incident]:
    """What burns, worst first, then newest."""
    return with_people(Incident.objects.filter(status__in=OPEN_STATUSES).order_by("severity", "-pk"))


def closed_since(since: datetime) -> QuerySet[Incident]:
    return with_people(
        Incident.objects.filter(status=Status.RESOLVED, resolved_at__gte=since).order_by("-resolved_at")
    )


def incident(incident_id: int) -> Incident | None:
    return with_people(Incident.objects.filter(pk=incident_id)).first()


def timeline_after(incident_id: int, seq: int, *, limit: int) -> list[TimelineEntry]:
    """Entries later than `seq`, oldest first."""
    entries = TimelineEntry.objects.filter(incident_id=incident_id, seq__gt=seq)
    entries = entries.select_related("actor", "overlay")
    return list(entries.order_by("seq")[:limit])


def timeline_before(
    incident_id: int, seq: int | None, *, limit: int, only: Q | None = None
) -> list[TimelineEntry]:
    """The `limit` entries before `seq` (None: the last ones), of those that are `only` so, oldest first."""
    entries = TimelineEntry.objects.filter(incident_id=incident_id).select_related("actor", "overlay")
    if seq is not None:
        entries = entries.filter(seq__lt=seq)
    if only:
        entries = entries.filter(only)
    return list(entries.order_by("-seq")[:limit])[::-1]


def entry_counts(incident: Incident) -> dict[str, int]:
    """How many entries there are of each kind."""
    return dict(incident.timeline.order_by().values_list("kind").annotate(Count("pk")))


def entries_before(incident_id: int, seq: int, *, only: Q) -> int:
    """How many entries of those that are `only` so there are before `seq`."""
    return TimelineEntry.objects.filter(only, incident_id=incident_id, seq__lt=seq).count()


def phase_stamps(incident_id: int) -> dict[str, datetime]:
    return dict(PhaseStamp.objects.filter(incident_id=incident_id).values_list("phase", "at"))


def firing_alert_count(incident: Incident) -> int:
    return incident.alerts.filter(status=AlertStatus.FIRING).count()


def alert_counts(incident: Incident) -> dict[str, int]:
    """How many fire and how many have cleared."""
    rows = incident.alerts.order_by().values_list("status").annotate(Count("pk"))
    return dict.fromkeys(AlertStatus.values, 0) | dict(rows)


def alerts_to_show(incident: Incident, *, limit: int) -> list[Alert]:
    """The newest `limit` that fire, then the `limit` that cleared last."""
    firing = incident.alerts.filter(status=AlertStatus.FIRING).order_by("-pk")[:limit]
    cleared = incident.alerts.filter(status=AlertStatus.RESOLVED).order_by("-resolved_at", "-pk")[:limit]
    return [*firing, *cleared]


def changes_of(incident: Incident, *, limit: int) -> list[TimelineEntry]:
    """Changes received while it was open, newest first."""
    return list(incident.timeline.filter(kind=Kind.CHANGE).order_by("-seq")[:limit])


def pages_of(incident: Incident) -> QuerySet[Page]:
    return incident.pages.select_related("recipient").order_by("pk")


def waiting_pages(user: User) -> QuerySet[Page]:
    """What waits for this person's answer, once for each incident: also what was missed, while nobody has answered.

    A role that the person is asked to take waits besides, until it is answered or its time is over.
    """
    later = Page.objects.filter(
        incident=OuterRef("incident"), recipient=user, pk__gt=OuterRef("pk"), purpose=PagePurpose.ANSWER
    )
    unanswered = Q(incident__status=Status.TRIGGERED, purpose=PagePurpose.ANSWER) | Q(
        status=PageStatus.PAGING
    )
    return (
        Page.objects.filter(recipient=user, status__in=[PageStatus.PAGING, PageStatus.MISSED])
        .exclude(Exists(later), purpose=PagePurpose.ANSWER)
        .filter(unanswered)
        .exclude(incident__status=Status.RESOLVED)
        .select_related("incident__service", "role_offer")
        .order_by("incident__severity", "-pk")
    )


def page_history(user: User) -> QuerySet[Page]:
    return Page.objects.filter(recipient=user).select_related("incident__service").order_by("-pk")


def opened_since(service: Service, since: datetime) -> int:
    """How many incidents the service has had since then, whatever became of them."""
    return Incident.objects.filter(service=service, triggered_at__gt=since).count()
