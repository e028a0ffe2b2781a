"""How alerts are grouped and held in the demonstration, and who has to ping. Nothing of it pages anybody by itself."""

from datetime import datetime, timedelta

from accounts.models import digest
from catalog.models import Service
from demo import secrets
from demo.setup import Organization
from incidents.grouping import transitions
from incidents.grouping.transitions import MaintenanceData
from incidents.models import AlertSettings, HeldAlert, Maintenance, MaintenanceEvent
from integrations.models import Watch


def play(*, organization: Organization, now: datetime) -> None:
    services = organization.services
    AlertSettings.objects.create(
        service=services["checkout-api"], grouping="any", grouping_fields=["component", "labels.cluster"],
        grouping_seconds=3600, flap_count=4, repage_hours=6,
    )  # fmt: skip
    AlertSettings.objects.create(service=services["search"], auto_resolve_minutes=240, flap_count=3)
    _past_maintenance(services["order-events"], now=now - timedelta(days=2))
    days = (6 - now.weekday()) % 7 or 7
    transitions.plan_maintenance(
        data=MaintenanceData(
            name="Kafka rebalancing", reason="Consumers pause for a few minutes at a time.", zone="Europe/Berlin",
            services=[services["order-events"]], minutes=90, recurrence="FREQ=WEEKLY",
            starts_at=(now + timedelta(days=days)).replace(hour=2, minute=0, second=0, microsecond=0),
            conditions=[{"field": "severity", "op": "is_not", "value": "critical"}],
        ),
        by=organization.people["aisha"], now=now,
    )  # fmt: skip
    # One waits for its first ping and one is paused: nobody pings here, so others would fall silent and page.
    for name, slug, interval, grace, state in (
        ("nightly-ledger-backup", "ledger-db", 86_400, 3_600, "new"),
        ("search-reindex", "search", 600, 300, "paused"),
    ):
        key = secrets.integration_key(f"heartbeat {name}")
        Watch.objects.create(
            name=name, service=services[slug], interval_seconds=interval, grace_seconds=grace, state=state,
            state_since=now - timedelta(days=3), key_digest=digest(key), key_hint=key[-4:],
        )  # fmt: skip


def _past_maintenance(service: Service, *, now: datetime) -> None:
    """With one alert that cleared meanwhile and one that nobody missed."""
    end = now + timedelta(minutes=90)
    row = Maintenance.objects.create(
        name="Broker upgrade to 3.9", first_starts_at=now, minutes=90, starts_at=now, ends_at=end, state="over",
        zone="Europe/Berlin", reroute_on_end=False,
    )  # fmt: skip
    row.services.set([service])
    for kind, at in (("planned", now - timedelta(days=1)), ("started", now), ("ended", end)):
        MaintenanceEvent.objects.create(maintenance=row, kind=kind, occurrence_at=now, at=at)
    for key, title, status, minutes in (
        ("ConsumerLag/order-events", "ConsumerLag: order-events 48,000 behind", "cleared", 31),
        ("BrokerDown/kafka-3", "BrokerDown: kafka-3", "dropped", 90),
    ):
        signal = {"action": "trigger", "dedup_key": key, "title": title, "severity": "error"}
        HeldAlert.objects.create(
            service=service, origin="demonstration", origin_name="Data platform alerts", dedup_key=key, title=title,
            why="maintenance", maintenance=row, until=end, status=status, severity="error", signal=signal, count=4,
            first_seen_at=now + timedelta(minutes=6), last_seen_at=now + timedelta(minutes=28),
            ended_at=now + timedelta(minutes=minutes),
        )  # fmt: skip
