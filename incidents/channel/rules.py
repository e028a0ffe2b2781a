"""Pure rules of the channel: what a typed line means, what the bytes of a file are, how it may be called."""

import difflib
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from core.errors import Invalid

LONG_LINES = 30
"""A longer text folds to its first line until somebody opens it."""

FILES_PER_MESSAGE = 5
MESSAGE_BYTES = 30 * 1024 * 1024
"""All files of one message together; the web server takes bodies up to 32 MB."""
INCIDENT_BYTES = 200 * 1024 * 1024

MENTIONS_PER_MESSAGE = 10


# --- commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Typed:
    """A command as it was typed: its name in lower case, and the rest."""

    name: str
    rest: str


_COMMAND = re.compile(r"/([A-Za-z][\w-]*)(?:\s+|$)")


def parse_command(text: str, *, known: Collection[str]) -> Typed | None:
    """The command that `text` begins with. None: it is text, also when its first word is a path (/var/log).

    Raises Invalid for a word that looks like a command and is none, so that a slip does not go out as a message.
    """
    found = _COMMAND.match(text)
    if found is None:
        return None
    name = found[1].lower()
    if name in known:
        return Typed(name, text[found.end() :].strip())
    near = difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(f'/{word}' for word in near)}?" if near else ""
    sentence = f"/{name} is not a command.{hint} To send it as text, put a blank before it."
    raise Invalid(sentence, code="unknown_command", fields={"text": [sentence]})


def first_word(text: str) -> tuple[str, str]:
    word, _, rest = text.strip().partition(" ")
    return word, rest.strip()


def split_person(text: str) -> tuple[str, str]:
    """("ines", the rest) of "@ines the rest"."""
    word, rest = first_word(text)
    return word.removeprefix("@").rstrip(",:;"), rest


def severity_number(word: str) -> int | None:
    digits = word.lower().removeprefix("sev")
    return int(digits) if digits in {"1", "2", "3", "4"} else None


# --- text -------------------------------------------------------------------------------------------------------


def line_count(text: str) -> int:
    return text.count("\n") + 1


def is_long(text: str) -> bool:
    return line_count(text) > LONG_LINES


def excerpt(text: str, length: int = 120) -> str:
    """One line of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1].rstrip()}…"


# --- files ------------------------------------------------------------------------------------------------------

TEXT = "text/plain"
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_CLAIMS = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "pdf": "application/pdf", "gz": "application/gzip", "tgz": "application/gzip", "zip": "application/zip",
}  # fmt: skip
_WORDS = {
    "image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WebP", "application/pdf": "PDF",
    "application/gzip": "gzip", "application/zip": "ZIP", TEXT: "text",
}  # fmt: skip


def sniff(data: bytes) -> str | None:
    """The type that the bytes have, whatever name or header says. HTML and SVG are text. None: neither known nor text."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data.startswith(b"%PDF-"):
        return "application/pdf"
    if data.startswith(b"\x1f\x8b\x08"):
        return "application/gzip"
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "application/zip"
    if b"\x00" in data:
        return None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return TEXT


def type_of(name: str, data: bytes) -> str:
    """What the file is. Raises Invalid when it is nothing that is taken, or not what its name claims."""
    if not data:
        raise _file_error(f"{name} is empty.")
    found = sniff(data)
    claimed = _CLAIMS.get(name.rpartition(".")[2].lower()) if "." in name else None
    if claimed is not None and found != claimed:
        is_ = f"It is {_WORDS[found]}." if found else "Nothing was stored."
        raise _file_error(f"{name} says {_WORDS[claimed]} and is not one. {is_}")
    if found is None:
        raise _file_error(f"{name} is neither an image, a PDF, an archive (ZIP, gzip) nor UTF-8 text.")
    return found


def check_size(name: str, size: int, *, megabytes: int) -> None:
    if size > megabytes * 1024 * 1024:
        raise _file_error(f"{name} is larger than {megabytes} MB.")


def check_files(sizes: Collection[int], *, stored: int) -> None:
    """Raise Invalid when these are too many for one message, or too much beside what the incident has `stored`."""
    if len(sizes) > FILES_PER_MESSAGE:
        raise _file_error(f"At most {FILES_PER_MESSAGE} files in one message; these are {len(sizes)}.")
    if sum(sizes) > MESSAGE_BYTES:
        raise _file_error(
            f"Together at most {size_words(MESSAGE_BYTES)}; these have {size_words(sum(sizes))}."
        )
    if stored + sum(sizes) > INCIDENT_BYTES:
        raise _file_error(
            f"The files of this incident have {size_words(stored)} already; {size_words(INCIDENT_BYTES)} are possible."
        )


def _file_error(sentence: str) -> Invalid:
    return Invalid(sentence, code="file_refused", fields={"files": [sentence]})


def safe_name(name: str) -> str:
    """The last part of the name that was sent, without what could mislead a reader or a disk. At most 120 characters."""
    last = re.split(r"[/\\]", name)[-1]
    # Cc: control, Cf: invisible, among them the marks that turn the order of letters, Cs: half a surrogate pair.
    kept = "".join(char for char in last if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    kept = re.sub(r"\s+", " ", kept).strip(" .")
    if len(kept) > 120:
        stem, dot, suffix = kept.rpartition(".")
        kept = f"{stem[: 119 - len(suffix)]}.{suffix}" if dot and 0 < len(suffix) <= 10 else kept[:120]
    return kept or "file"


def size_words(size: int) -> str:
    if size < 1024:
        return f"{size} bytes"
    if size < 1024 * 1024:
        return f"{size / 1024:.0f} KB"
    return f"{size / 1024 / 1024:.1f} MB".replace(".0 MB", " MB")
