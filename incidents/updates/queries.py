"""Reads of updates, subscriptions and status pages."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Q, QuerySet

from accounts.models import User
from catalog.models import Service
from incidents.models import (
    OPEN_STATUSES,
    Incident,
    MailStatus,
    PostState,
    PublicPost,
    RoleHolding,
    RoomRole,
    Status,
    StatusComponent,
    Subscription,
    Update,
    UpdateMail,
)
from incidents.updates import rules

PUBLIC_DAYS = 14
ENDED_DAYS = 7


def publishable(incident: Incident) -> bool:
    """Whether the room offers to publish at all. Who may, the transition says."""
    return settings.MUSTER_PUBLIC_STATUS and not incident.is_drill


# --- updates --------------------------------------------------------------------------------------------------


def update_count(incident: Incident) -> int:
    return incident.updates.count()


def updates_of(incident_id: int) -> QuerySet[Update]:
    """Newest first."""
    return Update.objects.filter(incident_id=incident_id).select_related("author").order_by("-pk")


def number_of(update: Update) -> int:
    """1 for the first update of its incident."""
    return Update.objects.filter(incident_id=update.incident_id, pk__lte=update.pk).count()


def last_updates(incident_ids: Collection[int]) -> dict[int, Update]:
    """The last update of each incident that has one."""
    rows = Update.objects.filter(incident_id__in=incident_ids).order_by("incident_id", "-pk")
    return {update.incident_id: update for update in rows.distinct("incident_id")}


def mail_counts(update_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """How many mails of each update wait, were sent, failed, or are not wanted any more."""
    counts: dict[int, dict[str, int]] = {pk: dict.fromkeys(MailStatus.values, 0) for pk in update_ids}
    rows = UpdateMail.objects.filter(update_id__in=update_ids).order_by().values_list("update_id", "status")
    for update_id, status, count in rows.annotate(Count("pk")):
        counts[update_id][status] = count
    return counts


def draft_for(incident: Incident, last: Update | None) -> rules.Draft:
    facts = rules.Facts(
        status=incident.status, phase=incident.phase, impact=incident.impact,
        last_impact=last.impact if last else "", severity=incident.severity,
    )  # fmt: skip
    return rules.template_for(facts, settings.MUSTER_UPDATE_MINUTES)


# --- people ---------------------------------------------------------------------------------------------------


def communicates(incident: Incident, user: User) -> bool:
    return RoleHolding.objects.filter(
        incident=incident, role=RoomRole.COMMUNICATIONS, user=user, ended_at__isnull=True
    ).exists()


def whom_to_remind(incident: Incident, *, more: bool) -> list[User]:
    """Who commands, else who speaks for the incident, its deputy, who has it, who owns the service; `more` adds the
    first two of these to the commander. Nobody who has left."""
    wanted = (RoomRole.COMMUNICATIONS, RoomRole.DEPUTY)
    holdings = RoleHolding.objects.filter(incident=incident, role__in=wanted, ended_at__isnull=True)
    holders = {row.role: row.user for row in holdings.select_related("user")}
    spoken_for = [holders[role] for role in wanted if role in holders and holders[role].is_active]
    others = (incident.commander, *spoken_for, incident.acknowledged_by, incident.service.primary_responder)
    first = next((person for person in others if person is not None and person.is_active), None)
    people = [first] if first is not None else []
    return list(dict.fromkeys([*people, *spoken_for])) if more else people


# --- subscriptions --------------------------------------------------------------------------------------------


def subscriptions_for(incident: Incident) -> list[Subscription]:
    """Who is told of an update of this incident: one for each address, the most specific one."""
    this = Q(incident=incident)
    wider = Q(service_id=incident.service_id) | Q(incident__isnull=True, service__isnull=True)
    rows = (
        Subscription.objects.filter(ended_at__isnull=True)
        .filter(this | Q(wider, min_severity__gte=incident.severity))
        .exclude(user__is_active=False)
    )
    ordered = sorted(rows, key=lambda row: (row.incident_id is None, row.service_id is None, row.pk))
    by_email: dict[str, Subscription] = {}
    for row in ordered:
        by_email.setdefault(row.email, row)
    return list(by_email.values())


def subscriptions_of(user: User) -> QuerySet[Subscription]:
    return with_what(Subscription.objects.filter(user=user, ended_at__isnull=True))


def all_subscriptions() -> QuerySet[Subscription]:
    return with_what(Subscription.objects.filter(ended_at__isnull=True))


def with_what(subscriptions: QuerySet[Subscription]) -> QuerySet[Subscription]:
    return subscriptions.select_related("user", "incident", "service", "created_by")


# --- the internal page ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Running:
    """An open incident as stakeholders see it."""

    incident: Incident
    last: Update | None


@dataclass(frozen=True)
class ServiceState:
    service: Service
    severity: int | None
    """The worst that burns on it; None: nothing does."""
    incidents: list[Incident] = field(default_factory=list)


@dataclass(frozen=True)
class Overview:
    running: list[Running]
    ended: list[Running]
    services: list[ServiceState]

    @property
    def hurt(self) -> list[ServiceState]:
        return [state for state in self.services if state.severity is not None]


def overview(now: datetime) -> Overview:
    """Everything of the internal page in four queries."""
    incidents = Incident.objects.select_related("service", "commander", "acknowledged_by")
    running = list(incidents.filter(status__in=OPEN_STATUSES).order_by("severity", "-pk")[:100])
    since = now - timedelta(days=ENDED_DAYS)
    ended = list(
        incidents.filter(status=Status.RESOLVED, resolved_at__gte=since, is_drill=False).order_by(
            "-resolved_at"
        )[:20]
    )
    last = last_updates([row.pk for row in [*running, *ended]])
    burning: dict[int, list[Incident]] = {}
    for row in running:
        if not row.is_drill:
            burning.setdefault(row.service_id, []).append(row)
    services = [
        ServiceState(
            service=service,
            severity=min((row.severity for row in burning.get(service.pk, ())), default=None),
            incidents=burning.get(service.pk, []),
        )
        for service in Service.objects.order_by("criticality", "name")
    ]
    return Overview(
        running=[Running(row, last.get(row.pk)) for row in running],
        ended=[Running(row, last.get(row.pk)) for row in ended],
        services=sorted(services, key=lambda state: state.severity or 9),
    )


# --- the public page ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Story:
    """What was published about one thing, newest first."""

    posts: list[PublicPost]
    names: list[str]

    @property
    def last(self) -> PublicPost:
        return self.posts[0]

    @property
    def is_over(self) -> bool:
        return self.last.state == PostState.OVER


@dataclass(frozen=True)
class PublicComponent:
    name: str
    group: str
    level: str


@dataclass(frozen=True)
class PublicPage:
    components: list[PublicComponent]
    running: list[Story]
    past: list[Story]

    @property
    def level(self) -> str:
        return rules.worst_level([component.level for component in self.components])


def public_page(now: datetime) -> PublicPage:
    """What everybody may read: published posts and public components, and no row of anything else. Three queries."""
    components = list(StatusComponent.objects.filter(is_public=True))
    posts = (
        PublicPost.objects.filter(withdrawn_at__isnull=True, published_at__gt=now - timedelta(days=90))
        .order_by("-published_at", "-pk")
        .prefetch_related("components")[:500]
    )
    stories: dict[object, list[PublicPost]] = {}
    for post in posts:
        stories.setdefault(post.incident_id or f"post {post.pk}", []).append(post)
    told = [Story(posts=rows, names=_names(rows[0])) for rows in stories.values()]
    running = [story for story in told if not story.is_over]
    levels = {
        component.pk: rules.worst_level(
            [
                story.last.level
                for story in running
                if component.pk in {each.pk for each in story.last.components.all()}
            ]
        )
        for component in components
    }
    since = now - timedelta(days=PUBLIC_DAYS)
    return PublicPage(
        components=[PublicComponent(each.name, each.group, levels[each.pk]) for each in components],
        running=running,
        past=[story for story in told if story.is_over and story.last.published_at >= since],
    )


def _names(post: PublicPost) -> list[str]:
    return [component.name for component in post.components.all() if component.is_public]


def public_components() -> list[StatusComponent]:
    return list(StatusComponent.objects.filter(is_public=True).select_related("service"))


def posts_of(incident: Incident) -> Sequence[PublicPost]:
    """What was published about an incident, newest first, withdrawn ones included."""
    posts = PublicPost.objects.filter(incident=incident).select_related("published_by", "withdrawn_by")
    return list(posts.order_by("-pk")[:20])


def running_story(incident: Incident) -> PublicPost | None:
    """The last post about an incident, if customers still read that it is not over."""
    posts = PublicPost.objects.filter(incident=incident, withdrawn_at__isnull=True)
    last = posts.select_related("published_by").order_by("-published_at", "-pk").first()
    return last if last is not None and last.state != PostState.OVER else None
