"""Event to browser: how long after a transition's commit the last of many viewers has it.

`python -m bench.live` starts its own servers; `run(config)` uses the ones that Django is set up for. The transitions run
in this process, the viewers in one of their own, the web server in as many as `config["web_processes"]` says: all on
this machine, so the load generator's work is part of the figures.
"""

import asyncio
import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DEFAULTS = {"viewers": 200, "events": 150, "per_second": 5.0, "burst": 300, "web_processes": 2}


# --- viewers: one process, one socket each, as little work as possible ------------------------------------------------


async def _view(
    port: int, path: str, cookie: str, seen: dict[int, list[float]], ready: asyncio.Semaphore
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
    await writer.drain()
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"A stream was refused: {status!r}")
    ready.release()
    rest = b""
    while chunk := await reader.read(1 << 18):
        now = time.time()
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"id: "):
                seen.setdefault(int(line[4:]), []).append(now)


async def _audience(port: int, path: str, cookies: list[str], pipe: Any) -> None:
    seen: dict[int, list[float]] = {}
    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(_view(port, path, cookie, seen, ready)) for cookie in cookies]
    for _ in tasks:
        await asyncio.wait_for(ready.acquire(), 60)
    pipe.send("ready")
    while not await asyncio.to_thread(pipe.poll, 3600):
        pass
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    pipe.send(seen)


def _run_audience(*args: Any) -> None:
    asyncio.run(_audience(*args))


# --- the web server -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _web(processes: int) -> Iterator[tuple[int, list[int]]]:
    bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
    bound.set_inheritable(True)
    port = bound.getsockname()[1]
    command = [sys.executable, "-m", "config.serve", str(bound.fileno())]
    started = [subprocess.Popen(command, pass_fds=(bound.fileno(),)) for _ in range(processes)]
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                link.request("GET", "/live/now/")
                if link.getresponse().status == 401:
                    break
            if time.monotonic() > until:
                raise RuntimeError("The web server does not start.")
            time.sleep(0.1)
        yield port, [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)
        bound.close()


def _cpu_seconds(pids: list[int]) -> float | None:
    """What these processes have used so far; None where /proc does not say."""
    try:
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    except OSError:
        return None
    return sum(int(line[11]) + int(line[12]) for line in fields) / os.sysconf("SC_CLK_TCK")


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _row(
    name: str,
    viewers: int,
    committed: dict[int, float],
    seen: dict[int, list[float]],
    cpu: list[float | None],
) -> dict[str, Any]:
    took = [
        (max(seen[seq]) - at) * 1000 for seq, at in committed.items() if len(seen.get(seq, [])) == viewers
    ]
    return {
        "bench": "event to browser",
        "case": name,
        "viewers": viewers,
        "events": len(committed),
        "events_not_seen_by_all": len(committed) - len(took),
        "p50_ms": round(_percentile(took, 0.5), 1) if took else None,
        "p99_ms": round(_percentile(took, 0.99), 1) if took else None,
        "max_ms": round(max(took), 1) if took else None,
        "web_cpu_ms_per_event": round((cpu[1] - cpu[0]) * 1000 / len(committed), 1)
        if None not in cpu
        else None,
        "goal": "p99 ≤ 300 ms",
        "met": bool(took) and len(took) == len(committed) and _percentile(took, 0.99) <= 300,
    }


def run(config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Two rows: transitions at a steady pace, and notes as fast as the database takes them."""
    chosen = {**DEFAULTS, **(config or {})}
    viewers = chosen["viewers"]
    people, incident_id = _prepare(viewers)
    cookies = [_cookie(user) for user in people]
    committed: dict[int, float] = {}
    burst: dict[int, float] = {}
    with _web(chosen["web_processes"]) as (port, pids):
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        path = f"/live/incidents/{incident_id}/"
        audience = context.Process(target=_run_audience, args=(port, path, cookies, there), daemon=True)
        audience.start()
        if not here.poll(90) or here.recv() != "ready":
            raise RuntimeError("The viewers did not come in.")
        time.sleep(3)
        cpu = [_cpu_seconds(pids)]
        for number in range(chosen["events"]):
            begun = time.monotonic()
            _change(incident_id, people[number % len(people)], number, committed)
            time.sleep(max(0.0, 1 / chosen["per_second"] - (time.monotonic() - begun)))
        time.sleep(2)
        cpu.append(_cpu_seconds(pids))
        for _ in range(chosen["burst"]):
            _change(incident_id, people[0], None, burst)
        time.sleep(5)
        cpu.append(_cpu_seconds(pids))
        here.send("enough")
        if not here.poll(60):
            raise RuntimeError("The viewers do not report.")
        seen = here.recv()
        audience.join(10)
    return [
        _row(f"{chosen['per_second']:g} transitions/s", viewers, committed, seen, cpu[:2]),
        _row("notes back to back", viewers, burst, seen, cpu[1:]),
    ]


# --- what needs Django --------------------------------------------------------------------------------------------------


def _prepare(viewers: int) -> tuple[list[Any], int]:
    stamp = int(time.time())
    users = User.objects.bulk_create(
        User(
            username=f"bench-{stamp}-{number}",
            full_name=f"Viewer {number}",
            email=f"bench-{stamp}-{number}@example.org",
            password="!",
        )
        for number in range(viewers)
    )
    service = Service.objects.create(name=f"bench-{stamp}", slug=f"bench-{stamp}")
    incident = transitions.trigger(
        service=service, title="Checkout fails", severity=3, urgency="low", now=timezone.now()
    )
    return list(users), incident.pk


def _cookie(user: Any) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


def _change(incident_id: int, by: Any, number: int | None, committed: dict[int, float]) -> None:
    """A transition; its commit is stamped before anybody is told of it."""
    stamps: list[float] = []
    with transaction.atomic():
        transaction.on_commit(lambda: stamps.append(time.time()))
        now = timezone.now()
        if number is None or number % 3:
            text = "r4470 is live on 12 of 18 edge nodes."
            incident = transitions.add_note(incident_id=incident_id, text=text, by=by, now=now)
        else:
            impact = f"{number}% of checkouts fail"
            incident = transitions.set_impact(incident_id=incident_id, impact=impact, by=by, now=now)
    committed[incident.last_seq] = stamps[0]


if "django" in sys.modules or __name__ == "__main__":
    # The viewers' process gets along without Django.
    if __name__ == "__main__":
        from core import servers

        home = Path(tempfile.mkdtemp(prefix="muster-bench-"))
        os.environ.update(
            MUSTER_HOME=str(home), DATABASE_URL=servers.database_url(home), REDIS_URL=servers.redis_url(home)
        )
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        os.environ.setdefault("MUSTER_LOG_LEVEL", "WARNING")
        running = []
        for server in (servers.Postgres(home=home), servers.Valkey(home=home)):
            server.prepare()
            process = server.start()
            server.wait_ready(process)
            running.append((server, process))
        import django

        django.setup()
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django.db import transaction
    from django.utils import timezone

    from accounts.models import User
    from catalog.models import Service
    from incidents import transitions

if __name__ == "__main__":
    try:
        call_command("migrate", verbosity=0)
        for row in run(
            {name: type(DEFAULTS[name])(value) for name, value in (arg.split("=") for arg in sys.argv[1:])}
        ):
            print(json.dumps(row))
    finally:
        for server, process in reversed(running):
            servers.stop(process, server.stop_signal)
