"""Chats and other services that take messages, through apprise: for people's contact methods and for bridges. The
address was typed by a person: it names only what is allowed here, and it must not reach into this network.

apprise resolves the host's name once more when it connects, so a name that changes between the check and the call can
lead elsewhere (docs/operator-guide.md).
"""

import ipaddress
import logging
import re
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import apprise
from django.conf import settings

from core.errors import Invalid
from notifications.rules import is_public

# An address can name dozens of services, among them some that read files or run programs.
SCHEMES = {
    "slack",
    "mmost",
    "mmosts",
    "workflow",
    "workflows",
    "discord",
    "rocket",
    "rockets",
    "ntfy",
    "ntfys",
    "json",
    "jsons",
    "tgram",
    "matrix",
    "matrixs",
    "gotify",
    "gotifys",
    "hassio",
    "hassios",
    "signal",
    "signals",
    "pover",
    "pbul",
    "gchat",
    "wxteams",
    "lark",
    "dingtalk",
    "threema",
}
SERVICES = {
    "NotifySlack", "NotifyMattermost", "NotifyWorkflows", "NotifyDiscord", "NotifyRocketChat", "NotifyNtfy", "NotifyJSON",
    "NotifyTelegram", "NotifyMatrix", "NotifyGotify", "NotifyHomeAssistant", "NotifySignalAPI", "NotifyPushover",
    "NotifyPushBullet", "NotifyGoogleChat", "NotifyWebexTeams", "NotifyLark", "NotifyDingTalk", "NotifyThreema",
}  # fmt: skip
AT_A_HOST = {
    "NotifyMattermost", "NotifyWorkflows", "NotifyRocketChat", "NotifyNtfy", "NotifyJSON", "NotifyMatrix",
    "NotifyGotify", "NotifyHomeAssistant", "NotifySignalAPI",
}  # fmt: skip
IN_CLEAR = {"mmost", "rocket", "json", "matrix", "gotify", "hassio", "signal"}
NAMES = {"NotifyWorkflows": "Teams", "NotifyNtfy": "ntfy", "NotifyJSON": "JSON webhook"}

# Options can name files to read (template=) and switch off the check of certificates (verify=). These belong to the
# addresses that Teams gives out.
OPTIONS = {"api-version", "sp", "sv", "sig"}

EXAMPLES = "Examples: https://hooks.slack.com/services/…, https://chat.example.org/hooks/…, discord://…"

# It logs addresses whole, secrets included; what it has to say about a failure, `_Said` hears.
_log = logging.getLogger("apprise")
_log.setLevel(logging.WARNING)
_log.addHandler(logging.NullHandler())
_log.propagate = False

CONNECT_SECONDS = 4.0
ANSWER_SECONDS = 10.0


class ChatError(Exception):
    """Says in one line why the chat did not take it."""


class ChatRefused(ChatError):
    """The same message to the same address will be refused again."""


@dataclass(frozen=True)
class Address:
    url: str
    shown_as: str
    """Without what is secret in it."""
    service: str
    """What apprise calls it: NotifySlack."""


_MATTERMOST = re.compile(r"https?://([^/?#@]+(?:/[^?#]+?)?)/hooks/([a-z0-9]{26,32})/?", re.IGNORECASE)


def read(text: str) -> Address:
    """The address of a chat. Raises Invalid, with a sentence that helps, for what is none or is not allowed."""
    url = _as_apprise_has_it(text.strip())
    plugin = _plugin(url)
    kind = type(plugin).__name__
    if kind in AT_A_HOST:
        _check_host(_host(plugin))
        if (
            kind == "NotifyNtfy"
            and _has_own_host(plugin)
            and not (plugin.secure or settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS)
        ):
            raise _refused(
                "Messages would go unencrypted. Give an address that begins with https://, or an s before ://."
            )
    name = NAMES.get(kind) or str(plugin.service_name)
    shown_as = f"{name} at {_host(plugin)}" if kind in AT_A_HOST and _has_own_host(plugin) else name
    return Address(url, shown_as, kind)


def send(*, url: str, title: str, body: str) -> None:
    """Hand one message over. Raises ChatError or ChatRefused; returning means that the chat took it."""
    try:
        plugin = _plugin(url)
        if _has_own_host(plugin):
            _check_host(_host(plugin))
            _check_addresses(_host(plugin))
    except Invalid as error:
        raise ChatRefused(error.message) from None
    messenger = apprise.Apprise(asset=plugin.asset)
    messenger.add(plugin)
    said = _Said(plugin)
    taken = messenger.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
    if not taken:
        sentence = _without_secrets(said.last, url) or "The chat did not take it."
        raise ChatRefused(sentence) if _FOR_GOOD.search(said.last) else ChatError(sentence)


_FOR_GOOD = re.compile(r"error=4(?!08|09|23|25|29)\d\d")
"""How apprise says which status the other side answered."""


def _as_apprise_has_it(url: str) -> str:
    """An incoming webhook of Mattermost, as Mattermost shows it, says nowhere what it is."""
    if found := _MATTERMOST.fullmatch(url):
        return f"{'mmosts' if url.lower().startswith('https') else 'mmost'}://{found[1]}/{found[2]}"
    return url


def _plugin(url: str) -> Any:
    try:
        parts = urlsplit(url)
        scheme, options = parts.scheme.lower(), parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        raise _refused(f"This is no address. {EXAMPLES}") from None
    if scheme != "https" and scheme not in SCHEMES:
        raise _refused(f"Muster does not know this kind of chat. {EXAMPLES}")
    if any(letter.isspace() or ord(letter) < 32 for letter in url):
        raise _refused("The address holds a blank.")
    if scheme in IN_CLEAR and not settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS:
        raise _refused(f"Messages would go unencrypted. Write {scheme}s:// instead of {scheme}://.")
    for name, _ in options:
        if name.lower() not in OPTIONS:
            raise _refused(f"Leave the option {name[:40]!r} out of the address.")
    asset = apprise.AppriseAsset(
        app_id="Muster", app_desc="Muster", app_url=settings.MUSTER_BASE_URL, http_redirects=False, async_mode=False,
        image_url_mask="", image_url_logo="",
    )  # fmt: skip
    plugin: Any = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is None or type(plugin).__name__ not in SERVICES:
        raise _refused(f"This is no address of a chat that Muster knows. {EXAMPLES}")
    plugin.redirects, plugin.verify_certificate, plugin.retry = False, True, 0
    plugin.socket_connect_timeout, plugin.socket_read_timeout = CONNECT_SECONDS, ANSWER_SECONDS
    if hasattr(plugin, "discovery"):
        # A Matrix server could name another address, inside this network, where to go with the message.
        plugin.discovery = False
    if hasattr(plugin, "include_image"):
        plugin.include_image = False  # it would be fetched from elsewhere by everybody who reads
    return plugin


def _refused(sentence: str) -> Invalid:
    return Invalid(sentence, fields={"address": [sentence]})


def _has_own_host(plugin: Any) -> bool:
    return type(plugin).__name__ in AT_A_HOST and getattr(plugin, "mode", "") != "cloud"


def _host(plugin: Any) -> str:
    return str(plugin.host or "").strip("[]").lower()


def _check_host(host: str) -> None:
    if not host:
        raise _refused("The address names no host.")
    if settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS:
        return
    try:
        public = is_public(host)
    except ValueError:
        public = host != "localhost" and not host.endswith((".localhost", ".internal", ".local"))
    if not public:
        raise _refused("This address is inside a private network. Muster calls public addresses only.")


def _check_addresses(host: str) -> None:
    """All of the addresses that the name has now must be public."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise ChatError(f"The name {host} is not found.") from None
    if settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS:
        return
    inside = [address for address in found if not is_public(address)]
    if inside:
        raise ChatError(
            f"{host} is {ipaddress.ip_address(inside[0].split('%')[0])}, inside a private network."
        )


class _Said(logging.Handler):
    """apprise answers yes or no; why not stands only in what its plugin logs, in whatever thread it runs."""

    def __init__(self, plugin: Any) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        plugin.logger = logging.Logger("one message", logging.WARNING)
        plugin.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.last = " ".join(record.getMessage().split())


def _without_secrets(text: str, url: str) -> str:
    for part in re.split(r"[/:@?&=#]+", url)[1:]:
        if len(part) >= 8 and "." not in part:
            text = text.replace(part, "…")
    return text[:300]
