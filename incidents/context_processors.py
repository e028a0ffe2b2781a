"""The number at the bell of every page."""

import functools
from collections.abc import Callable

from django.http import HttpRequest

from incidents import queries


def bell(request: HttpRequest) -> dict[str, Callable[[], int]]:
    """How many pages wait for the person who looks. Counted only where a template shows it."""

    @functools.cache
    def waiting_pages() -> int:
        user = getattr(request, "user", None)
        return queries.waiting_pages(user).count() if user is not None and user.is_authenticated else 0

    return {"waiting_pages": waiting_pages}
