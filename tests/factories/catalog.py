"""Services, what they need, what they promise."""

import itertools
from decimal import Decimal
from typing import Any

from catalog.models import Dependency, Service, Slo

_numbers = itertools.count(1)


def make_service(name: str = "", **fields: Any) -> Service:
    """A service with no owner and no responders, unless `team`, `primary_responder` … say otherwise."""
    name = name or f"service-{next(_numbers)}"
    fields.setdefault("slug", name.lower().replace(" ", "-"))
    return Service.objects.create(name=name, **fields)


def make_dependency(service: Service, *, needs: Service, **fields: Any) -> Dependency:
    return Dependency.objects.create(service=service, depends_on=needs, **fields)


def make_slo(
    service: Service, *, name: str = "Availability", target_percent: str = "99.9", **fields: Any
) -> Slo:
    return Slo.objects.create(service=service, name=name, target_percent=Decimal(target_percent), **fields)
