"""Whatever JSON comes: it is understood or refused in words, and what is accepted can be stored and processed."""

import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations import endpoints, inbox, rules
from integrations.adapters import alertmanager, pagerduty, webhook
from integrations.models import IngestEvent
from tests.factories.integrations import RECEIVED_AT, make_integration

text = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["\x00", "\ud800", "", " ", "0001-01-01T00:00:00Z"]
)
scalar = st.none() | st.booleans() | st.integers() | st.floats() | text | st.integers(10**400, 10**400 + 9)
anything = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)


def often(*right: Any) -> st.SearchStrategy:
    """Mostly right, so that the paths behind the first check are taken too."""
    return st.sampled_from(right) | st.sampled_from(right) | anything


def some(**fields: st.SearchStrategy) -> st.SearchStrategy:
    return st.fixed_dictionaries({}, optional=fields)


event = some(
    event_action=often("trigger", "acknowledge", "resolve"),
    dedup_key=often("k", "", None),
    payload=some(
        summary=often("S"), source=often("s"), severity=often("error", "info"), timestamp=anything,
        component=often("c", None), custom_details=often({}, None) | st.dictionaries(text, anything, max_size=3),
    ) | anything,
    links=often([{"href": "http://a"}], None) | st.lists(some(href=anything, text=anything), max_size=2),
    images=often([{"src": "https://a"}], None) | st.lists(some(src=anything, alt=anything), max_size=2),
    client=often("c", None), client_url=often("http://a", None),
)  # fmt: skip
alert = some(
    status=often("firing", "resolved"), labels=often({"alertname": "A"}) | st.dictionaries(text, anything, max_size=3),
    annotations=often({"summary": "S"}) | st.dictionaries(text, anything, max_size=3),
    startsAt=often("2026-11-24T06:09:17Z"), endsAt=anything, generatorURL=anything, fingerprint=often("f"),
)  # fmt: skip
group = some(
    alerts=st.lists(alert | anything, max_size=3) | anything, groupKey=often("g"), version=often("4"), status=often("firing"),
    truncatedAlerts=anything, externalURL=anything, receiver=anything,
)  # fmt: skip
free = some(
    title=often("T"), message=anything, severity=often("warning"), type=often("failure"), dedup_key=often("k"),
    event_action=often("trigger", "resolve"), status=anything, links=anything, timestamp=anything, source=anything,
    group_key=anything, other=anything,
)  # fmt: skip


@pytest.mark.parametrize(
    ("parse", "bodies"),
    [
        (pagerduty.parse, event),
        (pagerduty.parse_change, event),
        (alertmanager.parse, group),
        (webhook.parse, free),
    ],
    ids=["event", "change", "alertmanager", "webhook"],
)
def test_any_object_is_understood_or_refused_in_words(parse: Any, bodies: st.SearchStrategy) -> None:
    @settings(max_examples=300, deadline=None)
    @given(bodies | st.dictionaries(text, anything, max_size=4))
    def check(body: dict[str, Any]) -> None:
        try:
            parsed = parse(body)
        except rules.Refusal as refusal:
            assert refusal.errors
            assert all(isinstance(error, str) and error for error in refusal.errors)
        else:
            for signal in parsed.signals:
                assert signal["action"] in ("trigger", "acknowledge", "resolve", "change")
                assert signal["action"] == "change" or 0 < len(signal["dedup_key"]) <= rules.LONGEST_KEY
                assert signal["action"] != "trigger" or signal["title"]
                assert signal.get("severity", "error") in rules.SEVERITIES

    check()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "path", "bodies"),
    [
        ("pagerduty", "/v2/enqueue", event),
        ("pagerduty", "/v2/change/enqueue", event),
        ("alertmanager", "/api/v1/integrations/alertmanager/KEY/", group),
        ("webhook", "/api/v1/integrations/webhook/KEY/", free),
    ],
    ids=["event", "change", "alertmanager", "webhook"],
)
def test_what_is_accepted_is_stored_and_processed(kind: str, path: str, bodies: st.SearchStrategy) -> None:
    integration = make_integration(kind)
    client = Client()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies)
    def check(body: dict[str, Any]) -> None:
        endpoints.refusals.forget()
        data = json.dumps({"routing_key": integration.key, **body})
        response = client.post(path.replace("KEY", integration.key), data, content_type="application/json")
        # NaN and infinity are what Python writes for what JSON cannot say.
        assert response.status_code in (202, 400), response.content
        while inbox.drain(integration_id=integration.pk, now=RECEIVED_AT).handled:
            pass
        verdict = IngestEvent.objects.latest("pk").verdict
        assert (verdict == "rejected") == (response.status_code == 400)
        assert verdict not in ("pending", "failed")

    check()
