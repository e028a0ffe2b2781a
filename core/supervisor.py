"""Runs child processes, starts again what dies, stops all of them when told.

One loop in the main thread that sleeps until a signal or the next due start. A child leads a process group of
its own, so Ctrl-C reaches the supervisor alone and the supervisor decides the order. On Linux the kernel ends
the children when the supervisor itself is killed.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from core.servers import die_with_parent

FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
CALM = 20.0  # a child that lived this long starts anew at once
LOG_LIMIT = 50 * 1024 * 1024
LOG_LOOK = 60.0


@dataclass(kw_only=True)
class Child:
    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_rank: int = 0  # children with a lower rank are stopped first: servers outlive those who use them
    seconds_to_stop: float = 10
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    deaths: int = 0
    wait: float = 0
    due: float = 0


def command_child(
    *,
    name: str,
    command: list[str],
    log: Path | None = None,
    pass_fds: tuple[int, ...] = (),
    cwd: Path | None = None,
    **how,
) -> Child:
    """A child that runs `command`; what it prints goes to `log`, or to where the supervisor's own output
    goes."""

    def start() -> subprocess.Popen[bytes]:
        output = open(log, "ab") if log else None  # noqa: SIM115  closed below
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        finally:
            if output:
                output.close()

    return Child(name=name, start=start, log=log, **how)


@dataclass(kw_only=True)
class Supervisor:
    say: Callable[[str], None]
    children: list[Child] = field(default_factory=list)
    asked: int = 0  # how often somebody asked to stop

    def __post_init__(self) -> None:
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        self._look_at_logs = time.monotonic() + LOG_LOOK

    def listen(self) -> None:
        """From now on Ctrl-C and SIGTERM ask to stop, and a child's end wakes the loop."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked += 1

    def add(self, child: Child) -> None:
        self.children.append(child)
        self._start(child)

    def adopt(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        """Watch over a process that already runs."""
        child.process, child.started = process, time.monotonic()
        self.children.append(child)

    def _start(self, child: Child) -> None:
        child.started = time.monotonic()
        try:
            child.process = child.start()
        except OSError as error:
            child.process = None
            self._plan(child, f"cannot be started: {error}")

    def _plan(self, child: Child, why: str) -> None:
        child.deaths += 1
        lived = time.monotonic() - child.started
        child.wait = FIRST_WAIT if lived >= CALM or not child.wait else min(child.wait * 2, LONGEST_WAIT)
        child.due = time.monotonic() + child.wait
        where = f" Its log: {child.log}." if child.log else ""
        self.say(f"{child.name} {why}. It starts again in {child.wait:.1f} s.{where}")

    def tick(self, longest: float) -> None:
        """Start what is due, then sleep until something happens, at most `longest` seconds."""
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and (code := child.process.poll()) is not None:
                # What it started itself goes with it, so that the new one meets no orphans.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.process.pid, signal.SIGKILL)
                child.process = None
                self._plan(
                    child,
                    f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}",
                )
            if child.process is None and child.due <= now:
                self._start(child)
        if now >= self._look_at_logs:
            self._look_at_logs = now + LOG_LOOK
            for child in self.children:
                _cut(child.log)
        waits = [child.due - time.monotonic() for child in self.children if child.process is None]
        self._sleep(max(0.0, min([longest, *waits])))

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> bool:
        """Watch over the children until `ready` says so. False when time is up or somebody asked to stop."""
        begun = time.monotonic()
        while not self.asked and time.monotonic() - begun < seconds:
            if ready():
                return True
            self.tick(0.1)
        return False

    def run(self) -> None:
        """Until somebody asks to stop."""
        while not self.asked:
            self.tick(LOG_LOOK)

    def stop(self) -> None:
        """Stop the children by rank, together within a rank. Asking once more kills what is left."""
        for rank in sorted({child.stop_rank for child in self.children}):
            running = [
                (child, child.process) for child in self.children if child.stop_rank == rank and child.process
            ]
            for child, process in running:
                with suppress(ProcessLookupError):
                    process.send_signal(child.stop_signal)
            begun = time.monotonic()
            for child, process in running:
                while process.poll() is None:
                    left = begun + child.seconds_to_stop - time.monotonic()
                    if left <= 0 or self.asked > 1:
                        break
                    self._sleep(min(left, 0.2))
                # The leader has ended or is to end now; nothing of its group stays behind.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                child.process = None

    def _sleep(self, longest: float) -> None:
        """Until a signal arrives, at most `longest` seconds."""
        if select.select([self._wake_read], [], [], longest)[0]:
            with suppress(BlockingIOError):
                os.read(self._wake_read, 4096)


def _cut(log: Path | None) -> None:
    """Keep one older log beside the current one. The writers append, so the file itself must stay."""
    if log is None or not log.exists() or log.stat().st_size < LOG_LIMIT:
        return
    older = log.with_suffix(".old.log")
    older.write_bytes(log.read_bytes())
    os.truncate(log, 0)


def say_to_terminal(line: str) -> None:
    print(f"muster: {line}", file=sys.stderr, flush=True)  # noqa: T201
