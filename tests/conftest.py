"""Fixtures that every app's tests share. The servers are started by `tests/servers.py`."""

import os

import pytest
from django.conf import settings
from django.core.management import call_command

from tests import browser


def pytest_configure(config: pytest.Config) -> None:
    # Strong hashes are slow on purpose; no test is about that.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    # People of the tests have no contact methods; tests/readiness turns this on.
    settings.MUSTER_READINESS = "off"
    os.environ.setdefault("MUSTER_READINESS", "off")  # for the processes that tests start
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def pytest_sessionstart(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        call_command("assets")  # pages in a real browser need them under their final names


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that two workers end at the same time. Browser tests last: they leave an event loop running
    in their process, beside which no other can be started."""
    first, last = ("tests/journeys/", "tests/core/test_up.py"), ("tests/browser/",)
    items.sort(
        key=lambda item: 0 if item.nodeid.startswith(first) else 2 if item.nodeid.startswith(last) else 1
    )


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict) -> dict:
    """For pytest-playwright: the browser of this machine."""
    found = browser.path()
    return {**browser_type_launch_args, "args": browser.ARGS} | ({"executable_path": found} if found else {})
