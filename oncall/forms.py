"""What people type about schedules. These read it and show it again; what is right the transitions decide."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime

from accounts.fields import PeopleField, PersonField
from accounts.forms import time_zones
from accounts.models import Team, User
from core.errors import Invalid
from oncall import notices, queries, rules
from oncall.models import Layer, LayerMode, OverrideKind, Schedule, Turn
from oncall.rules import LONGEST_TURN, Stint
from oncall.transitions import MOST_LAYERS, MOST_PEOPLE, LayerInput

_TURN = re.compile(r"(\d{1,3})\s*(hour|day|week)s?", re.IGNORECASE)


class WallField(forms.Field):
    """A wall-clock time, without a zone: the form says elsewhere in which zone it is meant."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    default_error_messages = {
        "invalid": "A date and a time. Example: 2026-11-24 08:00",
        "range": "A time between 2000 and 2100.",
    }

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        if isinstance(value, datetime):
            return value
        try:
            wall = parse_datetime(str(value).strip()[:40])
        except ValueError:
            wall = None
        if wall is None or wall.tzinfo is not None:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        if not 2000 <= wall.year < 2100:
            raise ValidationError(self.error_messages["range"], code="range")
        return wall


class ScheduleForm(forms.Form):
    name = forms.CharField(max_length=120, label="Name")
    description = forms.CharField(max_length=300, required=False, label="What it is for")
    team = forms.ModelChoiceField(
        queryset=Team.objects.order_by("name"), required=False, to_field_name="slug", empty_label="No team",
        label="Team",
    )  # fmt: skip
    time_zone = forms.ChoiceField(
        label="Time zone", help_text="All times of its layers are this zone's clock."
    )
    filler = PersonField(required=False, label="When nobody is on call", help_text="Fills every gap.")
    notice_hours = forms.DecimalField(
        min_value=0, max_value=notices.LONGEST_BEFORE // 60, decimal_places=2, initial=24, required=False,
        label="Notice before a shift, in hours", help_text="0: not before.",
    )  # fmt: skip
    counts_from = WallField(
        required=False, label="The layers count from",
        help_text="Empty: from now on. Until then those that there are go on.",
    )  # fmt: skip
    notice_at_start = forms.BooleanField(required=False, initial=True, label="Notice when a shift begins")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "name" not in self.initial:  # a new one has nothing that could go on
            del self.fields["counts_from"]
        zones = time_zones()
        given = self.initial.get("time_zone", "UTC")
        if given not in dict(zones):
            zones.append((given, given))
        self.fields["time_zone"].choices = zones

    def wanted(self) -> dict[str, Any]:
        data = {"counts_from": None, **self.cleaned_data}
        hours = data.pop("notice_hours")
        counts_from = data.pop("counts_from")
        if counts_from is not None:
            data["counts_from"] = rules.first_instant(counts_from, data["time_zone"])
        return data | {"notice_minutes": 24 * 60 if hours is None else round(hours * 60)}


DAYS = [(str(number), name) for number, name in enumerate(rules.DAY_NAMES)]


class LayerForm(forms.Form):
    """One rotation with its windows. Left wholly empty it counts for nothing."""

    id = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)
    name = forms.CharField(max_length=80, required=False, label="Name")
    people = PeopleField(required=False, label="People, in their order")
    turn_length = forms.IntegerField(
        required=False, min_value=1, max_value=LONGEST_TURN, initial=1, label="A turn lasts"
    )
    turn_unit = forms.ChoiceField(choices=Turn.choices, initial=Turn.WEEKS, label="Unit")
    turns = forms.CharField(
        max_length=200, required=False, label="Lengths in turn",
        help_text="With several lengths: one after the other, and again. Example: 5 days, 2 days",
    )  # fmt: skip
    mode = forms.ChoiceField(
        choices=LayerMode.choices, initial=LayerMode.OVERRIDE, required=False, label="Its people are on call"
    )
    people_at_once = forms.IntegerField(
        required=False, min_value=1, max_value=MOST_PEOPLE, initial=1, label="People at a time"
    )
    starts_at = WallField(
        required=False, label="First handoff", help_text="Its time of day is that of every handoff."
    )
    ends_at = WallField(required=False, label="Ends", help_text="Empty: it goes on.")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.window_count = min(self._typed_windows() or self._given_windows() + 1, rules.MOST_WINDOWS)
        given = list(self.initial.get("windows", []))
        for number in range(self.window_count):
            window = given[number] if number < len(given) else None
            self.fields[f"window_{number}_days"] = forms.MultipleChoiceField(
                choices=DAYS, required=False, widget=forms.CheckboxSelectMultiple, label="Days",
                initial=[str(day) for day in sorted(window.days)] if window else [],
            )  # fmt: skip
            for key in ("start", "end"):
                self.fields[f"window_{number}_{key}"] = forms.CharField(
                    required=False, max_length=8, label="From" if key == "start" else "To",
                    widget=forms.TimeInput(attrs={"type": "time"}),
                    initial=f"{getattr(window, key):%H:%M}" if window else "",
                )  # fmt: skip

    def _given_windows(self) -> int:
        return len(self.initial.get("windows", []))

    def _typed_windows(self) -> int:
        if not self.is_bound:
            return 0
        number = 0
        while number < rules.MOST_WINDOWS and f"{self.prefix}-window_{number}_start" in self.data:
            number += 1
        return number

    def windows(self) -> Iterator[tuple[Any, Any, Any]]:
        """The fields of each window, for the page."""
        for number in range(self.window_count):
            yield tuple(self[f"window_{number}_{key}"] for key in ("days", "start", "end"))

    def clean_turns(self) -> list[dict[str, Any]]:
        found = []
        for part in filter(None, (part.strip() for part in self.cleaned_data["turns"].split(","))):
            match = _TURN.fullmatch(part)
            if match is None:
                raise ValidationError(f"{part} is no length. Example: 5 days, 2 days")
            found.append({"unit": f"{match[2].lower()}s", "length": int(match[1])})
        return found

    @property
    def is_empty(self) -> bool:
        data = self.cleaned_data
        return not (data.get("id") or data.get("people") or data.get("name") or data.get("starts_at"))

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if self.is_empty and not self.errors:
            return data
        if not data.get("starts_at") and "starts_at" not in self.errors:
            self.add_error("starts_at", "When the first person takes over. Example: 2026-11-30 08:00")
        raw = []
        for number in range(self.window_count):
            days, start, end = (data.get(f"window_{number}_{key}") for key in ("days", "start", "end"))
            if days or start or end:
                raw.append({"days": [int(day) for day in days or []], "start": start, "end": end})
        try:
            data["restrictions"] = rules.write_windows(rules.read_windows(raw))
        except Invalid as refusal:
            self.add_error(None, refusal.message)
        return data

    def wanted(self, *, zone: str, present: dict[int, Layer], zone_stays: bool) -> LayerInput:
        """A time that was not touched stays the instant that it is, even in an hour that is there twice."""
        data = self.cleaned_data
        layer = present.get(data["id"]) if data["id"] and zone_stays else None
        start, end = data["starts_at"], data["ends_at"]
        if layer and start == minute(layer.starts_at, zone):
            starts_at = layer.starts_at
        else:
            starts_at = rules.first_instant(start, zone)
        if layer and layer.ends_at and end == minute(layer.ends_at, zone):
            ends_at = layer.ends_at
        else:
            ends_at = rules.last_instant(end, zone) if end else None
        return LayerInput(
            id=data["id"],
            name=data["name"],
            starts_at=starts_at,
            ends_at=ends_at,
            turn_unit=data["turn_unit"],
            turn_length=data["turn_length"] or 1,
            turns=data["turns"],
            mode=data["mode"] or LayerMode.OVERRIDE,
            people_at_once=data["people_at_once"] or 1,
            restrictions=data["restrictions"],
            people=data["people"],
        )


LayerForms = forms.formset_factory(
    LayerForm, extra=1, can_delete=True, max_num=MOST_LAYERS, absolute_max=MOST_LAYERS + 1
)


def minute(at: datetime, zone: str) -> datetime:
    """What a field for a date and a time shows of `at`."""
    return rules.wall_clock(at, zone).replace(second=0, microsecond=0)


def initial_of(schedule: Schedule) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The schedule and its layers, as the forms show them."""
    head = {
        "name": schedule.name,
        "description": schedule.description,
        "team": schedule.team.slug if schedule.team else "",
        "time_zone": schedule.time_zone,
        "filler": queries.filler_of(schedule),
        "notice_hours": f"{schedule.notice_minutes / 60:g}",
        "notice_at_start": schedule.notice_at_start,
    }
    layers = [
        {
            "id": layer.pk,
            "name": layer.name,
            "people": [member.user for member in layer.members.all()],
            "turn_length": layer.turn_length,
            "turn_unit": layer.turn_unit,
            "turns": ", ".join(f"{turn['length']} {turn['unit']}" for turn in layer.turns),
            "mode": layer.mode,
            "people_at_once": layer.people_at_once,
            "starts_at": minute(layer.starts_at, schedule.time_zone),
            "ends_at": minute(layer.ends_at, schedule.time_zone) if layer.ends_at else None,
            "windows": rules.read_windows(layer.restrictions),
        }
        for layer in schedule.layers.all()
    ]
    return head, layers


def initial_of_new(now: datetime, zone: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A weekly rotation from next Monday at eight."""
    today = rules.wall_clock(now, zone)
    monday = today + timedelta(days=7 - today.weekday())
    head = {"time_zone": zone, "notice_at_start": True, "notice_hours": "24"}
    return head, [{"starts_at": monday.replace(hour=8, minute=0, second=0, microsecond=0)}]


KINDS = [
    (OverrideKind.REPLACE, "Is on call in place of others"),
    (OverrideKind.ADD, "Is on call beside the others"),
    (OverrideKind.REMOVE, "Is not on call"),
    (OverrideKind.SHADOW, "Shadows: hears of the shift, is not paged"),
]


class SpanForm(forms.Form):
    """From and to, on a clock that is chosen."""

    starts_at = WallField(label="From")
    ends_at = WallField(label="To")
    zone = forms.ChoiceField(label="Times are")

    def __init__(self, *args: Any, zones: list[tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["zone"].choices = zones
        self.fields["zone"].required = len(zones) > 1

    @property
    def chosen_zone(self) -> str:
        return self.cleaned_data["zone"] or self.fields["zone"].choices[0][0]

    def span(self, start: str = "starts_at", end: str = "ends_at") -> dict[str, Any]:
        data, zone = self.cleaned_data, self.chosen_zone
        return {
            start: rules.first_instant(data[start], zone) if data[start] else None,
            end: rules.last_instant(data[end], zone) if data[end] else None,
        }


class OverrideForm(SpanForm):
    """Whoever may put only themselves on call has no field for the person."""

    kind = forms.ChoiceField(choices=KINDS, required=False, initial=OverrideKind.REPLACE, label="What")
    user = PersonField(label="Who", required=False)
    replaces = PersonField(
        label="In place of", required=False, help_text="Only this person, while on call. Empty: of everybody."
    )
    reason = forms.CharField(max_length=200, required=False, label="Why")

    field_order = ("kind", "user", "replaces", "starts_at", "ends_at", "zone", "reason")

    def __init__(self, *args: Any, person: User | None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.person = person
        if person is not None:
            del self.fields["user"]
            self.fields["kind"].choices = [
                (OverrideKind.REPLACE, "I am on call in place of others"),
                (OverrideKind.ADD, "I am on call beside the others"),
                (OverrideKind.SHADOW, "I shadow: I hear of the shift and am not paged"),
            ]

    def clean_user(self) -> User:
        if self.cleaned_data["user"] is None:
            raise ValidationError("Who is on call in that time.")
        return self.cleaned_data["user"]

    def wanted(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            **self.span(),
            "user": self.person or data["user"],
            "kind": data["kind"] or OverrideKind.REPLACE,
            "replaces": data["replaces"],
            "reason": data["reason"],
        }


class TemporaryForm(SpanForm):
    """People in turn, from one time to another. Shifts of any other shape come by the API."""

    name = forms.CharField(max_length=80, label="Name", help_text="Example: Black Friday")
    people = PeopleField(label="People, in their order")
    hours = forms.IntegerField(
        min_value=1, max_value=24 * 31, initial=12, label="Each for so many hours",
        help_text="On the schedule's clock.",
    )  # fmt: skip
    at_once = forms.IntegerField(min_value=1, max_value=20, initial=1, label="People at a time")

    field_order = ("name", "starts_at", "ends_at", "zone", "people", "hours", "at_once")

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if data.get("people") and data.get("at_once", 1) > len(data["people"]):
            self.add_error("at_once", "More than there are people.")
        return data

    def wanted(self, zone: str) -> dict[str, Any]:
        data, span = self.cleaned_data, self.span()
        people = {user.pk: user for user in data["people"]}
        turns = rules.LayerData(
            starts_at=span["starts_at"], ends_at=span["ends_at"], people=tuple(user.pk for user in data["people"]),
            unit="hours", length=data["hours"], at_once=data["at_once"],
        )  # fmt: skip
        alone = rules.ScheduleData(zone=zone, layers=(turns,))
        shifts = [
            Stint(person, shift.starts_at, shift.ends_at)
            for shift in rules.shifts(alone, span["starts_at"], span["ends_at"])
            for person in shift.people
        ]
        return {**span, "name": data["name"], "people": people, "shifts": shifts}


class SwapForm(SpanForm):
    asked = PersonField(label="Ask")
    back_starts_at = WallField(required=False, label="You take in return, from")
    back_ends_at = WallField(required=False, label="To")
    message = forms.CharField(max_length=300, required=False, label="Words")

    field_order = ("asked", "starts_at", "ends_at", "zone", "back_starts_at", "back_ends_at", "message")

    def wanted(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            **self.span(),
            **self.span("back_starts_at", "back_ends_at"),
            "asked": data["asked"],
            "message": data["message"],
        }
