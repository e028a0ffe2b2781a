from django import forms

from accounts.fields import PersonField


class WaiverForm(forms.Form):
    user = PersonField(label="Who")
    reason = forms.CharField(
        max_length=300, label="How they are reached instead", help_text="Everybody reads this on the page."
    )
    days = forms.IntegerField(min_value=1, max_value=90, initial=7, label="For so many days")
