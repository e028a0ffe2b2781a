"""Every operation of the schema against who must not: strangers, dead tokens, too low roles, tokens that only read."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.utils import timezone

from accounts import authentication
from accounts.models import Role, Scope
from tests.api.conftest import Api
from tests.factories.accounts import make_token, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: Any) -> Any:
    cache.clear()
    monkeypatch.setattr(authentication, "FAILURES_ALLOWED", 10_000)
    yield
    cache.clear()


@pytest.fixture
def operations(api: Api) -> list[tuple[str, str]]:
    """(method, address) of all that the schema lists, senders' endpoints aside: those check a key of their own."""
    return list(_operations(api.get("schema/").json()))


def _operations(schema: dict) -> Iterator[tuple[str, str]]:
    for path, operations in schema["paths"].items():
        for method in operations:
            if method in {"get", "post", "put", "patch", "delete"}:
                yield method.upper(), re.sub(r"\{[^}]+\}", "1", path)


def _answers(api: Api, operations: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    answers = {}
    for method, path in operations:
        response = api.call(method, path, None if method in {"GET", "DELETE"} else {})
        answers[method, path] = response.status_code
        if response.status_code in {401, 403}:
            assert set(response.json()["error"]) == {"code", "message"}
    return answers


def test_the_schema_lists_more_than_a_few(operations: list) -> None:
    assert len(operations) > 30


def test_strangers_and_dead_tokens_get_401_everywhere(operations: list) -> None:
    now = timezone.now()
    user, gone = make_user(role=Role.ADMIN), make_user(role=Role.ADMIN, is_active=False)
    for token in (
        "",
        "muster_unknown",
        make_token(user, revoked_at=now),
        make_token(user, expires_at=now - timedelta(seconds=1)),
        make_token(gone),
    ):
        answers = _answers(Api(token), operations)
        assert {operation: status for operation, status in answers.items() if status != 401} == {}


def test_a_token_that_only_reads_writes_nowhere(operations: list) -> None:
    api = Api(make_token(make_user(role=Role.ADMIN), scope=Scope.READ))
    answers = _answers(api, [operation for operation in operations if operation[0] != "GET"])
    assert {operation: status for operation, status in answers.items() if status != 403} == {}


# What a viewer may write: nothing but their own tokens and calendar addresses.
OF_VIEWERS = {
    ("POST", "/api/v1/tokens/"),
    ("DELETE", "/api/v1/tokens/1/"),
    ("POST", "/api/v1/calendar-feeds/"),
    ("DELETE", "/api/v1/calendar-feeds/1/"),
}
# The ledger repeats what senders sent, which may be more than a viewer should see.
NOT_FOR_VIEWERS = ("/api/v1/ingest-events/",)


def test_a_viewer_writes_nothing_but_own_tokens(
    operations: list, api_of: Callable[..., Api], viewer: Any
) -> None:
    api = api_of(viewer)
    writes = [each for each in operations if each[0] != "GET" and each not in OF_VIEWERS]
    answers = _answers(api, writes)
    assert {operation: status for operation, status in answers.items() if status != 403} == {}
    for (_, path), status in _answers(api, [each for each in operations if each[0] == "GET"]).items():
        assert status in ({403} if path.startswith(NOT_FOR_VIEWERS) else {200, 404}), path
