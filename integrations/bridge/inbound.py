"""What people write in the chat: words go into the room, `acknowledge` and commands act as the person who wrote them.

The chat's word for who wrote it is taken, because the request is signed; that it comes from the chat is all that the
signature says.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.models import User
from accounts.permissions import at_least, who_may
from core.errors import Invalid, Missing, NotAllowed
from incidents import queries as incidents
from incidents.channel import commands
from incidents.channel.transitions import say
from incidents.models import Incident
from incidents.transitions import acknowledge
from integrations.bridge import queries, rules, transitions
from integrations.models import ChatBridge

ACKNOWLEDGE = {"ack", "acknowledge"}


@dataclass(frozen=True)
class Request:
    id: str
    incident: int
    user: str
    text: str


@dataclass(frozen=True)
class Answer:
    """`done`, `said` or `repeated`, and a sentence that the chat may show."""

    status: str
    ref: str
    message: str


def read(body: dict[str, object]) -> Request:
    """Raises Invalid with every field that is wrong."""
    fields: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for name, longest in (("id", 200), ("incident", 30), ("user", 120), ("text", 20_000)):
        value = body.get(name)
        if name == "incident" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            fields[name] = ["A text is needed."]
        elif len(value) > longest:
            fields[name] = [f"At most {longest:,} characters."]
        else:
            # A blank before a "/" makes a command into text.
            given[name] = value if name == "text" else value.strip()
    number = rules.incident_number(given.get("incident", ""))
    if number is None and "incident" not in fields:
        fields["incident"] = ["As INC-42 or 42."]
    if fields or number is None:
        raise Invalid("The request was not carried out.", fields=fields)
    return Request(given["id"], number, given["user"], given["text"])


@transaction.atomic
def carry_out(*, bridge: ChatBridge, request: Request, now: datetime) -> Answer:
    """Do what was written, once for each id. Raises what the transitions raise; then nothing has happened."""
    incident = incidents.incident(request.incident)
    if incident is None or bridge.service_id not in (None, incident.service_id):
        raise Missing(f"This chat follows no incident INC-{request.incident}.")
    if not transitions.note_inbound(bridge=bridge, external_id=request.id, now=now):
        return Answer("repeated", incident.ref, "This was carried out before.")
    person = queries.person(request.user)
    if person is not None and not at_least(person, "responder"):
        person = None
    if request.text.strip().lower().rstrip(".!") in ACKNOWLEDGE:
        by = _responder(person, request.user)
        after = acknowledge(incident_id=incident.pk, by=by, now=now, via="chat")
        return Answer("done", after.ref, _who_has_it(after, by))
    if commands.read(request.text) is not None:
        by = _responder(person, request.user)
        commands.run(incident=incident, text=request.text, by=by, now=now)
        return Answer("done", incident.ref, "Done.")
    name = "" if person else f"{request.user} (chat)"
    say(incident_id=incident.pk, text=request.text, by=person, by_name=name, now=now, via=bridge.via)
    return Answer("said", incident.ref, "It stands in the room.")


def _responder(person: User | None, name: str) -> User:
    if person is None:
        raise NotAllowed(
            f"{name} is no responder here, so the incident was not touched. {who_may('responder')} Muster knows "
            "people by their user name or e-mail address."
        )
    return person


def _who_has_it(incident: Incident, by: User) -> str:
    holder = incident.acknowledged_by
    if holder is not None and holder.pk != by.pk:
        return f"{holder} has it already. It is noted that {by} answered too."
    return f"{by} has it. Nobody else is paged."
