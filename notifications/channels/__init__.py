"""The ways out. What a new one needs is written in base.py."""

from notifications.channels.base import Channel, PermanentError
from notifications.channels.chat import ChatChannel
from notifications.channels.email import EmailChannel
from notifications.channels.phone import SmsChannel, VoiceChannel
from notifications.channels.push import PushChannel
from notifications.channels.webhook import WebhookChannel

CHATS = ("ntfy", "telegram", "matrix", "slack", "teams", "discord", "apprise")

CHANNELS: dict[str, Channel] = {
    each.kind: each
    for each in (
        EmailChannel(),
        SmsChannel(),
        VoiceChannel(),
        PushChannel(),
        *(ChatChannel(kind) for kind in CHATS),
        WebhookChannel(),
    )
}


def channel(kind: str) -> Channel:
    if kind not in CHANNELS:
        raise PermanentError(f"This installation has no channel {kind}.")
    return CHANNELS[kind]
