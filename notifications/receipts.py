"""Asking a provider what became of a message, for installations that it cannot call back."""

from datetime import datetime

import structlog

from notifications import providers, queries, transitions
from notifications.models import Delivery
from notifications.providers.base import ProviderFailed, Receipt
from timers import network

log = structlog.get_logger(__name__)


def ask_aside(*, delivery_id: int, turn: int, now: datetime) -> None:
    network.run(lambda: ask(delivery_id=delivery_id, turn=turn, now=now), lane="receipts", threads=2)


def ask(*, delivery_id: int, turn: int, now: datetime) -> None:
    delivery = Delivery.objects.filter(pk=delivery_id, receipt_at__isnull=True).exclude(provider="").first()
    if delivery is None:
        return
    provider = providers.named(delivery.channel, delivery.provider)
    if provider is None:
        return
    try:
        receipt = provider.ask(delivery.provider_id)
    except ProviderFailed as error:
        log.warning("receipt_not_known", provider=delivery.provider, error=str(error))
        receipt = Receipt("", "")
    if not receipt.result:
        transitions.ask_again(delivery_id=delivery.pk, turn=turn + 1, now=now)
        return
    transitions.settle(
        deliveries=queries.of_provider(provider=delivery.provider, provider_id=delivery.provider_id),
        result=receipt.result, said=receipt.said, number_is_bad=receipt.number_is_bad, now=now,
    )  # fmt: skip
