import contextlib
import fcntl
import http.client
import io
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import redis
from django.apps import apps
from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import Error as DatabaseError

from core import processes
from core.servers import Postgres, Server, ServerError, Valkey
from core.supervisor import Child, Supervisor, say_to_terminal

OLDEST_POSTGRES = 15
MIGRATION_LOCK = 0x6D757374  # "must"


class Command(BaseCommand):
    help = "Start everything: database and Valkey (unless others are named), web server, workers, timekeeper."
    requires_system_checks = ()

    def handle(self, **options: Any) -> None:
        # Whoever waits for this output may read it through a pipe.
        sys.stdout.reconfigure(line_buffering=True)
        self.home: Path = settings.MUSTER_HOME
        self.logs = self.home / "logs"
        begun = time.monotonic()
        with _home(self.home), processes.listen() as bound:
            _end_leftovers(self.home)
            if settings.EMAIL_BACKEND.endswith("filebased.EmailBackend"):
                # The mails hold links that sign in and acknowledge: not for other accounts of this machine.
                Path(settings.EMAIL_FILE_PATH).mkdir(mode=0o700, parents=True, exist_ok=True)
            supervisor = Supervisor(say=say_to_terminal)
            try:
                self._start_servers(supervisor)
                _check_redis()
                self._prepare_database()
                call_command("assets")
                demo = self._demo()
                connection.close()
                connection.close_pool()  # its threads and sockets must not be shared with the children
                supervisor.listen()
                for child in [*processes.web(bound, self.logs), *processes.workers(self.logs)]:
                    supervisor.add(child)
                for child in processes.timekeepers(self.logs):
                    supervisor.add(child)
                _remember(self.home, supervisor.children)
                self._wait_for_web(supervisor)
                if not supervisor.asked:
                    self._tell(demo, seconds=time.monotonic() - begun)
                while not supervisor.asked:
                    supervisor.tick(30)
                    _remember(self.home, supervisor.children)
            except KeyboardInterrupt:
                pass
            except ServerError as error:
                raise CommandError(str(error)) from None
            finally:
                if supervisor.children:
                    self.stdout.write("Stopping.")
                supervisor.stop()
                (self.home / "processes.json").unlink(missing_ok=True)

    def _start_servers(self, supervisor: Supervisor) -> None:
        wanted: list[Server] = []
        if settings.EMBEDDED_POSTGRES:
            wanted.append(Postgres(home=self.home))
        if settings.EMBEDDED_VALKEY:
            wanted.append(Valkey(home=self.home))
        started = []
        for server in wanted:
            server.prepare()
            process = server.start()
            child = Child(
                name=server.title,
                start=server.start,
                stop_signal=server.stop_signal,
                stop_rank=1,
                log=server.log,
                seconds_to_stop=20,
            )
            supervisor.adopt(child, process)
            started.append((server, process))
        for server, process in started:
            server.wait_ready(process)

    def _prepare_database(self) -> None:
        try:
            with connection.cursor() as cursor:
                version = connection.pg_version // 10000
                if version < OLDEST_POSTGRES:
                    raise CommandError(
                        f"DATABASE_URL names PostgreSQL {version}; {OLDEST_POSTGRES} or newer is needed."
                    )
                # Two that start at the same time against one database take turns.
                cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
            executor = MigrationExecutor(connection)
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                self.stdout.write("Bringing the database up to date.")
                call_command("migrate", interactive=False, verbosity=0)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
        except DatabaseError as error:
            what = (
                "The embedded PostgreSQL"
                if settings.EMBEDDED_POSTGRES
                else "The database that DATABASE_URL names"
            )
            raise CommandError(f"{what} refuses: {str(error).strip().splitlines()[0]}") from None

    def _demo(self) -> dict[str, Any] | None:
        """Load the demonstration data into a new database. What to sign in with, if that data is there."""
        if not settings.MUSTER_DEMO or "seed_demo" not in get_commands():
            return None
        mark = self.home / "demo.json"
        user = apps.get_model(settings.AUTH_USER_MODEL)
        if user.objects.exists() and not mark.exists():
            return None  # somebody else's database
        if not user.objects.exists():
            self.stdout.write("Loading the demonstration data, this once.")
        told = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()):
            call_command("seed_demo", json=True, stdout=told)
        demo = json.loads(told.getvalue())
        with open(mark, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(demo, file)
        return demo

    def _wait_for_web(self, supervisor: Supervisor) -> None:
        web = [child for child in supervisor.children if child.name.startswith("web")]

        def ready() -> bool:
            if any(child.deaths >= 3 for child in web):
                raise ServerError(f"The web server does not start: {_last_line(self.logs / 'web.log')}")
            return _answers()

        if not supervisor.wait_until(ready, seconds=90) and not supervisor.asked:
            raise ServerError(f"The web server does not answer: {_last_line(self.logs / 'web.log')}")

    def _tell(self, demo: dict[str, Any] | None, *, seconds: float) -> None:
        lines = [
            "",
            f"Muster runs (ready in {seconds:.1f} s).",
            "",
            f"  Address   {settings.MUSTER_BASE_URL}",
        ]
        if demo:
            lines.append(f"  Sign in   {demo['username']} / {demo['password']}")
        if settings.EMAIL_BACKEND.endswith("filebased.EmailBackend"):
            lines.append(f"  Mails     files in {settings.EMAIL_FILE_PATH} (EMAIL_URL is not set)")
        lines.append(f"  Logs      {self.logs}")
        if demo:
            event = {
                "routing_key": demo["routing_key"],
                "event_action": "trigger",
                "dedup_key": "first-alert",
                "payload": {"summary": "Checkout answers 5xx", "source": "web-1", "severity": "critical"},
            }
            lines += ["", "  Fire an alert:", ""]
            lines.append(
                f"  curl -sS {settings.MUSTER_BASE_URL}/v2/enqueue -H 'Content-Type: application/json'"
                f" -d {shlex.quote(json.dumps(event))}"
            )
        lines += ["", "Ctrl-C stops all of it.", ""]
        self.stdout.write("\n".join(lines))


@contextmanager
def _home(home: Path) -> Iterator[None]:
    """Hold the home folder, so that two never run the same database."""
    try:
        (home / "logs").mkdir(parents=True, exist_ok=True)
        # Not truncated on opening: the number of the one who holds it must stay readable.
        lock = open(home / "lock", "a+")  # noqa: SIM115  held until the end
    except OSError as error:
        raise CommandError(f"MUSTER_HOME {home} cannot be used: {error.strerror}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            raise CommandError(
                f"MUSTER_HOME {home} is in use by another `manage.py up` (process {holder or 'unknown'}). "
                "Stop that one, or set MUSTER_HOME to another folder."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _remember(home: Path, children: list[Child]) -> None:
    """Keep who runs, so that the next start can end what a killed supervisor left behind."""
    known = []
    for child in children:
        if child.process is not None:
            with suppress(psutil.Error):
                known.append([child.process.pid, psutil.Process(child.process.pid).create_time()])
    fresh = home / "processes.json.new"
    fresh.write_text(json.dumps(known))
    fresh.rename(home / "processes.json")


def _end_leftovers(home: Path) -> None:
    """End what an `up` that was killed has left running. A number that is another process by now stays."""
    try:
        known = json.loads((home / "processes.json").read_text())
    except (OSError, ValueError):
        return
    left = []
    for number, created in known:
        with suppress(psutil.Error):
            process = psutil.Process(number)
            if abs(process.create_time() - created) < 1:
                process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
                left.append(process)
    for process in psutil.wait_procs(left, timeout=10)[1]:
        with suppress(psutil.Error):
            process.kill()


def _check_redis() -> None:
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=3, socket_timeout=3).ping()
    except redis.RedisError as error:
        what = "The embedded Valkey" if settings.EMBEDDED_VALKEY else "The server that REDIS_URL names"
        raise CommandError(f"{what} does not answer: {error}") from None


def _answers() -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.MUSTER_HOST, settings.MUSTER_HOST)  # noqa: S104
    link = http.client.HTTPConnection(host, settings.MUSTER_PORT, timeout=2)
    try:
        link.request("GET", "/healthz", headers={"Host": "localhost"})
        return link.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return f"{lines[-1] if lines else 'it said nothing'} (see {log})"
