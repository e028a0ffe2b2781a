"""Addresses that hold a secret are kept encrypted: a copy of the database alone opens no chat."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from notifications.channels.base import PermanentError


def _fernet() -> Fernet:
    key = hashlib.sha256(b"muster.contact_method.sealed:" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def seal(text: str) -> str:
    return _fernet().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises PermanentError when the key has changed since."""
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise PermanentError(
            "The address cannot be read, because MUSTER_SECRET_KEY has changed. Add this method again."
        ) from None
