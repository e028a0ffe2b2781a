"""Pure rules of reading: what a corrected course must satisfy, and what people wrote as text in Markdown and marks."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from html import escape

from core.errors import Invalid, Refused
from incidents.rules import ACKNOWLEDGED, CONTAINED, PHASES, RESOLVED, TRIGGERED

# --- phases -------------------------------------------------------------------------------------------------------

BEFORE_DETECTION = timedelta(hours=24)
"""So long before it was opened an incident may have begun."""

_EARLIEST = {
    TRIGGERED: "detection",
    ACKNOWLEDGED: "detection",
    CONTAINED: "containment",
    RESOLVED: "review",
}
"""Where an incident of a status stands at least: what is contained is not being triaged."""

LABELS = {
    "detection": "Detection",
    "triage": "Triage",
    "escalation": "Escalation",
    "containment": "Containment",
    "root_cause": "Root cause",
    "review": "Review",
}


def begun(phase: str, *, now_in: str) -> bool:
    return PHASES.index(phase) <= PHASES.index(now_in)


def check_stamps(
    stamps: Mapping[str, datetime], *, changed: Sequence[str], triggered_at: datetime, now: datetime
) -> None:
    """Raise Invalid, with the phase that is wrong, unless the stamps are in the order of the phases, none of the
    changed ones is in the future, and none is long before the incident was opened."""
    wrong: dict[str, list[str]] = {}
    for phase in changed:
        at, index = stamps[phase], PHASES.index(phase)
        sooner = [other for other in PHASES[:index] if other in stamps and stamps[other] > at]
        later = [other for other in PHASES[index + 1 :] if other in stamps and stamps[other] < at]
        if at > now:
            wrong[phase] = [f"{LABELS[phase]} cannot begin in the future."]
        elif at < triggered_at - BEFORE_DETECTION:
            wrong[phase] = [f"{LABELS[phase]} cannot begin more than a day before the incident was opened."]
        elif sooner:
            wrong[phase] = [f"{LABELS[phase]} cannot begin before {LABELS[sooner[-1]]}."]
        elif later:
            wrong[phase] = [f"{LABELS[phase]} cannot begin after {LABELS[later[0]]}."]
    if wrong:
        raise Invalid(next(iter(wrong.values()))[0], fields=wrong)


def check_set_back(phase: str, *, now_in: str, status: str) -> None:
    """Raise Refused unless an incident in `now_in` may stand in the earlier `phase` again."""
    if PHASES.index(phase) >= PHASES.index(now_in):
        raise Refused(f"{LABELS[phase]} is not before {LABELS[now_in]}.", code="not_earlier")
    earliest = _EARLIEST[status]
    if PHASES.index(phase) < PHASES.index(earliest):
        raise Refused(f"It is {status}: it stands in {LABELS[earliest]} at least.", code="too_early")


# --- search -------------------------------------------------------------------------------------------------------

MARK, END_MARK = "\ue000", "\ue001"
_MARKED = re.compile(f"{MARK}([^{MARK}{END_MARK}]*){END_MARK}")


def excerpt(text: str, *, before: int = 120, length: int = 420) -> str:
    """The part of a text around the first MARK, from word to word; a short text is shown whole."""
    if len(text) <= length:
        return text
    start = max(text.find(MARK) - before, 0)
    if start:
        start = max(text.find(" ", start, start + before), start)
    end = start + length
    if end < len(text):
        end = max(text.rfind(" ", start + length - before, end), start + length - before)
    return f"{'… ' if start else ''}{text[start:end].strip()}{' …' if end < len(text) else ''}"


_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[^`\n]*(?:\n|\Z)|`{3,}", re.MULTILINE)


def without_fences(text: str) -> str:
    """The words of a message without the marks around a block of code; those of nothing but marks are left."""
    return _FENCE.sub("", text).strip() or text


def marked(text: str) -> str:
    """HTML of a text in which the database put MARK and END_MARK around what was found."""
    html = _MARKED.sub(r"<mark>\1</mark>", escape(text))
    return html.replace(MARK, "").replace(END_MARK, "")


# --- Markdown -----------------------------------------------------------------------------------------------------

_LOUD = re.compile(r"([\\`*_\[\]<>#|~&$^])")
_TICKS = re.compile(r"`+")


def one_line(text: str) -> str:
    """A person's text inside a line of Markdown: nothing in it is read as markup."""
    return _LOUD.sub(r"\\\1", " ".join(text.split()))


def fenced(text: str, *, indent: str = "") -> str:
    """A person's text as a block that it cannot leave, line by line as it was written."""
    longest = max((len(run) for run in _TICKS.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = [f"{fence}text", *re.split(r"\r\n|\r|\n", text), fence]
    return "\n".join(f"{indent}{line}" if line else "" for line in lines)


def quoted(text: str, *, indent: str = "") -> tuple[str, str]:
    """(what follows on the same line, the block below it) for a person's text: one line stays in the line."""
    text = text.strip("\r\n")
    if re.search(r"[\r\n]", text) is None:
        return one_line(text), ""
    return "", fenced(text, indent=indent)
