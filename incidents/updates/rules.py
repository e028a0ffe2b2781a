"""When stakeholders expect the next word, how often a late one is reminded of, and what a first draft says."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.errors import Invalid
from incidents.rules import drill_mark

LONGEST_PROMISE = timedelta(hours=24)
SOONEST_REMINDER = timedelta(minutes=3)
PATIENT_AFTER = 12
"""So many reminders without effect, and they come once an hour."""
HOURLY = timedelta(hours=1)


def cadence(severity: int, minutes: Sequence[int]) -> timedelta | None:
    """How long after one update the next is due; None: none is promised for this severity. `minutes`: SEV1 first."""
    wanted = minutes[severity - 1] if 0 < severity <= len(minutes) else 0
    return timedelta(minutes=wanted) if wanted > 0 else None


def next_due(
    *, posted_at: datetime, promised: datetime | None, severity: int, minutes: Sequence[int]
) -> datetime | None:
    """What was promised, else the cadence. Raises Invalid for a promise that is past or too far away."""
    if promised is None:
        every = cadence(severity, minutes)
        return posted_at + every if every else None
    if not posted_at < promised <= posted_at + LONGEST_PROMISE:
        sentence = "From 1 minute to 24 hours from now."
        raise Invalid(sentence, fields={"next_minutes": [sentence]})
    return promised


def after_severity_change(
    *, due_at: datetime | None, last_at: datetime | None, severity: int, minutes: Sequence[int], now: datetime
) -> datetime | None:
    """The earlier of what was promised and what the new severity asks for: a promise is brought forward, never put off.

    `last_at` is the last word that was sent. Without any, the new cadence counts from now.
    """
    every = cadence(severity, minutes)
    if every is None:
        return due_at
    wanted = max((last_at or now) + every, now)
    return wanted if due_at is None else min(due_at, wanted)


def nag_again(times: int, every: timedelta) -> timedelta:
    """When the next reminder follows the one of number `times`."""
    wait = max(SOONEST_REMINDER, every / 3)
    return max(wait, HOURLY) if times >= PATIENT_AFTER else wait


def says_so(times: int) -> bool:
    """Which reminders are worth an entry in the timeline: the first, the third and then every third."""
    return times == 1 or times % 3 == 0


def tells_more(times: int) -> bool:
    """From the third on, deputy and communications hear of it as well."""
    return times >= 3


@dataclass(frozen=True)
class Facts:
    """What a draft is made of."""

    status: str
    phase: str
    impact: str
    last_impact: str
    severity: int


@dataclass(frozen=True)
class Draft:
    impact: str
    action: str
    next_minutes: int
    """0: none is promised."""


_ACTIONS = {
    "detection": "We have seen it and are calling in the people who can help.",
    "triage": "We are finding out what is broken and who is affected.",
    "escalation": "More people are on it. We are narrowing the cause down.",
    "containment": "We are stopping the damage.",
    "root_cause": "The damage no longer grows. We are removing the cause.",
    "review": "We are watching that it stays well.",
}


def template_for(facts: Facts, minutes: Sequence[int]) -> Draft:
    """What the form holds before anybody has typed: the impact as it was last said, and the phase in plain words."""
    over = facts.status == "resolved"
    every = cadence(facts.severity, minutes)
    return Draft(
        impact=facts.impact or facts.last_impact,
        action="It is over. Everything works again." if over else _ACTIONS.get(facts.phase, ""),
        next_minutes=0 if over or every is None else int(every.total_seconds() // 60),
    )


def subject(*, severity: int, service: str, number: int, is_drill: bool) -> str:
    """SEV1 Checkout API: update 3. A drill says so in the first word."""
    return f"{drill_mark(is_drill)}SEV{severity} {service}: update {number}"


MAIL_ATTEMPTS = 5
_MAIL_WAITS = (15, 60, 300, 900)


def mail_again(attempts: int) -> timedelta:
    """How long a mail that was not taken waits before it is tried again."""
    return timedelta(seconds=_MAIL_WAITS[min(attempts, len(_MAIL_WAITS)) - 1])


MAIL_LEASE = timedelta(seconds=60)
"""A worker that has not said what became of a mail by then is taken for dead."""

UNREACHED_LATEST = timedelta(minutes=30)
"""So long after an update the room hears who has not got it, although others may still get it."""
_NAMED = 5


def told_at(now: datetime) -> datetime:
    """The next full minute: the same for everything that fails until then."""
    return now.replace(second=0, microsecond=0) + timedelta(minutes=1)


def may_still_arrive(*, waiting: bool, posted_at: datetime, now: datetime) -> bool:
    """Whether the word about who was not reached can wait until it is complete."""
    return waiting and now < posted_at + UNREACHED_LATEST


def unreached(*, number: int, emails: Sequence[str], of: int, errors: Sequence[str]) -> str:
    """Update 2 did not reach 7 of 50 readers by e-mail: a@example.org, … and 2 more. Mostly: 550 nobody here."""
    names = ", ".join(emails[:_NAMED])
    more = f" and {len(emails) - _NAMED:,} more" if len(emails) > _NAMED else ""
    [(error, _)] = Counter(error[:200] for error in errors).most_common(1)
    mostly = "Mostly: " if len(set(errors)) > 1 else ""
    readers = "reader" if of == 1 else "readers"
    return f"Update {number} did not reach {len(emails):,} of {of:,} {readers} by e-mail: {names}{more}. {mostly}{error}"


# --- the public page ------------------------------------------------------------------------------------------

_WORST = ("none", "degraded", "partial", "major")


def worst_level(levels: Sequence[str]) -> str:
    """The worst of some levels; none of them: it works."""
    return max(levels, key=_WORST.index, default="none")


def may_publish(*, is_manager: bool, commands: bool, communicates: bool) -> bool:
    return is_manager or commands or communicates
