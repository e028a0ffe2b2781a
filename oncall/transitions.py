"""Writes: schedules with their layers, and overrides. Views and the API call these and nothing else writes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts.models import Role, Team, User, validate_time_zone
from accounts.permissions import at_least, who_may
from core.errors import Invalid, Missing, NotAllowed, Refused
from core.slugs import free_slug
from oncall import queries, rules
from oncall.models import Layer, LayerMember, Override, Schedule, Turn

MOST_LAYERS = 20
MOST_PEOPLE = 60
LONGEST_TURN = 366
RESERVED = {"new"}  # addresses that are pages
# Between these every zone's arithmetic is safe, and nobody plans outside.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)

Fields = dict[str, list[str]]


@dataclass(frozen=True)
class LayerInput:
    """A layer as somebody wants it. `id` names the layer that it changes; without one it is new."""

    starts_at: datetime
    people: Sequence[User]
    name: str = ""
    ends_at: datetime | None = None
    turn_unit: str = Turn.WEEKS
    turn_length: int = 1
    people_at_once: int = 1
    restrictions: list[dict[str, Any]] = field(default_factory=list)
    id: int | None = None


# --- schedules --------------------------------------------------------------------------------------


@transaction.atomic
def create_schedule(
    *,
    name: str,
    time_zone: str,
    layers: Sequence[LayerInput],
    by: User,
    now: datetime,
    team: Team | None = None,
    description: str = "",
) -> Schedule:
    """The layers in order: the last one that has somebody wins."""
    _check_manager(by)
    name = name.strip()
    _check_schedule(name=name, time_zone=time_zone, layers=layers)
    _check_name_is_free(name)
    _check_layers_are_current(layers, {})
    schedule = Schedule(
        name=name,
        slug=free_slug(Schedule, name, kind="schedule", reserved=RESERVED),
        team=team,
        description=description.strip(),
        time_zone=time_zone,
    )
    _save_named(schedule)
    for position, wanted in enumerate(layers):
        _add_layer(schedule, position, wanted, now=now)
    return schedule


@transaction.atomic
def update_schedule(
    *,
    schedule_id: int,
    name: str,
    time_zone: str,
    layers: Sequence[LayerInput],
    by: User,
    now: datetime,
    team: Team | None = None,
    description: str = "",
) -> Schedule:
    """Who was on call before `now` stays as it was: a layer that changes is replaced from `now` on.

    Layers that are not named by `layers` end now. A layer that somebody else has replaced meanwhile is refused.
    """
    _check_manager(by)
    schedule = _lock(schedule_id)
    name = name.strip()
    _check_schedule(name=name, time_zone=time_zone, layers=layers)
    _check_name_is_free(name, besides=schedule)
    current = {layer.pk: layer for layer in queries.current_layers().filter(schedule=schedule)}
    _check_layers_are_current(layers, current)

    moved = schedule.time_zone != time_zone
    kept: dict[int, Layer] = {}
    for position, wanted in enumerate(layers):
        layer = current.get(wanted.id) if wanted.id else None
        if layer is not None and not moved and layer.position == position and _same(layer, wanted):
            kept[layer.pk] = layer
            if layer.name != wanted.name.strip():
                layer.name = wanted.name.strip()
                layer.save(update_fields=["name"])
    for layer in current.values():
        if layer.pk not in kept:
            _retire(layer, zone=schedule.time_zone if moved else "", now=now)
    for position, wanted in enumerate(layers):
        if wanted.id not in kept:
            _add_layer(schedule, position, wanted, now=now)

    schedule.name, schedule.time_zone, schedule.team, schedule.description = (
        name,
        time_zone,
        team,
        description.strip(),
    )
    _save_named(schedule, update_fields=["name", "time_zone", "team", "description"])
    return schedule


@transaction.atomic
def delete_schedule(*, schedule_id: int, by: User) -> None:
    """Refused while a policy pages it, or while it gives a role."""
    _check_manager(by)
    schedule = _lock(schedule_id)
    try:
        schedule.delete()
    except ProtectedError:
        raise Refused(
            f"A policy or a rotation of roles uses {schedule.name}. Take it out there first."
        ) from None


def _lock(schedule_id: int) -> Schedule:
    found = Schedule.objects.select_for_update(of=("self",), no_key=True).filter(pk=schedule_id).first()
    if found is None:
        raise Missing("There is no such schedule.")
    return found


def _save_named(schedule: Schedule, **options: Any) -> None:
    try:
        with transaction.atomic():
            schedule.save(**options)
    except IntegrityError:
        # Somebody took the name between the look and the write.
        raise _name_taken(schedule.name) from None


def _add_layer(schedule: Schedule, position: int, wanted: LayerInput, *, now: datetime) -> Layer:
    """Counts from now at the earliest, whatever its first handoff says."""
    layer = Layer.objects.create(
        schedule=schedule,
        position=position,
        name=wanted.name.strip(),
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
        effective_from=now if wanted.starts_at < now else None,
        turn_unit=wanted.turn_unit,
        turn_length=wanted.turn_length,
        people_at_once=wanted.people_at_once,
        restrictions=rules.write_windows(rules.read_windows(wanted.restrictions)),
    )
    LayerMember.objects.bulk_create(
        LayerMember(layer=layer, position=place, user=user) for place, user in enumerate(wanted.people)
    )
    return layer


def _retire(layer: Layer, *, zone: str, now: datetime) -> None:
    """Ends a layer now; one that has never counted leaves no trace."""
    if max(layer.starts_at, layer.effective_from or layer.starts_at) >= now:
        layer.delete()
        return
    layer.superseded_at = now
    layer.time_zone = zone
    layer.save(update_fields=["superseded_at", "time_zone"])


def _same(layer: Layer, wanted: LayerInput) -> bool:
    """Whether this layer already puts the same people on call at the same times."""
    return (
        layer.starts_at == wanted.starts_at
        and layer.ends_at == wanted.ends_at
        and layer.turn_unit == wanted.turn_unit
        and layer.turn_length == wanted.turn_length
        and layer.people_at_once == wanted.people_at_once
        and rules.read_windows(layer.restrictions) == rules.read_windows(wanted.restrictions)
        and [member.user_id for member in layer.members.all()] == [user.pk for user in wanted.people]
    )


# --- checks -----------------------------------------------------------------------------------------


def _check_manager(by: User) -> None:
    if not at_least(by, Role.MANAGER):
        raise NotAllowed(who_may(Role.MANAGER))


def _name_taken(name: str) -> Invalid:
    message = f"There is already a schedule called {name}."
    return Invalid(message, fields={"name": [message]})


def _check_name_is_free(name: str, *, besides: Schedule | None = None) -> None:
    others = Schedule.objects.filter(name__iexact=name)
    if besides is not None:
        others = others.exclude(pk=besides.pk)
    if others.exists():
        raise _name_taken(name)


def _check_schedule(*, name: str, time_zone: str, layers: Sequence[LayerInput]) -> None:
    """Raises one refusal that holds everything that is wrong, each under its field."""
    fields: Fields = {}
    if not name:
        fields["name"] = ["A schedule needs a name. Example: Checkout primary"]
    try:
        validate_time_zone(time_zone)
    except ValidationError as error:
        fields["time_zone"] = error.messages
    if not layers:
        fields["layers"] = ["A schedule needs at least one layer with people, or it pages nobody."]
    elif len(layers) > MOST_LAYERS:
        fields["layers"] = [f"A schedule has at most {MOST_LAYERS} layers."]
    for number, layer in enumerate(layers):
        for key, message in _layer_problems(layer):
            fields.setdefault(f"layers.{number}.{key}", []).append(message)
    if fields:
        raise Invalid(next(iter(fields.values()))[0], fields=fields)


def _layer_problems(layer: LayerInput) -> Iterable[tuple[str, str]]:
    if not layer.people:
        yield "people", "Nobody is in this rotation. Name at least one person."
    if len(layer.people) > MOST_PEOPLE:
        yield "people", f"A rotation has at most {MOST_PEOPLE} people."
    gone = [str(user) for user in layer.people if not user.is_active]
    if gone:
        yield "people", f"{', '.join(gone)} cannot be on call: the account is switched off."
    if layer.people_at_once < 1:
        yield "people_at_once", "At least one person is on call at a time."
    elif layer.people and layer.people_at_once > len(layer.people):
        yield (
            "people_at_once",
            f"{layer.people_at_once} people at a time need at least as many in the rotation; "
            f"it has {len(layer.people)}.",
        )
    elif layer.people_at_once > 1 and len({user.pk for user in layer.people}) < len(layer.people):
        yield "people", "With several people at a time, name each person once."
    if layer.turn_unit not in Turn.values:
        yield "turn_unit", f"A turn is counted in {', '.join(Turn.values)}."
    if not 1 <= layer.turn_length <= LONGEST_TURN:
        yield "turn_length", f"A turn lasts from 1 to {LONGEST_TURN} {layer.turn_unit}."
    yield from _time_problems(layer.starts_at, layer.ends_at)
    try:
        rules.read_windows(layer.restrictions)
    except Invalid as refusal:
        yield "restrictions", refusal.message


def _time_problems(starts_at: datetime, ends_at: datetime | None) -> Iterable[tuple[str, str]]:
    if not EARLIEST <= starts_at < LATEST:
        yield "starts_at", f"The start lies between {EARLIEST.year} and {LATEST.year}."
    if ends_at is not None and not EARLIEST <= ends_at < LATEST:
        yield "ends_at", f"The end lies between {EARLIEST.year} and {LATEST.year}."
    elif ends_at is not None and ends_at <= starts_at:
        yield "ends_at", "It ends before it starts. Give an end after the start."


def _check_layers_are_current(layers: Sequence[LayerInput], current: dict[int, Layer]) -> None:
    named = [layer.id for layer in layers if layer.id is not None]
    if set(named) - set(current):
        raise Refused("Somebody changed the layers meanwhile. Load the schedule again; nothing was saved.")
    if len(set(named)) < len(named):
        raise Invalid("Two of the layers name the same layer of the schedule.")


# --- overrides --------------------------------------------------------------------------------------


@transaction.atomic
def add_override(
    *,
    schedule_id: int,
    user: User,
    starts_at: datetime,
    ends_at: datetime,
    by: User,
    now: datetime,
    reason: str = "",
) -> Override:
    """`user` is on call in place of whoever the layers say. Responders may do this for themselves, managers for all.

    A start in the past becomes now: an override cannot change who was on call.
    """
    schedule = _lock(schedule_id)
    _check_may_cover(by, user)
    fields: Fields = {}
    if not user.is_active:
        fields["user"] = [f"{user} cannot be on call: the account is switched off."]
    for key, message in _time_problems(starts_at, ends_at):
        fields.setdefault(key, []).append(message)
    if not fields and ends_at <= now:
        fields["ends_at"] = ["This time is over. Give an end in the future."]
    if fields:
        raise Invalid(next(iter(fields.values()))[0], fields=fields)
    return Override.objects.create(
        schedule=schedule,
        user=user,
        starts_at=max(starts_at, now),
        ends_at=ends_at,
        reason=reason.strip(),
        created_by=by,
    )


@transaction.atomic
def remove_override(*, override_id: int, by: User, now: datetime) -> None:
    """One that has begun ends now, so that the past stays true; one that lies ahead goes away."""
    override = (
        Override.objects.select_for_update(of=("self",), no_key=True)
        .filter(pk=override_id)
        .select_related("user")
        .first()
    )
    if override is None:
        raise Missing("There is no such override.")
    if override.created_by_id != by.pk or not at_least(by, Role.RESPONDER):
        _check_may_cover(by, override.user)
    if override.ends_at <= now:
        raise Refused("This override is over. Who was on call stays on record.")
    if override.starts_at < now:
        override.ends_at = now
        override.save(update_fields=["ends_at"])
    else:
        override.delete()


def _check_may_cover(by: User, user: User) -> None:
    if at_least(by, Role.MANAGER) or (by.pk == user.pk and at_least(by, Role.RESPONDER)):
        return
    if at_least(by, Role.RESPONDER):
        raise NotAllowed("You may put yourself on call. Managers may put others.")
    raise NotAllowed(who_may(Role.RESPONDER))
