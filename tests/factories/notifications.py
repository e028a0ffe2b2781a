"""Rules of people, and messages to them."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.models import ContactMethod, User
from notifications.models import Notification, NotificationRule, Urgency
from notifications.transitions import notify

_numbers = itertools.count(1)

NOW = datetime(2026, 11, 24, 2, 41, tzinfo=UTC)


def make_rule(
    method: ContactMethod, *, after: timedelta = timedelta(0), urgency: str = Urgency.HIGH
) -> NotificationRule:
    return NotificationRule.objects.create(
        user=method.user, method=method, urgency=urgency, delay_seconds=int(after.total_seconds())
    )


def make_notification(recipient: User, *, now: datetime = NOW, **fields: Any) -> Notification:
    """A page by the person's rules, about a topic of its own unless one is given."""
    number = next(_numbers)
    fields = {
        "dedupe_key": f"test:{number}", "topic": f"incident:{number}", "urgency": "high", "title": "SEV1 Checkout fails",
        "body": "How bad: all of it", "link": "/p/x/", "context": {}, **fields,
    }  # fmt: skip
    return notify(recipient=recipient, now=now, **fields)
