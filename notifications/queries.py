"""Reads of notifications, each named for the question it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from django.db import connection
from django.db.models import OuterRef, Q, QuerySet, Subquery

from accounts.models import ContactMethod, User
from notifications import hooks, providers, rules
from notifications.models import (
    Bundle,
    Delivery,
    Notification,
    NotificationRule,
    ProviderKind,
    ProviderState,
    Reply,
)
from notifications.phone_accounts import Account

VERIFY_TOPIC = "verify:"
TEST_TOPIC = "test:"
ANSWER_TOPIC = "answer:"
SINGLE = (VERIFY_TOPIC, TEST_TOPIC, ANSWER_TOPIC)


@dataclass(frozen=True)
class Reach:
    """How a person can be reached: what is verified and enabled, and the steps for each urgency that use it."""

    ways: list[rules.Way]
    steps: dict[str, list[rules.Step]]


def reach(user: User) -> Reach:
    return reach_of([user])[user.pk]


def reach_of(users: list[User]) -> dict[int, Reach]:
    """By user id, with two queries for any number of people."""
    found = {user.pk: Reach(ways=[], steps={}) for user in users}
    ways: dict[int, rules.Way] = {}
    for method in usable_methods().filter(user__in=users).order_by("pk"):
        ways[method.pk] = rules.Way(method.pk, method.kind, method.address)
        found[method.user_id].ways.append(ways[method.pk])
    for rule in NotificationRule.objects.filter(user__in=users).order_by("delay_seconds", "pk"):
        if rule.method_id in ways:
            step = rules.Step(rule.delay_seconds, ways[rule.method_id])
            found[rule.user_id].steps.setdefault(rule.urgency, []).append(step)
    return found


def usable_methods() -> QuerySet[ContactMethod]:
    return ContactMethod.objects.filter(verified_at__isnull=False, disabled_at__isnull=True)


def readiness(user: User) -> list[str]:
    """What keeps this person from being reached; empty: ready to be on call."""
    found = reach(user)
    return rules.readiness(ways=found.ways, steps=found.steps)


def plan_of(user: User, urgency: str) -> rules.Plan:
    """What a page of this urgency would send, as things stand."""
    found = reach(user)
    return rules.plan(
        urgency=urgency, steps=found.steps.get(urgency, ()), ways=found.ways, sign_in_address=user.email
    )


def is_single(notification: Notification) -> bool:
    """A code or a test is about one method: another one is no answer when it fails."""
    return notification.topic.startswith(SINGLE)


def is_page(notification: Notification) -> bool:
    """Somebody is to answer. Everything else says in its context what it is."""
    return "kind" not in notification.context


def is_still_wanted(*, delivery_id: int, number: int) -> bool:
    """The last look before a message leaves: its notification is active, and this attempt is still the newest."""
    return are_still_wanted([(delivery_id, number)])


def are_still_wanted(attempts: Sequence[tuple[int, int]]) -> bool:
    """The last look at all that leave together: a message that names one which was answered must not leave."""
    deliveries, numbers = zip(*attempts, strict=True)
    with connection.cursor() as cursor:  # every message passes here while its connection waits
        cursor.execute(_STILL_WANTED, [list(deliveries), list(numbers)])
        return cursor.fetchone()[0] == len(attempts)


_STILL_WANTED = """
    SELECT count(*) FROM unnest(%s::bigint[], %s::int[]) AS wanted (id, attempts)
    JOIN notifications_delivery AS delivery USING (id, attempts)
    JOIN notifications_notification AS notification ON notification.id = delivery.notification_id
    WHERE delivery.status = 'sending' AND notification.status = 'active'
"""


def left_since(method_id: int | None, since: datetime) -> list[datetime]:
    """When messages left by this method; those that left together are one."""
    rows = Delivery.objects.filter(method_id=method_id, claimed_at__gt=since).values_list(
        "claimed_at", "bundle_id", "pk"
    )
    return list({(bundle or -pk): at for at, bundle, pk in rows}.values())


def is_first_word(delivery: Delivery) -> bool:
    """Whether this person has not been told of the topic yet, or is told for the first time right now."""
    notification = delivery.notification
    told = Delivery.objects.filter(
        notification__recipient_id=notification.recipient_id, notification__topic=notification.topic
    ).exclude(pk=delivery.pk)
    if not told.filter(status__in=["sending", "sent"]).exists():
        return True
    earlier = Notification.objects.filter(
        recipient_id=notification.recipient_id, topic=notification.topic, pk__lt=notification.pk
    )
    return delivery.due_at <= notification.created_at and not earlier.exists()


def waiting_near(delivery: Delivery, *, until: datetime, limit: int) -> list[tuple[int, int]]:
    """Other messages by the same method that are due by then, as (delivery, notification)."""
    near = (
        Delivery.objects.filter(method_id=delivery.method_id, status="waiting", due_at__lte=until)
        .filter(Q(retry_at__isnull=True) | Q(retry_at__lte=until))
        .filter(notification__status="active", notification__urgency=delivery.notification.urgency)
        .exclude(notification_id=delivery.notification_id)
        .exclude(notification__context__has_key="kind")
    )
    return list(near.order_by("due_at", "pk").values_list("pk", "notification_id")[:limit])


def of_provider(*, key: str = "", provider: str = "", provider_id: str = "") -> QuerySet[Delivery]:
    """The messages that a provider speaks of: by our key, or by its id. All of a bundle."""
    found = Delivery.objects.none()
    if key:
        own = Delivery.objects.filter(idempotency_key=key)
        bundled = Delivery.objects.filter(bundle__idempotency_key=key)
        found = Delivery.objects.filter(
            pk__in=[*own.values_list("pk", flat=True), *bundled.values_list("pk", flat=True)]
        )
    if provider_id and not found.exists():
        found = Delivery.objects.filter(provider=provider, provider_id=provider_id)
    return found


def delivery_to_send(delivery_id: int) -> Delivery | None:
    return Delivery.objects.select_related("notification__recipient", "method").filter(pk=delivery_id).first()


def notification_id_of(delivery_id: int) -> int | None:
    return Delivery.objects.filter(pk=delivery_id).values_list("notification_id", flat=True).first()


def deliveries_of(notification: Notification) -> QuerySet[Delivery]:
    return notification.deliveries.select_related("method").order_by("due_at", "pk")


def has_hooks(result: str) -> bool:
    return bool(hooks.hooks_for(result))


def ledger(
    *, status: str = "", user_id: int | None = None, channel: str = "", text: str = "", day: date | None = None,
    zone: tzinfo = UTC,
) -> QuerySet[Delivery]:  # fmt: skip
    """Every message, newest first; the order is stable. `text` is looked for in the title, in what was answered, and
    as the beginning of the address."""
    found = Delivery.objects.select_related("notification__recipient").order_by("-pk")
    if status:
        found = found.filter(status=status)
    if user_id is not None:
        found = found.filter(notification__recipient_id=user_id)
    if channel:
        found = found.filter(channel=channel)
    if text:
        found = found.filter(
            Q(notification__title__icontains=text)
            | Q(last_error__icontains=text)
            | Q(receipt__icontains=text)
        )
    if day is not None:
        begins = datetime.combine(day, time(0), zone)
        found = found.filter(
            due_at__gte=begins, due_at__lt=datetime.combine(day + timedelta(days=1), time(0), zone)
        )
    return found


def left_with(delivery: Delivery) -> list[Delivery]:
    """What left in one message with it."""
    if delivery.bundle_id is None:
        return []
    return list(
        Delivery.objects.select_related("notification")
        .filter(bundle_id=delivery.bundle_id)
        .exclude(pk=delivery.pk)
    )


def may_be_sent_again(delivery: Delivery) -> bool:
    return (
        delivery.finished_at is not None
        and delivery.notification.status == "active"
        and not is_single(delivery.notification)
        and (delivery.method_id is not None or delivery.channel == "email")
    )


def bundle(bundle_id: int) -> Bundle | None:
    return Bundle.objects.select_related("recipient").filter(pk=bundle_id).first()


@dataclass(frozen=True)
class ProviderRow:
    account: Account
    state: ProviderState | None
    status: str  # closed, open or probing


def provider_states(now: datetime) -> list[tuple[str, list[ProviderRow]]]:
    """Every provider of the settings in the order of use, and what its breaker says."""
    states = {(state.kind, state.name): state for state in ProviderState.objects.all()}
    groups = []
    for kind in ProviderKind:
        rows = []
        for account in providers.accounts(kind):
            state = states.get((kind, account.name))
            rows.append(ProviderRow(account, state, _breaker(state, now)))
        groups.append((kind.label, rows))
    return groups


def _breaker(state: ProviderState | None, now: datetime) -> str:
    if state is None or state.opened_at is None:
        return "closed"
    return "probing" if state.probe_at is not None and state.probe_at <= now else "open"


def methods_of(user: User) -> QuerySet[ContactMethod]:
    """With how the last message on each went: `last_status`, `last_error`, `last_at`."""
    last = Delivery.objects.filter(method=OuterRef("pk"), finished_at__isnull=False).order_by("-pk")
    newest = Delivery.objects.filter(method=OuterRef("pk")).order_by("-pk")
    return user.contact_methods.select_related("verification").annotate(
        last_status=Subquery(last.values("status")[:1]),
        last_error=Subquery(last.values("last_error")[:1]),
        last_at=Subquery(last.values("finished_at")[:1]),
        last_said=Subquery(last.values("provider_id")[:1]),
        last_receipt=Subquery(last.values("receipt")[:1]),
        newest_status=Subquery(newest.values("status")[:1]),
        newest_error=Subquery(newest.values("last_error")[:1]),
    )


def sent_by_hand_since(user: User, topic: str, since: datetime) -> int:
    """How many codes or tests the person asked for; they cost other people's attention, so they are counted."""
    return Notification.objects.filter(recipient=user, topic__startswith=topic, created_at__gt=since).count()


def recently(now: datetime) -> datetime:
    return now - timedelta(hours=1)


# --- what people answer -----------------------------------------------------------------------------------------


def message_with_code(methods: Sequence[ContactMethod], code: int, *, since: datetime) -> Delivery | None:
    """The newest message to one of these methods that said this number."""
    return (
        Delivery.objects.select_related("notification", "method__user")
        .filter(method__in=methods, code=code, claimed_at__gte=since)
        .order_by("-claimed_at", "-pk")
        .first()
    )


def waiting_of(methods: Sequence[ContactMethod], *, since: datetime) -> list[Delivery]:
    """What these methods were told and nobody has answered: the newest message for each page, the oldest page first."""
    rows = (
        Delivery.objects.select_related("notification", "method__user")
        .filter(method__in=methods, claimed_at__gte=since, notification__status="active", code__isnull=False)
        .order_by("pk")
    )
    newest = {row.notification_id: row for row in rows}
    return [newest[pk] for pk in sorted(newest)]


def notifications_of_bundle(bundle_id: int) -> QuerySet[Notification]:
    return Notification.objects.filter(deliveries__bundle_id=bundle_id).distinct().order_by("pk")


def method_that_replied(provider: str, external_id: str) -> ContactMethod | None:
    reply = Reply.objects.select_related("method").filter(provider=provider, external_id=external_id).first()
    return reply.method if reply else None


def was_answered_with(answer: str, *, method: ContactMethod, since: datetime) -> bool:
    return Reply.objects.filter(method=method, answer=answer, received_at__gt=since).exists()
