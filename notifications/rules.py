"""Which messages a person's rules give, what follows each attempt, and what a message says. Values in, values out."""

import enum
import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core import words

BACKOFF = (timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=60), timedelta(minutes=5))
"""Wait after the first, second … attempt that was not accepted for now."""

MAX_ATTEMPTS = len(BACKOFF) + 1

LEASE = timedelta(seconds=45)
"""A worker that has not reported back by then is taken for dead, and the message is tried again."""

CODE_GOOD_FOR = timedelta(minutes=15)
CODE_WRONG_TRIES = 5
CODES_PER_HOUR = 6
TESTS_PER_HOUR = 10
MAX_METHODS = 10
MAX_RULES_PER_URGENCY = 12


# --- which messages ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A verified, enabled contact method."""

    method_id: int | None
    channel: str
    address: str


@dataclass(frozen=True)
class Step:
    """So long after the page, use this way."""

    delay_seconds: int
    way: Way


@dataclass(frozen=True)
class Planned:
    delay_seconds: int
    way: Way
    reason: str


@dataclass(frozen=True)
class Plan:
    deliveries: tuple[Planned, ...]
    unreachable: bool
    """No verified way: the address of last resort is used, and nobody knows whether anyone reads it."""


def plan(*, urgency: str, steps: Sequence[Step], ways: Sequence[Way], sign_in_address: str) -> Plan:
    """The messages for a page of this urgency. `steps` and `ways` hold only what is verified and enabled.

    A person with ways but no step for this urgency is reached at once, by e-mail if there is one.
    """
    planned: dict[tuple[int, str, str], Planned] = {}
    for step in sorted(steps, key=lambda each: each.delay_seconds):
        key = (step.delay_seconds, step.way.channel, step.way.address)
        planned.setdefault(key, Planned(step.delay_seconds, step.way, _because(step.delay_seconds, urgency)))
    if planned:
        return Plan(tuple(planned.values()), unreachable=False)
    if ways:
        way = next((way for way in ways if way.channel == "email"), ways[0])
        return Plan((Planned(0, way, f"No rule for {urgency} urgency: sent at once"),), unreachable=False)
    if not sign_in_address:
        return Plan((), unreachable=True)
    way = Way(None, "email", sign_in_address)
    return Plan((Planned(0, way, "No verified contact method: sign-in address"),), unreachable=True)


def _because(delay_seconds: int, urgency: str) -> str:
    when = f"after {words.duration(delay_seconds)}" if delay_seconds else "at once"
    return f"Rule for {urgency} urgency: {when}"


def next_way(*, ways: Iterable[Way], used: Collection[tuple[str, str]], sign_in_address: str) -> Way | None:
    """Where to turn when a message failed for good: a way that was not used, another channel than any used first.

    The sign-in address comes last. None: nothing is left.
    """
    kinds = {channel for channel, _ in used}
    unused = [way for way in ways if (way.channel, way.address) not in used]
    unused.sort(key=lambda way: way.channel in kinds)
    if unused:
        return unused[0]
    if sign_in_address and ("email", sign_in_address) not in used:
        return Way(None, "email", sign_in_address)
    return None


def readiness(*, ways: Sequence[Way], steps: dict[str, Sequence[Step]]) -> list[str]:
    """What keeps a person from being reached, most serious first; empty: ready to be on call."""
    if not ways:
        return ["No verified contact method. Pages go to the sign-in address, and count as not reached."]
    problems = []
    for urgency in ("high", "low"):
        if not steps.get(urgency):
            problems.append(f"No rule for {urgency} urgency. A page is sent at once to one method only.")
    high = steps.get("high") or ()
    if high and min(step.delay_seconds for step in high) > 0:
        wait = words.duration(min(step.delay_seconds for step in high))
        problems.append(f"The first message of a high-urgency page waits {wait}.")
    if len({step.way.channel for step in high} or {way.channel for way in ways}) < 2:
        problems.append("One kind of channel for high urgency. If it fails, nothing else rings.")
    return problems


# --- what follows -----------------------------------------------------------------------------------------------


class Claim(enum.Enum):
    SEND = "send"
    WAIT = "wait"  # another worker's lease runs
    CANCEL = "cancel"  # nobody wants it any more
    GIVE_UP = "give up"  # the last attempt was lost
    NOTHING = "nothing"  # it is over already


def claim(*, status: str, active: bool, attempts: int, claimed_at: datetime | None, now: datetime) -> Claim:
    """What a due delivery calls for."""
    if status not in ("waiting", "sending"):
        return Claim.NOTHING
    if status == "sending" and claimed_at is not None and now < claimed_at + LEASE:
        return Claim.WAIT
    if not active:
        return Claim.CANCEL
    if attempts >= MAX_ATTEMPTS:
        return Claim.GIVE_UP
    return Claim.SEND


class Verdict(enum.Enum):
    SENT = "sent"
    RETRY = "retry"
    FAILED = "failed"
    CANCELLED = "cancelled"
    IGNORE = "ignore"  # a newer attempt, or the end, has overtaken it


def verdict(*, outcome: str, status: str, active: bool, attempts: int, attempt: int) -> Verdict:
    """What the outcome of attempt number `attempt` makes of its delivery, which may have moved on meanwhile.

    What was sent was sent, however late the news: only then is the ledger true.
    """
    if outcome == "sent":
        return Verdict.IGNORE if status == "sent" else Verdict.SENT
    if status != "sending" or attempts != attempt:
        return Verdict.IGNORE
    if outcome == "dropped" or not active:
        return Verdict.CANCELLED
    if outcome == "permanent" or attempts >= MAX_ATTEMPTS:
        return Verdict.FAILED
    return Verdict.RETRY


def retry_at(*, attempts: int, now: datetime) -> datetime:
    return now + BACKOFF[min(attempts, len(BACKOFF)) - 1]


# --- what a message says ----------------------------------------------------------------------------------------


def heading(*, title: str, body: str) -> tuple[str, str]:
    """What stands on top, and the rest: the body's first line where it says the title again with more facts."""
    first, _, rest = body.partition("\n")
    if first and set(title.split()) <= set(first.split()):
        return first.strip(), rest.strip("\n")
    return title, body


def plain_text(*, title: str, body: str, link: str, why: str) -> str:
    """Title, facts, link, and why the person gets it."""
    top, rest = heading(title=title, body=body)
    return "\n\n".join(part for part in (top, rest, link, why) if part) + "\n"


def short_text(*, title: str, body: str, link: str, limit: int = 160) -> str:
    """For channels that count letters: the link is never cut, the rest is."""
    room = limit - len(link) - (2 if link else 0)
    facts = " ".join(heading(title=title, body=body)[1].split())
    said = f"{' '.join(title.split())}. {facts}" if facts else " ".join(title.split())
    if len(said) > room:
        said = said[: max(room - 1, 0)].rstrip(" .,;:") + "…"
    return f"{said}: {link}" if link else said


def subject(title: str) -> str:
    """One line, whatever the title holds: a line break would end the header."""
    return " ".join(title.split())[:200]


# --- where a webhook may go -------------------------------------------------------------------------------------

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, looking through IPv6 forms that carry an IPv4 address."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour:
            return is_public(str(ip.sixtofour))
        if ip.teredo:
            return False
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
