"""Alerts in over HTTP, durable: how many a second, how fast each is answered, and how soon it is an incident.

`python -m bench.ingest` starts a whole Muster of its own. The load generator, the web server, the workers, the timekeeper
and the database share this machine, and pgbench tells what the same database does with the same insert and nothing else.
"""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from bench.common import Muster, percentile, running, tool

DEFAULTS = {"seconds": 8.0, "quiet_events": 40, "pgbench_seconds": 4}
CONNECTIONS = (1, 8, 32)
GOALS = {"duplicates": 600, "distinct": 250}


# --- load ---------------------------------------------------------------------------------------------------------


class Sender(asyncio.Protocol):
    """One connection that sends the next event as soon as the last is answered. As little work as possible."""

    def __init__(self, requests: Any, until: float, result: dict[str, Any]) -> None:
        self.requests, self.until, self.result = requests, until, result
        self.done = asyncio.get_running_loop().create_future()
        self.rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        if self.began >= self.until:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.transport.write(next(self.requests))

    def data_received(self, data: bytes) -> None:
        self.rest += data
        head, found, body = self.rest.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.rest = b""
        self.result["took"].append(time.perf_counter() - self.began)
        if not head.startswith(b"HTTP/1.1 202"):
            self.result["refused"] += 1
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed"))


def requests(key: str, stem: str, *, distinct: bool) -> Any:
    """An endless row of whole HTTP requests, about as long as Alertmanager's."""
    number = 0
    while True:
        number += 1
        dedup_key = f"{stem}-{number}" if distinct else stem
        body = json.dumps(
            {
                "routing_key": key,
                "event_action": "trigger",
                "dedup_key": dedup_key,
                "payload": {
                    "summary": f"[FIRING:1] MailQueueHigh ({dedup_key} mail error)",
                    "source": "Alertmanager",
                    "severity": "warning",
                    "component": "mail",
                    "custom_details": {
                        "firing": "Labels:\n - alertname = MailQueueHigh\n - instance = mail-7\nAnnotations:\n"
                        " - summary = The queue grows\nSource: http://prometheus.example/graph?g0.expr=up\n",
                        "num_firing": "1",
                        "num_resolved": "0",
                        "resolved": "",
                    },
                },
                "client": "Alertmanager",
                "client_url": "http://alertmanager.example/#/alerts?receiver=muster",
            }
        ).encode()
        yield (
            b"POST /v2/enqueue HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Alertmanager/0.28.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


async def load(
    port: int, key: str, stem: str, *, distinct: bool, connections: int, seconds: float
) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    result: dict[str, Any] = {"took": [], "refused": 0}
    source = requests(key, stem, distinct=distinct)
    began = time.perf_counter()
    senders = [
        (await loop.create_connection(lambda: Sender(source, began + seconds, result), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(sender.done for sender in senders))
    result["seconds"] = time.perf_counter() - began
    return result


# --- the same insert without anything around it ---------------------------------------------------------------------

PGBENCH = """
INSERT INTO integrations_ingestevent
    (kind, received_at, payload, raw, verdict, reason, dedup_key, attempts, processed_at)
VALUES ('pgbench', now(), jsonb_build_object('action', 'trigger', 'details', repeat('x', 600)), repeat('y', 800),
        'repeated', '', 'k', 0, now());
"""


def pgbench(muster: Muster, connections: int, seconds: int) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(PGBENCH)
        script.flush()
        done = subprocess.run(
            [tool("pgbench"), "-n", "-M", "prepared", "-f", script.name, "-c", str(connections), "-T", str(seconds),
             "-h", str(muster.database_folder), "-U", "muster", "muster"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.startswith("tps"))
    return float(line.split("=")[1].split()[0])


# --- runs -----------------------------------------------------------------------------------------------------------

SETUP = """
import json
from accounts.models import User
from catalog.models import Service
from integrations.transitions import create_integration
person = User.objects.create(username="bench", full_name="Bench", email="bench@example.org")
service = Service.objects.create(name="Bench", slug="bench", primary_responder=person)
print(json.dumps({"key": create_integration(name="Bench", kind="pagerduty", service=service)[1]}))
"""


def wait_drained(muster: Muster, *, at_most: float) -> float:
    """Seconds until nothing waits any more."""
    began = time.monotonic()
    while time.monotonic() - began < at_most:
        if muster.psql("SELECT count(*) FROM integrations_ingestevent WHERE due_at IS NOT NULL") == [["0"]]:
            return time.monotonic() - began
        time.sleep(0.25)
    return float("inf")


def send_one(muster: Muster, key: str, dedup_key: str) -> None:
    with socket.create_connection(("127.0.0.1", muster.port)) as link:
        link.sendall(next(requests(key, dedup_key, distinct=False)))
        if not link.recv(65536).startswith(b"HTTP/1.1 202"):
            raise RuntimeError("The event was not accepted.")


def wait_for_workers(muster: Muster, key: str) -> None:
    """They need seconds to start; until then the timekeeper takes events up, a few seconds late."""
    for number in range(60):
        send_one(muster, key, f"start-{number}")
        time.sleep(1)
        done = muster.psql(
            f"SELECT 1 FROM integrations_ingestevent WHERE dedup_key = 'start-{number}' "
            "AND processed_at - received_at < interval '0.5 s'"
        )
        if done:
            return
    raise RuntimeError("No worker takes events up.")


def quiet(muster: Muster, key: str, events: int) -> dict[str, Any]:
    """Two new alerts a second: how long from their arrival until a worker takes them up."""

    for number in range(events):
        send_one(muster, key, f"quiet-{number}")
        time.sleep(0.5)
    wait_drained(muster, at_most=30)
    took = [
        float(row[0])
        for row in muster.psql(
            "SELECT extract(epoch FROM processed_at - received_at) * 1000 FROM integrations_ingestevent "
            "WHERE dedup_key LIKE 'quiet-%' AND verdict IN ('opened', 'joined')"
        )
    ]
    return {
        "bench": "ingest",
        "case": "two new alerts/s, accepted to taken up by a worker",
        "events": len(took),
        "p50_ms": round(percentile(took, 0.5), 1),
        "p99_ms": round(percentile(took, 0.99), 1),
        "goal": "p50 < 50 ms",
        "met": bool(took) and percentile(took, 0.5) < 50,
    }


def run(config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    chosen = {**DEFAULTS, **(config or {})}
    rows = []
    with running() as muster:
        key = muster.django(SETUP)["key"]
        wait_for_workers(muster, key)
        asyncio.run(load(muster.port, key, "warm-up", distinct=False, connections=8, seconds=1.0))
        wait_drained(muster, at_most=30)
        rows.append(quiet(muster, key, int(chosen["quiet_events"])))
        for kind in ("duplicates", "distinct"):
            for connections in CONNECTIONS:
                stem = f"{kind}-{connections}"
                result = asyncio.run(
                    load(
                        muster.port, key, stem, distinct=kind == "distinct", connections=connections,
                        seconds=chosen["seconds"],
                    )
                )  # fmt: skip
                took = result["took"]
                waited = wait_drained(muster, at_most=300)
                stored = muster.psql(
                    f"SELECT count(*), count(DISTINCT incident_id) FROM integrations_ingestevent WHERE "
                    f"dedup_key LIKE '{stem}%' AND verdict IN ('opened', 'joined', 'repeated')"
                )[0]
                per_second = len(took) / result["seconds"]
                rows.append(
                    {
                        "bench": "ingest",
                        "case": kind,
                        "connections": connections,
                        "per_second": round(per_second),
                        "p50_ms": round(percentile(took, 0.5) * 1000, 2),
                        "p99_ms": round(percentile(took, 0.99) * 1000, 2),
                        "accepted": len(took) - result["refused"],
                        "refused": result["refused"],
                        "processed": int(stored[0]),
                        "incidents": int(stored[1]),
                        "drained_after_s": round(waited, 1),
                        "pgbench_per_second": round(
                            pgbench(muster, connections, int(chosen["pgbench_seconds"]))
                        ),
                        # one connection waits for the disk each time: it has no goal of its own
                        "goal": f"≥ {GOALS[kind]}/s" if connections > 1 else "",
                        "met": int(stored[0]) == len(took) - result["refused"]
                        and (connections == 1 or per_second >= GOALS[kind]),
                    }
                )
    return rows


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    for row in run({name: type(DEFAULTS[name])(value) for name, value in given.items()}):
        print(json.dumps(row))
