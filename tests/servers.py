"""A pytest plugin: one PostgreSQL and one Valkey for each run, in a temporary folder, gone afterwards.

Loaded by `-p tests.servers` before Django's settings are, since those read the addresses from the
environment. With xdist the controller starts the servers and its workers inherit the addresses.
`TEST_DATABASE_URL` and `TEST_REDIS_URL` name other servers to use.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from core import servers

# Nothing of what a developer has set may reach the tests.
for name in [name for name in os.environ if name.startswith("MUSTER_") and name != "MUSTER_TEST_HOME"]:
    del os.environ[name]
os.environ.pop("EMAIL_URL", None)

FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "300",
}


def _start() -> None:
    home = Path(tempfile.mkdtemp(prefix="muster-test-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ["MUSTER_TEST_HOME"] = str(home)
    os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or servers.database_url(home)
    os.environ["REDIS_URL"] = os.environ.get("TEST_REDIS_URL") or servers.redis_url(home)
    wanted: list[servers.Server] = []
    if not os.environ.get("TEST_DATABASE_URL"):
        wanted.append(servers.Postgres(home=home, options=FAST))
    if not os.environ.get("TEST_REDIS_URL"):
        wanted.append(servers.Valkey(home=home))
    started = []
    for server in wanted:
        server.prepare()
        process = server.start()
        atexit.register(servers.stop, process, server.stop_signal)
        started.append((server, process))
    for server, process in started:
        server.wait_ready(process)


if "PYTEST_XDIST_WORKER" not in os.environ:
    _start()
os.environ["MUSTER_HOME"] = os.environ["MUSTER_TEST_HOME"]
os.environ["MUSTER_SECRET_KEY"] = "only-for-tests-" + "x" * 40
