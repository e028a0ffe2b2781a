"""What people type about updates, subscriptions and the public page. What is right the transitions decide."""

from collections.abc import Sequence
from datetime import timedelta

from django import forms

from catalog.models import Service
from core.words import duration
from incidents.models import PostLevel, PostState, Severity
from incidents.updates import rules, transitions
from incidents.updates.queries import public_components

_PROMISES = (15, 30, 60, 120, 240, 480, 1440)


class UpdateForm(forms.Form):
    impact = forms.CharField(
        max_length=transitions.MAX_IMPACT,
        label="Impact",
        help_text="Who is hurt and how much. The banner says it from now on.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "data-first": ""}),
        error_messages={"required": "Say who is hurt and how much."},
    )
    action = forms.CharField(
        max_length=transitions.MAX_ACTION,
        label="What is done",
        help_text="What you do now, in words that somebody outside the team understands.",
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Say what is done about it."},
    )
    next_minutes = forms.TypedChoiceField(label="Next update", coerce=int, required=False, empty_value=0)

    def __init__(self, *args: object, draft: rules.Draft, over: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.initial |= {
            "impact": draft.impact, "action": draft.action, "next_minutes": draft.next_minutes,
        }  # fmt: skip
        if over:
            del self.fields["next_minutes"]
            return
        minutes = sorted({*_PROMISES, draft.next_minutes} - {0})
        choices = [(each, f"in {duration(timedelta(minutes=each))}") for each in minutes]
        self.fields["next_minutes"].choices = [*choices, (0, "none is promised")]


class SubscribeForm(forms.Form):
    email = forms.EmailField(
        label="To",
        help_text="One address, with or without an account here.",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    service = forms.ModelChoiceField(
        Service.objects.none(), required=False, empty_label="All services", label="Incidents of"
    )
    min_severity = forms.TypedChoiceField(
        label="This bad or worse", coerce=int, choices=Severity.choices, initial=Severity.SEV2
    )

    def __init__(self, *args: object, may_choose: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["service"].queryset = Service.objects.order_by("name")
        if not may_choose:
            del self.fields["email"]


class PublishForm(forms.Form):
    title = forms.CharField(
        max_length=200,
        label="Headline",
        help_text="In words that customers use. It is not taken from the incident.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "data-first": ""}),
        error_messages={"required": "A headline for customers."},
    )
    text = forms.CharField(
        max_length=transitions.MAX_PUBLIC,
        label="What customers should know",
        widget=forms.Textarea(attrs={"rows": 4}),
        error_messages={"required": "Say what customers should know."},
    )
    state = forms.ChoiceField(label="State", choices=PostState.choices)
    level = forms.ChoiceField(
        label="How it works", choices=[choice for choice in PostLevel.choices if choice[0] != "none"],
        help_text="When it is over, everything counts as working again.",
    )  # fmt: skip
    components = forms.MultipleChoiceField(
        label="What is hurt",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one."},
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.known = {str(each.pk): each for each in public_components()}
        self.fields["components"].choices = [(pk, each.name) for pk, each in self.known.items()]

    def clean_components(self) -> list[object]:
        return [self.known[pk] for pk in self.cleaned_data["components"]]


class ComponentForm(forms.Form):
    """One service's line on the page of components."""

    name = forms.CharField(max_length=80, label="Name for customers")
    group = forms.CharField(max_length=80, required=False, label="Group")
    position = forms.IntegerField(min_value=0, max_value=9999, required=False, label="Place")
    is_public = forms.BooleanField(required=False, label="On the public page")


def first_error(form: forms.Form) -> str:
    """One sentence for the line on top of a dialog."""
    errors: Sequence[str] = [error for name in form.errors for error in form.errors[name]]
    return errors[0] if errors else ""
