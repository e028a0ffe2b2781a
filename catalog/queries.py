"""Reads of the service catalogue, each named for the question it answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from catalog import readiness, rules
from catalog.models import Dependency, Service, Slo
from catalog.readiness import Check
from core.errors import Missing


def _count(rows: QuerySet, of: str) -> Coalesce:
    """How many of `rows` name the service in their column `of`. A subquery, since two joins would multiply."""
    counted = (
        rows.filter(**{of: OuterRef("pk")})
        .order_by()
        .values(of)
        .annotate(number=Count("pk"))
        .values("number")
    )
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def service_list(
    *, search: str = "", criticality: int | None = None, team: str = "", tag: str = "", gap: str = ""
) -> QuerySet[Service]:
    """With owner, responders, gaps and counts, in one query. `gap` is a check's code, or "any"."""
    found = Service.objects.select_related("team", "primary_responder", "secondary_responder")
    if search:
        found = found.filter(
            Q(name__icontains=search)
            | Q(description__icontains=search)
            | Q(team__name__icontains=search)
            | Q(tags__contains=[search.lower()])
        )
    if criticality is not None:
        found = found.filter(criticality=criticality)
    if team:
        found = found.filter(team__slug=team)
    if tag:
        found = found.filter(tags__contains=[tag.lower()])
    if gap:
        found = found.filter(readiness.any_gap(None if gap == "any" else [gap]))
    return readiness.with_gaps(found).annotate(
        needs_count=_count(Dependency.objects.all(), "service"),
        needed_by_count=_count(Dependency.objects.all(), "depends_on"),
        slo_count=_count(Slo.objects.all(), "service"),
    ).order_by("criticality", "name", "pk")  # fmt: skip


def count_with_gaps() -> int:
    return Service.objects.filter(readiness.any_gap()).count()


def get_service(slug: str) -> Service:
    """With owner, responders and gaps."""
    service = service_list().filter(slug=slug).first()
    if service is None:
        raise Missing("There is no such service.")
    return service


def graph() -> dict[int, set[int]]:
    """All dependencies, as ids."""
    return rules.graph_of(Dependency.objects.values_list("service_id", "depends_on_id"))


@dataclass(frozen=True)
class Affected:
    """A service that does not work well without another one. `via` is None when it needs that one itself."""

    service: Service
    distance: int
    via: Service | None


@dataclass(frozen=True)
class Detail:
    """All that the page of a service shows."""

    service: Service
    gaps: list[Check]
    needs: list[Dependency]
    affected: list[Affected]  # the blast radius, the nearest first
    slos: list[Slo]

    @property
    def direct(self) -> list[Affected]:
        return [item for item in self.affected if item.via is None]

    @property
    def further(self) -> list[Affected]:
        return [item for item in self.affected if item.via is not None]


def detail(slug: str) -> Detail:
    """Five queries, however large the graph."""
    service = get_service(slug)
    return Detail(
        service=service,
        gaps=readiness.gaps_of(service),
        needs=list(
            Dependency.objects.filter(service=service)
            .select_related("depends_on")
            .order_by("depends_on__criticality", "depends_on__name")
        ),
        affected=blast_radius(service),
        slos=list(service.slos.order_by("name")),
    )


def blast_radius(service: Service) -> list[Affected]:
    """Every service that depends on this one, also through others. Two queries."""
    reached = rules.reachable(rules.turned(graph()), service.pk)
    services: Mapping[int, Service] = Service.objects.in_bulk([item.service for item in reached])
    found = [
        Affected(
            services[item.service], item.distance, None if item.via == service.pk else services.get(item.via)
        )
        for item in reached
        if item.service in services
    ]
    return sorted(found, key=lambda item: (item.distance, item.service.criticality, item.service.name))
