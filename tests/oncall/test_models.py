from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from oncall.models import LayerMember, Override
from tests.factories.accounts import make_user
from tests.factories.oncall import FIRST_HANDOFF, make_layer, make_override, make_schedule

pytestmark = pytest.mark.django_db


def test_schedule_with_people_is_one_weekly_layer_in_their_order():
    ines, ravi = make_user("ines"), make_user("ravi")

    schedule = make_schedule("Checkout", people=[ines, ravi])

    layer = schedule.layers.get()
    assert (layer.turn_unit, layer.turn_length, layer.position) == ("weeks", 1, 0)
    assert list(layer.members.values_list("user__username", flat=True)) == ["ines", "ravi"]


def test_position_is_free_again_when_its_layer_is_superseded():
    ines = make_user("ines")
    schedule = make_schedule(people=[ines])
    with pytest.raises(IntegrityError), transaction.atomic():
        make_layer(schedule, people=[ines], position=0)

    schedule.layers.update(superseded_at=FIRST_HANDOFF)
    make_layer(schedule, people=[ines], position=0)

    assert LayerMember.objects.count() == 2


def test_override_that_ends_before_it_starts_is_refused_by_the_database():
    ines = make_user("ines")
    schedule = make_schedule()

    with pytest.raises(IntegrityError), transaction.atomic():
        make_override(
            schedule, user=ines, starts_at=FIRST_HANDOFF, ends_at=FIRST_HANDOFF - timedelta(hours=1)
        )

    assert not Override.objects.exists()
