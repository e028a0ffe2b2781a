"""Reads of roles: who holds what, who is asked, and who could be."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from django.db.models import Count, F, Prefetch, Q, QuerySet, prefetch_related_objects

from accounts.models import Membership, Role, User
from accounts.permissions import at_least
from core.errors import Invalid
from core.words import clock
from incidents.models import (
    OPEN_STATUSES,
    WHOLE_INCIDENT,
    Incident,
    OfferStatus,
    RoleHolding,
    RoleOffer,
    RoleRotation,
)
from incidents.roles import rules
from oncall.models import LayerMember
from oncall.queries import standings

MOST_PEOPLE = 500

# --- in the room ------------------------------------------------------------------------------------------------


def holdings(incident: Incident) -> list[RoleHolding]:
    """Who holds a role now, in the order of roles."""
    rows = list(incident.holdings.filter(ended_at__isnull=True).select_related("user").order_by("id"))
    if incident.commander is not None and not any(row.role == rules.COMMANDER for row in rows):
        # Imported with its commander and without holdings.
        rows.append(
            RoleHolding(
                incident=incident, role=rules.COMMANDER, user=incident.commander, since=incident.triggered_at
            )
        )
    return sorted(rows, key=lambda row: rules.ROLES.index(row.role))


def open_offers(incident: Incident) -> list[RoleOffer]:
    """Offers of roles that wait for an answer."""
    return [offer for offer in _waiting(incident) if offer.role != WHOLE_INCIDENT]


def open_handover(incident: Incident) -> RoleOffer | None:
    """The offer of the incident itself that waits for an answer."""
    return next((offer for offer in _waiting(incident) if offer.role == WHOLE_INCIDENT), None)


def read_offers(incidents: list[Incident]) -> None:
    """Read what waits in all of these at once, for a list that shows it of each."""
    waiting = RoleOffer.objects.filter(status=OfferStatus.OPEN).select_related(
        "to_user", "to_team", "from_user", "by"
    )
    prefetch_related_objects(incidents, Prefetch("offers", waiting.order_by("id"), to_attr="open_offers"))


def _waiting(incident: Incident) -> list[RoleOffer]:
    """Read once for an incident however often it is asked."""
    read_offers([incident])
    return incident.open_offers


def may_withdraw(offer: RoleOffer, user: User) -> bool:
    return rules.may_withdraw(
        user.pk, asker=offer.by_id, giver=offer.from_user_id, commander=offer.incident.commander_id,
        manager=at_least(user, Role.MANAGER),
    )  # fmt: skip


def handovers(incident: Incident) -> QuerySet[RoleOffer]:
    """Every time the incident itself was offered, the newest first."""
    return incident.offers.filter(role=WHOLE_INCIDENT).select_related("to_user", "to_team", "from_user", "by")


def may_accept(offer: RoleOffer, user: User) -> bool:
    """Whether this person is asked: by name, or as one of the team."""
    if offer.to_team_id is None:
        return offer.to_user_id == user.pk
    return Membership.objects.filter(team=offer.to_team_id, user=user).exists()


@dataclass(frozen=True)
class Seat:
    """A role that nobody holds, or that somebody is asked to take."""

    role: str
    title: str
    offer: RoleOffer | None = None
    left: str = ""
    """Time to accept, for a page without script."""


def seats(
    incident: Incident, held: Iterable[RoleHolding], offers: Sequence[RoleOffer], now: datetime
) -> list[Seat]:
    asked = [
        Seat(
            role=offer.role,
            title=rules.title(offer.role, offer.field),
            offer=offer,
            left=clock(offer.accept_by - now) if offer.accept_by and offer.accept_by > now else "",
        )
        for offer in offers
    ]
    if not incident.is_open:
        return asked
    taken = {row.role for row in held} | {offer.role for offer in offers}
    empty = [
        Seat(role=role, title=rules.title(role))
        for role in rules.ROLES
        if role not in taken and rules.wants(role, severity=incident.severity)
    ]
    return sorted([*asked, *empty], key=lambda seat: rules.ROLES.index(seat.role))


def room_context(incident: Incident, now: datetime) -> dict[str, object]:
    """What the shared parts of the room show of this. The same for every viewer. Two queries."""
    held, offers = holdings(incident), open_offers(incident)
    return {"holdings": held, "seats": seats(incident, held, offers, now)}


def acts_context(incident: Incident, user: User) -> dict[str, object]:
    """What the viewer is asked to take, and whether the viewer may withdraw what anybody is asked."""
    mine = [offer for offer in _waiting(incident) if may_accept(offer, user)] if incident.is_open else []
    return {
        "my_offers": [(offer, rules.title(offer.role, offer.field)) for offer in mine],
        "may_withdraw_all": at_least(user, Role.MANAGER),
    }


# --- who could be asked -----------------------------------------------------------------------------------------


def rotation_of(incident: Incident, *, role: str, field: str = "") -> RoleRotation | None:
    """The rotation of the service's team, else the one for all."""
    fitting = RoleRotation.objects.filter(role=role, field=field).select_related("schedule")
    fitting = fitting.filter(Q(team=incident.service.team_id) | Q(team=None))
    return fitting.order_by(F("team").asc(nulls_last=True)).first()


def able() -> QuerySet[User]:
    """People who can be asked: they can answer, and act when they have the role."""
    return User.objects.filter(is_active=True, is_bot=False).exclude(role=Role.VIEWER)


def chosen(text: str) -> User:
    """Whom a form names by id. Raises Invalid."""
    user = able().filter(pk=int(text)).first() if text.isdecimal() and len(text) < 10 else None
    if user is None:
        raise Invalid("Choose a person.", fields={"user": ["Choose a person."]})
    return user


def candidates(rotation: RoleRotation, now: datetime) -> list[User]:
    """Whom the rotation asks, in order: on duty, next on duty, everybody else of it, then for a commander the admins."""
    standing = standings([rotation.schedule], now)[0]
    members = LayerMember.objects.filter(
        layer__schedule=rotation.schedule_id, layer__superseded_at__isnull=True
    ).order_by("layer__position", "position")
    # No expert by being an admin: for a field the last resort are those who know it.
    last = able().filter(role=Role.ADMIN) if rotation.role == rules.COMMANDER else experts(rotation.field)
    wanted = rules.candidates(
        on_duty=[user.pk for user in standing.people],
        following=[user.pk for user in standing.next.people] if standing.next else [],
        others=members.values_list("user_id", flat=True),
        last=last.values_list("pk", flat=True),
    )
    people = able().in_bulk(wanted)
    return [people[pk] for pk in wanted if pk in people]


def experts(field: str) -> QuerySet[User]:
    """People who know the field, those first who hold the fewest roles in what is open."""
    open_roles = Q(holdings__ended_at__isnull=True, holdings__incident__status__in=OPEN_STATUSES)
    knowing = [
        pk
        for pk, known in able().exclude(expertise=[]).values_list("pk", "expertise")
        if field in {word.strip().lower() for word in known}
    ]
    return (
        able()
        .filter(pk__in=knowing)
        .annotate(load=Count("holdings", filter=open_roles))
        .order_by("load", "full_name", "pk")
    )


def fields() -> list[str]:
    """Fields for which somebody can be called: those with a rotation, and those that people know."""
    with_rotation = RoleRotation.objects.filter(role=rules.EXPERT).values_list("field", flat=True)
    known = chain.from_iterable(able().exclude(expertise=[]).values_list("expertise", flat=True))
    return sorted({field.strip().lower() for field in chain(with_rotation, known) if field.strip()})


def asked_before(incident: Incident, *, role: str, field: str) -> list[int]:
    """Whom this search has asked, in order: since somebody accepted or the search was called off."""
    asked: list[int] = []
    for to, status in (
        incident.offers.filter(role=role, field=field).order_by("id").values_list("to_user", "status")
    ):
        asked = [*asked, to] if status in (OfferStatus.DECLINED, OfferStatus.MISSED) else []
    return asked


# --- rotations --------------------------------------------------------------------------------------------------


def rotations() -> QuerySet[RoleRotation]:
    return RoleRotation.objects.select_related("schedule", "team").order_by(
        "role", "field", F("team__name").asc(nulls_last=True)
    )


def seen(rotation: RoleRotation) -> str:
    """How a rotation stands, as whoever changes it sends it back."""
    of = (rotation.role, rotation.field, rotation.schedule_id, rotation.team_id or 0)
    return ":".join(map(str, (*of, rotation.accept_seconds, rotation.max_severity)))


def people_to_choose() -> list[User]:
    return list(able().order_by("full_name")[:MOST_PEOPLE])
