"""ntfy, Telegram, Matrix, Slack, Teams, Discord and the rest, through apprise."""

from collections.abc import Callable

from notifications import chat, rules
from notifications.channels.base import Message, NoLongerWanted, PermanentError, TransientError

LONGEST = 1800


class ChatChannel:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        top, rest = rules.heading(title=message.title, body=message.body)
        tail = "\n\n".join(part for part in (message.link, message.why) if part)
        body = f"{rest[: LONGEST - len(tail)].strip() or top}\n\n{tail}".strip()
        if not last_look():
            raise NoLongerWanted
        try:
            chat.send(url=message.address, title=rules.subject(top), body=body)
        except chat.ChatRefused as error:
            raise PermanentError(str(error)) from None
        except chat.ChatError as error:
            raise TransientError(str(error)) from None
        return "accepted"
