import hashlib
import hmac
import json
import socket
import threading
import time

import pytest
from django.core.exceptions import ValidationError
from werkzeug import Response

from notifications import rules
from notifications.channels import webhook
from notifications.channels.base import PermanentError, TransientError
from notifications.channels.webhook import WebhookChannel
from tests.notifications.test_channel_contract import KEY, make_message, yes


@pytest.fixture
def private(settings):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = True


def names(monkeypatch, **hosts: list[str]):
    """Name resolution that knows these hosts only."""

    def getaddrinfo(host, port, *args, **kwargs):
        if host not in hosts:
            raise socket.gaierror("Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in hosts[host]]

    monkeypatch.setattr(webhook.socket, "getaddrinfo", getaddrinfo)


def test_the_body_is_signed_and_carries_the_facts(private, httpserver):
    httpserver.expect_request("/hook", method="POST").respond_with_data("thanks", status=200)

    said = WebhookChannel().send(
        make_message(httpserver.url_for("/hook?team=1"), context={"ref": "INC-42"}), last_look=yes
    )

    request, _ = httpserver.log[0]
    body = request.get_data()
    expected = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert said == "200 thanks"
    assert request.query_string == b"team=1"
    assert request.headers["X-Muster-Signature"] == f"v1={expected}"
    assert request.headers["X-Webhook-Id"] == KEY
    assert request.headers["Content-Type"] == "application/json"
    event = json.loads(body)["event"]
    assert event["id"] == KEY
    assert event["event_type"] == "notification.notification"
    assert event["occurred_at"] == "2026-11-24T02:41:00Z"
    assert event["data"]["title"] == "SEV1 Checkout fails"
    assert event["data"]["link"] == "https://muster.example/p/x/"
    assert event["data"]["context"] == {"ref": "INC-42"}
    assert len(event["data"]["short"]) <= 160


def test_two_secrets_give_two_signatures_while_one_replaces_the_other():
    signed = webhook.sign(b"{}", ["old", "new"])

    assert [part[:3] for part in signed.split(",")] == ["v1=", "v1="]
    assert signed == f"{webhook.sign(b'{}', ['old'])},{webhook.sign(b'{}', ['new'])}"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_answers_that_may_change_are_transient(private, httpserver, status):
    httpserver.expect_request("/hook").respond_with_data("busy", status=status)

    with pytest.raises(TransientError, match=f"Answered {status} busy"):
        WebhookChannel().send(make_message(httpserver.url_for("/hook")), last_look=yes)


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_other_refusals_are_permanent(private, httpserver, status):
    httpserver.expect_request("/hook").respond_with_data("no", status=status)

    with pytest.raises(PermanentError, match=f"Answered {status} no"):
        WebhookChannel().send(make_message(httpserver.url_for("/hook")), last_look=yes)


def test_no_redirect_is_followed(private, httpserver):
    httpserver.expect_request("/hook").respond_with_data(
        "", status=307, headers={"Location": httpserver.url_for("/in")}
    )
    httpserver.expect_request("/in").respond_with_data("reached")

    with pytest.raises(PermanentError, match="follows no redirect"):
        WebhookChannel().send(make_message(httpserver.url_for("/hook")), last_look=yes)

    assert [request.path for request, _ in httpserver.log] == ["/hook"]


def test_a_large_answer_is_not_read_to_its_end(private, httpserver):
    def endless(request) -> Response:
        return Response((b"x" * 1000 for _ in range(10**9)), status=200)

    httpserver.expect_request("/hook").respond_with_handler(endless)

    said = WebhookChannel().send(make_message(httpserver.url_for("/hook")), last_look=yes)

    assert said.startswith("200 xxx")
    assert len(said) <= 200


def test_an_answer_that_drips_is_ended(private, monkeypatch):
    monkeypatch.setattr(webhook, "SECONDS_IN_ALL", 0.3)
    stop = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000:
                if stop.wait(0.02):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=drip, args=[listening])
        thread.start()
        began = time.monotonic()
        with pytest.raises(TransientError):
            WebhookChannel().send(
                make_message(f"http://127.0.0.1:{listening.getsockname()[1]}/"), last_look=yes
            )
        took = time.monotonic() - began
        stop.set()
        thread.join()

    assert took < 2


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "240.0.0.1", "ff02::1",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public(address):
    assert not rules.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "64:ff9b::808:808"])
def test_public_addresses_are_public(address):
    assert rules.is_public(address)


def test_a_public_name_with_a_private_address_is_refused(settings, monkeypatch):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = False
    names(monkeypatch, **{"hook.example.org": ["169.254.169.254"]})

    with pytest.raises(PermanentError, match=r"169\.254\.169\.254, inside a private network"):
        WebhookChannel().send(make_message("https://hook.example.org/"), last_look=yes)


def test_one_private_address_among_public_ones_is_refused(settings, monkeypatch):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = False
    names(monkeypatch, **{"hook.example.org": ["93.184.216.34", "127.0.0.1"]})

    with pytest.raises(PermanentError, match="inside a private network"):
        WebhookChannel().send(make_message("https://hook.example.org/"), last_look=yes)


def test_the_connection_goes_to_the_address_that_was_checked(private, httpserver, monkeypatch):
    """The name is asked once: whatever it says afterwards is not looked at."""
    httpserver.expect_request("/hook").respond_with_data("ok")
    asked = []

    def getaddrinfo(host, port, *args, **kwargs):
        asked.append(host)
        if host == "hook.example.org" and asked.count(host) > 1:
            raise AssertionError("asked twice")
        return original(host if host != "hook.example.org" else "127.0.0.1", port, *args, **kwargs)

    original = socket.getaddrinfo
    monkeypatch.setattr(webhook.socket, "getaddrinfo", getaddrinfo)

    WebhookChannel().send(make_message(f"http://hook.example.org:{httpserver.port}/hook"), last_look=yes)

    request, _ = httpserver.log[0]
    assert asked.count("hook.example.org") == 1
    assert request.headers["Host"] == f"hook.example.org:{httpserver.port}"


def test_a_name_that_is_not_found_is_transient(settings, monkeypatch):
    names(monkeypatch)

    with pytest.raises(TransientError, match="not found"):
        WebhookChannel().send(make_message("https://hook.example.org/"), last_look=yes)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.org/", "https://"),
        ("ftp://example.org/", "https://"),
        ("https:///x", "names no host"),
        ("https://user:pass@example.org/", "Leave user and password out"),
        ("https://example.org:port/", "port is not a number"),
        ("https://127.0.0.1/", "inside a private network"),
        ("https://[::1]/", "inside a private network"),
        ("https://localhost/", "inside a private network"),
        ("https://example.org/#x", "a blank or a #"),
        ("https://example.org/a b", "a blank or a #"),
    ],
)
def test_an_address_that_cannot_work_is_refused_with_a_sentence(settings, url, says):
    settings.MUSTER_ALLOW_PRIVATE_WEBHOOKS = False

    with pytest.raises(ValidationError, match=says):
        webhook.validate_url(url)
