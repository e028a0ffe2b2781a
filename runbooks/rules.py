"""What a runbook's text means: its sections and steps, what it lacks, and how two of its versions differ.

A runbook is one Markdown text. A heading of the second level begins a section. In the section "Steps" each heading of the third
level begins a step; minutes in brackets at its end, "(5 min)", are what the step is expected to take.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from markdown_it import MarkdownIt

MOST_STEPS = 100
LONGEST = 100_000
_STEPS = {"steps", "procedure"}
_ROLLBACK = {"rollback", "roll back", "rolling back"}
_MINUTES = re.compile(r"\s*\((\d{1,4})\s*min(?:utes?)?\)\s*$", re.IGNORECASE)
_READER = MarkdownIt("commonmark")


@dataclass(frozen=True)
class Step:
    """`number` counts from 1 over the whole runbook. `minutes` None: the text names none."""

    number: int
    title: str
    body: str
    minutes: int | None = None


@dataclass(frozen=True)
class Section:
    """`body`: what stands before its first step, or all of it where it has none."""

    title: str
    body: str
    steps: Sequence[Step] = field(default=())


@dataclass(frozen=True)
class Document:
    """`intro`: what stands before the first section."""

    intro: str
    sections: Sequence[Section]

    @property
    def steps(self) -> list[Step]:
        return [step for section in self.sections for step in section.steps]

    @property
    def minutes(self) -> int:
        """What its steps are expected to take together, as far as they say it."""
        return sum(step.minutes or 0 for step in self.steps)


@dataclass(frozen=True)
class _Heading:
    level: int
    title: str
    first: int  # line of the heading
    after: int  # line after it


def _headings(text: str) -> list[_Heading]:
    """Those that are headings in Markdown: a # inside a block of code is none."""
    tokens = _READER.parse(text)
    return [
        _Heading(int(token.tag[1]), tokens[at + 1].content.strip(), token.map[0], token.map[1])
        for at, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0 and token.map
    ]


@lru_cache(maxsize=128)
def read(text: str) -> Document:
    text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    marks = [heading for heading in _headings(text) if heading.level in (2, 3)]

    def between(first: int, last: int) -> str:
        return "\n".join(lines[first:last]).strip("\n")

    tops = [heading for heading in marks if heading.level == 2]
    intro = between(0, tops[0].first if tops else len(lines))
    sections, number = [], 0
    for at, top in enumerate(tops):
        end = tops[at + 1].first if at + 1 < len(tops) else len(lines)
        inner = [heading for heading in marks if heading.level == 3 and top.after <= heading.first < end]
        if top.title.lower() not in _STEPS or not inner:
            sections.append(Section(top.title, between(top.after, end)))
            continue
        steps = []
        for place, heading in enumerate(inner):
            number += 1
            until = inner[place + 1].first if place + 1 < len(inner) else end
            title, minutes = _timed(heading.title)
            steps.append(Step(number, title, between(heading.after, until), minutes))
        sections.append(Section(top.title, between(top.after, inner[0].first), tuple(steps)))
    return Document(intro, tuple(sections))


def _timed(title: str) -> tuple[str, int | None]:
    found = _MINUTES.search(title)
    return (title[: found.start()].strip(), int(found[1])) if found else (title, None)


def faults(text: str) -> list[str]:
    """Why this text can't be kept. Empty: it can."""
    if not text.strip():
        return ["Write what to do."]
    if len(text) > LONGEST:
        return [f"At most {LONGEST:,} characters; these are {len(text):,}."]
    document = read(text)
    if len(document.steps) > MOST_STEPS:
        return [f"At most {MOST_STEPS} steps; these are {len(document.steps)}."]
    untitled = [step.number for step in document.steps if not step.title]
    return [f"Step {untitled[0]} has no title."] if untitled else []


def weaknesses(document: Document) -> list[str]:
    """What somebody will miss at night, in sentences. It may be published all the same."""
    found = []
    if not document.steps:
        found.append(
            'It has no steps. Begin a section with "## Steps", and each step with "### What to do (5 min)".'
        )
    empty = [step for step in document.steps if not step.body.strip()]
    if empty:
        found.append(f"Step {empty[0].number}, {empty[0].title}, says no more than its title.")
    if not any(section.title.lower() in _ROLLBACK for section in document.sections):
        found.append('It does not say how to go back. Add a section "## Rollback".')
    return found


@dataclass(frozen=True)
class Line:
    """`change`: "same", "new", "gone", or "gap" for lines that are left out."""

    change: str
    text: str


def difference(old: str, new: str, *, around: int = 2) -> list[Line]:
    """What changed, line by line, with some lines around each place. Empty: nothing did."""
    found: list[Line] = []
    words = {" ": "same", "+": "new", "-": "gone"}
    unified = difflib.unified_diff(old.splitlines(), new.splitlines(), n=around, lineterm="")
    for line in list(unified)[2:]:
        if line.startswith("@@"):
            if found:
                found.append(Line("gap", ""))
        else:
            found.append(Line(words[line[0]], line[1:]))
    return found
