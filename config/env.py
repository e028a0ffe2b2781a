"""Every environment variable that Muster reads, typed, with what it means.

Nothing else in the project reads the environment. `docs/settings.md` shows this table (a test compares the
two). A value that cannot be used raises `SettingError` with one sentence that names the variable.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from notifications.phone_accounts import Account, read_accounts
from notifications.push.vapid import read_key
from notifications.rules import Limit

BASE_DIR = Path(__file__).resolve().parent.parent
SHORTEST_KEY = 32


class SettingError(Exception):
    """One sentence that names the variable and says what it should be."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    name: str
    default: str  # as it would be written in the environment; "" when there is none
    meaning: str
    read: Callable[[str], Any]


def _text(value: str) -> str:
    return value


def _secret_key(value: str) -> str:
    if value and len(value) < SHORTEST_KEY:
        raise ValueError(f"must have at least {SHORTEST_KEY} characters")
    return value


def _path(value: str) -> Path:
    path = Path(value).expanduser()
    return path if path.is_absolute() else BASE_DIR / path


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"\d+", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return read


def _yes_no(value: str) -> bool:
    if value.lower() in {"1", "true", "yes", "on"}:
        return True
    if value.lower() in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("must be true or false")


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value

    return read


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _networks(value: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(word) for word in _words(value)]
    except ValueError as error:
        raise ValueError(f"must be addresses or networks separated by commas ({error})") from None


def _minutes(count: int) -> Callable[[str], list[int]]:
    def read(value: str) -> list[int]:
        parts = [part.strip() for part in value.split(",")]
        if len(parts) != count or not all(part.isdecimal() and int(part) <= 1440 for part in parts):
            raise ValueError(f"must be {count} whole numbers of minutes from 0 to 1440, separated by commas")
        return [int(part) for part in parts]

    return read


def _url(*schemes: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if not value:
            return ""
        parts = urlsplit(value)
        try:
            parts.port  # noqa: B018  raises when the port is no number
        except ValueError:
            raise ValueError("has a port that is not a number") from None
        if parts.scheme not in schemes:
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if not parts.netloc and parts.scheme not in {"file", "consolemail", "unix"}:
            raise ValueError("names no host")
        return value

    return read


def _base_url(value: str) -> str:
    return _url("http", "https")(value).rstrip("/")


def _mail_domain(value: str) -> str:
    if value and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", value.lower()):
        raise ValueError("must be a domain as reply.example.org")
    return value.lower()


def _providers(kind: str) -> Callable[[str], list[Account]]:
    return lambda value: read_accounts(kind, value)


_CAN_BE_LIMITED = {
    "email", "sms", "voice", "push", "ntfy", "telegram", "matrix", "slack", "teams", "discord", "apprise", "webhook",
}  # fmt: skip


def _limits(value: str) -> dict[str, list[Limit]]:
    """`sms=1/1,5/15 voice=3/15`: one message in a minute, five in 15; three calls in 15."""
    found: dict[str, list[Limit]] = {}
    for word in "" if value == "none" else value.split():
        kind, _, text = word.partition("=")
        match = [re.fullmatch(r"(\d{1,4})/(\d{1,4})", part) for part in text.split(",")]
        if kind not in _CAN_BE_LIMITED or not all(each and int(each[1]) and int(each[2]) for each in match):
            raise ValueError("must be limits as sms=1/1,5/15 voice=3/15 (messages/minutes), or none")
        found[kind] = [Limit(int(each[1]), int(each[2])) for each in match if each]
    return found


SETTINGS = [
    Setting(
        name="MUSTER_HOME",
        default=".muster",
        read=_path,
        meaning="Folder for the embedded servers' data, the secret key and, without `EMAIL_URL`, the mails. "
        "A relative path starts at the project's folder.",
    ),
    Setting(
        name="MUSTER_PORT",
        default="8000",
        read=_whole(1, 65535),
        meaning="Port that the web server listens on.",
    ),
    Setting(
        name="MUSTER_HOST",
        default="127.0.0.1",
        read=_text,
        meaning="Address that the web server listens on; `0.0.0.0` for every interface.",
    ),
    Setting(
        name="MUSTER_BASE_URL",
        default="",
        read=_base_url,
        meaning="Address that people and senders use, for links in pages and mails. "
        "Without it: `http://localhost:` and the port. With `https://`, cookies are secure only.",
    ),
    Setting(
        name="MUSTER_SECRET_KEY",
        default="",
        read=_secret_key,
        meaning="Signs sessions and acknowledge links; at least 32 characters. Without it one is made and kept in "
        "`MUSTER_HOME/secret_key`. Several machines need the same one.",
    ),
    Setting(
        name="MUSTER_OIDC_ISSUER",
        default="",
        read=_url("http", "https"),
        meaning="OpenID Connect provider for signing in, as the address before "
        "`/.well-known/openid-configuration`. Only people whom Muster already has by their verified address come in.",
    ),
    Setting(
        name="MUSTER_OIDC_NAME",
        default="Single sign-on",
        read=_text,
        meaning='What the button on the sign-in page says after "Sign in with".',
    ),
    Setting(
        name="MUSTER_OIDC_CLIENT_ID",
        default="",
        read=_text,
        meaning="Client ID that the provider gave. The redirect address to register there ends with "
        "`/account/oidc/sso/login/callback/`.",
    ),
    Setting(
        name="MUSTER_OIDC_CLIENT_SECRET",
        default="",
        read=_text,
        meaning="Client secret that the provider gave.",
    ),
    Setting(
        name="MUSTER_ALLOWED_HOSTS",
        default="",
        read=_words,
        meaning="Host names that may be asked for, separated by commas, beside the one of `MUSTER_BASE_URL`, "
        "`localhost` and `127.0.0.1`.",
    ),
    Setting(
        name="MUSTER_TRUSTED_PROXIES",
        default="",
        read=_networks,
        meaning="Addresses or networks of reverse proxies, separated by commas, whose "
        "`X-Forwarded-For` and `X-Forwarded-Proto` are believed.",
    ),
    Setting(
        name="MUSTER_DEBUG",
        default="false",
        read=_yes_no,
        meaning="Django's debug pages. Never on a server that others can reach.",
    ),
    Setting(
        name="DATABASE_URL",
        default="",
        read=_url("postgres", "postgresql"),
        meaning="PostgreSQL 15 or newer, `postgres://user:password@host:5432/name`. "
        "Without it `manage.py up` starts its own.",
    ),
    Setting(
        name="MUSTER_DB_POOL",
        default="12",
        read=_whole(2, 500),
        meaning="Database connections that one process opens at most.",
    ),
    Setting(
        name="REDIS_URL",
        default="",
        read=_url("redis", "rediss", "unix"),
        meaning="Redis 6.2 or Valkey 7.2 or newer, `redis://host:6379/0`. Without it "
        "`manage.py up` starts its own. It holds nothing that matters.",
    ),
    Setting(
        name="EMAIL_URL",
        default="",
        read=_url("smtp", "smtps", "smtp+tls", "smtp+ssl", "consolemail", "file"),
        meaning="Mail server, `smtp://user:password@host:587/?tls=true` or `smtps://…`. "
        "Without it mails are files in `MUSTER_HOME/mail`.",
    ),
    Setting(
        name="MUSTER_FROM_EMAIL",
        default="Muster <muster@localhost>",
        read=_text,
        meaning="Sender of the mails.",
    ),
    Setting(
        name="MUSTER_REPLY_DOMAIN",
        default="",
        read=_mail_domain,
        meaning="Domain whose mails a mail service hands to `/notifications/mail/in/`. Pages then say "
        "`Reply-To: page+…@` it, and a reply that begins with ack, escalate or resolve is carried out. Without it nothing "
        "is read.",
    ),
    Setting(
        name="MUSTER_REPLY_SECRET",
        default="",
        read=_secret_key,
        meaning="Signs what the mail service hands over; at least 32 characters. For Mailgun: its HTTP webhook signing key. "
        "Needed with `MUSTER_REPLY_DOMAIN`.",
    ),
    Setting(
        name="MUSTER_SMS_PROVIDERS",
        default="",
        read=_providers("sms"),
        meaning="Accounts for SMS in the order of use, separated by blanks: `twilio://SID:TOKEN@?from=+4930123456` or "
        "`vonage://KEY:SECRET@?from=Muster&signature_secret=…`. A host after the @ replaces the provider's own. Without it "
        "people cannot add SMS.",
    ),
    Setting(
        name="MUSTER_VOICE_PROVIDERS",
        default="",
        read=_providers("voice"),
        meaning="The same for calls: `twilio://SID:TOKEN@?from=+4930123456` or "
        "`vonage://APPLICATION@?from=+4930123456&key_file=/etc/muster/vonage.pem&signature_secret=…`.",
    ),
    Setting(
        name="MUSTER_PHONE_CALLBACKS",
        default="false",
        read=_yes_no,
        meaning="Whether those providers can reach `MUSTER_BASE_URL`. Then keys and SMS replies work; without it people "
        "answer with the link, and Muster asks the providers what became of a message.",
    ),
    Setting(
        name="MUSTER_VAPID_PRIVATE_KEY",
        default="",
        read=read_key,
        meaning="Signs push messages to browsers: a P-256 private key, 32 bytes in base64url or PEM. Without it one is "
        "derived from the secret key. With another key every browser has to be added again.",
    ),
    Setting(
        name="MUSTER_MESSAGE_LIMITS",
        default="sms=1/1,5/15,11/60,21/180 voice=1/1,3/15,7/60,15/180",
        read=_limits,
        meaning="How many messages one contact method gets at most, as messages/minutes. What is over waits and leaves as "
        "one message. An incident's first page never waits. `none`: no limits.",
    ),
    Setting(
        name="MUSTER_BUNDLE_SECONDS",
        default="15",
        read=_whole(0, 120),
        meaning="A message takes along what else is due by the same contact method within so many seconds.",
    ),
    Setting(
        name="MUSTER_HEARTBEAT_URL",
        default="",
        read=_url("http", "https"),
        meaning="Outside monitor that is called while deadlines are met, so that somebody notices when "
        "Muster itself is down.",
    ),
    Setting(
        name="MUSTER_WEB_PROCESSES",
        default="2",
        read=_whole(1, 64),
        meaning="Web server processes.",
    ),
    Setting(
        name="MUSTER_WEB_THREADS",
        default="8",
        read=_whole(1, 128),
        meaning="Threads in each web process that answer requests.",
    ),
    Setting(
        name="MUSTER_WORKERS",
        default="1",
        read=_whole(1, 64),
        meaning="Workers for each group of queues (`timers` with `default`; `deliver`).",
    ),
    Setting(
        name="MUSTER_WORKER_PROCESSES",
        default="2",
        read=_whole(1, 128),
        meaning="Processes that each worker runs tasks in. The workers for `deliver` have twice as many, since they "
        "wait for other servers.",
    ),
    Setting(
        name="MUSTER_TIMEKEEPERS",
        default="1",
        read=_whole(1, 8),
        meaning="Timekeeper processes. More than one is safe; run two on different machines.",
    ),
    Setting(
        name="MUSTER_LOG_FORMAT",
        default="plain",
        read=_one_of("plain", "json"),
        meaning="`plain` for people, `json` for one object a line.",
    ),
    Setting(
        name="MUSTER_LOG_LEVEL",
        default="INFO",
        read=_one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        meaning="Least important level that is logged.",
    ),
    Setting(
        name="MUSTER_ALLOW_PRIVATE_WEBHOOKS",
        default="false",
        read=_yes_no,
        meaning="Whether outgoing webhooks may call loopback, private and link-local addresses.",
    ),
    Setting(
        name="MUSTER_UPDATE_MINUTES",
        default="15,30,120,0",
        read=_minutes(4),
        meaning="After how many minutes stakeholders expect the next update, for SEV1 to SEV4; 0: none is promised.",
    ),
    Setting(
        name="MUSTER_PUBLIC_STATUS",
        default="false",
        read=_yes_no,
        meaning="Whether `/status/public/` shows to everybody what was published there. Without it the page does not exist.",
    ),
    Setting(
        name="MUSTER_READINESS",
        default="reachable",
        read=_one_of("off", "reachable", "strict"),
        meaning="Who may be put on call, and counts as being there: `reachable`, whoever has a verified contact method; "
        "`strict`, also with a rule for each urgency and two kinds of channels; `off`, everybody.",
    ),
    Setting(
        name="MUSTER_REVERIFY_DAYS",
        default="90",
        read=_whole(0, 3650),
        meaning="After so many days a contact method is to be confirmed again; 0: never.",
    ),
    Setting(
        name="MUSTER_ATTACHMENT_MB",
        default="10",
        read=_whole(1, 25),
        meaning="Largest attachment of a message, in megabytes.",
    ),
    Setting(
        name="MUSTER_EMBED_ORIGINS",
        default="",
        read=_words,
        meaning="Other sites that may show an incident's banner in a frame, as `https://wiki.example.org`, separated by "
        "commas. Empty: none.",
    ),
    Setting(
        name="MUSTER_METRICS_TOKEN",
        default="",
        read=_text,
        meaning="Bearer token for `/metrics`. Without it only this machine may read them.",
    ),
    Setting(
        name="MUSTER_DEMO",
        default="true",
        read=_yes_no,
        meaning="Whether `manage.py up` loads the demonstration data when the database is new.",
    ),
]


def load(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every setting by its name. An empty variable counts as one that is not set."""
    source = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        raw = (source.get(setting.name) or setting.default).strip()
        try:
            values[setting.name] = setting.read(raw)
        except ValueError as error:
            # An address may hold a password, so only plain values are repeated.
            is_plain = (
                len(raw) <= 60 and "/" not in raw and "@" not in raw and "SECRET" not in setting.name
                and "PRIVATE_KEY" not in setting.name
                and not setting.name.endswith("_PROVIDERS")
            )  # fmt: skip
            shown = f", not {raw!r}" if is_plain else ""
            raise SettingError(f"{setting.name} {error}{shown}.") from None
    if values["MUSTER_OIDC_ISSUER"] and not values["MUSTER_OIDC_CLIENT_ID"]:
        raise SettingError("MUSTER_OIDC_CLIENT_ID is needed with MUSTER_OIDC_ISSUER.")
    if values["MUSTER_REPLY_DOMAIN"] and not values["MUSTER_REPLY_SECRET"]:
        raise SettingError("MUSTER_REPLY_SECRET is needed with MUSTER_REPLY_DOMAIN.")
    return values
