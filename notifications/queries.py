"""Reads of notifications, each named for the question it answers."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import OuterRef, QuerySet, Subquery

from accounts.models import ContactMethod, User
from notifications import hooks, rules
from notifications.models import Delivery, Notification, NotificationRule

VERIFY_TOPIC = "verify:"
TEST_TOPIC = "test:"


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
    return notification.topic.startswith((VERIFY_TOPIC, TEST_TOPIC))


def is_still_wanted(*, delivery_id: int, number: int) -> bool:
    """The last look before a message leaves: its notification is active, and this attempt is still the newest."""
    with connection.cursor() as cursor:  # every message passes here while its connection waits
        cursor.execute(_STILL_WANTED, [delivery_id, number])
        return cursor.fetchone() is not None


_STILL_WANTED = """
    SELECT 1 FROM notifications_delivery AS delivery
    JOIN notifications_notification AS notification ON notification.id = delivery.notification_id
    WHERE delivery.id = %s AND delivery.attempts = %s AND delivery.status = 'sending' AND notification.status = 'active'
"""


def delivery_to_send(delivery_id: int) -> Delivery | None:
    return Delivery.objects.select_related("notification__recipient", "method").filter(pk=delivery_id).first()


def notification_id_of(delivery_id: int) -> int | None:
    return Delivery.objects.filter(pk=delivery_id).values_list("notification_id", flat=True).first()


def deliveries_of(notification: Notification) -> QuerySet[Delivery]:
    return notification.deliveries.select_related("method").order_by("due_at", "pk")


def has_hooks(result: str) -> bool:
    return bool(hooks.hooks_for(result))


def ledger(*, status: str = "", user_id: int | None = None) -> QuerySet[Delivery]:
    """Every message, newest first; the order is stable."""
    found = Delivery.objects.select_related("notification__recipient").order_by("-pk")
    if status:
        found = found.filter(status=status)
    if user_id is not None:
        found = found.filter(notification__recipient_id=user_id)
    return found


def methods_of(user: User) -> QuerySet[ContactMethod]:
    """With how the last message on each went: `last_status`, `last_error`, `last_at`."""
    last = Delivery.objects.filter(method=OuterRef("pk"), finished_at__isnull=False).order_by("-pk")
    return user.contact_methods.select_related("verification").annotate(
        last_status=Subquery(last.values("status")[:1]),
        last_error=Subquery(last.values("last_error")[:1]),
        last_at=Subquery(last.values("finished_at")[:1]),
    )


def sent_by_hand_since(user: User, topic: str, since: datetime) -> int:
    """How many codes or tests the person asked for; they cost other people's attention, so they are counted."""
    return Notification.objects.filter(recipient=user, topic__startswith=topic, created_at__gt=since).count()


def recently(now: datetime) -> datetime:
    return now - timedelta(hours=1)
