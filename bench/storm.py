"""A storm: very many events of which few are distinct, over many services and two senders for each.

`python -m bench.storm --events 100000` starts a whole Muster of its own. Meanwhile the escalations of other incidents fall
due, and their lateness is measured as in bench.escalation. What must be there afterwards is counted by a model that knows
only what was sent.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from aiosmtpd.controller import Controller

from bench import escalation
from bench.common import Muster, free_port, percentile, running
from bench.ingest import Sender

DEFAULTS = {"events": 100_000, "distinct": 2_000, "services": 50, "connections": 16}
DUE_PER_SECOND = 5
LONGEST_SECONDS = 900
PEOPLE = 2
GOAL_MS = 1_000

SETUP = """
import json
from accounts.models import ContactMethod, User
from catalog.models import Service
from django.utils import timezone
from escalation.rules import PolicyData, TargetData, TierData
from escalation.transitions import save_policy, set_service_policy
from integrations.transitions import create_integration
keys = []
for n in range(%(services)d):
    people = []
    for m in range(%(people)d):
        person = User.objects.create(username=f"storm{n}-{m}", full_name=f"Storm {n}-{m}", email=f"storm{n}-{m}@example.org")
        ContactMethod.objects.create(user=person, kind="email", address=person.email, verified_at=timezone.now())
        people.append(person)
    service = Service.objects.create(name=f"Storm {n}", slug=f"storm-{n}", criticality=1)
    set_service_policy(service_id=service.pk, policy=save_policy(policy=None, data=PolicyData(name=f"Storm {n}", tiers=[
        TierData(level=1, name="Tier 1", expected_outcome="Look", ack_seconds=dict.fromkeys((1, 2, 3, 4), 86400),
                 targets=[TargetData(kind="user", id=person.pk) for person in people])])))
    keys += [create_integration(name=f"Storm {n}-{m}", kind="pagerduty", service=service)[1] for m in range(2)]
print(json.dumps({"keys": keys}))
"""

# --- sending --------------------------------------------------------------------------------------------------------


def request(key: str, dedup_key: str) -> bytes:
    body = json.dumps(
        {
            "routing_key": key, "event_action": "trigger", "dedup_key": dedup_key,
            "payload": {"summary": f"[FIRING:1] {dedup_key}", "source": "Alertmanager", "severity": "critical"},
        }
    ).encode()  # fmt: skip
    return (
        b"POST /v2/enqueue HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Alertmanager/0.28.1\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def storm(keys: Sequence[str], *, events: int, distinct: int) -> list[bytes]:
    """Each distinct alert equally often, from its own sender, in an order that is random but always the same."""
    alerts = [request(keys[number % len(keys)], f"storm-{number}") for number in range(distinct)]
    sent = [alerts[number % distinct] for number in range(events)]
    random.Random(events).shuffle(sent)
    return sent


class Patient(Sender):
    """A sender that sends again what was refused, as senders do, until everything was accepted."""

    def send(self) -> None:
        if not self.requests:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.current = self.requests.popleft()
        self.began = time.perf_counter()
        self.transport.write(self.current)

    def data_received(self, data: bytes) -> None:
        refused = self.result["refused"]
        current = self.current
        super().data_received(data)
        if self.result["refused"] > refused:
            self.requests.append(current)


async def send(port: int, requests: Sequence[bytes], *, connections: int) -> dict[str, Any]:
    """How long each took, how many were refused (and sent again), and the seconds of it all."""
    loop = asyncio.get_running_loop()
    result: dict[str, Any] = {"took": [], "refused": 0}
    waiting = deque(requests)
    began = time.perf_counter()
    while waiting:  # what the last connections had refused
        senders = [
            (await loop.create_connection(lambda: Patient(waiting, float("inf"), result), "127.0.0.1", port))[
                1
            ]
            for _ in range(min(connections, len(waiting)))
        ]
        await asyncio.gather(*(sender.done for sender in senders))
    result["seconds"] = time.perf_counter() - began
    return result


# --- counting -------------------------------------------------------------------------------------------------------

OF_STORM = "FROM integrations_ingestevent WHERE dedup_key LIKE 'storm-%'"
PAGES = (
    "FROM incidents_page p JOIN incidents_incident i ON i.id = p.incident_id JOIN catalog_service s ON s.id = i.service_id"
    " WHERE s.slug LIKE 'storm-%'"
)


def wait_until(muster: Muster, none_left: str, *, at_most: float) -> float:
    """Seconds until the statement counts 0."""
    began = time.monotonic()
    while time.monotonic() - began < at_most:
        if muster.psql(none_left) == [["0"]]:
            return time.monotonic() - began
        time.sleep(0.5)
    return float("inf")


def counts(muster: Muster) -> dict[str, int]:
    """What the ledger and the pages say about the storm."""

    def one(statement: str) -> int:
        return int(muster.psql(statement)[0][0] or 0)

    return {
        "events": one(f"SELECT count(*) {OF_STORM}"),
        "without_verdict": one(
            f"SELECT count(*) {OF_STORM} AND verdict NOT IN ('opened', 'joined', 'repeated')"
        ),
        "opened": one(f"SELECT count(*) {OF_STORM} AND verdict = 'opened'"),
        "alerts": one("SELECT count(*) FROM incidents_alert WHERE dedup_key LIKE 'storm-%'"),
        "counted": one("SELECT sum(count) FROM incidents_alert WHERE dedup_key LIKE 'storm-%'"),
        "incidents": one(f"SELECT count(DISTINCT p.incident_id) {PAGES}"),
        "pages": one(f"SELECT count(*) {PAGES}"),
        "twice": one(f"SELECT count(*) - count(DISTINCT (p.incident_id, p.recipient_id)) {PAGES}"),
    }


def unsent(muster: Muster) -> str:
    return (
        "SELECT count(*) FROM notifications_delivery d JOIN incidents_page p ON p.notification_id = d.notification_id"
        " JOIN incidents_incident i ON i.id = p.incident_id JOIN catalog_service s ON s.id = i.service_id"
        " WHERE s.slug LIKE 'storm-%' AND d.status <> 'sent'"
    )


class Mails:
    """A real mail server that only counts: several pages of one person may leave as one mail."""

    def __init__(self) -> None:
        self.count = 0
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.count += 1
        return "250 OK"


# --- the run --------------------------------------------------------------------------------------------------------


def run(config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    chosen = {**DEFAULTS, **(config or {})}
    mails = Mails()
    mails.controller.start()
    try:
        with running(EMAIL_URL=f"smtp://127.0.0.1:{mails.controller.port}") as muster:
            return _run(muster, mails, chosen)
    finally:
        mails.controller.stop()


def _run(muster: Muster, mails: Mails, chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    escalation.note_commit_times(muster)
    keys = muster.django(SETUP % {"services": chosen["services"], "people": PEOPLE})["keys"]
    others = muster.django(
        escalation.SETUP % {"due": DUE_PER_SECOND * LONGEST_SECONDS, "armed": 0, "per_second": DUE_PER_SECOND}
    )
    time.sleep(25)  # the first of the others are due, and everything has started
    requests = storm(keys, events=chosen["events"], distinct=chosen["distinct"])
    muster.psql("CREATE TABLE bench_storm AS SELECT clock_timestamp() AS began")
    result = asyncio.run(send(muster.port, requests, connections=chosen["connections"]))
    drained = wait_until(
        muster, f"SELECT count(*) {OF_STORM} AND due_at IS NOT NULL", at_most=LONGEST_SECONDS
    )
    muster.psql("ALTER TABLE bench_storm ADD ended timestamptz DEFAULT clock_timestamp()")
    sent_after = wait_until(muster, unsent(muster), at_most=120)
    time.sleep(3)  # for those of the others that were due just before the end
    found = counts(muster)
    late = [
        float(row[0])
        for row in muster.psql(
            "SELECT extract(epoch FROM pg_xact_commit_timestamp(f.xmin) - f.due_at) * 1000 FROM timers_firing f, bench_storm"
            f" WHERE kind = 'escalation.step' AND key::bigint BETWEEN {others['first']} AND {others['last_due']}"
            " AND f.due_at BETWEEN began AND ended"
        )
    ]
    due = int(
        muster.psql(
            "SELECT count(*) FROM escalation_run r, bench_storm"
            f" WHERE incident_id BETWEEN {others['first']} AND {others['last_due']}"
            " AND coalesce((SELECT min(due_at) FROM timers_firing WHERE kind = 'escalation.step' AND key = incident_id::text),"
            " r.due_at) BETWEEN began AND ended"
        )[0][0]
    )
    whole = {
        "events": chosen["events"],
        "without_verdict": 0,
        "alerts": chosen["distinct"],
        "counted": chosen["events"],
        "incidents": found["opened"],
        "pages": found["opened"] * PEOPLE,
        "twice": 0,
    }
    name = f"{chosen['events']:,} events, {chosen['distinct']:,} distinct, {chosen['services']} services, {len(keys)} senders"
    return [
        {
            "bench": "storm",
            "case": name,
            **found,
            "refused_and_sent_again": result["refused"],
            "per_second": round(chosen["events"] / result["seconds"]),
            "all_applied_after_s": round(result["seconds"] + drained, 1),
            "mails": mails.count,
            "last_mail_after_s": round(result["seconds"] + drained + sent_after, 1),
            "goal": f"nothing lost, {PEOPLE} pages for each incident, none twice",
            "met": {column: found[column] for column in whole} == whole and sent_after != float("inf"),
        },
        {
            "bench": "storm",
            "case": f"meanwhile, {DUE_PER_SECOND} steps of other incidents due each second",
            "due": due,
            "fired": len(late),
            "p50_ms": round(percentile(late, 0.5), 1),
            "p99_ms": round(percentile(late, 0.99), 1),
            "max_ms": round(max(late, default=float("nan")), 1),
            "goal": f"p99 ≤ {GOAL_MS} ms, none missed",
            "met": len(late) == due and percentile(late, 0.99) <= GOAL_MS,
        },
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.storm", description=__doc__)
    for option, value in DEFAULTS.items():
        parser.add_argument(f"--{option}", type=int, default=value)
    for row in run(vars(parser.parse_args())):
        print(json.dumps(row))


if __name__ == "__main__":
    sys.exit(main())
