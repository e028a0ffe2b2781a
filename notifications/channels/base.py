"""What every channel takes and gives. `tests/notifications/test_channel_contract.py` holds all of them to it.

A new channel needs four things:

1. a class here beside the others with `kind` and `send`, and a line in `channels/__init__.py`;
2. a kind in `accounts.models.ContactKind`;
3. an entry in `notifications/kinds.py`: which fields its form asks for, how they become `ContactMethod.address` (what may
   be shown) and `ContactMethod.sealed` (what may not, encrypted), and whether this installation has what it needs;
4. an entry in the contract test.

Everything else (rules, verification, retries, the next channel, bundles, throttles, ledger, test button) follows.

`Message.address` is the method's address, or the text that was sealed if there is one. A channel that takes several
messages at once gets them in `Message.others`: the title, body and link then speak of all of them. It must not fail for
that; `send` is the same. What the other side says later about a message (delivered, a machine answered) goes through
`transitions.settle`, found by the `provider_id` of `Accepted`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Item:
    """One of several messages that leave as one."""

    title: str
    code: int | None = None


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
    code: int | None = None  # what a reply begins with: ack 12
    others: tuple[Item, ...] = ()  # all of a bundle; empty: this message is about one thing


class Accepted(str):
    """What the other side answered, with its own id of the message, for channels that hear of it again later."""

    provider: str
    provider_id: str

    def __new__(cls, said: str, *, provider: str = "", provider_id: str = "") -> "Accepted":
        made = super().__new__(cls, said)
        made.provider, made.provider_id = provider, provider_id
        return made


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
