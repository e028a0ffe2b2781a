"""What a page costs, since a thousand at once must not make anybody wait."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories.accounts import make_email, make_user
from tests.factories.notifications import NOW, make_notification, make_rule
from timers.models import Timer
from timers.transitions import fire

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_message_takes_a_fixed_number_of_queries_from_timer_to_result(fake, monkeypatch):
    monkeypatch.setattr("timers.transitions.hand_over", lambda **kwargs: True)
    user = make_user("ravi")
    make_rule(make_email(user, verified_at=NOW))
    make_notification(user)
    timer = Timer.objects.get(kind="deliver")

    with CaptureQueriesContext(connection) as captured:
        fire(timer_id=timer.pk, now=NOW, by="test")

    asked = [query["sql"] for query in captured if query["sql"] not in ("BEGIN", "COMMIT")]
    assert len(fake.accepted) == 1
    assert len(asked) <= 15, "\n".join(asked)
    assert not [sql for sql in asked if "SAVEPOINT" in sql]
