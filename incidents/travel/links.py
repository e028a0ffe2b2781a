"""Signed addresses of an incident's banner, for pages of others."""

from datetime import timedelta

from django.core import signing
from django.urls import reverse

SALT = "muster.embed"
GOOD_FOR = timedelta(days=30)


def embed_path(incident_id: int) -> str:
    """Whoever has it sees this one banner, and nothing else, for 30 days."""
    return reverse("embed:banner", args=[signing.dumps(incident_id, salt=SALT)])


def read_embed_token(token: str) -> int:
    """Id of the incident. Raises django.core.signing.BadSignature, also when it is too old."""
    return signing.loads(token, salt=SALT, max_age=GOOD_FOR)
