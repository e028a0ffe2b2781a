"""The processes that Muster consists of, as children for the supervisor."""

import socket
import sys
from pathlib import Path

from django.conf import settings
from django.core.management import CommandError, get_commands

from core.supervisor import Child, command_child

PYTHON = [sys.executable, "-u"]
QUEUES = {"timers": "timers,default", "deliver": "deliver"}


def listen() -> socket.socket:
    """The web server's socket. Binding it first tells at once when somebody else has the port."""
    host, port = settings.MUSTER_HOST, settings.MUSTER_PORT
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(2048)
    except OSError as error:
        if isinstance(error, socket.gaierror):
            raise CommandError(f"MUSTER_HOST {host!r} is not an address of this machine.") from None
        if error.errno in {13, 1}:
            raise CommandError(
                f"MUSTER_PORT {port} may not be opened by this account; take one above 1023."
            ) from None
        if error.errno == 99:
            raise CommandError(f"MUSTER_HOST {host!r} is not an address of this machine.") from None
        raise CommandError(
            f"Port {port} on {host} is taken by another program. "
            "Stop that one, or set MUSTER_PORT to a free port."
        ) from None
    return bound


def _log(folder: Path | None, name: str) -> Path | None:
    return folder / f"{name}.log" if folder else None


def web(bound: socket.socket, logs: Path | None = None) -> list[Child]:
    return [
        command_child(
            name=f"web {number}",
            command=[*PYTHON, "-m", "config.serve", str(bound.fileno())],
            pass_fds=(bound.fileno(),),
            cwd=settings.BASE_DIR,
            log=_log(logs, "web"),
        )
        for number in range(1, settings.MUSTER_WEB_PROCESSES + 1)
    ]


def workers(logs: Path | None = None, groups: list[str] | None = None) -> list[Child]:
    children = []
    for group, queues in QUEUES.items():
        if groups and group not in groups:
            continue
        # Processes, not threads: only they wait for a task's exact time in Celery's event loop. The thread pool's
        # timer sleeps until the task that was next when it fell asleep, so one that is due sooner comes seconds late.
        processes = settings.MUSTER_WORKER_PROCESSES * (2 if group == "deliver" else 1)
        for number in range(1, settings.MUSTER_WORKERS + 1):
            command = [*PYTHON, "-m", "celery", "--app", "config", "--quiet", "worker", "--pool", "prefork"]
            command += [
                "--concurrency",
                str(processes),
                "--queues",
                queues,
                "--hostname",
                f"{group}{number}@%h",
            ]
            command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
            command += ["--loglevel", settings.MUSTER_LOG_LEVEL]
            children.append(
                command_child(
                    name=f"worker {group} {number}",
                    command=command,
                    cwd=settings.BASE_DIR,
                    log=_log(logs, f"worker-{group}"),
                )
            )
    return children


def timekeepers(logs: Path | None = None) -> list[Child]:
    if "timekeeper" not in get_commands():
        return []
    return [
        command_child(
            name=f"timekeeper {number}",
            command=[*PYTHON, "manage.py", "timekeeper"],
            cwd=settings.BASE_DIR,
            log=_log(logs, "timekeeper"),
        )
        for number in range(1, settings.MUSTER_TIMEKEEPERS + 1)
    ]
