"""The questions that come before something happens to an incident: what happens, the way back, and a reason.

One description serves the dialog, the page for those without script, and the POST that acts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import User
from core.errors import Invalid, Missing
from incidents import queries, transitions
from incidents.grouping import queries as grouping
from incidents.grouping.forms import GUARDS
from incidents.models import Incident, RoomRole, Severity, Status


@dataclass(frozen=True)
class Fact:
    name: str
    words: str


@dataclass(frozen=True)
class Ask:
    """`reason_label` empty: no reason is asked for. `risky` paints the button as dangerous."""

    verb: str
    title: str
    button: str
    facts: list[Fact]
    leave: str = "Leave as it is"
    reason_label: str = ""
    reason_name: str = "reason"
    reason_required: bool = False
    reason_value: str = ""
    reason_long: bool = False
    seen: str | None = None
    """What the person looks at while deciding. The transition refuses when it has changed meanwhile."""
    severities: bool = False
    guards: list[tuple[int, str]] = field(default_factory=list)
    """How long repeats of what still fires may stay quiet; empty: not asked."""
    guard: int = 0
    people: list[User] = field(default_factory=list)
    risky: bool = False


def _paging_ends(incident: Incident) -> str:
    if incident.next_page_at is None:
        return "nobody else is paged"
    return (
        f"the countdown at {timezone.localtime(incident.next_page_at):%H:%M:%S} stops, nobody else is paged"
    )


def _acknowledge(incident: Incident) -> Ask:
    return Ask(
        verb="acknowledge",
        title=f"Acknowledge {incident.ref}?",
        button="Acknowledge",
        facts=[
            Fact("Happens", f"it is yours; {_paging_ends(incident)}"),
            Fact("Way back", "none; hand it on by calling somebody in"),
        ],
        leave="Not me",
    )


def _contain(incident: Incident) -> Ask:
    return Ask(
        verb="contain",
        title="Mark it contained?",
        button="Mark contained",
        facts=[
            Fact("Means", "the damage no longer grows; the cause may still be there"),
            Fact("Happens", f"the time to containment is stamped, {_paging_ends(incident)}"),
            Fact("Way back", "resolve, then reopen: it pages again from the first tier"),
        ],
        reason_label="What contained it",
        reason_name="note",
    )


def _resolve(incident: Incident) -> Ask:
    firing = queries.firing_alert_count(incident)
    facts = [
        Fact("Means", "it is over for customers"),
        Fact("Happens", f"{_paging_ends(incident)}, the running time ends"),
        Fact("Way back", "reopen; within an hour the same incident goes on"),
    ]
    if firing:
        says = "1 alert still fires" if firing == 1 else f"{firing} alerts still fire"
        facts.insert(
            0,
            Fact(
                "Mind",
                f"{says}; after the quiet time {'its' if firing == 1 else 'their'} next event opens a new incident",
            ),
        )
    return Ask(
        verb="resolve",
        title="Resolve it with alerts still firing?" if firing else "Resolve it?",
        button="Resolve",
        facts=facts,
        reason_label="What fixed it",
        reason_name="note",
        risky=bool(firing),
        guards=_guards(incident) if firing else [],
        guard=grouping.settings_of(incident.service).guard_minutes if firing else 0,
    )


def _guards(incident: Incident) -> list[tuple[int, str]]:
    own = grouping.settings_of(incident.service).guard_minutes
    return sorted({*GUARDS, *([(own, f"{own} min")] if own not in dict(GUARDS) else [])})


def _reopen(incident: Incident) -> Ask:
    return Ask(
        verb="reopen",
        title=f"Reopen {incident.ref}?",
        button="Reopen and page",
        facts=[
            Fact("Happens", "the first tier is paged at once"),
            Fact("Customers", "nothing changes for them"),
            Fact("Later", "more than an hour after the end, a new incident follows this one"),
        ],
        reason_label="Why it is not over",
        reason_required=True,
        risky=True,
    )


def _severity(incident: Incident) -> Ask:
    return Ask(
        verb="severity",
        title="Change the severity",
        button="Change severity",
        facts=[Fact("Happens", "the times to answer change with it; a SEV4 does not escalate")],
        leave=f"Keep SEV{incident.severity}",
        severities=True,
        seen=str(incident.severity),
        reason_label="Why",
    )


def _impact(incident: Incident) -> Ask:
    return Ask(
        verb="impact",
        title="Say who is hurt and how much",
        button="Save the impact",
        facts=[Fact("Read by", "everybody in the room, and by whom is paged from now on")],
        reason_label="Impact",
        reason_name="impact",
        reason_value=incident.impact,
        seen=incident.impact,
    )


def _command(incident: Incident) -> Ask:
    now_in = (
        f"{incident.commander} hands over to you without being asked"
        if incident.commander
        else "you are the first"
    )
    return Ask(
        verb="command",
        title="Take command?",
        button="Take command",
        facts=[Fact("Means", "you decide what is done and who does it"), Fact("Happens", now_in)],
        leave="Not me",
        seen=str(incident.commander_id or 0),
    )


def _people() -> QuerySet[User]:
    """Who can be called in."""
    return User.objects.filter(is_active=True, is_bot=False)


def _page(incident: Incident) -> Ask:
    return Ask(
        verb="page",
        title="Call somebody in",
        button="Page now",
        facts=[Fact("Happens", "that person is paged at once by their own rules, whatever the tier")],
        leave="Page nobody",
        people=list(_people().order_by("full_name")[:500]),
        reason_label="What you need them for",
    )


ASKS: dict[str, Callable[[Incident], Ask]] = {
    "acknowledge": _acknowledge,
    "contain": _contain,
    "resolve": _resolve,
    "reopen": _reopen,
    "severity": _severity,
    "impact": _impact,
    "command": _command,
    "page": _page,
}


def do(verb: str, *, incident_id: int, by: User, given: dict[str, str], now: datetime) -> Incident:
    """Act on the answer to an ask. Raises what the transition raises."""
    if verb == "acknowledge":
        return transitions.acknowledge(incident_id=incident_id, by=by, now=now)
    if verb == "contain":
        return transitions.contain(incident_id=incident_id, by=by, note=given.get("note", ""), now=now)
    if verb == "resolve":
        guard = given.get("guard", "")
        return transitions.resolve(
            incident_id=incident_id, by=by, note=given.get("note", ""), now=now,
            guard_minutes=min(int(guard), 1440) if guard.isascii() and guard.isdecimal() and len(guard) < 6 else 0,
        )  # fmt: skip
    if verb == "reopen":
        return transitions.reopen(incident_id=incident_id, by=by, reason=given.get("reason", ""), now=now)
    if verb == "severity":
        severity = _severity_given(given.get("severity", ""))
        seen = given.get("seen", "")
        return transitions.set_severity(
            incident_id=incident_id, severity=severity, by=by, reason=given.get("reason", ""), now=now,
            seen=int(seen) if seen in {str(value) for value in Severity.values} else None,
        )  # fmt: skip
    if verb == "impact":
        return transitions.set_impact(
            incident_id=incident_id, impact=given.get("impact", ""), by=by, now=now, seen=given.get("seen")
        )
    if verb == "command":
        seen = given.get("seen", "")
        return transitions.assign_role(
            incident_id=incident_id, role=RoomRole.COMMANDER, user=by, by=by, now=now,
            seen=int(seen) if seen.isdecimal() and len(seen) < 10 else None,
        )  # fmt: skip
    if verb == "page":
        user = _person_given(given.get("user", ""))
        return transitions.page_person(
            incident_id=incident_id, user=user, by=by, reason=given.get("reason", ""), now=now
        )
    raise Missing("There is no such action.")


def _severity_given(text: str) -> int:
    if text not in {str(value) for value in Severity.values}:
        raise Invalid("Choose one of SEV1, SEV2, SEV3, SEV4.", fields={"severity": ["Choose one."]})
    return int(text)


def _person_given(text: str) -> User:
    user = _people().filter(pk=int(text)).first() if text.isdecimal() and len(text) < 10 else None
    if user is None:
        raise Invalid("Choose whom to page.", fields={"user": ["Choose a person."]})
    return user


def done_words(verb: str, incident: Incident) -> str:
    """What a page without script says after the act."""
    return {
        "acknowledge": f"You acknowledged {incident.ref}. Nobody else is paged.",
        "contain": f"{incident.ref} is contained.",
        "resolve": f"{incident.ref} is resolved.",
        "reopen": f"{incident.ref} is open again and pages the first tier.",
        "severity": f"{incident.ref} is SEV{incident.severity}.",
        "impact": "The impact is saved.",
        "command": f"You command {incident.ref}.",
        "page": "The page is on its way.",
    }[verb]


def is_offered(verb: str, incident: Incident) -> bool:
    """Whether the act makes sense now. The transition decides again, under the lock."""
    if verb == "reopen":
        return incident.status == Status.RESOLVED
    if incident.status == Status.RESOLVED:
        return verb == "impact"
    if verb == "acknowledge":
        return incident.status == Status.TRIGGERED
    if verb == "contain":
        return incident.status in (Status.TRIGGERED, Status.ACKNOWLEDGED)
    return True
