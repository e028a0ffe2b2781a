"""What every channel takes and gives. `tests/notifications/test_channel_contract.py` holds all of them to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Message:
    """All that a channel needs; it reads no database."""

    idempotency_key: str  # the same for every attempt, so that the other side can tell a repeat
    address: str
    secret: str = ""
    title: str
    body: str
    link: str = ""  # absolute
    action: str = "Open"
    why: str = ""
    urgency: str = "high"
    topic: str = ""
    recipient: str = ""
    kind: str = "notification"
    unsubscribe: str = ""  # absolute; a POST to it ends the mails
    created_at: datetime
    context: dict[str, Any] = field(default_factory=dict)


class ChannelError(Exception):
    """Says in one line what the other side answered; people read it in the ledger."""


class TransientError(ChannelError):
    """Not accepted for now: trying again may help."""


class PermanentError(ChannelError):
    """Refused: the same message to the same address will be refused again."""


class NoLongerWanted(Exception):
    """The last look said no, so nothing was handed over."""


def one_line(text: str) -> str:
    """What the other side said, as the ledger can keep it: Postgres stores no NUL."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


class Channel(Protocol):
    kind: str

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        """Hand the message over; what the other side answered, such as its own id of it.

        Calls `last_look` once, when connecting and everything else that takes time is done, and raises NoLongerWanted
        if it says no. Raises TransientError or PermanentError. Returning means: accepted.
        """
        ...
