"""Senders and what they sent."""

import itertools
from datetime import UTC, datetime
from typing import Any

from accounts.models import digest
from catalog.models import Service
from integrations import rules
from integrations.models import IngestEvent, Integration, IntegrationKind
from tests.factories.catalog import make_service

_numbers = itertools.count(1)

RECEIVED_AT = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def make_integration(
    kind: str = IntegrationKind.PAGERDUTY, *, key: str = "", service: Service | None = None, **fields: Any
) -> Integration:
    """An integration on a service of its own. `integration.key` is the key, which the row does not hold."""
    key = key or Integration.new_key()
    fields.setdefault("name", f"{kind} {next(_numbers)}")
    integration = Integration.objects.create(
        kind=kind, service=service or make_service(), key_digest=digest(key), key_hint=key[-4:], **fields
    )
    integration.key = key
    return integration


def make_event(
    integration: Integration, *signals: dict[str, Any], received_at: datetime = RECEIVED_AT, **fields: Any
) -> IngestEvent:
    """An event that waits, unless `due_at=None` and a verdict say otherwise. Without signals: one trigger of "k"."""
    signals = signals or (rules.signal("trigger", "k", title="Disk full"),)
    fields.setdefault("due_at", received_at)
    fields.setdefault("dedup_key", signals[0].get("dedup_key", ""))
    return IngestEvent.objects.create(
        integration=integration,
        kind=integration.kind,
        received_at=received_at,
        payload=list(signals),
        **fields,
    )
