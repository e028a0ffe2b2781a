"""Everything that changes an incident. Views, API, timers and senders all call these; nothing else writes its state.

Each function locks the incident first, looks second, and appends the timeline entry in the same transaction.
Locks are taken in this order: service, incident, notification, timer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import User
from accounts.permissions import at_least
from catalog.models import Service
from core.errors import Invalid, Missing, Refused
from core.words import duration
from incidents import matrix, rules, timeline
from incidents.links import answer_path
from incidents.models import (
    Alert,
    AlertStatus,
    Incident,
    Kind,
    OfferStatus,
    Page,
    PagePurpose,
    PageStatus,
    Phase,
    PhaseStamp,
    RoleHolding,
    RoleOffer,
    RoomRole,
    Severity,
    Status,
)
from incidents.roles import rules as role_rules
from notifications.models import NotificationStatus, Urgency
from notifications.transitions import cancel_topic, notify
from timers.transitions import cancel_timer

MAX_NOTE = 20_000
ROLE_ACCEPT = "roles.accept"
"""Kind of the timer that ends the time to accept a role; its key is the offer's id."""
SNOOZE = "incidents.snooze"
"""Kind of the timer that ends a snooze; its key is the incident's id, its fence the incident's."""


def lock_incident(incident_id: int) -> Incident:
    """The incident, locked until the transaction ends. Raises Missing."""
    incident = (
        Incident.objects.select_for_update(of=("self",), no_key=True)
        .select_related("service__team", "commander", "acknowledged_by")
        .filter(pk=incident_id)
        .first()
    )
    if incident is None:
        raise Missing(f"There is no incident INC-{incident_id}.")
    return incident


def topic(incident: Incident) -> str:
    return f"incident:{incident.pk}"


EACH = ":each"
"""Ending of the step_key of pages that somebody else's answer does not end: more than one person has to answer, or it is
another team that is called. Their messages have a topic of their own, which `call_off` ends."""


# ---------------------------------------------------------------------------------------------------- beginning


@transaction.atomic(savepoint=False)
def trigger(
    *, service: Service, title: str, severity: int, urgency: str, now: datetime, by: User | None = None,
    opened_from: str = "", impact: str = "", is_drill: bool = False, data: dict[str, Any] | None = None,
    follows: Incident | None = None, repage_at: datetime | None = None, tier0_until: datetime | None = None,
) -> Incident:  # fmt: skip
    """Open an incident; the escalation begins in the same transaction. `opened_from` names the sender, if it was one.

    `tier0_until`: an automated action comes first, and people are paged then unless it has helped.
    """
    urgency = matrix.ruling(severity=severity, criticality=service.criticality).urgency or urgency
    incident = Incident.objects.create(
        title=clean_text(title)[:300], service=service, severity=severity, urgency=urgency,
        impact=clean_text(impact)[:300], is_drill=is_drill, opened_by=by, opened_from=opened_from[:120],
        triggered_at=now, last_event_at=now, follows=follows, repage_at=repage_at, tier0_until=tier0_until,
    )  # fmt: skip
    PhaseStamp.objects.create(incident=incident, phase=Phase.DETECTION, at=now)
    timeline.record(
        incident, Kind.TRIGGERED, at=now, actor=by, actor_name=opened_from,
        text=f"opened SEV{severity} on {service.name}: {incident.title}",
        data={"severity": severity, "urgency": str(urgency), "service": service.slug, **(data or {})},
    )  # fmt: skip
    return incident


@transaction.atomic
def declare(
    *,
    service: Service,
    title: str,
    severity: int,
    by: User,
    now: datetime,
    impact: str = "",
    is_drill: bool = False,
) -> Incident:
    """Open an incident by hand. Raises Invalid with the field that is wrong."""
    fields: dict[str, list[str]] = {}
    title = clean_text(title).strip()
    if not title:
        fields["title"] = ["Say in a few words what is broken."]
    elif len(title) > 300:
        fields["title"] = ["At most 300 characters. Put the rest into a note."]
    if severity not in Severity.values:
        fields["severity"] = ["One of SEV1, SEV2, SEV3, SEV4."]
    if len(impact) > 300:
        fields["impact"] = ["At most 300 characters. Put the rest into a note."]
    if fields:
        raise Invalid("The incident was not opened.", fields=fields)
    return trigger(
        service=service, title=title, severity=severity, urgency=rules.urgency_of_severity(severity), now=now, by=by,
        impact=impact.strip(), is_drill=is_drill,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- moves


@transaction.atomic
def acknowledge(
    *, incident_id: int, by: User | None, now: datetime, by_name: str = "", via: str = "web"
) -> Incident:
    """`by` (or the sender `by_name`) takes charge, so paging stops.

    A second acknowledgement changes nothing but is noted when it is another person's. Raises Refused when resolved.
    """
    incident = lock_incident(incident_id)
    if incident.status == Status.RESOLVED:
        rules.check_move(incident.status, Status.ACKNOWLEDGED)
    if _wakes(incident, by):
        return _take_from_snooze(incident, by=by, now=now, via=via)
    if incident.status in (Status.ACKNOWLEDGED, Status.CONTAINED):
        return _acknowledge_again(incident, by=by, now=now, via=via)
    return _acknowledge_first(incident, by=by, now=now, by_name=by_name, via=via)


def _acknowledge_first(
    incident: Incident, *, by: User | None, now: datetime, by_name: str = "", via: str = "web"
) -> Incident:
    incident.status = Status.ACKNOWLEDGED
    incident.acknowledged_by = by
    incident.acknowledged_at = incident.acknowledged_at or now
    incident.fence += 1
    incident.save(update_fields=["status", "acknowledged_at", "acknowledged_by", "fence"])
    page = _call_off_pages(incident, answered_by=by, now=now, each=False)
    took = now - (page.paged_at if page else incident.triggered_at)
    timeline.record(
        incident, Kind.ACKNOWLEDGED, at=now, actor=by, actor_name=by_name,
        text=f"acknowledged after {duration(took)}",
        data={
            "via": via, "seconds": int((now - incident.triggered_at).total_seconds()),
            "page_seconds": int(took.total_seconds()) if page else None, "tier": page.tier if page else None,
            "bot": bool(by is None or by.is_bot),
        },
    )  # fmt: skip
    _advance_phase(incident, Phase.TRIAGE, now=now)
    return incident


def _wakes(incident: Incident, by: User | None) -> bool:
    """Whether this answer ends a snooze: another person's does, a sender's or a bot's does not."""
    return (
        incident.snoozed_until is not None
        and by is not None
        and not by.is_bot
        and by.pk != incident.snoozed_by_id
    )


def _take_from_snooze(incident: Incident, *, by: User, now: datetime, via: str) -> Incident:
    """Somebody looks at what another has put off, so it is theirs now and pages nobody later."""
    snoozed_by = end_snooze(incident)
    incident.acknowledged_by = by
    incident.fence += 1
    incident.save(update_fields=["acknowledged_by", "fence"])
    page = _call_off_pages(incident, answered_by=by, now=now, each=False)
    timeline.record(
        incident, Kind.ACKNOWLEDGED, at=now, actor=by,
        text=f"acknowledged, which ends the snooze of {snoozed_by}",
        data={
            "via": via, "seconds": int((now - incident.triggered_at).total_seconds()), "page_seconds": None,
            "tier": page.tier if page else None, "bot": False, "snoozed_by": snoozed_by.pk if snoozed_by else None,
        },
    )  # fmt: skip
    return incident


def end_snooze(incident: Incident) -> User | None:
    """It is no longer put off. Who had snoozed it; None too when it was not. For callers that hold the lock."""
    if incident.snoozed_until is None:
        return None
    who = incident.snoozed_by
    incident.snoozed_until, incident.snoozed_by, incident.snooze_reason = None, None, ""
    incident.save(update_fields=["snoozed_until", "snoozed_by", "snooze_reason"])
    cancel_timer(kind=SNOOZE, key=str(incident.pk))
    return who


def take_incident(
    incident: Incident, *, by: User, giver: User | None, now: datetime, data: dict[str, Any]
) -> None:
    """`by` accepted all of it and has it from now on. For callers that hold the lock."""
    check_can_act(by)
    if incident.status == Status.TRIGGERED:  # it lapsed meanwhile, or nobody had it
        _acknowledge_first(incident, by=by, now=now, via="handoff")
    elif _calls(incident).filter(recipient=by, status=PageStatus.PAGING).exists():
        _acknowledge_again(incident, by=by, now=now, via="handoff")
    end_snooze(incident)
    incident.acknowledged_by = by
    incident.fence += 1
    incident.save(update_fields=["acknowledged_by", "fence"])
    whose = f" from {giver}" if giver is not None and giver != by else ""
    team = f" for {data['team_name']}" if data.get("team_name") else ""
    timeline.record(
        incident, Kind.HANDED_OVER, at=now, actor=by, text=f"accepted the incident{whose}{team}",
        data={"to": by.pk, "from": giver.pk if giver else None, **data},
    )  # fmt: skip


def call_off_all(incident: Incident, *, answered_by: User | None, now: datetime) -> None:
    """Nobody waits to be answered by anybody. For callers that hold the lock."""
    _call_off_pages(incident, answered_by=answered_by, now=now)


def _acknowledge_again(incident: Incident, *, by: User | None, now: datetime, via: str) -> Incident:
    """Somebody was first. Whoever was called in since, or answers besides, is noted once; the state stays."""
    if by is None:
        return incident
    called = _calls(incident).filter(
        Q(status=PageStatus.PAGING) | Q(status=PageStatus.MISSED, step_key__endswith=EACH), recipient=by
    )
    answers_a_call = called.exists()
    if answers_a_call:
        about = _topics(incident, called)
        called.update(status=PageStatus.ACKNOWLEDGED, ended_at=now)
        _end_messages(about, now=now, status=NotificationStatus.ANSWERED, recipient=by)
    elif by.pk == incident.acknowledged_by_id or _is_noted(incident, by):
        return incident
    timeline.record(
        incident, Kind.ALSO_ACKNOWLEDGED, at=now, actor=by, text="also answered", data={"via": via}
    )
    return incident


def _is_noted(incident: Incident, by: User) -> bool:
    return incident.timeline.filter(kind=Kind.ALSO_ACKNOWLEDGED, actor=by).exists()


@transaction.atomic
def unacknowledge(
    *, incident_id: int, now: datetime, reason: str, by: User | None = None,
    data: dict[str, Any] | None = None,
) -> Incident:  # fmt: skip
    """The acknowledgement no longer holds, so paging goes on. Does nothing unless acknowledged."""
    incident = lock_incident(incident_id)
    if incident.status != Status.ACKNOWLEDGED:
        return incident
    incident.status = Status.TRIGGERED
    incident.fence += 1
    incident.save(update_fields=["status", "fence"])
    timeline.record(incident, Kind.UNACKNOWLEDGED, at=now, actor=by, text=reason, data=data)
    return incident


@transaction.atomic
def contain(
    *, incident_id: int, by: User | None, now: datetime, note: str = "", by_name: str = ""
) -> Incident:
    """The damage no longer grows. Stamped once; containing again changes nothing."""
    incident = lock_incident(incident_id)
    if incident.status == Status.CONTAINED:
        return incident
    rules.check_move(incident.status, Status.CONTAINED)
    incident.status = Status.CONTAINED
    incident.contained_at = incident.contained_at or now
    incident.contained_by = by
    incident.fence += 1
    incident.save(update_fields=["status", "contained_at", "contained_by", "fence"])
    _call_off_pages(incident, answered_by=None, now=now)
    took = duration(now - incident.triggered_at)
    timeline.record(
        incident, Kind.CONTAINED, at=now, actor=by, actor_name=by_name,
        text=f"marked contained, {took} after detection{_colon(note)}",
        data={"seconds": int((now - incident.triggered_at).total_seconds()), "note": clean_text(note)},
    )  # fmt: skip
    _stamp_phase(incident, Phase.CONTAINMENT, now=now)
    _advance_phase(incident, Phase.ROOT_CAUSE, now=now)
    return incident


@transaction.atomic
def resolve(
    *,
    incident_id: int,
    by: User | None,
    now: datetime,
    by_name: str = "",
    note: str = "",
    guard_minutes: int = 0,
) -> Incident:
    """It is over: nothing of it pages any more. Resolving again changes nothing.

    `guard_minutes`: for so long repeats of what still fires open nothing. Then the next one does.
    """
    incident = lock_incident(incident_id)
    if incident.status == Status.RESOLVED:
        return incident
    rules.check_move(incident.status, Status.RESOLVED)
    incident.status = Status.RESOLVED
    incident.resolved_at = now
    incident.resolved_by = by
    incident.fence += 1
    incident.save(update_fields=["status", "resolved_at", "resolved_by", "fence"])
    _call_off_pages(incident, answered_by=None, now=now)
    guard_until = now + timedelta(minutes=guard_minutes) if guard_minutes > 0 else None
    still_firing = incident.alerts.filter(status=AlertStatus.FIRING).update(
        status=AlertStatus.RESOLVED, resolved_at=now, closed_by_hand=True, guard_until=guard_until,
        flapping_since=None, held_clear_at=None,
    )  # fmt: skip
    firing = (
        f"; {still_firing} {'alert was' if still_firing == 1 else 'alerts were'} still firing"
        if still_firing
        else ""
    )
    if still_firing and guard_until:
        firing += (
            f", and repeats of {'it' if still_firing == 1 else 'them'} page nobody for {guard_minutes} min"
        )
    timeline.record(
        incident, Kind.RESOLVED, at=now, actor=by, actor_name=by_name,
        text=f"resolved, {duration(now - incident.triggered_at)} after detection{_colon(note)}{firing}",
        data={
            "seconds": int((now - incident.triggered_at).total_seconds()), "note": clean_text(note),
            "by_sender": by is None, "still_firing": still_firing,
            **({"guard_until": guard_until.isoformat()} if still_firing and guard_until else {}),
        },
    )  # fmt: skip
    _advance_phase(incident, Phase.REVIEW, now=now)
    return incident


@transaction.atomic
def reopen(*, incident_id: int, by: User, reason: str, now: datetime) -> Incident:
    """It was not over, so it pages again from the first tier.

    Within an hour the incident goes on, with the alerts that still fired at its end; later a new one is opened that
    follows it, and that one is returned.
    """
    incident = lock_incident(incident_id)
    if incident.status != Status.RESOLVED:
        raise Refused(f"{incident.ref} is open.", code="already_open")
    reason = clean_text(reason).strip()
    if not reason:
        raise Invalid("Say why it is not over.", fields={"reason": ["Say why it is not over."]})
    if now - incident.resolved_at > rules.REOPEN_GRACE:
        return trigger(
            service=incident.service, title=incident.title, severity=incident.severity, urgency=incident.urgency,
            now=now, by=by, impact=incident.impact, is_drill=incident.is_drill, follows=incident,
            data={"follows": incident.ref, "reason": reason},
        )  # fmt: skip
    _fire_again(incident)
    incident.status = Status.TRIGGERED
    incident.resolved_at = incident.resolved_by = None
    incident.contained_at = incident.contained_by = None
    incident.fence += 1
    incident.save(
        update_fields=["status", "resolved_at", "resolved_by", "contained_at", "contained_by", "fence"]
    )
    timeline.record(
        incident, Kind.REOPENED, at=now, actor=by, text=f"reopened: {reason}", data={"reason": reason}
    )
    return incident


def _fire_again(incident: Incident) -> None:
    """Alerts that were firing when a person ended the incident fire on in it; without this, the sender's next repeat
    of the same problem opens a second incident and pages for it."""
    began_anew = Alert.objects.filter(
        origin=OuterRef("origin"), dedup_key=OuterRef("dedup_key"), status=AlertStatus.FIRING
    )
    ended = incident.alerts.filter(closed_by_hand=True, resolved_at=incident.resolved_at)
    try:
        with transaction.atomic():
            ended.exclude(Exists(began_anew)).update(
                status=AlertStatus.FIRING, resolved_at=None, closed_by_hand=False, guard_until=None
            )
    except IntegrityError:
        pass  # one of them has begun anew in this moment; then they stay with the senders' next words


@transaction.atomic
def set_severity(
    *, incident_id: int, severity: int, by: User | None, reason: str, now: datetime, seen: int | None = None
) -> Incident:
    """`seen` is the severity that the person was looking at; Refused when it is no longer that."""
    incident = lock_incident(incident_id)
    if severity not in Severity.values:
        raise Invalid(
            "One of SEV1, SEV2, SEV3, SEV4.", fields={"severity": ["One of SEV1, SEV2, SEV3, SEV4."]}
        )
    _refuse_when_resolved(incident, "Its severity stays")
    if seen is not None and seen != incident.severity != severity:
        _refuse_as_changed(
            incident, (Kind.SEVERITY_CHANGED,), f"the severity to SEV{incident.severity}", now=now
        )
    change_severity(
        incident,
        severity=severity,
        urgency=rules.urgency_of_severity(severity),
        by=by,
        reason=reason,
        now=now,
    )
    return incident


def change_severity(
    incident: Incident,
    *,
    severity: int,
    urgency: str,
    by: User | None,
    reason: str,
    now: datetime,
    by_name: str = "",
) -> None:
    """For callers that hold the lock. Does nothing when both are as wanted."""
    laid_down = matrix.ruling(severity=severity, criticality=incident.service.criticality).urgency
    urgency = laid_down or urgency
    if (incident.severity, incident.urgency) == (severity, urgency):
        return
    before, was_urgent = incident.severity, incident.urgency
    incident.severity, incident.urgency = severity, Urgency(urgency)
    incident.save(update_fields=["severity", "urgency"])
    timeline.record(
        incident, Kind.SEVERITY_CHANGED, at=now, actor=by, actor_name=by_name,
        text=f"changed severity from SEV{before} to SEV{severity}{_colon(reason)}",
        data={"from": before, "to": severity, "urgency": str(urgency), "urgency_before": str(was_urgent)},
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- words and people


@transaction.atomic
def set_impact(
    *, incident_id: int, impact: str, by: User, now: datetime, seen: str | None = None
) -> Incident:
    """`seen` is the impact that the person was looking at; Refused when it is no longer that."""
    incident = lock_incident(incident_id)
    impact = clean_text(impact).strip()
    if len(impact) > 300:
        raise Invalid(
            "At most 300 characters.",
            fields={"impact": ["At most 300 characters. Put the rest into a note."]},
        )
    if impact == incident.impact:
        return incident
    if seen is not None and clean_text(seen).strip() != incident.impact:
        refuse_impact_as_changed(incident, now=now)
    before, incident.impact = incident.impact, impact
    incident.save(update_fields=["impact"])
    text = f"described the impact: {impact}" if impact else "removed the impact"
    timeline.record(
        incident, Kind.IMPACT_CHANGED, at=now, actor=by, text=text, data={"from": before, "to": impact}
    )
    return incident


def refuse_impact_as_changed(incident: Incident, *, now: datetime) -> None:
    """An update to stakeholders says a new impact too."""
    kinds = (Kind.IMPACT_CHANGED, Kind.UPDATE_POSTED)
    _refuse_as_changed(incident, kinds, f"the impact to: {incident.impact or 'nothing'}", now=now)


def _refuse_as_changed(incident: Incident, kinds: Sequence[Kind], what: str, *, now: datetime) -> None:
    """Two people changed the same thing: the second is told, and decides again."""
    last = incident.timeline.filter(kind__in=kinds).order_by("-seq").first()
    who = f"{last.actor_name}, {duration(now - last.at)} ago," if last else "Somebody"
    raise Refused(f"{who} changed {what}. Your text is kept.", code="changed_meanwhile")


@transaction.atomic
def assign_commander(*, incident_id: int, user: User | None, by: User, now: datetime) -> Incident:
    """`user` None leaves the incident without a commander."""
    return assign_role(incident_id=incident_id, role=RoomRole.COMMANDER, user=user, by=by, now=now)


@transaction.atomic
def assign_role(
    *, incident_id: int, role: str, user: User | None, by: User | None, now: datetime, field: str = "",
    via: str = "hand", seen: int | None = None,
) -> Incident:  # fmt: skip
    """Who holds a role from now on; None leaves it to nobody. Raises Invalid for a role that does not exist.

    `seen` is the id of whom the asking person saw in it (0: nobody), not for experts, of whom there may be several:
    Refused `changed_meanwhile` when somebody else has it by now. An offer of the role that still waits is over:
    accepted, when it was made to this person, else withdrawn.
    """
    role, field = known_role(role, field)
    incident = lock_incident(incident_id)
    if seen is not None and role != RoomRole.EXPERT:
        holder = _holder(incident, role)
        if holder != user and seen != (holder.pk if holder else 0):
            raise Refused(
                f"{holder or 'Nobody'} has {role_rules.words(role)} by now. Nothing was changed; decide again.",
                code="changed_meanwhile",
            )
    give_role(incident, role=role, field=field, user=user, by=by, now=now, via=via)
    return incident


def _holder(incident: Incident, role: str) -> User | None:
    """Of a role that one person holds."""
    if role == RoomRole.COMMANDER:
        return incident.commander  # also of incidents that were imported without holdings
    held = incident.holdings.filter(role=role, ended_at__isnull=True).select_related("user").first()
    return held.user if held else None


def check_can_act(user: User) -> None:
    """Raises Invalid for whom it would be no use to give something to do: bots, viewers, who has left."""
    if user.is_bot or not user.is_active or not at_least(user, "responder"):
        sentence = f"{user} cannot act here. Choose a responder."
        raise Invalid(sentence, fields={"user": [sentence]})


def known_role(role: str, field: str) -> tuple[str, str]:
    """The role and, for an expert, the field as it is stored. Raises Invalid."""
    if role not in RoomRole.values:
        raise Invalid("No such role.", fields={"role": [f"One of {', '.join(RoomRole.values)}."]})
    field = clean_text(field).strip().lower()
    wrong = role_rules.known_field(role, field)
    if wrong:
        raise Invalid(wrong, fields={"field": [wrong]})
    return role, field


def give_role(
    incident: Incident, *, role: str, user: User | None, by: User | None, now: datetime, field: str = "",
    via: str = "hand", by_name: str = "",
) -> None:  # fmt: skip
    """Like assign_role, for callers that hold the lock. Several people may be experts of one field, else one holds it."""
    if user is not None:
        check_can_act(user)
    holdings = incident.holdings.filter(role=role, field=field, ended_at__isnull=True).select_related("user")
    if role == RoomRole.EXPERT and user is not None:
        holdings = holdings.filter(user=user)
    held = list(holdings)
    before = held[0].user if held else None
    if role == RoomRole.COMMANDER:
        before = incident.commander  # also of incidents that were imported without holdings
    if before == user:
        if user is None:  # nobody holds it, and nobody is asked any more
            _stop_asking(incident, role=role, field=field, by=by, by_name=by_name, now=now)
        return
    _end_offers(incident, role=role, field=field, user=user, now=now)
    RoleHolding.objects.filter(pk__in=[holding.pk for holding in held]).update(ended_at=now)
    if user is not None:
        RoleHolding.objects.create(
            incident=incident, role=role, field=field, user=user, given_by=by, since=now, via=via
        )
    if role == RoomRole.COMMANDER:
        incident.commander = user
        incident.save(update_fields=["commander"])
    text = role_rules.assigned(
        role=role, field=field, to=str(user or ""), himself=user == by,
        before=" and ".join(str(holding.user) for holding in held) or str(before or ""), via=via,
    )  # fmt: skip
    timeline.record(
        incident, Kind.ROLE_ASSIGNED, at=now, actor=by, actor_name=by_name, text=text,
        data={
            "role": str(role), "field": field, "user": user.pk if user else None,
            "before": before.pk if before else None, "via": via,
        },
    )  # fmt: skip


def _end_offers(incident: Incident, *, role: str, field: str, user: User | None, now: datetime) -> None:
    for offer in incident.offers.filter(role=role, field=field, status=OfferStatus.OPEN):
        mine = user is not None and offer.to_user_id == user.pk
        if mine or role != RoomRole.EXPERT:
            close_offer(
                incident, offer, status=OfferStatus.ACCEPTED if mine else OfferStatus.WITHDRAWN, now=now
            )


def _stop_asking(
    incident: Incident, *, role: str, field: str, by: User | None, by_name: str, now: datetime
) -> None:
    for offer in incident.offers.filter(role=role, field=field, status=OfferStatus.OPEN).select_related(
        "to_user"
    ):
        close_offer(incident, offer, status=OfferStatus.WITHDRAWN, now=now)
        timeline.record(
            incident, Kind.ROLE_DECLINED, at=now, actor=by, actor_name=by_name,
            text=f"no longer asks {offer.to_user} to take {role_rules.words(role, field)}",
            data={"offer": offer.pk, "role": str(role), "field": field, "who": offer.to_user_id, "why": "withdrawn"},
        )  # fmt: skip


def offer_topic(offer: RoleOffer) -> str:
    """What the messages of one offer have in common."""
    return f"incident:{offer.incident_id}:roles:{offer.pk}"


_PAGE_OF_OFFER = {
    OfferStatus.ACCEPTED: PageStatus.ACKNOWLEDGED,
    OfferStatus.DECLINED: PageStatus.ACKNOWLEDGED,  # it was answered, if not with yes
    OfferStatus.MISSED: PageStatus.MISSED,
    OfferStatus.WITHDRAWN: PageStatus.CANCELLED,
}


def close_offer(incident: Incident, offer: RoleOffer, *, status: str, now: datetime) -> None:
    """The offer waits no longer, nor does its page, nor any message of it. For callers that hold the lock."""
    offer.status, offer.ended_at = status, now
    offer.save(update_fields=["status", "ended_at"])
    page_status = _PAGE_OF_OFFER[OfferStatus(status)]
    incident.pages.filter(pk=offer.page_id, status=PageStatus.PAGING).update(status=page_status, ended_at=now)
    answered = page_status == PageStatus.ACKNOWLEDGED
    cancel_topic(
        topic=offer_topic(offer), now=now,
        status=NotificationStatus.ANSWERED if answered else NotificationStatus.CANCELLED,
    )  # fmt: skip
    cancel_timer(kind=ROLE_ACCEPT, key=str(offer.pk))


@transaction.atomic
def add_note(*, incident_id: int, text: str, by: User, now: datetime) -> Incident:
    """A line for the record, also after the end. What people say to each other is incidents.channel.transitions.say.

    Raises Invalid for an empty or endless text.
    """
    text = clean_text(text).strip()
    if not text:
        raise Invalid("Write something first.", fields={"text": ["Write something first."]})
    if len(text) > MAX_NOTE:
        sentence = f"At most {MAX_NOTE:,} characters; this has {len(text):,}."
        raise Invalid(sentence, fields={"text": [sentence]})
    incident = lock_incident(incident_id)
    timeline.record(incident, Kind.NOTE, at=now, actor=by, text=text)
    return incident


@transaction.atomic
def move_phase(*, incident_id: int, phase: str, by: User, now: datetime, reason: str = "") -> Incident:
    """Forward by hand, where no other transition implies it; why stands in the entry. Raises Refused when it would go back."""
    if phase not in Phase.values:
        raise Invalid("No such phase.", fields={"phase": [f"One of {', '.join(Phase.values)}."]})
    incident = lock_incident(incident_id)
    if phase == incident.phase:
        return incident
    if not rules.later_phase(incident.phase, phase):
        later = f"{Phase(incident.phase).label} has begun already. Phases go forward only."
        raise Refused(later, code="phase_passed")
    _advance_phase(incident, Phase(phase), now=now, by=by, reason=clean_text(reason).strip()[:300])
    return incident


@transaction.atomic
def record_change(
    *, incident_id: int, text: str, data: dict[str, Any], now: datetime, by_name: str = ""
) -> Incident:
    """Something was changed on the service while the incident is open. It never pages."""
    incident = lock_incident(incident_id)
    timeline.record(
        incident, Kind.CHANGE, at=now, actor_name=by_name, text=clean_text(text)[:1100], data=data
    )
    return incident


# ---------------------------------------------------------------------------------------------------- paging


@dataclass(frozen=True)
class PageRequest:
    recipient: User
    reason: str
    expected: str = ""
    tier: int | None = None
    tier_name: str = ""
    answer_by: datetime | None = None
    otherwise: str = ""
    channels: Sequence[str] = ()
    """Kinds of contact methods that are used at once; empty: the person's own rules."""


def page_people(
    incident: Incident, *, step_key: str, requests: Sequence[PageRequest], now: datetime,
    purpose: str = PagePurpose.ANSWER, about: str = "", urgency: str = "",
) -> list[Page]:  # fmt: skip
    """Page each person once for this step, for callers that hold the lock. The pages that are new.

    The rows of page, notification and deliveries are written here; messages go out after the commit. Whoever is asked
    to take a role (`purpose`) is not called off by an acknowledgement, so these messages have a topic of their own.
    `urgency` empty: the incident's.
    """
    already = set(incident.pages.filter(step_key=step_key).values_list("recipient_id", flat=True))
    pages = []
    for request in requests:
        if request.recipient.pk in already:
            continue
        already.add(request.recipient.pk)
        page = Page.objects.create(
            incident=incident, recipient=request.recipient, step_key=step_key, tier=request.tier,
            tier_name=request.tier_name, reason=request.reason[:300], expected=request.expected[:300],
            answer_by=request.answer_by, otherwise=request.otherwise[:160], paged_at=now, purpose=purpose,
        )  # fmt: skip
        text = rules.page_text(
            ref=incident.ref, title=incident.title, severity=incident.severity, service=incident.service.name,
            impact=incident.impact, is_drill=incident.is_drill, reason=page.reason, expected=page.expected,
            otherwise=page.otherwise,
        )  # fmt: skip
        page.notification = notify(
            recipient=request.recipient, dedupe_key=f"page:{page.pk}", topic=about or topic(incident),
            urgency=urgency or incident.urgency,
            title=text.title, body=text.body, link=answer_path(page.pk), now=now, channels=request.channels,
            context={
                "ref": incident.ref, "severity": f"SEV{incident.severity}", "title": incident.title,
                "service": incident.service.slug, "service_name": incident.service.name, "impact": incident.impact,
                "reason": page.reason, "expected": page.expected, "otherwise": page.otherwise,
                "answer_by": page.answer_by.isoformat() if page.answer_by else None, "drill": incident.is_drill,
            },
        )  # fmt: skip
        page.save(update_fields=["notification"])
        pages.append(page)
    return pages


def miss_pages(incident: Incident, *, now: datetime, steps: str = "") -> list[Page]:
    """The waiting pages got no answer in time. They go on ringing until somebody answers, but they are counted.

    `steps`: only those whose step_key begins so.
    """
    waiting = list(
        _calls(incident)
        .filter(status=PageStatus.PAGING, answer_by__lte=now, step_key__startswith=steps)
        .select_related("recipient")
        .order_by("pk")
    )
    Page.objects.filter(pk__in=[page.pk for page in waiting]).update(status=PageStatus.MISSED, ended_at=now)
    return waiting


@transaction.atomic
def page_person(*, incident_id: int, user: User, by: User, reason: str, now: datetime) -> Incident:
    """Call one person in by hand, acknowledged or not. Raises Refused when resolved, Invalid when nobody would come."""
    if user.is_bot or not user.is_active:
        sentence = f"{user} is {'a bot' if user.is_bot else 'not active'}, so nobody would come."
        raise Invalid(sentence, fields={"user": [sentence]})
    incident = lock_incident(incident_id)
    _refuse_when_resolved(incident, "Nobody was paged")
    reason = clean_text(reason).strip() or f"{by} needs you"
    request = PageRequest(recipient=user, reason=f"{by} called you in: {reason}", expected="Open the room.")
    pages = page_people(incident, step_key=f"hand:{incident.last_seq + 1}", requests=[request], now=now)
    timeline.record(
        incident, Kind.PAGED, at=now, actor=by, text=f"called in {user}: {reason}",
        data={"people": [user.pk], "pages": [page.pk for page in pages]},
    )  # fmt: skip
    if incident.status == Status.ACKNOWLEDGED:
        _advance_phase(incident, Phase.ESCALATION, now=now)
    return incident


def _calls(incident: Incident) -> QuerySet[Page]:
    """Pages that an answer to the incident ends. Being asked to take a role is another question."""
    return incident.pages.filter(purpose=PagePurpose.ANSWER)


def _call_off_pages(
    incident: Incident, *, answered_by: User | None, now: datetime, each: bool = True
) -> Page | None:
    """End every waiting page, and every message of it that has not gone out. The answering person's latest page.

    `each` False: pages that wait for their own person's answer stay.
    """
    answered = None
    if answered_by is not None:
        mine = _calls(incident).filter(
            recipient=answered_by, status__in=[PageStatus.PAGING, PageStatus.MISSED]
        )
        answered = mine.order_by("-pk").first()
        about = _topics(incident, mine)
        mine.filter(Q(status=PageStatus.PAGING) | Q(step_key__endswith=EACH)).update(
            status=PageStatus.ACKNOWLEDGED, ended_at=now
        )
        if answered is not None:
            Page.objects.filter(pk=answered.pk).update(status=PageStatus.ACKNOWLEDGED, ended_at=now)
            _end_messages(about, now=now, status=NotificationStatus.ANSWERED, recipient=answered_by)
    others = _calls(incident)
    if not each:
        others = others.exclude(step_key__endswith=EACH)
    about = _topics(incident, others) if each else [topic(incident)]
    others.filter(status=PageStatus.PAGING).update(status=PageStatus.CANCELLED, ended_at=now)
    _end_messages(about, now=now)
    return answered


def call_off(incident: Incident, *, about: str, now: datetime) -> None:
    """End the pages whose messages have this topic, and the messages. For callers that hold the lock."""
    _calls(incident).filter(status=PageStatus.PAGING, notification__topic=about).update(
        status=PageStatus.CANCELLED, ended_at=now
    )
    cancel_topic(topic=about, now=now)


def _topics(incident: Incident, pages: QuerySet[Page]) -> list[str]:
    """What the messages of these pages are about: the incident, and each step that waits for more answers."""
    own = pages.filter(step_key__endswith=EACH).order_by("notification__topic")
    return [topic(incident), *own.values_list("notification__topic", flat=True).distinct()]


def _end_messages(
    topics: Sequence[str], *, now: datetime, status: str = NotificationStatus.CANCELLED,
    recipient: User | None = None,
) -> None:  # fmt: skip
    for each in topics:
        cancel_topic(topic=each, now=now, status=status, recipient=recipient)


# ---------------------------------------------------------------------------------------------------- helpers


def _stamp_phase(incident: Incident, phase: Phase, *, now: datetime) -> None:
    PhaseStamp.objects.get_or_create(incident=incident, phase=phase, defaults={"at": now})


def _advance_phase(
    incident: Incident, phase: Phase, *, now: datetime, by: User | None = None, reason: str = ""
) -> None:
    """Forward only; the entry makes the step visible."""
    if not rules.later_phase(incident.phase, phase):
        return
    incident.phase = phase
    incident.save(update_fields=["phase"])
    _stamp_phase(incident, phase, now=now)
    timeline.record(
        incident, Kind.PHASE, at=now, actor=by,
        text=f"{phase.label} began, {duration(now - incident.triggered_at)} after detection{_colon(reason)}",
        data={"phase": str(phase)},
    )  # fmt: skip


def _refuse_when_resolved(incident: Incident, consequence: str) -> None:
    if incident.status == Status.RESOLVED:
        raise Refused(f"{incident.ref} is resolved. {consequence}.", code="already_resolved")


def clean_text(text: str) -> str:
    """Postgres stores neither NUL nor lone surrogates; they become the replacement character."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _colon(note: str) -> str:
    note = clean_text(note).strip()
    return f": {note}" if note else ""
