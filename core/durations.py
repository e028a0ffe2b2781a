"""Durations as people type them."""

import re
from datetime import timedelta

_PART = re.compile(r"(\d+)\s*(hours?|minutes?|seconds?|min|h|m|s)?\s*")
_SECONDS = {"h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> timedelta:
    """ "90 s", "2m", "1h 30 min"; a bare number is minutes. Raises ValueError with a sentence that shows an example."""
    text = text.strip().lower()
    seconds = position = 0
    while position < len(text):
        found = _PART.match(text, position)
        if found is None or len(found[1]) > 6:
            break
        seconds += int(found[1]) * _SECONDS[(found[2] or "m")[0]]
        position = found.end()
    if not text or position < len(text):
        raise ValueError("Write a time like 90 s, 5 min or 1 h.")
    return timedelta(seconds=seconds)
