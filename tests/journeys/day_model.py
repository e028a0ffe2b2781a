"""What must have been paged, to whom and by when: computed from what happened to an incident, and from nothing of Muster's.

A `Course` is told what people did and which pages were seen, both in the order and at the time of the world outside. It
answers with sentences about what is wrong. Whoever fires a timer may have a clock that is off, so a page may come that
much early or late; besides that, `GRACE` is what a crash and its repair may cost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

GRACE = timedelta(seconds=45)

Who = Callable[[datetime], set[str]]
Slack = Callable[[datetime, datetime], timedelta]
"""How far a clock was off at most between two times."""


@dataclass(frozen=True)
class Shifts:
    """(from, who) in order: on call until the next begins; "" is nobody."""

    rows: Sequence[tuple[datetime, str]]

    def __call__(self, at: datetime) -> set[str]:
        return {person for _, person in self._begun(at)[-1:]} - {""}

    def changed(self, at: datetime) -> datetime:
        return self._begun(at)[-1][0]

    def _begun(self, at: datetime) -> list[tuple[datetime, str]]:
        return [row for row in self.rows if row[0] <= at]


@dataclass(frozen=True)
class Level:
    who: Shifts | frozenset[str]
    seconds: dict[int, int]
    needs: int = 1

    def people(self, at: datetime) -> set[str]:
        return self.who(at) if isinstance(self.who, Shifts) else set(self.who)


@dataclass(frozen=True)
class Plan:
    levels: Sequence[Level]
    repeats: int
    last: str
    every: timedelta = timedelta(minutes=15)


END, LAST = "nothing", "last"


@dataclass
class Course:
    name: str
    plan: Plan
    severity: int
    at: datetime
    slack: Slack
    index: int | str = -1
    loop: int = 0
    due: datetime | None = None
    again: bool = False
    gathering: bool = False
    over: str = ""
    wrong: list[str] = field(default_factory=list)
    paged: dict[tuple[int, int | str], set[str]] = field(default_factory=dict)
    answers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.due = self.at

    # ------------------------------------------------------------------ what people do

    def answered(self, by: str) -> None:
        self.answers.add(by)
        if self.over:
            return
        asks = self.gathering or (isinstance(self.index, int) and self.plan.levels[self.index].needs > 1)
        if asks and not self._enough():
            self.gathering = True
        else:
            self.over = f"the answer of {by}"

    def _enough(self) -> bool:
        return any(
            len(people & self.answers) >= min(self.plan.levels[index].needs, len(people))
            for (loop, index), people in self.paged.items()
            if loop == self.loop and isinstance(index, int)
        )

    def escalated(self, at: datetime) -> None:
        if not self.over:
            self.due, self.at = at, at

    def resolved(self) -> None:
        self.over = "the end"

    def severity_changed(self, to: int, at: datetime) -> None:
        self.severity = to
        if self.over:
            return
        if to == 4:
            self.due = None
        elif self.due is None and not self.gathering:
            self.due, self.at, self.again = at, at, True
        elif self.due is not None and isinstance(self.index, int):
            self.due = max(at, self.at + self._time())

    # ------------------------------------------------------------------ what is seen

    def page(self, at: datetime, people: set[str]) -> None:
        """A step that is new."""
        self.tick(at)
        said = f"{self.name}: {sorted(people)} paged at {at:%H:%M:%S}"
        if self.over:
            self.wrong.append(f"{said} after {self.over}")
            return
        if self.due is None:
            self.wrong.append(f"{said}, for which there is no reason")
            return
        slack = self.slack(self.at, at)
        if at < self.due - slack:
            self.wrong.append(f"{said}, which is before {self.due:%H:%M:%S}")
        moments = (at, at - slack, at + slack)
        for moment in moments:
            index, loop, wanted = self._next(moment)
            if wanted == people:
                break
        else:
            index, loop, wanted = self._next(at)
            self.wrong.append(f"{said}, and not {sorted(wanted)}")
        if index == END:
            self.due = None
            return
        self.index, self.loop, self.at, self.again = index, loop, at, False
        self.paged.setdefault((loop, index), set()).update(people)
        self.due = at + self._time() if self.severity < 4 else None

    def joined(self, at: datetime, people: set[str]) -> None:
        """Somebody more in the step that is there."""
        said = f"{self.name}: {sorted(people)} paged besides at {at:%H:%M:%S}"
        slack = self.slack(self.at, at)
        there = {who for moment in (at, at - slack, at + slack) for who in self._on_duty(moment)}
        if self.over:
            self.wrong.append(f"{said} after {self.over}")
        elif not people <= there - self._paged_in_pass():
            self.wrong.append(f"{said}, for which there is no reason")
        self.paged.setdefault((self.loop, self.index), set()).update(people)

    def tick(self, at: datetime) -> None:
        """Time has passed."""
        if self.over:
            return
        if self.due is not None and at > self.due + self.slack(self.at, at) + GRACE:
            index, _, wanted = self._next(self.due)
            if index != END:
                self.wrong.append(f"{self.name}: {sorted(wanted)} was not paged at {self.due:%H:%M:%S}")
            self.due = None
        new = self._on_duty(at) - self._paged_in_pass()
        if new:
            since = max(self.at, self.plan.levels[self.index].who.changed(at))
            if at > since + self.slack(self.at, at) + GRACE:
                self.wrong.append(f"{self.name}: {sorted(new)} came on call at {since:%H:%M:%S} unpaged")
                self.paged.setdefault((self.loop, self.index), set()).update(new)

    # ------------------------------------------------------------------ the rules

    def _time(self) -> timedelta:
        if self.index == LAST:
            return self.plan.every
        return timedelta(seconds=self.plan.levels[self.index].seconds[self.severity])

    def _next(self, at: datetime) -> tuple[int | str, int, set[str]]:
        index, loop = self.index, self.loop
        if index == LAST:
            return LAST, loop, {self.plan.last}
        if not self.again:
            index += 1
        while True:
            if index == len(self.plan.levels):
                if self.gathering:
                    return END, loop, set()
                if loop == self.plan.repeats:
                    return LAST, loop, {self.plan.last}
                index, loop = 0, loop + 1
            people = self.plan.levels[index].people(at)
            if people:
                return index, loop, people
            index += 1

    def _on_duty(self, at: datetime) -> set[str]:
        """Who is on call in the tier that waits, if it is one whose people change."""
        if not isinstance(self.index, int) or self.index < 0:
            return set()
        who = self.plan.levels[self.index].who
        return who(at) if isinstance(who, Shifts) else set()

    def _paged_in_pass(self) -> set[str]:
        return {one for (loop, _), people in self.paged.items() if loop == self.loop for one in people}
