"""Who is paged next: from the snapshot, a place in it, and who is there, which is given as values.

`decide` is what the engine carries out and what `plan` repeats for a whole course without an answer. A person is paged
at most once in each pass, and there is always somebody: the catch-all comes when no tier is left or none has anybody.
"""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from escalation.rules.hours import why_not
from escalation.rules.snapshot import (
    Position,
    Snapshot,
    next_position,
    positions_from,
    start_position,
    time_to_answer,
)


@dataclass(frozen=True)
class Candidate:
    """A person whom a target of the tier gives, and why."""

    user_id: int
    reason: str


Staffing = Callable[[int], Sequence[Sequence[Candidate]]]
"""For the index of a tier: whom each of its targets gives, in their order; only people who can be reached."""


@dataclass(frozen=True)
class Situation:
    severity: int
    at: datetime
    timed: bool = True
    """A timer leads to the next step. Without one, or when a person is waiting for it, no tier waits without anybody."""


@dataclass(frozen=True)
class Paged:
    """Somebody whom a step of this run has paged."""

    loop: int
    level: int
    user_id: int


class Outcome(StrEnum):
    AUTOMATED = "automated"
    NOT_NOW = "not_now"
    PAGED_BEFORE = "paged_before"
    SKIPPED = "skipped"
    HELD = "held"
    WAITED = "waited"

    @property
    def is_gap(self) -> bool:
        """Nobody was there who should have been."""
        return self in (Outcome.SKIPPED, Outcome.HELD, Outcome.WAITED)


@dataclass(frozen=True)
class Passed:
    """A tier that is passed without paging anybody."""

    position: Position
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True)
class PageTier:
    position: Position
    recipients: Sequence[Candidate]
    target: int | None = None
    """The one that has its turn, in a tier that pages one after the other."""


@dataclass(frozen=True)
class WaitAt:
    """Nobody is there, and the tier's time passes all the same."""

    position: Position
    why: str


@dataclass(frozen=True)
class CatchAll:
    why: str
    exhausted: bool = False
    """The last repeat is over."""
    nobody: bool = False
    """No tier that counts has anybody."""


@dataclass(frozen=True)
class Decision:
    then: PageTier | WaitAt | CatchAll
    passed: Sequence[Passed] = ()


def recipients(candidates: Sequence[Candidate], *, paged_before: Collection[int]) -> list[Candidate]:
    """Each person once, with the first reason, without those whom an earlier tier of this pass already paged."""
    seen = set(paged_before)
    chosen = []
    for candidate in candidates:
        if candidate.user_id not in seen:
            seen.add(candidate.user_id)
            chosen.append(candidate)
    return chosen


def why_nobody(tier: Mapping[str, Any]) -> str:
    if not tier["targets"]:
        return "it names nobody"
    schedules = [target["name"] for target in tier["targets"] if target["kind"] == "schedule"]
    return f"nobody is on call on {', '.join(schedules)}" if schedules else "nobody there can be paged"


def there(
    snapshot: Snapshot, index: int, *, situation: Situation, staffing: Staffing
) -> list[list[Candidate]]:
    """By target, whom it gives now; nobody from a target that does not count now."""
    tier = snapshot["tiers"][index]
    found = staffing(index)
    return [
        list(people) if not why_not(target, snapshot, severity=situation.severity, at=situation.at) else []
        for target, people in zip(tier["targets"], found, strict=True)
    ]


def decide(
    snapshot: Snapshot, start: Position | None, *, situation: Situation, staffing: Staffing,
    paged: Collection[Paged] = (), turns: Mapping[int, int] | None = None, again: bool = False,
) -> Decision:  # fmt: skip
    """What happens at `start`, None when all repeats are over.

    `paged`: whom the earlier steps of this run have paged. `turns`: by level, the place of the target whose turn it is.
    `again` pages people whom this pass has paged already.
    """
    if start is None:
        return Decision(CatchAll("all repeats are over", exhausted=True))
    tiers = snapshot["tiers"]

    @functools.cache
    def somebody() -> bool:  # asked only when a tier has nobody, as it looks at all of them
        return any(
            not why_not(tier, snapshot, severity=situation.severity, at=situation.at)
            and any(there(snapshot, index, situation=situation, staffing=staffing))
            for index, tier in enumerate(tiers)
        )

    passed: list[Passed] = []
    for position in positions_from(snapshot, start):
        if len(passed) >= len(tiers):
            # A whole pass found nobody to page, and another would not either.
            return Decision(CatchAll("no tier is left that has somebody", nobody=not somebody()), passed)
        tier = tiers[position.index]
        if not tier["targets"]:
            passed.append(
                Passed(position, Outcome.AUTOMATED, "" if tier["level"] == 0 else "it names nobody")
            )
            continue
        why = why_not(tier, snapshot, severity=situation.severity, at=situation.at)
        if why:
            passed.append(Passed(position, Outcome.NOT_NOW, why))
            continue
        by_target = there(snapshot, position.index, situation=situation, staffing=staffing)
        before = () if again else _paged_below(paged, loop=position.loop, level=tier["level"])
        chosen, target = _choose(tier, by_target, before=before, turns=turns or {})
        if chosen:
            return Decision(PageTier(position, chosen, target), passed)
        if any(by_target):
            passed.append(
                Passed(position, Outcome.PAGED_BEFORE, "everybody there has been paged in this pass already")
            )
            continue
        nobody = why_nobody(tier)
        match tier.get("when_unstaffed", "skip"):
            case "wait" if situation.timed and somebody():
                return Decision(WaitAt(position, nobody), passed)
            case "hold_until_staffed":
                passed.append(Passed(position, Outcome.HELD, nobody))
            case _:
                passed.append(Passed(position, Outcome.SKIPPED, nobody))
    if not somebody():
        return Decision(CatchAll("no tier is left that has somebody", nobody=True), passed)
    return Decision(CatchAll("all repeats are over", exhausted=True), passed)


def _paged_below(paged: Collection[Paged], *, loop: int, level: int) -> set[int]:
    """Whom the tiers below have paged in this pass. The tier itself and those above it may have been paged as well,
    before somebody went back to a lower one."""
    return {each.user_id for each in paged if each.loop == loop and each.level < level}


def _choose(
    tier: Mapping[str, Any], by_target: Sequence[Sequence[Candidate]], *, before: Collection[int],
    turns: Mapping[int, int],
) -> tuple[list[Candidate], int | None]:  # fmt: skip
    if not tier.get("round_robin"):
        everybody = [candidate for people in by_target for candidate in people]
        return recipients(everybody, paged_before=before), None
    for place in in_turn(len(by_target), turns.get(tier["level"], 0)):
        chosen = recipients(by_target[place], paged_before=before)
        if chosen:
            return chosen, place
    return [], None


def in_turn(count: int, turn: int) -> list[int]:
    """The places of a tier's targets from the one whose turn it is. A target without anybody loses its turn."""
    return [(turn + step) % count for step in range(count)] if count else []


def joining(
    snapshot: Snapshot, position: Position, *, situation: Situation, staffing: Staffing, paged: Collection[Paged],
    target: int | None = None,
) -> list[Candidate]:  # fmt: skip
    """Who has come on call in this tier since it was paged, and has not been paged in this pass. `target` as in PageTier."""
    by_target = there(snapshot, position.index, situation=situation, staffing=staffing)
    if target is not None:
        by_target = by_target[target : target + 1]
    before = {each.user_id for each in paged if each.loop == position.loop}
    return recipients([each for people in by_target for each in people], paged_before=before)


# --- the whole course ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One moment of the course when nobody answers."""

    at: datetime
    decision: Decision
    due_at: datetime | None
    """When the next one comes; None: nothing follows by itself."""
    joins: Sequence[Candidate] = field(default=())
    """Paged besides, as they come on call in the tier that `decision` names."""


StaffingAt = Callable[[int, datetime], Sequence[Sequence[Candidate]]]
Changes = Callable[[int, datetime], datetime | None]
"""For a tier and a time: when somebody else comes on call there; None: not in the time that matters."""

MOST_STEPS = 1000


def plan(
    snapshot: Snapshot, *, severity: int, urgent: bool, at: datetime, staffing: StaffingAt,
    turns: Mapping[int, int] | None = None, changes: Changes | None = None, until: datetime | None = None,
) -> list[Step]:  # fmt: skip
    """What happens from `at` on when nobody answers, to the first time that the catch-all is paged, or `until`.

    With `changes`, people who come on call while their tier waits, and tiers that were held, are in it too.
    """
    course = _Course(snapshot, severity=severity, staffing=staffing, turns=dict(turns or {}), changes=changes)
    position: Position | None = start_position(snapshot, severity=severity)
    steps: list[Step] = []
    while len(steps) < MOST_STEPS and (until is None or at < until):
        decision = course.decide(position, at, timed=urgent)
        due_at = _due(snapshot, decision, severity=severity, at=at) if urgent else None
        steps.append(Step(at, decision, due_at))
        if isinstance(decision.then, CatchAll) or due_at is None:
            break
        steps += course.between(decision, at, due_at)
        position = next_position(snapshot, decision.then.position)
        at = due_at
    return steps


def _due(snapshot: Snapshot, decision: Decision, *, severity: int, at: datetime) -> datetime:
    if isinstance(decision.then, CatchAll):
        return at + timedelta(seconds=snapshot["catch_all_every_seconds"])
    tier = snapshot["tiers"][decision.then.position.index]
    return at + time_to_answer(snapshot, tier, severity)


class _Course:
    """What the steps so far have left behind."""

    def __init__(
        self, snapshot: Snapshot, *, severity: int, staffing: StaffingAt, turns: dict[int, int],
        changes: Changes | None,
    ) -> None:  # fmt: skip
        self.snapshot, self.severity, self.changes = snapshot, severity, changes
        self.staffing, self.turns = staffing, turns
        self.paged: list[Paged] = []
        self.held: dict[Position, datetime] = {}

    def decide(self, position: Position | None, at: datetime, *, timed: bool) -> Decision:
        decision = decide(
            self.snapshot, position, situation=Situation(self.severity, at, timed), staffing=self._at(at), paged=self.paged,
            turns=self.turns,
        )  # fmt: skip
        for each in decision.passed:
            if each.outcome is Outcome.HELD:
                seconds = self.snapshot["tiers"][each.position.index].get("hold_seconds", 0)
                self.held.setdefault(each.position, at + timedelta(seconds=seconds))
        if isinstance(decision.then, PageTier):
            self._note(decision.then.position, decision.then.recipients)
            if decision.then.target is not None:
                tier = self.snapshot["tiers"][decision.then.position.index]
                self.turns[tier["level"]] = decision.then.target + 1
        return decision

    def between(self, decision: Decision, at: datetime, due_at: datetime) -> list[Step]:
        """Who comes on call after `at` and before `due_at`, in the tier that waits or in one that is held."""
        if self.changes is None:
            return []
        watched = dict(self.held)
        if isinstance(decision.then, PageTier) and self.snapshot.get("add_on_handoff", True):
            watched[decision.then.position] = due_at
        found: list[Step] = []
        for position, limit in watched.items():
            moment = self.changes(position.index, at)
            while moment is not None and at < moment < min(due_at, limit):
                target = decision.then.target if isinstance(decision.then, PageTier) else None
                joins = joining(
                    self.snapshot, position, situation=Situation(self.severity, moment), staffing=self._at(moment),
                    paged=self.paged, target=target if position not in self.held else None,
                )  # fmt: skip
                if joins:
                    self._note(position, joins)
                    found.append(Step(moment, Decision(PageTier(position, ())), due_at, joins))
                    if self.held.pop(position, None):
                        break
                moment = self.changes(position.index, moment)
        return sorted(found, key=lambda step: step.at)

    def _at(self, at: datetime) -> Staffing:
        return lambda index: self.staffing(index, at)

    def _note(self, position: Position, people: Sequence[Candidate]) -> None:
        level = self.snapshot["tiers"][position.index]["level"]
        self.paged += [Paged(position.loop, level, each.user_id) for each in people]
