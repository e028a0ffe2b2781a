"""A whole Muster as processes: `manage.py up` with its own servers, a real mail server, and eyes into its database."""

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from aiosmtpd.controller import Controller
from django.conf import settings

from core import servers
from tests.core.test_up import environment, free_port


def wait_for(claim: Callable[[], Any], *, seconds: float = 20, what: str = "") -> Any:
    """The first true answer of `claim`; fails when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        found = claim()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or claim}")
        time.sleep(0.05)


class Mailbox:
    """A real SMTP server that keeps what it is given."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port())

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.messages.append(message)
        return "250 OK"

    def to(self, name: str, *, ref: str = "") -> list[EmailMessage]:
        return [
            message
            for message in list(self.messages)
            if message["To"] == f"{name}@example.org" and ref in message.get_body(("plain",)).get_content()
        ]

    def recipients(self, *, ref: str) -> list[str]:
        return [
            str(message["To"]).partition("@")[0]
            for message in list(self.messages)
            if f"({ref})" in message.get_body(("plain",)).get_content()
        ]


class Muster:
    """One `manage.py up` and what a person or a sender can do with it from outside."""

    def __init__(self, home: Path, mailbox: Mailbox, **env: str) -> None:
        self.home, self.mailbox = home, mailbox
        self.env = environment(home, EMAIL_URL=f"smtp://127.0.0.1:{mailbox.controller.port}", **env)
        self.url = f"http://127.0.0.1:{self.env['MUSTER_PORT']}"
        self.env["MUSTER_BASE_URL"] = self.url
        self.world: dict[str, Any] = {}
        self.http = httpx.Client(base_url=self.url, timeout=15)
        self.process: subprocess.Popen[str] | None = None

    # ------------------------------------------------------------------------------------------ life

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], env=self.env, cwd=settings.BASE_DIR, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        told = ""
        for line in self.process.stdout:
            told += line
            if "Ctrl-C stops" in line:
                break
        else:
            raise AssertionError(f"did not start: {told}")
        wait_for(self.is_alive, seconds=60, what="timekeeper and workers")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)

    def kill_supervisor(self) -> None:
        """SIGKILL to the parent of everything, as when the machine is switched off."""
        self.process.kill()
        self.process.wait()

    def is_alive(self) -> bool:
        return bool(self.sql("SELECT 1 FROM timers_heartbeat WHERE name LIKE 'timekeeper%%'"))

    def build(self, **options: Any) -> None:
        words = ", ".join(f"{name}={value!r}" for name, value in options.items())
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "-c", f"from tests.journeys.world import build; build({words})"],
            env=self.env, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.world = json.loads(re.search(r"^WORLD (.*)$", done.stdout, re.MULTILINE)[1])

    def processes(self, pattern: str) -> list[psutil.Process]:
        """Processes of this Muster whose command line matches."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if re.search(pattern, " ".join(process.cmdline())):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def kill(self, pattern: str) -> None:
        victims = self.processes(pattern)
        assert victims, f"nothing runs like {pattern}"
        for victim in victims:
            victim.kill()

    # ------------------------------------------------------------------------------------------ looking

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """[] while the database is away."""
        try:
            with psycopg.connect(
                servers.database_url(self.home), connect_timeout=2, autocommit=True
            ) as connection:
                return connection.execute(query, parameters).fetchall()
        except psycopg.OperationalError:
            return []

    def kinds(self, incident_id: int) -> list[str]:
        rows = self.sql(
            "SELECT kind FROM incidents_timelineentry WHERE incident_id = %s ORDER BY seq", incident_id
        )
        return [kind for (kind,) in rows]

    def paged(self, incident_id: int) -> list[str]:
        rows = self.sql(
            "SELECT username FROM incidents_page p JOIN accounts_user u ON u.id = p.recipient_id"
            " WHERE incident_id = %s ORDER BY p.id",
            incident_id,
        )
        return [name for (name,) in rows]

    def firings(self, incident_id: int) -> list[tuple[int, str]]:
        """(lateness in ms, by whom) of each escalation step of an incident."""
        return self.sql(
            "SELECT lateness_ms, by FROM timers_firing WHERE kind = 'escalation.step' AND key = %s ORDER BY id",
            str(incident_id),
        )

    # ------------------------------------------------------------------------------------------ acting

    def send(self, dedup_key: str, action: str = "trigger", *, service: int = 0) -> httpx.Response:
        body = {
            "routing_key": self.world["routing_keys"][service], "event_action": action, "dedup_key": dedup_key,
            "payload": {"summary": f"5xx {dedup_key}", "source": "web-1", "severity": "critical"},
        }  # fmt: skip
        return self.http.post("/v2/enqueue", json=body)

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.world['token']}"}
        return self.http.request(method, f"/api/v1/{path}", headers=headers, **options)

    def incident(self, dedup_key: str) -> dict[str, Any] | None:
        found = self.api("GET", "incidents/", params={"dedup_key": dedup_key}).json()["results"]
        return found[0] if found else None

    def open(self, dedup_key: str, *, service: int = 0) -> int:
        """Send a trigger and wait for its incident. Its id."""
        answer = self.send(dedup_key, service=service)
        assert answer.status_code == 202, answer.text
        return wait_for(lambda: self.incident(dedup_key), what=f"incident of {dedup_key}")["id"]


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.controller.start()
    yield box
    box.controller.stop()


@pytest.fixture(scope="module")
def muster(request: pytest.FixtureRequest, mailbox: Mailbox) -> Iterator[Muster]:
    """Started once for a module; `MUSTER_ENV` and `WORLD` in the module say how."""
    with tempfile.TemporaryDirectory(prefix="muster-journey-") as folder:
        running = Muster(Path(folder), mailbox, **getattr(request.module, "MUSTER_ENV", {}))
        running.start()
        try:
            running.build(**getattr(request.module, "WORLD", {}))
            yield running
        finally:
            running.stop()
            running.http.close()
