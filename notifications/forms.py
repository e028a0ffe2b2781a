"""What the forms of the methods page ask. What is right is decided in methods.py."""

from django import forms

from accounts.models import ContactKind, User
from notifications.models import Urgency


class MethodForm(forms.Form):
    kind = forms.ChoiceField(choices=ContactKind.choices, label="By")
    address = forms.CharField(max_length=500, label="Address")
    label = forms.CharField(max_length=60, required=False, label="What you call it")


class RuleForm(forms.Form):
    urgency = forms.ChoiceField(choices=Urgency.choices, label="Urgency")
    minutes = forms.IntegerField(min_value=0, max_value=1440, initial=0, label="Minutes after the page")
    method = forms.ChoiceField(label="Use")

    def __init__(self, *args: object, user: User, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        verified = user.contact_methods.filter(verified_at__isnull=False)
        self.fields["method"].choices = [(str(method.pk), str(method)) for method in verified]
