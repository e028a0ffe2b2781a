"""The key pair with which this installation names itself to push services (RFC 8292).

Without MUSTER_VAPID_PRIVATE_KEY it is derived from the secret key: nothing has to be kept or handed from machine to
machine, and whoever changes the secret key cannot read the subscriptions any more in any case.
"""

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from py_vapid import Vapid02, VapidException

from notifications.push.rules import decode, encode

GOOD_FOR = timedelta(hours=12)  # push services refuse more than 24 h
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def read_key(text: str) -> ec.EllipticCurvePrivateKey | None:
    """A P-256 key as PEM or as 32 bytes in base64url, the shape that most tools print. Raises ValueError."""
    if not text:
        return None
    if "-----BEGIN" in text:
        try:
            key = serialization.load_pem_private_key(text.replace("\\n", "\n").encode(), password=None)
        except (ValueError, TypeError):
            raise ValueError("is no private key that can be read") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("must be a key of the curve P-256")
        return key
    try:
        raw = decode(text.strip())
        if len(raw) != 32:
            raise ValueError
        return ec.derive_private_key(int.from_bytes(raw), ec.SECP256R1())
    except ValueError:
        raise ValueError("must be a P-256 private key: PEM, or 32 bytes in base64url") from None


def derived_key(secret: str) -> ec.EllipticCurvePrivateKey:
    raw = HKDF(hashes.SHA256(), length=48, salt=None, info=b"muster.vapid").derive(secret.encode())
    return ec.derive_private_key(int.from_bytes(raw) % (_ORDER - 1) + 1, ec.SECP256R1())


def public_text(key: ec.EllipticCurvePrivateKey) -> str:
    """What a browser subscribes with."""
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return encode(point)


def subject(*, base_url: str, mail: str) -> str:
    """Whom a push service's operator may turn to."""
    return base_url if urlsplit(base_url).scheme == "https" else f"mailto:{mail}"


def authorization(
    *, key: ec.EllipticCurvePrivateKey, endpoint: str, subject: str, now: datetime
) -> dict[str, str]:
    """The header that signs a request to `endpoint`. Raises ValueError for an address that cannot be named."""
    parts = urlsplit(endpoint)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int((now + GOOD_FOR).timestamp()),
        "sub": subject,
    }
    try:
        return Vapid02(key).sign(claims)
    except VapidException as error:
        raise ValueError(str(error)) from None
