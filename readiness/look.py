"""Looks at all that the coming night depends on. Reads only; each part stands for itself and gives findings."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.urls import reverse

from accounts.models import ApiToken, User
from catalog.models import Service
from escalation import auditor
from escalation.foresight import empty_tiers
from escalation.models import Policy, ServicePolicy
from escalation.snapshots import snapshot_of
from escalation.targets import schedules_of
from notifications import queries as notification_queries
from notifications import rules as notification_rules
from oncall import queries as oncall_queries
from oncall.models import Schedule
from readiness import queries, rules
from readiness.rules import Finding, Level, Proof, Topic
from timers import queries as timer_queries
from timers.models import Heartbeat

CRITICAL = 2
"""Criticality 1 and 2: what is wrong with such a service is wrong tonight."""


@dataclass(frozen=True)
class World:
    """What several parts read."""

    now: datetime
    until: datetime
    policies: Mapping[int, tuple[Policy, list[Service]]]  # those that page for a service
    schedules: Mapping[int, Schedule]
    matters: frozenset[int]  # schedules through which a critical service pages
    duty: Mapping[int, list[tuple[Schedule, oncall_queries.Span]]]  # by person, within the night


def tonight(now: datetime) -> list[Finding]:
    """Everything that would fail in the coming 24 hours, and what is one fault away; the worst first."""
    world = _world(now)
    parts = (_engine, _coverage, _people, _steps, _services, _providers, _keys)
    return rules.in_order(finding for part in parts for finding in part(world))


def _world(now: datetime) -> World:
    until = now + rules.NIGHT
    policies: dict[int, tuple[Policy, list[Service]]] = {}
    links = ServicePolicy.objects.select_related("policy", "service").order_by("service__criticality", "pk")
    for link in links:
        policies.setdefault(link.policy_id, (link.policy, []))[1].append(link.service)
    used, matters = set(), set()
    for policy, services in policies.values():
        mine = {pk for tier in snapshot_of(policy)["tiers"] for pk in schedules_of(tier)}
        used |= mine
        if services[0].criticality <= CRITICAL:
            matters |= mine
    schedules = Schedule.objects.in_bulk(used)
    duty: dict[int, list[tuple[Schedule, oncall_queries.Span]]] = defaultdict(list)
    for standing in oncall_queries.standings(list(schedules.values()), now):
        for span in standing.shifts:
            if span.starts_at < until:
                for person in span.people:
                    duty[person.pk].append((standing.schedule, span))
    return World(now, until, policies, schedules, frozenset(matters), duty)


# --- the engine -------------------------------------------------------------------------------------


def _engine(world: World) -> Iterator[Finding]:
    beat = Heartbeat.objects.filter(pk=auditor.NAME).values_list("beat_at", flat=True).first()
    if beat is None or world.now - beat > rules.AUDITOR_LATE:
        when = f"since {beat:%H:%M} UTC" if beat else "at all"
        yield Finding(
            Topic.ENGINE, Level.BAD, "Auditor", f"It has not looked {when}.",
            "No timekeeper runs. A step that goes missing is not put right, and nobody is told.",
        )  # fmt: skip
    overdue = timer_queries.overdue(now=world.now, by=auditor.OVERDUE_BY).count()
    if overdue:
        yield Finding(
            Topic.ENGINE, Level.BAD, "Deadlines", f"{overdue} passed more than a minute ago and nothing happened.",
            "Pages, escalations or reminders are late right now.",
        )  # fmt: skip


# --- who is there -----------------------------------------------------------------------------------


def _coverage(world: World) -> Iterator[Finding]:
    for schedule in world.schedules.values():
        link = reverse("oncall:schedule_detail", args=[schedule.slug])
        gaps = oncall_queries.gaps(schedule, world.now)
        tonight = [gap for gap in gaps if gap.starts_at < world.until]
        for gap in tonight:
            level = Level.BAD if schedule.pk in world.matters else Level.SOON
            yield Finding(
                Topic.COVERAGE, level, schedule.name, f"Nobody is on call {_span(gap.starts_at, gap.ends_at, world.now)}.",
                "A step that pages this schedule goes on to the next.", link,
            )  # fmt: skip
        if later := len(gaps) - len(tonight):
            first = next(gap for gap in gaps if gap.starts_at >= world.until)
            yield Finding(
                Topic.COVERAGE, Level.SOON, schedule.name,
                f"{later} gap{'s' if later > 1 else ''} within 30 days, the first on {first.starts_at:%d %b}.",
                "Nobody is on call then.", link,
            )  # fmt: skip


def _people(world: World) -> Iterator[Finding]:
    people = {user.pk: user for user in User.objects.filter(pk__in=list(world.duty))}
    proofs = queries.proofs_of(list(people), now=world.now)
    waived = {waiver.user_id: waiver for waiver in queries.waivers().filter(user__in=list(people))}
    reaches = notification_queries.reach_of(list(people.values()))
    for pk, person in people.items():
        schedule, span = world.duty[pk][0]
        link = reverse("accounts:person", args=[pk])
        mine = [proof for _, proof in proofs[pk]]
        duty = f"On call for {schedule} {_span(span.starts_at, span.ends_at, world.now)}"
        if not set(mine) & (rules.RINGS - {Proof.FLAGGED}):
            why = rules.why_not_reached(mine)
            if pk in waived:
                yield Finding(
                    Topic.PEOPLE, Level.SOON, str(person), f"{duty}, by a waiver: {waived[pk].reason}",
                    "Pages go to the sign-in address; nobody knows whether it is read.", link,
                )  # fmt: skip
            else:
                yield Finding(
                    Topic.PEOPLE, Level.BAD, str(person), f"{duty}, but {why}.",
                    "Messages go there all the same, and are likely to fail again." if Proof.FLAGGED in mine
                    else "Counts as absent: the next tier is paged at once.", link,
                )  # fmt: skip
            continue
        for method, proof in proofs[pk]:
            if proof == Proof.FLAGGED:
                reason = method.flag_reason.rstrip(".") or "the last message failed"
                yield Finding(
                    Topic.PEOPLE, Level.SOON, str(person), f"{method.get_kind_display()} does not reach them: {reason}.",
                    "Another method is used; that one is left out until it is verified again.", link,
                )  # fmt: skip
            elif proof in (Proof.DUE, Proof.LAPSED):
                yield Finding(
                    Topic.PEOPLE, Level.SOON, str(person),
                    f"{method.get_kind_display()} was confirmed {(world.now - method.verified_at).days} days ago.",
                    "Their number may be somebody else's by now. They have been asked to confirm it.", link,
                )  # fmt: skip
        for problem in notification_rules.readiness(ways=reaches[pk].ways, steps=reaches[pk].steps):
            yield Finding(Topic.PEOPLE, Level.SOON, str(person), problem, f"{duty}.", link)


# --- steps of policies ------------------------------------------------------------------------------


def _steps(world: World) -> Iterator[Finding]:
    for policy, services in world.policies.values():
        snapshot = snapshot_of(policy)
        link = reverse("escalation:policy_detail", args=[policy.slug])
        level = Level.BAD if services[0].criticality <= CRITICAL else Level.SOON
        empty = dict(empty_tiers(snapshot, service=services[0], start=world.now, end=world.until))
        manned = [index for index, tier in enumerate(snapshot["tiers"]) if tier["targets"]]
        for index, spans in empty.items():
            tier = snapshot["tiers"][index]
            when = ", ".join(_span(each.starts_at, each.ends_at, world.now) for each in spans[:3])
            more = f" and {len(spans) - 3} more times" if len(spans) > 3 else ""
            yield Finding(
                Topic.STEPS, level, policy.name, f"Tier {tier['level']}, {tier['name']}, reaches nobody {when}{more}.",
                "It is skipped." if len(empty) < len(manned) else "With the others empty too, the catch-all is paged.", link,
            )  # fmt: skip


# --- services, providers, keys ----------------------------------------------------------------------


def _services(world: World) -> Iterator[Finding]:
    for service in Service.objects.filter(escalation__isnull=True).order_by("criticality", "name"):
        yield Finding(
            Topic.SERVICES, Level.BAD if service.criticality <= CRITICAL else Level.SOON, service.name,
            "It has no escalation policy.", "Its two responders are paged, then the admins again and again.",
            reverse("catalog:service_detail", args=[service.slug]),
        )  # fmt: skip


def _providers(world: World) -> Iterator[Finding]:
    for label, rows in notification_queries.provider_states(world.now):
        out = [row for row in rows if row.status != "closed"]
        for row in out:
            rest = len(rows) - len(out)
            yield Finding(
                Topic.PROVIDERS, Level.SOON if rest else Level.BAD, f"{label}: {row.account.name}",
                "It failed several times in a row and is left out for now.",
                f"{rest} other{'s' if rest > 1 else ''} take over." if rest else f"No {label} leaves.",
                reverse("notifications:providers"),
            )  # fmt: skip


def _keys(world: World) -> Iterator[Finding]:
    lately = world.now - timedelta(days=30)
    tokens = ApiToken.objects.filter(
        Q(last_used_at__gte=lately), revoked_at__isnull=True, expires_at__lte=world.now + rules.EXPIRES_SOON,
        expires_at__gte=lately, user__is_active=True,
    ).select_related("user")  # fmt: skip
    for token in tokens.order_by("expires_at"):
        over = token.expires_at <= world.now
        tonight = over or token.expires_at <= world.until
        yield Finding(
            Topic.KEYS, Level.BAD if tonight else Level.SOON, f"{token.name} of {token.user}",
            f"The API token {'expired' if over else 'expires'} on {token.expires_at:%d %b %H:%M} UTC, and was used on "
            f"{token.last_used_at:%d %b}.",
            "Whatever uses it is refused from then on.",
        )  # fmt: skip


def _span(starts: datetime, ends: datetime, now: datetime) -> str:
    """In UTC, as a report is read by people of several zones."""
    if starts <= now:
        return f"until {ends:%a %H:%M} UTC"
    return f"from {starts:%a %H:%M} to {ends:%a %H:%M} UTC"
