"""What higher apps do when a message has gone out or cannot, and when somebody answers one: notifications knows none of
them.

Each function runs once per final result as `fn(delivery, now)`, in a transaction of its own that holds no lock of
ours, soon after the one that recorded the result and as surely: a timer row links the two. So a subscriber may lock
its incident first, in the order in which everybody locks. `delivery.notification.unreachable` says that nothing is
left to try.
"""

from collections.abc import Callable
from datetime import datetime

from accounts.models import User
from core.errors import Missing
from notifications.models import Delivery, Notification

Hook = Callable[[Delivery, datetime], object]

_sent: list[Hook] = []
_failed: list[Hook] = []


def on_delivery_sent(hook: Hook) -> Hook:
    if hook not in _sent:
        _sent.append(hook)
    return hook


def on_delivery_failed(hook: Hook) -> Hook:
    if hook not in _failed:
        _failed.append(hook)
    return hook


def hooks_for(result: str) -> list[Hook]:
    return list({"sent": _sent, "failed": _failed}[result])


# --- what people do from a message ------------------------------------------------------------------------------

Action = Callable[[Notification, User, datetime, str], str]
"""`fn(notification, by, now, via)`: does it with the same transition as the button, and gives a sentence for the person.
Raises MusterError, whose message is said instead; Missing when the notification is about nothing that it knows."""

_actions: dict[str, Action] = {}


def action(name: str) -> Callable[[Action], Action]:
    """Names are those of rules.py: acknowledge, escalate, resolve."""

    def register(function: Action) -> Action:
        _actions[name] = function
        return function

    return register


def act(name: str, *, notification: Notification, by: User, now: datetime, via: str) -> str:
    if name not in _actions:
        raise Missing("There is nothing to do about this message.")
    return _actions[name](notification, by, now, via)
