"""Which messages a person's rules give, what follows each attempt, and what a message says. Values in, values out."""

import enum
import ipaddress
import re
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
    AGAIN = "again"  # it was to leave with one that nobody wants any more; without that one, at once
    FAILED = "failed"
    CANCELLED = "cancelled"
    IGNORE = "ignore"  # a newer attempt, or the end, has overtaken it


def verdict(
    *, outcome: str, status: str, active: bool, attempts: int, attempt: int, tries: int | None = None
) -> Verdict:
    """What the outcome of attempt number `attempt` makes of its delivery, which may have moved on meanwhile. `tries`: how
    many of the attempts count, if not all do.

    What was sent was sent, however late the news: only then is the ledger true.
    """
    if outcome == "sent":
        return Verdict.IGNORE if status in ("sent", "machine") else Verdict.SENT
    if status != "sending" or attempts != attempt:
        return Verdict.IGNORE
    if not active:
        return Verdict.CANCELLED
    if outcome == "dropped":
        return Verdict.AGAIN
    if outcome == "permanent" or (attempts if tries is None else tries) >= MAX_ATTEMPTS:
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


# --- several at once --------------------------------------------------------------------------------------------

MOST_IN_A_BUNDLE = 20
REPLY_CODES = 999
GOOD_FOR = timedelta(hours=48)
"""How long a reply code and the link to all of a bundle work, as long as the link in a page."""


def bundle_title(titles: Sequence[str]) -> str:
    return f"{len(titles)} pages wait for you: {titles[0]}"


def bundle_body(*, titles: Sequence[str], held_back: int, held_why: str) -> str:
    """One line for each, the first to be told first."""
    lines = [f"{number}. {subject(title)}" for number, title in enumerate(titles, start=1)]
    if held_back:
        were = "was" if held_back == 1 else "were"
        lines.append(f"Held back: {held_back} of these {were} held back, because {held_why}.")
    return "\n".join(lines)


def bundle_sms(
    *, titles: Sequence[tuple[str, int | None]], link: str, may_reply: bool, limit: int = 440
) -> str:
    """As many titles as fit; the link and how to reply are never cut."""
    head = f"{len(titles)} pages wait for you."
    tail = f" All: {link}" if link else ""
    if may_reply:
        tail = f" Reply ack all, or ack and a number.{tail}"
    text, left = head, limit - len(head) - len(tail)
    for number, (title, code) in enumerate(titles):
        label = f"{code}: " if may_reply and code else ""
        line = f" {label}{subject(title)[:70].rstrip(' .')}."
        more = f" And {len(titles) - number} more."
        if len(line) > left - (len(more) if number + 1 < len(titles) else 0):
            text += more
            break
        text, left = text + line, left - len(line)
    return text + tail


def spoken(*, titles: Sequence[str], test: bool, keys: bool) -> str:
    """What a call says: what it is about before anything else."""
    if test:
        return "This is a test call from Muster. Nothing is burning and nothing is expected of you. Goodbye."
    several = len(titles) > 1
    head = f"This is Muster. {len(titles)} pages wait for you. " if several else "This is Muster. "
    said = ". ".join(subject(title).rstrip(".") for title in titles[:5])
    rest = f". And {len(titles) - 5} more" if len(titles) > 5 else ""
    return f"{head}{said}{rest}. {spoken_keys(several=several) if keys else _WITHOUT_KEYS}"


_WITHOUT_KEYS = "Answer with the link in your other messages, or sign in. This call is no acknowledgement."


def spoken_keys(*, several: bool) -> str:
    every = " all" if several else ""
    return f"Press 4 to acknowledge{every}, 5 to escalate{every}, 6 to resolve{every}, 0 for help, star to hear it again."


SPOKEN_HELP = (
    "Acknowledge says that you have it, and nobody else is paged. Escalate pages the next people at once. Resolve says "
    "that it is over. Hanging up changes nothing: you are paged again."
)


# --- not too many -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    count: int
    minutes: int

    @property
    def span(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    def __str__(self) -> str:
        return f"{self.count} in {self.minutes} min {'is' if self.count == 1 else 'are'} the most"


def free_at(
    *, left: Sequence[datetime], limits: Sequence[Limit], now: datetime
) -> tuple[datetime, Limit] | None:
    """When the next message may leave, and which limit says so, given when the earlier ones left. None: now."""
    latest: tuple[datetime, Limit] | None = None
    for limit in limits:
        within = sorted(at for at in left if at > now - limit.span)
        if len(within) >= limit.count:
            free = within[-limit.count] + limit.span
            if latest is None or free > latest[0]:
                latest = (free, limit)
    return latest


# --- what people reply ------------------------------------------------------------------------------------------

ACKNOWLEDGE, ESCALATE, RESOLVE, HELP, REPEAT = "acknowledge", "escalate", "resolve", "help", "repeat"
KEYS = {"4": ACKNOWLEDGE, "5": ESCALATE, "6": RESOLVE, "0": HELP, "*": REPEAT}
_WORDS = {
    "ack": ACKNOWLEDGE, "acknowledge": ACKNOWLEDGE, "a": ACKNOWLEDGE, "4": ACKNOWLEDGE,
    "esc": ESCALATE, "escalate": ESCALATE, "e": ESCALATE, "5": ESCALATE,
    "res": RESOLVE, "resolve": RESOLVE, "r": RESOLVE, "6": RESOLVE,
    "help": HELP, "?": HELP, "0": HELP, "info": HELP,
}  # fmt: skip
SMS_HELP = "Muster: ack 12 acknowledges, esc 12 escalates, res 12 resolves what came with the number 12. ack all takes all."


@dataclass(frozen=True)
class Wish:
    """What a person replied. Without a code and without `all`: what waits, if it is one."""

    do: str
    code: int | None = None
    all: bool = False


def read_reply(text: str) -> Wish | None:
    """`ack 12`, `4 12`, `12 ack`, `ack all`, `ack`, `help`. None: it is none of these."""
    words = re.sub(r"[.!,#:]", " ", text.lower()).split()
    if not words or len(words) > 3:
        return None
    if len(words) > 1 and words[0].isdecimal() and words[1] in _WORDS and not words[1].isdecimal():
        words[0], words[1] = words[1], words[0]
    do = _WORDS.get(words[0])
    rest = words[1:]
    if do is None or len(rest) > 1:
        return None
    if not rest or do == HELP:
        return Wish(do)
    if rest[0] in ("all", "*"):
        return Wish(do, all=True)
    if rest[0].isascii() and rest[0].isdecimal() and len(rest[0]) <= 3:
        return Wish(do, code=int(rest[0]))
    return None


# --- phones and their providers ---------------------------------------------------------------------------------

FAILURES_TO_OPEN = 3
RECEIPTS = (
    timedelta(seconds=30),
    timedelta(seconds=45),
    timedelta(seconds=90),
    timedelta(minutes=3),
    timedelta(minutes=10),
)
"""When a provider is asked what became of a message, each after the one before."""


def open_for(failures: int) -> timedelta:
    """How long a provider is left out: a minute, then twice as long after each failed probe, up to ten minutes."""
    return min(
        timedelta(minutes=1) * 2 ** min(max(failures - FAILURES_TO_OPEN, 0), 10), timedelta(minutes=10)
    )


_PHONE = re.compile(r"\+[1-9]\d{6,14}")


def phone_number(text: str) -> str | None:
    """`+49 (0)30 123-456` and `0049…` as +4930123456. None: it is no number with a country code."""
    text = re.sub(r"\(0\)|[\s()./-]", "", text.strip())
    text = f"+{text[2:]}" if text.startswith("00") else text
    return text if _PHONE.fullmatch(text) else None


def masked(address: str) -> str:
    """What people see of the addresses of others: enough to tell them apart."""
    if _PHONE.fullmatch(address):
        return f"{address[:3]}…{address[-3:]}"
    name, at, host = address.partition("@")
    if at:
        return f"{name[:1]}…@{host}"
    head, slashes, rest = address.partition("://")
    return f"{head}://{rest.split('/')[0]}/…" if slashes else address


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
