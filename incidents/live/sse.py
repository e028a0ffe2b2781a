"""Server-sent events as bytes. Pure."""

import json
from typing import Any

COMMENT = b":\n\n"


def event(name: str, data: str, *, id: int | None = None) -> bytes:
    """One event. A browser keeps `id` and sends it back as Last-Event-ID when it comes again."""
    head = f"event: {name}\n" if id is None else f"id: {id}\nevent: {name}\n"
    # splitlines would also break at U+2028 and other characters, which belong to the text.
    lines = data.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n")
    return (head + "".join(f"data: {line}\n" for line in lines) + "\n").encode()


def event_json(name: str, data: dict[str, Any]) -> bytes:
    return event(name, json.dumps(data, separators=(",", ":")))
