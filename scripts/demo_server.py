"""Muster with demonstration data in a temporary folder, for what looks at its pages."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Demo:
    url: str
    username: str
    password: str
    token: str
    environment: dict[str, str]

    def api(self, path: str) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def worst_incident(self) -> int:
        return self.api("incidents/?severity=1&status=triggered,acknowledged,contained")["results"][0]["id"]

    def sign_in(self, context: BrowserContext) -> None:
        page = context.new_page()
        page.goto("/account/login/")
        page.fill("input[name=login]", self.username)
        page.fill("input[name=password]", self.password)
        page.click("main button[type=submit], main form button")
        page.wait_for_load_state("load")
        page.close()

    def ask(self, code: str) -> str:
        """What a line of Python prints inside this Muster."""
        command = [sys.executable, str(ROOT / "manage.py"), "shell", "--no-imports", "-c", code]
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout.strip().splitlines()[-1]


@contextmanager
def running() -> Iterator[Demo]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="muster-demo-", ignore_cleanup_errors=True) as home:
        environment = {**os.environ, "MUSTER_HOME": home, "MUSTER_PORT": str(port)}
        command = [sys.executable, str(ROOT / "manage.py"), "up"]
        up = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        try:
            for line in up.stdout:
                if "Ctrl-C stops" in line:
                    break
            else:
                sys.exit("Muster did not start.")
            told = json.loads((Path(home) / "demo.json").read_text())
            yield Demo(told["url"], told["username"], told["password"], told["api_token"], environment)
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(40)
