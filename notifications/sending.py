"""Between the two transactions of a delivery: the network."""

import time
import zoneinfo
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urljoin

import structlog
from django.conf import settings
from django.db import DatabaseError

from notifications import channels, queries, transitions
from notifications.channels.base import ChannelError, Message, NoLongerWanted, PermanentError
from notifications.models import AttemptOutcome, Delivery
from notifications.transitions import Claimed, Queued
from notifications.verification import code_for
from timers import network

log = structlog.get_logger(__name__)


def dispatch(claimed: Claimed) -> None:
    network.run(lambda: hand_over(claimed), lane="deliver", threads=8)


def dispatch_later(queued: Queued, *, now: datetime) -> None:
    """For the timekeeper: claimed when a thread has its turn."""
    clock = clock_from(now)

    def work() -> None:
        claimed = transitions.claim_queued(queued, now=clock())
        if claimed is not None:
            hand_over(claimed)

    network.run(work, lane="deliver", threads=8, once=queued)


def clock_from(now: datetime) -> Callable[[], datetime]:
    """What time it is, from a moment that somebody else named."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)


def hand_over(claimed: Claimed) -> None:
    """Send the attempt that was claimed, and record the result. Never raises for what the other side does.

    If the result cannot be recorded, the lease brings the next attempt.
    """
    began = time.monotonic()
    outcome, detail = _send(claimed)
    now = claimed.at + timedelta(seconds=time.monotonic() - began)
    verdict = transitions.record(claimed=claimed, outcome=outcome, detail=detail, now=now)
    log.info(
        "delivery_attempt", delivery=claimed.delivery_id, attempt=claimed.number, outcome=outcome,
        verdict=verdict.value, detail=detail, seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip


def _send(claimed: Claimed) -> tuple[str, str]:
    delivery = claimed.delivery
    return attempt(
        channel=delivery.channel, message=message_of(delivery),
        last_look=lambda: queries.is_still_wanted(delivery_id=claimed.delivery_id, number=claimed.number),
    )  # fmt: skip


def attempt(*, channel: str, message: Message, last_look: Callable[[], bool]) -> tuple[str, str]:
    """Hand one message to a channel. What became of it (an AttemptOutcome), and what the other side said.

    Raises only DatabaseError, from the last look.
    """
    try:
        said = channels.channel(channel).send(message, last_look=last_look)
    except NoLongerWanted:
        return AttemptOutcome.DROPPED, ""
    except PermanentError as error:
        return AttemptOutcome.PERMANENT, str(error)
    except ChannelError as error:
        return AttemptOutcome.TRANSIENT, str(error)
    except DatabaseError:
        raise
    except Exception as error:
        # A fault of ours must not end the message: it is tried again, and seen in the log.
        log.exception("channel_failed", channel=channel, message=message.idempotency_key)
        return AttemptOutcome.TRANSIENT, f"Fault in the channel: {error!r}"[:500]
    return AttemptOutcome.SENT, said


def message_of(delivery: Delivery) -> Message:
    notification = delivery.notification
    context = dict(notification.context)
    kind = context.pop("kind", "page")
    body = notification.body
    if kind == "verification":
        code = code_for(delivery.method)
        body = f"{body}\n\n{code}" if code else body
        context["code"] = code
    if answer_by := _local(context.get("answer_by"), notification.recipient.time_zone):
        body = f"{body}\nAnswer by: {answer_by}"
    return Message(
        idempotency_key=str(delivery.idempotency_key),
        address=delivery.address,
        secret=delivery.method.secret if delivery.method else "",
        title=notification.title,
        body=body,
        link=urljoin(f"{settings.MUSTER_BASE_URL}/", notification.link) if notification.link else "",
        action={"page": "Open and acknowledge"}.get(kind, "Open"),
        why=""
        if kind == "verification"
        else f"Muster sent this to {notification.recipient}. {delivery.reason}.",
        urgency=notification.urgency,
        topic=notification.topic,
        recipient=str(notification.recipient),
        kind=kind,
        created_at=delivery.due_at,
        context=context,
    )


def _local(moment: object, zone: str) -> str:
    """02:48 CET, for the person who reads it; empty when there is none."""
    try:
        at = datetime.fromisoformat(str(moment)).astimezone(zoneinfo.ZoneInfo(zone))
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return ""
    return f"{at:%H:%M} {at.tzname()}"
