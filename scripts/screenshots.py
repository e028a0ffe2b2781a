"""Pictures of the pages, both themes, desk and phone, into docs/images/: `make screenshots`.

They are of the demonstration data, so they show what a newcomer sees. Names after the command take those pages
alone: `python scripts/screenshots.py tonight page-plan`.
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import demo_server  # noqa: E402
from tests import browser  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.locator("#jump-q").press_sequentially("up")
    page.wait_for_timeout(600)


def take(
    chromium: Browser, demo: demo_server.Demo, pages: dict[str, str], *, theme: str, size: dict, suffix: str
) -> None:
    context = chromium.new_context(
        viewport=size, color_scheme=theme, device_scale_factor=1, base_url=demo.url
    )
    demo.sign_in(context)
    page = context.new_page()
    for name, path in pages.items():
        page.goto(path)
        page.wait_for_load_state("load")
        page.evaluate("theme => document.documentElement.dataset.bsTheme = theme", theme)
        page.wait_for_timeout(1000)  # the live stream fills in what depends on the clock
        if name == "palette":
            palette(page)
        page.screenshot(path=IMAGES / f"{name}{suffix}.png")
        print(f"docs/images/{name}{suffix}.png")
    context.close()


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with demo_server.running() as demo, sync_playwright() as playwright:
        room = f"/incidents/{demo.worst_incident()}/"
        desk = {
            "home": "/", "war-room": room, "palette": room, "incidents": "/incidents/", "status": "/status/",
            "metrics": "/metrics/", "on-call": "/schedules/checkout/", "service": "/services/checkout-api/",
            "policy": "/escalation/policies/checkout/", "people": "/people/", "tonight": "/tonight/",
            "page-plan": "/escalation/plan/?service=checkout-api&severity=1",
        }  # fmt: skip
        phone = {"home-phone": "/", "war-room-phone": room, "services-phone": "/services/"}
        if wanted := set(sys.argv[1:]):
            desk, phone = ({name: pages[name] for name in pages if name in wanted} for pages in (desk, phone))
        chromium = playwright.chromium.launch(executable_path=browser.path(), args=browser.ARGS)
        for theme in ("dark", "light"):
            take(chromium, demo, desk, theme=theme, size=DESK, suffix=f"-{theme}")
            take(chromium, demo, phone, theme=theme, size=PHONE, suffix=f"-{theme}")
        chromium.close()


if __name__ == "__main__":
    main()
