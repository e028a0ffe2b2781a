"""Reads of the repository, each named for the question it answers."""

from datetime import datetime

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import Case, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When

from core.errors import Missing
from incidents import presenters
from incidents import queries as incident_queries
from incidents.models import Incident
from runbooks.models import Runbook, Use, Version, VersionStatus

CONFIG = "english"  # as in the index of Version; with another one it is not used
MOST_BANNERS = 20


def repository(
    *, search: str = "", outage_class: str = "", team: str = "", service: str = "", tag: str = "", drafts: bool = False,
    published: bool = False, archived: bool = False,
) -> QuerySet[Runbook]:  # fmt: skip
    """Runbooks, archived ones only when asked for, with their draft's number as `draft`. Found by words of the published
    text, by parts of the title, and by tag or service; the title's come first."""
    draft = Version.objects.filter(runbook=OuterRef("pk"), status=VersionStatus.DRAFT).values("number")[:1]
    found = (
        Runbook.objects.select_related("team", "published__published_by")
        .prefetch_related("services")
        .annotate(draft=Subquery(draft, output_field=IntegerField()))
    )
    if search:
        words = Version.objects.annotate(words=SearchVector("text", config=CONFIG)).filter(
            words=SearchQuery(search, config=CONFIG, search_type="websearch")
        )
        by_title = Q(title__icontains=search)
        found = found.filter(
            by_title
            | Q(summary__icontains=search)
            | Q(tags__contains=[search.lower()])
            | Exists(Runbook.services.through.objects.filter(
                runbook=OuterRef("pk"), service__name__icontains=search
            ))
            | Exists(words.filter(pk=OuterRef("published_id")))
        ).annotate(place=Case(When(by_title, then=Value(0)), default=Value(1)))  # fmt: skip
    if not archived:
        found = found.filter(archived_at__isnull=True)
    if outage_class:
        found = found.filter(outage_class=outage_class)
    if team:
        found = found.filter(team__slug=team)
    if service:
        found = found.filter(services__slug=service)
    if tag:
        found = found.filter(tags__contains=[tag.lower()])
    if drafts:
        found = found.filter(draft__isnull=False)
    if published:
        found = found.filter(published__isnull=False)
    return found.order_by(*(["place"] if search else []), "title", "pk")


def runbook_by_slug(slug: str) -> Runbook:
    """Archived ones too: an old incident leads to them. Raises Missing."""
    runbook = (
        Runbook.objects.select_related("team", "published__author", "published__published_by")
        .prefetch_related("services")
        .filter(slug=slug)
        .first()
    )
    if runbook is None:
        raise Missing("There is no such runbook.")
    return runbook


def versions_of(runbook: Runbook) -> QuerySet[Version]:
    return runbook.versions.select_related("author", "published_by").order_by("-number")


def version_of(runbook: Runbook, number: int | None) -> Version | None:
    """That version; without a number the published one, else the draft."""
    if number is not None:
        return versions_of(runbook).filter(number=number).first()
    return runbook.published or versions_of(runbook).first()


def draft_of(runbook: Runbook) -> Version | None:
    return versions_of(runbook).filter(status=VersionStatus.DRAFT).first()


def uses_of(incident: Incident) -> QuerySet[Use]:
    return incident.runbook_uses.select_related("runbook", "version", "attached_by")


def fitting(incident: Incident, *, limit: int = 5) -> QuerySet[Runbook]:
    """Published runbooks of the incident's service that are not at hand yet."""
    return (
        repository(published=True).filter(services=incident.service).exclude(uses__incident=incident)[:limit]
    )


def named(text: str, *, limit: int = 4) -> list[Runbook]:
    """Published runbooks that these words may mean: the address, the title, or all those that are found."""
    words = text.strip()
    one = repository(published=True).filter(Q(slug=words.lower()) | Q(title__iexact=words))[:2]
    return list(one) if len(one) == 1 else list(repository(search=words, published=True)[:limit])


def banners(runbook: Runbook, now: datetime) -> list[presenters.Banner]:
    """What is open where this runbook is at hand, then what else is open on its services. Two queries."""
    at_hand = Exists(Use.objects.filter(runbook=runbook, incident=OuterRef("pk")))
    rows = (
        incident_queries.open_incidents()
        .annotate(at_hand=at_hand)
        .filter(Q(at_hand=True) | Q(service__in=runbook.services.all()))
        .order_by("-at_hand", "severity", "-pk")
        .prefetch_related("phase_stamps")
    )
    return [presenters.banner(incident, now) for incident in rows[:MOST_BANNERS]]
