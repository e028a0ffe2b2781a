"""Writes: schedules with their layers, overrides, temporary schedules. Views and the API call these and nothing else
writes. Swaps and calendar addresses have files of their own."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from accounts.models import Role, Team, User, validate_time_zone
from accounts.permissions import at_least, who_may
from core.errors import Invalid, Missing, NotAllowed, Refused
from core.slugs import free_slug
from oncall import hooks, notices, queries, rules
from oncall.models import (
    Filler,
    Layer,
    LayerMember,
    LayerMode,
    Override,
    OverrideKind,
    Schedule,
    TemporarySchedule,
    TemporaryShift,
    Turn,
)
from oncall.rules import LONGEST_TURN, Changed, Stint
from timers.transitions import cancel_timer

MOST_LAYERS = 20
MOST_PEOPLE = 60
MOST_SHIFTS = 400
PREVIEW = timedelta(weeks=12)
RESERVED = {"new", "mine", "feeds", "swaps", "my-shifts"}  # addresses that are pages
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
    turns: list[dict[str, Any]] = field(default_factory=list)  # with the unit custom
    mode: str = LayerMode.OVERRIDE
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
    filler: User | None = None,
    notice_minutes: int = 24 * 60,
    notice_at_start: bool = True,
) -> Schedule:
    """The layers in order: the last one that has somebody wins."""
    _check_manager(by)
    name = name.strip()
    _check_schedule(
        name=name, time_zone=time_zone, layers=layers, filler=filler, notice_minutes=notice_minutes
    )
    _check_name_is_free(name)
    _check_layers_are_current(layers, {})
    schedule = Schedule(
        name=name,
        slug=free_slug(Schedule, name, kind="schedule", reserved=RESERVED),
        team=team,
        description=description.strip(),
        time_zone=time_zone,
        notice_minutes=notice_minutes,
        notice_at_start=notice_at_start,
    )
    _save_named(schedule)
    for position, wanted in enumerate(layers):
        _add_layer(schedule, position, wanted, now=now)
    _set_filler(schedule, filler, now=now)
    notices.arm(schedule.pk, now=now)
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
    filler: User | None = None,
    notice_minutes: int = 24 * 60,
    notice_at_start: bool = True,
    counts_from: datetime | None = None,
) -> Schedule:
    """Who was on call before `now` stays as it was: a layer that changes is replaced from `now` on.

    Layers that are not named by `layers` end now. A layer that somebody else has replaced meanwhile is refused.
    With `counts_from`, a time ahead, the layers that there are go on until then, and those of `layers` follow them.
    """
    _check_manager(by)
    schedule = lock_schedule(schedule_id)
    name = name.strip()
    current = {layer.pk: layer for layer in queries.current_layers().filter(schedule=schedule)}
    _check_schedule(
        name=name, time_zone=time_zone, layers=layers, filler=filler, notice_minutes=notice_minutes,
        already={member.user_id for layer in current.values() for member in layer.members.all()},
    )  # fmt: skip
    _check_name_is_free(name, besides=schedule)
    _check_layers_are_current(layers, current)

    moved = schedule.time_zone != time_zone
    kept: dict[int, Layer] = {}
    first = 0
    if counts_from is not None:
        _check_counts_from(counts_from, moved=moved, now=now)
        first = _end_all(current, at=counts_from)
        current = {}
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
    for position, wanted in enumerate(layers, start=first):
        if wanted.id not in kept:
            replaced = current.get(wanted.id) if wanted.id else None
            # What would have begun to count later still does.
            later = (replaced.effective_from if replaced else counts_from) or now
            _add_layer(schedule, position, wanted, now=max(now, later))

    schedule.name, schedule.time_zone, schedule.team = name, time_zone, team
    schedule.description = description.strip()
    schedule.notice_minutes, schedule.notice_at_start = notice_minutes, notice_at_start
    _save_named(
        schedule,
        update_fields=["name", "time_zone", "team", "description", "notice_minutes", "notice_at_start"],
    )
    _set_filler(schedule, filler, now=now)
    notices.arm(schedule.pk, now=now)
    return schedule


def _check_counts_from(at: datetime, *, moved: bool, now: datetime) -> None:
    problem = ""
    if moved:
        problem = "Another time zone counts from now on. Change it by itself."
    elif not now < at < LATEST:
        problem = "A time in the future. Empty: from now on."
    if problem:
        raise Invalid(problem, fields={"counts_from": [problem]})


def _end_all(current: dict[int, Layer], *, at: datetime) -> int:
    """Layers go on until `at`; those that would begin later never do. The first position that is free then."""
    left = []
    for layer in current.values():
        if max(layer.starts_at, layer.effective_from or layer.starts_at) >= at:
            layer.delete()
            continue
        if layer.ends_at is None or layer.ends_at > at:
            layer.ends_at = at
            layer.save(update_fields=["ends_at"])
        left.append(layer.position)
    return max(left, default=-1) + 1


def _set_filler(schedule: Schedule, user: User | None, *, now: datetime) -> None:
    current = schedule.fillers.filter(ends_at=None).first()
    if (current.user_id if current else None) == (user.pk if user else None):
        return
    if current is not None and current.starts_at >= now:
        current.delete()
    elif current is not None:
        current.ends_at = now
        current.save(update_fields=["ends_at"])
    if user is not None:
        Filler.objects.create(schedule=schedule, user=user, starts_at=now)


@transaction.atomic
def delete_schedule(*, schedule_id: int, by: User) -> None:
    """Refused while a policy pages it, or while it gives a role."""
    _check_manager(by)
    schedule = lock_schedule(schedule_id)
    try:
        schedule.delete()
        cancel_timer(kind=notices.KIND, key=str(schedule_id))
    except ProtectedError:
        raise Refused(
            f"A policy or a rotation of roles uses {schedule.name}. Take it out there first."
        ) from None


def lock_schedule(schedule_id: int) -> Schedule:
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
        turns=rules.write_turns(_turns(wanted)),
        mode=wanted.mode,
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


def _turns(wanted: LayerInput) -> tuple[tuple[str, int], ...]:
    return rules.read_turns(wanted.turns) if wanted.turn_unit == Turn.CUSTOM else ()


def _same(layer: Layer, wanted: LayerInput) -> bool:
    """Whether this layer already puts the same people on call at the same times."""
    return (
        layer.starts_at == wanted.starts_at
        and layer.ends_at == wanted.ends_at
        and layer.turn_unit == wanted.turn_unit
        and (layer.turn_length == wanted.turn_length or wanted.turn_unit == Turn.CUSTOM)
        and layer.turns == rules.write_turns(_turns(wanted))
        and layer.mode == wanted.mode
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


def _check_schedule(
    *, name: str, time_zone: str, layers: Sequence[LayerInput], filler: User | None, notice_minutes: int,
    already: Collection[int] = (),
) -> None:  # fmt: skip
    """Raises one refusal that holds everything that is wrong, each under its field.

    Who is `already` in the schedule passed the gate before; it is asked about others.
    """
    fields: Fields = {}
    if filler is not None:
        check_may_be_on_call(filler, fields, "filler")
    if not 0 <= notice_minutes <= notices.LONGEST_BEFORE:
        fields["notice_minutes"] = ["From 0, for no notice, to 14 days before."]
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
    coming = {user.pk: user for layer in layers if layer.mode != LayerMode.SHADOW for user in layer.people}
    kept_out = hooks.refused([user for user in coming.values() if user.pk not in already])
    for number, layer in enumerate(layers):
        for key, message in _layer_problems(layer, kept_out):
            fields.setdefault(f"layers.{number}.{key}", []).append(message)
    if fields:
        raise Invalid(next(iter(fields.values()))[0], fields=fields)


def check_may_be_on_call(user: User, fields: Fields, key: str) -> None:
    if not user.is_active:
        fields.setdefault(key, []).append(f"{user} cannot be on call: the account is switched off.")
    else:
        for sentence in hooks.refused([user]).values():
            fields.setdefault(key, []).append(sentence)


def _layer_problems(layer: LayerInput, kept_out: dict[int, str]) -> Iterable[tuple[str, str]]:
    if not layer.people:
        yield "people", "Nobody is in this rotation. Name at least one person."
    if len(layer.people) > MOST_PEOPLE:
        yield "people", f"A rotation has at most {MOST_PEOPLE} people."
    gone = [str(user) for user in layer.people if not user.is_active]
    if gone:
        yield "people", f"{', '.join(gone)} cannot be on call: the account is switched off."
    if layer.mode != LayerMode.SHADOW:
        for user in dict.fromkeys(layer.people):
            if user.pk in kept_out:
                yield "people", kept_out[user.pk]
    if layer.mode not in LayerMode.values:
        yield "mode", f"One of {', '.join(LayerMode.values)}."
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
    if layer.turn_unit == Turn.CUSTOM:
        try:
            rules.read_turns(layer.turns)
        except Invalid as refusal:
            yield "turns", refusal.message
    elif not 1 <= layer.turn_length <= LONGEST_TURN:
        yield "turn_length", f"A turn lasts from 1 to {LONGEST_TURN} {layer.turn_unit}."
    yield from time_problems(layer.starts_at, layer.ends_at)
    try:
        rules.read_windows(layer.restrictions)
    except Invalid as refusal:
        yield "restrictions", refusal.message


def time_problems(starts_at: datetime, ends_at: datetime | None) -> Iterable[tuple[str, str]]:
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
    kind: str = OverrideKind.REPLACE,
    replaces: User | None = None,
) -> Override:
    """`user` is on call in place of everybody or of `replaces`, or beside the others, or is taken out, or shadows.

    Responders may put themselves on call, managers everybody; who is taken out by a responder would leave a gap, so
    that is for managers too. A start in the past becomes now: an override cannot change who was on call.
    """
    schedule = lock_schedule(schedule_id)
    if kind == OverrideKind.REMOVE:
        _check_manager(by)
    else:
        _check_may_cover(by, user)
    fields: Fields = {}
    if kind not in OverrideKind.values:
        fields["kind"] = [f"One of {', '.join(OverrideKind.values)}."]
    if replaces is not None and kind != OverrideKind.REPLACE:
        fields["replaces"] = ["Only somebody who comes in place of another has this."]
    elif replaces is not None and replaces.pk == user.pk:
        fields["replaces"] = ["Somebody else than who comes."]
    if kind in (OverrideKind.REPLACE, OverrideKind.ADD):
        check_may_be_on_call(user, fields, "user")
    elif not user.is_active:
        fields["user"] = [f"{user} cannot be on call: the account is switched off."]
    for key, message in time_problems(starts_at, ends_at):
        fields.setdefault(key, []).append(message)
    if not fields and ends_at <= now:
        fields["ends_at"] = ["This time is over. Give an end in the future."]
    if fields:
        raise Invalid(next(iter(fields.values()))[0], fields=fields)
    override = Override.objects.create(
        schedule=schedule,
        kind=kind,
        user=user,
        replaces=replaces,
        starts_at=max(starts_at, now),
        ends_at=ends_at,
        reason=reason.strip(),
        created_by=by,
    )
    notices.arm(schedule.pk, now=now)
    return override


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
    notices.arm(override.schedule_id, now=now)


def _check_may_cover(by: User, user: User) -> None:
    if at_least(by, Role.MANAGER) or (by.pk == user.pk and at_least(by, Role.RESPONDER)):
        return
    if at_least(by, Role.RESPONDER):
        raise NotAllowed("You may put yourself on call. Managers may put others.")
    raise NotAllowed(who_may(Role.RESPONDER))


# --- temporary schedules ----------------------------------------------------------------------------


@transaction.atomic
def add_temporary(
    *,
    schedule_id: int,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    shifts: Sequence[Stint],
    people: dict[int, User],
    by: User,
    now: datetime,
    instead_of: int | None = None,
) -> TemporarySchedule:
    """For its span these shifts and nothing else. `instead_of` names the one that it replaces, which ends now.

    A start in the past becomes now, and shifts are trimmed to the span. `people` are those of the shifts, by id.
    """
    _check_manager(by)
    schedule = lock_schedule(schedule_id)
    if instead_of is not None:
        _end_temporary(_temporary(schedule, instead_of), now=now)
    starts_at = max(starts_at, now)
    fields: Fields = {}
    name = name.strip()
    if not name:
        fields["name"] = ["Say what it is for. Example: Black Friday"]
    for key, message in time_problems(starts_at, ends_at):
        fields.setdefault(key, []).append("This time is over." if ends_at <= now else message)
    trimmed = [
        Stint(stint.user, max(stint.starts_at, starts_at), min(stint.ends_at or ends_at, ends_at))
        for stint in shifts
        if stint.starts_at < ends_at and (stint.ends_at or ends_at) > starts_at
    ]
    if not fields and not trimmed:
        fields["shifts"] = ["It needs at least one shift within its time, or it pages nobody."]
    elif len(shifts) > MOST_SHIFTS:
        fields["shifts"] = [f"At most {MOST_SHIFTS} shifts."]
    elif any((stint.ends_at or ends_at) <= stint.starts_at for stint in shifts):
        fields["shifts"] = ["A shift ends before it starts."]
    else:
        for user in {stint.user: people[stint.user] for stint in trimmed}.values():
            check_may_be_on_call(user, fields, "shifts")
    if fields:
        raise Invalid(next(iter(fields.values()))[0], fields=fields)
    temporary = TemporarySchedule.objects.create(
        schedule=schedule, name=name, starts_at=starts_at, ends_at=ends_at, created_by=by
    )
    TemporaryShift.objects.bulk_create(
        TemporaryShift(
            temporary=temporary, user=people[stint.user], starts_at=stint.starts_at, ends_at=stint.ends_at
        )
        for stint in trimmed
    )
    notices.arm(schedule.pk, now=now)
    return temporary


@transaction.atomic
def remove_temporary(*, schedule_id: int, temporary_id: int, by: User, now: datetime) -> None:
    """One that runs ends now; one that lies ahead goes away; one that is over stays."""
    _check_manager(by)
    schedule = lock_schedule(schedule_id)
    _end_temporary(_temporary(schedule, temporary_id), now=now)
    notices.arm(schedule.pk, now=now)


def _temporary(schedule: Schedule, temporary_id: int) -> TemporarySchedule:
    found = schedule.temporary.filter(pk=temporary_id).first()
    if found is None:
        raise Missing("There is no such temporary schedule.")
    return found


def _end_temporary(temporary: TemporarySchedule, *, now: datetime) -> None:
    if temporary.ends_at <= now:
        raise Refused("This temporary schedule is over. Who was on call stays on record.")
    if temporary.starts_at < now:
        temporary.ends_at = now
        temporary.save(update_fields=["ends_at"])
    else:
        temporary.delete()


# --- looking ahead ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preview:
    """Who would be on call from `starts_at` until `ends_at`, and where that is somebody else than now."""

    starts_at: datetime
    ends_at: datetime
    before: queries.Loaded
    after: queries.Loaded
    changed: list[Changed]

    @property
    def people(self) -> dict[int, User]:
        return self.before.people | self.after.people

    @property
    def gaps(self) -> list[rules.Shift]:
        """Where nobody would be on call."""
        return [
            shift for shift in rules.shifts(self.after.data, self.starts_at, self.ends_at) if shift.is_gap
        ]


def preview(
    *, write: Callable[[], Schedule], schedule: Schedule | None, now: datetime, span: timedelta = PREVIEW
) -> Preview:
    """What `write` would change, without doing it: it is done, looked at, and taken back. Raises what `write` raises."""
    start, end = now, now + span
    zone = schedule.time_zone if schedule else "UTC"
    before = _look(schedule, start, end) if schedule else queries.Loaded(rules.ScheduleData(zone=zone))
    with transaction.atomic():
        after = _look(write(), start, end)
        transaction.set_rollback(True)
    changed = rules.difference(rules.shifts(before.data, start, end), rules.shifts(after.data, start, end))
    return Preview(start, end, before, after, changed)


def _look(schedule: Schedule, start: datetime, end: datetime) -> queries.Loaded:
    empty = queries.Loaded(rules.ScheduleData(zone=schedule.time_zone))
    return queries.load([schedule.pk], start=start, end=end).get(schedule.pk, empty)
