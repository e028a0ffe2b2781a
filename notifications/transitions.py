"""Everything that changes a notification or a delivery.

Locks are taken in this order: notifications by id, the method, deliveries, timers. The caller's own locks (an incident)
come before.

A delivery is sent between two transactions: `claim` says that this attempt is ours and arms its timer again as a
lease, the network is used after the commit (`sending.py`), `record` writes the result. A worker that is killed in
between leaves the lease, and the next attempt carries the same idempotency key. In the timekeeper, where a message may
have to wait for a thread, it is claimed when it has one (`queue_locked`, `claim_queued`).

A message takes along what else is due by its method within BUNDLE_SECONDS: nothing waits for that, something comes
early. The others' notifications are locked only if nobody holds them, so that this can not be waited for in a circle;
each keeps its own rows, attempt and lease, and has its own end.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import ContactMethod, User
from core.errors import Invalid, Missing, Refused
from notifications import queries, rules
from notifications.channels.base import Accepted
from notifications.models import (
    Attempt,
    AttemptOutcome,
    Bundle,
    Delivery,
    DeliveryStatus,
    Notification,
    NotificationStatus,
)
from timers.models import Timer
from timers.transitions import cancel_timer, cancel_timers, set_timer, set_timers

DELIVER = "deliver"
RESULT = "delivery_result"
RECEIPT = "delivery_receipt"

_PENDING = (DeliveryStatus.WAITING, DeliveryStatus.SENDING)


# --- beginning --------------------------------------------------------------------------------------------------


@transaction.atomic(savepoint=False)
def notify(
    *, recipient: User, dedupe_key: str, topic: str, urgency: str, title: str, body: str, link: str,
    context: dict[str, Any], now: datetime, channels: Collection[str] = (),
) -> Notification:  # fmt: skip
    """Have `recipient` told, by that person's rules. The same `dedupe_key` again returns what exists and does nothing.

    `channels`: by all of the person's ways of these kinds at once instead, if there is one.
    Rows only, in the caller's transaction: when it rolls back, nobody is told.
    """
    reach = queries.reach(recipient)
    at_once = [rules.Step(0, way) for way in reach.ways if way.channel in channels]
    plan = rules.plan(
        urgency=urgency, steps=at_once or reach.steps.get(urgency, ()), ways=reach.ways,
        sign_in_address=recipient.email,
    )  # fmt: skip
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
    others: tuple[Delivery, ...] = field(default=(), compare=False, repr=False)  # that leave with it
    key: uuid.UUID | None = None  # of the bundle; None: its own

    @property
    def attempts(self) -> list[tuple[int, int]]:
        """Delivery and attempt number of all that leave together, in the order in which they are named."""
        return [(self.delivery_id, self.number), *((each.pk, each.attempts) for each in self.others)]


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
    delivery = Delivery.objects.filter(pk=delivery_id, status__in=_PENDING).first()
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
        status=delivery.status, active=notification.status == NotificationStatus.ACTIVE, attempts=_tries(delivery),
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
    has_method = delivery.method_id is not None
    if has_method and not queries.is_single(notification) and _is_held_back(delivery, now=now):
        return None
    others = _take_along(delivery, now=now) if has_method and queries.is_page(notification) else []
    for each in (delivery, *others):
        _begin_attempt(each, now=now)
    key = _bundle(delivery, others, now=now)
    return Claimed(
        delivery=delivery,
        delivery_id=delivery_id,
        number=delivery.attempts,
        at=now,
        others=tuple(others),
        key=key,
    )


def _tries(delivery: Delivery) -> int:
    """How many attempts count: what was not handed over, because one that was to leave with it was answered, does not."""
    if delivery.attempts < rules.MAX_ATTEMPTS:
        return delivery.attempts
    return delivery.attempts - delivery.tries.filter(outcome=AttemptOutcome.DROPPED).count()


def _begin_attempt(delivery: Delivery, *, now: datetime) -> None:
    delivery.attempts += 1
    delivery.status = DeliveryStatus.SENDING
    delivery.claimed_at, delivery.retry_at = now, None
    fields = ["attempts", "status", "claimed_at", "retry_at", "last_error"]
    if delivery.channel in CODED and delivery.code is None and queries.is_page(delivery.notification):
        delivery.code = _next_code(delivery.method_id)
        fields.append("code")
    delivery.save(update_fields=fields)
    Attempt.objects.create(delivery=delivery, number=delivery.attempts, started_at=now)
    _arm(delivery, due_at=now + rules.LEASE, now=now)


CODED = ("sms",)
"""Channels whose messages are answered with a number."""


def _next_code(method_id: int | None) -> int | None:
    """1 to 999 and round: who pages somebody a thousand times within two days gets old numbers again."""
    method = ContactMethod.objects.select_for_update(no_key=True).filter(pk=method_id).first()
    if method is None:
        return None
    method.last_code = method.last_code % rules.REPLY_CODES + 1
    method.save(update_fields=["last_code"])
    return method.last_code


# --- not too many, and several at once --------------------------------------------------------------------------


def _is_held_back(delivery: Delivery, *, now: datetime) -> bool:
    """Whether the method's limits make it wait. Never the first that this person hears of the topic, and no retry."""
    limits = settings.MUSTER_MESSAGE_LIMITS.get(delivery.channel, ())
    if not limits or delivery.attempts or delivery.again_of_id:
        return False
    # Two workers that count at once would both find room.
    list(ContactMethod.objects.select_for_update(no_key=True).filter(pk=delivery.method_id).values_list("pk"))
    left = queries.left_since(delivery.method_id, now - max(limit.span for limit in limits))
    found = rules.free_at(left=left, limits=limits, now=now)
    if found is None or queries.is_first_word(delivery):
        return False
    free_at, limit = found
    delivery.held_at = delivery.held_at or now
    delivery.held_why = str(limit)
    delivery.save(update_fields=["held_at", "held_why"])
    _arm(delivery, due_at=free_at, now=now)
    return True


def _take_along(delivery: Delivery, *, now: datetime) -> list[Delivery]:
    """What else waits for this method and is due about now, locked and in the order in which it was due."""
    until = now + timedelta(seconds=settings.MUSTER_BUNDLE_SECONDS)
    near = queries.waiting_near(delivery, until=until, limit=rules.MOST_IN_A_BUNDLE - 1)
    if not near:
        return []
    locked = Notification.objects.select_for_update(no_key=True, skip_locked=True).filter(
        pk__in=[notification_id for _, notification_id in near], status=NotificationStatus.ACTIVE
    )
    mine = set(locked.order_by("pk").values_list("pk", flat=True)) | {delivery.notification_id}
    wanted = [pk for pk, notification_id in near if notification_id in mine]
    # Read again: a worker may have had it until this moment.
    found = Delivery.objects.select_related("notification__recipient", "method").filter(
        pk__in=wanted, status=DeliveryStatus.WAITING
    )
    by_notification: dict[int, Delivery] = {}
    for each in sorted(found, key=lambda row: (row.due_at, row.pk)):
        # Two steps of one page by one method are two rings, not one.
        if each.notification_id != delivery.notification_id:
            by_notification.setdefault(each.notification_id, each)
    return list(by_notification.values())


def _bundle(delivery: Delivery, others: list[Delivery], *, now: datetime) -> uuid.UUID | None:
    """The key under which they leave: the same whenever the same ones leave together."""
    everybody = [delivery, *others]
    if not others:
        if delivery.bundle_id is not None:
            Delivery.objects.filter(pk=delivery.pk).update(bundle=None)
        return None
    names = ",".join(sorted(str(each.idempotency_key) for each in everybody))
    key = uuid.uuid5(uuid.NAMESPACE_OID, names)
    bundle, _ = Bundle.objects.get_or_create(
        idempotency_key=key,
        defaults={
            "recipient": delivery.notification.recipient, "method": delivery.method, "created_at": now,
        },
    )  # fmt: skip
    Delivery.objects.filter(pk__in=[each.pk for each in everybody]).update(bundle=bundle)
    for each in everybody:
        each.bundle_id = bundle.pk
    return key


# --- what became of it ------------------------------------------------------------------------------------------


@transaction.atomic
def record(*, claimed: Claimed, outcome: str, detail: str, now: datetime) -> rules.Verdict:
    """What became of an attempt. May come late, or twice: `rules.verdict` says what still counts. The verdict is that
    about the first of those that left together."""
    everybody = (claimed.delivery, *claimed.others)
    statuses = _lock_all({each.notification_id for each in everybody})
    attempts = dict(claimed.attempts)
    rows = {row.pk: row for row in Delivery.objects.select_related("method").filter(pk__in=list(attempts))}
    verdicts = []
    for each in everybody:
        status, delivery = statuses.get(each.notification_id), rows.get(each.pk)
        if status is None or delivery is None:
            verdicts.append(rules.Verdict.IGNORE)
            continue
        verdicts.append(
            _record(
                delivery, attempts[each.pk], outcome=outcome, detail=detail, now=now,
                active=status == NotificationStatus.ACTIVE,
            )
        )  # fmt: skip
    return verdicts[0]


def _lock_all(notification_ids: Collection[int]) -> dict[int, str]:
    locked = (
        Notification.objects.select_for_update(no_key=True)
        .filter(pk__in=list(notification_ids))
        .order_by("pk")
    )
    return dict(locked.values_list("pk", "status"))


def _record(
    delivery: Delivery, number: int, *, outcome: str, detail: str, active: bool, now: datetime
) -> rules.Verdict:
    _end_attempt(delivery, number, outcome, detail, now=now)
    if isinstance(detail, Accepted) and detail.provider_id:
        delivery.provider, delivery.provider_id = detail.provider[:40], detail.provider_id[:200]
        if delivery.receipt_at is not None:  # what became of it was quicker than this
            delivery.save(update_fields=["provider", "provider_id"])
            return rules.Verdict.IGNORE
    verdict = rules.verdict(
        outcome=outcome, status=delivery.status, active=active, attempts=delivery.attempts, attempt=number,
        tries=_tries(delivery),
    )  # fmt: skip
    if verdict is rules.Verdict.IGNORE:
        return verdict
    if verdict is rules.Verdict.SENT:
        delivery.provider_id, delivery.last_error = delivery.provider_id or str(detail)[:200], ""
        _finish(delivery, DeliveryStatus.SENT, now=now)
        if delivery.provider:
            _ask_later(delivery, turn=0, now=now)
        else:
            _unflag(delivery)
        _tell(delivery, "sent", now=now)
        return verdict
    if verdict is rules.Verdict.AGAIN:
        delivery.status = DeliveryStatus.WAITING
        delivery.save(update_fields=["status"])
        _arm(delivery, due_at=now, now=now)
        return verdict
    delivery.last_error = str(detail)
    if verdict is rules.Verdict.CANCELLED:
        _finish(delivery, DeliveryStatus.CANCELLED, now=now)
    elif verdict is rules.Verdict.FAILED:
        if outcome == AttemptOutcome.PERMANENT:
            _flag(delivery, str(detail), now=now)
        _fail(delivery, delivery.notification, now=now)
    else:
        delivery.status = DeliveryStatus.WAITING
        delivery.retry_at = rules.retry_at(attempts=_tries(delivery), now=now)
        delivery.save(update_fields=["status", "retry_at", "last_error"])
        _arm(delivery, due_at=delivery.retry_at, now=now)
    return verdict


@transaction.atomic
def settle(
    *, deliveries: QuerySet[Delivery], result: str, said: str, now: datetime, number_is_bad: bool = False
) -> int:
    """What a provider says after it took a message: reached, machine or failed. How many it changed.

    A machine that answered has not acknowledged, and nobody has heard the message: the next channel is used at once, as
    after a failure, and the method is flagged. News of a person may be quicker than our own result, or all that comes of
    an attempt whose answer was lost: either way it is not sent again.
    """
    seen = list(deliveries.values_list("pk", "notification_id"))
    statuses = _lock_all({notification_id for _, notification_id in seen})
    rows = Delivery.objects.select_related("notification", "method").filter(
        Q(status__in=[DeliveryStatus.SENT, DeliveryStatus.SENDING])
        | Q(
            status=DeliveryStatus.WAITING,
            attempts__gt=0,
            pk__in=[pk for pk, _ in seen if result == "reached"],
        ),
        pk__in=[pk for pk, _ in seen],
        receipt_at__isnull=True,
    )
    changed = 0
    for delivery in rows.order_by("pk"):
        changed += 1
        delivery.receipt, delivery.receipt_at = said[:200], now
        delivery.save(update_fields=["receipt", "receipt_at"])
        cancel_timer(kind=RECEIPT, key=str(delivery.pk))
        if result == "reached":
            _unflag(delivery)
            if delivery.status != DeliveryStatus.SENT:
                delivery.last_error = ""
                _finish(delivery, DeliveryStatus.SENT, now=now)
                _tell(delivery, "sent", now=now)
            continue
        status = DeliveryStatus.MACHINE if result == "machine" else DeliveryStatus.FAILED
        delivery.last_error = said
        if result == "machine" or number_is_bad:
            _flag(delivery, "A machine answered" if result == "machine" else said, now=now)
        if statuses.get(delivery.notification_id) == NotificationStatus.ACTIVE:
            _fail(delivery, delivery.notification, now=now, status=status)
        else:
            _finish(delivery, status, now=now)
    return changed


def _ask_later(delivery: Delivery, *, turn: int, now: datetime) -> None:
    """Installations that no provider can call back ask what became of it; the others, in case a callback was lost."""
    if turn >= len(rules.RECEIPTS):
        return
    set_timer(
        kind=RECEIPT, key=str(delivery.pk), due_at=now + rules.RECEIPTS[turn], now=now,
        payload={"delivery": delivery.pk, "turn": turn},
    )  # fmt: skip


@transaction.atomic
def ask_again(*, delivery_id: int, turn: int, now: datetime) -> None:
    """Nothing final was known yet."""
    delivery = Delivery.objects.filter(pk=delivery_id, receipt_at__isnull=True).first()
    if delivery is not None:
        _ask_later(delivery, turn=turn, now=now)


def _flag(delivery: Delivery, why: str, *, now: datetime) -> None:
    ContactMethod.objects.filter(pk=delivery.method_id).update(flagged_at=now, flag_reason=why[:300])


def _unflag(delivery: Delivery) -> None:
    if delivery.method is not None and delivery.method.flagged_at is not None:
        ContactMethod.objects.filter(pk=delivery.method_id).update(flagged_at=None, flag_reason="")


def _end_attempt(delivery: Delivery, number: int, outcome: str, detail: str, *, now: datetime) -> None:
    Attempt.objects.filter(delivery=delivery, number=number).exclude(outcome=AttemptOutcome.SENT).update(
        outcome=outcome, detail=detail[:500], finished_at=now
    )


def _finish(delivery: Delivery, status: str, *, now: datetime) -> None:
    delivery.status, delivery.finished_at, delivery.retry_at = status, now, None
    delivery.save(
        update_fields=["status", "finished_at", "retry_at", "last_error", "provider", "provider_id"]
    )
    cancel_timer(kind=DELIVER, key=str(delivery.pk))


def _fail(
    delivery: Delivery, notification: Notification, *, now: datetime, status: str = DeliveryStatus.FAILED
) -> None:
    """Nothing more is tried on this channel, so the next one is, at once."""
    _finish(delivery, status, now=now)
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
    what = "was answered by a machine" if failed.status == DeliveryStatus.MACHINE else "failed"
    reason = f"{failed.channel_label} {what}: at once"
    rest = list(notification.deliveries.exclude(pk=failed.pk).order_by("due_at", "pk"))
    elsewhere = [row for row in rest if (row.channel, row.address) != (failed.channel, failed.address)]
    waiting = next((row for row in elsewhere if row.status == DeliveryStatus.WAITING), None)
    if waiting is not None:
        if waiting.attempts == 0 and waiting.due_at > now:
            waiting.due_at, waiting.reason = now, reason
            waiting.save(update_fields=["due_at", "reason"])
            _arm(waiting, due_at=now, now=now)
        elif waiting.attempts == 0 and waiting.held_at is not None:
            # It was held back because this one had been heard. Whether that is still so is asked again.
            _arm(waiting, due_at=now, now=now)
        return True
    if any(row.status in (DeliveryStatus.SENDING, DeliveryStatus.SENT) for row in elsewhere):
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
def send_again(*, delivery_id: int, by: User, reason: str, now: datetime) -> Delivery:
    """A new message like one that has ended, whatever its end was; pressed twice, the same. Raises Refused while that one
    has not ended, or when nobody waits for it any more; Invalid without a reason."""
    reason = " ".join(reason.replace("\x00", "").split())
    if not reason:
        raise Invalid("Not sent.", fields={"reason": ["Say why. It stands in the ledger."]})
    seen = Delivery.objects.filter(pk=delivery_id).first()
    if seen is None or lock(seen.notification_id) is None:
        raise Missing("There is no such message.")
    delivery = Delivery.objects.select_related("notification").get(pk=delivery_id)
    notification = delivery.notification
    if delivery.status in _PENDING:
        raise Refused(
            f"This message is {delivery.get_status_display().lower()}. It is sent again after it has ended."
        )
    if notification.status != NotificationStatus.ACTIVE:
        raise Refused("Nobody waits for this message any more.")
    if queries.is_single(notification) or (delivery.method is None and delivery.channel != "email"):
        raise Refused("This message is not sent again. Ask for a new one, or use another method.")
    on_its_way = Delivery.objects.filter(again_of=delivery, status__in=_PENDING).first()
    if on_its_way is not None:  # pressed twice
        return on_its_way
    step = max(notification.deliveries.values_list("step", flat=True)) + 1
    way = rules.Way(delivery.method_id, delivery.channel, delivery.address)
    again = _delivery(
        notification, way=way, step=step, reason=f"Sent again by {by}: {reason}", due_at=now, now=now
    )
    again.again_of = delivery
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
