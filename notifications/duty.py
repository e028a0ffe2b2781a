"""What schedules have to say goes out by the rules of whoever it is for; nobody is woken by it."""

from datetime import datetime

from notifications.models import Urgency
from notifications.transitions import notify
from oncall.hooks import Message, on_message


@on_message
def pass_on(message: Message, now: datetime) -> None:
    notify(
        recipient=message.recipient, dedupe_key=message.key, topic=message.topic, urgency=Urgency.LOW,
        title=message.title, body=message.body, link=message.link, context={"kind": "duty"}, now=now,
    )  # fmt: skip
