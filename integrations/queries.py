from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, QuerySet

from catalog.models import Dependency
from incidents.models import Incident
from integrations.models import ChangeEvent, IngestEvent, Integration, Verdict


def waiting_inboxes(*, before: datetime) -> list[tuple[int, datetime]]:
    """Integrations with events that were due before, each with since when, longest first."""
    return list(
        IngestEvent.objects.filter(due_at__lt=before, integration_id__isnull=False)
        .order_by()
        .values("integration_id")
        .annotate(since=Min("due_at"))
        .order_by("since")
        .values_list("integration_id", "since")
    )


def integration_list(*, text: str = "", kind: str = "", state: str = "") -> QuerySet[Integration]:
    """By name; `text` narrows by name or service. `state`: on, off (disabled), or silent (on, but nothing ever came)."""
    found = Integration.objects.select_related("service").order_by("name", "pk")
    if text:
        found = found.filter(Q(name__icontains=text) | Q(service__name__icontains=text))
    if kind:
        found = found.filter(kind=kind)
    if state == "off":
        return found.filter(disabled_at__isnull=False)
    if state == "silent":
        return found.filter(disabled_at__isnull=True, last_event_at__isnull=True)
    return found.filter(disabled_at__isnull=True) if state == "on" else found


def waiting_counts() -> dict[int, int]:
    """How many events wait, by integration. Only what waits is looked at, not the ledger."""
    return dict(
        IngestEvent.objects.filter(due_at__isnull=False)
        .order_by()
        .values_list("integration_id")
        .annotate(count=Count("pk"))
    )


UNKNOWN = "unknown"


def ledger(
    *,
    integration: int | str | None = None,
    verdict: str = "",
    dedup_key: str = "",
    incident_id: int | None = None,
    before: int | None = None,
) -> QuerySet[IngestEvent]:
    """Newest first. `integration` may be UNKNOWN: requests whose key nobody has. `before`: only smaller ids."""
    found = IngestEvent.objects.select_related("integration", "incident").defer("raw", "payload", "outcomes")
    if integration == UNKNOWN:
        found = found.filter(integration__isnull=True)
    elif integration is not None:
        found = found.filter(integration_id=integration)
    if verdict == Verdict.PENDING:
        found = found.filter(verdict=verdict, due_at__isnull=False)
    elif verdict == Verdict.REPEATED:
        found = found.filter(verdict=verdict)
    elif verdict:
        found = found.filter(verdict=verdict).exclude(verdict__in=[Verdict.PENDING, Verdict.REPEATED])
    if dedup_key:
        found = found.filter(dedup_key=dedup_key)
    if incident_id is not None:
        found = found.filter(incident_id=incident_id)
    if before is not None:
        found = found.filter(pk__lt=before)
    return found.order_by("-pk")


BEFORE = timedelta(hours=24)


def changes_before(incident: Incident, *, limit: int) -> list[ChangeEvent]:
    """What changed on the service, or on one that it needs, in the day before it broke; the latest first."""
    needed = Dependency.objects.filter(service_id=incident.service_id).values("depends_on_id")
    return list(
        ChangeEvent.objects.filter(Q(service_id=incident.service_id) | Q(service_id__in=needed))
        .filter(occurred_at__gt=incident.triggered_at - BEFORE, occurred_at__lte=incident.triggered_at)
        .select_related("service", "integration")
        .order_by("-occurred_at", "-pk")[:limit]
    )
