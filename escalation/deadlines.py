"""Deadlines of an incident that somebody has: it is forgotten, it is not contained in time, it is put off or handed over.

A timer of these carries the incident's fence, so one that was set for an older state does nothing. Seven days after its
beginning nothing pages again for an incident that somebody has (incidents.rules.HORIZON): the timeline says so, and it
stands on the list of what is open for long. One that nobody has answered pages on whatever its age.
"""

from datetime import datetime, timedelta

from accounts.models import Team, User
from accounts.permissions import at_least
from core.words import duration
from escalation import engine, rules
from escalation.models import Run, TargetKind
from escalation.rules import CONTAINMENT_MISSED, Cause
from escalation.rules.hours import windows_of
from incidents import timeline
from incidents.models import WHOLE_INCIDENT, Incident, Kind, OfferStatus, Status, TimelineEntry
from incidents.roles import transitions as roles
from incidents.rules import HORIZON, past_horizon
from incidents.snooze import hours
from incidents.transitions import lock_incident, topic, unacknowledge
from notifications.models import Urgency
from notifications.transitions import notify
from oncall.rules import Window
from timers import registry
from timers.models import Timer
from timers.transitions import cancel_timer, set_timer

ACK_TIMEOUT = "escalation.ack_timeout"
CONTAINMENT = "escalation.containment"

_NO_ACTIVITY = {
    Kind.ACKNOWLEDGED,
    Kind.UNACKNOWLEDGED,
    Kind.SNOOZED,
    Kind.SNOOZE_ENDED,
    Kind.HANDED_OVER,
    Kind.REOPENED,
}
"""What has an answer of its own below; and after the end, nothing waits."""


# ---------------------------------------------------------------------------------------------------- acknowledged and forgotten


@timeline.on(Kind.ACKNOWLEDGED, Kind.HANDED_OVER, Kind.SNOOZE_ENDED)
def watch_acknowledgement(incident: Incident, entry: TimelineEntry) -> None:
    _watch_acknowledgement(incident, now=entry.at)


@timeline.on(*(kind for kind in Kind if kind not in _NO_ACTIVITY))
def push_back(incident: Incident, entry: TimelineEntry) -> None:
    """Somebody works on it, so it is not forgotten. What bots, senders and Muster do shows nothing of the kind."""
    service = incident.service
    if not service.acknowledge_timeout_minutes or not service.activity_extends_acknowledgement:
        return
    if entry.actor is not None and not entry.actor.is_bot:
        _watch_acknowledgement(incident, now=entry.at)


def _watch_acknowledgement(incident: Incident, *, now: datetime) -> None:
    minutes = incident.service.acknowledge_timeout_minutes
    if not minutes or incident.status != Status.ACKNOWLEDGED or incident.snoozed_until is not None:
        return
    if past_horizon(incident.triggered_at, now):
        return
    set_timer(
        kind=ACK_TIMEOUT, key=str(incident.pk), due_at=now + timedelta(minutes=minutes), now=now,
        fence=incident.fence, payload={"incident": incident.pk, "minutes": minutes},
    )  # fmt: skip


def forget_acknowledgement(incident: Incident) -> None:
    cancel_timer(kind=ACK_TIMEOUT, key=str(incident.pk))


def _lock(timer: Timer) -> Incident:
    return lock_incident(timer.payload["incident"])


@registry.handler(ACK_TIMEOUT, queue="timers", lock=_lock)
def acknowledgement_timed_out(timer: Timer, now: datetime, incident: Incident) -> None:
    if incident.fence != timer.fence or incident.status != Status.ACKNOWLEDGED:
        return
    reason = f"the acknowledgement ended: not contained within {timer.payload['minutes']} min"
    if past_horizon(incident.triggered_at, now):
        _only_say(incident, said=reason, of="acknowledgement", now=now)
    else:
        unacknowledge(incident_id=incident.pk, now=now, reason=reason)


def _only_say(incident: Incident, *, said: str, of: str, now: datetime) -> None:
    days = duration(HORIZON)
    timeline.record(
        incident, Kind.HORIZON, at=now, data={"of": of},
        text=f"{said}. It is open for more than {days}, so nobody is paged again; it stands on the list of those",
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- not contained in time


def begin_containment(incident: Incident, *, now: datetime) -> None:
    """The clock of the target starts, with the incident or when it is opened again."""
    if incident.contain_missed_at is not None:
        incident.contain_missed_at = None
        incident.save(update_fields=["contain_missed_at"])
    _watch_containment(incident, began=now, now=now)


@timeline.on(
    Kind.ACKNOWLEDGED,
    Kind.UNACKNOWLEDGED,
    Kind.SNOOZED,
    Kind.SNOOZE_ENDED,
    Kind.HANDED_OVER,
    Kind.SEVERITY_CHANGED,
)
def follow_containment(incident: Incident, entry: TimelineEntry) -> None:
    """The state has another fence, or the severity another target."""
    if incident.contain_by is not None or entry.kind == Kind.SEVERITY_CHANGED:
        _watch_containment(incident, began=incident.contain_from or incident.triggered_at, now=entry.at)


def _watch_containment(incident: Incident, *, began: datetime, now: datetime) -> None:
    run = engine.own_run(incident)
    cell = rules.matrix_cell(run.snapshot, incident.severity) if run is not None else {}
    minutes = cell.get("containment_minutes")
    contain_by = began + timedelta(minutes=minutes) if minutes else None
    if contain_by != incident.contain_by:
        incident.contain_by, incident.contain_from = contain_by, began if contain_by else None
        incident.save(update_fields=["contain_by", "contain_from"])
    over = incident.contained_at is not None or incident.contain_missed_at is not None
    if contain_by is None or over or not incident.is_open:
        cancel_timer(kind=CONTAINMENT, key=str(incident.pk))
        return
    due_at = max(now, contain_by, incident.snoozed_until or contain_by)
    set_timer(
        kind=CONTAINMENT, key=str(incident.pk), due_at=due_at, now=now, fence=incident.fence,
        payload={"incident": incident.pk},
    )  # fmt: skip


def forget_containment(incident: Incident) -> None:
    if incident.contain_by is not None:
        cancel_timer(kind=CONTAINMENT, key=str(incident.pk))


@registry.handler(CONTAINMENT, queue="timers", lock=_lock)
def not_contained_in_time(timer: Timer, now: datetime, incident: Incident) -> None:
    if incident.fence != timer.fence or incident.status not in (Status.TRIGGERED, Status.ACKNOWLEDGED):
        return
    if incident.contain_by is None or incident.contain_missed_at is not None:
        return
    took = duration(incident.contain_by - (incident.contain_from or incident.triggered_at))
    said = f"it is not contained within {took}"
    incident.contain_missed_at = now
    incident.save(update_fields=["contain_missed_at"])
    holder = incident.acknowledged_by if incident.status == Status.ACKNOWLEDGED else None
    if holder is not None and past_horizon(incident.triggered_at, now):
        _only_say(incident, said=said, of="containment", now=now)
        return
    told = f". {holder} is told, and the next tier is paged" if holder is not None else ""
    timeline.record(
        incident, Kind.CONTAINMENT_MISSED, at=now, text=f"{said}{told}",
        data={"contain_by": incident.contain_by.isoformat(), "told": [holder.pk] if holder else []},
    )  # fmt: skip
    early = engine.enter_early(incident, Cause(CONTAINMENT_MISSED), now=now)
    if not early and incident.status == Status.ACKNOWLEDGED:
        _page_above(incident, now=now)
    if holder is not None:
        _tell_holder(incident, holder, took=took, now=now)


def _page_above(incident: Incident, *, now: datetime) -> None:
    """The tier above the one that answered; with the last one, that one again, as there is nobody higher."""
    run = engine.own_run(incident)
    tiers = run.snapshot["tiers"] if run is not None else []
    if run is None or not tiers:
        return
    answered = answered_level(incident)
    reached = rules.index_of_level(run.snapshot, answered) if answered is not None else run.index
    index = min((run.index if reached is None else reached) + 1, len(tiers) - 1)
    engine.jump(
        incident, run, index=max(index, 0), now=now, why=Cause(CONTAINMENT_MISSED).words, by=None, again=True
    )


def answered_level(incident: Incident) -> int | None:
    """The tier whose person acknowledged last. None: nobody's, or one who was not paged by a tier."""
    given = incident.timeline.filter(kind=Kind.ACKNOWLEDGED).order_by("-seq").first()
    return given.data.get("tier") if given else None


def _tell_holder(incident: Incident, holder: User, *, took: str, now: datetime) -> None:
    drill = "DRILL " if incident.is_drill else ""
    notify(
        recipient=holder, dedupe_key=f"containment:{incident.pk}:{incident.contain_by.isoformat()}",
        topic=topic(incident), urgency=Urgency.HIGH,
        title=f"{drill}{incident.ref}: not contained within {took}"[:300],
        body=f"{incident.title}\nYou have it. More people are paged now. Mark it contained once the damage no longer grows.",
        link=f"/incidents/{incident.ref}/", now=now,
        context={"ref": incident.ref, "kind": "containment", "drill": incident.is_drill},
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- put off


@timeline.on(Kind.SNOOZED)
def stop_for_snooze(incident: Incident, entry: TimelineEntry) -> None:
    """Nothing of it pages until the end, and that replaces the time of the acknowledgement."""
    engine.stop(incident, now=entry.at)
    forget_acknowledgement(incident)


@hours.told_by
def working_hours(incident: Incident) -> hours.Hours | None:
    """Those of the policy that the incident runs by, with its zone, else that of its first schedule."""
    run = engine.own_run(incident)
    windows: tuple[Window, ...] = windows_of(run.snapshot) if run is not None else ()
    if run is None or not windows:
        return None
    zones = [
        target["zone"]
        for tier in run.snapshot["tiers"]
        for target in tier["targets"]
        if target["kind"] in (TargetKind.SCHEDULE, TargetKind.SCHEDULE_NEXT)
    ]
    return windows, run.snapshot.get("time_zone") or next(iter(zones), "")


# ---------------------------------------------------------------------------------------------------- handed to a team


@timeline.on(Kind.ROLE_OFFERED)
def call_the_team(incident: Incident, entry: TimelineEntry) -> None:
    """Its policy pages beside the own one, which goes on until they have it."""
    team = _team_of(entry)
    if team is None:
        return
    origin = f"team:{team.pk}"
    if any(run.origin == origin for run in engine.active_runs(incident)):
        return  # called in before: whoever of it answers now has it
    known = entry.data.get("known") or ""
    reason = f"take the incident over{f'. Known: {known}' if known else ''}"
    engine.start_team(incident, team, by=entry.actor, reason=reason[:300], now=entry.at)


@timeline.on(Kind.ROLE_DECLINED)
def call_the_team_off(incident: Incident, entry: TimelineEntry) -> None:
    team = _team_of(entry)
    if team is not None:
        engine.end_runs(incident, origins=[f"team:{team.pk}"], now=entry.at)


@timeline.on(Kind.HANDED_OVER)
def the_team_has_it(incident: Incident, entry: TimelineEntry) -> None:
    team = _team_of(entry)
    if team is not None:
        engine.end_runs(incident, origins=["own", f"team:{team.pk}"], now=entry.at)


def _team_of(entry: TimelineEntry) -> Team | None:
    pk = entry.data.get("team") if entry.data.get("role") == WHOLE_INCIDENT else None
    return Team.objects.filter(pk=pk).first() if isinstance(pk, int) else None


@timeline.on(Kind.ACKNOWLEDGED, Kind.ALSO_ACKNOWLEDGED)
def an_answer_of_the_team_accepts(incident: Incident, entry: TimelineEntry) -> None:
    """Whoever answers for the team that is asked to take the incident has it with that."""
    offers = incident.offers.filter(role=WHOLE_INCIDENT, status=OfferStatus.OPEN, to_team__isnull=False)
    offer = offers.select_related("to_team", "from_user", "by").first()
    if offer is None or entry.actor is None or not at_least(entry.actor, "responder"):
        return
    run = Run.objects.filter(incident=incident, origin=f"team:{offer.to_team_id}").first()
    if run is not None and engine.answers_for(run, entry.actor) and offer.from_user_id != entry.actor_id:
        roles.accept_held(incident, offer, by=entry.actor, now=entry.at)
