"""What a request means, before anything is stored: reading bodies, cleaning values, verdicts. Pure."""

import functools
import ipaddress
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

# --- limits -----------------------------------------------------------------------------------------------------

LONGEST_EVENT = 512 * 1024  # what the Events API documents
LONGEST_GROUP = 4 * 1024 * 1024  # Alertmanager sends whole groups and gives up on 4xx, so there is more room
DEEPEST = 50
LONGEST_RAW = 32 * 1024  # of an accepted body, kept for people to read; what is processed is kept whole
LONGEST_REFUSED_RAW = 2 * 1024
LONGEST_TITLE = 1024
LONGEST_SOURCE = 300
LONGEST_KEY = 512

# --- reading a body ---------------------------------------------------------------------------------------------


class Unreadable(ValueError):
    """The body is no JSON, or JSON that nobody should have to read. The message says which."""


# PostgreSQL stores neither U+0000 nor half a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def _no_constant(name: str) -> Any:
    raise Unreadable(f"{name} is not JSON")


def _number(text: str) -> float | str:
    """A number too large for a float stays text, since infinity is not JSON."""
    value = float(text)
    return value if math.isfinite(value) else text


def _whole(text: str) -> int | str:
    """Python refuses to read whole numbers of thousands of digits; they stay text."""
    return int(text) if len(text) < 1000 else text


_FAST = json.JSONDecoder(parse_constant=_no_constant, parse_float=_number)
_CAREFUL = json.JSONDecoder(parse_constant=_no_constant, parse_float=_number, parse_int=_whole)


def read_text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("The body is not UTF-8") from None


def read_object(text: str) -> dict[str, Any]:
    """The JSON object in `text`, with nothing in it that cannot be stored. Raises Unreadable."""
    text = text.strip()
    try:
        try:
            value = _FAST.decode(text)
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            if isinstance(error, Unreadable):
                raise
            value = _CAREFUL.decode(text)
    except json.JSONDecodeError:
        raise Unreadable("JSON parse error") from None
    except RecursionError:
        raise Unreadable("The JSON is nested too deeply") from None
    if not isinstance(value, dict):
        raise Unreadable("A JSON object is expected")
    if text.count("{") + text.count("[") > DEEPEST and depth(value) > DEEPEST:
        raise Unreadable("The JSON is nested too deeply")
    if _UNSTORABLE_ESCAPE.search(text):
        value = cleaned(value)
    return value


def depth(value: Any) -> int:
    """How deep objects and lists nest, without recursion."""
    deepest, level = 0, [value]
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        deepest += any(isinstance(item, dict | list) for item in level)
        level = below
    return deepest


def clean_text(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    return value


_KEY_FIELD = re.compile(r'("(?:routing_key|service_key)"\s*:\s*")(?:[^"\\]|\\.)*')
_KEY_SHAPED = re.compile(r"\b[0-9a-zA-Z]{32}\b")
MASK = "[key]"


def without_key(text: str, key: str, *, longest: int) -> str:
    """`text` as it may be kept: without the sender's key, storable, cut to `longest` characters."""
    if key and len(key) >= 8:
        text = text.replace(key, MASK)
    text = _KEY_FIELD.sub(rf"\g<1>{MASK}", text)
    return cut(clean_text(text), longest)


def masked_refusal(text: str, key: str) -> str:
    """Like `without_key` for a body that was refused: whatever looks like a key might be one."""
    return _KEY_SHAPED.sub(MASK, without_key(text, key, longest=LONGEST_REFUSED_RAW))


as_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@functools.lru_cache(maxsize=1000)
def address_of(text: str) -> str | None:
    """An IP address as it may be stored. A proxy may have been told anything, a Unix socket has none."""
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


# --- what adapters give -----------------------------------------------------------------------------------------

TRIGGER, ACKNOWLEDGE, RESOLVE, CHANGE = "trigger", "acknowledge", "resolve", "change"
NOTE, UPDATE = "note", "update"
SEVERITIES = ("critical", "error", "warning", "info")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A request that is accepted. `signals` are plain values, as they are stored in the inbox."""

    signals: list[dict[str, Any]]
    dedup_key: str = ""
    warnings: list[str] = field(default_factory=list)


MOST_ERRORS = 20


class Refusal(ValueError):
    """A request that is not accepted, with one sentence for each thing that is wrong."""

    def __init__(self, *errors: str) -> None:
        self.errors = list(errors[:MOST_ERRORS])
        super().__init__("; ".join(self.errors))


def signal(
    action: str,
    dedup_key: str,
    *,
    title: str = "",
    severity: str = "error",
    source: str = "",
    details: dict[str, Any] | None = None,
    links: list[dict[str, str]] | None = None,
    group_key: str = "",
    episode_at: datetime | None = None,
) -> dict[str, Any]:
    """`episode_at`: when this firing began, for senders that repeat themselves out of order."""
    return {
        "action": action,
        "dedup_key": dedup_key,
        "title": cut(title, LONGEST_TITLE),
        "severity": severity,
        "source": cut(source, LONGEST_SOURCE),
        "details": details or {},
        "links": links or [],
        "group_key": group_key,
        "episode_at": episode_at.isoformat() if episode_at else None,
    }


def is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


# --- severities -------------------------------------------------------------------------------------------------

# What people write into a label, and what it means here. Anything else counts as an error, so that it is not overheard.
_SEVERITY_WORDS = {
    "critical": (
        "critical",
        "crit",
        "page",
        "pager",
        "emergency",
        "emerg",
        "fatal",
        "disaster",
        "sev1",
        "p1",
    ),
    "error": ("error", "err", "major", "high", "alert", "severe", "failure", "average", "sev2", "p2"),
    "warning": ("warning", "warn", "minor", "medium", "moderate", "ticket", "sev3", "p3"),
    "info": (
        *(
            "info",
            "information",
            "informational",
            "notice",
            "low",
            "none",
            "ok",
            "success",
            "debug",
            "not classified",
        ),
        *("sev4", "sev5", "p4", "p5"),
    ),
}
SEVERITY_OF_WORD = {word: severity for severity, words in _SEVERITY_WORDS.items() for word in words}


def severity_of(word: Any, *, otherwise: str = "error") -> tuple[str, str]:
    """The severity that `word` names and, when it names none, a warning."""
    if is_blank(word):
        return otherwise, ""
    found = SEVERITY_OF_WORD.get(str(word).strip().lower())
    if found is None:
        return otherwise, f"Severity {cut(str(word), 40)!r} is not known: counted as {otherwise}"
    return found, ""


# --- times ------------------------------------------------------------------------------------------------------

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)


def time_of(value: Any) -> datetime | None:
    """The instant that a sender wrote, in any form seen, or None. Without a zone it is UTC; year 1 means none."""
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            at = datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
        elif isinstance(value, str):
            at = datetime.fromisoformat(value.strip())
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return at if at >= _EARLIEST else None


# --- links ------------------------------------------------------------------------------------------------------

_WEB = re.compile(r"https?://[^\s]+\Z", re.IGNORECASE)


def is_web_address(value: Any) -> bool:
    """Whether it may become a link on a page: javascript: and the like must not."""
    return isinstance(value, str) and len(value) <= 2000 and _WEB.match(value.strip()) is not None


def link(href: Any, text: str = "") -> list[dict[str, str]]:
    """A list with the link, empty if it is none: `[*link(a, "Graph"), *link(b)]`."""
    return [{"href": href.strip(), "text": cut(text, 200)}] if is_web_address(href) else []


# --- the inbox --------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Operation:
    """One thing to apply, for one or more signals of equal meaning that arrived one after the other."""

    signal: dict[str, Any]
    places: list[tuple[int, int]]  # (row, signal within the row), in order of arrival

    @property
    def count(self) -> int:
        return len(self.places)


def _later(one: str | None, other: str | None) -> str | None:
    """The later of two instants as stored; None wins, since it means "now"."""
    if one is None or other is None:
        return None
    return one if time_of(one) >= time_of(other) else other  # type: ignore[operator]


def collapse(signals: Iterable[tuple[int, int, dict[str, Any]]]) -> list[Operation]:
    """Operations in order. Triggers that repeat the one before of the same key become one, with the newest content.

    Order holds within a key; different keys do not wait for each other's neighbours.
    """
    operations: list[Operation] = []
    last: dict[str, Operation] = {}
    for row, place, item in signals:
        before = last.get(item.get("dedup_key", ""))
        if (
            before is not None
            and item["action"] == TRIGGER == before.signal["action"]
            and item["severity"] == before.signal["severity"]
            and item["group_key"] == before.signal["group_key"]
        ):
            newest = _later(before.signal["episode_at"], item["episode_at"])
            before.signal = {**item, "episode_at": newest}
            before.places.append((row, place))
            continue
        operation = Operation(signal=item, places=[(row, place)])
        operations.append(operation)
        if item["action"] != CHANGE:
            last[item["dedup_key"]] = operation
    return operations


# Of several verdicts in one request, the one that people must see first.
_WEIGHT = [
    *("failed", "opened", "joined", "held", "resolved", "acknowledged", "change", "updated", "repeated"),
    "dropped",
]


def verdict_of_all(verdicts: Sequence[str]) -> str:
    return min(verdicts, key=_WEIGHT.index) if verdicts else "dropped"


def counted(verdicts: Sequence[str]) -> str:
    """3 alerts: 1 opened, 2 repeated"""
    parts = [f"{verdicts.count(verdict)} {verdict}" for verdict in _WEIGHT if verdict in verdicts]
    return f"{len(verdicts)} alerts: {', '.join(parts)}"


MOST_ATTEMPTS = 8


def next_attempt(attempts: int, now: datetime) -> datetime | None:
    """When a row that failed `attempts` times is tried again: after 2, 4, 8 … seconds; None: only by hand."""
    return None if attempts >= MOST_ATTEMPTS else now + timedelta(seconds=2**attempts)
