"""What people type into the incident pages."""

from django import forms

from catalog.models import Service
from incidents.models import Severity

SEVERITY_WORDS = {
    1: "customers cannot use it",
    2: "a main path is impaired",
    3: "slow or partial",
    4: "no customer sees it",
}


class DeclareForm(forms.Form):
    """Declares an incident. What was typed stays when something is wrong."""

    title = forms.CharField(
        label="What is broken",
        max_length=300,
        help_text="In a few words, as you would shout it across the room.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "placeholder": "Checkout API: 5xx after config rollout"}
        ),
        error_messages={
            "required": "Say in a few words what is broken.",
            "max_length": "At most 300 characters. Put the rest into a note.",
        },
    )
    service = forms.ModelChoiceField(
        Service.objects.none(),
        label="Service",
        empty_label="Choose a service",
        help_text="Its escalation policy decides who is paged.",
        error_messages={
            "required": "Choose the service; without one nobody knows whom to page.",
            "invalid_choice": "That service is no longer there. Choose another.",
        },
    )
    severity = forms.TypedChoiceField(
        label="How bad",
        coerce=int,
        choices=Severity.choices,
        initial=2,
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose how bad it is.",
            "invalid_choice": "One of SEV1, SEV2, SEV3, SEV4.",
        },
    )
    impact = forms.CharField(
        label="Who is hurt and how much",
        required=False,
        max_length=300,
        help_text="The paged person reads this first. You can say it later.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "placeholder": "38% of checkouts fail in EU and UK"}
        ),
        error_messages={"max_length": "At most 300 characters. Put the rest into a note."},
    )
    is_drill = forms.BooleanField(
        label="This is a drill", required=False, help_text="Pages are real and say that it is a drill."
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["service"].queryset = Service.objects.order_by("name")
