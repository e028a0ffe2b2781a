"""Telling people of their shifts, before and at the start, and whoever shadows them. One timer for each schedule."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.urls import reverse

from accounts.models import User
from oncall import hooks, presenters, queries, rules
from oncall.hooks import Message
from oncall.models import DutyNotice, Schedule
from oncall.rules import Notice, Run
from timers.transitions import set_timer

KIND = "duty_notices"
LONGEST_BEFORE = 14 * 24 * 60  # minutes
# A start that is told later than this is news no more.
LATE = timedelta(hours=6)
# At least so often it is looked again: who is on call can change with time alone.
ROUND = timedelta(days=1)


def arm(schedule_id: int, *, now: datetime) -> None:
    """Have the notices of a schedule worked out anew, soon after this transaction: whatever changes it calls this."""
    set_timer(kind=KIND, key=str(schedule_id), due_at=now, now=now)


def give(schedule: Schedule, *, now: datetime) -> None:
    """Tell whoever is to be told by now, each once, and set the timer for the next. For the timer, which holds the lock."""
    before = timedelta(minutes=schedule.notice_minutes)
    start, end = now - rules.REST - LATE - before, now + before + 2 * ROUND
    loaded = queries.load([schedule.pk], start=start, end=end).get(schedule.pk)
    due = now + ROUND
    if loaded is not None:
        final = rules.runs(rules.shifts(loaded.data, start, end))
        shadowed = rules.runs(rules.shadow_shifts(loaded.data, start, end))
        planned = [
            (notice, is_shadow)
            for found, is_shadow in ((final, False), (shadowed, True))
            for notice in rules.notices(found, before=before, at_start=schedule.notice_at_start)
            if notice.starts_at > start  # what ran when the look began is old
        ]
        for notice, is_shadow in planned:
            if notice.due_at > now:
                due = min(due, notice.due_at)
            elif _is_news(notice, now):
                _tell(
                    schedule, notice, loaded.people, is_shadow=is_shadow, others=final, now=now,
                    ends=_end_of(loaded, notice, now, is_shadow=is_shadow),
                )  # fmt: skip
    set_timer(kind=KIND, key=str(schedule.pk), due_at=due, now=now)


def _is_news(notice: Notice, now: datetime) -> bool:
    if notice.kind == "before":
        return now < notice.starts_at
    return now < min(notice.starts_at + LATE, notice.ends_at)


def _end_of(loaded: queries.Loaded, notice: Notice, now: datetime, *, is_shadow: bool) -> datetime | None:
    """When it really ends, if that is soon enough to say; the look for notices is too short for that."""
    end = now + queries.HORIZON
    look = rules.shadow_shifts if is_shadow else rules.shifts
    for run in rules.runs(look(loaded.data, notice.starts_at, end)):
        if run.user == notice.user:
            return run.ends_at if run.ends_at < end else None
    return None


def _tell(
    schedule: Schedule, notice: Notice, people: dict[int, User], *, is_shadow: bool, others: Iterable[Run],
    ends: datetime | None, now: datetime,
) -> None:  # fmt: skip
    user = people[notice.user]
    _, is_new = DutyNotice.objects.get_or_create(
        schedule=schedule,
        user=user,
        starts_at=notice.starts_at,
        kind=notice.kind,
        defaults={"created_at": now},
    )
    if not is_new:
        return
    zone = user.time_zone
    start = presenters.say_time(notice.starts_at, zone)
    begins = notice.kind == "start"
    if is_shadow:
        title = f"You shadow {schedule} {'now' if begins else f'from {start}'}"
    else:
        title = f"You are on call for {schedule} {'now' if begins else f'from {start}'}"
    span = (
        f"{start} to {presenters.say_until(notice.starts_at, ends, zone)}"
        if ends
        else f"{start}, no end in sight"
    )
    lines = [f"{span} ({zone.replace('_', ' ')})."]
    if zone != schedule.time_zone:
        theirs = presenters.say_time(notice.starts_at, schedule.time_zone)
        lines.append(
            f"On the clock of the schedule it begins {theirs} ({schedule.time_zone.replace('_', ' ')})."
        )
    before = _names(people, [run for run in others if run.ends_at == notice.starts_at])
    beside = _names(
        people,
        [
            run
            for run in others
            if run.starts_at <= notice.starts_at < run.ends_at and run.user != notice.user
        ],
    )
    if is_shadow:
        lines.append(f"On call then: {beside or 'nobody'}. You are not paged.")
    else:
        if before:
            lines.append(f"You take over from {before}.")
        if beside:
            lines.append(f"With you: {beside}.")
    hooks.tell(
        Message(
            recipient=user,
            key=f"duty:{schedule.pk}:{user.pk}:{notice.starts_at.isoformat()}:{notice.kind}",
            topic=f"duty:{schedule.pk}",
            title=title,
            body="\n".join(lines),
            link=reverse("oncall:schedule_detail", args=[schedule.slug]),
        ),
        now,
    )


def _names(people: dict[int, User], found: Iterable[Run]) -> str:
    return ", ".join(dict.fromkeys(str(people[run.user]) for run in found))
