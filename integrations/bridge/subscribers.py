"""What happens in an incident goes to the chats that follow it, a moment later and in order."""

from datetime import datetime

from django.db import transaction

from incidents import timeline
from incidents.models import Incident
from incidents.transitions import lock_incident
from integrations.bridge import sending, transitions
from timers.models import Timer
from timers.registry import handler

timeline.on(*sorted(transitions.BANNER | transitions.TALK))(transitions.mirror)


@handler(transitions.SEND, queue="deliver", lock=lambda timer: lock_incident(timer.payload["incident"]))
def send(timer: Timer, now: datetime, incident: Incident) -> None:
    claimed = transitions.claim(bridge_id=timer.payload["bridge"], incident=incident, now=now)
    if claimed is not None:
        transaction.on_commit(lambda: sending.dispatch(claimed))


@handler(transitions.TRY, queue="deliver")
def try_out(timer: Timer, now: datetime) -> None:
    claimed = transitions.claim_test(bridge_id=timer.payload["bridge"], now=now)
    if claimed is not None:
        transaction.on_commit(lambda: sending.dispatch(claimed))
