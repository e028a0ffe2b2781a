"""The incidents that are open when somebody looks for the first time: one that burns, one that is contained.

They are played through the real transitions, at times in the past and inside one transaction, so that everything that
follows from them is as it would be. The messages count as sent: nothing leaves when the transaction commits, and no
timer of theirs is left.
"""

import json
from datetime import datetime, timedelta
from typing import Any

from demo.setup import Organization
from incidents import transitions
from incidents.alerts import AlertSignal, Outcome, apply_signal
from incidents.channel import transitions as channel
from incidents.todo import transitions as todo
from incidents.updates import transitions as updates
from integrations import rules
from integrations.models import ChangeEvent, IngestEvent, Integration
from notifications.models import Attempt, AttemptOutcome, Delivery, DeliveryStatus
from notifications.transitions import DELIVER
from runbooks.models import Runbook
from runbooks.transitions import attach as take_up
from timers.models import Firing, Timer
from timers.transitions import cancel_timers, fire

TOOK = timedelta(milliseconds=42)  # from the arrival of a request to its verdict


class Stage:
    """Time that is told, not read. `at` moves it forward and delivers what is due by then."""

    def __init__(self, *, organization: Organization, begins: datetime, ledger: list[IngestEvent]) -> None:
        self.people = organization.people
        self.integrations = organization.integrations
        self.services = organization.services
        self.ledger = ledger
        self.begins = begins
        self.now = begins
        self.incident_id = 0

    def at(self, minutes: int, seconds: int = 0) -> datetime:
        self.now = self.begins + timedelta(minutes=minutes, seconds=seconds)
        self.deliver()
        return self.now

    def end(self, now: datetime) -> int:
        self.now = now
        self.deliver()
        # The clock of the next update runs, but nobody is reminded of a story.
        Timer.objects.filter(payload__incident=self.incident_id).delete()
        return self.incident_id

    def signal(self, kind: str, action: str, key: str, title: str = "", **more: Any) -> Outcome:
        """What the sender of this kind says now; the ledger shows it as if it had come in."""
        sender = self.integrations[kind]
        signal = AlertSignal(action=action, dedup_key=key, title=title, **more)
        outcome = apply_signal(
            origin=sender.origin, origin_name=sender.name, service=sender.service, signal=signal, now=self.now
        )
        self.ledger.append(
            IngestEvent(
                integration=sender, kind=kind, received_at=self.now, processed_at=self.now + TOOK,
                verdict=outcome.verdict, reason=outcome.reason, dedup_key=key, incident_id=outcome.incident_id,
                payload=[
                    rules.signal(
                        action, key, title=title, severity=signal.severity, source=signal.source,
                        details=signal.details, group_key=signal.group_key,
                    )
                ],
                raw=json.dumps(_body(kind, signal), indent=2),
            )
        )  # fmt: skip
        Integration.objects.filter(pk=sender.pk).update(last_event_at=self.now)
        self.incident_id = outcome.incident_id or self.incident_id
        return outcome

    def note(self, who: str, text: str) -> int:
        """Its seq."""
        return channel.say(incident_id=self.incident_id, text=text, by=self.people[who], now=self.now).seq

    def pin(self, who: str, seq: int) -> None:
        channel.mark(
            incident_id=self.incident_id, seq=seq, mark="pin", on=True, by=self.people[who], now=self.now
        )

    def decide(self, who: str, text: str) -> None:
        channel.decide(incident_id=self.incident_id, text=text, by=self.people[who], now=self.now)

    def update(self, who: str, *, impact: str, action: str, minutes: int) -> None:
        updates.post_update(
            incident_id=self.incident_id, impact=impact, action=action, next_minutes=minutes, by=self.people[who],
            now=self.now, sets_impact=False,
        )  # fmt: skip

    def role(self, who: str, role: str, *, by: str, field: str = "") -> None:
        transitions.assign_role(
            incident_id=self.incident_id, role=role, field=field, user=self.people[who], by=self.people[by],
            now=self.now,
        )  # fmt: skip

    def task(self, title: str, *, by: str, who: str = "", minutes: int = 0) -> None:
        todo.add_task(
            incident_id=self.incident_id, title=title, by=self.people[by], now=self.now,
            assignee=self.people[who] if who else None,
            due_at=self.now + timedelta(minutes=minutes) if minutes else None,
        )  # fmt: skip

    def answer(self, who: str, via: str = "link") -> None:
        transitions.acknowledge(incident_id=self.incident_id, by=self.people[who], now=self.now, via=via)

    def call(self, who: str, by: str, why: str) -> None:
        transitions.page_person(
            incident_id=self.incident_id, user=self.people[who], by=self.people[by], reason=why, now=self.now
        )

    def command(self, who: str) -> None:
        transitions.assign_commander(
            incident_id=self.incident_id, user=self.people[who], by=self.people[who], now=self.now
        )

    def impact(self, who: str, text: str) -> None:
        transitions.set_impact(incident_id=self.incident_id, impact=text, by=self.people[who], now=self.now)

    def runbook(self, who: str, title: str) -> None:
        found = Runbook.objects.get(title=title)
        take_up(incident_id=self.incident_id, runbook_id=found.pk, by=self.people[who], now=self.now)

    def change(self, text: str, by: str, data: dict[str, Any]) -> None:
        transitions.record_change(
            incident_id=self.incident_id, text=text, data=data, now=self.now, by_name=str(self.people[by])
        )

    def time_is_up(self) -> None:
        """Nobody has answered: what is due for the incident happens, as the timekeeper would have it."""
        for timer in Timer.objects.filter(
            payload__incident=self.incident_id, due_at__lte=self.now, kind__startswith="escalation."
        ):
            fire(timer_id=timer.pk, now=timer.due_at, by="seed_demo")
        # It says nothing about how punctual this installation is.
        Firing.objects.filter(by="seed_demo").delete()

    def deliver(self) -> None:
        """Count the messages of the incident that are due as sent."""
        due = list(
            Delivery.objects.filter(
                notification__page__incident=self.incident_id,
                status=DeliveryStatus.WAITING,
                due_at__lte=self.now,
            )
        )
        for delivery in due:
            delivery.status = DeliveryStatus.SENT
            delivery.attempts = 1
            delivery.claimed_at = delivery.due_at + timedelta(milliseconds=40)
            delivery.finished_at = delivery.due_at + timedelta(milliseconds=310)
        Delivery.objects.bulk_update(due, ["status", "attempts", "claimed_at", "finished_at"])
        Attempt.objects.bulk_create(
            Attempt(
                delivery=delivery, number=1, started_at=delivery.claimed_at, finished_at=delivery.finished_at,
                outcome=AttemptOutcome.SENT,
            )
            for delivery in due
        )  # fmt: skip
        cancel_timers(kind=DELIVER, keys=[str(delivery.pk) for delivery in due])


def _body(kind: str, signal: AlertSignal) -> dict[str, Any]:
    """What the sender would have sent, without its key."""
    if kind == "pagerduty":
        body: dict[str, Any] = {"event_action": signal.action, "dedup_key": signal.dedup_key}
        if signal.action == "trigger":
            body["payload"] = {
                "summary": signal.title, "source": signal.source, "severity": signal.severity,
                "group": signal.group_key, **signal.details,
            }  # fmt: skip
        return body
    return {
        "status": "firing" if signal.action == "trigger" else "resolved",
        "title": signal.title,
        "groupKey": signal.group_key,
        "alerts": [{"labels": {"alertname": signal.dedup_key}, "values": signal.details}],
    }


def _changes(organization: Organization, *, begins: datetime, ledger: list[IngestEvent]) -> None:
    """What was rolled out before it broke."""
    sender = organization.integrations["pagerduty"]
    for minutes, summary, source, revision in (
        (-301, "ledger-db 16.4 on one replica, canary", "deploy", "16.4"),
        (-118, "checkout-api 2026.47.2 deployed", "deploy", "2026.47.2"),
        (-5, "edge-config r4471 rolled out to all regions", "config-service", "r4471"),
    ):
        at = begins + timedelta(minutes=minutes, seconds=-8)
        told = {
            "summary": summary,
            "source": source,
            "details": {"revision": revision},
            "links": [{"href": f"https://deploy.harbor.example/{revision}", "text": "Rollout"}],
        }
        ChangeEvent.objects.create(
            integration=sender, service=organization.services["checkout-api"], occurred_at=at,
            received_at=at + timedelta(seconds=2), **told,
        )  # fmt: skip
        body = {"payload": {"summary": summary, "source": source, "timestamp": at.isoformat(), "custom_details": told["details"]},
                "links": told["links"]}  # fmt: skip
        ledger.append(
            IngestEvent(
                integration=sender, kind="pagerduty", received_at=at + timedelta(seconds=2), verdict="change",
                processed_at=at + timedelta(seconds=2) + TOOK, raw=json.dumps(body, indent=2),
                payload=[{"action": rules.CHANGE, "occurred_at": at.isoformat(), **told}],
            )
        )  # fmt: skip


def play(*, organization: Organization, now: datetime) -> None:
    """Both stories, and the ledger of what came in for them, in its order."""
    ledger: list[IngestEvent] = []
    contained(organization=organization, now=now, ledger=ledger)
    burning(organization=organization, now=now, ledger=ledger)
    IngestEvent.objects.bulk_create(sorted(ledger, key=lambda event: event.received_at))


def contained(*, organization: Organization, now: datetime, ledger: list[IngestEvent]) -> int:
    """SEV3: search is slow in APAC. Contained 41 min ago and watched since."""
    stage = Stage(
        organization=organization, begins=now - timedelta(hours=1, minutes=52, seconds=9), ledger=ledger
    )
    key, group = "SearchSlowApac", "search-apac"
    stage.signal(
        "grafana", "trigger", key, "Search suggestions slow in APAC, timeouts above 4 s on cold shards",
        severity="warning", source="search-apac-2", group_key=group,
        details={"p95": "4120 ms", "region": "ap-southeast-2"},
    )  # fmt: skip
    stage.at(1, 40)
    stage.signal(
        "grafana", "trigger", "SearchShardCold", "Shard 7 of products-apac is cold", severity="warning",
        source="search-apac-2", group_key=group, details={"shard": "7"},
    )  # fmt: skip
    stage.at(4, 12)
    stage.answer("jonas")
    stage.at(6, 30)
    stage.note(
        "jonas", "Only suggestions, search itself answers in 300 ms. It began when `search-apac-2` moved."
    )
    stage.at(11, 5)
    stage.command("aisha")
    stage.at(12, 20)
    stage.impact("aisha", "Suggestions take up to 4 s for customers in Australia and Japan")
    stage.at(19, 44)
    stage.note("aisha", "Warming shards 5 to 9 by replaying the queries of the last hour. About 40 min.")
    stage.at(44, 2)
    stage.note("tomasz", "Shards 5 to 8 are warm. p95 is at 1.9 s.")
    stage.at(58, 15)
    stage.signal("grafana", "resolve", "SearchShardCold")
    stage.at(71, 9)
    stage.impact("aisha", "p95 of suggestions in APAC down to 610 ms, watched until the evening")
    stage.at(71, 20)
    transitions.contain(
        incident_id=stage.incident_id, by=stage.people["aisha"], now=stage.now, note="all shards are warm"
    )
    stage.at(90, 31)
    stage.note("aisha", "Why did the scheduler move the node at all? I read its log before we close this.")
    return stage.end(now)


def burning(*, organization: Organization, now: datetime, ledger: list[IngestEvent]) -> int:
    """SEV1: checkout fails after a rollout. Acknowledged, with a commander, and not contained."""
    stage = Stage(organization=organization, begins=now - timedelta(minutes=23, seconds=41), ledger=ledger)
    _changes(organization, begins=stage.begins, ledger=ledger)
    group = "checkout-5xx"
    stage.signal(
        "pagerduty", "trigger", "CheckoutHigh5xxRate", "Checkout API: 5xx after config rollout", severity="critical",
        source="checkout-api", group_key=group,
        details={"component": "checkout-api", "custom_details": {"rate": "12.4%", "path": "POST /confirm"}},
    )  # fmt: skip
    stage.at(0, 52)
    stage.signal(
        "pagerduty", "trigger", "PgPoolSaturated", "PgPoolSaturated: ledger-db at 91%", severity="error",
        source="ledger-db", group_key=group, details={"component": "ledger-db", "custom_details": {"pool": "91%"}},
    )  # fmt: skip
    stage.at(1, 37)
    stage.signal(
        "pagerduty", "trigger", "PaymentLatencyP99", "PaymentLatencyP99: payment-gateway at 880 ms", severity="warning",
        source="payment-gateway", group_key=group,
        details={"component": "payment-gateway", "custom_details": {"p99": "880 ms"}},
    )  # fmt: skip
    stage.at(2, 0)
    stage.time_is_up()
    for number, region in enumerate(("eu-west-1", "eu-west-2", "eu-central-1", "uk-south-1")):
        stage.at(2, 20 + 4 * number)
        stage.signal(
            "pagerduty", "trigger", f"EdgeUpstreamResets/{region}", f"EdgeUpstreamResets: {region}",
            severity="warning", source=region, group_key=group, details={"component": "edge-proxy"},
        )  # fmt: skip
    stage.at(3, 10)
    stage.answer("ravi")
    stage.at(6, 57)
    stage.command("ines")
    stage.at(7, 8)
    stage.impact("ines", "38% of checkouts fail in EU and UK, 1,140 a minute")
    stage.at(7, 31)
    stage.runbook("ines", "A rollout of edge configuration broke something")
    stage.at(7, 54)
    stage.call("olumide", "ines", "compare what the edge runs in EU and US")
    stage.at(8, 1)
    stage.call("mei", "ines", "write to support and the status page")
    stage.at(8, 9)
    stage.call("lucia", "ines", "connections to ledger-db churn")
    stage.at(9, 58)
    stage.answer("olumide")
    stage.role("olumide", "expert", by="ines", field="network")
    stage.at(10, 4)
    stage.answer("mei")
    stage.role("mei", "communications", by="ines")
    stage.at(10, 20)
    stage.role("tomasz", "scribe", by="ines")
    stage.at(11, 10)
    stage.note("ravi", "Only `POST /confirm`. Reads and cart are fine. EU and UK, nothing in US.")
    stage.at(11, 32)
    rolled_out = stage.begins - timedelta(minutes=5, seconds=8)
    stage.change(
        "linked edge-config r4471, applied 5 min before the first alert", "olumide",
        {"summary": "edge-config r4471", "revision": "r4471", "occurred_at": rolled_out.isoformat()},
    )  # fmt: skip
    stage.at(12, 2)
    stage.change(
        "ruled out ledger-db 16.4, canary: it takes no writes", "ravi",
        {"summary": "ledger-db 16.4, canary", "revision": "16.4"},
    )  # fmt: skip
    stage.at(12, 49)
    stage.note(
        "olumide",
        "This is the only difference that touches checkout:\n\n```\n"
        "upstream.checkout.keepalive_timeout   60s to 5s   (r4470, r4471)\n```",
    )
    stage.at(13, 20)
    stage.task("Freeze deploys to checkout-api", by="ravi", who="ravi", minutes=30)
    stage.task("Ask support for the share of failed orders", by="ines")
    stage.at(13, 56)
    stage.decide(
        "ines",
        "Roll back edge-config to r4470, eu-west first. Shift traffic only if the error rate stays above 2% five "
        "minutes after.",
    )
    stage.at(13, 57)
    transitions.move_phase(
        incident_id=stage.incident_id, phase="containment", by=stage.people["ines"], now=stage.now
    )
    stage.at(14, 53)
    stage.update(
        "mei",
        impact="Payments at checkout fail for about four in ten customers in the EU and UK.",
        action="We know the change that caused it and are reverting it.",
        minutes=15,
    )
    stage.at(15, 40)
    known = stage.note(
        "ines",
        "Config r4471 cut the upstream keep-alive from 60 s to 5 s. Connections to ledger-db churn, `POST /confirm` runs "
        "out of pool. US runs r4470 and is healthy.",
    )
    stage.pin("ines", known)
    stage.at(16, 25)
    stage.change(
        "rolled edge-config back to r4470 in eu-west", "deploy-bot",
        {"summary": "edge-config r4470 in eu-west", "revision": "r4470"},
    )  # fmt: skip
    stage.at(18, 2)
    stage.note(
        "ravi", "r4470 is live on 12 of 18 edge nodes. Two nodes were draining, retrying those by hand."
    )
    for minute, region in ((19, "uk-south-1"), (20, "eu-west-2"), (21, "eu-west-1"), (22, "eu-central-1")):
        stage.at(minute, 33)
        stage.signal("pagerduty", "resolve", f"EdgeUpstreamResets/{region}")
    stage.at(23, 4)
    stage.note("ravi", "18 of 18 nodes on r4470. Pool is recovering, p99 back under 900 ms.")
    return stage.end(now)
