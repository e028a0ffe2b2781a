"""What the incident's pages show, built once for the page and for the live stream.

Only `slots_context` reads the database; everything else takes the rows that it shows.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from core import words
from core.templatetags.muster import local_time
from incidents import queries
from incidents.channel import queries as channel
from incidents.channel import render
from incidents.channel import rules as channel_rules
from incidents.models import (
    Alert,
    AlertStatus,
    Incident,
    Kind,
    Page,
    PagePurpose,
    PageStatus,
    Phase,
    PhaseStamp,
    RoleHolding,
    Status,
    TimelineEntry,
)
from incidents.reading import queries as reading
from incidents.roles import queries as roles
from incidents.roles import rules as role_rules
from incidents.timeline import SYSTEM
from incidents.todo import queries as todo
from oncall.models import Schedule
from oncall.queries import Standing

log = logging.getLogger(__name__)

SOON = timedelta(minutes=3)
"""A countdown warns in the last fifth of its window, and at least so long before its end."""


# --- timeline entries -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """How a kind of entry looks: its icon, its tone (data-kind of the style sheet) and the tab it belongs to."""

    icon: str
    tone: str
    group: str


LOOKS: dict[str, Look] = {
    Kind.TRIGGERED: Look("flame", "alert", "alert"),
    Kind.ALERT_JOINED: Look("flame", "alert", "alert"),
    Kind.ALERT_RESOLVED: Look("flame-off", "good", "alert"),
    Kind.CHANGE: Look("git-commit", "change", "alert"),
    Kind.SEVERITY_CHANGED: Look("octagon", "severity", "course"),
    Kind.PAGED: Look("bell-ringing", "page", "page"),
    Kind.PAGE_MISSED: Look("bell-x", "miss", "page"),
    Kind.TIER_SKIPPED: Look("player-skip-forward", "soon", "page"),
    Kind.ESCALATED: Look("stairs-up", "page", "page"),
    Kind.POLICY_REPEATED: Look("repeat", "soon", "page"),
    Kind.CATCH_ALL: Look("lifebuoy", "nobody", "page"),
    Kind.EXHAUSTED: Look("bell-off", "nobody", "page"),
    Kind.DELIVERY_FAILED: Look("mail-x", "page-failed", "page"),
    Kind.ACKNOWLEDGED: Look("user-check", "ack", "page"),
    Kind.ALSO_ACKNOWLEDGED: Look("user-check", "ack", "page"),
    Kind.UNACKNOWLEDGED: Look("user-off", "soon", "page"),
    Kind.CONTAINED: Look("shield-check", "good", "course"),
    Kind.RESOLVED: Look("circle-check", "good", "course"),
    Kind.REOPENED: Look("rotate", "soon", "course"),
    Kind.ROLE_ASSIGNED: Look("user-star", "role", "course"),
    Kind.PHASE: Look("player-play", "phase", "course"),
    Kind.NOTE: Look("message", "message", "message"),
    Kind.IMPACT_CHANGED: Look("user-exclamation", "impact", "course"),
    Kind.REPAIRED: Look("tool", "repaired", "page"),
    Kind.UPDATE_POSTED: Look("speakerphone", "update", "decision"),
    Kind.UPDATE_OVERDUE: Look("speakerphone", "soon", "page"),
    Kind.UPDATE_PUBLISHED: Look("world", "update", "decision"),
    Kind.ROLE_OFFERED: Look("arrows-exchange", "handoff", "course"),
    Kind.ROLE_DECLINED: Look("user-x", "soon", "course"),
    Kind.ROLE_MISSED: Look("bell-x", "miss", "page"),
    Kind.TASK: Look("checkbox", "step", "course"),
    Kind.DECISION: Look("gavel", "decision", "decision"),
    Kind.AMENDED: Look("pencil", "other", "message"),
    Kind.MARKED: Look("pin", "other", "message"),
    Kind.PHASE_CORRECTED: Look("history", "other", "course"),
    Kind.RUNBOOK: Look("book-2", "step", "course"),
    Kind.ALERT_MOVED: Look("arrows-split", "alert", "alert"),
    Kind.ALERT_MUTED: Look("bell-off", "other", "alert"),
    Kind.FLAPPING: Look("repeat", "soon", "alert"),
    Kind.REPAGED: Look("bell-ringing", "page", "page"),
    Kind.MERGED: Look("git-merge", "other", "course"),
    Kind.UNMERGED: Look("rotate", "soon", "course"),
    Kind.MAINTENANCE: Look("tool", "other", "alert"),
    Kind.TIER0: Look("robot", "other", "page"),
    Kind.SNOOZED: Look("zzz", "soon", "page"),
    Kind.SNOOZE_ENDED: Look("zzz-off", "other", "page"),
    Kind.HANDED_OVER: Look("arrows-exchange", "handoff", "course"),
    Kind.CONTAINMENT_MISSED: Look("clock-exclamation", "miss", "page"),
    Kind.HORIZON: Look("history", "soon", "page"),
}
_PLAIN = Look("point", "other", "course")

GROUPS = (
    ("all", "All"),
    ("decision", "Decisions"),
    ("message", "Messages"),
    ("page", "Pages"),
    ("alert", "Alerts"),
    ("course", "Milestones"),
)

KINDS_OF_GROUP: dict[str, list[str]] = {
    group: [kind for kind, look in LOOKS.items() if look.group == group] for group, _ in GROUPS[1:]
}


_THEN = re.compile(r"\. ((?:Without an answer|It is paged again)\b.*)$", re.DOTALL)
_PAGED = re.compile(r"^Paged (?:tier \d+, [^(:]*?|the catch-all)(?= \(|:)")
_TIER = re.compile(r"Tier \d+")
_MISSED = re.compile(r"^.*?(?= did not answer)")


def _emphasis(entry: TimelineEntry, text: str) -> tuple[str, str, str]:
    """(who or what it is about, what happened, what follows) of what Muster did by itself."""
    tail = ""
    if found := _THEN.search(text):
        text, tail = text[: found.start()], found[1]
    pattern = {Kind.PAGED: _PAGED, Kind.CATCH_ALL: _PAGED, Kind.PAGE_MISSED: _MISSED}.get(entry.kind)
    if pattern and (found := pattern.match(text)):
        return found[0], text[found.end() :].lstrip(), tail
    return "", text, tail


def entry_context(entry: TimelineEntry, *, echo: bool = False, loose: bool = False) -> dict[str, object]:
    """Context of incidents/_entry.html, the same for every viewer.

    The entry shows as it reads now when it was read together with its overlay, else as it was written. `echo`: it comes
    again because it was amended or marked, so it is no news. `loose`: outside of the feed, without its id.
    """
    look = LOOKS.get(entry.kind, _PLAIN)
    overlay = channel.overlay_of(entry)
    words_now = channel.words_of(entry).strip()
    text = entry.text.strip()
    by_system = entry.actor_id is None and entry.actor_name == SYSTEM
    if by_system and text:
        text = text[0].upper() + text[1:]
    label = Phase(entry.data["phase"]).label if entry.data.get("phase") in Phase.values else ""
    head, text, tail = _emphasis(entry, text) if by_system else (entry.actor_name, text, "")
    return {
        "entry": entry,
        "look": look,
        "head": head,
        "text": text,
        "tail": tail,
        "is_message": entry.kind == Kind.NOTE,
        "is_phase": entry.kind == Kind.PHASE,
        "phase_label": label,
        "phase_rest": entry.text.strip().removeprefix(label) if label else text,
        "has_words": entry.kind in channel.WITH_WORDS,
        "said": _said(entry, words_now),
        "card": _card(entry, text),
        "about": _about(entry),
        "reply": _reply(entry),
        "files": _files(entry),
        "overlay": overlay,
        "echo": echo,
        "loose": loose,
    }


def _said(entry: TimelineEntry, text: str) -> SafeString | str:
    if entry.kind == Kind.NOTE:
        return render.with_name(entry.actor_name, render.folded(text, channel.people_in(entry)))
    return render.folded(text) if entry.kind == Kind.DECISION else ""


@dataclass(frozen=True)
class Card:
    """A framed entry: what it is, whose, what stands at the end of its head, and its lines."""

    title: str
    who: str
    end: str = ""
    lines: tuple[str, ...] = ()
    next_at: datetime | None = None


def _card(entry: TimelineEntry, text: str) -> Card | None:
    """Of a decision, whose words are `said`, and of what went out to stakeholders or the public."""
    data = entry.data
    if entry.kind == Kind.DECISION:
        as_role = ", commander" if data.get("role") == "commander" else ""
        return Card("Decision", f"{entry.actor_name}{as_role}")
    if entry.kind == Kind.UPDATE_POSTED:
        mails = data.get("mails") or 0
        lines = [str(data.get(part) or "") for part in ("impact", "action")]
        return Card(
            "Update to stakeholders",
            entry.actor_name,
            f"mailed to {mails:,}" if mails else "",
            tuple(filter(None, lines)) or (text,),
            _moment(data.get("next_update_at")),
        )
    if entry.kind == Kind.UPDATE_PUBLISHED and not data.get("withdrawn"):
        title, _, rest = text.partition("\n")
        title = title.removeprefix("published for customers:").strip()
        return Card("Published for customers", entry.actor_name, "", tuple(filter(None, [title, rest])))
    return None


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


@dataclass(frozen=True)
class Link:
    """To another entry of the same room."""

    seq: int
    text: str
    name: str = ""


def _about(entry: TimelineEntry) -> Link | None:
    """Of an entry that changes how an older one reads."""
    of = entry.data.get("of")
    if entry.kind not in channel.OVERLAYS or not isinstance(of, int):
        return None
    if entry.kind == Kind.AMENDED:
        return Link(of, "an earlier entry", "amended")
    verb, _, words_ = entry.text.partition(": ")
    return Link(of, words_, verb)


def _reply(entry: TimelineEntry) -> Link | None:
    seq = entry.data.get("reply_to")
    if not isinstance(seq, int):
        return None
    return Link(seq, str(entry.data.get("reply_text", "")), str(entry.data.get("reply_name", "")))


@dataclass(frozen=True)
class Attached:
    url: str
    name: str
    size: str
    is_image: bool


def _files(entry: TimelineEntry) -> list[Attached]:
    return [
        Attached(
            url=reverse("incidents:attachment", args=[entry.incident_id, file["id"], file["name"]]),
            name=file["name"],
            size=channel_rules.size_words(file["bytes"]),
            is_image=file["type"] in channel_rules.IMAGES,
        )
        for file in entry.data.get("attachments") or ()
    ]


def entry_html(entry: TimelineEntry, *, echo: bool = False, loose: bool = False) -> str:
    """An entry that cannot be drawn, by a fault of ours, is plain text: it must not keep the rest from who reads."""
    try:
        return render_to_string("incidents/_entry.html", entry_context(entry, echo=echo, loose=loose))
    except DatabaseError:
        raise
    except Exception:
        log.exception("Entry %s of INC-%s cannot be drawn", entry.seq, entry.incident_id)
        return plain_html(entry, loose=loose)


def plain_html(entry: TimelineEntry, *, loose: bool = False) -> str:
    place = "" if loose else format_html(' id="e-{0}" data-seq="{0}"', entry.seq)
    return format_html(
        '<li class="entry"{} data-kind="" data-group="">{}<span></span><p><b>{}</b> {}</p></li>',
        place, local_time(entry.at), entry.actor_name, entry.text,
    )  # fmt: skip


def news_html(incident_id: int, entries: Sequence[TimelineEntry]) -> list[str]:
    """The entries for a page that shows what was before. At most one query."""
    older = channel.changed_by(incident_id, entries)
    return [entry_news(entry, older) for entry in entries]


def entry_news(entry: TimelineEntry, older: Mapping[int, TimelineEntry]) -> str:
    """An entry, and after one that changes how an older one reads (`older`, by seq) that one again."""
    again = older.get(entry.data.get("of", 0)) if entry.kind in channel.OVERLAYS else None
    return entry_html(entry) + (entry_html(again, echo=True) if again is not None else "")


# --- the banner -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    icon: str
    words: str
    tone: str = ""


STATES = {
    Status.TRIGGERED: State("bell-ringing", "Nobody has answered", "bad"),
    Status.ACKNOWLEDGED: State("shield-half", "Not contained"),
    Status.CONTAINED: State("shield-check", "Contained", "good"),
    Status.RESOLVED: State("circle-check", "Resolved", "good"),
}


def state(incident: Incident) -> State:
    if incident.snoozed_until is not None and incident.status == Status.ACKNOWLEDGED:
        return State("zzz", "Snoozed", "soon")
    if incident.status == Status.TRIGGERED and incident.acknowledged_at is not None:
        return State("rotate", "Nobody has it now", "soon")
    return STATES[Status(incident.status)]


@dataclass(frozen=True)
class Countdown:
    """A clock that runs out. `calm`, `soon` or `over`; `text` is what a page without script shows."""

    label: str
    due_at: datetime
    window: int
    left: int
    state: str
    text: str
    note: str = ""

    @property
    def short(self) -> str:
        """For a strip, which has room for two words: "Tier 2 in"."""
        if found := _TIER.match(self.label):
            return f"{found[0]} in"
        return "Catch-all in" if "catch-all" in self.label else "Pages in"


def countdown(
    *, label: str, due_at: datetime, started_at: datetime | None, now: datetime, note: str = ""
) -> Countdown:
    window = due_at - (started_at or now)
    left = due_at - now
    near = left <= max(SOON, window / 5)
    return Countdown(
        label=label,
        due_at=due_at,
        window=max(int(window.total_seconds()), 1),
        left=max(int(left.total_seconds()), 0),
        state="soon" if near else "calm",
        text=words.clock(left) if left > timedelta(0) else "paging…",
        note=note,
    )


@dataclass(frozen=True)
class Tick:
    """One phase of the course: done with its time, now with its start, or not yet."""

    label: str
    state: str
    at: datetime | None
    corrected: bool = False


def ticks(incident: Incident, stamps: Iterable[PhaseStamp]) -> list[Tick]:
    rows = list(stamps)
    stamped = {stamp.phase: stamp.at for stamp in rows}
    corrected = {stamp.phase for stamp in rows if getattr(stamp, "corrected", False)}
    order = [phase.value for phase in Phase]
    now_at = order.index(incident.phase)
    return [
        Tick(
            label=phase.label,
            state="done" if index < now_at else "now" if index == now_at else "todo",
            at=stamped.get(phase.value),
            corrected=phase.value in corrected,
        )
        for index, phase in enumerate(Phase)
    ]


@dataclass(frozen=True)
class Handover:
    """The incident itself is being handed over: who gives it to whom, and how long that waits."""

    giver: str
    to: str
    left: Countdown | None


@dataclass(frozen=True)
class Banner:
    incident: Incident
    state: State
    ticks: list[Tick]
    running: timedelta
    next_page: Countdown | None
    next_update: Countdown | None
    """The update that was promised; "over" when it is late."""
    answered: timedelta | None
    contained: timedelta | None
    holder: User | None
    """Who has it while nobody commands."""
    now: datetime
    snooze: Countdown | None = None
    contain: Countdown | None = None
    """The containment target; "over" when it was missed."""
    handover: Handover | None = None

    @property
    def unwatched(self) -> bool:
        """Nobody has answered and nobody will be paged: low urgency, or no policy."""
        return self.incident.status == Status.TRIGGERED and self.next_page is None

    @property
    def now_tick(self) -> Tick | None:
        return next((tick for tick in self.ticks if tick.state == "now"), None)


def next_page(incident: Incident, now: datetime) -> Countdown | None:
    if incident.next_page_at is None or not incident.is_open:
        return None
    return countdown(
        label=incident.next_page_label or "The next tier",
        due_at=incident.next_page_at,
        started_at=incident.next_page_from,
        now=now,
    )


def next_update(incident: Incident, now: datetime) -> Countdown | None:
    if incident.next_update_at is None or not incident.is_open:
        return None
    promised = countdown(
        label="Update due",
        due_at=incident.next_update_at,
        started_at=incident.next_update_from,
        now=now,
    )
    left = incident.next_update_at - now
    over = left <= timedelta(0)
    return replace(promised, state="over" if over else promised.state, text=words.clock(left))


def snooze(incident: Incident, now: datetime) -> Countdown | None:
    if incident.snoozed_until is None or incident.status != Status.ACKNOWLEDGED:
        return None
    return countdown(label="Pages again", due_at=incident.snoozed_until, started_at=None, now=now)


def contain(incident: Incident, now: datetime) -> Countdown | None:
    if incident.contain_by is None or incident.status not in (Status.TRIGGERED, Status.ACKNOWLEDGED):
        return None
    target = countdown(label="Contain", due_at=incident.contain_by, started_at=incident.contain_from, now=now)
    left = incident.contain_by - now
    return replace(target, state="over" if left <= timedelta(0) else target.state, text=words.clock(left))


def handover(incident: Incident, now: datetime) -> Handover | None:
    """None too where what is offered was not read with the incident (roles.queries.read_offers)."""
    was_read = incident.is_open and hasattr(incident, "open_offers")
    offer = roles.open_handover(incident) if was_read else None
    if offer is None:
        return None
    left = None
    if offer.accept_by is not None:
        left = countdown(label="", due_at=offer.accept_by, started_at=offer.offered_at, now=now)
    giver = offer.from_user or offer.by
    to = offer.to_name or offer.to_user.get_short_name()
    return Handover(giver=giver.get_short_name() if giver else "Somebody", to=to, left=left)


def banner(incident: Incident, now: datetime, *, stamps: Iterable[PhaseStamp] | None = None) -> Banner:
    """The status banner of the room and of every strip. Reads `phase_stamps` unless they are given or prefetched."""
    end = incident.resolved_at if incident.status == Status.RESOLVED and incident.resolved_at else now
    return Banner(
        incident=incident,
        state=state(incident),
        ticks=ticks(incident, incident.phase_stamps.all() if stamps is None else stamps),
        running=end - incident.triggered_at,
        next_page=next_page(incident, now),
        next_update=next_update(incident, now),
        answered=incident.acknowledged_at - incident.triggered_at if incident.acknowledged_at else None,
        contained=incident.contained_at - incident.triggered_at if incident.contained_at else None,
        holder=incident.acknowledged_by if incident.status == Status.ACKNOWLEDGED else None,
        now=now,
        snooze=snooze(incident, now),
        contain=contain(incident, now),
        handover=handover(incident, now),
    )


# --- people, alerts ---------------------------------------------------------------------------------------------


@dataclass
class Person:
    """One row of the people column."""

    user: User
    roles: list[str] = field(default_factory=list)
    answer: str = ""
    """answered, waiting, missed, called_off; empty: was not paged."""
    at: datetime | None = None
    answer_by: datetime | None = None

    @property
    def role(self) -> str:
        return ", ".join(self.roles)


_ANSWERS = {
    PageStatus.PAGING: "waiting",
    PageStatus.ACKNOWLEDGED: "answered",
    PageStatus.MISSED: "missed",
    PageStatus.CANCELLED: "called_off",
}
_ORDER = {"answered": 0, "waiting": 1, "": 2, "missed": 3, "called_off": 4}


def people(incident: Incident, pages: Iterable[Page], holdings: Iterable[RoleHolding] = ()) -> list[Person]:
    """Who holds a role first, then who answered, who still may, and who did not. `pages` newest first."""
    rows: dict[int, Person] = {}
    if incident.commander is not None:  # also of incidents that were imported without holdings
        rows[incident.commander.pk] = Person(user=incident.commander, roles=["Commander"])
    for holding in holdings:
        row = rows.setdefault(holding.user_id, Person(user=holding.user))
        title = role_rules.title(holding.role, holding.field)
        if title not in row.roles:
            row.roles.append(title)
    order = {user_id: place for place, user_id in enumerate(rows)}
    for page in pages:
        if page.purpose == PagePurpose.ROLE:
            continue  # being asked to take a role stands among the seats
        row = rows.setdefault(page.recipient_id, Person(user=page.recipient))
        answer = _ANSWERS[PageStatus(page.status)]
        # A person paged twice stands there once: an answer outweighs a later silence, else the newest counts.
        if not row.answer or (answer == "answered" and row.answer != "answered"):
            row.answer = answer
            row.at = page.ended_at
            row.answer_by = page.answer_by
        if len(row.roles) < 2:
            name = page.tier_name or ("Called by hand" if page.tier is None else f"Tier {page.tier}")
            if name not in row.roles:
                row.roles.append(name)
    holder = incident.acknowledged_by
    if holder is not None and incident.status != Status.TRIGGERED:
        row = rows.setdefault(holder.pk, Person(user=holder))
        row.answer, row.at = "answered", row.at if row.answer == "answered" else incident.acknowledged_at
        if not row.roles:
            row.roles.append("Has it")
    for user_id in order:
        if rows[user_id].answer == "called_off":
            rows[user_id].answer = ""  # who holds a role has answered in a better way
    return sorted(rows.values(), key=lambda row: (order.get(row.user.pk, len(order)), _ORDER[row.answer]))


@dataclass(frozen=True)
class Alerts:
    firing: list[Alert]
    cleared: list[Alert]
    firing_count: int
    cleared_count: int

    @property
    def more(self) -> int:
        return self.firing_count - len(self.firing)


SHOWN_ALERTS = 8


def alerts(rows: Sequence[Alert], *, firing_count: int, cleared_count: int) -> Alerts:
    return Alerts(
        firing=[row for row in rows if row.status == AlertStatus.FIRING][:SHOWN_ALERTS],
        cleared=[row for row in rows if row.status == AlertStatus.RESOLVED][:SHOWN_ALERTS],
        firing_count=firing_count,
        cleared_count=cleared_count,
    )


# --- the room ---------------------------------------------------------------------------------------------------


def slots_context(incident: Incident, now: datetime) -> dict[str, object]:
    """Context of incidents/_slots.html: what all viewers of the room see alike. Five queries, whatever the size."""
    counts = queries.alert_counts(incident)
    rows = queries.alerts_to_show(incident, limit=SHOWN_ALERTS)
    held = roles.room_context(incident, now)
    who = people(incident, queries.pages_of(incident).order_by("-pk")[:200], held["holdings"])
    return {
        "incident": incident,
        "now": now,
        "banner": banner(incident, now, stamps=reading.stamps(incident.pk)),
        "people": who,
        "answered_count": sum(1 for person in who if person.answer == "answered"),
        "alerts": alerts(
            rows, firing_count=counts[AlertStatus.FIRING], cleared_count=counts[AlertStatus.RESOLVED]
        ),
        "changes": queries.changes_of(incident, limit=6),
        **held,
        **todo.room_context(incident, now),
        **channel.room_context(incident, now),
    }


@dataclass(frozen=True)
class Tab:
    group: str
    label: str
    count: int


def tabs(counts: Mapping[str, int]) -> list[Tab]:
    """The tabs over the feed, from how many entries there are of each kind."""
    return [
        Tab("all", "All", sum(counts.values())),
        *(
            Tab(group, label, sum(counts.get(kind, 0) for kind in KINDS_OF_GROUP[group]))
            for group, label in GROUPS[1:]
        ),
    ]


@dataclass(frozen=True)
class Act:
    """A button of the banner. `main` stands in the banner, the others under More; `key` presses it."""

    verb: str
    label: str
    icon: str
    main: bool = False
    primary: bool = False
    key: str = ""


_ACTS = {
    "acknowledge": ("Acknowledge", "user-check"),
    "contain": ("Mark contained…", "shield-check"),
    "resolve": ("Resolve…", "circle-check"),
    "reopen": ("Reopen…", "rotate"),
    "command": ("Take command…", "user-star"),
    "severity": ("Change severity…", "octagon"),
    "impact": ("Describe the impact…", "user-exclamation"),
    "page": ("Call somebody in…", "user-plus"),
}
_MAIN_ACT = {
    Status.TRIGGERED: "acknowledge",
    Status.ACKNOWLEDGED: "contain",
    Status.CONTAINED: "resolve",
    Status.RESOLVED: "reopen",
}


def acts(incident: Incident, offered: Mapping[str, bool], *, page_waits: bool) -> list[Act]:
    """What can be done now: the next move of the course first, as the only main one. A page of the viewer that waits
    comes before it: whoever was called in by hand answers, although the incident is acknowledged."""
    main = "acknowledge" if page_waits else _MAIN_ACT[Status(incident.status)]
    found = []
    for verb, (label, icon) in _ACTS.items():
        if not offered.get(verb, False) and not (page_waits and verb == main):
            continue
        found.append(
            Act(
                verb=verb,
                label=label,
                icon=icon,
                main=verb == main,
                primary=verb == "acknowledge",
                key="a" if verb == "acknowledge" else "",
            )
        )
    return sorted(found, key=lambda act: not act.main)


# --- now --------------------------------------------------------------------------------------------------------

_NUMBERS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def headline(banners: Sequence[Banner]) -> str:
    """What burns, in one sentence. Drills and what is contained do not burn."""
    burning = [b for b in banners if not b.incident.is_drill and b.incident.status != Status.CONTAINED]
    unanswered = sum(1 for b in burning if b.incident.status == Status.TRIGGERED)
    if not burning:
        return "Nothing is burning"
    verb = "incident is" if len(burning) == 1 else "incidents are"
    words_ = f"{number(len(burning)).capitalize()} {verb} burning"
    if unanswered == len(burning):
        return f"{words_}, and nobody has answered"
    if unanswered:
        return f"{words_}, {number(unanswered)} without an answer"
    return words_


def finding(banners: Sequence[Banner]) -> str:
    """What the list of open incidents shows, in one sentence; empty when there is nothing in it."""
    burning = [b for b in banners if not b.incident.is_drill and b.incident.status != Status.CONTAINED]
    if not burning:
        return "Nothing is burning" if banners else ""
    alone = sum(1 for b in burning if b.incident.commander_id is None)
    if len(burning) == 1:
        return f"One incident burns{', without a commander' if alone else ''}"
    said = f"{number(len(burning)).capitalize()} incidents burn"
    if alone == len(burning):
        return f"{said}, none has a commander"
    return f"{said}, {number(alone)} without a commander" if alone else said


@dataclass(frozen=True)
class Coming:
    """Who comes on call for a schedule, or that nobody does."""

    at: datetime
    schedule: Schedule
    people: list[User]
    until: datetime


def coming(duty: Iterable[Standing], now: datetime, within: timedelta) -> list[Coming]:
    """The handoffs and gaps that begin soon, in their order."""
    found = [
        Coming(span.starts_at, standing.schedule, span.people, span.ends_at)
        for standing in duty
        for span in standing.shifts
        if now < span.starts_at <= now + within
    ]
    return sorted(found, key=lambda each: (each.at, each.schedule.name))


def subline(banners: Sequence[Banner], *, quiet: tuple[int, int]) -> str:
    contained = sum(1 for b in banners if not b.incident.is_drill and b.incident.status == Status.CONTAINED)
    drills = sum(1 for b in banners if b.incident.is_drill)
    said = []
    if contained:
        said.append(f"{number(contained)} {'is' if contained == 1 else 'are'} contained and watched")
    if drills:
        said.append(f"{number(drills)} {'drill is' if drills == 1 else 'drills are'} running")
    first = f"{', '.join(said).capitalize()}. " if said else ""
    calm, total = quiet
    return (
        f"{first}{calm} of {total} services {'is' if calm == 1 else 'are'} quiet." if total else first.strip()
    )
