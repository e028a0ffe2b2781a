"""What higher apps do when a message has gone out or cannot: notifications knows none of them.

Each function runs once per final result as `fn(delivery, now)`, in a transaction of its own that holds no lock of
ours, soon after the one that recorded the result and as surely: a timer row links the two. So a subscriber may lock
its incident first, in the order in which everybody locks. `delivery.notification.unreachable` says that nothing is
left to try.
"""

from collections.abc import Callable
from datetime import datetime

from notifications.models import Delivery

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
