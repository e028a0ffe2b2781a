"""What the forms of the methods page ask. What is right is decided in methods.py and kinds.py."""

from django import forms

from accounts.models import User
from notifications.kinds import KINDS, offered
from notifications.models import Urgency


class MethodForm(forms.Form):
    """The fields of one kind, and what the person calls it."""

    kind = forms.ChoiceField(choices=offered, widget=forms.HiddenInput)

    def __init__(self, *args: object, kind: str, **kwargs: object) -> None:
        kwargs.setdefault("initial", {"kind": kind})
        super().__init__(*args, **kwargs)
        for each in KINDS[kind].fields if kind in KINDS else ():
            attrs = {"autocomplete": "off", "spellcheck": "false"}
            self.fields[each.name] = forms.CharField(
                max_length=500, label=each.label, help_text=each.help, required=each.required, initial=each.initial,
                widget=forms.TextInput(attrs=attrs),
            )  # fmt: skip
        self.fields["label"] = forms.CharField(max_length=60, required=False, label="What you call it")

    @property
    def given(self) -> dict[str, str]:
        return {name: text for name, text in self.cleaned_data.items() if name not in ("kind", "label")}

    @property
    def shown(self) -> list[forms.BoundField]:
        return [field for field in self if field.name not in ("kind", "label")]


class RuleForm(forms.Form):
    urgency = forms.ChoiceField(choices=Urgency.choices, label="Urgency")
    minutes = forms.IntegerField(min_value=0, max_value=1440, initial=0, label="Minutes after the page")
    method = forms.ChoiceField(label="Use")

    def __init__(self, *args: object, user: User, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        verified = user.contact_methods.filter(verified_at__isnull=False)
        self.fields["method"].choices = [(str(method.pk), str(method)) for method in verified]


class AgainForm(forms.Form):
    reason = forms.CharField(max_length=120, label="Why", help_text="It stands in the ledger.")
