"""The form of a policy: a head and one form for each tier. What is wrong with the whole is said by `rules.faults`."""

import re
from typing import Any

from django import forms

from accounts.forms import time_zones
from accounts.models import ContactKind, Role, Team, User
from core.durations import parse_duration
from core.words import duration
from escalation.models import (
    AckMode,
    AsksCommander,
    Hours,
    OnAckTimeout,
    Policy,
    TargetKind,
    Tier,
    TierTarget,
    WhenUnstaffed,
)
from escalation.rules import MAX_TIERS, OFFICE_HOURS, PolicyData, TargetData, TierData, say_severities
from incidents.models import Severity
from notifications.models import Urgency
from oncall.models import Schedule
from oncall.rules import DAY_NAMES, read_windows, say_window


class DurationField(forms.CharField):
    """Seconds, typed as 90 s, 5 min or 1 h."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20, **options)
        self.widget.attrs["autocomplete"] = "off"

    def clean(self, value: Any) -> int | None:
        text = super().clean(value)
        if not text:
            return None
        try:
            return int(parse_duration(text).total_seconds())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value
        if value >= 86_400:  # days can be said, but not typed
            hours, rest = divmod(value, 3600)
            return f"{hours}h {rest // 60}m" if rest else f"{hours} h"
        return duration(value)


def _boxes() -> forms.CheckboxSelectMultiple:
    return forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"})


_SPAN = re.compile(r"(?P<days>.*?),? (?P<start>\d\d:\d\d) (?:to|-) (?P<end>\d\d:\d\d)")


class WindowsField(forms.CharField):
    """Working hours, one window a line, as they are said: Mon to Fri, 09:00 to 17:00."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=1000, widget=forms.Textarea(attrs={"rows": 2}), **options)

    def clean(self, value: Any) -> list[dict[str, Any]]:
        lines = [line.strip() for line in super().clean(value).splitlines() if line.strip()]
        return [_window(line) for line in lines[:14]]

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        return "\n".join(say_window(window) for window in read_windows(list(value or [])))


def _window(line: str) -> dict[str, Any]:
    found = _SPAN.fullmatch(line.replace(", all day", ", 00:00 to 00:00"))
    if found:
        days = _days(found["days"])
        if days:
            return {"days": days, "start": found["start"], "end": found["end"]}
    raise forms.ValidationError(f"{line[:60]!r} is no window. Example: Mon to Fri, 09:00 to 17:00")


def _days(words: str) -> list[int]:
    if words.strip().lower() == "every day":
        return list(range(7))
    numbers = {name.lower(): number for number, name in enumerate(DAY_NAMES)}
    first, between, last = words.lower().partition(" to ")
    if between:
        if first.strip() in numbers and last.strip() in numbers:
            return list(range(numbers[first.strip()], numbers[last.strip()] + 1))
        return []
    given = [word.strip() for word in words.lower().split(",")]
    return sorted({numbers[word] for word in given}) if set(given) <= set(numbers) else []


class PolicyForm(forms.Form):
    name = forms.CharField(max_length=120)
    description = forms.CharField(max_length=300, required=False)
    team = forms.ModelChoiceField(Team.objects.all(), required=False, empty_label="No team")
    repeats = forms.IntegerField(
        min_value=0,
        max_value=20,
        label="Repeats",
        help_text="How often all tiers are paged again before the catch-all.",
    )
    catch_all = forms.ModelChoiceField(
        User.objects.filter(is_active=True, is_bot=False), required=False, empty_label="All admins", label="Catch-all",
        help_text="Paged when no tier has answered.",
    )  # fmt: skip
    catch_all_every_minutes = forms.IntegerField(
        min_value=1, max_value=1440, label="Catch-all again every, minutes"
    )
    on_ack_timeout = forms.ChoiceField(
        choices=OnAckTimeout.choices, required=False, label="When an acknowledgement ends"
    )
    add_on_handoff = forms.BooleanField(
        required=False, label="Page whoever comes on call while a tier waits, too"
    )
    working_hours = WindowsField(
        required=False, label="Working hours", help_text="One window a line: Mon to Fri, 09:00 to 17:00"
    )
    time_zone = forms.ChoiceField(required=False, label="Time zone of the working hours")
    why = forms.CharField(
        max_length=300,
        required=False,
        label="Why",
        help_text="Kept with the version, for whoever asks later.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["time_zone"].choices = [("", "Of each tier's schedule, else UTC"), *time_zones()]


class TierForm(forms.Form):
    level = forms.IntegerField(min_value=0, max_value=9, label="Tier")
    name = forms.CharField(max_length=80)
    criteria = forms.CharField(max_length=300, required=False, label="When it is right")
    expected_outcome = forms.CharField(
        max_length=300, required=False, label="Expected outcome", help_text="The paged person reads it."
    )
    expertise = forms.CharField(max_length=40, required=False)
    sev1 = DurationField(label="SEV1")
    sev2 = DurationField(label="SEV2")
    sev3 = DurationField(label="SEV3")
    sev4 = DurationField(label="SEV4")
    targets = forms.MultipleChoiceField(required=False, label="Who is paged")
    ack_mode = forms.ChoiceField(choices=AckMode.choices, required=False, label="How many have to answer")
    quorum = forms.IntegerField(min_value=1, max_value=100, required=False, label="So many")
    when_unstaffed = forms.ChoiceField(
        choices=WhenUnstaffed.choices, required=False, label="When nobody is there"
    )
    hold_limit = DurationField(required=False, label="Look for somebody for")
    hours = forms.ChoiceField(choices=Hours.choices, required=False, label="Counts")
    severities = forms.MultipleChoiceField(
        choices=Severity.choices, required=False, label="For these severities", help_text="None chosen: for all.",
        widget=_boxes(),
    )  # fmt: skip
    round_robin = forms.BooleanField(
        required=False, label="One target after the other in turn, not all at once"
    )
    containment_missed = forms.BooleanField(required=False, label="The containment target is missed")
    impact_grew = forms.BooleanField(required=False, label="The severity is raised")
    expertise_needed = forms.CharField(
        max_length=120, required=False, label="This expertise is asked for", help_text="Fields, with commas."
    )
    channels = forms.MultipleChoiceField(
        choices=ContactKind.choices, required=False, label="Page at once by",
        help_text="None chosen: by each person's own rules.", widget=_boxes(),
    )  # fmt: skip
    targets_in = forms.MultipleChoiceField(required=False, label="In working hours besides")
    targets_out = forms.MultipleChoiceField(required=False, label="Outside working hours besides")

    def __init__(self, *args: Any, choices: list[Any], **options: Any) -> None:
        super().__init__(*args, **options)
        limited = [
            (value, _say_choice(value, choices)) for value in self.initial.get("targets", []) if "|" in value
        ]
        self.fields["targets"].choices = [*choices, *([("For some severities", limited)] if limited else [])]
        self.fields["targets"].widget.attrs["size"] = "8"
        for name in ("targets_in", "targets_out"):
            self.fields[name].choices = choices
            self.fields[name].widget.attrs["size"] = "5"

    @property
    def is_plain(self) -> bool:
        """Nothing is set beyond what every tier has, so the rest stays folded."""
        names = (
            "hours", "severities", "round_robin", "containment_missed", "impact_grew", "expertise_needed", "channels",
            "targets_in", "targets_out",
        )  # fmt: skip
        given = self.initial
        return not any(given.get(name) for name in names) and (
            given.get("ack_mode", "any"),
            given.get("when_unstaffed", "skip"),
        ) == ("any", "skip")


TierForms = forms.formset_factory(
    TierForm, extra=1, max_num=MAX_TIERS, absolute_max=MAX_TIERS, can_delete=True
)


def target_choices() -> list[Any]:
    """Everything that a tier can page, in groups."""
    schedules = list(Schedule.objects.values_list("pk", "name"))
    return [
        ("The service's", [
            (f"{TargetKind.SERVICE_PRIMARY}:", "Primary responder"),
            (f"{TargetKind.SERVICE_SECONDARY}:", "Secondary responder"),
        ]),
        ("On call on", [(f"schedule:{pk}", name) for pk, name in schedules]),
        ("Next on call on", [(f"schedule_next:{pk}", f"{name}: who is next") for pk, name in schedules]),
        ("Everybody in", [(f"team:{pk}", name) for pk, name in Team.objects.values_list("pk", "name")]),
        ("Everybody who is", [(f"role:{value}", label) for value, label in Role.choices if value != Role.VIEWER]),
        ("A person", [
            (f"user:{pk}", name)
            for pk, name in User.objects.filter(is_active=True).values_list("pk", "full_name")
        ]),
    ]  # fmt: skip


def initial_of(policy: Policy | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the forms show first. A new policy starts with tier 1, on call."""
    if policy is None:
        seconds = {"sev1": 300, "sev2": 600, "sev3": 1800, "sev4": 3600}
        first = {
            "level": 1, "name": "On call", "expected_outcome": "Acknowledge, open the room, find out how bad it is.",
            **seconds,
        }  # fmt: skip
        return {
            "repeats": 1, "catch_all_every_minutes": 15, "add_on_handoff": True, "working_hours": OFFICE_HOURS,
        }, [first]  # fmt: skip
    head = {
        "name": policy.name, "description": policy.description, "team": policy.team_id, "repeats": policy.repeats,
        "catch_all": policy.catch_all_id, "catch_all_every_minutes": policy.catch_all_every_minutes,
        "on_ack_timeout": policy.on_ack_timeout, "add_on_handoff": policy.add_on_handoff,
        "working_hours": policy.working_hours, "time_zone": policy.time_zone,
    }  # fmt: skip
    return head, [_tier_initial(tier) for tier in policy.tiers.all()]


def _tier_initial(tier: Tier) -> dict[str, Any]:
    targets = list(tier.targets.all())
    early = {each["kind"] for each in tier.early}
    return {
        "ack_mode": tier.ack_mode, "quorum": tier.quorum, "when_unstaffed": tier.when_unstaffed,
        "hold_limit": tier.hold_limit_minutes * 60, "hours": tier.hours, "severities": tier.severities,
        "round_robin": tier.round_robin, "containment_missed": "containment_missed" in early,
        "impact_grew": "impact_grew" in early, "channels": tier.channels,
        "expertise_needed": ", ".join(
            each.get("field") or tier.expertise for each in tier.early if each["kind"] == "expertise"
        ),
        "targets_in": [_choice(each) for each in targets if _place(each) == Hours.IN],
        "targets_out": [_choice(each) for each in targets if _place(each) == Hours.OUT],
        "level": tier.level, "name": tier.name, "criteria": tier.criteria, "expected_outcome": tier.expected_outcome,
        "expertise": tier.expertise, "sev1": tier.ack_seconds_sev1, "sev2": tier.ack_seconds_sev2,
        "sev3": tier.ack_seconds_sev3, "sev4": tier.ack_seconds_sev4,
        "targets": [_choice(each) for each in targets if _place(each) == Hours.ALWAYS],
    }  # fmt: skip


def _place(target: TierTarget) -> str:
    """In which list of the form a target is. One that is for some severities keeps all its limits in its value."""
    return Hours.ALWAYS if target.severities else target.hours


def _choice(target: TierTarget) -> str:
    named = target.role or target.schedule_id or target.user_id or target.team_id or ""
    value = f"{target.kind}:{named}"
    if target.severities:
        value += f"|{target.hours}|{''.join(str(number) for number in target.severities)}"
    return value


def _say_choice(value: str, choices: list[Any]) -> str:
    target, hours, severities = value.split("|")
    names = {each: name for _, group in choices for each, name in group}
    when = {Hours.IN: " in working hours", Hours.OUT: " outside working hours"}.get(hours, "")
    return f"{names.get(target, target)}, {say_severities([int(number) for number in severities])}{when}"


def data_of(head: dict[str, Any], tiers: list[dict[str, Any]]) -> PolicyData:
    """From the cleaned forms to what `save_policy` takes."""
    return PolicyData(
        name=head["name"], description=head["description"], team_id=head["team"].pk if head["team"] else None,
        repeats=head["repeats"], catch_all_id=head["catch_all"].pk if head["catch_all"] else None,
        catch_all_every_minutes=head["catch_all_every_minutes"], on_ack_timeout=head["on_ack_timeout"] or OnAckTimeout.RESUME,
        add_on_handoff=head["add_on_handoff"], working_hours=head["working_hours"], time_zone=head["time_zone"],
        tiers=[
            TierData(
                level=tier["level"], name=tier["name"], criteria=tier["criteria"], expertise=tier["expertise"],
                expected_outcome=tier["expected_outcome"],
                ack_seconds={number: tier[f"sev{number}"] for number in (1, 2, 3, 4)},
                targets=[
                    *(_target(value) for value in tier["targets"]),
                    *(_target(value, hours=Hours.IN) for value in tier["targets_in"]),
                    *(_target(value, hours=Hours.OUT) for value in tier["targets_out"]),
                ],
                ack_mode=tier["ack_mode"] or AckMode.ANY, quorum=tier["quorum"] or 2,
                when_unstaffed=tier["when_unstaffed"] or WhenUnstaffed.SKIP,
                hold_limit_minutes=max(tier["hold_limit"] // 60, 1) if tier["hold_limit"] else 1440,
                hours=tier["hours"], severities=[int(number) for number in tier["severities"]],
                round_robin=tier["round_robin"], channels=tier["channels"], early=_early(tier),
            )
            for tier in tiers
        ],
    )  # fmt: skip


def _early(tier: dict[str, Any]) -> list[dict[str, str]]:
    fields = [field.strip() for field in tier["expertise_needed"].split(",") if field.strip()]
    return [
        *({"kind": kind} for kind in ("containment_missed", "impact_grew") if tier[kind]),
        *({"kind": "expertise", "field": field} for field in fields),
    ]


def _target(value: str, *, hours: str = "") -> TargetData:
    target, _, limits = value.partition("|")
    kind, _, rest = target.partition(":")
    severities: list[int] = []
    if limits:
        hours, _, numbers = limits.partition("|")
        severities = [int(number) for number in numbers]
    role = rest if kind == TargetKind.ROLE else ""
    wanted = int(rest) if rest and not role else None
    return TargetData(kind=kind, id=wanted, role=role, hours=hours, severities=severities)


class CellForm(forms.Form):
    """One cell of the matrix of severity and criticality."""

    urgency = forms.ChoiceField(
        choices=[("", "As the alert says"), (Urgency.HIGH, "Escalates"), (Urgency.LOW, "Does not escalate")],
        required=False, label="Urgency",
        help_text="As the alert says: critical and error escalate, warning and info do not; SEV1 and SEV2 always do.",
    )  # fmt: skip
    start_level = forms.IntegerField(
        min_value=0, max_value=9, required=False, label="Begins with tier", help_text="Empty: the lowest."
    )
    answer_seconds = DurationField(
        required=False, label="Answer within", help_text="No tier waits longer. Empty: each tier's own time."
    )
    commander = forms.ChoiceField(choices=AsksCommander.choices, required=False, label="Commander")
    containment_minutes = forms.IntegerField(
        min_value=1, max_value=10_080, required=False, label="Minutes to contain it",
        help_text="From detection. Not contained by then, the next tier is paged although somebody has it. Empty: no target.",
    )  # fmt: skip
