"""Asking somebody to take a shift, or to swap one for another. What is agreed becomes overrides.

Locks are taken in this order: schedule, swap request, timers.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.urls import reverse

from accounts.models import Role, User
from accounts.permissions import at_least, who_may
from core.errors import Invalid, Missing, NotAllowed, Refused
from oncall import hooks, notices, presenters, queries, rules
from oncall.hooks import Message
from oncall.models import Override, OverrideKind, Schedule, SwapRequest, SwapStatus
from oncall.transitions import Fields, check_may_be_on_call, lock_schedule, time_problems
from timers.transitions import cancel_timer, set_timer

EXPIRY = "swap_expiry"
ANSWER_TIME = timedelta(hours=48)
LEAST_TIME = timedelta(hours=1)


@transaction.atomic
def ask_swap(
    *,
    schedule_id: int,
    asked: User,
    starts_at: datetime,
    ends_at: datetime,
    by: User,
    now: datetime,
    back_starts_at: datetime | None = None,
    back_ends_at: datetime | None = None,
    message: str = "",
    expires_at: datetime | None = None,
) -> SwapRequest:
    """`by` asks `asked` to be on call in their place; with the other span, `by` would be in the place of `asked` then.

    Without `expires_at` the request waits two days, and at most until the first of the two spans begins. The same
    request again, while it waits, is the same request.
    """
    schedule = lock_schedule(schedule_id)
    if not at_least(by, Role.RESPONDER):
        raise NotAllowed(who_may(Role.RESPONDER))
    starts_at = max(starts_at, now)
    fields: Fields = {}
    if asked.pk == by.pk:
        fields["asked"] = ["Ask somebody else."]
    elif not at_least(asked, Role.RESPONDER):
        fields["asked"] = [f"{asked} does not go on call: only responders do."]
    else:
        check_may_be_on_call(asked, fields, "asked")
    for key, problem in time_problems(starts_at, ends_at):
        fields.setdefault(key, []).append(problem)
    if (back_starts_at is None) != (back_ends_at is None):
        fields["back_ends_at"] = ["Give both the start and the end of the shift that you take in return."]
    elif back_starts_at is not None:
        for key, problem in time_problems(max(back_starts_at, now), back_ends_at):
            fields.setdefault(f"back_{key}", []).append(problem)
        back_starts_at = max(back_starts_at, now)
    if not fields and not is_on_call_within(schedule, by, starts_at, ends_at):
        fields["starts_at"] = ["You are not on call in that time, so there is nothing to take over."]
    in_return = (back_starts_at, back_ends_at) if back_starts_at and back_ends_at else None
    if not fields and in_return and not is_on_call_within(schedule, asked, *in_return):
        fields["back_starts_at"] = [f"{asked} is not on call in that time."]
    first = min(starts_at, back_starts_at or starts_at)
    last = max(ends_at, back_ends_at or ends_at)
    if expires_at is None:
        expires_at = min(now + ANSWER_TIME, max(first, now + LEAST_TIME), last)
    elif not now < expires_at <= last:
        fields["expires_at"] = ["An answer is needed after now, and before the shift is over."]
    if fields:
        raise Invalid(next(iter(fields.values()))[0], fields=fields)

    wanted = {
        "schedule": schedule, "requester": by, "asked": asked, "starts_at": starts_at, "ends_at": ends_at,
        "back_starts_at": back_starts_at, "back_ends_at": back_ends_at,
    }  # fmt: skip
    same = SwapRequest.objects.filter(**wanted, status=SwapStatus.PENDING).first()
    if same is not None:
        return same
    swap = SwapRequest.objects.create(
        **wanted, message=message.strip(), expires_at=expires_at, created_at=now
    )
    set_timer(kind=EXPIRY, key=str(swap.pk), due_at=expires_at, now=now)
    give_back = f"\n{by} would take {_span(swap, asked, back=True)} for you." if back_starts_at else ""
    said = f"\n“{swap.message}”" if swap.message else ""
    _tell(
        swap, asked, "asked",
        f"{by} asks you to take a shift of {schedule}",
        f"{_span(swap, asked)}.{give_back}{said}\nAnswer until {presenters.say_time(expires_at, asked.time_zone)}.",
        now,
    )  # fmt: skip
    return swap


@transaction.atomic
def accept_swap(*, swap_id: int, by: User, now: datetime, answer: str = "") -> SwapRequest:
    """The two change places. Accepting twice is accepting once."""
    swap = _answerable(swap_id, by, now, done=SwapStatus.ACCEPTED)
    if swap.status == SwapStatus.ACCEPTED:
        return swap
    fields: Fields = {}
    check_may_be_on_call(swap.asked, fields, "asked")
    if fields:
        raise Refused(fields["asked"][0])
    if swap.ends_at <= now or not is_on_call_within(
        swap.schedule, swap.requester, max(swap.starts_at, now), swap.ends_at
    ):
        raise Refused(f"{swap.requester} is not on call in that time any more. Nothing was changed.")
    _change_places(
        swap, coming=swap.asked, going=swap.requester, start=swap.starts_at, end=swap.ends_at, now=now
    )
    if swap.back_starts_at and swap.back_ends_at:
        if swap.back_ends_at <= now or not is_on_call_within(
            swap.schedule, swap.asked, max(swap.back_starts_at, now), swap.back_ends_at
        ):
            raise Refused(f"{swap.asked} is not on call in the time in return any more. Nothing was changed.")
        _change_places(
            swap, coming=swap.requester, going=swap.asked, start=swap.back_starts_at, end=swap.back_ends_at, now=now
        )  # fmt: skip
    _end(swap, SwapStatus.ACCEPTED, answer, now)
    notices.arm(swap.schedule_id, now=now)
    _tell(
        swap, swap.requester, "accepted", f"{swap.asked} takes your shift of {swap.schedule}",
        f"{_span(swap, swap.requester)}." + (f"\n“{swap.answer}”" if swap.answer else ""), now,
    )  # fmt: skip
    return swap


@transaction.atomic
def decline_swap(*, swap_id: int, by: User, now: datetime, answer: str = "") -> SwapRequest:
    swap = _answerable(swap_id, by, now, done=SwapStatus.DECLINED)
    if swap.status == SwapStatus.DECLINED:
        return swap
    _end(swap, SwapStatus.DECLINED, answer, now)
    _tell(
        swap, swap.requester, "declined", f"{swap.asked} cannot take your shift of {swap.schedule}",
        f"{_span(swap, swap.requester)}. You stay on call."
        + (f"\n“{swap.answer}”" if swap.answer else ""), now,
    )  # fmt: skip
    return swap


@transaction.atomic
def withdraw_swap(*, swap_id: int, by: User, now: datetime) -> SwapRequest:
    swap = _found(swap_id)
    if by.pk != swap.requester_id and not at_least(by, Role.MANAGER):
        raise NotAllowed(f"Only {swap.requester} or a manager can withdraw this.")
    if swap.status == SwapStatus.WITHDRAWN:
        return swap
    _check_pending(swap)
    _end(swap, SwapStatus.WITHDRAWN, "", now)
    return swap


def expire(swap: SwapRequest, *, now: datetime) -> None:
    """Nobody answered in time. For the timer, which holds the lock."""
    if swap.status != SwapStatus.PENDING or swap.expires_at > now:
        return
    _end(swap, SwapStatus.EXPIRED, "", now)
    _tell(
        swap, swap.requester, "expired", f"{swap.asked} did not answer about your shift of {swap.schedule}",
        f"{_span(swap, swap.requester)}. You stay on call.", now,
    )  # fmt: skip


def lock(swap_id: int) -> SwapRequest | None:
    """The request, locked until the transaction ends, after its schedule."""
    schedule_id = SwapRequest.objects.filter(pk=swap_id).values_list("schedule_id", flat=True).first()
    if schedule_id is None:
        return None
    Schedule.objects.select_for_update(no_key=True).filter(pk=schedule_id).first()
    return (
        SwapRequest.objects.select_for_update(of=("self",), no_key=True)
        .select_related("schedule", "requester", "asked")
        .filter(pk=swap_id)
        .first()
    )


def is_on_call_within(schedule: Schedule, user: User, start: datetime, end: datetime) -> bool:
    loaded = queries.load([schedule.pk], start=start, end=end).get(schedule.pk)
    return loaded is not None and any(
        user.pk in shift.people for shift in rules.shifts(loaded.data, start, end)
    )


def _found(swap_id: int) -> SwapRequest:
    swap = lock(swap_id)
    if swap is None:
        raise Missing("There is no such request.")
    return swap


def _answerable(swap_id: int, by: User, now: datetime, *, done: SwapStatus) -> SwapRequest:
    swap = _found(swap_id)
    if by.pk != swap.asked_id:
        raise NotAllowed(f"Only {swap.asked} can answer this.")
    if not at_least(by, Role.RESPONDER):
        raise NotAllowed(who_may(Role.RESPONDER))
    if swap.status != done:
        _check_pending(swap)
        if swap.expires_at <= now:
            raise Refused("This request waited until its time was over. Ask anew.")
    return swap


def _check_pending(swap: SwapRequest) -> None:
    if swap.status != SwapStatus.PENDING:
        raise Refused(f"This request is over: {SwapStatus(swap.status).label.lower()}.")


def _change_places(
    swap: SwapRequest, *, coming: User, going: User, start: datetime, end: datetime, now: datetime
) -> None:
    Override.objects.create(
        schedule=swap.schedule, kind=OverrideKind.REPLACE, user=coming, replaces=going, starts_at=max(start, now),
        ends_at=end, reason="Swap", swap=swap, created_by=swap.requester,
    )  # fmt: skip


def _end(swap: SwapRequest, status: SwapStatus, answer: str, now: datetime) -> None:
    swap.status, swap.answer, swap.answered_at = status, answer.strip()[:300], now
    swap.save(update_fields=["status", "answer", "answered_at"])
    cancel_timer(kind=EXPIRY, key=str(swap.pk))


def _span(swap: SwapRequest, reader: User, *, back: bool = False) -> str:
    start, end = (swap.back_starts_at, swap.back_ends_at) if back else (swap.starts_at, swap.ends_at)
    zone = reader.time_zone
    return f"{presenters.say_time(start, zone)} to {presenters.say_until(start, end, zone)} ({zone.replace('_', ' ')})"


def _tell(swap: SwapRequest, recipient: User, what: str, title: str, body: str, now: datetime) -> None:
    hooks.tell(
        Message(
            recipient=recipient, key=f"swap:{swap.pk}:{what}", topic=f"swap:{swap.pk}", title=title, body=body,
            link=reverse("oncall:mine"),
        ),
        now,
    )  # fmt: skip
