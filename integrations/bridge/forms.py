"""Reads what a manager typed; what is right is decided by the transitions."""

from django import forms

from catalog.models import Service
from incidents.models import Severity


class BridgeForm(forms.Form):
    name = forms.CharField(max_length=120, label="Name", help_text="The chat and its room, as #incidents.")
    address = forms.CharField(
        max_length=1000,
        label="Incoming webhook",
        help_text="The address that Slack, Teams, Mattermost or another chat gives you. It is kept and not shown again.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    service = forms.ModelChoiceField(
        queryset=Service.objects.order_by("name"),
        required=False,
        empty_label="All services",
        label="Incidents of",
    )
    min_severity = forms.TypedChoiceField(
        coerce=int,
        initial=4,
        label="How bad",
        choices=[
            (value, "All" if value == 4 else f"SEV{value} and worse" if value > 1 else "SEV1 only")
            for value in reversed(Severity.values)
        ],
    )
    mirrors_banner = forms.BooleanField(
        required=False, initial=True, label="State, severity, impact, roles and updates"
    )
    mirrors_talk = forms.BooleanField(required=False, initial=True, label="Messages and decisions")


class BridgeChangeForm(BridgeForm):
    address = forms.CharField(
        max_length=1000,
        required=False,
        label="Another incoming webhook",
        help_text="Empty: the one it has stays.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
