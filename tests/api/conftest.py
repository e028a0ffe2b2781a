"""One cast for all tests of the API, and a client that speaks JSON with a token."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import Role, User
from tests.factories.accounts import make_token, make_user


class Api:
    """`api.get("incidents/")`, `api.post("incidents/", {...})`: JSON under /api/v1/ with one person's token."""

    def __init__(self, token: str = "") -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        extra = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        address = path if path.startswith(("/", "http")) else f"/api/v1/{path}"
        return self.client.generic(method, address, headers=sent, **extra)

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, {} if body is None else body, **headers)

    def put(self, path: str, body: Any) -> Any:
        return self.call("PUT", path, body)

    def delete(self, path: str) -> Any:
        return self.call("DELETE", path)


@pytest.fixture
def responder(db: None) -> User:
    return make_user("ravi", full_name="Ravi Menon", role=Role.RESPONDER)


@pytest.fixture
def manager(db: None) -> User:
    return make_user("ines", full_name="Ines Okafor", role=Role.MANAGER)


@pytest.fixture
def viewer(db: None) -> User:
    return make_user("vera", full_name="Vera Lund", role=Role.VIEWER)


@pytest.fixture
def admin(db: None) -> User:
    return make_user("ada", full_name="Ada Admin", role=Role.ADMIN)


@pytest.fixture
def api_of(db: None) -> Callable[..., Api]:
    def make(user: User, **fields: Any) -> Api:
        return Api(make_token(user, **fields))

    return make


@pytest.fixture
def api(api_of: Callable[..., Api], responder: User) -> Api:
    return api_of(responder)


@pytest.fixture
def stranger() -> Api:
    return Api()
