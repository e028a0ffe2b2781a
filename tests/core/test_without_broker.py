"""Redis holds nothing that matters: without it nobody waits, and nothing but an empty cache is noticed."""

import os
import socket
import time
from pathlib import Path

import pytest
from django.core.cache.backends.base import BaseCache
from kombu import Connection
from kombu.exceptions import OperationalError

from config.celery import app
from core import servers
from core.cache import ForgivingCache


def nobody_listens() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def cache() -> BaseCache:
    return ForgivingCache(
        f"redis://127.0.0.1:{nobody_listens()}/0", {"OPTIONS": {"socket_connect_timeout": 0.5}}
    )


def test_a_cache_that_is_away_is_an_empty_one(cache: BaseCache) -> None:
    cache.set("attempts", 3)
    assert cache.get("attempts") is None
    assert cache.get("attempts", 7) == 7
    assert cache.get_many(["attempts"]) == {}
    assert cache.add("attempts", 1) is True
    assert cache.incr("attempts") == 1
    assert cache.delete("attempts") is False
    assert ("attempts" in cache) is False


def publish_to(broker: str) -> float:
    """How long it takes to be refused."""
    begun = time.monotonic()
    options = app.conf.broker_transport_options
    with (
        Connection(broker, transport_options=options, connect_timeout=0.5) as link,
        pytest.raises(OperationalError),
    ):
        app.send_task("nobody.knows", queue="default", connection=link)
    return time.monotonic() - begun


def test_publishing_to_a_broker_that_is_down_fails_at_once() -> None:
    assert publish_to(f"redis://127.0.0.1:{nobody_listens()}/0") < 0.5


def test_publishing_to_a_broker_that_hangs_fails_soon() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert publish_to(f"redis://127.0.0.1:{mute.getsockname()[1]}/0") < 5


def test_a_home_too_deep_for_a_socket_gets_a_short_folder_that_is_always_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    folder = servers.socket_folder(deep)
    assert folder == servers.socket_folder(deep)
    assert folder != servers.socket_folder(tmp_path / ("y" * 90))
    assert len(os.fsencode(folder / ".s.PGSQL.5432.lock")) < 107


def test_a_short_home_keeps_its_sockets_inside() -> None:
    assert servers.socket_folder(Path("/srv/muster")) == Path("/srv/muster/run")
    assert servers.redis_url(Path("/srv/muster")) == "unix:///srv/muster/run/valkey.sock?db=0"
    assert servers.database_url(Path("/srv/muster")) == "postgres://muster@%2Fsrv%2Fmuster%2Frun/muster"
