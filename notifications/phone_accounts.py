"""An account with a provider of SMS or calls, as the settings name it. Pure: `config/env.py` reads it at the start."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

HOSTS = {
    ("twilio", "sms"): "api.twilio.com", ("twilio", "voice"): "api.twilio.com",
    ("vonage", "sms"): "rest.nexmo.com", ("vonage", "voice"): "api.nexmo.com",
}  # fmt: skip
OPTIONS = {"from", "name", "signature_secret", "key_file"}


@dataclass(frozen=True, kw_only=True)
class Account:
    name: str
    family: str  # whose API it speaks: twilio or vonage
    kind: str  # sms or voice
    base: str  # as https://api.twilio.com
    user: str = field(repr=False)
    password: str = field(repr=False, default="")
    sender: str
    signature_secret: str = field(repr=False, default="")
    private_key: str = field(repr=False, default="")


def read_accounts(kind: str, text: str) -> list[Account]:
    """`twilio://SID:TOKEN@?from=+4930123456 vonage://…`, in the order of use. Raises ValueError without a secret in it."""
    accounts: list[Account] = []
    for number, word in enumerate(text.split(), start=1):
        account = _read(kind, word, f"address {number}")
        if any(each.name == account.name for each in accounts):
            raise ValueError(f"names two providers {account.name}: tell them apart with name=…")
        accounts.append(account)
    return accounts


def _read(kind: str, word: str, where: str) -> Account:
    try:
        parts = urlsplit(word)
        port = parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError(f"cannot be read at {where}") from None
    family, _, transport = parts.scheme.partition("+")
    if family not in ("twilio", "vonage") or transport not in ("", "http"):
        raise ValueError(f"must start with twilio:// or vonage:// at {where}")
    if unknown := set(options) - OPTIONS:
        raise ValueError(f"has the unknown option {sorted(unknown)[0][:20]} at {where}")
    if not parts.username or not options.get("from"):
        raise ValueError(f"needs an account before the @ and from=… at {where}")
    # A + in a query is a blank; in a phone number it is meant.
    sender = options["from"].strip()
    if sender.isdecimal() and family == "twilio":
        sender = f"+{sender}"
    host = parts.hostname or HOSTS[family, kind]
    if ":" in host:
        host = f"[{host}]"
    base = f"{'http' if transport else 'https'}://{host}{f':{port}' if port else ''}"
    private_key = ""
    if family == "vonage" and kind == "voice":
        private_key = _key(options.get("key_file", ""), where)
    elif not parts.password:
        raise ValueError(f"needs the account's secret as account:secret@ at {where}")
    return Account(
        name=options.get("name", family)[:40], family=family, kind=kind, base=base, user=unquote(parts.username),
        password=unquote(parts.password or ""), sender=sender, private_key=private_key,
        signature_secret=options.get("signature_secret", ""),
    )  # fmt: skip


def _key(path: str, where: str) -> str:
    if not path:
        raise ValueError(f"needs key_file=… with the application's private key at {where}")
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ValueError(f"names a key file that cannot be read at {where}: {error.strerror}") from None
