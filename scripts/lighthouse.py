"""What Lighthouse says of the pages that matter most: `.venv/bin/python scripts/lighthouse.py`. Needs npx.

Not part of CI, whose machine is too busy for stable figures; docs/performance.md has the last ones.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import demo_server  # noqa: E402
from tests import browser  # noqa: E402

LIGHTHOUSE = "lighthouse@12.8.2"
CATEGORIES = ("performance", "accessibility")
GOAL = 95
FIRST_PAGE = (
    "from incidents.links import answer_path; from incidents.models import Page; "
    "print(answer_path(Page.objects.filter(status='paging').latest('pk').pk))"
)


def measure(url: str, *, cookie: str, phone: bool, folder: Path) -> dict[str, int]:
    """Scores out of 100."""
    result = folder / "result.json"
    command = [
        "npx", "--yes", LIGHTHOUSE, url, "--quiet", "--output=json", f"--output-path={result}",
        f"--only-categories={','.join(CATEGORIES)}", "--max-wait-for-load=15000",
        "--blocked-url-patterns=/live/",  # a stream never ends, and the page is never done for Lighthouse
        f"--chrome-path={browser.path()}", f"--chrome-flags=--headless=new {' '.join(browser.ARGS)}",
        "--extra-headers", json.dumps({"Cookie": cookie} if cookie else {}),
        *([] if phone else ["--preset=desktop"]),
    ]  # fmt: skip
    for _ in range(4):  # it gives up now and then on a room, whose parts are fetched after it
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            break
    else:
        sys.exit(f"Lighthouse failed at {url}: {done.stderr.strip()[-500:]}")
    categories = json.loads(result.read_text())["categories"]
    return {name: round(categories[name]["score"] * 100) for name in CATEGORIES}


def main() -> None:
    with (
        demo_server.running() as demo,
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(executable_path=browser.path(), args=browser.ARGS)
        context = chromium.new_context(base_url=demo.url)
        demo.sign_in(context)
        cookie = "; ".join(f"{each['name']}={each['value']}" for each in context.cookies())
        chromium.close()
        room = f"/incidents/{demo.worst_incident()}/"
        pages = {
            "home": ("/", cookie, False),
            "incident list": ("/incidents/", cookie, False),
            "war room": (room, cookie, False),
            "answering a page, phone": (demo.ask(FIRST_PAGE), "", True),
            "war room, phone": (room, cookie, True),
        }
        print("| page | performance | accessibility |\n| --- | --- | --- |")
        missed = []
        for name, (path, with_cookie, phone) in pages.items():
            scores = measure(demo.url + path, cookie=with_cookie, phone=phone, folder=Path(folder))
            print(f"| {name} | {scores['performance']} | {scores['accessibility']} |", flush=True)
            missed += [name] if min(scores.values()) < GOAL else []
    if missed:
        sys.exit(f"Below {GOAL}: {', '.join(missed)}")


if __name__ == "__main__":
    main()
