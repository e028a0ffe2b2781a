"""The schema is complete, and an API fuzzer finds nothing that it does not declare."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.utils import timezone
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from accounts import authentication
from accounts.models import Role
from config.wsgi import application
from core.api import _ERRORS
from incidents import transitions
from tests.factories.accounts import make_team, make_token, make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier
from tests.factories.oncall import make_schedule

SCHEMA = SchemaGenerator().get_schema(request=None, public=True)
METHODS = {"get", "post", "put", "patch", "delete"}
OPERATIONS = [
    (path, method) for path, methods in SCHEMA["paths"].items() for method in methods if method in METHODS
]
# So many requests for each operation: enough for each kind of wrong value, within a minute altogether.
EXAMPLES = 12


def test_the_schema_is_valid_openapi_and_drawn_without_a_warning() -> None:
    with GENERATOR_STATS.silence():
        schema = SchemaGenerator().get_schema(request=None, public=True)
        assert not GENERATOR_STATS._warn_cache
        assert not GENERATOR_STATS._error_cache
    validate_schema(schema)


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda value: value.removeprefix("/api/v1"))
def test_each_operation_declares_every_error_with_its_body(path: str, method: str) -> None:
    operation = SCHEMA["paths"][path][method]
    expected = {"400", "401", "403", "404", "405", "429", "503"}
    expected |= {"409", "413", "415"} if method in {"post", "put", "patch"} else set()
    assert expected <= set(operation["responses"]) <= {*_ERRORS, "200", "201", "202", "204"}
    for status in expected:
        content = operation["responses"][status]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Error"}
    assert operation["security"][0] == {"token": []}


@pytest.fixture
def things() -> dict[str, str]:
    """Path parameters that name what is there."""
    return {"ref": "a", "slug": "a", "needs": "a", "id": "1", "override_id": "1", "temporary_id": "1"}


@pytest.fixture
def headers(db: None, things: dict[str, str], monkeypatch: Any) -> Iterator[dict[str, str]]:
    """One of each thing, so that some of what the fuzzer guesses is there, and the right to everything."""
    monkeypatch.setattr(authentication, "FAILURES_ALLOWED", 100_000)
    admin = make_user("a", role=Role.ADMIN, pk=1)
    team = make_team("a", members=[admin], pk=1)
    service = make_service("a", team=team, pk=1)
    make_schedule("a", people=[admin], pk=1)
    make_policy(tier(1, admin), service=service, name="a")
    incident = transitions.declare(
        service=service, title="It is down", severity=1, by=admin, now=timezone.now()
    )
    things["incident"] = str(incident.pk)
    # What Django does at the end of each request would take the test's own connection away.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield {"Authorization": f"Bearer {make_token(admin)}"}
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda value: value.removeprefix("/api/v1"))
def test_a_fuzzer_finds_no_failure_and_nothing_undeclared(
    headers: dict[str, str], things: dict[str, str], path: str, method: str
) -> None:
    fuzzed = schemathesis.openapi.from_dict(SCHEMA)
    fuzzed.app = application
    operation = fuzzed[path][method.upper()]
    cases = operation.as_strategy()
    there = {name: value for name, value in things.items() if f"{{{name}}}" in path}
    if there:
        if path.startswith("/api/v1/incidents/"):
            there["ref"] = things["incident"]
        cases |= operation.as_strategy(path_parameters=there)
    if len(SCHEMA["paths"][path][method].get("parameters", [])) > len(there) or operation.body:
        cases |= operation.as_strategy(GenerationMode.NEGATIVE, path_parameters=there)

    @given(case=cases)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def fuzz(case: schemathesis.Case) -> None:
        with transaction.atomic():
            response = case.call(headers=headers)
            transaction.set_rollback(True)
        # A service, person or cursor that does not exist is a 400 though its form is right.
        case.validate_response(response, headers=headers, excluded_checks=[positive_data_acceptance])

    fuzz()
