"""A person's contact methods and rules: what may be added, and what removing means."""

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse

from accounts.models import ContactKind, ContactMethod, User
from core.errors import Invalid, Missing, Refused
from notifications import kinds, queries, rules, transitions, verification
from notifications.models import Notification, NotificationRule, Urgency
from notifications.sealing import seal


def method_of(user: User, method_id: int) -> ContactMethod:
    """One of the person's own. Raises Missing for those of others as for none."""
    method = ContactMethod.objects.filter(pk=method_id, user=user).first()
    if method is None:
        raise Missing("You have no such contact method.")
    return method


@transaction.atomic
def add_method(
    *, user: User, kind: str, given: Mapping[str, str], label: str, now: datetime
) -> ContactMethod:
    """Not used before it is verified; a code is on its way at once. `given` holds the fields of `kinds.py`.

    Raises Invalid with the field.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    label = label.strip()
    target = kinds.read(kind, given)
    if len(label) > 60 or "\x00" in label:
        raise Invalid("Not added.", fields={"label": ["At most 60 characters."]})
    mine = list(user.contact_methods.all())
    if any(each.kind == kind and _is_same(each, target) for each in mine):
        first = kinds.KINDS[kind].fields[0].name
        raise Invalid("Not added.", fields={first: ["You have this one already."]})
    if len(mine) >= rules.MAX_METHODS:
        raise Refused(f"You have {len(mine)} contact methods, which is the most. Remove one first.")
    method = ContactMethod.objects.create(
        user=user, kind=kind, address=target.shown, label=label, sealed=seal(target.whole) if target.whole else "",
        secret=_new_secret() if kind == ContactKind.WEBHOOK else "",
    )  # fmt: skip
    verification.send_code(method=method, now=now)
    return method


def _is_same(method: ContactMethod, target: kinds.Target) -> bool:
    return method.address.lower() == target.shown.lower()


def _new_secret() -> str:
    return secrets.token_hex(24)


@transaction.atomic
def rotate_secret(*, user: User, method_id: int) -> ContactMethod:
    """Webhooks are signed with a new secret and with the one before, until `end_rotation` ends that."""
    method = ContactMethod.objects.select_for_update(no_key=True).filter(pk=method_id, user=user).first()
    if method is None or not method.secret:
        raise Missing("You have no such webhook.")
    method.secret = f"{_new_secret()},{method.secret.split(',')[0]}"
    method.save(update_fields=["secret"])
    return method


@transaction.atomic
def end_rotation(*, user: User, method_id: int) -> ContactMethod:
    """From now on only the newest secret signs."""
    method = ContactMethod.objects.select_for_update(no_key=True).filter(pk=method_id, user=user).first()
    if method is None or not method.secret:
        raise Missing("You have no such webhook.")
    method.secret = method.secret.split(",")[0]
    method.save(update_fields=["secret"])
    return method


def remove_method(*, user: User, method_id: int, now: datetime) -> str:
    """Its rules go with it, and what waits for it turns to the next way. What the method was called."""
    method = method_of(user, method_id)
    called = str(method)
    transitions.drop_method(method=method, now=now)
    return called


@transaction.atomic
def send_test(*, user: User, method_id: int, now: datetime) -> Notification:
    """A harmless message by this method. Raises Refused when not verified, or after too many."""
    method = method_of(user, method_id)
    if method.verified_at is None:
        raise Refused("Verify this method first.")
    sent = queries.sent_by_hand_since(user, queries.TEST_TOPIC, queries.recently(now))
    if sent >= rules.TESTS_PER_HOUR:
        raise Refused(
            f"{sent} tests were sent within the hour. The next one can be sent later.", code="too_many"
        )
    return transitions.notify_by(
        method=method, dedupe_key=f"test:{secrets.token_hex(12)}", topic=f"{queries.TEST_TOPIC}{method.pk}", now=now,
        title="Test: Muster reaches you here", reason="You asked for a test",
        body="This is a test. Nothing is burning and nothing is expected of you.",
        link=reverse("notifications:methods"), context={"kind": "test"},
    )  # fmt: skip


@transaction.atomic
def add_rule(*, user: User, urgency: str, method_id: int, minutes: int) -> NotificationRule:
    """One more step for this urgency. Raises Invalid with the field."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if urgency not in Urgency.values:
        raise Invalid("Not added.", fields={"urgency": ["High or low."]})
    if not 0 <= minutes <= 24 * 60:
        raise Invalid("Not added.", fields={"minutes": ["Between 0 and 1,440 minutes."]})
    method = method_of(user, method_id)
    if method.verified_at is None:
        raise Invalid(
            "Not added.", fields={"method": ["Verify this method first. Until then it is not used."]}
        )
    same = user.notification_rules.filter(urgency=urgency)
    seconds = int(timedelta(minutes=minutes).total_seconds())
    if same.filter(method=method, delay_seconds=seconds).exists():
        raise Invalid("Not added.", fields={"method": ["This step is there already."]})
    if same.count() >= rules.MAX_RULES_PER_URGENCY:
        raise Refused(f"{rules.MAX_RULES_PER_URGENCY} steps are the most. Remove one first.")
    return NotificationRule.objects.create(user=user, urgency=urgency, method=method, delay_seconds=seconds)


def remove_rule(*, user: User, rule_id: int) -> None:
    removed, _ = NotificationRule.objects.filter(pk=rule_id, user=user).delete()
    if not removed:
        raise Missing("You have no such step.")
