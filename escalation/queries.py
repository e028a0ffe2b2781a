"""Where an escalation stands, for pages and API."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet

from accounts.models import Team, User
from catalog.models import Service
from core.words import duration
from escalation import rules
from escalation.engine import runs_on, steps_of, tallies
from escalation.models import (
    CoverageGap,
    GapOutcome,
    MatrixCell,
    Policy,
    PolicyVersion,
    RoundRobin,
    Run,
    RunStatus,
    ServicePolicy,
)
from escalation.snapshots import snapshot_for
from incidents.models import Incident, Kind, Page, PageStatus


@dataclass(frozen=True)
class RungPerson:
    user: User
    status: str
    """A PageStatus value."""
    at: datetime | None
    """When answered or ended; None while waiting."""


@dataclass(frozen=True)
class Rung:
    level: int | None
    """None: the catch-all."""
    name: str
    state: str
    """answered, paging, missed, off (called off), skipped, next, later, passed (automation without people)"""
    due_at: datetime | None = None
    """When it is paged, as things stand; None when it has been or will not be."""
    paged_at: datetime | None = None
    answered_after: timedelta | None = None
    people: list[RungPerson] = field(default_factory=list)
    expected: str = ""
    criteria: str = ""
    note: str = ""
    tally: str = ""
    """How many have answered, where more than one has to."""


@dataclass(frozen=True)
class Ladder:
    policy_name: str
    policy_version: int
    rungs: list[Rung]
    is_running: bool
    loop: int
    repeats: int
    due_at: datetime | None
    team: Team | None = None
    """That was called in; None: the incident's own policy."""
    reason: str = ""
    by: User | None = None
    nobody: str = ""
    """Set when no tier had anybody, so that only the catch-all was paged."""
    others: list["Ladder"] = field(default_factory=list)
    """Of the teams that were called in."""


def ladder(incident: Incident, *, now: datetime) -> Ladder | None:
    """Every tier of the incident's policy with what happened there or when it will, and of each team that was called in.

    None: no escalation yet.
    """
    runs = list(Run.objects.filter(incident=incident).select_related("team", "started_by").order_by("pk"))
    own = next((run for run in runs if run.is_own), None)
    if own is None:
        return None
    pages = list(incident.pages.select_related("recipient").order_by("pk"))
    skips = list(
        incident.timeline.filter(kind=Kind.TIER_SKIPPED).order_by("seq").values_list("data", flat=True)
    )
    others = [run for run in runs if not run.is_own]
    theirs = {run.pk: [page for page in pages if page.step_key.startswith(steps_of(run))] for run in others}
    taken = {page.pk for found in theirs.values() for page in found}
    return replace(
        _ladder_of(incident, own, [page for page in pages if page.pk not in taken], skips),
        others=[_ladder_of(incident, run, theirs[run.pk], skips) for run in others],
        nobody=_nobody(own) if incident.is_open else "",
    )


def _nobody(run: Run) -> str:
    gap = run.gaps.filter(outcome=GapOutcome.NOBODY, at__gte=run.started_at).order_by("-pk").first()
    return gap.why if gap else ""


def _ladder_of(incident: Incident, run: Run, pages: list[Page], skips: list[dict[str, Any]]) -> Ladder:
    snapshot = run.snapshot
    mine = None if run.is_own else run.pk
    skipped = {data["tier"]: data["why"] for data in skips if data.get("run") == mine}
    running = run.status != RunStatus.STOPPED and runs_on(incident, run)
    counted = {}
    if any(rules.asks_for_more(tier) for tier in snapshot["tiers"]) and run.step:
        counted = {level: str(each) for level, each in tallies(incident, run).items() if each.needed > 1}
    rungs: list[Rung] = []
    due_at = run.due_at
    for index, tier in enumerate(snapshot["tiers"]):
        here = _latest_per_person([page for page in pages if page.tier == tier["level"]])
        comes_at = None
        if running and run.status != RunStatus.CATCH_ALL and index > run.index and due_at is not None:
            comes_at = due_at
            due_at = due_at + rules.time_to_answer(snapshot, tier, incident.severity)
        rung = _rung(tier, index, run=run, running=running, pages=here, comes_at=comes_at, skipped=skipped)
        rungs.append(replace(rung, tally=counted.get(tier["level"], "")))
    rungs.append(
        _last_rung(
            run, running=running, pages=_latest_per_person([p for p in pages if p.tier_name == "Catch-all"])
        )
    )
    return Ladder(
        policy_name=snapshot["name"], policy_version=snapshot["version"], rungs=rungs, is_running=running,
        loop=run.loop, repeats=snapshot["repeats"], due_at=run.due_at, team=run.team, reason=run.reason,
        by=run.started_by,
    )  # fmt: skip


def _latest_per_person(pages: list[Page]) -> list[Page]:
    return list({page.recipient_id: page for page in pages}.values())


def _rung(
    tier: Mapping[str, Any], index: int, *, run: Run, running: bool, pages: list[Page], comes_at: datetime | None,
    skipped: Mapping[int, str],
) -> Rung:  # fmt: skip
    answered = [page for page in pages if page.status == PageStatus.ACKNOWLEDGED]
    note = ""
    if answered:
        state = "answered"
    elif pages and any(page.status == PageStatus.PAGING for page in pages):
        state = "paging"
    elif pages:
        state = "missed" if any(page.status == PageStatus.MISSED for page in pages) else "off"
    elif tier["level"] in skipped and index <= run.index:
        state, note = "skipped", skipped[tier["level"]]
    elif not tier["targets"]:
        state, note = "passed", "pages nobody"
    elif running and comes_at is not None and index == run.index + 1:
        state = "next"
    else:
        state = "later"
    first = answered[0] if answered else None
    return Rung(
        level=tier["level"], name=tier["name"], state=state, due_at=comes_at if state in ("next", "later") else None,
        paged_at=pages[0].paged_at if pages else None,
        answered_after=first.ended_at - first.paged_at if first and first.ended_at else None,
        people=[RungPerson(page.recipient, page.status, page.ended_at) for page in pages],
        expected=tier["expected"], criteria=tier["criteria"], note=note,
    )  # fmt: skip


def _last_rung(run: Run, *, running: bool, pages: list[Page]) -> Rung:
    repeats = run.snapshot["repeats"]
    every = run.snapshot["catch_all_every_seconds"] // 60
    before = (
        f"All tiers again, {repeats} {'time' if repeats == 1 else 'times'}, then " if repeats else "Then "
    )
    state = "later"
    if any(page.status == PageStatus.ACKNOWLEDGED for page in pages):
        state = "answered"
    elif running and run.status == RunStatus.CATCH_ALL:
        state = "paging"
    elif pages:
        state = "missed"
    return Rung(
        level=None, name="Catch-all", state=state, people=[RungPerson(p.recipient, p.status, p.ended_at) for p in pages],
        note=f"{before}the catch-all every {every} min until somebody answers",
    )  # fmt: skip


def policies(*, text: str = "", team: str = "") -> QuerySet[Policy]:
    """By name; `text` narrows by name or description, `team` is a slug."""
    found = (
        Policy.objects.select_related("team", "catch_all")
        .prefetch_related("tiers")
        .annotate(
            tier_count=Count("tiers", distinct=True), service_count=Count("service_policies", distinct=True)
        )
        .order_by("name")
    )
    if text:
        found = found.filter(Q(name__icontains=text) | Q(description__icontains=text))
    return found.filter(team__slug=team) if team else found


def policy_in_full(slug: str) -> Policy | None:
    return (
        Policy.objects.select_related("team", "catch_all")
        .prefetch_related(
            "tiers__targets__schedule",
            "tiers__targets__user",
            "tiers__targets__team",
            "service_policies__service",
        )
        .filter(slug=slug)
        .first()
    )


def policy_of(service: Service) -> Policy | None:
    link = ServicePolicy.objects.select_related("policy").filter(service=service).first()
    return link.policy if link else None


def what_pages(service: Service) -> dict[str, Any]:
    """The snapshot that an incident of this service would get now."""
    return snapshot_for(service)[1]


def runs_of(policy: Policy) -> QuerySet[Run]:
    """Escalations of this policy, in whatever version, that are still running."""
    return policy.runs.exclude(status=RunStatus.STOPPED)


def versions_of(policy: Policy) -> QuerySet[PolicyVersion]:
    return policy.versions.select_related("saved_by").order_by("-version")


def version_of(policy: Policy, number: int) -> PolicyVersion | None:
    return policy.versions.filter(version=number).first()


def next_in_turn(policy: Policy, snapshot: Mapping[str, Any]) -> dict[int, str]:
    """By level of a tier whose targets take turns: the target that is next."""
    turns = dict(RoundRobin.objects.filter(policy=policy).values_list("level", "turn"))
    return {
        tier["level"]: tier["targets"][turns.get(tier["level"], 0) % len(tier["targets"])]["name"]
        for tier in snapshot["tiers"]
        if tier["round_robin"] and tier["targets"]
    }


def coverage_gaps() -> QuerySet[CoverageGap]:
    """Where a page found nobody, the newest first."""
    return CoverageGap.objects.select_related("incident", "service").order_by("-pk")


@dataclass(frozen=True)
class Treatment:
    """What a severity means on services of one criticality. Empty and None: the default."""

    severity: int
    criticality: int
    urgency: str = ""
    start_level: int | None = None
    answer_seconds: int | None = None
    commander: str = ""
    containment_minutes: int | None = None

    @property
    def is_default(self) -> bool:
        return self == Treatment(self.severity, self.criticality)

    @property
    def sentence(self) -> str:
        said = []
        if self.urgency == "low":
            said.append("pages once and does not escalate")
        elif self.urgency == "high":
            said.append("escalates")
        if self.start_level is not None:
            said.append(f"begins with tier {self.start_level}")
        if self.answer_seconds:
            said.append(f"answer within {duration(self.answer_seconds)}")
        if self.commander:
            said.append("a commander is asked" if self.commander == "ask" else "no commander is asked")
        if self.containment_minutes:
            said.append(f"contained within {duration(self.containment_minutes * 60)}, else it escalates")
        return ", ".join(said)


def matrix() -> list[list[Treatment]]:
    """Sixteen cells: a row for each severity, in it one for each criticality."""
    cells = {(cell.severity, cell.criticality): cell for cell in MatrixCell.objects.all()}
    return [
        [_treatment(cells, severity, criticality) for criticality in (1, 2, 3, 4)]
        for severity in (1, 2, 3, 4)
    ]


def treatments_of(service: Service) -> list[Treatment]:
    """The column of a service's criticality, SEV1 first."""
    return [row[service.criticality - 1] for row in matrix()]


def _treatment(cells: Mapping[tuple[int, int], MatrixCell], severity: int, criticality: int) -> Treatment:
    cell = cells.get((severity, criticality))
    if cell is None:
        return Treatment(severity, criticality)
    return Treatment(
        severity, criticality, cell.urgency, cell.start_level, cell.answer_seconds, cell.commander,
        cell.containment_minutes,
    )  # fmt: skip
