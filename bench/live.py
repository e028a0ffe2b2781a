"""Event to browser: how long after a transition's commit the last of many viewers has it.

A whole Muster runs; a driver (`live_driver.py`) makes the transitions, one process holds all viewers. All of it shares
this machine, so the work of the viewers is part of the figures.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.common import ROOT, Muster, percentile, running

DEFAULTS = {"viewers": 200, "events": 150, "per_second": 5.0, "burst": 300}
GOAL_MS = 300

Seen = dict[int, list[float]]


# --- the viewers: one socket each, and as little work as possible -----------------------------------------------


async def _view(port: int, path: str, cookie: str, seen: Seen) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
    status = await reader.readline()
    if b" 200 " not in status:
        raise RuntimeError(f"A stream was refused: {status!r}")
    asyncio.current_task().set_name("in")
    rest = b""
    while chunk := await reader.read(1 << 18):
        now = time.time()
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"id: "):
                seen.setdefault(int(line[4:]), []).append(now)


async def _measure(muster: Muster, chosen: Mapping[str, Any]) -> tuple[dict[str, Any], Seen, list[float]]:
    """What the driver says, what the viewers saw, and the web servers' CPU seconds before, between and after."""
    driver = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.live_driver", json.dumps(chosen),
        cwd=ROOT, env=muster.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    assert driver.stdin and driver.stdout

    async def answer() -> Any:
        return json.loads(await driver.stdout.readline() or b'{"error": "the driver has died"}')

    seen: Seen = {}
    prepared = await answer()
    viewers = [
        asyncio.create_task(_view(muster.port, prepared["path"], cookie, seen))
        for cookie in prepared["cookies"]
    ]
    until = time.monotonic() + 60
    while any(task.get_name() != "in" for task in viewers):
        if time.monotonic() > until or any(task.done() for task in viewers):
            raise RuntimeError(
                f"Not all viewers came in: {[task.exception() for task in viewers if task.done()][:3]}"
            )
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    committed, cpu = {}, [_web_cpu(muster)]
    for case in ("steady", "burst"):
        driver.stdin.write(f"{case}\n".encode())
        committed[case] = {int(seq): at for seq, at in (await answer()).items()}
        await asyncio.sleep(4)  # for what is still under way
        cpu.append(_web_cpu(muster))
    driver.stdin.close()
    await driver.wait()
    for task in viewers:
        task.cancel()
    await asyncio.gather(*viewers, return_exceptions=True)
    return committed, seen, cpu


def _web_cpu(muster: Muster) -> float:
    """Seconds that the web processes of this Muster have used."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"config.serve" not in (process / "cmdline").read_bytes():
                continue
            if f"MUSTER_HOME={muster.home}\0".encode() not in (process / "environ").read_bytes():
                continue
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def _row(case: str, viewers: int, committed: dict[int, float], seen: Seen, cpu: float) -> dict[str, Any]:
    took = [max(seen[seq]) - at for seq, at in committed.items() if len(seen.get(seq, [])) == viewers]
    whole = len(took) == len(committed)
    return {
        "bench": "event to browser",
        "case": case,
        "viewers": viewers,
        "events": len(committed),
        "not_seen_by_all": len(committed) - len(took),
        "p50_ms": round(percentile(took, 0.5) * 1000, 1),
        "p99_ms": round(percentile(took, 0.99) * 1000, 1),
        "max_ms": round(max(took, default=float("nan")) * 1000, 1),
        "web_cpu_ms_per_event": round(cpu * 1000 / len(committed), 1),
        "goal": f"p99 ≤ {GOAL_MS} ms",
        "met": whole and percentile(took, 0.99) * 1000 <= GOAL_MS,
    }


def run(config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Two rows: transitions at a steady pace, and notes as fast as they can be written."""
    chosen = {**DEFAULTS, **(config or {})}
    with running() as muster:
        committed, seen, cpu = asyncio.run(_measure(muster, chosen))
    viewers = int(chosen["viewers"])
    return [
        _row(f"{chosen['per_second']:g} transitions/s", viewers, committed["steady"], seen, cpu[1] - cpu[0]),
        _row("notes back to back", viewers, committed["burst"], seen, cpu[2] - cpu[1]),
    ]


if __name__ == "__main__":
    given = dict(argument.split("=") for argument in sys.argv[1:])
    for row in run({name: type(DEFAULTS[name])(value) for name, value in given.items()}):
        print(json.dumps(row))
