"""Everything that changes a bridge or a message of one.

A message is sent between two transactions, like a delivery: `claim` says which entries this attempt tells and arms the
timer again as a lease, the network is used after the commit (`sending.py`), `record` writes the result. All of it
holds the incident's lock, under which entries are made, so that none is left without a timer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urljoin

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from accounts.models import digest
from catalog.models import Service
from core.errors import Invalid, Missing
from incidents import presenters
from incidents.models import Incident, Kind, TimelineEntry
from incidents.transitions import lock_incident
from integrations.bridge import queries, rules
from integrations.models import BridgeInbound, BridgeMessage, ChatBridge, Integration, MessageStatus
from notifications import chat
from timers.models import Timer
from timers.transitions import cancel_timer, set_timer

SEND = "bridge.send"
TRY = "bridge.try"

TALK = {Kind.NOTE, Kind.DECISION, Kind.AMENDED}
BANNER = {
    Kind.TRIGGERED, Kind.ACKNOWLEDGED, Kind.UNACKNOWLEDGED, Kind.CONTAINED, Kind.RESOLVED, Kind.REOPENED,
    Kind.SEVERITY_CHANGED, Kind.IMPACT_CHANGED, Kind.ROLE_ASSIGNED, Kind.UPDATE_POSTED,
}  # fmt: skip

KEEP_INBOUND = timedelta(days=1)
KEEP_MESSAGES = timedelta(days=30)
PRUNE_BATCH = 5000


# --- bridges ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Secrets:
    """Shown once, when they are made."""

    key: str
    signing_secret: str


@transaction.atomic
def create_bridge(
    *, name: str, address: str, service: Service | None, min_severity: int, mirrors_banner: bool, mirrors_talk: bool,
) -> tuple[ChatBridge, Secrets]:  # fmt: skip
    """The bridge, and what the chat needs to answer. Raises Invalid with the field."""
    where = chat.read(address)
    key, secret = Integration.new_key(), ChatBridge.new_secret()
    bridge = ChatBridge.objects.create(
        name=_name(name), apprise_url=where.url, shown_as=where.shown_as[:200], service=service,
        min_severity=min_severity, mirrors_banner=mirrors_banner, mirrors_talk=mirrors_talk, key_digest=digest(key),
        key_hint=key[-4:], signing_secret=secret,
    )  # fmt: skip
    return bridge, Secrets(key, secret)


@transaction.atomic
def change_bridge(
    *, bridge_id: int, name: str, address: str, service: Service | None, min_severity: int, mirrors_banner: bool,
    mirrors_talk: bool,
) -> ChatBridge:  # fmt: skip
    """An empty address keeps the one it has, which nobody can read again."""
    bridge = _lock(bridge_id)
    if address.strip():
        where = chat.read(address)
        bridge.apprise_url, bridge.shown_as = where.url, where.shown_as[:200]
    bridge.name, bridge.service, bridge.min_severity = _name(name), service, min_severity
    bridge.mirrors_banner, bridge.mirrors_talk = mirrors_banner, mirrors_talk
    bridge.save(
        update_fields=[
            "apprise_url", "shown_as", "name", "service", "min_severity", "mirrors_banner", "mirrors_talk",
        ]
    )  # fmt: skip
    return bridge


def _name(name: str) -> str:
    name = name.strip()
    if not name:
        raise Invalid("A bridge needs a name.", fields={"name": ["Give it a name."]})
    return name[:120]


@transaction.atomic
def rotate_secrets(*, bridge_id: int) -> tuple[ChatBridge, Secrets]:
    """A new key and a new secret; requests with the old ones are refused from now on."""
    bridge = _lock(bridge_id)
    key, secret = Integration.new_key(), ChatBridge.new_secret()
    bridge.key_digest, bridge.key_hint, bridge.signing_secret = digest(key), key[-4:], secret
    bridge.save(update_fields=["key_digest", "key_hint", "signing_secret"])
    return bridge, Secrets(key, secret)


@transaction.atomic
def disable(*, bridge_id: int, now: datetime) -> ChatBridge:
    """Nothing goes out or comes in any more, also not what waits. Again changes nothing."""
    bridge = _lock(bridge_id)
    if bridge.disabled_at is None:
        bridge.disabled_at = now
        bridge.save(update_fields=["disabled_at"])
    return bridge


@transaction.atomic
def enable(*, bridge_id: int) -> ChatBridge:
    bridge = _lock(bridge_id)
    if bridge.disabled_at is not None:
        bridge.disabled_at = None
        bridge.save(update_fields=["disabled_at"])
    return bridge


@transaction.atomic
def try_out(*, bridge_id: int, now: datetime) -> ChatBridge:
    """Send a line that says it is a test. The result stands with the bridge."""
    bridge = _lock(bridge_id)
    set_timer(kind=TRY, key=str(bridge.pk), due_at=now, now=now, payload={"bridge": bridge.pk})
    return bridge


def _lock(bridge_id: int) -> ChatBridge:
    found = ChatBridge.objects.select_for_update(of=("self",), no_key=True).filter(pk=bridge_id).first()
    if found is None:
        raise Missing("There is no such bridge.")
    return found


# --- out --------------------------------------------------------------------------------------------------------


def mirror(incident: Incident, entry: TimelineEntry) -> None:
    """Put the entry on its way to each chat that follows the incident. The caller holds the incident's lock."""
    for bridge in queries.bridges_of(incident):
        wanted = bridge.mirrors_talk if entry.kind in TALK else bridge.mirrors_banner
        if not wanted or (entry.kind == Kind.NOTE and entry.data.get("via") == bridge.via):
            continue
        BridgeMessage.objects.create(bridge=bridge, incident=incident, seq=entry.seq, created_at=entry.at)
        # One that is set already takes this entry along; one that waits because the chat is away keeps waiting.
        if not Timer.objects.filter(kind=SEND, key=_key(bridge.pk, incident.pk)).exists():
            _arm(bridge.pk, incident.pk, due_at=entry.at + rules.GATHER, now=entry.at)


def _key(bridge_id: int, incident_id: int) -> str:
    return f"{bridge_id}:{incident_id}"


def _arm(bridge_id: int, incident_id: int, *, due_at: datetime, now: datetime) -> None:
    payload = {"bridge": bridge_id, "incident": incident_id}
    set_timer(kind=SEND, key=_key(bridge_id, incident_id), due_at=due_at, now=now, payload=payload)


@dataclass(frozen=True)
class Claimed:
    """One attempt: all that the network part needs."""

    bridge_id: int
    incident_id: int | None
    """None: a test."""
    seqs: tuple[int, ...]
    number: int
    url: str
    title: str
    body: str
    at: datetime


@transaction.atomic
def claim(*, bridge_id: int, incident: Incident, now: datetime) -> Claimed | None:
    """What waits for this chat, as one message. None: nothing, or the bridge is disabled. Holds the incident's lock."""
    rows = list(queries.waiting(bridge_id, incident.pk)[: rules.BATCH])
    if not rows:
        return None
    bridge = ChatBridge.objects.get(pk=bridge_id)
    if bridge.disabled_at is not None:
        queries.waiting(bridge_id, incident.pk).update(status=MessageStatus.DROPPED)
        return None
    lines = [
        rules.Line(entry.seq, entry.at, entry.actor_name, _words(entry))
        for entry in queries.entries(incident.pk, [row.seq for row in rows])
    ]
    link = urljoin(f"{settings.MUSTER_BASE_URL}/", reverse("incidents:detail", args=[incident.pk]))
    seqs, body = rules.taken(lines, link=link)
    number = rows[0].attempts + 1
    queries.waiting(bridge_id, incident.pk).filter(seq__in=seqs).update(attempts=number)
    _arm(bridge_id, incident.pk, due_at=now + rules.LEASE, now=now)
    return Claimed(
        bridge_id=bridge_id, incident_id=incident.pk, seqs=tuple(seqs), number=number, url=bridge.apprise_url,
        title=_title(incident), body=body, at=now,
    )  # fmt: skip


def _words(entry: TimelineEntry) -> str:
    return f"amended: {entry.text}" if entry.kind == Kind.AMENDED else entry.text


def _title(incident: Incident) -> str:
    state = presenters.state(incident).words
    if incident.commander is not None:
        state = f"{state}, {incident.commander} commands"
    return rules.title(
        ref=incident.ref,
        severity=incident.severity,
        name=incident.title,
        state=state,
        is_drill=incident.is_drill,
    )


def claim_test(*, bridge_id: int, now: datetime) -> Claimed | None:
    bridge = ChatBridge.objects.filter(pk=bridge_id, disabled_at=None).first()
    if bridge is None:
        return None
    link = urljoin(f"{settings.MUSTER_BASE_URL}/", reverse("integrations:bridge", args=[bridge.pk]))
    return Claimed(
        bridge_id=bridge.pk, incident_id=None, seqs=(), number=1, url=bridge.apprise_url, title="Muster reaches this chat",
        body=f"This is a test. Incidents are told here from now on.\n{link}", at=now,
    )  # fmt: skip


@transaction.atomic
def record(*, claimed: Claimed, error: str, now: datetime) -> None:
    """The attempt's result. `error` empty: the chat took it. What it did not take is tried again for a day."""
    incident = None if claimed.incident_id is None else lock_incident(claimed.incident_id)
    went_well = {} if error else {"last_sent_at": now}
    ChatBridge.objects.filter(pk=claimed.bridge_id).update(last_error=error[:300], **went_well)
    if incident is None:
        return
    left = queries.waiting(claimed.bridge_id, incident.pk)
    mine = left.filter(seq__in=claimed.seqs, attempts=claimed.number)
    if not error:
        mine.update(status=MessageStatus.SENT, sent_at=now, last_error="")
    else:
        mine.update(last_error=error[:300])
        left.filter(created_at__lt=now - rules.GIVE_UP).update(status=MessageStatus.FAILED)
    if not left.exists():
        cancel_timer(kind=SEND, key=_key(claimed.bridge_id, incident.pk))
        return
    wait = rules.again_after(claimed.number) if error else rules.GATHER
    _arm(claimed.bridge_id, incident.pk, due_at=now + wait, now=now)


# --- in ---------------------------------------------------------------------------------------------------------


def note_inbound(*, bridge: ChatBridge, external_id: str, now: datetime) -> bool:
    """False: this request was carried out before. Part of the caller's transaction, so a refused one is not kept."""
    _, is_new = BridgeInbound.objects.get_or_create(
        bridge=bridge, external_id=external_id, defaults={"received_at": now}
    )
    return is_new


def prune(*, now: datetime) -> int:
    """Forget ids that are too old to come again, and what was told long ago."""
    gone = 0
    for rows in (
        BridgeInbound.objects.filter(received_at__lt=now - KEEP_INBOUND),
        BridgeMessage.objects.filter(created_at__lt=now - KEEP_MESSAGES).exclude(
            status=MessageStatus.WAITING
        ),
    ):
        old = list(rows.values_list("pk", flat=True)[:PRUNE_BATCH])
        if old:
            gone += rows.model.objects.filter(pk__in=old).delete()[0]
    return gone
