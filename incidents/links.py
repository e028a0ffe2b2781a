"""Signed links with which a paged person answers without signing in."""

from datetime import timedelta

from django.core import signing

SALT = "muster.answer"
GOOD_FOR = timedelta(hours=48)


def answer_path(page_id: int) -> str:
    """Path of the answer page. Whoever has it can answer this one page, for 48 hours."""
    return f"/p/{signing.dumps(page_id, salt=SALT)}/"


def read_answer_token(token: str) -> int:
    """Id of the page. Raises django.core.signing.BadSignature. Whether it is too old, the page's own time says."""
    return signing.loads(token, salt=SALT)
