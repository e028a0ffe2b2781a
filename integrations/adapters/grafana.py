"""Grafana's contact point of the kind webhook: Alertmanager's body with more in it, version 1."""

from typing import Any

from integrations.adapters import alertmanager
from integrations.rules import Parsed


def parse(body: dict[str, Any]) -> Parsed:
    """`DatasourceNoData` and `DatasourceError` are alerts like others: somebody has to look."""
    return alertmanager.parse(body, expected="1", sender="Grafana")
