"""A policy in sentences, and what differs between two versions of one."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from core.words import duration
from escalation.rules.early import say_criterion
from escalation.rules.hours import say_severities, say_working_hours
from escalation.rules.snapshot import Snapshot

TARGET = {
    "schedule": "whoever is on call on {}",
    "schedule_next": "whoever is next on call on {}",
    "user": "{}",
    "team": "everybody in {}",
    "role": "every {}",
    "service_primary": "the service's primary responder",
    "service_secondary": "the service's secondary responder",
}
CHANNELS = {
    "email": "e-mail", "sms": "SMS", "voice": "phone call", "push": "push message", "ntfy": "ntfy",
    "telegram": "Telegram", "matrix": "Matrix", "slack": "Slack", "teams": "Teams", "discord": "Discord",
    "apprise": "another service", "webhook": "webhook",
}  # fmt: skip


def listed(words: Sequence[str], last: str = "and") -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def say_target(target: Mapping[str, Any]) -> str:
    name = target["name"].lower() if target["kind"] == "role" else target["name"]
    return TARGET[target["kind"]].format(name) + _limits(target)


def _limits(place: Mapping[str, Any]) -> str:
    said = []
    if place.get("severities"):
        said.append(f"for {say_severities(place['severities'])}")
    if place.get("hours"):
        said.append("in working hours" if place["hours"] == "in" else "outside working hours")
    return f" ({', '.join(said)} only)" if said else ""


def say_tier(tier: Mapping[str, Any]) -> list[str]:
    """What a tier does, in sentences, the most important first."""
    if not tier["targets"]:
        return ["Pages nobody: automated monitoring."]
    people = listed([say_target(target) for target in tier["targets"]])
    said = [f"Pages {people}{', one after the other in turn' if tier.get('round_robin') else ''}."]
    limits = _limits(tier)
    if limits:
        said.append(f"Counts{limits.replace('(', '').replace(')', '')}; else it is passed.")
    said.append(f"Time to answer: {say_times(tier)}.")
    match tier.get("ack_mode", "any"):
        case "all":
            said.append("Everybody has to answer: who has not stays paged after the first acknowledgement.")
        case "quorum":
            said.append(
                f"{tier['quorum']} have to answer: the others stay paged after the first acknowledgement."
            )
    match tier.get("when_unstaffed", "skip"):
        case "hold_until_staffed":
            held = duration(timedelta(seconds=tier.get("hold_seconds", 86_400)))
            said.append(
                f"When nobody is there, the next tier is paged at once, and this one as soon as somebody comes, within {held}."
            )
        case "wait":
            said.append("When nobody is there, its time passes before the next tier is paged.")
        case _:
            said.append("When nobody is there, the next tier is paged at once.")
    if tier.get("early"):
        causes = [say_criterion(each, expertise=tier.get("expertise", "")) for each in tier["early"]]
        said.append(f"Is paged before its turn when {listed(causes, 'or')}.")
    if tier.get("channels"):
        kinds = listed([CHANNELS.get(kind, kind) for kind in tier["channels"]])
        said.append(
            f"Pages at once by {kinds}, whatever a person's own rules say; who has none of these is paged by them."
        )
    return said


def say_times(tier: Mapping[str, Any]) -> str:
    times = {number: duration(timedelta(seconds=tier["ack_seconds"][number])) for number in "1234"}
    if len(set(times.values())) == 1:
        return times["1"]
    return ", ".join(f"SEV{number} {time}" for number, time in times.items())


def say_policy(snapshot: Snapshot) -> list[str]:
    """What holds for the whole policy, in sentences."""
    every = duration(timedelta(seconds=snapshot["catch_all_every_seconds"]))
    repeats = snapshot["repeats"]
    again = (
        f"all tiers are paged again, {repeats} {'time' if repeats == 1 else 'times'}, then "
        if repeats
        else ""
    )
    catch_all = snapshot.get("catch_all_name", "the catch-all")
    said = [f"Without an answer, {again}{catch_all} every {every} until somebody answers."]
    if snapshot.get("on_ack_timeout") == "restart":
        said.append("When an acknowledgement ends, it begins again with the first tier.")
    else:
        said.append("When an acknowledgement ends, it goes on at the tier of whoever gave it.")
    if snapshot.get("add_on_handoff", True):
        said.append("Whoever comes on call while a tier waits is paged as well.")
    else:
        said.append("Whoever comes on call while a tier waits is not paged.")
    places = [place for tier in snapshot["tiers"] for place in (tier, *tier["targets"])]
    if any(place.get("hours") for place in places):
        said.append(f"Working hours: {say_working_hours(snapshot)}.")
    return said


# --- differences --------------------------------------------------------------------------------------------------


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """What `after` has changed, a sentence each; empty: nothing."""
    said = []
    for key, name in (("name", "Name"), ("description", "Description")):
        if before.get(key, "") != after.get(key, ""):
            said.append(_changed(name, before.get(key, ""), after.get(key, "")))
    if _team(before) != _team(after):
        said.append(_changed("Team", _team(before), _team(after)))
    said += _sentences("", say_policy(before), say_policy(after))
    old = {tier["level"]: tier for tier in before["tiers"]}
    new = {tier["level"]: tier for tier in after["tiers"]}
    for level in sorted(old.keys() | new.keys()):
        if level not in new:
            said.append(f"Tier {level}, {old[level]['name']}, is gone.")
        elif level not in old:
            said.append(f"Tier {level}, {new[level]['name']}, is new. {' '.join(say_tier(new[level]))}")
        else:
            said += _tier_difference(level, old[level], new[level])
    return said


def _tier_difference(level: int, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    said = []
    for key, name in (
        ("name", "name"), ("criteria", "when it is right"), ("expected", "expected outcome"), ("expertise", "expertise"),
    ):  # fmt: skip
        if old.get(key, "") != new.get(key, ""):
            said.append(_changed(f"Tier {level}, {name}", old.get(key, ""), new.get(key, "")))
    return said + _sentences(f"Tier {level}: ", say_tier(old), say_tier(new))


def _sentences(where: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    gone = [sentence for sentence in before if sentence not in after]
    come = [sentence for sentence in after if sentence not in before]
    said = []
    for old, new in zip(gone, come, strict=False):
        said.append(f"{where}{new} Before: {old}")
    said += [f"{where}{sentence}" for sentence in come[len(gone) :]]
    said += [f"{where}No longer: {sentence}" for sentence in gone[len(come) :]]
    return said


def _changed(what: str, before: str, after: str) -> str:
    return f"{what}: {after or 'none'}. Before: {before or 'none'}."


def _team(snapshot: Snapshot) -> str:
    team = snapshot.get("team")
    return team["name"] if team else ""
