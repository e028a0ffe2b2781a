"""Whatever is killed, flushed, stopped or restarted: every deadline is met, once."""

import signal
import time

import psycopg
import pytest
import redis

from core import servers
from tests.journeys.conftest import Muster, wait_for

pytestmark = pytest.mark.xdist_group("journey-faults")

WORLD = {"seconds": 4, "repeats": 0}
MUSTER_ENV = {"MUSTER_TIMEKEEPERS": "2", "MUSTER_WORKERS": "2"}

WEB, WORKER, TIMEKEEPER = r"config\.serve", r"celery", r"manage\.py timekeeper"
POSTGRES, VALKEY = r"postgres -D|bin/postgres", r"valkey-server"


def paged_once(muster: Muster, incident_id: int, *, by_seconds: float) -> None:
    """The second tier is paged, once, and in time; then the incident is ended."""
    wait_for(lambda: "jonas" in muster.paged(incident_id), seconds=by_seconds, what="the second tier")
    assert muster.paged(incident_id)[:2] == ["ravi", "jonas"]
    assert muster.paged(incident_id).count("jonas") == 1
    assert muster.kinds(incident_id).count("page_missed") <= 2
    wait_for(
        lambda: len(muster.mailbox.to("jonas", ref=f"INC-{incident_id}")) >= 1,
        seconds=60,
        what="mail to jonas",
    )
    end(muster, incident_id)


def end(muster: Muster, incident_id: int) -> None:
    def resolved() -> bool:
        try:
            return muster.api("POST", f"incidents/{incident_id}/resolve/").status_code == 200
        except Exception:
            return False

    wait_for(resolved, seconds=40, what="resolving")


@pytest.mark.parametrize("what", [WEB, WORKER, TIMEKEEPER], ids=["web", "workers", "timekeepers"])
def test_killed_processes(muster: Muster, what: str):
    incident_id = muster.open(f"kill {what}")
    muster.kill(what)
    paged_once(muster, incident_id, by_seconds=15)


def test_everything_but_the_database_killed_at_once(muster: Muster):
    incident_id = muster.open("kill all")
    for what in (TIMEKEEPER, WORKER, WEB, VALKEY):
        muster.kill(what)
    paged_once(muster, incident_id, by_seconds=25)


def test_flushed_broker(muster: Muster):
    incident_id = muster.open("flush")
    redis.Redis.from_url(servers.redis_url(muster.home)).flushall()
    paged_once(muster, incident_id, by_seconds=12)


def test_broker_that_hangs_for_a_while(muster: Muster):
    incident_id = muster.open("hang")
    [valkey] = muster.processes(VALKEY)
    valkey.send_signal(signal.SIGSTOP)
    try:
        # Also while the broker is away: an alert is taken in, the tier is paged, the mail is sent.
        wait_for(
            lambda: "jonas" in muster.paged(incident_id), seconds=20, what="the second tier without a broker"
        )
        assert muster.send("while away").status_code == 202
        other = wait_for(
            lambda: muster.incident("while away"), seconds=20, what="an incident without a broker"
        )
        wait_for(
            lambda: muster.mailbox.to("ravi", ref=f"INC-{other['id']}"),
            seconds=20,
            what="a mail without a broker",
        )
    finally:
        valkey.send_signal(signal.SIGCONT)
    paged_once(muster, incident_id, by_seconds=15)
    end(muster, other["id"])


def test_restarted_database(muster: Muster):
    incident_id = muster.open("restart")
    with psycopg.connect(servers.database_url(muster.home), autocommit=True) as connection:
        pid = int(connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()[0].split()[0])
    [postmaster] = [process for process in muster.processes(".*") if process.pid == pid]
    postmaster.send_signal(signal.SIGINT)  # fast shutdown, as a restart does
    answers = set()
    end_at = time.monotonic() + 2
    while time.monotonic() < end_at:
        answers.add(muster.send("while restarting").status_code)
        time.sleep(0.05)
    assert answers <= {202, 503}, "an event is stored or refused in a way that is sent again"
    paged_once(muster, incident_id, by_seconds=30)
    if 202 in answers:
        other = wait_for(lambda: muster.incident("while restarting"), what="what was accepted is not lost")
        end(muster, other["id"])


def test_switched_off_and_on_again(muster: Muster):
    """Last, since it starts everything anew."""
    incident_id = muster.open("power cut")
    muster.kill_supervisor()
    time.sleep(5)  # the deadline passes while nothing runs
    muster.start()
    paged_once(muster, incident_id, by_seconds=20)


def test_no_timeline_was_broken_by_all_this(muster: Muster):
    rows = muster.sql("SELECT count(*) FROM incidents_page WHERE status = 'paging'")
    assert rows == [(0,)]
    doubled = muster.sql(
        "SELECT incident_id, step_key, recipient_id FROM incidents_page GROUP BY 1, 2, 3 HAVING count(*) > 1"
    )
    assert doubled == []
