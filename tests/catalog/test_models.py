import pytest
from django.db import IntegrityError, transaction

from catalog.models import Dependency, Slo
from tests.factories.catalog import make_dependency, make_service, make_slo

pytestmark = pytest.mark.django_db


def test_service_needs_no_owner_to_exist():
    service = make_service("checkout-api")

    assert (service.team, service.primary_responder, service.criticality) == (None, None, 3)


def test_dependency_on_itself_is_refused_by_the_database():
    service = make_service()

    with pytest.raises(IntegrityError), transaction.atomic():
        make_dependency(service, needs=service)

    assert not Dependency.objects.exists()


@pytest.mark.parametrize("target", ["0", "100.001", "-1"])
def test_slo_target_is_a_percentage(target):
    service = make_service()

    with pytest.raises(IntegrityError), transaction.atomic():
        make_slo(service, target_percent=target)

    assert not Slo.objects.exists()
