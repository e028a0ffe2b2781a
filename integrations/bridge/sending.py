"""Between the two transactions of a message: the network."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
from django.db import connection

from integrations.bridge import chat, transitions
from integrations.bridge.transitions import Claimed
from timers.registry import fired_by

log = structlog.get_logger(__name__)

_pool: ThreadPoolExecutor | None = None


def dispatch(claimed: Claimed) -> None:
    """In the worker that claimed it; but the timekeeper has deadlines to meet while a chat thinks."""
    global _pool
    if fired_by.get() != "timekeeper":
        hand_over(claimed)
        return
    if _pool is None:
        _pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bridge")
    _pool.submit(_in_thread, claimed)


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


def _in_thread(claimed: Claimed) -> None:
    try:
        hand_over(claimed)
    except Exception:
        log.exception("bridge_result_not_recorded", bridge=claimed.bridge_id)
    finally:
        connection.close()
