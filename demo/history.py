"""Makes past incidents up: when, what, who answered and how long it took. Values in, values out, a fixed seed.

The texts of the entries are those of the transitions, so that an old incident reads like one of today. Times are spread
as they are in life: log-normal, slower by night, faster for what is severe, and some people do not wake up.
"""

import math
import random
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from core.words import duration
from demo.scenarios import NOTES, Scenario
from incidents.rules import severity_for, urgency_for

SPAN = timedelta(days=182)

# How the wish for a severity weighs: most of what breaks is small.
_WEIGHTS = {1: 7, 2: 22, 3: 44, 4: 34}


@dataclass(frozen=True, kw_only=True)
class Actor:
    id: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Tier:
    level: int
    name: str
    expected: str
    seconds: Mapping[int, int]
    index: int  # in the policy's snapshot


@dataclass(frozen=True, kw_only=True)
class World:
    """What the history needs to know of the organization."""

    people: Mapping[str, Actor]
    services: Mapping[str, tuple[str, int]]  # slug: name, criticality
    tiers: Mapping[str, Sequence[Tier]]  # by service, those that name somebody
    sender: Mapping[str, str]  # by service: the name of its integration
    bot: str
    # Whom a tier of a service gives at a moment, with the reason.
    paged: Callable[[str, Tier, datetime], list[tuple[str, str]]]
    commander: Callable[[datetime], str]


@dataclass(kw_only=True)
class PastPage:
    recipient: Actor
    tier: Tier
    reason: str
    step: int
    paged_at: datetime
    answer_by: datetime | None
    otherwise: str
    status: str = "paging"
    ended_at: datetime | None = None


@dataclass(kw_only=True)
class PastAlert:
    dedup_key: str
    title: str
    severity: str
    source: str
    first_seen_at: datetime
    last_seen_at: datetime
    resolved_at: datetime
    count: int
    joined_because: str = ""
    closed_by_hand: bool = False


@dataclass(kw_only=True)
class Entry:
    kind: str
    at: datetime
    text: str
    actor: Actor | None = None
    actor_name: str = "Muster"
    data: dict[str, Any] = field(default_factory=dict)
    pages: list[PastPage] | None = None  # their ids go into data["pages"]
    alert: PastAlert | None = None  # its id goes into data["alert"]


@dataclass(kw_only=True)
class PastIncident:
    service: str
    title: str
    severity: int
    urgency: str
    impact: str
    is_drill: bool
    opened_from: str
    opened_by: Actor | None
    triggered_at: datetime
    commander: Actor | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: Actor | None = None
    contained_at: datetime | None = None
    contained_by: Actor | None = None
    resolved_at: datetime | None = None
    resolved_by: Actor | None = None
    phase: str = "detection"
    fence: int = 0
    run_index: int = 0
    run_step: int = 0
    run_step_started_at: datetime | None = None
    run_stopped_at: datetime | None = None
    last_event_at: datetime | None = None
    event_count: int = 0
    stamps: dict[str, datetime] = field(default_factory=dict)
    pages: list[PastPage] = field(default_factory=list)
    alerts: list[PastAlert] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


def starts(dice: random.Random, *, count: int, now: datetime, span: timedelta = SPAN) -> list[datetime]:
    """When things broke, oldest first: on working days around noon more often than on a Sunday night.

    About every six days as much as before, and at random within them.
    """
    found: list[datetime] = []
    stretches = max(round(count / 6), 1)
    last = now - timedelta(hours=5)
    while len(found) < count:
        stretch = len(found) * stretches // count
        at = last - span * ((stretch + dice.random()) / stretches)
        likely = 0.35 + 0.65 * math.exp(-(((at.hour + at.minute / 60 - 12.5) / 4.5) ** 2))
        if at.weekday() >= 5:
            likely *= 0.55
        if dice.random() < likely:
            found.append(at.replace(microsecond=dice.randrange(1_000_000)))
    return sorted(found)


def around(dice: random.Random, median: float, sigma: float = 0.65) -> timedelta:
    """Log-normal: most are near the median, a few take many times as long."""
    return timedelta(seconds=round(median * math.exp(dice.gauss(0, sigma)), 3))


@dataclass(frozen=True, kw_only=True)
class Pot:
    """Scenarios, each with its weight."""

    scenarios: Sequence[Scenario]
    weights: Sequence[float]


def pot(scenarios: Sequence[Scenario], *, world: World) -> Pot:
    """Weigh them so that severities come as often as they are meant to, however many scenarios each has."""
    severities = [severity_for(each.severity, world.services[each.service][1]) for each in scenarios]
    return Pot(
        scenarios=scenarios,
        weights=[_WEIGHTS[severity] / severities.count(severity) for severity in severities],
    )


def make(
    dice: random.Random, *, out_of: Pot, world: World, at: datetime, now: datetime, span: timedelta = SPAN,
    is_drill: bool = False, lately: Container[str] = (),
) -> PastIncident:  # fmt: skip
    """One incident from its first alert to its end, all of it before `now`. `lately`: titles that it does not repeat."""
    scenario = dice.choices(out_of.scenarios, out_of.weights)[0]
    while scenario.title in lately:
        scenario = dice.choices(out_of.scenarios, out_of.weights)[0]
    return _Course(dice, scenario=scenario, world=world, at=at, now=now, span=span, is_drill=is_drill).play()


class _Course:
    """Plays one incident. Each method is one thing that happens, and leaves rows and entries as its transition does."""

    def __init__(
        self, dice: random.Random, *, scenario: Scenario, world: World, at: datetime, now: datetime, span: timedelta,
        is_drill: bool,
    ) -> None:  # fmt: skip
        self.dice, self.scenario, self.world, self.now = dice, scenario, world, now
        name, criticality = world.services[scenario.service]
        severity = severity_for(scenario.severity, criticality)
        self.service_name = name
        self.sender = "" if is_drill else world.sender[scenario.service]
        # From 0 at the beginning of the history to 1 today: people got faster at answering, and slower at containing.
        self.progress = 1 - min(max((now - at) / span, 0), 1)
        self.by_night = not 6 <= at.hour < 20
        by = world.people[world.commander(at)] if is_drill else None
        self.incident = PastIncident(
            service=scenario.service, title=scenario.title, severity=severity,
            urgency=urgency_for(scenario.severity, severity), impact="", is_drill=is_drill, opened_from=self.sender,
            opened_by=by, triggered_at=at,
        )  # fmt: skip
        self.at = at
        self.opener = by

    # --- what happens, in order ---------------------------------------------------------------------------------

    def play(self) -> PastIncident:
        incident, dice = self.incident, self.dice
        self._trigger()
        small = incident.severity >= 3
        if small and not incident.is_drill and dice.random() < 0.11:
            self._page_first()
            self._wait(around(dice, 55, 0.5))
            self._resolve(None)
            return self._done()
        self._answer()
        if incident.severity <= 2 or dice.random() < 0.2:
            self._command()
        if self.scenario.impact and (small is False or dice.random() < 0.5):
            self._wait(around(dice, 90))
            self._impact()
        self._note(self.scenario.cause)
        if dice.random() < 0.45:
            self._note(dice.choice(NOTES))
        marks_contained = dice.random() < {1: 1.0, 2: 0.97, 3: 0.88, 4: 0.72}[incident.severity]
        if marks_contained:
            median = {1: 17, 2: 21, 3: 26, 4: 38}[incident.severity] * 60 * (0.7 + 0.65 * self.progress)
            until = incident.triggered_at + around(dice, median, 0.6)
            self._contain(max(until, self.at + timedelta(seconds=40)))
        self._note(self.scenario.remedy)
        self._wait(around(dice, {1: 62, 2: 55, 3: 45, 4: 35}[incident.severity] * 60, 0.75))
        last = incident.acknowledged_by
        self._resolve(None if self.sender and dice.random() < 0.4 else last)
        if dice.random() < 0.03 and not incident.is_drill:
            self._reopen(last)
        return self._done()

    def _wait(self, time: timedelta) -> None:
        # The past ends before now, however long somebody took.
        room = (self.now - timedelta(minutes=45) - self.at) / 3
        self.at += min(time, max(room, timedelta(seconds=1)))

    def _add(self, kind: str, text: str, *, actor: Actor | None = None, name: str = "", **more: Any) -> None:
        actor_name = name or (actor.name if actor else "Muster")
        self.incident.entries.append(
            Entry(kind=kind, at=self.at, text=text, actor=actor, actor_name=actor_name, **more)
        )

    def _trigger(self) -> None:
        incident, scenario = self.incident, self.scenario
        incident.stamps["detection"] = self.at
        data: dict[str, Any] = {
            "severity": incident.severity, "urgency": incident.urgency, "service": incident.service,
        }  # fmt: skip
        source = f"prometheus/{incident.service}"
        if not incident.is_drill:
            criticality = self.world.services[incident.service][1]
            data |= {"alert_severity": scenario.severity, "criticality": criticality, "source": source}
        self._add(
            "triggered", f"opened SEV{incident.severity} on {self.service_name}: {incident.title}",
            actor=self.opener, name=self.sender, data=data,
        )  # fmt: skip
        incident.last_event_at = self.at
        if not incident.is_drill:
            self._alert(scenario.alert, scenario.title, scenario.severity, source)

    def _alert(self, key: str, title: str, severity: str, source: str, because: str = "") -> PastAlert:
        repeats = 1 + int(self.dice.expovariate(0.4))
        alert = PastAlert(
            dedup_key=f"{key}/{self.incident.triggered_at:%Y%m%dT%H%M%S}", title=title, severity=severity,
            source=source, first_seen_at=self.at, last_seen_at=self.at, resolved_at=self.at, count=repeats,
            joined_because=because,
        )  # fmt: skip
        self.incident.alerts.append(alert)
        self.incident.event_count += repeats
        return alert

    def _page_first(self) -> None:
        self._page(0, why="")

    def _page(self, number: int, why: str) -> bool:
        """Page one tier; False when nobody is there."""
        incident = self.incident
        tiers = self.world.tiers[incident.service]
        tier = tiers[number]
        already = {page.recipient.id for page in incident.pages}
        chosen = [
            (self.world.people[who], reason)
            for who, reason in self.world.paged(incident.service, tier, self.at)
            if self.world.people[who].id not in already
        ]
        incident.run_index = tier.index
        if not chosen:
            self._add(
                "tier_skipped", f"skipped tier {tier.level}, {tier.name}: nobody there can be paged",
                data={"tier": tier.level, "loop": 0, "why": "nobody there can be paged"},
            )  # fmt: skip
            return False
        incident.run_step += 1
        incident.run_step_started_at = self.at
        urgent = incident.urgency == "high"
        within = timedelta(seconds=tier.seconds[incident.severity])
        due_at = self.at + within if urgent else None
        following = (
            "Tier 1 is paged again"
            if number + 1 == len(tiers)
            else f"Tier {tiers[number + 1].level} is paged"
        )
        otherwise = f"{following} in {duration(within)}" if due_at else ""
        pages = [
            PastPage(
                recipient=who, tier=tier, reason=reason, step=incident.run_step, paged_at=self.at, answer_by=due_at,
                otherwise=otherwise,
            )
            for who, reason in chosen
        ]  # fmt: skip
        incident.pages += pages
        reasons = "; ".join(dict.fromkeys(reason[:1].lower() + reason[1:] for _, reason in chosen))
        because = f" ({why})" if why else ""
        then = f". Without an answer, {otherwise[:1].lower()}{otherwise[1:]}" if otherwise else ""
        self._add(
            "paged",
            f"paged tier {tier.level}, {tier.name}{because}: {_names([who for who, _ in chosen])}, {reasons}{then}",
            data={
                "tier": tier.level, "loop": 0, "step": incident.run_step, "why": why,
                "people": [who.id for who, _ in chosen], "due_at": due_at.isoformat() if due_at else None,
            },
            pages=pages,
        )  # fmt: skip
        return True

    def _answer(self) -> None:
        """Tier after tier until somebody answers in time. The last one always does."""
        incident, dice = self.incident, self.dice
        tiers = self.world.tiers[incident.service]
        bot_first = not incident.is_drill and incident.severity >= 3 and dice.random() < 0.03
        medians = {1: 50, 2: 66, 3: 130, 4: 260} if incident.urgency == "high" else {3: 200, 4: 330}
        faster = 1.5 - 0.9 * self.progress
        night = 1.7 if self.by_night else 1.0
        last = len(tiers) - 1
        why = ""
        for number, tier in enumerate(tiers):
            if not self._page(number, why):
                continue
            waiting = [page for page in incident.pages if page.status == "paging"]
            needed = around(dice, medians[incident.severity] * faster * night, 0.7)
            asleep = dice.random() < (0.34 if self.by_night else 0.16)
            within = timedelta(seconds=tier.seconds[incident.severity])
            if incident.urgency == "high" and (asleep or needed >= within) and number < last:
                self.at += within
                for page in waiting:
                    page.status, page.ended_at = "missed", self.at
                self._add(
                    "page_missed",
                    f"{_names([page.recipient for page in waiting])} did not answer within {duration(within)}",
                    data={"people": [page.recipient.id for page in waiting], "tier": tier.level}, pages=waiting,
                )  # fmt: skip
                why = "no answer in time"
                continue
            if bot_first:
                self.at += timedelta(seconds=2.4)
                self._acknowledge(self.world.people[self.world.bot], None, "api")
                self._wait(needed)
                self._also_acknowledge(waiting[0])
                return
            self._wait(min(needed, within * 0.95) if incident.urgency == "high" else needed)
            page = dice.choice(waiting)
            self._acknowledge(page.recipient, page, dice.choice(["web", "link", "link", "link"]))
            return

    def _acknowledge(self, who: Actor, page: PastPage | None, via: str) -> None:
        incident = self.incident
        incident.acknowledged_at, incident.acknowledged_by = self.at, who
        incident.fence += 1
        for other in incident.pages:
            if other.status == "paging":
                other.status, other.ended_at = "cancelled", self.at
        if page is not None:
            page.status = "acknowledged"
        took = self.at - (page.paged_at if page else incident.triggered_at)
        self._add(
            "acknowledged", f"acknowledged after {duration(took)}", actor=who,
            data={
                "via": via, "seconds": int((self.at - incident.triggered_at).total_seconds()),
                "page_seconds": int(took.total_seconds()) if page else None, "tier": page.tier.level if page else None,
                "bot": who.id == self.world.people[self.world.bot].id,
            },
        )  # fmt: skip
        incident.run_stopped_at = self.at
        self._advance("triage")

    def _also_acknowledge(self, page: PastPage) -> None:
        page.status = "acknowledged"
        self.incident.acknowledged_by = page.recipient
        self._add("also_acknowledged", "also answered", actor=page.recipient, data={"via": "link"})

    def _command(self) -> None:
        self._wait(around(self.dice, 70))
        who = self.world.people[self.world.commander(self.at)]
        self.incident.commander = who
        self._add(
            "role_assigned",
            "took command",
            actor=who,
            data={"role": "commander", "user": who.id, "before": None},
        )

    def _impact(self) -> None:
        who = self.incident.commander or self.incident.acknowledged_by
        self.incident.impact = self.scenario.impact
        self._add(
            "impact_changed", f"described the impact: {self.scenario.impact}", actor=who,
            data={"from": "", "to": self.scenario.impact},
        )  # fmt: skip

    def _note(self, text: str) -> None:
        self._wait(around(self.dice, 150))
        self._add("note", text, actor=self.incident.acknowledged_by)

    def _contain(self, at: datetime) -> None:
        incident = self.incident
        self._wait(at - self.at)
        who = incident.commander or incident.acknowledged_by
        incident.contained_at, incident.contained_by = self.at, who
        incident.fence += 1
        took = self.at - incident.triggered_at
        self._add(
            "contained", f"marked contained, {duration(took)} after detection", actor=who,
            data={"seconds": int(took.total_seconds()), "note": ""},
        )  # fmt: skip
        incident.stamps.setdefault("containment", self.at)
        self._advance("root_cause")

    def _resolve(self, by: Actor | None) -> None:
        incident = self.incident
        incident.resolved_at, incident.resolved_by = self.at, by
        incident.fence += 1
        incident.run_stopped_at = incident.run_stopped_at or self.at
        for page in incident.pages:
            if page.status == "paging":
                page.status, page.ended_at = "cancelled", self.at
        took = self.at - incident.triggered_at
        firing = 0
        for alert in incident.alerts:
            alert.resolved_at = self.at
            alert.last_seen_at = max(alert.first_seen_at, self.at - timedelta(minutes=2))
            if by is not None:
                alert.closed_by_hand = True
                firing += 1
        note = "the sender says it is over" if by is None else ""
        colon = f": {note}" if note else ""
        still = f"; {firing} {'alert was' if firing == 1 else 'alerts were'} still firing" if firing else ""
        self._add(
            "resolved", f"resolved, {duration(took)} after detection{colon}{still}", actor=by,
            name="" if by else self.sender,
            data={"seconds": int(took.total_seconds()), "note": note, "by_sender": by is None, "still_firing": firing},
        )  # fmt: skip
        self._advance("review")

    def _reopen(self, by: Actor | None) -> None:
        """It came back within the hour, and was over for good a little later."""
        if by is None or self.now - self.at < timedelta(hours=4):
            return
        incident = self.incident
        self.at += timedelta(minutes=self.dice.randrange(4, 40))
        incident.fence += 1
        incident.contained_at = incident.contained_by = None
        self._add(
            "reopened", "reopened: the same alert again", actor=by, data={"reason": "the same alert again"}
        )
        self._wait(timedelta(seconds=35))
        self._acknowledge_again(by)
        self._wait(around(self.dice, 1500))
        self._resolve(by)

    def _acknowledge_again(self, by: Actor) -> None:
        first = self.incident.acknowledged_at
        self._acknowledge(by, None, "web")
        self.incident.acknowledged_at = first

    def _advance(self, phase: str) -> None:
        order = ("detection", "triage", "escalation", "containment", "root_cause", "review")
        incident = self.incident
        if order.index(phase) <= order.index(incident.phase):
            return
        incident.phase = phase
        incident.stamps.setdefault(phase, self.at)
        label = {"triage": "Triage", "root_cause": "Root cause", "review": "Review"}[phase]
        took = duration(self.at - incident.triggered_at)
        self._add("phase", f"{label} began, {took} after detection", data={"phase": phase})

    def _done(self) -> PastIncident:
        incident = self.incident
        incident.run_stopped_at = incident.run_stopped_at or incident.resolved_at
        return incident


def _names(people: Sequence[Actor]) -> str:
    names = [person.name for person in people]
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
