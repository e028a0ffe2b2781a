from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, QuerySet

from catalog.models import Dependency
from incidents.models import Alert, Incident
from integrations.adapters import opsgenie
from integrations.models import ChangeEvent, IngestEvent, Integration, Verdict
from integrations.rules import LONGEST_KEY, cut


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


# --- what Opsgenie's clients ask -----------------------------------------------------------------------------------


def key_of_alert(identifier: str, named_by: str, *, integration_id: int) -> str:
    """The dedup_key of what a client names by alias, by tiny id, by alert id, or by the id of the request that made it.

    What is none of ours is taken for an alias.
    """
    origin = f"integration:{integration_id}"
    pk, found = 0, opsgenie.read_id(identifier)
    if named_by == "tiny" and identifier.isascii() and identifier.isdecimal() and len(identifier) < 19:
        pk = int(identifier)
    elif named_by == "id" and found is not None and found[0] == opsgenie.REQUEST:
        event = IngestEvent.objects.filter(pk=found[1], integration_id=integration_id)
        return event.values_list("dedup_key", flat=True).first() or cut(identifier, LONGEST_KEY)
    elif named_by == "id" and found is not None:
        pk = found[1]
    if pk:
        key = Alert.objects.filter(pk=pk, origin=origin).values_list("dedup_key", flat=True).first()
        if key is not None:
            return key
    return cut(identifier, LONGEST_KEY)


def alert_of(dedup_key: str, *, integration_id: int) -> Alert | None:
    """The newest alert of the key."""
    found = Alert.objects.filter(origin=f"integration:{integration_id}", dedup_key=dedup_key)
    return found.select_related("incident").order_by("-pk").first()


_ACTIONS = {"resolve": "Close", "acknowledge": "Acknowledge", "update": "Update", "note": "AddNote"}


def action_of(payload: list[dict]) -> str:
    """What a request's status calls it; a note may come before what it is about."""
    return _ACTIONS.get(payload[-1]["action"], "Update") if payload else "Update"


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
