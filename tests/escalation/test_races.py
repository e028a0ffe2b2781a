"""A policy that is changed in the middle of its being read."""

import threading
from dataclasses import replace

import pytest
from django.db import connection

from escalation import engine, rules
from escalation.models import Policy
from escalation.transitions import save_policy
from tests.factories.accounts import make_user
from tests.factories.escalation import make_policy, tier

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_policy_that_changes_while_it_is_read_loses_nobody():
    ada = make_user("ada")
    policy = make_policy(tier(1, ada), name="Checkout")
    wanted = rules.PolicyData(name="Checkout", tiers=[replace(tier(1, ada), name="Renamed")])

    def change() -> None:
        try:
            save_policy(policy=Policy.objects.get(pk=policy.pk), data=wanted)
        finally:
            connection.close()

    rival = threading.Thread(target=change)

    def let_the_rival_go_first(execute, sql, *rest):
        if 'FROM "escalation_tiertarget"' in sql and rival.ident is None:
            rival.start()
            rival.join(timeout=0.5)  # without the lock it is through by then
        return execute(sql, *rest)

    with connection.execute_wrapper(let_the_rival_go_first):
        snapshot = engine.snapshot_of(policy)
    rival.join(timeout=10)
    assert [target["id"] for target in snapshot["tiers"][0]["targets"]] == [ada.pk]
    assert engine.snapshot_of(Policy.objects.get(pk=policy.pk))["tiers"][0]["name"] == "Renamed"
