"""The browser that tests and screenshots use. `python -m tests.browser` installs one where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The tests run in containers and as root, where Chromium's own sandbox and /dev/shm are of no use.
ARGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def path() -> str | None:
    """The program, or None: playwright has its own, or there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    return None


def own_one() -> bool:
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


def install() -> None:
    if path() or own_one():
        return
    print("Installing Chromium for the browser tests.", flush=True)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
        done = subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], check=False, **quiet
        )
        if done.returncode == 0 and path():
            return
    done = subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if done.returncode:
        sys.exit("No browser, and none could be installed. Install Chromium, then run this again.")


if __name__ == "__main__":
    install()
