"""A broker that is dead or does not answer costs a transition next to nothing."""

import socket
import time

from core.live import Publisher


def test_a_refusing_broker_is_asked_once_and_then_left_alone(tmp_path):
    publisher = Publisher(f"unix://{tmp_path}/nobody.sock")
    assert publisher.publish("channel", "1:2") is False

    begun = time.monotonic()
    for _ in range(1000):
        assert publisher.publish("channel", "1:2") is False
    assert time.monotonic() - begun < 0.3


def test_a_broker_that_never_answers_holds_up_one_message_only(tmp_path):
    path = str(tmp_path / "mute.sock")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(path)
        mute.listen()
        publisher = Publisher(f"unix://{path}")

        begun = time.monotonic()
        for _ in range(1000):
            assert publisher.publish("channel", "1:2") is False
        assert time.monotonic() - begun < 0.4


def test_the_quiet_time_doubles_and_ends_with_the_first_success(tmp_path, monkeypatch, valkey):
    clock = [1000.0]
    monkeypatch.setattr("core.live.time.monotonic", lambda: clock[0])
    publisher = Publisher(f"unix://{tmp_path}/nobody.sock")
    quiet = []
    for _ in range(8):
        assert publisher.publish("channel", "1:2") is False
        quiet.append(publisher._quiet_until - clock[0])
        clock[0] = publisher._quiet_until
    assert quiet == [0.5, 1, 2, 4, 8, 16, 30, 30]

    publisher._redis = Publisher(valkey.url)._redis
    assert publisher.publish("channel", "1:2") is True
    publisher._redis = Publisher(f"unix://{tmp_path}/nobody.sock")._redis
    assert publisher.publish("channel", "1:2") is False
    assert publisher._quiet_until - clock[0] == 0.5
