"""A channel without a network. test_channel_contract.py holds it to what the real ones do."""

from collections.abc import Callable

from notifications.channels.base import Message, NoLongerWanted, PermanentError, TransientError


class FakeChannel:
    """Accepts everything, unless `answers` (first to last, for one attempt each) or `by_address` says otherwise.

    An answer is "ok", "transient", "permanent", or a function that is called and may raise.
    """

    def __init__(self, kind: str = "email") -> None:
        self.kind = kind
        self.accepted: list[Message] = []
        self.tried: list[Message] = []
        self.answers: list[str | Callable[[Message], None]] = []
        self.by_address: dict[str, str] = {}

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        if not last_look():
            raise NoLongerWanted
        self.tried.append(message)
        answer = self.answers.pop(0) if self.answers else self.by_address.get(message.address, "ok")
        if callable(answer):
            answer(message)
        elif answer == "transient":
            raise TransientError("451 come back later")
        elif answer == "permanent":
            raise PermanentError("550 nobody here")
        self.accepted.append(message)
        return "250 accepted"
