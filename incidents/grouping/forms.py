"""What people type about alerts and maintenance. What is right the transitions decide."""

import re
import zoneinfo
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from catalog.models import Service
from incidents.grouping.transitions import LIMITS, MaintenanceData
from incidents.models import AlertSettings, Grouping, Maintenance
from oncall.rules import first_instant, wall_clock

WINDOWS = [
    (300, "5 min"),
    (600, "10 min"),
    (900, "15 min"),
    (1800, "30 min"),
    (3600, "1 hour"),
    (86400, "24 hours"),
]
MUTES = [(15, "15 min"), (60, "1 hour"), (240, "4 hours"), (1440, "1 day"), (10080, "7 days")]
GUARDS = [
    (0, "No quiet time"),
    (15, "15 min"),
    (30, "30 min"),
    (60, "1 hour"),
    (240, "4 hours"),
    (1440, "1 day"),
]


def _whole(name: str, label: str, help_text: str = "") -> forms.IntegerField:
    low, high = LIMITS[name]
    return forms.IntegerField(min_value=low, max_value=high, label=label, help_text=help_text)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


class GroupingFields(forms.Form):
    grouping_fields = forms.CharField(
        required=False, max_length=900, label="Fields",
        help_text="Parted by commas. Example: labels.cluster, alertname",
    )  # fmt: skip
    grouping_seconds = forms.TypedChoiceField(
        choices=WINDOWS, coerce=int, initial=3600, label="Within", help_text="Counts from the last alert."
    )

    def clean_grouping_fields(self) -> list[str]:
        return _words(self.cleaned_data["grouping_fields"])


class SettingsForm(GroupingFields):
    grouping = forms.ChoiceField(choices=Grouping.choices, label="An alert joins the open incident")
    flap_count = _whole("flap_count", "Flapping when it opens", "So many times. 0: never.")
    flap_minutes = _whole("flap_minutes", "Within, in minutes")
    flap_stable_minutes = _whole("flap_stable_minutes", "Settled after, in minutes", "As it is, for so long.")
    auto_resolve_minutes = _whole(
        "auto_resolve_minutes",
        "Over without news for, in minutes",
        "For senders that never resolve. 0: never.",
    )
    repage_hours = _whole(
        "repage_hours", "A repeat pages again after, in hours", "Also when it was acknowledged. 0: never."
    )
    guard_minutes = _whole(
        "guard_minutes", "Quiet after resolving what fires, in minutes", "Proposed to whoever resolves."
    )
    tier0_seconds = _whole("tier0_seconds", "Time for it, in seconds", "People are paged then. 0: none.")
    tier0_url = forms.CharField(required=False, max_length=500, label="Call", help_text="POST, signed.")
    tier0_check_url = forms.CharField(
        required=False,
        max_length=500,
        label="Check",
        help_text="GET, every 10 s. Passing in time pages nobody.",
    )
    tier0_check_path = forms.CharField(
        required=False, max_length=120, label="Value in its answer", help_text="Example: status.ready"
    )
    tier0_check_value = forms.CharField(required=False, max_length=120, label="Has to be")

    @staticmethod
    def initial_of(settings: AlertSettings) -> dict[str, Any]:
        given = {name: getattr(settings, name) for name in SettingsForm.base_fields}
        return {**given, "grouping_fields": ", ".join(settings.grouping_fields)}


OPS = [("is", "is"), ("is_not", "is not"), ("contains", "contains"), ("like", "is like (* and ?)")]
_MINUTES = re.compile(r"(\d{1,4}) ?(min|h|d)?")
REPEATS = [
    ("", "Once"),
    ("FREQ=DAILY", "Every day"),
    ("FREQ=WEEKLY", "Every week"),
    ("FREQ=WEEKLY;INTERVAL=2", "Every 2 weeks"),
    ("FREQ=MONTHLY", "Every month, on that day"),
    ("own", "By a rule of mine"),
]


class MaintenanceForm(forms.Form):
    name = forms.CharField(max_length=120, label="What is done")
    reason = forms.CharField(max_length=300, required=False, label="Why, and what to expect")
    services = forms.ModelMultipleChoiceField(
        queryset=Service.objects.order_by("name"), label="Services", help_text="Their alerts page nobody."
    )
    starts_at = forms.DateTimeField(
        label="Begins", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="By the clock of its zone. In the past: now.",
    )  # fmt: skip
    lasts = forms.CharField(max_length=10, initial="1 h", label="Lasts", help_text="30 min, 2 h or 1 d")
    zone = forms.CharField(max_length=60, label="Zone")
    repeats = forms.ChoiceField(choices=REPEATS, required=False, label="Repeats")
    recurrence = forms.CharField(
        max_length=200, required=False, label="Rule", help_text="iCalendar. Example: FREQ=MONTHLY;BYDAY=1SU"
    )
    condition_field = forms.CharField(
        max_length=80, required=False, label="Only alerts whose", help_text="Example: labels.cluster"
    )
    condition_op = forms.ChoiceField(choices=OPS, required=False, label="How")
    condition_value = forms.CharField(max_length=200, required=False, label="Value")
    reroute_on_end = forms.BooleanField(
        required=False, initial=True, label="What still fires at the end opens its incident then"
    )
    critical_pierces = forms.BooleanField(required=False, label="Critical alerts page nevertheless")

    def clean_lasts(self) -> int:
        found = _MINUTES.fullmatch(self.cleaned_data["lasts"].strip().lower())
        if found is None:
            raise ValidationError("30 min, 2 h or 1 d.")
        return int(found[1]) * {"min": 1, "h": 60, "d": 1440, None: 1}[found[2]]

    def clean_zone(self) -> str:
        zone = self.cleaned_data["zone"].strip()
        if zone not in zoneinfo.available_timezones():
            raise ValidationError("This time zone is not known. Example: Europe/Berlin")
        return zone

    def wanted(self, *, more_conditions: list[dict[str, str]]) -> MaintenanceData:
        """`more_conditions`: those beside the first, which the API can set and the form keeps."""
        data = self.cleaned_data
        wall = data["starts_at"].replace(tzinfo=None)
        conditions = list(more_conditions)
        if data["condition_field"].strip():
            first = {name: data[f"condition_{name}"] for name in ("field", "op", "value")}
            conditions.insert(0, {**first, "op": first["op"] or "is"})
        repeats = data["recurrence"] if data["repeats"] == "own" else data["repeats"]
        return MaintenanceData(
            name=data["name"], reason=data["reason"], services=list(data["services"]), zone=data["zone"],
            starts_at=first_instant(wall, data["zone"]), minutes=data["lasts"], recurrence=repeats,
            conditions=conditions, reroute_on_end=data["reroute_on_end"], critical_pierces=data["critical_pierces"],
        )  # fmt: skip

    @staticmethod
    def initial_of(row: Maintenance) -> dict[str, Any]:
        known = {value for value, _ in REPEATS}
        first = row.conditions[0] if row.conditions else {}
        start = row.first_starts_at if row.recurrence else row.starts_at
        return {
            "name": row.name, "reason": row.reason, "services": [service.pk for service in row.services.all()],
            "starts_at": wall_clock(start, row.zone), "lasts": _said(row.minutes), "zone": row.zone,
            "repeats": row.recurrence if row.recurrence in known else "own", "recurrence": row.recurrence,
            "condition_field": first.get("field", ""), "condition_op": first.get("op", "is"),
            "condition_value": first.get("value", ""), "reroute_on_end": row.reroute_on_end,
            "critical_pierces": row.critical_pierces,
        }  # fmt: skip

    @staticmethod
    def initial_of_new(now: datetime, zone: str, services: list[int]) -> dict[str, Any]:
        start = wall_clock(now, zone).replace(second=0, microsecond=0) + timedelta(minutes=5)
        return {
            "starts_at": start, "zone": zone, "lasts": "1 h", "services": services, "reroute_on_end": True,
            "condition_op": "is",
        }  # fmt: skip


def _said(minutes: int) -> str:
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def say_conditions(conditions: list[dict[str, str]]) -> str:
    ops = {**dict(OPS), "like": "is like"}
    return " and ".join(f"{each['field']} {ops[each['op']]} {each['value']}" for each in conditions)
