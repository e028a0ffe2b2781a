"""Policies with tiers, made through the same function as in the product."""

import itertools
from collections.abc import Sequence

from accounts.models import User
from catalog.models import Service
from escalation.models import Policy
from escalation.rules import PolicyData, TargetData, TierData
from escalation.transitions import save_policy, set_service_policy

_numbers = itertools.count(1)

SECONDS = {1: 120, 2: 300, 3: 900, 4: 1800}


def tier(
    level: int, *users: User, targets: Sequence[TargetData] = (), seconds: int | None = None
) -> TierData:
    """A tier of these people. `seconds` to acknowledge whatever the severity; None: SECONDS."""
    return TierData(
        level=level, name=f"Tier {level} people", expected_outcome=f"Do what tier {level} does.",
        ack_seconds=dict.fromkeys((1, 2, 3, 4), seconds) if seconds else SECONDS,
        targets=[*targets, *(TargetData(kind="user", id=user.pk) for user in users)],
    )  # fmt: skip


def make_policy(
    *tiers: TierData,
    service: Service | None = None,
    repeats: int = 0,
    catch_all: User | None = None,
    name: str = "",
) -> Policy:
    policy = save_policy(
        policy=None,
        data=PolicyData(
            name=name or f"Policy {next(_numbers)}", tiers=tiers, repeats=repeats,
            catch_all_id=catch_all.pk if catch_all else None,
        ),
    )  # fmt: skip
    if service is not None:
        set_service_policy(service_id=service.pk, policy=policy)
    return policy
