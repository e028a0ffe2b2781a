"""A browser's subscription, in words and in numbers. Pure."""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec

MOST_BYTES = 3000
"""Of the message before it is encrypted. Push services take 4,096 encrypted."""

KEPT = {"page": timedelta(hours=4), "verification": timedelta(minutes=10)}
"""How long a push service keeps what a phone that is off has not fetched yet. A page is worth knowing late."""
KEPT_OTHERWISE = timedelta(hours=1)


@dataclass(frozen=True)
class Subscription:
    endpoint: str
    p256dh: bytes
    auth: bytes

    def text(self) -> str:
        return json.dumps(
            {"endpoint": self.endpoint, "p256dh": encode(self.p256dh), "auth": encode(self.auth)}
        )


def read_subscription(text: str) -> Subscription:
    """What `Subscription.text` wrote. Raises ValueError."""
    try:
        found = json.loads(text)
        return subscription(endpoint=found["endpoint"], p256dh=found["p256dh"], auth=found["auth"])
    except (TypeError, KeyError):
        raise ValueError("not a subscription") from None


def subscription(*, endpoint: str, p256dh: str, auth: str) -> Subscription:
    """Raises ValueError unless a message can be encrypted for these keys."""
    point, secret = decode(p256dh), decode(auth)
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    if len(secret) != 16:
        raise ValueError("the secret has not 16 bytes")
    return Subscription(endpoint, point, secret)


def decode(text: str) -> bytes:
    """base64url with or without its padding. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_\-]*={0,2}", text):
        raise ValueError("not base64url")
    try:
        return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def mark(endpoint: str) -> str:
    """Tells two browsers of one kind apart, and gives nothing away. `static/js/push.js` makes the same."""
    return hashlib.sha256(endpoint.encode()).hexdigest()[:6]


def topic(text: str) -> str:
    """32 letters of base64url, which is all that the header may hold. A message replaces one of the same topic that was
    not fetched yet."""
    return encode(hashlib.sha256(text.encode()).digest()[:24])


_BROWSERS = (
    ("Edge", r"Edg(e|A|iOS)?/"), ("Opera", r"OPR/|OPT/|Opera"), ("Samsung Internet", r"SamsungBrowser/"),
    ("Vivaldi", r"Vivaldi/"), ("Firefox", r"Firefox/|FxiOS/"), ("Chrome", r"Chrome/|CriOS/|Chromium/"),
    ("Safari", r"Version/[\d.]+.*Safari/"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", r"iPhone"), ("iPad", r"iPad"), ("Android", r"Android"), ("Windows", r"Windows"),
    ("ChromeOS", r"CrOS"), ("Mac", r"Mac OS X|Macintosh"), ("Linux", r"Linux|X11"),
)  # fmt: skip


def browser_words(agent: str) -> str:
    """`Firefox on Android` for a User-Agent header. Most browsers claim to be others too, so the order counts."""
    browser = next((name for name, found in _BROWSERS if re.search(found, agent)), "")
    system = next((name for name, found in _SYSTEMS if re.search(found, agent)), "")
    if not browser:  # an app on the home screen of an iPhone names itself no browser
        return f"Muster on {system}" if system in ("iPhone", "iPad") else f"Browser on {system or 'a device'}"
    return f"{browser} on {system or 'a device'}"
