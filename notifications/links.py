"""The signed link with which a person answers all of a bundle without signing in."""

from django.core import signing
from django.urls import reverse

SALT = "muster.bundle"


def bundle_path(bundle_id: int | None) -> str:
    return reverse("notifications:bundle", args=[signing.dumps(bundle_id, salt=SALT)])


def read_bundle_token(token: str) -> int:
    """Id of the bundle. Raises django.core.signing.BadSignature. Whether it is too old, the bundle's own time says."""
    return signing.loads(token, salt=SALT)
