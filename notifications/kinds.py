"""What each kind of contact method asks for, and what becomes of it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts.models import ContactKind
from core.errors import Invalid
from notifications import channels, chat, providers, rules
from notifications.channels.webhook import validate_url
from notifications.push import rules as push


@dataclass(frozen=True)
class Field:
    name: str
    label: str
    help: str = ""
    secret: bool = False
    required: bool = True
    initial: str = ""


@dataclass(frozen=True)
class Target:
    """Where messages go: what may be shown, and the whole of it where that holds a secret."""

    shown: str
    whole: str = ""


@dataclass(frozen=True)
class Kind:
    fields: tuple[Field, ...]
    read: Callable[[Mapping[str, str]], Target]
    needs: Callable[[], bool] = lambda: True
    icon: str = "message"


def kind_of(value: str) -> Kind:
    """Raises Invalid for a kind that this installation does not offer."""
    kind = KINDS.get(value)
    if kind is None or value not in channels.CHANNELS or not kind.needs():
        raise Invalid(
            "Not added.", fields={"kind": [f"One of {', '.join(label for _, label in offered())}."]}
        )
    return kind


def offered() -> list[tuple[str, str]]:
    """Kinds that can be added here, in order."""
    return [
        (value, label)
        for value, label in ContactKind.choices
        if value in KINDS and value in channels.CHANNELS and KINDS[value].needs()
    ]


def read(value: str, given: Mapping[str, str]) -> Target:
    """Raises Invalid with the field that is wrong."""
    kind = kind_of(value)
    clean = {field.name: str(given.get(field.name) or "").strip() or field.initial for field in kind.fields}
    missing = {
        field.name: [_needed(field)]
        for field in kind.fields
        if (field.required and not clean[field.name])
        or len(clean[field.name]) > 500
        or "\x00" in clean[field.name]
    }
    if missing:
        raise Invalid("Not added.", fields=missing)
    target = kind.read(clean)
    if len(target.shown) > 500:
        raise Invalid("Not added.", fields={kind.fields[0].name: [_needed(kind.fields[0])]})
    return target


def _needed(field: Field) -> str:
    what = "an address" if field.name == "address" else f"this: {field.label.lower()}"
    return f"Give {what} of at most 500 characters."


def _refuse(name: str, sentence: str) -> Invalid:
    return Invalid("Not added.", fields={name: [sentence]})


def _email(given: Mapping[str, str]) -> Target:
    try:
        validate_email(given["address"])
    except ValidationError:
        raise _refuse("address", "This is not an e-mail address. Example: ravi@example.org") from None
    return Target(given["address"])


def _webhook(given: Mapping[str, str]) -> Target:
    try:
        validate_url(given["address"])
    except ValidationError as error:
        raise _refuse("address", error.messages[0]) from None
    return Target(given["address"])


def _phone(given: Mapping[str, str]) -> Target:
    number = rules.phone_number(given["address"])
    if number is None:
        raise _refuse("address", "Give the number with its country code. Example: +49 30 123456")
    return Target(number)


def _push(given: Mapping[str, str]) -> Target:
    try:
        validate_url(given["endpoint"])
        wanted = push.subscription(endpoint=given["endpoint"], p256dh=given["p256dh"], auth=given["auth"])
    except (ValidationError, ValueError):
        raise _refuse(
            "endpoint", "The browser gave a subscription that cannot be used. Press again."
        ) from None
    return Target(f"{given['browser'][:60]} ({push.mark(wanted.endpoint)})", wanted.text())


def _may_push() -> bool:
    """Browsers subscribe only where nobody can listen."""
    parts = urlsplit(settings.MUSTER_BASE_URL)
    return parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def _through_chat(url: str, field: str, *, service: str = "", shown: str = "") -> Target:
    try:
        address = chat.read(url)
    except Invalid as error:
        raise _refuse(field, error.message) from None
    if service and address.service != service:
        raise _refuse(field, f"This is an address of {address.shown_as}.")
    # Two rooms of one chat must not look the same, and the mark gives nothing away.
    mark = hashlib.sha256(address.url.encode()).hexdigest()[:4]
    return Target(f"{shown or address.shown_as} ({mark})", address.url)


def _host(text: str, field: str, scheme: str) -> str:
    """`https://ntfy.example.org/` or `ntfy.example.org` as the middle of an apprise address; http only where allowed."""
    parts = urlsplit(text if "://" in text else f"https://{text}")
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise _refuse(field, "Give the server as https://ntfy.example.org")
    return f"{scheme}{'s' if parts.scheme == 'https' else ''}://{{at}}{parts.netloc}"


def _ntfy(given: Mapping[str, str]) -> Target:
    base = _host(given["server"], "server", "ntfy")
    host = urlsplit(base.replace("{at}", "")).netloc
    topic = given["topic"].strip("/")
    if not topic or not all(letter.isalnum() or letter in "_-" for letter in topic):
        raise _refuse("topic", "A topic has letters, digits, - and _ only.")
    at = f"{quote(given['token'], safe='')}@" if given["token"] else ""
    url = f"{base.format(at=at)}/{topic}" if host != "ntfy.sh" or at else f"ntfy://{topic}"
    # On a public server whoever knows the topic can read it.
    return _through_chat(url, "server", service="NotifyNtfy", shown=f"{topic[:3]}… at {host}")


def _telegram(given: Mapping[str, str]) -> Target:
    chat_id = given["chat"]
    if not chat_id.lstrip("-").isdecimal() and not chat_id.startswith("@"):
        raise _refuse("chat", "A chat is a number, or @name.")
    url = f"tgram://{given['token']}/{quote(chat_id, safe='@-')}"
    return _through_chat(url, "token", service="NotifyTelegram", shown=f"chat {chat_id}")


def _matrix(given: Mapping[str, str]) -> Target:
    base = _host(given["server"], "server", "matrix")
    room = given["room"]
    if not room.startswith(("!", "#")) or ":" not in room:
        raise _refuse("room", "A room is !abc:example.org, or #name:example.org")
    url = f"{base.format(at=quote(given['token'], safe='') + '@')}/{quote(room, safe='!')}"
    return _through_chat(url, "server", service="NotifyMatrix", shown=f"{room}")


def _hook(service: str) -> Callable[[Mapping[str, str]], Target]:
    return lambda given: _through_chat(given["address"], "address", service=service)


def _any(given: Mapping[str, str]) -> Target:
    return _through_chat(given["address"], "address")


_HOOK_HELP = "It is kept encrypted and not shown again."

KINDS: dict[str, Kind] = {
    ContactKind.EMAIL: Kind(
        (Field("address", "Address", "ravi@example.org. A code is sent there."),), _email, icon="mail"
    ),
    ContactKind.SMS: Kind(
        (Field("address", "Mobile number", "With its country code, as +49 170 123456. A code is sent there."),),
        _phone, needs=lambda: bool(providers.accounts("sms")),
    ),
    ContactKind.VOICE: Kind(
        (Field("address", "Phone number", "With its country code, as +49 30 123456. A call says a code."),),
        _phone, needs=lambda: bool(providers.accounts("voice")), icon="phone",
    ),
    # A browser fills these in: see static/js/push.js.
    ContactKind.PUSH: Kind(
        (
            Field("endpoint", "Address of the push service"),
            Field("p256dh", "Key", secret=True),
            Field("auth", "Secret", secret=True),
            Field("browser", "Browser", required=False, initial="Browser"),
        ),
        _push, needs=_may_push, icon="device-mobile",
    ),
    ContactKind.NTFY: Kind(
        (
            Field("server", "Server", "Yours, or https://ntfy.sh", initial="https://ntfy.sh"),
            Field("topic", "Topic", "On a public server choose one that nobody guesses."),
            Field("token", "Access token", "If the topic is protected.", secret=True, required=False),
        ),
        _ntfy,
    ),
    ContactKind.TELEGRAM: Kind(
        (
            Field("token", "Bot token", "From @BotFather. It is kept encrypted and not shown again.", secret=True),
            Field("chat", "Chat", "The number of your chat with the bot, or @channel."),
        ),
        _telegram,
    ),
    ContactKind.MATRIX: Kind(
        (
            Field("server", "Homeserver", "The address that clients call, as https://matrix.example.org"),
            Field("token", "Access token", _HOOK_HELP, secret=True),
            Field("room", "Room", "!abc:example.org. The bot must be in it."),
        ),
        _matrix,
    ),
    ContactKind.SLACK: Kind(
        (Field("address", "Incoming webhook", f"https://hooks.slack.com/services/… {_HOOK_HELP}", secret=True),),
        _hook("NotifySlack"),
    ),
    ContactKind.TEAMS: Kind(
        (Field("address", "Workflow address", f"https://….logic.azure.com/workflows/… {_HOOK_HELP}", secret=True),),
        _hook("NotifyWorkflows"),
    ),
    ContactKind.DISCORD: Kind(
        (Field("address", "Webhook", f"https://discord.com/api/webhooks/… {_HOOK_HELP}", secret=True),),
        _hook("NotifyDiscord"),
    ),
    ContactKind.APPRISE: Kind(
        (
            Field(
                "address", "Apprise address",
                f"pover://…, gotifys://…, signals://…, mmosts://… and other services of apprise. {_HOOK_HELP}", secret=True,
            ),
        ),
        _any,
    ),
    ContactKind.WEBHOOK: Kind(
        (Field("address", "Address", "https://example.org/hook. A code is sent there."),), _webhook
    ),
}  # fmt: skip
