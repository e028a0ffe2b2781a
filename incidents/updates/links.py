"""The link in a mail that ends a subscription."""

from django.core import signing
from django.urls import reverse

_SALT = "muster.updates"


def stop_path(subscription_id: int) -> str:
    return reverse("status:unsubscribe", args=[signing.dumps(subscription_id, salt=_SALT)])


def read_stop_token(token: str) -> int:
    """The id of the subscription. Raises signing.BadSignature. It works for ever: so does the wish to be left alone."""
    return int(signing.loads(token, salt=_SALT))
