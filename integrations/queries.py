from datetime import datetime

from django.db.models import Count, Min, Q, QuerySet

from integrations.models import ChangeEvent, IngestEvent, Integration


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


def integration_list() -> QuerySet[Integration]:
    return Integration.objects.select_related("service").annotate(
        waiting=Count("events", filter=Q(events__due_at__isnull=False))
    )


def ledger(
    *, integration_id: int | None = None, verdict: str = "", dedup_key: str = "", before: int | None = None
) -> QuerySet[IngestEvent]:
    """Newest first. `before`: only rows with a smaller id, to turn the page."""
    found = IngestEvent.objects.select_related("integration", "incident").defer("raw", "payload", "outcomes")
    if integration_id is not None:
        found = found.filter(integration_id=integration_id)
    if verdict:
        found = found.filter(verdict=verdict)
    if dedup_key:
        found = found.filter(dedup_key=dedup_key)
    if before is not None:
        found = found.filter(pk__lt=before)
    return found.order_by("-pk")


def changes_of(service_id: int, *, since: datetime) -> QuerySet[ChangeEvent]:
    """What changed before it broke, newest first."""
    return ChangeEvent.objects.filter(service_id=service_id, occurred_at__gte=since)
