"""SMS and calls, by the providers of the settings in their order. The first that takes a message has it."""

import time
from collections.abc import Callable
from urllib.parse import urljoin

import structlog
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from notifications import breaker, providers, rules
from notifications.channels.base import Accepted, Message, PermanentError, TransientError
from notifications.providers.base import NumberRefused, Provider, ProviderFailed, Spoken

log = structlog.get_logger(__name__)

Hand = Callable[[Provider], tuple[str, str]]

LAST_START = 24.0
"""After so many seconds no further provider is asked in one attempt: all of it must end before the lease does."""


def callback(what: str, provider: str, **more: object) -> str:
    """Where a provider tells us something; empty when it cannot reach this installation."""
    if not settings.MUSTER_PHONE_CALLBACKS:
        return ""
    path = reverse(f"notifications:phone_{what}", kwargs={"provider": provider, **more})
    return urljoin(f"{settings.MUSTER_BASE_URL}/", path)


def _by_the_first(kind: str, hand: Hand) -> str:
    """Each provider once, unless its breaker is open. A provider that did not answer in time may have taken the message:
    then it arrives twice, which is better than not at all."""
    accounts = providers.accounts(kind)
    if not accounts:
        raise PermanentError(
            f"This installation has no provider for {'SMS' if kind == 'sms' else 'calls'}: "
            f"MUSTER_{kind.upper()}_PROVIDERS names none."
        )
    said = []
    last_start = time.monotonic() + LAST_START
    for account in breaker.usable(accounts, now=timezone.now()):
        if time.monotonic() > last_start:
            break
        try:
            provider_id, answer = hand(providers.of(account))
        except NumberRefused:
            breaker.worked(account, now=timezone.now())
            raise
        except ProviderFailed as error:
            breaker.failed(account, error=str(error), now=timezone.now())
            log.warning("provider_failed", kind=kind, provider=account.name, error=str(error))
            said.append(f"{account.name}: {error}")
            continue
        breaker.worked(account, now=timezone.now())
        return Accepted(
            "; ".join([*said, f"{account.name}: {answer}"])[:500],
            provider=account.name,
            provider_id=provider_id,
        )
    raise TransientError("; ".join(said)[:500])


class SmsChannel:
    kind = "sms"

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        text = sms_text(message)

        def hand(provider: Provider) -> tuple[str, str]:
            return provider.send_sms(
                to=message.address, text=text, key=message.idempotency_key, last_look=last_look,
                status_url=callback("sms_status", provider.account.name, key=message.idempotency_key),
            )  # fmt: skip

        return _by_the_first(self.kind, hand)


def sms_text(message: Message) -> str:
    if message.kind == "verification":
        return f"Muster: your code is {message.context.get('code', '')}. It is good for 15 minutes."
    if message.kind == "answer":
        return message.title[:480]
    may_reply = bool(settings.MUSTER_PHONE_CALLBACKS)
    if message.others:
        return rules.bundle_sms(
            titles=[(each.title, each.code) for each in message.others], link=message.link, may_reply=may_reply,
        )  # fmt: skip
    how = f" Reply ack {message.code}." if may_reply and message.code and message.kind == "page" else ""
    text = rules.short_text(title=message.title, body=message.body, link=message.link, limit=300 - len(how))
    return f"{text}{how}"


class VoiceChannel:
    kind = "voice"

    def send(self, message: Message, *, last_look: Callable[[], bool]) -> str:
        def hand(provider: Provider) -> tuple[str, str]:
            name, key = provider.account.name, message.idempotency_key
            keys_url = callback("keys", name, key=key, turn=1) if message.kind == "page" else ""
            return provider.call(
                to=message.address, spoken=Spoken(spoken_text(message, keys=bool(keys_url)), keys_url),
                answer_url=callback("answered", name, key=key), status_url=callback("call_status", name, key=key),
                key=key, last_look=last_look,
            )  # fmt: skip

        return _by_the_first(self.kind, hand)


def spoken_text(message: Message, *, keys: bool) -> str:
    if message.kind == "verification":
        code = ", ".join(str(message.context.get("code", "")))
        return f"This is Muster. Your code is: {code}. Again: {code}."
    titles = [each.title for each in message.others] or [message.title]
    return rules.spoken(titles=titles, test=message.kind == "test", keys=keys)
