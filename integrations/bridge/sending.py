"""Between the two transactions of a message: the network."""

import time
from datetime import timedelta

import structlog

from integrations.bridge import transitions
from integrations.bridge.transitions import Claimed
from notifications import chat
from timers import network

log = structlog.get_logger(__name__)


def dispatch(claimed: Claimed) -> None:
    network.run(lambda: hand_over(claimed), lane="bridge", threads=2)


def hand_over(claimed: Claimed) -> None:
    """Send what was claimed, and record the result. If that cannot be recorded, the lease brings the next attempt."""
    began = time.monotonic()
    try:
        chat.send(url=claimed.url, title=claimed.title, body=claimed.body)
        error = ""
    except chat.ChatError as refusal:
        error = str(refusal)
    except Exception as fault:  # one of ours, or of a plugin: tried again, and seen in the log
        log.exception("chat_failed", bridge=claimed.bridge_id)
        error = f"Fault in the bridge: {type(fault).__name__}"
    now = claimed.at + timedelta(seconds=time.monotonic() - began)
    transitions.record(claimed=claimed, error=error, now=now)
    log.info(
        "bridge_attempt", bridge=claimed.bridge_id, incident=claimed.incident_id, entries=len(claimed.seqs),
        attempt=claimed.number, error=error,
    )  # fmt: skip
