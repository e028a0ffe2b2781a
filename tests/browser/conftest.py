"""A real Chromium on a real web server process, on the tests' database."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from accounts.models import User
from tests.live.conftest import Web

# Playwright runs an event loop in this thread, which Django takes for a reason not to read the database.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
expect.set_options(timeout=10_000)


AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture
def until() -> Callable[[Page | Locator, str], None]:
    """Wait until a function in JavaScript holds: until(page, "() => …"). Playwright's own wait needs `eval`, which the pages
    forbid."""

    def wait(place: Page | Locator, predicate: str) -> None:
        page = place if isinstance(place, Page) else place.page
        ends = time.monotonic() + 10
        while not place.evaluate(predicate):
            assert time.monotonic() < ends, f"still not so: {predicate}"
            page.wait_for_timeout(20)

    return wait


@pytest.fixture(scope="module")
def web(django_db_setup: None) -> Iterator[Web]:
    server = Web(os.environ["REDIS_URL"])
    yield server
    server.close()


@pytest.fixture
def address(web: Web, transactional_db: None) -> str:
    return f"http://127.0.0.1:{web.port}"


class Reports(list):
    """What the browser complained about. A policy report or a script's error fails the test at its end."""


def is_fault(message: ConsoleMessage) -> bool:
    """A read that a newer one replaced is none; htmx reports it as these two."""
    aborted = message.text.startswith(("htmx:sendAbort,", "htmx:afterRequest,"))
    return message.type == "error" and not aborted


@pytest.fixture
def look(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open a page as somebody: look(user, "/path", theme="dark", width=1440)."""
    contexts: list[BrowserContext] = []
    reports = Reports()

    def open_page(
        user: User | None,
        path: str,
        *,
        theme: str = "dark",
        width: int = 1440,
        height: int = 900,
        script: bool = True,
    ) -> Page:
        context = browser.new_context(
            base_url=address,
            color_scheme=theme,
            viewport={"width": width, "height": height},
            java_script_enabled=script,
        )
        contexts.append(context)
        if user is not None:
            client = Client()
            client.force_login(user)
            cookie = client.cookies[settings.SESSION_COOKIE_NAME]
            context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": address}])
        page = context.new_page()
        page.on("pageerror", lambda error: reports.append(str(error)))
        page.on("console", lambda message: reports.append(message.text) if is_fault(message) else None)
        page.goto(path)
        return page

    open_page.reports = reports
    yield open_page
    for context in contexts:
        context.close()
    assert reports == []


@pytest.fixture
def axe() -> Callable[[Page], list[str]]:
    """What axe-core finds, one line each; with its best-practice rules."""
    source = AXE.read_text()

    def run(page: Page) -> list[str]:
        # Through the debugger, not through a <script>: the page's policy stays as it is.
        page.evaluate(source)
        found = page.evaluate(
            "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
        )
        return [
            f"{one['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
            for one in found
            for node in one["nodes"]
        ]

    return run
