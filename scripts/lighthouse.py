"""What Lighthouse says of the pages that matter most: `.venv/bin/python scripts/lighthouse.py`. Needs npx.

Each page is measured three times on a desk and on Lighthouse's own phone, with a slow network and a slow processor;
the middle one counts. Not part of CI, whose machine is too busy for stable figures; docs/performance.md has the last
ones. Names of pages may be given: `… lighthouse.py "war room"`.
"""

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import demo_server  # noqa: E402
from tests import browser  # noqa: E402

LIGHTHOUSE = "lighthouse@12.8.2"
CATEGORIES = ("performance", "accessibility")
FIGURES = {
    "first paint": "first-contentful-paint",
    "largest paint": "largest-contentful-paint",
    "blocked": "total-blocking-time",
    "shift": "cumulative-layout-shift",
}
GOAL = 95
TIMES = 3
FIRST_PAGE = (
    "from incidents.links import answer_path; from incidents.models import Page; "
    "print(answer_path(Page.objects.filter(status='paging').latest('pk').pk))"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def measure(url: str, *, port: int, phone: bool, folder: Path) -> dict[str, Any]:
    """Lighthouse's report, by the browser that listens on `port` and is signed in."""
    result = folder / "result.json"
    command = [
        "npx", "--yes", LIGHTHOUSE, url, "--quiet", "--output=json", f"--output-path={result}",
        f"--only-categories={','.join(CATEGORIES)}", "--max-wait-for-load=15000", f"--port={port}",
        "--blocked-url-patterns=/live/",  # a stream never ends, and the page is never done for Lighthouse
        *([] if phone else ["--preset=desktop"]),
    ]  # fmt: skip
    for _ in range(3):  # now and then it misses the beginning of its own trace
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(result.read_text())
    sys.exit(f"Lighthouse failed at {url}: {done.stderr.strip()[-500:]}")


def scores(report: dict[str, Any]) -> list[int]:
    return [round(report["categories"][name]["score"] * 100) for name in CATEGORIES]


def main() -> None:
    port = free_port()
    with (
        demo_server.running() as demo,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        sync_playwright() as playwright,
    ):
        # Cookies given to Lighthouse as a header do not reach what a page fetches by itself.
        context = playwright.chromium.launch_persistent_context(
            Path(folder) / "profile",
            executable_path=browser.path(),
            args=[*browser.ARGS, f"--remote-debugging-port={port}"],
            base_url=demo.url,
        )
        demo.sign_in(context)
        pages = {
            "home": "/",
            "incident list": "/incidents/",
            "war room": f"/incidents/{demo.worst_incident()}/",
            "answering a page": demo.ask(FIRST_PAGE),
        }
        columns = ["page", *CATEGORIES, *FIGURES]
        print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
        missed = []
        for name, path in pages.items():
            if sys.argv[1:] and name not in sys.argv[1:]:
                continue
            for device in ("desk", "phone"):
                reports = [
                    measure(demo.url + path, port=port, phone=device == "phone", folder=Path(folder))
                    for _ in range(TIMES)
                ]
                middle = sorted(reports, key=lambda report: scores(report)[0])[TIMES // 2]
                figures = [middle["audits"][audit]["displayValue"] for audit in FIGURES.values()]
                cells = [f"{name}, {device}", *map(str, scores(middle)), *figures]
                print(f"| {' | '.join(cells)} |".replace("\xa0", " "), flush=True)
                missed += [cells[0]] if min(scores(middle)) < GOAL else []
        context.close()
    if missed:
        sys.exit(f"Below {GOAL}: {', '.join(missed)}")


if __name__ == "__main__":
    main()
