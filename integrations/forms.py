"""Reads what a manager typed; what is right is decided by the transitions."""

from django import forms

from catalog.models import Service
from incidents.grouping.forms import GroupingFields
from incidents.models import Grouping
from integrations.transitions import RECEIVED_KINDS


class IntegrationForm(forms.Form):
    name = forms.CharField(max_length=120, label="Name", help_text="Who sends. It stands in the timeline.")
    kind = forms.ChoiceField(choices=[(kind.value, kind.label) for kind in RECEIVED_KINDS], label="Kind")
    service = forms.ModelChoiceField(
        queryset=Service.objects.order_by("name"), label="Service", empty_label="Choose a service",
        help_text="Alerts open incidents on it.",
    )  # fmt: skip


class IntegrationChangeForm(GroupingFields):
    name = forms.CharField(max_length=120, label="Name")
    service = forms.ModelChoiceField(queryset=Service.objects.order_by("name"), label="Service")
    grouping = forms.ChoiceField(
        choices=[("", "As the service says, else each alone"), *Grouping.choices[1:]],
        required=False,
        label="Group its alerts",
        help_text="For services that group nothing themselves.",
    )
