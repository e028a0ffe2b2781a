"""Everything that changes a notification or a delivery.

Locks are taken in this order: notification, its deliveries, timers. The caller's own locks (an incident) come before.

A delivery is sent between two transactions: `claim` says that this attempt is ours and arms its timer again as a
lease, the network is used after the commit (`sending.py`), `record` writes the result. A worker that is killed in
between leaves the lease, and the next attempt carries the same idempotency key. In the timekeeper, where a message may
have to wait for a thread, it is claimed when it has one (`queue_locked`, `claim_queued`).
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.models import ContactMethod, User
from core.errors import Missing, Refused
from notifications import queries, rules
from notifications.models import (
    Attempt,
    AttemptOutcome,
    Delivery,
    DeliveryStatus,
    Notification,
    NotificationStatus,
)
from timers.models import Timer
from timers.transitions import cancel_timer, cancel_timers, set_timer, set_timers

DELIVER = "deliver"
RESULT = "delivery_result"

_PENDING = (DeliveryStatus.WAITING, DeliveryStatus.SENDING)


# --- beginning --------------------------------------------------------------------------------------------------


@transaction.atomic(savepoint=False)
def notify(
    *, recipient: User, dedupe_key: str, topic: str, urgency: str, title: str, body: str, link: str,
    context: dict[str, Any], now: datetime,
) -> Notification:  # fmt: skip
    """Have `recipient` told, by that person's rules. The same `dedupe_key` again returns what exists and does nothing.

    Rows only, in the caller's transaction: when it rolls back, nobody is told.
    """
    reach = queries.reach(recipient)
    plan = rules.plan(
        urgency=urgency, steps=reach.steps.get(urgency, ()), ways=reach.ways, sign_in_address=recipient.email
    )
    return _begin(
        recipient=recipient, dedupe_key=dedupe_key, topic=topic, urgency=urgency, title=title, body=body, link=link,
        context=context, plan=plan, now=now,
    )  # fmt: skip


@transaction.atomic(savepoint=False)
def notify_by(
    *, method: ContactMethod, dedupe_key: str, topic: str, title: str, body: str, reason: str, link: str = "",
    context: dict[str, Any], now: datetime,
) -> Notification:  # fmt: skip
    """Like notify, but by this one method and at once, verified or not: for codes and tests."""
    way = rules.Way(method.pk, method.kind, method.address)
    return _begin(
        recipient=method.user, dedupe_key=dedupe_key, topic=topic, urgency="low", title=title, body=body, link=link,
        context=context, plan=rules.Plan((rules.Planned(0, way, reason),), unreachable=False), now=now,
    )  # fmt: skip


def _begin(*, plan: rules.Plan, now: datetime, dedupe_key: str, **fields: Any) -> Notification:
    # Two callers with one key meet at the unique constraint; the second waits for the first, and then finds its rows.
    [notification] = Notification.objects.bulk_create(
        [
            Notification(
                dedupe_key=dedupe_key, unreachable=plan.unreachable, created_at=now,
                **{**fields, "title": fields["title"][:300], "topic": fields["topic"][:120]},
            )
        ],
        update_conflicts=True,
        unique_fields=["dedupe_key"],
        update_fields=["dedupe_key"],
    )  # fmt: skip
    if notification.deliveries.exists():
        return Notification.objects.get(pk=notification.pk)
    _add_deliveries(
        [
            _delivery(
                notification, way=planned.way, step=step, reason=planned.reason,
                due_at=now + timedelta(seconds=planned.delay_seconds), now=now,
            )
            for step, planned in enumerate(plan.deliveries)
        ],
        now=now,
    )  # fmt: skip
    return notification


def _delivery(
    notification: Notification, *, way: rules.Way, step: int, reason: str, due_at: datetime, now: datetime
) -> Delivery:
    return Delivery(
        notification=notification, method_id=way.method_id, channel=way.channel, address=way.address, step=step,
        reason=reason[:200], due_at=due_at, idempotency_key=uuid.uuid4(), created_at=now,
    )  # fmt: skip


def _add_deliveries(deliveries: Collection[Delivery], *, now: datetime) -> None:
    Delivery.objects.bulk_create(deliveries)
    set_timers([_timer(delivery, due_at=delivery.due_at) for delivery in deliveries], now=now)


def _timer(delivery: Delivery, *, due_at: datetime) -> Timer:
    return Timer(
        kind=DELIVER,
        key=str(delivery.pk),
        due_at=due_at,
        payload={"notification": delivery.notification_id},
    )


def _arm(delivery: Delivery, *, due_at: datetime, now: datetime) -> None:
    set_timers([_timer(delivery, due_at=due_at)], now=now)


# --- the end ----------------------------------------------------------------------------------------------------


@transaction.atomic(savepoint=False)
def cancel_topic(
    *, topic: str, now: datetime, status: str = NotificationStatus.CANCELLED, recipient: User | None = None
) -> int:
    """End what is active of the topic (of one person, if given): nothing of it is sent any more. How many ended.

    A message that is on its way this moment is asked for once more before it leaves (`last_look`).
    """
    active = Notification.objects.filter(topic=topic, status=NotificationStatus.ACTIVE)
    if recipient is not None:
        active = active.filter(recipient=recipient)
    locked = [row.pk for row in active.select_for_update(no_key=True).order_by("pk")]
    if not locked:
        return 0
    Notification.objects.filter(pk__in=locked).update(status=status, ended_at=now)
    waiting = Delivery.objects.filter(notification_id__in=locked, status=DeliveryStatus.WAITING)
    _cancel_waiting(list(waiting.values_list("pk", flat=True)), now=now)
    return len(locked)


def _cancel_waiting(delivery_ids: Collection[int], *, now: datetime) -> None:
    Delivery.objects.filter(pk__in=delivery_ids).update(
        status=DeliveryStatus.CANCELLED, finished_at=now, retry_at=None
    )
    cancel_timers(kind=DELIVER, keys=[str(pk) for pk in delivery_ids])


# --- an attempt -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claimed:
    """This attempt is ours. Whoever holds it may use the network, once."""

    delivery: Delivery = field(
        compare=False, repr=False
    )  # with notification, recipient and method, to write it from
    delivery_id: int
    number: int
    at: datetime


def lock(notification_id: int) -> str | None:
    """The status of a notification, which is locked until the transaction ends. None: it is gone."""
    locked = Notification.objects.select_for_update(no_key=True).filter(pk=notification_id)
    return next(iter(locked.values_list("status", flat=True)), None)


@transaction.atomic
def claim(*, delivery: Delivery, now: datetime) -> Claimed | None:
    """Take the next attempt of a due delivery. None: there is nothing to send now."""
    if lock(delivery.notification_id) is None:
        return None
    return claim_locked(delivery_id=delivery.pk, now=now)


@dataclass(frozen=True)
class Queued:
    """It is claimed when a thread has its turn. The same may be queued more than once; the first who claims it has it."""

    delivery_id: int
    notification_id: int
    attempts: int  # so far


def queue_locked(*, delivery_id: int, now: datetime) -> Queued | None:
    """For callers that hold the notification's lock and cannot send now. None: there is nothing to claim.

    Waiting is no attempt: a slow server and a long queue must not use them up before the first.
    """
    pending = [DeliveryStatus.WAITING, DeliveryStatus.SENDING]
    delivery = Delivery.objects.filter(pk=delivery_id, status__in=pending).first()
    if delivery is None:
        return None
    if delivery.status == DeliveryStatus.SENDING and now < delivery.claimed_at + rules.LEASE:
        _arm(delivery, due_at=delivery.claimed_at + rules.LEASE, now=now)
        return None
    _arm(delivery, due_at=now + rules.LEASE, now=now)
    return Queued(delivery.pk, delivery.notification_id, delivery.attempts)


@transaction.atomic
def claim_queued(queued: Queued, *, now: datetime) -> Claimed | None:
    """None: somebody else had it meanwhile, or there is nothing to send any more."""
    if lock(queued.notification_id) is None:
        return None
    if not Delivery.objects.filter(pk=queued.delivery_id, attempts=queued.attempts).exists():
        return None
    return claim_locked(delivery_id=queued.delivery_id, now=now)


def claim_locked(*, delivery_id: int, now: datetime) -> Claimed | None:
    """Like claim, for callers that hold the notification's lock."""
    # Read after the lock was granted: one query for both would show the delivery as it was before the wait.
    delivery = queries.delivery_to_send(delivery_id)
    if delivery is None:
        return None
    notification = delivery.notification
    decision = rules.claim(
        status=delivery.status, active=notification.status == NotificationStatus.ACTIVE, attempts=delivery.attempts,
        claimed_at=delivery.claimed_at, now=now,
    )  # fmt: skip
    if decision is rules.Claim.NOTHING:
        return None
    if decision is rules.Claim.WAIT:
        _arm(delivery, due_at=delivery.claimed_at + rules.LEASE, now=now)
        return None
    if delivery.status == DeliveryStatus.SENDING:
        _end_attempt(delivery, delivery.attempts, AttemptOutcome.LOST, "", now=now)
        delivery.last_error = "The worker did not report back"
    if decision is rules.Claim.CANCEL:
        _finish(delivery, DeliveryStatus.CANCELLED, now=now)
        return None
    if decision is rules.Claim.GIVE_UP:
        _fail(delivery, notification, now=now)
        return None
    delivery.attempts += 1
    delivery.status = DeliveryStatus.SENDING
    delivery.claimed_at, delivery.retry_at = now, None
    delivery.save(update_fields=["attempts", "status", "claimed_at", "retry_at", "last_error"])
    Attempt.objects.create(delivery=delivery, number=delivery.attempts, started_at=now)
    _arm(delivery, due_at=now + rules.LEASE, now=now)
    return Claimed(delivery=delivery, delivery_id=delivery_id, number=delivery.attempts, at=now)


@transaction.atomic
def record(*, claimed: Claimed, outcome: str, detail: str, now: datetime) -> rules.Verdict:
    """What became of an attempt. May come late, or twice: `rules.verdict` says what still counts."""
    status = lock(claimed.delivery.notification_id)
    delivery = Delivery.objects.filter(pk=claimed.delivery_id).first() if status else None
    if delivery is None:
        return rules.Verdict.IGNORE
    _end_attempt(delivery, claimed.number, outcome, detail, now=now)
    verdict = rules.verdict(
        outcome=outcome, status=delivery.status, active=status == NotificationStatus.ACTIVE,
        attempts=delivery.attempts, attempt=claimed.number,
    )  # fmt: skip
    if verdict is rules.Verdict.IGNORE:
        return verdict
    if verdict is rules.Verdict.SENT:
        delivery.provider_id, delivery.last_error = detail[:200], ""
        _finish(delivery, DeliveryStatus.SENT, now=now)
        _tell(delivery, "sent", now=now)
        return verdict
    delivery.last_error = detail
    if verdict is rules.Verdict.CANCELLED:
        _finish(delivery, DeliveryStatus.CANCELLED, now=now)
    elif verdict is rules.Verdict.FAILED:
        _fail(delivery, delivery.notification, now=now)
    else:
        delivery.status = DeliveryStatus.WAITING
        delivery.retry_at = rules.retry_at(attempts=delivery.attempts, now=now)
        delivery.save(update_fields=["status", "retry_at", "last_error"])
        _arm(delivery, due_at=delivery.retry_at, now=now)
    return verdict


def _end_attempt(delivery: Delivery, number: int, outcome: str, detail: str, *, now: datetime) -> None:
    Attempt.objects.filter(delivery=delivery, number=number).exclude(outcome=AttemptOutcome.SENT).update(
        outcome=outcome, detail=detail[:500], finished_at=now
    )


def _finish(delivery: Delivery, status: str, *, now: datetime) -> None:
    delivery.status, delivery.finished_at, delivery.retry_at = status, now, None
    delivery.save(update_fields=["status", "finished_at", "retry_at", "last_error", "provider_id"])
    cancel_timer(kind=DELIVER, key=str(delivery.pk))


def _fail(delivery: Delivery, notification: Notification, *, now: datetime) -> None:
    """Nothing more is tried on this channel, so the next one is, at once."""
    _finish(delivery, DeliveryStatus.FAILED, now=now)
    if not _turn_elsewhere(delivery, notification, now=now):
        pending = notification.deliveries.filter(status__in=[*_PENDING, DeliveryStatus.SENT])
        if not pending.exists() and not notification.unreachable:
            notification.unreachable = True
            notification.save(update_fields=["unreachable"])
    _tell(delivery, "failed", now=now)


def _turn_elsewhere(failed: Delivery, notification: Notification, *, now: datetime) -> bool:
    """Bring the next waiting message forward, or use a way that no rule named. False: nothing is left."""
    if queries.is_single(notification):
        return False
    reason = f"{failed.channel_label} failed: at once"
    rest = list(notification.deliveries.exclude(pk=failed.pk).order_by("due_at", "pk"))
    elsewhere = [row for row in rest if (row.channel, row.address) != (failed.channel, failed.address)]
    if any(row.status in (DeliveryStatus.SENDING, DeliveryStatus.SENT) for row in elsewhere):
        return True
    waiting = next((row for row in elsewhere if row.status == DeliveryStatus.WAITING), None)
    if waiting is not None:
        if waiting.attempts == 0 and waiting.due_at > now:
            waiting.due_at, waiting.reason = now, reason
            waiting.save(update_fields=["due_at", "reason"])
            _arm(waiting, due_at=now, now=now)
        return True
    way = rules.next_way(
        ways=queries.reach(notification.recipient).ways,
        used={(row.channel, row.address) for row in [failed, *rest]},
        sign_in_address=notification.recipient.email,
    )
    if way is None:
        return False
    step = max(row.step for row in [failed, *rest]) + 1
    _add_deliveries(
        [_delivery(notification, way=way, step=step, reason=reason, due_at=now, now=now)], now=now
    )
    return True


def _tell(delivery: Delivery, result: str, *, now: datetime) -> None:
    """Run the hooks soon, without our locks: see hooks.py."""
    if queries.has_hooks(result):
        set_timer(
            kind=RESULT, key=f"{delivery.pk}:{result}", due_at=now, now=now,
            payload={"delivery": delivery.pk, "result": result},
        )  # fmt: skip


# --- by hand ----------------------------------------------------------------------------------------------------


@transaction.atomic
def send_again(*, delivery_id: int, by: User, now: datetime) -> Delivery:
    """A new message like one that failed. Raises Refused when it did not fail, or nobody waits for it any more."""
    seen = Delivery.objects.filter(pk=delivery_id).first()
    if seen is None or lock(seen.notification_id) is None:
        raise Missing("There is no such message.")
    delivery = Delivery.objects.select_related("notification").get(pk=delivery_id)
    notification = delivery.notification
    if delivery.status != DeliveryStatus.FAILED:
        raise Refused(
            f"This message is {delivery.get_status_display().lower()}. Only a failed one is sent again."
        )
    if notification.status != NotificationStatus.ACTIVE:
        raise Refused("Nobody waits for this message any more.")
    step = max(notification.deliveries.values_list("step", flat=True)) + 1
    way = rules.Way(delivery.method_id, delivery.channel, delivery.address)
    again = _delivery(notification, way=way, step=step, reason=f"Sent again by {by}", due_at=now, now=now)
    _add_deliveries([again], now=now)
    return again


@transaction.atomic
def drop_method(*, method: ContactMethod, now: datetime) -> None:
    """Remove a contact method. What waits for it turns to the next way at once."""
    waiting = list(
        Delivery.objects.filter(method=method, status=DeliveryStatus.WAITING).values_list("pk", flat=True)
    )
    pending = Notification.objects.filter(deliveries__pk__in=waiting).distinct().values_list("pk", flat=True)
    locked = {
        row.pk: row
        for row in Notification.objects.select_for_update(no_key=True)
        .filter(pk__in=list(pending))
        .order_by("pk")
    }
    rows = list(Delivery.objects.filter(pk__in=waiting, status=DeliveryStatus.WAITING).order_by("pk"))
    method.delete()
    for delivery in rows:
        delivery.method = None
        delivery.last_error = "The contact method was removed"
        delivery.save(update_fields=["method", "last_error"])
        _fail(delivery, locked[delivery.notification_id], now=now)
