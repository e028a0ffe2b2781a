"""Passwords and keys of the demonstration: derived, so that they can be shown again though only hashes are stored."""

import base64
import hashlib
import hmac

from django.conf import settings

from accounts.models import ApiToken


def _derived(label: str) -> bytes:
    return hmac.digest(
        settings.SECRET_KEY.encode(), f"muster demonstration: {label}".encode(), hashlib.sha256
    )


def password() -> str:
    """Easy to type, of 80 bits: xxxx-xxxx-xxxx-xxxx in letters and digits that cannot be confused."""
    word = base64.b32encode(_derived("password")).decode().lower()[:16]
    return "-".join(word[start : start + 4] for start in range(0, 16, 4))


def api_token() -> str:
    return ApiToken.PREFIX + base64.urlsafe_b64encode(_derived("api token")).decode().rstrip("=")


def integration_key(kind: str) -> str:
    """32 hexadecimal characters, as Integration.new_key makes them."""
    return _derived(f"key of {kind}").hex()[:32]
