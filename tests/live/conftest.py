import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

import core.live
from accounts.models import User
from core import servers
from incidents import timeline, transitions
from incidents.models import Incident, Kind
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service

SOON = 15  # s; a bound for waits on a loaded machine, not what is promised


def wait_for(condition: Callable[[], object], *, seconds: float = SOON, what: str = "it") -> object:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {seconds} s")


def database_url() -> str:
    db = connection.settings_dict
    host = quote(db["HOST"], safe="")
    port = f":{db['PORT']}" if db["PORT"] else ""
    password = f":{quote(db['PASSWORD'], safe='')}" if db["PASSWORD"] else ""
    return f"postgres://{quote(db['USER'])}{password}@{host}{port}/{db['NAME']}"


class Web:
    """A real web server process on the tests' database."""

    def __init__(self, redis_url: str, port: int = 0) -> None:
        self.redis_url = redis_url
        self.bound = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self.bound.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.log = Path(os.environ["MUSTER_TEST_HOME"]) / f"web-{self.port}.log"
        self.start()

    def start(self) -> None:
        self.bound.set_inheritable(True)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.serve", str(self.bound.fileno())],
                env={
                    **os.environ,
                    "DATABASE_URL": database_url(),
                    "REDIS_URL": self.redis_url,
                    "MUSTER_PUBLIC_STATUS": "true",
                },
                pass_fds=(self.bound.fileno(),),
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(self.answers, seconds=30, what="the web server's start")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.log.read_text()[-2000:]}") from None

    def answers(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            link.request("GET", "/live/now/")
            return link.getresponse().status == 401
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> float:
        """Seconds that it took."""
        begun = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(20)
        return time.monotonic() - begun

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self.bound.close()


@dataclass
class Event:
    name: str
    data: str
    id: int | None
    at: float

    @property
    def json(self) -> dict:
        return json.loads(self.data)


class Stream:
    """A browser's EventSource, as far as these tests need one. `take` gives events of one name, in order."""

    def __init__(self, port: int, path: str, *, session: str = "", last_event_id: str = "") -> None:
        self.link = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
        headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"} if session else {}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        self.link.request("GET", path, headers=headers)
        self.response = self.link.getresponse()
        self.status = self.response.status
        self.socket = self.link.sock
        self.events: list[Event] = []
        self.ended = threading.Event()
        self._taken: dict[str, int] = {}
        self._news = threading.Condition()
        if self.status == 200:
            threading.Thread(target=self._read, daemon=True).start()
        else:
            self.error = json.loads(self.response.read() or b"{}")

    def _read(self) -> None:
        fields: dict[str, list[str]] = {}
        try:
            for raw in self.response:
                line = raw.decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(":")
                    fields.setdefault(name, []).append(value.removeprefix(" "))
                    continue
                if "data" in fields:
                    number = fields.get("id", [None])[0]
                    event = Event(
                        name=fields.get("event", ["message"])[0],
                        data="\n".join(fields["data"]),
                        id=int(number) if number else None,
                        at=time.time(),
                    )
                    with self._news:
                        self.events.append(event)
                        self._news.notify_all()
                fields = {}
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        finally:
            self.ended.set()

    def take(self, name: str, *, seconds: float = SOON) -> Event:
        def found() -> Event | None:
            named = [event for event in self.events if event.name == name]
            at = self._taken.get(name, 0)
            return named[at] if len(named) > at else None

        with self._news:
            if not self._news.wait_for(found, timeout=seconds):
                raise AssertionError(f"no {name} within {seconds} s, but {self.events}")
            event = found()
            self._taken[name] = self._taken.get(name, 0) + 1
            return event

    def seqs(self) -> list[int]:
        return [event.id for event in self.events if event.name == "entry"]

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.link.close()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Broker"]:
    """A Valkey for the live tests alone, since they stop it."""
    broker = Broker(Path(os.environ["MUSTER_TEST_HOME"]) / f"live-{os.getpid()}")
    yield broker
    broker.stop()


class Broker:
    def __init__(self, home: Path) -> None:
        self.server = servers.Valkey(home=home)
        self.url = servers.redis_url(home)
        self.server.prepare()
        self.start()

    def start(self) -> None:
        self.process = self.server.start()
        self.server.wait_ready(self.process)

    def stop(self) -> None:
        servers.stop(self.process, self.server.stop_signal)


@pytest.fixture(scope="session")
def shared_web(django_db_setup, django_db_blocker, valkey: Broker) -> Iterator[Web]:
    web = Web(valkey.url)
    yield web
    web.close()


@pytest.fixture
def publishing(valkey: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REDIS_URL", valkey.url)
    monkeypatch.setattr(core.live, "_publisher", None)


@pytest.fixture
def web(transactional_db, publishing, shared_web: Web) -> Iterator[Web]:
    yield shared_web
    wait_for(idle, what="the end of the server's reads")  # emptying the tables would meet them in a deadlock


def idle() -> bool:
    """Whether nobody else has used the database for a moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND (state <> 'idle' OR state_change > clock_timestamp() - interval '0.1 s')"
        )
        return cursor.fetchone()[0] == 0


@pytest.fixture
def new_web(transactional_db, publishing, valkey: Broker) -> Iterator[Callable[[], Web]]:
    """Starts web servers of one's own, to be stopped and started."""
    started: list[Web] = []

    def start() -> Web:
        started.append(Web(valkey.url))
        return started[-1]

    yield start
    for one in started:
        one.close()


def sign_in(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.session.session_key


@pytest.fixture
def viewer(transactional_db) -> User:
    return make_user("viewer", role="viewer")


@pytest.fixture
def session(viewer: User) -> str:
    return sign_in(viewer)


@pytest.fixture
def writer(transactional_db) -> User:
    return make_user("writer", full_name="Wanda Writer")


@pytest.fixture
def incident(transactional_db) -> Incident:
    return transitions.trigger(
        service=make_service(), title="Checkout fails", severity=1, urgency="high", now=timezone.now()
    )


@pytest.fixture
def say(incident: Incident, writer: User) -> Callable[[str], int]:
    """Write a note; its seq."""

    def write(text: str) -> int:
        return transitions.add_note(
            incident_id=incident.pk, text=text, by=writer, now=timezone.now()
        ).last_seq

    return write


@pytest.fixture
def say_many(incident: Incident, writer: User) -> Callable[[list[str]], list[int]]:
    """Write many notes in one transaction, of any length; their seqs."""

    def write(texts: list[str]) -> list[int]:
        with transaction.atomic():
            locked = transitions.lock_incident(incident.pk)
            now = timezone.now()
            return [timeline.record(locked, Kind.NOTE, at=now, actor=writer, text=text).seq for text in texts]

    return write


@pytest.fixture
def look(web: Web, incident: Incident, session: str) -> Iterator[Callable[..., Stream]]:
    """Opens streams of the incident; they are closed afterwards."""
    opened: list[Stream] = []

    def start(after: int | None = None, *, port: int = 0, session: str = session, **more: str) -> Stream:
        query = "" if after is None else f"?after={after}"
        path = f"/live/incidents/{incident.pk}/{query}"
        opened.append(Stream(port or web.port, path, session=session, **more))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
