"""Asking somebody to take a role, and what comes of it. Each function locks the incident first and looks second.

Who gives a role keeps it until it is accepted. One person is asked at a time; who is asked is paged, by a page of its
own purpose: acknowledging the incident neither takes the role nor ends that page.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from accounts.models import Team, User
from core.errors import Invalid, Missing, NotAllowed, Refused
from core.words import duration
from incidents import matrix, timeline
from incidents.models import (
    WHOLE_INCIDENT,
    Incident,
    Kind,
    OfferStatus,
    PagePurpose,
    RoleOffer,
    RoleRotation,
    RoomRole,
    Status,
)
from incidents.roles import queries, rules
from incidents.rules import drill_mark
from incidents.transitions import (
    ROLE_ACCEPT,
    PageRequest,
    clean_text,
    close_offer,
    give_role,
    known_role,
    lock_incident,
    offer_topic,
    page_people,
    take_incident,
)
from notifications.models import Urgency
from notifications.transitions import cancel_topic, notify
from timers.transitions import cancel_timer, set_timer

SEEK = "roles.seek"
"""Kind of the timer after which a search that everybody declined begins again."""
LONGEST_TEXT = 2000


# --- asking -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Handing:
    """What whoever takes a role over has to know."""

    known: str = ""
    in_progress: str = ""
    next_steps: str = ""

    def lines(self) -> list[str]:
        said = (("Known", self.known), ("In progress", self.in_progress), ("Next", self.next_steps))
        return [f"{name}: {text}" for name, text in said if text]


def _handing(**texts: str) -> Handing:
    texts = {name: clean_text(text).strip() for name, text in texts.items()}
    too_long = {
        name: [f"At most {LONGEST_TEXT:,} characters."] for name in texts if len(texts[name]) > LONGEST_TEXT
    }
    if too_long:
        raise Invalid("Too long to read in a hurry.", fields=too_long)
    return Handing(**texts)


@transaction.atomic
def offer_role(
    *, incident_id: int, role: str, to: User, by: User, now: datetime, field: str = "", known: str = "",
    in_progress: str = "", next_steps: str = "", accept_seconds: int = rules.ACCEPT_SECONDS,
) -> RoleOffer:  # fmt: skip
    """Ask one person to take a role; when somebody holds it, it is a handoff. An offer of it that waits is withdrawn.

    Raises Invalid, or Refused when resolved and when the person has it already.
    """
    role, field = known_role(role, field)
    handing = _handing(known=known, in_progress=in_progress, next_steps=next_steps)
    if not 60 <= accept_seconds <= 86_400:
        raise Invalid("From 1 minute to 24 hours.", fields={"accept_seconds": ["From 60 to 86400."]})
    if not queries.able().filter(pk=to.pk).exists():
        raise Invalid("Choose somebody who can answer.", fields={"user": ["Choose somebody who can answer."]})
    incident = lock_incident(incident_id)
    _refuse_when_over(incident)
    giver = _giver(incident, role=role, field=field, to=to, by=by)
    instead_of = _withdraw_open(incident, role=role, field=field, now=now)
    what, window = rules.words(role, field), duration(accept_seconds)
    if giver is None:
        text = f"asked {to} to take {what} within {window}"
    elif giver == by:
        text = f"hands {what} to {to}, and keeps it until then"
    else:
        text = f"asked {to} to take {what} from {giver}, who keeps it until then"
    if instead_of is not None and instead_of != to:
        text = f"{text}; {instead_of} is no longer asked"
    return _ask(
        incident, role=role, field=field, to=to, by=by, giver=giver, accept_seconds=accept_seconds, handing=handing,
        why=f"{by} asks you", otherwise=_otherwise(incident, role, giver), now=now,
        text="\n".join([text, *handing.lines()]),
    )  # fmt: skip


def _otherwise(incident: Incident, role: str, giver: User | None) -> str:
    """What happens when the person who was chosen by name does not take it; see _after_no."""
    if giver is not None:
        return f"{giver} keeps it"
    return (
        "the rotation is asked"
        if role == RoomRole.COMMANDER and wants_commander(incident)
        else "nobody else is asked"
    )


def _giver(incident: Incident, *, role: str, field: str, to: User, by: User) -> User | None:
    """Who holds the role and keeps it until it is accepted. An expert gives it only by giving it himself."""
    held = [row.user for row in queries.holdings(incident) if (row.role, row.field) == (role, field)]
    if to in held:
        raise Refused(f"{to} has it already.", code="held_already")
    if role == RoomRole.EXPERT:
        return by if by in held else None
    return held[0] if held else None


def _withdraw_open(incident: Incident, *, role: str, field: str, now: datetime) -> User | None:
    waiting = (
        incident.offers.filter(role=role, field=field, status=OfferStatus.OPEN)
        .select_related("to_user")
        .first()
    )
    if waiting is None:
        return None
    close_offer(incident, waiting, status=OfferStatus.WITHDRAWN, now=now)
    return waiting.to_user


def _ask(
    incident: Incident, *, role: str, field: str, to: User, by: User | None, accept_seconds: int, why: str,
    otherwise: str, text: str, now: datetime, giver: User | None = None, asked: int = 1,
    rotation: RoleRotation | None = None, handing: Handing | None = None, searches: bool = False,
) -> RoleOffer:  # fmt: skip
    """Write the offer, page the person and set the time. Nobody else is being asked for this role."""
    handing = handing or Handing()
    accept_by = now + timedelta(seconds=accept_seconds)
    offer = RoleOffer.objects.create(
        incident=incident, role=role, field=field, to_user=to, from_user=giver, by=by, rotation=rotation,
        searches=searches, known=handing.known, in_progress=handing.in_progress, next_steps=handing.next_steps,
        asked=min(asked, 32_000), offered_at=now, accept_by=accept_by,
    )  # fmt: skip
    [page] = page_people(
        incident, step_key=f"role:{offer.pk}", now=now, purpose=PagePurpose.ROLE, about=offer_topic(offer),
        requests=[
            PageRequest(
                recipient=to, reason=why, expected=" ".join([rules.expected(role, field), *handing.lines()]),
                tier_name=rules.title(role, field)[:80], answer_by=accept_by, otherwise=otherwise,
            )
        ],
    )  # fmt: skip
    offer.page = page
    offer.save(update_fields=["page"])
    set_timer(
        kind=ROLE_ACCEPT, key=str(offer.pk), due_at=accept_by, now=now,
        payload={"incident": incident.pk, "offer": offer.pk},
    )  # fmt: skip
    timeline.record(
        incident, Kind.ROLE_OFFERED, at=now, actor=by, text=text,
        data={
            "offer": offer.pk, "role": str(role), "field": field, "to": to.pk, "from": giver.pk if giver else None,
            "accept_by": accept_by.isoformat(), "known": handing.known, "in_progress": handing.in_progress,
            "next": handing.next_steps, "page": page.pk,
        },
    )  # fmt: skip
    return offer


# --- answering --------------------------------------------------------------------------------------------------


@transaction.atomic
def accept(*, offer_id: int, by: User, now: datetime) -> RoleOffer:
    """The asked person has the role from now on. Raises Refused with what became of it when it no longer waits."""
    incident, offer = _locked(offer_id)
    if offer.status == OfferStatus.ACCEPTED and offer.to_user == by:
        return offer
    _refuse_when_closed(offer, now=now)
    _only_the_asked(offer, by)
    return accept_held(incident, offer, by=by, now=now)


def accept_held(incident: Incident, offer: RoleOffer, *, by: User, now: datetime) -> RoleOffer:
    """Like accept, for callers that hold the lock and know that the offer is open and made to `by`, or to their team."""
    if offer.to_team_id is not None:
        offer.to_user = by
        offer.save(update_fields=["to_user"])
    close_offer(incident, offer, status=OfferStatus.ACCEPTED, now=now)
    if offer.role == WHOLE_INCIDENT:
        take_incident(
            incident, by=by, giver=offer.from_user, now=now,
            data={"offer": offer.pk, "role": WHOLE_INCIDENT, "team": offer.to_team_id, "team_name": offer.to_name},
        )  # fmt: skip
        return offer
    via = "handoff" if offer.from_user_id else "rotation" if offer.by_id is None else "offer"
    giver = offer.from_user
    if offer.role == RoomRole.EXPERT and giver is not None:
        incident.holdings.filter(role=offer.role, field=offer.field, user=giver, ended_at=None).update(
            ended_at=now
        )
    give_role(incident, role=offer.role, field=offer.field, user=by, by=by, now=now, via=via)
    return offer


@transaction.atomic
def decline(*, offer_id: int, by: User, now: datetime, why: str = "") -> RoleOffer:
    """The asked person does not take it: the giver keeps it, or the next one is asked."""
    incident, offer = _locked(offer_id)
    _refuse_when_closed(offer, now=now)
    _only_the_asked(offer, by)
    why = clean_text(why).strip()[:300]
    close_offer(incident, offer, status=OfferStatus.DECLINED, now=now)
    what = rules.words(offer.role, offer.field)
    timeline.record(
        incident, Kind.ROLE_DECLINED, at=now, actor=by,
        text=f"declined {what}{_kept_by(offer)}{f': {why}' if why else ''}",
        data={
            "offer": offer.pk, "role": offer.role, "field": offer.field, "who": by.pk, "why": why,
            **_team_data(offer),
        },
    )  # fmt: skip
    _after_no(incident, offer, said=f"{by} declined {what}{f': {why}' if why else ''}.", now=now)
    return offer


@transaction.atomic
def withdraw(*, offer_id: int, by: User, now: datetime) -> RoleOffer:
    """Nobody is asked any more. The role stays with whoever has it. For whom see `rules.may_withdraw`."""
    incident, offer = _locked(offer_id)
    if not queries.may_withdraw(offer, by):
        raise NotAllowed(
            "Whoever asked or gives the role, the commander, managers and admins may withdraw this."
        )
    _refuse_when_closed(offer, now=now)
    close_offer(incident, offer, status=OfferStatus.WITHDRAWN, now=now)
    timeline.record(
        incident, Kind.ROLE_DECLINED, at=now, actor=by,
        text=f"no longer asks {offer.asked_name} to take {rules.words(offer.role, offer.field)}",
        data={
            "offer": offer.pk, "role": offer.role, "field": offer.field, "who": offer.to_user_id, "why": "withdrawn",
            **_team_data(offer),
        },
    )  # fmt: skip
    return offer


def time_is_up(incident: Incident, *, offer_id: int, now: datetime) -> None:
    """Nobody answered in time; for the timer, which holds the lock."""
    offer = RoleOffer.objects.select_related("to_user", "from_user", "by", "rotation").get(pk=offer_id)
    if offer.status != OfferStatus.OPEN or offer.accept_by is None or offer.accept_by > now:
        return
    close_offer(incident, offer, status=OfferStatus.MISSED, now=now)
    what, took = rules.words(offer.role, offer.field), duration(now - offer.offered_at)
    said = f"{offer.asked_name} did not accept {what} in {took}"
    timeline.record(
        incident, Kind.ROLE_MISSED, at=now, text=f"{said}{_kept_by(offer)}",
        data={
            "offer": offer.pk, "role": offer.role, "field": offer.field, "who": offer.to_user_id, "asked": offer.asked,
            **_team_data(offer),
        },
    )  # fmt: skip
    _after_no(incident, offer, said=f"{said}.", now=now, missed=True)


def end_all(incident: Incident, *, now: datetime) -> None:
    """The incident is over: nobody is asked any more. For callers that hold the lock."""
    for offer in incident.offers.filter(status=OfferStatus.OPEN):
        close_offer(incident, offer, status=OfferStatus.WITHDRAWN, now=now)
    cancel_topic(topic=_topic(incident), now=now)
    cancel_timer(kind=SEEK, key=str(incident.pk))


def _topic(incident: Incident) -> str:
    return f"incident:{incident.pk}:roles"


def _team_data(offer: RoleOffer) -> dict[str, object]:
    return {"team": offer.to_team_id, "team_name": offer.to_name} if offer.to_name else {}


def _kept_by(offer: RoleOffer) -> str:
    return f"; {offer.from_user} keeps it" if offer.from_user_id else ""


def _after_no(
    incident: Incident, offer: RoleOffer, *, said: str, now: datetime, missed: bool = False
) -> None:
    """The next step after somebody did not take a role: the next person, or a word to whoever asked."""
    if offer.role == WHOLE_INCIDENT:
        _page_giver(incident, offer, said=said, now=now)
        return
    asker = offer.from_user or offer.by
    if offer.searches:
        asked = _ask_next(
            incident, role=offer.role, field=offer.field, by=offer.by, asked=offer.asked, rested=missed, now=now,
            why=said,
        )  # fmt: skip
        if asked or offer.by_id is None:
            return
    if asker is not None and asker != offer.to_user:
        kept = f" {asker} keeps it." if offer.from_user_id else ""
        notify(
            recipient=asker, dedupe_key=f"role:{offer.pk}:{offer.status}", topic=_topic(incident),
            urgency=incident.urgency, title=f"{drill_mark(incident.is_drill)}{incident.ref}: {said}"[:300],
            body=f"{said}{kept} Ask somebody else in the room.", link=f"/incidents/{incident.ref}/", now=now,
            context={"ref": incident.ref, "kind": "role", "drill": incident.is_drill},
        )  # fmt: skip
    if offer.role == RoomRole.COMMANDER:
        seek_commander(incident, now=now)


def _page_giver(incident: Incident, offer: RoleOffer, *, said: str, now: datetime) -> None:
    """Whoever has it may believe that it is off their hands, so they are paged, and loudly."""
    giver = incident.acknowledged_by or offer.from_user
    if giver is None:
        return
    page_people(
        incident, step_key=f"handover:{offer.pk}", now=now, urgency=Urgency.HIGH,
        requests=[
            PageRequest(
                recipient=giver, reason=f"{said} You keep the incident.",
                expected="Go on with it, or hand it to somebody else in the room.", tier_name="Handover",
            )
        ],
    )  # fmt: skip


# --- searching --------------------------------------------------------------------------------------------------


def wants_commander(incident: Incident) -> bool:
    """Whether a rotation gives this incident a commander, and it has none."""
    if not incident.is_open or incident.commander_id is not None:
        return False
    rotation = queries.rotation_of(incident, role=RoomRole.COMMANDER)
    if rotation is None:
        return False
    asks = matrix.ruling(severity=incident.severity, criticality=incident.service.criticality).asks_commander
    return incident.severity <= rotation.max_severity if asks is None else asks


def seek_commander(incident: Incident, *, now: datetime) -> None:
    """Ask whoever is on duty to command, when nobody does and nobody is asked. For callers that hold the lock."""
    if not wants_commander(incident):
        return
    if incident.offers.filter(role=RoomRole.COMMANDER, status=OfferStatus.OPEN).exists():
        return
    _ask_next(incident, role=RoomRole.COMMANDER, field="", by=None, asked=0, rested=True, now=now)


@transaction.atomic
def call_expert(*, incident_id: int, field: str, by: User, now: datetime, reason: str = "") -> RoleOffer:
    """Ask whoever is on call for the field, else who knows it and has least to do. Raises Refused `no_expert`."""
    _, field = known_role(RoomRole.EXPERT, field)
    incident = lock_incident(incident_id)
    _refuse_when_over(incident)
    waiting = incident.offers.filter(role=RoomRole.EXPERT, field=field, status=OfferStatus.OPEN)
    already = waiting.select_related("to_user").first()
    if already is not None:
        raise Refused(
            f"{already.to_user} is asked already, {duration(now - already.offered_at)} ago.",
            code="asked_already",
        )
    reason = clean_text(reason).strip()[:200]
    offer = _ask_next(
        incident, role=RoomRole.EXPERT, field=field, by=by, asked=0, rested=True, now=now,
        why=f"{by} needs an expert{f': {reason}' if reason else ''}.",
    )  # fmt: skip
    if offer is None:
        known = ", ".join(queries.fields()) or "none"
        raise Refused(f"Nobody else is known for {field}. Fields with somebody: {known}.", code="no_expert")
    return offer


def _ask_next(
    incident: Incident, *, role: str, field: str, by: User | None, asked: int, rested: bool, now: datetime,
    why: str = "",
) -> RoleOffer | None:  # fmt: skip
    """Ask the next person. None: there is nobody, or all have said no and it is too early to begin again (`rested`)."""
    rotation = queries.rotation_of(incident, role=role, field=field)
    people = {user.pk: user for user in _people_for(incident, rotation, role=role, field=field, now=now)}
    before = queries.asked_before(incident, role=role, field=field)
    choice = rules.choose(list(people), before)
    if choice is None:
        return None
    base = rotation.accept_seconds if rotation else rules.ACCEPT_SECONDS
    seconds = rules.accept_seconds(base, asked_before=choice.round)
    if choice.round and not rested:
        if role == RoomRole.COMMANDER:
            due_at = now + timedelta(seconds=seconds)
            set_timer(
                kind=SEEK, key=str(incident.pk), due_at=due_at, now=now, payload={"incident": incident.pk}
            )
        return None
    to = people[choice.person]
    following = rules.choose(list(people), [*before, to.pk])
    after = people[following.person] if following else to
    then = f"{after} is asked next" if after != to else f"{to} is asked again"
    source = f"Rotation: {rotation.schedule}." if rotation else f"You know {field}." if field else ""
    what = rules.words(role, field)
    asks = f"asked {to} to take {what}"
    return _ask(
        incident, role=role, field=field, to=to, by=by, accept_seconds=seconds, asked=asked + 1, rotation=rotation, searches=True,
        why=" ".join(part for part in (why, source) if part).rstrip("."), otherwise=then, now=now,
        text=f"{asks}. Without an answer in {duration(seconds)}, {then}",
    )  # fmt: skip


def _people_for(
    incident: Incident, rotation: RoleRotation | None, *, role: str, field: str, now: datetime
) -> list[User]:
    if rotation is not None:
        people = queries.candidates(rotation, now)
    else:
        people = list(queries.experts(field)) if role == RoomRole.EXPERT else []
    held = {row.user_id for row in queries.holdings(incident) if (row.role, row.field) == (role, field)}
    return [user for user in people if user.pk not in held]


# --- the incident itself ----------------------------------------------------------------------------------------
# Handed over by an offer like one of a role, to a person or to a team. A team is paged by its own policy, which
# escalation begins when it reads the entry; whoever of that team acknowledges has accepted with that.


@transaction.atomic
def hand_over(
    *, incident_id: int, by: User, now: datetime, to: User | None = None, team: Team | None = None,
    known: str = "", in_progress: str = "", next_steps: str = "", accept_seconds: int | None = None,
) -> RoleOffer:  # fmt: skip
    """Ask a person or a team to take the incident. An offer of it that waits is withdrawn.

    `accept_seconds` None: 5 minutes for SEV1 and SEV2, else 15. Raises Invalid, or Refused when it is resolved, when
    nobody has it yet and a person is asked, and when the person has it already.
    """
    if (to is None) == (team is None):
        raise Invalid("Choose a person or a team.", fields={"user": ["Choose a person or a team."]})
    handing = _handing(known=known, in_progress=in_progress, next_steps=next_steps)
    if accept_seconds is not None and not 60 <= accept_seconds <= 86_400:
        raise Invalid("From 1 minute to 24 hours.", fields={"accept_seconds": ["From 60 to 86400."]})
    if to is not None and not queries.able().filter(pk=to.pk).exists():
        raise Invalid("Choose somebody who can answer.", fields={"user": ["Choose somebody who can answer."]})
    incident = lock_incident(incident_id)
    _refuse_when_over(incident)
    seconds = accept_seconds or rules.handover_seconds(incident.severity)
    if to is not None and incident.status == Status.TRIGGERED:
        raise Refused(
            f"Nobody has {incident.ref} yet. Acknowledge it first, or call {to} in.", code="not_acknowledged"
        )
    giver = incident.acknowledged_by if incident.status != Status.TRIGGERED else None
    if to is not None and giver == to:
        raise Refused(f"{to} has it already.", code="held_already")
    giver = giver or by
    instead_of = _withdraw_handover(incident, now=now, keep=team)
    instead = f"; {instead_of} is no longer asked" if instead_of else ""
    if to is not None:
        who = (
            f"hands the incident to {to}" if giver == by else f"asked {to} to take the incident from {giver}"
        )
        return _ask(
            incident, role=WHOLE_INCIDENT, field="", to=to, by=by, giver=giver, accept_seconds=seconds,
            handing=handing, why=f"{by} asks you", otherwise=f"{giver} keeps it", now=now,
            text="\n".join([f"{who} and keeps it until then{instead}" if giver == by else
                            f"{who}, who keeps it until then{instead}", *handing.lines()]),
        )  # fmt: skip
    return _ask_team(
        incident, team=team, by=by, giver=giver, seconds=seconds, handing=handing, instead=instead, now=now
    )


def _ask_team(
    incident: Incident, *, team: Team, by: User, giver: User, seconds: int, handing: Handing, instead: str,
    now: datetime,
) -> RoleOffer:  # fmt: skip
    accept_by = now + timedelta(seconds=seconds)
    offer = RoleOffer.objects.create(
        incident=incident, role=WHOLE_INCIDENT, to_team=team, to_name=team.name[:120], from_user=giver, by=by,
        known=handing.known, in_progress=handing.in_progress, next_steps=handing.next_steps, offered_at=now,
        accept_by=accept_by,
    )  # fmt: skip
    set_timer(
        kind=ROLE_ACCEPT, key=str(offer.pk), due_at=accept_by, now=now,
        payload={"incident": incident.pk, "offer": offer.pk},
    )  # fmt: skip
    whose = "" if giver == by else f" from {giver}"
    timeline.record(
        incident, Kind.ROLE_OFFERED, at=now, actor=by,
        text="\n".join(
            [
                f"asked the team {team} to take the incident{whose} within {duration(seconds)}; {giver} keeps it "
                f"until then{instead}",
                *handing.lines(),
            ]
        ),
        data={
            "offer": offer.pk, "role": WHOLE_INCIDENT, "field": "", "to": None, "team": team.pk,
            "team_name": team.name, "from": giver.pk, "accept_by": accept_by.isoformat(), "known": handing.known,
            "in_progress": handing.in_progress, "next": handing.next_steps, "page": None,
        },
    )  # fmt: skip
    return offer


def _withdraw_handover(incident: Incident, *, now: datetime, keep: Team | None) -> str:
    """Whoever is asked already is asked no more. Their name; empty: nobody was. `keep` goes on being paged."""
    waiting = queries.handovers(incident).filter(status=OfferStatus.OPEN).first()
    if waiting is None:
        return ""
    close_offer(incident, waiting, status=OfferStatus.WITHDRAWN, now=now)
    if waiting.to_team_id is not None and (keep is None or keep.pk != waiting.to_team_id):
        timeline.record(
            incident, Kind.ROLE_DECLINED, at=now, text=f"no longer asks {waiting.asked_name} to take the incident",
            data={
                "offer": waiting.pk, "role": WHOLE_INCIDENT, "field": "", "who": None, "why": "withdrawn",
                "team": waiting.to_team_id, "team_name": waiting.to_name,
            },
        )  # fmt: skip
    return waiting.asked_name


# --- looking first ----------------------------------------------------------------------------------------------


def _locked(offer_id: int) -> tuple[Incident, RoleOffer]:
    found = RoleOffer.objects.filter(pk=offer_id).values_list("incident_id", flat=True).first()
    if found is None:
        raise Missing("There is no such offer.")
    incident = lock_incident(found)
    return incident, RoleOffer.objects.select_related(
        "to_user", "to_team", "from_user", "by", "rotation"
    ).get(pk=offer_id)


def _refuse_when_over(incident: Incident) -> None:
    if incident.status == Status.RESOLVED:
        raise Refused(f"{incident.ref} is resolved. Nobody was asked.", code="already_resolved")


def _refuse_when_closed(offer: RoleOffer, *, now: datetime) -> None:
    if offer.status == OfferStatus.OPEN:
        return
    ago = duration(now - offer.ended_at)
    said = {
        OfferStatus.ACCEPTED: f"{offer.to_user} accepted it {ago} ago",
        OfferStatus.DECLINED: f"{offer.to_user} declined it {ago} ago",
        OfferStatus.MISSED: f"The time to accept it ended {ago} ago",
        OfferStatus.WITHDRAWN: f"It was withdrawn {ago} ago",
    }[OfferStatus(offer.status)]
    raise Refused(f"{said}. Nothing was changed.", code="offer_closed")


def _only_the_asked(offer: RoleOffer, by: User) -> None:
    if not queries.may_accept(offer, by):
        who = f"somebody of {offer.to_name}" if offer.to_name else offer.to_user
        raise NotAllowed(f"Only {who} can answer this.")


# --- rotations --------------------------------------------------------------------------------------------------


@transaction.atomic
def save_rotation(
    *, rotation_id: int | None, role: str, field: str, schedule_id: int, team_id: int | None, accept_seconds: int,
    max_severity: int, seen: str | None = None,
) -> RoleRotation:  # fmt: skip
    """Which schedule gives a role. Raises Invalid with the field that is wrong.

    `seen`: how it stood (`queries.seen`) before the person; Refused `changed_meanwhile` when it no longer does.
    """
    role, field = known_role(role, field)
    rotation = RoleRotation()
    if rotation_id is not None:
        rotation = (
            RoleRotation.objects.select_for_update(of=("self",), no_key=True).filter(pk=rotation_id).first()
        )
        if rotation is None:
            raise Missing("There is no such rotation. Somebody may have removed it.")
    before = queries.seen(rotation)
    fields: dict[str, list[str]] = {}
    if not 60 <= accept_seconds <= 86_400:
        fields["accept_minutes"] = ["From 1 minute to 24 hours."]
    if not 0 <= max_severity <= 4:
        fields["max_severity"] = ["From 0 to 4."]
    if role not in rules.ROTATING:
        fields["role"] = [f"One of {', '.join(rules.ROTATING)}."]
    if fields:
        raise Invalid("The rotation was not saved.", fields=fields)
    rotation.role, rotation.field = role, field
    rotation.schedule_id, rotation.team_id = schedule_id, team_id
    rotation.accept_seconds, rotation.max_severity = accept_seconds, max_severity
    if seen is not None and seen != before != queries.seen(rotation):
        raise Refused(
            "Somebody changed this rotation after you began. Yours is not saved; look at it, then save again.",
            code="changed_meanwhile",
        )
    try:
        with transaction.atomic():
            rotation.save()
    except IntegrityError:
        twin = ["There is a rotation for this role and these services. Change that one."]
        raise Invalid("The rotation was not saved.", fields={"team": twin}) from None
    return rotation


@transaction.atomic
def remove_rotation(*, rotation_id: int) -> None:
    """Whoever is asked stays asked; after that, nobody is."""
    RoleRotation.objects.filter(pk=rotation_id).delete()
