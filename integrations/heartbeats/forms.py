"""What a manager types about a heartbeat."""

import re

from django import forms
from django.core.exceptions import ValidationError

from catalog.models import Service
from incidents.alerts import SEVERITIES
from integrations.models import Watch

_SPAN = re.compile(r"(\d{1,7}) ?(s|min|h|d)?")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, None: 60}


class SpanField(forms.CharField):
    """30 s, 10 min, 1 h, 1 d; a number alone is minutes."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(
            max_length=12, help_text=kwargs.pop("help_text", "30 s, 10 min, 1 h or 1 d"), **kwargs
        )

    def clean(self, value: str) -> int:
        found = _SPAN.fullmatch(super().clean(value).strip().lower())
        if found is None:
            raise ValidationError("30 s, 10 min, 1 h or 1 d.")
        return int(found[1]) * _UNITS[found[2]]


def said(seconds: int) -> str:
    for unit in ("d", "h", "min"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]} {unit}"
    return f"{seconds} s"


class WatchForm(forms.Form):
    name = forms.CharField(max_length=100, label="Name", help_text="Stands in the page and in the address.")
    service = forms.ModelChoiceField(
        queryset=Service.objects.order_by("name"),
        label="Service",
        empty_label="Choose a service",
        help_text="Its silence opens an incident on it.",
    )
    interval_seconds = SpanField(label="Pings every", initial="10 min")
    grace_seconds = SpanField(label="May be late by", initial="1 min")
    severity = forms.ChoiceField(
        choices=[(severity, severity) for severity in SEVERITIES], initial="error", label="Severity"
    )
    description = forms.CharField(
        max_length=300, required=False, label="What to do", help_text="Read by whoever is paged."
    )

    @staticmethod
    def initial_of(watch: Watch) -> dict[str, object]:
        return {
            "name": watch.name, "service": watch.service_id, "interval_seconds": said(watch.interval_seconds),
            "grace_seconds": said(watch.grace_seconds), "severity": watch.severity, "description": watch.description,
        }  # fmt: skip
