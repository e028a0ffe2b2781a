"""Reads for new alerts, and for the pages about what is held back."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Count, F, Q, QuerySet

from catalog.models import Service
from incidents.grouping import rules
from incidents.models import (
    Alert,
    AlertSettings,
    HeldAlert,
    HeldStatus,
    Incident,
    Maintenance,
    MaintenanceState,
    Merge,
    Status,
)

MOST_COMPARED = 200
COMING = (MaintenanceState.PLANNED, MaintenanceState.ACTIVE)


def settings_of(service: Service) -> AlertSettings:
    """Those that were saved, or the ones with everything off."""
    return AlertSettings.objects.filter(service=service).first() or AlertSettings(service=service)


def plan_of(service: Service, settings: AlertSettings, default: rules.Plan | None = None) -> rules.Plan:
    """`default`: the sender's own, for services that group nothing themselves."""
    plan = rules.Plan(
        mode=settings.grouping,
        minutes=service.grouping_minutes,
        fields=tuple(settings.grouping_fields),
        seconds=settings.grouping_seconds,
    )
    return default if default is not None and plan.does_nothing else plan


def members(service: Service, plan: rules.Plan, *, now: datetime) -> list[rules.Member]:
    """The alerts that a new one is compared with, newest first."""
    found = (
        Alert.objects.filter(
            incident__service=service,
            last_seen_at__gte=now - timedelta(seconds=plan.seconds),
            incident__triggered_at__gte=now - rules.LONGEST_GROUP,
        )
        .exclude(incident__status=Status.RESOLVED)
        .order_by("-last_seen_at", "-pk")
        .values_list("incident_id", "incident__triggered_at", "last_seen_at", "title", "severity", "source", "details")
    )  # fmt: skip
    return [
        rules.Member(
            incident_id=incident, opened_at=opened_at, last_seen_at=seen_at,
            alert={"title": title, "severity": severity, "source": source, "details": details},
        )
        for incident, opened_at, seen_at, title, severity, source, details in found[:MOST_COMPARED]
    ]  # fmt: skip


# --- maintenance -------------------------------------------------------------------------------------------------


def under_way(now: datetime) -> QuerySet[Maintenance]:
    """Where `now` lies inside, whether or not the timer that says so has come round yet."""
    return Maintenance.objects.filter(state__in=COMING, starts_at__lte=now, ends_at__gt=now)


def windows_of(service: Service, *, now: datetime) -> list[rules.Window]:
    rows = under_way(now).filter(services=service).order_by("pk")
    return [
        rules.Window(
            id=row.pk, name=row.name, starts_at=row.starts_at, ends_at=row.ends_at, conditions=row.conditions,
            critical_pierces=row.critical_pierces,
        )
        for row in rows
    ]  # fmt: skip


def maintenance_list(*, state: str = "") -> QuerySet[Maintenance]:
    """What is under way first, then what comes, the latest start first."""
    found = Maintenance.objects.prefetch_related("services").select_related("created_by")
    if state == "open":
        found = found.filter(state__in=COMING)
    elif state:
        found = found.filter(state=state)
    return found.order_by("-pk")


def maintenance(pk: int) -> Maintenance | None:
    return Maintenance.objects.prefetch_related("services").select_related("created_by").filter(pk=pk).first()


def banners(*, now: datetime, service: Service | None = None) -> list[Maintenance]:
    """What is under way, of one service or of all, with its services; the one that ends last comes last."""
    found = under_way(now)
    if service is not None:
        found = found.filter(services=service)
    return list(found.prefetch_related("services").order_by("ends_at", "pk")[:20])


def coming_of(service: Service, *, now: datetime) -> list[Maintenance]:
    return list(
        Maintenance.objects.filter(
            services=service, state=MaintenanceState.PLANNED, starts_at__gt=now
        ).order_by("starts_at")[:5]
    )


# --- held back ---------------------------------------------------------------------------------------------------


def held_of(service: Service, *, limit: int) -> list[HeldAlert]:
    """What fires and pages nobody."""
    found = HeldAlert.objects.filter(service=service, status=HeldStatus.FIRING).select_related("maintenance")
    return list(found.order_by("-last_seen_at", "-pk")[:limit])


def held_list(
    *, service_ids: Iterable[int] = (), status: str = "", maintenance_id: int | None = None
) -> QuerySet[HeldAlert]:
    found = HeldAlert.objects.select_related("service", "maintenance", "incident")
    if service_ids:
        found = found.filter(service_id__in=list(service_ids))
    if status:
        found = found.filter(status=status)
    if maintenance_id is not None:
        found = found.filter(maintenance_id=maintenance_id)
    return found.order_by("-pk")


def held_counts(maintenance: Maintenance) -> dict[str, int]:
    rows = maintenance.held.order_by().values_list("status").annotate(Count("pk"))
    return dict.fromkeys(HeldStatus.values, 0) | dict(rows)


# --- by hand -----------------------------------------------------------------------------------------------------


def merge_of(incident: Incident) -> Merge | None:
    """Where this incident's alerts have gone, unless that was undone."""
    found = Merge.objects.filter(source=incident, whole=True, undone_at__isnull=True)
    return found.select_related("target", "by").first()


def moves_of(incident: Incident) -> QuerySet[Merge]:
    """Merges and splits that touch this incident, newest first."""
    found = Merge.objects.filter(Q(source=incident) | Q(target=incident))
    return found.select_related("source", "target", "by").order_by("-pk")


def could_take(incident: Incident, *, limit: int) -> list[Incident]:
    """Open incidents that this one could be merged into: those of its service first, then the newest."""
    others = Incident.objects.exclude(status=Status.RESOLVED).exclude(pk=incident.pk)
    others = others.filter(is_drill=incident.is_drill).select_related("service")
    same = Q(service_id=incident.service_id)
    return [*others.filter(same).order_by("-pk")[:limit], *others.exclude(same).order_by("-pk")[:limit]][
        :limit
    ]


def helped_last_at(service: Service, *, since: datetime) -> datetime | None:
    """When an incident of the service was last ended within its tier-0 window."""
    return (
        Incident.objects.filter(
            service=service, tier0_until__gte=since, status=Status.RESOLVED, resolved_at__lte=F("tier0_until")
        )
        .order_by("-resolved_at")
        .values_list("resolved_at", flat=True)
        .first()
    )
