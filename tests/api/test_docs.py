"""The page on which people read and try the API."""

import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from accounts.models import User
from core.middleware import POLICY

pytestmark = pytest.mark.django_db


def test_the_page_needs_nothing_but_our_own_files_under_the_strict_policy(
    client: Client, viewer: User
) -> None:
    client.force_login(viewer)
    response = client.get("/api/v1/docs/")
    assert response.status_code == 200
    assert response["Content-Security-Policy"] == POLICY
    page = response.content.decode()
    addresses = re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', page)
    assert any("swagger-ui-bundle" in address for address in addresses)
    for address in addresses:
        assert address.startswith("/static/"), address
        name = re.sub(r"\.[0-9a-f]{12}\.", ".", address.removeprefix("/static/"))  # without its fingerprint
        assert finders.find(name), address
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert 'data-schema="/api/v1/schema/"' in page


def test_the_schema_is_for_people_and_programs_who_are_known(client: Client) -> None:
    assert client.get("/api/v1/schema/").status_code == 401
    assert client.get("/api/v1/docs/").status_code == 302
