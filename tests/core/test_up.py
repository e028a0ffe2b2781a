"""`manage.py up` as a person uses it: real processes, real signals."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings

from core import servers

pytestmark = pytest.mark.xdist_group("up")

OWN = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
for unwanted in ("DATABASE_URL", "REDIS_URL"):
    OWN.pop(unwanted, None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(home: Path, **more: str) -> dict[str, str]:
    wanted = {"MUSTER_HOME": str(home), "MUSTER_PORT": str(free_port()), "MUSTER_DEMO": "false"}
    return {**OWN, **wanted, "MUSTER_WEB_PROCESSES": "1", **more}


def command(*words: str) -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), *words]


def refusal(env: dict[str, str], *words: str) -> str:
    """What the command says when it does not start."""
    done = subprocess.run(command(*(words or ("up",))), env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def eventually(claim: Callable[[], bool], *, seconds: float = 30) -> bool:
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if claim():
            return True
        time.sleep(0.05)
    return False


class Up:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = environment(home)
        self.port = int(self.env["MUSTER_PORT"])
        self.process = subprocess.Popen(
            command("up"), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.told = ""
        for line in self.process.stdout:
            self.told += line
            if "Ctrl-C stops" in line:
                return
        raise AssertionError(f"did not start: {self.told}")

    def children(self) -> dict[str, int]:
        known = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                words = " ".join(child.cmdline())
            except psutil.Error:
                continue
            for name, mark in {
                "web": "config.serve",
                "timers": "timers1@",
                "deliver": "deliver1@",
                "timekeeper": "timekeeper",
                "postgres": "bin/postgres",
                "valkey": "valkey-server",
            }.items():
                if mark in words:
                    known[name] = child.pid
        return known

    def status(self, path: str) -> int:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            link.request("GET", path)
            return link.getresponse().status
        except OSError:
            return 0
        finally:
            link.close()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(40)
        self.process.stdout.close()


@pytest.fixture
def short_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="muster-up-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def running() -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="muster-up-", ignore_cleanup_errors=True) as folder:
        up = Up(Path(folder))
        yield up
        up.end()


def test_up_tells_its_address_and_where_mails_go(running: Up) -> None:
    assert f"http://localhost:{running.port}" in running.told
    assert f"files in {running.home}/mail" in running.told
    assert (running.home / "mail").stat().st_mode & 0o777 == 0o700
    assert running.status("/readyz") == 200


@pytest.mark.parametrize("name", ["web", "timers", "deliver", "timekeeper", "valkey", "postgres"])
def test_a_child_that_is_killed_comes_back(running: Up, name: str) -> None:
    assert eventually(lambda: name in running.children())
    before = running.children()
    os.kill(before[name], signal.SIGKILL)
    assert eventually(lambda: running.children().get(name, before[name]) != before[name])
    assert eventually(lambda: running.status("/readyz") == 200)
    after = running.children()
    assert {other: after[other] for other in after if other != name} == {
        other: before[other] for other in before if other != name
    }


def test_without_the_database_readyz_answers_503_and_healthz_200(running: Up) -> None:
    running.process.send_signal(signal.SIGSTOP)  # else the database is back before anybody has noticed
    try:
        os.kill(running.children()["postgres"], signal.SIGKILL)
        # A server process outlives its parent for a moment, and until then it answers.
        assert eventually(lambda: running.status("/readyz") == 503)
        assert running.status("/healthz") == 200
    finally:
        running.process.send_signal(signal.SIGCONT)
    assert eventually(lambda: running.status("/readyz") == 200)


def test_a_second_up_on_the_same_home_says_who_has_it(running: Up) -> None:
    said = refusal({**running.env, "MUSTER_PORT": str(free_port())})
    assert f"MUSTER_HOME {running.home} is in use" in said
    assert f"process {running.process.pid}" in said


def test_a_taken_port_is_named_before_anything_starts(running: Up, short_home: Path) -> None:
    said = refusal({**environment(short_home), "MUSTER_PORT": str(running.port)})
    assert f"Port {running.port} on 127.0.0.1 is taken" in said
    assert "MUSTER_PORT" in said
    assert not (short_home / "postgres").exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MUSTER_PORT", "eighty", "MUSTER_PORT must be a whole number from 1 to 65535, not 'eighty'."),
        ("MUSTER_DEBUG", "maybe", "MUSTER_DEBUG must be true or false, not 'maybe'."),
        ("DATABASE_URL", "mysql://x/y", "DATABASE_URL must start with postgres:// or postgresql://."),
        ("MUSTER_LOG_FORMAT", "xml", "MUSTER_LOG_FORMAT must be one of plain, json, not 'xml'."),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_sentence(
    short_home: Path, name: str, value: str, said: str
) -> None:
    assert refusal(environment(short_home, **{name: value})) == f"muster: {said}"
    assert list(short_home.iterdir()) == []


def test_a_database_that_does_not_answer_is_named(short_home: Path) -> None:
    said = refusal(environment(short_home, DATABASE_URL=f"postgres://x:geheim@127.0.0.1:{free_port()}/x"))
    assert "DATABASE_URL" in said
    assert "geheim" not in said


def test_a_server_that_cannot_start_says_why(short_home: Path) -> None:
    server = servers.Postgres(home=short_home, options={"max_connections": "many"})
    server.prepare()
    process = server.start()
    with pytest.raises(
        servers.ServerError, match=r"PostgreSQL stopped at once: .*max_connections.*postgres\.log"
    ):
        server.wait_ready(process)


def test_sigterm_leaves_nothing_behind_and_sigkill_neither(short_home: Path) -> None:
    up = Up(short_home)
    children = [psutil.Process(number) for number in up.children().values()]
    assert len(children) == 6
    up.process.kill()
    up.process.wait()
    assert eventually(lambda: not any(child.is_running() for child in children), seconds=15)

    # The lock and the process list of the killed one are in the way of nobody.
    again = Up(short_home)
    children = [psutil.Process(number) for number in again.children().values()]
    again.end()
    assert again.process.returncode == 0
    assert not any(child.is_running() for child in children)
