"""What a chat is told and when again, and whether a request is really the chat's. Pure."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from incidents.rules import drill_mark

LEASE = timedelta(seconds=90)
"""Longer than one attempt can take; then another worker tries."""
GATHER = timedelta(seconds=1)
"""What happens within so long becomes one message."""
BATCH = 20
GIVE_UP = timedelta(hours=24)
SLOWEST = timedelta(minutes=10)

LONGEST_LINE = 600
LONGEST_BODY = 1800
"""Discord, the strictest but for Teams, takes 2,000 characters; longer ones would be split in the middle of a line."""

SKEW = timedelta(minutes=5)
"""How far the chat's clock may be away; older requests are not carried out again."""


@dataclass(frozen=True)
class Line:
    """One timeline entry, as a chat is told of it."""

    seq: int
    at: datetime
    who: str
    text: str


def title(*, ref: str, severity: int, name: str, state: str, is_drill: bool) -> str:
    """The banner in a line. A drill says so first."""
    return defused(f"{drill_mark(is_drill)}SEV{severity} {name} ({ref}): {state}")[:240]


def taken(lines: Sequence[Line], *, link: str) -> tuple[list[int], str]:
    """As many lines as fit into one message, with the room's address below. (their numbers, the text)"""
    seqs: list[int] = []
    text: list[str] = []
    left = LONGEST_BODY - len(link)
    for line in lines:
        words = said(line)
        if seqs and len(words) + 1 > left:
            break
        seqs.append(line.seq)
        text.append(words)
        left -= len(words) + 1
    return seqs, "\n".join([*text, link])


def said(line: Line) -> str:
    text = line.text.strip()
    if len(text) > LONGEST_LINE:
        text = f"{text[: LONGEST_LINE - 1].rstrip()}…"
    return defused(f"{line.at.astimezone(UTC):%H:%M} UTC {line.who}: {text}")


_CALLS = re.compile(r"(?<=[@<])(?=[!@#\w&])")


def defused(text: str) -> str:
    """With nothing in it by which a chat would call people: an invisible blank after each @ and < that begins a name."""
    return _CALLS.sub("\u200b", text)


def again_after(attempts: int) -> timedelta:
    """10 s, 20 s, 40 s … up to ten minutes."""
    return min(timedelta(seconds=5 * 2 ** min(attempts, 12)), SLOWEST)


def signature(*, secret: str, timestamp: str, body: bytes) -> str:
    signed = timestamp.encode() + b"." + body
    return f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def is_signed(*, secret: str, timestamp: str, body: bytes, signatures: str, now: datetime) -> bool:
    """Whether one of the signatures, with commas between, is right and the time is near."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 13):
        return False
    if abs(now.timestamp() - int(timestamp)) > SKEW.total_seconds():
        return False
    wanted = signature(secret=secret, timestamp=timestamp, body=body).encode()
    return any_equal(wanted, signatures.split(","))


def any_equal(wanted: bytes, given: Iterable[str]) -> bool:
    """In the same time whatever was given."""
    found = False
    for text in given:
        found |= hmac.compare_digest(wanted, text.strip().encode("utf-8", "surrogateescape"))
    return found


_REF = re.compile(r"(?:INC-)?([0-9]{1,18})", re.IGNORECASE)


def incident_number(text: str) -> int | None:
    found = _REF.fullmatch(text.strip())
    return int(found[1]) if found else None
