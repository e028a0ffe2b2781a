"""Pictures of the pages, both themes, desk and phone, into docs/images/: `make screenshots`.

Starts Muster with demonstration data in a temporary folder, so the pictures show what a newcomer sees.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import browser  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def api(base: str, token: str, path: str) -> dict:
    request = urllib.request.Request(f"{base}/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def take(
    chromium: Browser, demo: dict, pages: dict[str, str], *, theme: str, size: dict, suffix: str
) -> None:
    context = chromium.new_context(
        viewport=size, color_scheme=theme, device_scale_factor=1, base_url=demo["url"]
    )
    page = context.new_page()
    page.goto("/account/login/")
    page.fill("input[name=login]", demo["username"])
    page.fill("input[name=password]", demo["password"])
    page.click("main button[type=submit], main form button")
    page.wait_for_load_state("load")
    for name, path in pages.items():
        page.goto(path)
        page.wait_for_load_state("load")
        page.evaluate("theme => document.documentElement.dataset.bsTheme = theme", theme)
        page.wait_for_timeout(1000)  # the live stream fills in what depends on the clock
        page.screenshot(path=IMAGES / f"{name}{suffix}.png")
        print(f"docs/images/{name}{suffix}.png")
    context.close()


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="muster-shots-", ignore_cleanup_errors=True) as home:
        env = {**os.environ, "MUSTER_HOME": home, "MUSTER_PORT": str(free_port())}
        command = [sys.executable, str(ROOT / "manage.py")]
        up = subprocess.Popen([*command, "up"], env=env, stdout=subprocess.PIPE, text=True)
        try:
            for line in up.stdout:
                if "Ctrl-C stops" in line:
                    break
            else:
                sys.exit("Muster did not start.")
            demo = json.loads((Path(home) / "demo.json").read_text())
            worst = api(
                demo["url"],
                demo["api_token"],
                "incidents/?severity=1&status=triggered,acknowledged,contained",
            )
            number = worst["results"][0]["id"]
            desk = {
                "home": "/",
                "war-room": f"/incidents/{number}/",
                "incidents": "/incidents/",
                "metrics": "/metrics/",
            }
            with sync_playwright() as playwright:
                found = browser.path()
                chromium = playwright.chromium.launch(executable_path=found, args=browser.ARGS)
                for theme in ("dark", "light"):
                    take(chromium, demo, desk, theme=theme, size=DESK, suffix=f"-{theme}")
                phone = {"war-room-phone": desk["war-room"]}
                take(chromium, demo, phone, theme="dark", size=PHONE, suffix="-dark")
                chromium.close()
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(40)


if __name__ == "__main__":
    main()
