"""A storm in small, with real processes: what was sent is all in the ledger, and each incident pages its person once."""

import asyncio
import re

import pytest

from bench.storm import send, storm
from tests.journeys.conftest import Muster, wait_for

pytestmark = pytest.mark.xdist_group("journey-storm")

EVENTS, DISTINCT, SERVICES = 2_000, 40, 5
WORLD = {"seconds": 3600, "services": SERVICES}


def test_a_storm_loses_nothing_and_pages_each_person_once_for_each_incident(muster: Muster):
    requests = storm(muster.world["routing_keys"], events=EVENTS, distinct=DISTINCT)
    result = asyncio.run(send(int(muster.env["MUSTER_PORT"]), requests, connections=8))
    assert (len(result["took"]) - result["refused"], len(set(requests))) == (EVENTS, DISTINCT)
    wait_for(
        lambda: muster.sql("SELECT count(*) FROM integrations_ingestevent WHERE due_at IS NOT NULL") == [(0,)],
        seconds=60, what="a verdict for each event",
    )  # fmt: skip
    # Eight alerts for each service, fewer than the guard against storms lets through: each has an incident of its own.
    assert muster.sql("SELECT verdict, count(*) FROM integrations_ingestevent GROUP BY 1 ORDER BY 1") == [
        ("opened", DISTINCT), ("repeated", EVENTS - DISTINCT),
    ]  # fmt: skip
    assert muster.sql("SELECT count, count(*) FROM incidents_alert GROUP BY 1") == [
        (EVENTS // DISTINCT, DISTINCT)
    ]
    assert muster.sql("SELECT sum(event_count), count(*) FROM incidents_incident") == [(EVENTS, DISTINCT)]
    assert muster.sql(
        "SELECT username, count(*), count(DISTINCT incident_id) FROM incidents_page p"
        " JOIN accounts_user u ON u.id = p.recipient_id GROUP BY 1"
    ) == [("ravi", DISTINCT, DISTINCT)]
    wait_for(
        lambda: muster.sql("SELECT status, count(*) FROM notifications_delivery GROUP BY 1") == [("sent", DISTINCT)],
        seconds=60, what="a message for each page, alone or in a bundle",
    )  # fmt: skip
    told = "\n".join(message.get_body(("plain",)).get_content() for message in muster.mailbox.to("ravi"))
    assert set(re.findall(r"storm-\d+", told)) == {f"storm-{number}" for number in range(DISTINCT)}
