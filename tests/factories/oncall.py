"""Schedules with people on them."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from accounts.models import User
from oncall.models import Layer, LayerMember, Override, Schedule, Turn

_numbers = itertools.count(1)

# A Monday, 08:00 UTC, before everything that tests do.
FIRST_HANDOFF = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


def make_schedule(
    name: str = "", *, people: Sequence[User] = (), time_zone: str = "UTC", **fields: Any
) -> Schedule:
    """With `people`: one weekly rotation of them, always on. Without: nobody is on call."""
    name = name or f"Schedule {next(_numbers)}"
    fields.setdefault("slug", name.lower().replace(" ", "-"))
    schedule = Schedule.objects.create(name=name, time_zone=time_zone, **fields)
    if people:
        make_layer(schedule, people=people)
    return schedule


def make_layer(
    schedule: Schedule,
    *,
    people: Sequence[User],
    starts_at: datetime = FIRST_HANDOFF,
    turn_unit: str = Turn.WEEKS,
    turn_length: int = 1,
    **fields: Any,
) -> Layer:
    """On top of the layers that the schedule already has."""
    fields.setdefault("position", schedule.layers.filter(superseded_at__isnull=True).count())
    layer = Layer.objects.create(
        schedule=schedule, starts_at=starts_at, turn_unit=turn_unit, turn_length=turn_length, **fields
    )
    LayerMember.objects.bulk_create(
        LayerMember(layer=layer, position=position, user=user) for position, user in enumerate(people)
    )
    return layer


def make_override(
    schedule: Schedule, *, user: User, starts_at: datetime, ends_at: datetime, **fields: Any
) -> Override:
    return Override.objects.create(
        schedule=schedule, user=user, starts_at=starts_at, ends_at=ends_at, **fields
    )
