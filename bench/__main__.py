"""`make bench`: runs every bench, prints its table and writes docs/performance.md with the machine's description.

`python -m bench escalation pages` runs only these and prints without writing.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.common import ROOT, tool

NAMES = ("ingest", "escalation", "storm", "pages", "live", "history", "room")
PAGE = ROOT / "docs" / "performance.md"
TITLES = {
    "ingest": "Alerts in over HTTP, committed before the answer",
    "escalation": "How late a tier is paged (commit of the step minus its due time)",
    "storm": "A storm of alerts: nothing lost, one page for each incident and person, other escalations on time",
    "pages": "From an accepted alert to its first page at the mail server",
    "live": "From a transition's commit to the last of the viewers",
    "history": "Pages and list API with a short and a long history",
    "room": "A room with 5,000 entries, its transcript, and the search over all timelines",
}


def machine() -> str:
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = next(
        line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")
    )
    postgres = subprocess.run(
        [tool("postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return (
        f"{os.cpu_count()} cores of {cpu}, {int(memory.split()[1]) / 1024**2:.0f} GB, {platform.system()} "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()}, {postgres}"
    )


def bench(name: str) -> list[dict[str, Any]]:
    """In a process of its own: some benches need Django set up, others must not have it."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "bench"))
    lines = [
        "| " + " | ".join(name.replace("_", " ") for name in columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    for row in rows:
        lines.append("| " + " | ".join(_cell(row.get(name)) for name in columns) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return "" if value is None else f"{value:,}" if isinstance(value, int | float) else str(value)


def main() -> None:
    wanted = sys.argv[1:] or list(NAMES)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        sys.exit(f"There is no bench {unknown[0]}. There are {', '.join(NAMES)}.")
    sections = []
    for name in wanted:
        print(f"{TITLES[name]} …", flush=True)
        rows = bench(name)
        sections.append(f"## {TITLES[name]}\n\n{table(rows)}\n")
        print(sections[-1], flush=True)
    if len(wanted) == len(NAMES):
        PAGE.write_text(
            "# Performance\n\nWritten by `make bench`. Load generators, database, broker, web server and workers share the "
            f"machine, as in a small installation.\n\nMeasured on {time.strftime('%d %B %Y')}: {machine()}.\n\n"
            + "\n".join(sections)
        )
        print(f"Written to {PAGE.relative_to(ROOT)}.")


if __name__ == "__main__":
    main()
