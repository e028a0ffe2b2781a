import pytest

from catalog import readiness
from catalog.models import Service
from tests.factories.accounts import make_email, make_user
from tests.factories.catalog import make_service
from tests.factories.notifications import NOW

pytestmark = pytest.mark.django_db


def has_gap(service) -> bool:
    loaded = readiness.with_gaps(Service.objects.filter(pk=service.pk)).get()
    return "reach" in [check.code for check in readiness.gaps_of(loaded)]


def test_a_service_shows_that_a_responder_could_not_be_reached():
    ravi, ines = make_user("ravi"), make_user("ines")
    mail = make_email(ravi, verified_at=NOW)
    make_email(ines)  # not verified
    service = make_service(primary_responder=ravi, secondary_responder=ines)
    assert has_gap(service)

    ines.contact_methods.update(verified_at=NOW)
    assert not has_gap(service)

    mail.disabled_at = NOW
    mail.save()
    assert has_gap(service)


def test_a_service_without_responders_has_other_gaps():
    assert not has_gap(make_service())
