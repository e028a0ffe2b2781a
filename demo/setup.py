"""Writes the organization: people, services, schedules, policies and integrations. Finds what exists and leaves it."""

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.contrib.auth.hashers import make_password
from django.db.models import Q

from accounts.models import ApiToken, ContactKind, ContactMethod, Membership, Scope, Team, User, digest
from catalog.models import Dependency, Service, Slo
from demo import organization as data
from demo import runbooks as library
from demo import secrets
from escalation import versions
from escalation.models import AckMode, Policy, ServicePolicy, Tier, TierTarget, WhenUnstaffed
from escalation.snapshots import snapshot_of
from escalation.transitions import save_policy
from incidents.models import RoleRotation, RoomRole, StatusComponent
from integrations.models import Integration
from notifications.models import NotificationRule, Urgency
from oncall import notices, swaps
from oncall.models import (
    Layer,
    LayerMember,
    Override,
    OverrideKind,
    Schedule,
    SwapRequest,
    TemporarySchedule,
    TemporaryShift,
)
from runbooks.models import Runbook
from runbooks.transitions import RunbookData, create_runbook, publish, save_draft
from timers.transitions import set_timer

TOKEN_LABEL = "Demonstration"  # noqa: S105  its name, not its secret
# So far back the rotations are known, a little longer than the history.
SINCE = timedelta(weeks=28)


@dataclass(frozen=True, kw_only=True)
class Organization:
    people: dict[str, User]
    services: dict[str, Service]
    schedules: dict[str, Schedule]
    policies: dict[str, Policy]
    integrations: dict[str, Integration]  # by kind


def is_seeded() -> bool:
    return ApiToken.objects.filter(digest=digest(secrets.api_token())).exists()


def organization(*, now: datetime) -> Organization:
    """All of it, in the caller's transaction."""
    people = _people(now=now)
    teams = _teams(people)
    schedules = _schedules(people, teams, now=now)
    policies = _policies(people, teams, schedules)
    services = _services(people, teams, policies)
    return Organization(
        people=people,
        services=services,
        schedules=schedules,
        policies=policies,
        integrations=_integrations(services),
    )


def room(organization: Organization) -> None:
    """What begins to work after the stories: who is asked to command, and what outsiders know the services as."""
    RoleRotation.objects.get_or_create(
        role=RoomRole.COMMANDER,
        field="",
        team=None,
        defaults={"schedule": organization.schedules["commanders"]},
    )
    for position, (slug, name, group) in enumerate(data.COMPONENTS):
        StatusComponent.objects.get_or_create(
            service=organization.services[slug],
            defaults={"name": name, "group": group, "position": position, "is_public": True},
        )
    _deepen(organization.policies[data.POLICIES[0].slug], by=organization.people[data.PEOPLE[0].username])


def _deepen(policy: Policy, *, by: User) -> None:
    """A second version of one policy, with more of what a tier can say; what runs keeps the first."""
    if policy.versions.exists():
        return
    before = versions.data_of(snapshot_of(policy))
    tiers = list(before.tiers)
    staffed = [place for place, tier in enumerate(tiers) if tier.targets]
    for place, changed in zip(
        staffed,
        (
            {"when_unstaffed": WhenUnstaffed.HOLD},
            {"early": [{"kind": "impact_grew"}]},
            {"early": [{"kind": "containment_missed"}], "ack_mode": AckMode.QUORUM, "quorum": 2},
        ),
        strict=False,
    ):
        tiers[place] = replace(tiers[place], **changed)
    save_policy(
        policy=policy, data=replace(before, tiers=tiers), by=by, why="What the council decided after the last review"
    )  # fmt: skip


def runbooks(organization: Organization, *, now: datetime) -> None:
    """Written over the half year; each version by one person and published by another."""
    teams = {team.slug: team for team in Team.objects.all()}
    for at, book in enumerate(library.BOOKS):
        if Runbook.objects.filter(title=book.title).exists():
            continue
        author, publisher = organization.people[book.author], organization.people[book.publisher]
        services = [organization.services[slug] for slug in book.services if slug in organization.services]
        written = now - SINCE + timedelta(weeks=3 * at, hours=5)
        runbook_id = None
        for number, (text, why) in enumerate(zip(book.texts, book.why, strict=True), start=1):
            asked = RunbookData(
                title=book.title, text=text, summary=book.summary, outage_class=book.outage_class,
                team=teams.get(book.team), services=services, tags=book.tags, why=why,
            )  # fmt: skip
            if runbook_id is None:
                runbook_id = create_runbook(data=asked, by=author, now=written).pk
            else:
                save_draft(runbook_id=runbook_id, data=asked, by=author, now=written)
            publish(runbook_id=runbook_id, number=number, by=publisher, now=written + timedelta(hours=20))
            written += timedelta(weeks=9)
        if book.draft:
            later = replace(asked, text=book.draft, why="INC-4398: ask first, then move traffic.")
            save_draft(runbook_id=runbook_id, data=later, by=publisher, now=now - timedelta(days=2))


def _people(*, now: datetime) -> dict[str, User]:
    hashed = make_password(secrets.password())
    people = {}
    for each in data.PEOPLE:
        email = f"{each.username.replace('-', '.')}@{data.DOMAIN}"
        user = User.objects.filter(email=email).first()
        if user is None:
            taken = User.objects.filter(username__iexact=each.username).exists()
            user = User.objects.create(
                username=f"{each.username}-demo" if taken else each.username, email=email, full_name=each.name,
                role=each.role, time_zone=each.zone, theme=each.theme, expertise=list(each.expertise),
                is_bot=each.is_bot, password="!" if each.is_bot else hashed, date_joined=now - SINCE,
            )  # fmt: skip
            _reach(user, each.contact, now=now)
        elif not each.is_bot:
            user.password = hashed  # the secret key is another one than at the first run
            user.save(update_fields=["password"])
        people[each.username] = user
    token = secrets.api_token()
    ApiToken.objects.filter(user=people[data.COMMANDER], name=TOKEN_LABEL).delete()
    ApiToken.objects.create(
        user=people[data.COMMANDER],
        name=TOKEN_LABEL,
        hint=token[:12],
        digest=digest(token),
        scope=Scope.WRITE,
    )
    return people


def _reach(user: User, contact: str, *, now: datetime) -> None:
    if contact == "none":
        return
    method = ContactMethod.objects.create(
        user=user, kind=ContactKind.EMAIL, label="Work", address=user.email,
        verified_at=now - timedelta(days=20 + user.pk % 50) if contact == "verified" else None,
    )  # fmt: skip
    NotificationRule.objects.bulk_create(
        NotificationRule(user=user, urgency=urgency, delay_seconds=0, method=method) for urgency in Urgency
    )


def _teams(people: dict[str, User]) -> dict[str, Team]:
    teams = {}
    for slug, (name, description) in data.TEAMS.items():
        teams[slug] = Team.objects.filter(Q(slug=slug) | Q(name=name)).first() or Team.objects.create(
            slug=slug, name=name, description=description
        )
    Membership.objects.bulk_create(
        [
            Membership(team=teams[each.team], user=people[each.username], is_lead=each.leads)
            for each in data.PEOPLE
            if not each.is_bot
        ],
        ignore_conflicts=True,
    )
    return teams


def _first_handoff(layer: data.LayerData, zone: str, *, now: datetime) -> datetime:
    """The handoff long ago from which on the turn of `now` is the first person's."""
    hour, minute = map(int, layer.handoff.split(":"))
    local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    day = local.date()
    if layer.unit == "weeks":
        day -= timedelta(days=day.weekday())
    begun = datetime.combine(day, time(hour, minute))
    step = timedelta(weeks=1) if layer.unit == "weeks" else timedelta(days=1)
    if begun > local:
        begun -= step
    cycle = step * layer.length * len(layer.people)
    return (begun - cycle * -(-SINCE // cycle)).replace(tzinfo=ZoneInfo(zone))


def _schedules(people: dict[str, User], teams: dict[str, Team], *, now: datetime) -> dict[str, Schedule]:
    schedules = {}
    for each in data.SCHEDULES:
        found = Schedule.objects.filter(Q(slug=each.slug) | Q(name=each.name)).first()
        schedules[each.slug] = found or Schedule.objects.create(
            slug=each.slug,
            name=each.name,
            team=teams[each.team],
            time_zone=each.zone,
            description=each.description,
        )
        if found:
            continue
        for position, layer in enumerate(each.layers):
            row = Layer.objects.create(
                schedule=schedules[each.slug], position=position, name=layer.name, turn_unit=layer.unit,
                turn_length=layer.length, restrictions=list(layer.restrictions),
                starts_at=_first_handoff(layer, each.zone, now=now),
            )  # fmt: skip
            LayerMember.objects.bulk_create(
                LayerMember(layer=row, position=place, user=people[who])
                for place, who in enumerate(layer.people)
            )
    if not Override.objects.filter(schedule=schedules["checkout"]).exists():
        _overrides(people, schedules, now=now)
        _plans(people, schedules, now=now)
    return schedules


def _overrides(people: dict[str, User], schedules: dict[str, Schedule], *, now: datetime) -> None:
    def at(zone: str, days: int, hour: int) -> datetime:
        day = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=days)
        return datetime.combine(day, time(hour), ZoneInfo(zone))

    morning = at("Europe/London", 0, 8)
    if morning <= now + timedelta(hours=2):
        morning = at("Europe/London", 1, 8)
    Override.objects.create(
        schedule=schedules["checkout"], user=people["ravi"], starts_at=now - timedelta(minutes=20), ends_at=morning,
        reason="Ravi has the incident, Dana takes the morning", created_by=people["ravi"],
    )  # fmt: skip
    saturday = (5 - now.astimezone(ZoneInfo("UTC")).weekday()) % 7 or 7
    Override.objects.create(
        schedule=schedules["network"], user=people["henrik"], starts_at=at("UTC", saturday, 6),
        ends_at=at("UTC", saturday + 1, 18), reason="Olumide is at a wedding", created_by=people["olumide"],
    )  # fmt: skip


def _plans(people: dict[str, User], schedules: dict[str, Schedule], *, now: datetime) -> None:
    """What lies ahead: who learns, a closing with other hours, and a question that waits for its answer."""
    day = now.replace(hour=8, minute=0, second=0, microsecond=0) + timedelta(days=1)
    Override.objects.create(
        schedule=schedules["checkout"], kind=OverrideKind.SHADOW, user=people["grace"], starts_at=day,
        ends_at=day + timedelta(days=14), reason="Grace learns the shop", created_by=people["dana"],
    )  # fmt: skip
    closing = TemporarySchedule.objects.create(
        schedule=schedules["data-platform"], name="Month-end closing", starts_at=day + timedelta(days=8),
        ends_at=day + timedelta(days=10), created_by=people["sofia"],
    )  # fmt: skip
    TemporaryShift.objects.bulk_create(
        TemporaryShift(
            temporary=closing, user=people[("sofia", "lucia")[turn % 2]],
            starts_at=closing.starts_at + timedelta(hours=12 * turn),
            ends_at=closing.starts_at + timedelta(hours=12 * (turn + 1)),
        )
        for turn in range(4)
    )  # fmt: skip
    next_turn = day + timedelta(days=7 - day.weekday() + 1)
    swap = SwapRequest.objects.create(
        schedule=schedules["identity"], requester=people["noor"], asked=people["diego"], starts_at=next_turn,
        ends_at=next_turn + timedelta(days=2), message="My daughter's school play. I take your Sunday.",
        back_starts_at=next_turn - timedelta(days=3), back_ends_at=next_turn - timedelta(days=2),
        expires_at=now + swaps.ANSWER_TIME, created_at=now,
    )  # fmt: skip
    set_timer(kind=swaps.EXPIRY, key=str(swap.pk), due_at=swap.expires_at, now=now)
    for schedule in schedules.values():
        # Not in the middle of the first look around.
        set_timer(kind=notices.KIND, key=str(schedule.pk), due_at=now + timedelta(hours=1), now=now)


def _policies(
    people: dict[str, User], teams: dict[str, Team], schedules: dict[str, Schedule]
) -> dict[str, Policy]:
    policies = {}
    for each in data.POLICIES:
        found = Policy.objects.filter(Q(slug=each.slug) | Q(name=each.name)).first()
        policies[each.slug] = found or Policy.objects.create(
            slug=each.slug, name=each.name, team=teams[each.team], description=each.description, repeats=each.repeats,
            catch_all=people[each.catch_all], catch_all_every_minutes=each.catch_all_every_minutes,
        )  # fmt: skip
        if found:
            continue
        for tier in each.tiers:
            sev1, sev2, sev3, sev4 = tier.seconds
            row = Tier.objects.create(
                policy=policies[each.slug], level=tier.level, name=tier.name, criteria=tier.criteria,
                expected_outcome=tier.expected, expertise=tier.expertise, ack_seconds_sev1=sev1, ack_seconds_sev2=sev2,
                ack_seconds_sev3=sev3, ack_seconds_sev4=sev4,
            )  # fmt: skip
            TierTarget.objects.bulk_create(
                TierTarget(
                    tier=row, kind=kind, schedule=schedules[which] if kind == "schedule" else None,
                    user=people[which] if kind == "user" else None, team=teams[which] if kind == "team" else None,
                    role=which if kind == "role" else "",
                )
                for kind, which in tier.targets
            )  # fmt: skip
    return policies


def _services(
    people: dict[str, User], teams: dict[str, Team], policies: dict[str, Policy]
) -> dict[str, Service]:
    services = {}
    for each in data.SERVICES:
        found = Service.objects.filter(Q(slug=each.slug) | Q(name=each.name)).first()
        services[each.slug] = found or Service.objects.create(
            slug=each.slug, name=each.name, description=each.description, criticality=each.criticality,
            team=teams[each.team], primary_responder=people.get(each.primary),
            secondary_responder=people.get(each.secondary), tags=list(each.tags),
            links=[{"text": text, "href": href.format(slug=each.slug, team=each.team)} for text, href in data.LINKS],
            grouping_minutes=each.grouping_minutes, acknowledge_timeout_minutes=each.acknowledge_timeout_minutes,
        )  # fmt: skip
        if not found:
            Slo.objects.bulk_create(
                Slo(service=services[each.slug], name=name, target_percent=target, indicator=indicator)
                for name, target, indicator in each.slos
            )
    Dependency.objects.bulk_create(
        [
            Dependency(service=services[each.slug], depends_on=services[needed])
            for each in data.SERVICES
            for needed in each.needs
        ],
        ignore_conflicts=True,
    )
    ServicePolicy.objects.bulk_create(
        [ServicePolicy(service=services[each.slug], policy=policies[each.policy]) for each in data.SERVICES],
        ignore_conflicts=True,
    )
    return services


def _integrations(services: dict[str, Service]) -> dict[str, Integration]:
    integrations = {}
    for kind, name, slug in data.INTEGRATIONS:
        key = secrets.integration_key(kind)
        row, made = Integration.objects.get_or_create(
            kind=kind,
            name=name,
            service=services[slug],
            defaults={"key_digest": digest(key), "key_hint": key[-4:]},
        )
        if not made and row.key_digest != digest(key):
            row.key_digest, row.key_hint = digest(key), key[-4:]
            row.save(update_fields=["key_digest", "key_hint"])
        integrations[kind] = row
    return integrations


def commander_name() -> str:
    """The username to sign in with, which is another one when it was taken."""
    return User.objects.values_list("username", flat=True).get(email=f"{data.COMMANDER}@{data.DOMAIN}")
