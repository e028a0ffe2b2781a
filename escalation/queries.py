"""Where an escalation stands, for pages and API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet

from accounts.models import User
from catalog.models import Service
from escalation import rules
from escalation.engine import fallback_snapshot, snapshot_of
from escalation.models import Policy, Run, RunStatus, ServicePolicy
from incidents.models import Incident, Kind, Page, PageStatus, Status


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


@dataclass(frozen=True)
class Ladder:
    policy_name: str
    policy_version: int
    rungs: list[Rung]
    is_running: bool
    loop: int
    repeats: int
    due_at: datetime | None


def ladder(incident: Incident, *, now: datetime) -> Ladder | None:
    """Every tier of the incident's policy with what happened there or when it will. None: no escalation yet."""
    run = Run.objects.filter(incident=incident).first()
    if run is None:
        return None
    snapshot = run.snapshot
    pages = list(incident.pages.select_related("recipient").order_by("pk"))
    skipped = {
        data["tier"]: data["why"]
        for data in incident.timeline.filter(kind=Kind.TIER_SKIPPED)
        .order_by("seq")
        .values_list("data", flat=True)
    }
    running = run.status != RunStatus.STOPPED and incident.status == Status.TRIGGERED
    rungs: list[Rung] = []
    due_at = run.due_at
    for index, tier in enumerate(snapshot["tiers"]):
        mine = _latest_per_person([page for page in pages if page.tier == tier["level"]])
        comes_at = None
        if running and run.status == RunStatus.RUNNING and index > run.index and due_at is not None:
            comes_at = due_at
            due_at = due_at + rules.ack_within(tier, incident.severity)
        rungs.append(
            _rung(tier, index, run=run, running=running, pages=mine, comes_at=comes_at, skipped=skipped)
        )
    rungs.append(
        _last_rung(
            run, running=running, pages=_latest_per_person([p for p in pages if p.tier_name == "Catch-all"])
        )
    )
    return Ladder(
        policy_name=snapshot["name"], policy_version=snapshot["version"], rungs=rungs, is_running=running,
        loop=run.loop, repeats=snapshot["repeats"], due_at=run.due_at,
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
    policy = policy_of(service)
    return snapshot_of(policy) if policy else fallback_snapshot()


def runs_of(policy: Policy) -> QuerySet[Run]:
    """Escalations of this policy, in whatever version, that are still running."""
    return policy.runs.exclude(status=RunStatus.STOPPED)
