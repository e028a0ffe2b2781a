"""From the moment an alert is sent until its first page is at the mail server: quiet, under new incidents, under duplicates.

`python -m bench.pages` starts a whole Muster of its own and a mail server that notes when each mail arrives.
"""

import asyncio
import json
import re
import sys
import threading
import time
from collections.abc import Mapping
from email import message_from_bytes
from typing import Any

from aiosmtpd.controller import Controller

from bench.common import Muster, free_port, percentile, running
from bench.ingest import load, wait_drained

DEFAULTS = {"quiet": 40, "per_second": 20, "seconds": 20}

SETUP = """
import json
from accounts.models import User, ContactMethod
from catalog.models import Service
from django.utils import timezone
from integrations.transitions import create_integration
keys = []
for n in range(40):
    person = User.objects.create(username=f"bench{n}", full_name=f"Bench {n}", email=f"bench{n}@example.org")
    ContactMethod.objects.create(user=person, kind="email", address=person.email, verified_at=timezone.now())
    service = Service.objects.create(name=f"Bench {n}", slug=f"bench-{n}", criticality=1, primary_responder=person)
    keys.append(create_integration(name=f"Bench {n}", kind="pagerduty", service=service)[1])
print(json.dumps({"keys": keys}))
"""


class Arrivals:
    """A real mail server that only notes when the mail of which alert arrived first."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        now = time.perf_counter()
        subject = str(message_from_bytes(envelope.content)["Subject"])
        found = re.search(r"alert-([\w-]+)", subject)
        if found:
            self.at.setdefault(found[1], now)
        return "250 OK"


async def _send(port: int, key: str, name: str) -> float:
    """Post one alert. When it was accepted."""
    body = json.dumps(
        {
            "routing_key": key, "event_action": "trigger", "dedup_key": name,
            "payload": {"summary": f"alert-{name}", "source": "bench", "severity": "critical"},
        }
    ).encode()  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v2/enqueue HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    head = await reader.readline()
    accepted = time.perf_counter()
    await reader.read()
    writer.close()
    if b" 202 " not in head:
        raise RuntimeError(f"not accepted: {head!r}")
    return accepted


async def _alerts(
    muster: Muster, keys: list[str], stem: str, *, count: int, per_second: float
) -> dict[str, float]:
    accepted: dict[str, float] = {}

    async def one(number: int) -> None:
        name = f"{stem}-{number}"
        accepted[name] = await _send(muster.port, keys[number % len(keys)], name)

    tasks = []
    began = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number)))
    await asyncio.gather(*tasks)
    return accepted


def _row(
    case: str, accepted: dict[str, float], arrivals: Arrivals, goal: float, share: float
) -> dict[str, Any]:
    until = time.monotonic() + 60
    while time.monotonic() < until and any(name not in arrivals.at for name in accepted):
        time.sleep(0.1)
    took = [(arrivals.at[name] - at) * 1000 for name, at in accepted.items() if name in arrivals.at]
    return {
        "bench": "alert to page",
        "case": case,
        "alerts": len(accepted),
        "not_paged": len(accepted) - len(took),
        "p50_ms": round(percentile(took, 0.5), 1),
        "p99_ms": round(percentile(took, 0.99), 1),
        "max_ms": round(max(took, default=float("nan")), 1),
        "goal": f"p{share * 100:g} ≤ {goal:g} ms",
        "met": len(took) == len(accepted) and percentile(took, share) <= goal,
    }


def run(config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    chosen = {**DEFAULTS, **(config or {})}
    arrivals = Arrivals()
    arrivals.controller.start()
    try:
        with running(EMAIL_URL=f"smtp://127.0.0.1:{arrivals.controller.port}") as muster:
            keys = muster.django(SETUP)["keys"]
            asyncio.run(_alerts(muster, keys, "warm-up", count=10, per_second=5))
            time.sleep(2)
            accepted = asyncio.run(_alerts(muster, keys, "quiet", count=int(chosen["quiet"]), per_second=2))
            rows = [_row("quiet, 2 new incidents/s", accepted, arrivals, 300, 0.5)]
            count = int(chosen["per_second"] * chosen["seconds"])
            accepted = asyncio.run(
                _alerts(muster, keys, "busy", count=count, per_second=chosen["per_second"])
            )
            rows.append(_row(f"{chosen['per_second']} new incidents/s", accepted, arrivals, 1000, 0.99))
            time.sleep(61)  # or the guard against storms would join what follows to what was opened
            rows.append(_under_duplicates(muster, keys, arrivals, chosen))
            return rows
    finally:
        arrivals.controller.stop()


def _under_duplicates(
    muster: Muster, keys: list[str], arrivals: Arrivals, chosen: Mapping[str, Any]
) -> dict[str, Any]:
    result: dict[str, Any] = {}

    def flood() -> None:
        seconds = float(chosen["seconds"])
        result.update(
            asyncio.run(load(muster.port, keys[0], "flood", distinct=False, connections=8, seconds=seconds))
        )

    thread = threading.Thread(target=flood)
    thread.start()
    count = int(chosen["per_second"] * chosen["seconds"])
    accepted = asyncio.run(_alerts(muster, keys[1:], "flooded", count=count, per_second=chosen["per_second"]))
    thread.join()
    case = f"{chosen['per_second']} new incidents/s while {len(result['took']) / result['seconds']:.0f} duplicates/s arrive"
    row = _row(case, accepted, arrivals, 1000, 0.99)
    wait_drained(muster, at_most=120)
    return row


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    for row in run({name: int(value) for name, value in given.items()}):
        print(json.dumps(row))
