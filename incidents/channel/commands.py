"""Commands of the composer: each calls the transition that a button calls, so both do the same and are refused alike.

A module above this one registers its own with `register`, as escalation does with /escalate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.db import transaction
from django.urls import NoReverseMatch, reverse

from accounts.models import Team, User
from core.errors import Invalid
from incidents import asks, transitions
from incidents.channel import queries, rules
from incidents.channel.transitions import decide, mark, say
from incidents.models import WHOLE_INCIDENT, Incident, RoomRole
from incidents.roles.transitions import call_expert, hand_over, offer_role
from incidents.todo.transitions import add_task, claim
from incidents.updates.transitions import post_update


class Run(Protocol):
    def __call__(self, *, incident: Incident, rest: str, by: User, now: datetime) -> None: ...


def _always(incident: Incident) -> bool:
    return True


def _while_open(incident: Incident) -> bool:
    return incident.is_open


@dataclass(frozen=True)
class Command:
    """`opens`: URL name of the page that asks what is missing, for a command without words."""

    name: str
    usage: str
    help: str
    run: Run
    aliases: tuple[str, ...] = ()
    opens: str = ""
    offered: Callable[[Incident], bool] = _always

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    def question(self, incident: Incident) -> str:
        """Address of the page that asks what is missing. Empty: there is none."""
        try:
            return reverse(self.opens, args=[incident.pk]) if self.opens else ""
        except NoReverseMatch:
            return ""


_commands: dict[str, Command] = {}


def register(
    name: str, usage: str, help: str, run: Run, *, aliases: tuple[str, ...] = (), opens: str = "",
    offered: Callable[[Incident], bool] = _always,
) -> None:  # fmt: skip
    _commands[name] = Command(name, usage, help, run, aliases, opens, offered)


def offered(incident: Incident) -> list[Command]:
    """What makes sense now, in the order of registration. The transitions decide again, under the lock."""
    return [command for command in _commands.values() if command.offered(incident)]


def listed(incident: Incident) -> dict[str, object]:
    """Context of incidents/_commands.html."""
    return {"commands": [(command, command.question(incident)) for command in offered(incident)]}


def read(text: str) -> tuple[Command, str] | None:
    """The command and the words after it. None: `text` is a message. Raises Invalid for an unknown command."""
    by_name = {name: command for command in _commands.values() for name in command.names}
    typed = rules.parse_command(transitions.clean_text(text), known=by_name.keys())
    return (by_name[typed.name], typed.rest) if typed else None


def run(*, incident: Incident, text: str, by: User, now: datetime) -> bool:
    """Do what `text` commands. False: it is a message. Raises what the transition raises."""
    found = read(text)
    if found is None:
        return False
    command, rest = found
    command.run(incident=incident, rest=rest, by=by, now=now)
    return True


# --- reading what was typed -------------------------------------------------------------------------------------


def usage_error(sentence: str, usage: str) -> Invalid:
    text = f"{sentence} Type {usage}"
    return Invalid(text, code="usage", fields={"text": [text]})


def person(text: str, *, usage: str) -> tuple[User, str]:
    """Whom the first words name, by username or by a name that only one person has, and the words after."""
    word, rest = rules.split_person(text)
    if not word:
        raise usage_error("Say whom.", usage)
    found = queries.people_named([word.lower()]) or queries.people_matching(word, limit=4)
    if len(found) != 1:
        near = f" Several are: {', '.join(f'@{one.username}' for one in found)}." if found else ""
        raise usage_error(f"Nobody has the user name {rules.excerpt(word, 40)}.{near}", usage)
    following, others = rules.first_word(rest)
    said_in_full = not text.startswith("@") and following.lower() in str(found[0]).lower().split()
    return found[0], others if said_in_full else rest


def _verb_offered(verb: str) -> Callable[[Incident], bool]:
    return lambda incident: asks.is_offered(verb, incident)


# --- what the buttons of the banner do --------------------------------------------------------------------------

SEV, PAGE = "/sev 1 why", "/page @who what for"


def _severity(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    word, reason = rules.first_word(rest)
    severity = rules.severity_number(word)
    if severity is None:
        raise usage_error("Say which severity, 1 to 4.", SEV)
    transitions.set_severity(incident_id=incident.pk, severity=severity, by=by, reason=reason, now=now)


def _page(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    user, reason = person(rest, usage=PAGE)
    transitions.page_person(incident_id=incident.pk, user=user, by=by, reason=reason, now=now)


def _impact(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    if not rest:
        raise usage_error("Say who is hurt and how much.", "/impact 38% of checkouts fail")
    transitions.set_impact(incident_id=incident.pk, impact=rest, by=by, now=now)


@transaction.atomic
def _acknowledge(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    transitions.acknowledge(incident_id=incident.pk, by=by, now=now)
    if rest:
        say(incident_id=incident.pk, text=rest, by=by, now=now)


def _contain(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    transitions.contain(incident_id=incident.pk, by=by, note=rest, now=now)


def _resolve(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    transitions.resolve(incident_id=incident.pk, by=by, note=rest, now=now)


def _reopen(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    transitions.reopen(incident_id=incident.pk, by=by, reason=rest, now=now)


def _command(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    transitions.assign_commander(incident_id=incident.pk, user=by, by=by, now=now)


# --- what is said -----------------------------------------------------------------------------------------------


def _decide(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    decide(incident_id=incident.pk, text=rest, by=by, now=now)


@transaction.atomic
def _pin(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    """/pin 17 pins an entry, /pin with words says them and pins that."""
    if not rest:
        raise usage_error("Say what is known.", "/pin what we know")
    number = rest.removeprefix("#")
    seq = int(number) if number.isdecimal() and len(number) < 9 else None
    if seq is None:
        seq = say(incident_id=incident.pk, text=rest, by=by, now=now).seq
    mark(incident_id=incident.pk, seq=seq, mark="pin", on=True, by=by, now=now)


# --- roles, tasks, updates --------------------------------------------------------------------------------------

ROLE, HANDOFF = "/role commander @who", "/handoff commander @who what is known"
HANDOVER = "/handoff incident @who what is known"
EXPERT, TASK, CLAIM = "/expert network why", "/task what is to do @who", "/claim 3"
_ROLES = {
    "commander": RoomRole.COMMANDER, "ic": RoomRole.COMMANDER, "deputy": RoomRole.DEPUTY, "scribe": RoomRole.SCRIBE,
    "communications": RoomRole.COMMUNICATIONS, "comms": RoomRole.COMMUNICATIONS, "expert": RoomRole.EXPERT,
}  # fmt: skip


def _role_named(rest: str, *, usage: str) -> tuple[str, str, str]:
    """(role, field of an expert, the words after)."""
    word, rest = rules.first_word(rest)
    role = _ROLES.get(word.lower())
    if role is None:
        raise usage_error("Say which role: commander, deputy, scribe, communications or expert.", usage)
    field = ""
    if role == RoomRole.EXPERT:
        field, rest = rules.first_word(rest)
    return role, field, rest


def _role(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    """Oneself at once; another is asked. `nobody` takes it away."""
    role, field, rest = _role_named(rest, usage=ROLE)
    given = {"incident_id": incident.pk, "role": role, "field": field, "by": by, "now": now}
    if rest.lower() in {"nobody", "-"}:
        transitions.assign_role(user=None, **given)
        return
    user, _ = person(rest, usage=ROLE)
    if user == by:
        transitions.assign_role(user=user, **given)
    else:
        offer_role(to=user, **given)


def _hand_over(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    """incident @who what is known, or incident team network what is known."""
    word, after = rules.first_word(rest)
    if word.lower() == "team":
        slug, known = rules.first_word(after)
        team = Team.objects.filter(slug=slug.lower()).first()
        if team is None:
            raise usage_error(f"There is no team {rules.excerpt(slug, 40)}.", HANDOVER)
        hand_over(incident_id=incident.pk, team=team, by=by, now=now, known=known)
        return
    user, known = person(rest, usage=HANDOVER)
    hand_over(incident_id=incident.pk, to=user, by=by, now=now, known=known)


def _handoff(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    word, after = rules.first_word(rest)
    if word.lower() == WHOLE_INCIDENT:
        _hand_over(incident=incident, rest=after, by=by, now=now)
        return
    role, field, rest = _role_named(rest, usage=HANDOFF)
    user, known = person(rest, usage=HANDOFF)
    offer_role(incident_id=incident.pk, role=role, field=field, to=user, by=by, now=now, known=known)


def _expert(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    field, reason = rules.first_word(rest)
    if not field:
        raise usage_error("Say which field.", EXPERT)
    call_expert(incident_id=incident.pk, field=field, by=by, now=now, reason=reason)


def _task(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    title, _, last = rest.rpartition(" ")
    assignee = None
    if last.startswith("@") and title:
        assignee, _ = person(last, usage=TASK)
        rest = title
    add_task(incident_id=incident.pk, title=rest, by=by, now=now, assignee=assignee)


def _claim(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    number = rest.removeprefix("#")
    if not (number.isdecimal() and number.isascii() and len(number) < 6):
        raise usage_error("Say which task, by its number.", CLAIM)
    claim(incident_id=incident.pk, number=int(number), by=by, now=now)


def _update(*, incident: Incident, rest: str, by: User, now: datetime) -> None:
    """The impact as the banner has it, the words as what is done, the next one by the cadence."""
    if not rest:
        raise usage_error("Say what is done.", "/update what is done about it")
    if not incident.impact:
        raise usage_error("Say who is hurt first.", "/impact who is hurt and how much")
    post_update(
        incident_id=incident.pk, impact=incident.impact, action=rest, next_minutes=None, by=by, now=now
    )


register(
    "ack", "/ack", "It is yours, paging stops", _acknowledge,
    aliases=("acknowledge",), opens="incidents:acknowledge", offered=_verb_offered("acknowledge"),
)  # fmt: skip
register("page", PAGE, "Page one person now", _page, opens="incidents:page", offered=_while_open)
register("decide", "/decide what", "Record a decision, framed", _decide, opens="incidents:decide")
register("pin", "/pin what we know", "Say it and pin it above the feed", _pin)
register(
    "impact", "/impact who is hurt and how much", "Say who is hurt", _impact,
    opens="incidents:impact", offered=_verb_offered("impact"),
)  # fmt: skip
register(
    "sev", SEV, "Change the severity", _severity,
    aliases=("severity",), opens="incidents:severity", offered=_while_open,
)  # fmt: skip
register(
    "command", "/command", "Take command", _command,
    opens="incidents:command", offered=_verb_offered("command"),
)  # fmt: skip
register("update", "/update what is done about it", "Tell stakeholders", _update, opens="incidents:update")
register("role", ROLE, "Give a role", _role, aliases=("assign",), opens="incidents:role", offered=_while_open)
register("handoff", HANDOFF, "Hand a role on", _handoff, opens="incidents:handoff", offered=_while_open)
register("expert", EXPERT, "Call in an expert", _expert, opens="incidents:call_expert", offered=_while_open)
register("task", TASK, "Add a task", _task, opens="incidents:task_new")
register("claim", CLAIM, "Take a task", _claim)
register(
    "contain", "/contain what contained it", "The damage no longer grows", _contain,
    opens="incidents:contain", offered=_verb_offered("contain"),
)  # fmt: skip
register(
    "resolve", "/resolve what fixed it", "It is over", _resolve,
    opens="incidents:resolve", offered=_verb_offered("resolve"),
)  # fmt: skip
register(
    "reopen", "/reopen why", "It is not over: page again", _reopen,
    opens="incidents:reopen", offered=_verb_offered("reopen"),
)  # fmt: skip
