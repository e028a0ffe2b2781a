"""`/metrics` for Prometheus, read from the database, so that every process tells the same truth."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from config.health import may_read_metrics
from incidents.models import Incident, Status
from integrations.models import IngestEvent
from notifications.models import Delivery, DeliveryStatus
from notifications.queries import provider_states
from timers.models import Firing, Heartbeat, Timer

WINDOW = timedelta(minutes=5)
LATE_MS = (20, 100, 1_000, 10_000, 60_000)


class FromRows:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def collect(self) -> Iterator[Metric]:
        yield from self._incidents()
        yield from self._timers()
        yield from self._work()

    def _incidents(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily(
            "muster_open_incidents", "Incidents not resolved", labels=["severity", "status"]
        )
        rows = Incident.objects.exclude(status=Status.RESOLVED).values_list("severity", "status")
        for severity, status, count in rows.annotate(count=Count("pk")).order_by():
            gauge.add_metric([f"SEV{severity}", status], count)
        yield gauge

    def _timers(self) -> Iterator[Metric]:
        timers = Timer.objects.order_by()
        yield GaugeMetricFamily("muster_timers", "Deadlines that lie ahead or are due", value=timers.count())
        overdue = timers.filter(due_at__lt=self.now).aggregate(count=Count("pk"), oldest=Min("due_at"))
        yield GaugeMetricFamily("muster_timers_overdue", "Deadlines that have passed", value=overdue["count"])
        oldest = (self.now - overdue["oldest"]).total_seconds() if overdue["oldest"] else 0.0
        yield GaugeMetricFamily(
            "muster_timers_overdue_seconds", "How long the oldest of them is overdue", value=oldest
        )
        failing = timers.filter(attempts__gt=0).count()
        yield GaugeMetricFamily(
            "muster_timers_failing", "Deadlines whose handler raised and is tried again", value=failing
        )

        late = GaugeMetricFamily(
            "muster_firings_5m",
            "Deadlines met in the last five minutes, by lateness in milliseconds",
            labels=["le"],
        )
        recent = Firing.objects.filter(fired_at__gte=self.now - WINDOW).order_by()
        for limit in LATE_MS:
            late.add_metric([str(limit)], recent.filter(lateness_ms__lte=limit).count())
        late.add_metric(["+Inf"], recent.count())
        yield late

        beats = GaugeMetricFamily(
            "muster_heartbeat_age_seconds", "Since a process last said that it lives", labels=["name"]
        )
        for name, beat_at in Heartbeat.objects.values_list("name", "beat_at"):
            beats.add_metric([name], (self.now - beat_at).total_seconds())
        yield beats

    def _work(self) -> Iterator[Metric]:
        waiting = IngestEvent.objects.filter(due_at__isnull=False).order_by()
        oldest = waiting.aggregate(count=Count("pk"), oldest=Min("received_at"))
        yield GaugeMetricFamily(
            "muster_events_waiting", "Stored events that nobody has judged", value=oldest["count"]
        )
        age = (self.now - oldest["oldest"]).total_seconds() if oldest["oldest"] else 0.0
        yield GaugeMetricFamily(
            "muster_events_waiting_seconds", "How long the oldest of them waits", value=age
        )
        rows = Delivery.objects.filter(status__in=[DeliveryStatus.WAITING, DeliveryStatus.SENDING])
        gauge = GaugeMetricFamily(
            "muster_deliveries_open", "Messages waiting or being sent", labels=["channel", "status"]
        )
        for channel, status, count in (
            rows.values_list("channel", "status").annotate(count=Count("pk")).order_by()
        ):
            gauge.add_metric([channel, status], count)
        yield gauge
        yield from self._providers()

    def _providers(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "muster_provider_left_out",
            "Whether a provider of SMS or calls is left out because it failed: 0 used, 1 left out",
            labels=["kind", "provider"],
        )
        failures = GaugeMetricFamily(
            "muster_provider_failures", "Its failures in a row", labels=["kind", "provider"]
        )
        for _, rows in provider_states(self.now):
            for row in rows:
                names = [row.account.kind, row.account.name]
                state.add_metric(names, 0 if row.status == "closed" else 1)
                failures.add_metric(names, row.state.failures if row.state else 0)
        yield state
        yield failures


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not may_read_metrics(request):
        return HttpResponse(
            "Needs the token of MUSTER_METRICS_TOKEN.\n", status=403, content_type="text/plain"
        )
    registry = CollectorRegistry()
    registry.register(FromRows(timezone.now()))
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
