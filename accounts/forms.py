"""The profile's forms. What is right is decided by the transitions; these only read and show it again."""

import zoneinfo
from datetime import timedelta

from django import forms

from accounts.models import Role, Scope


def time_zones() -> list[tuple[str, str]]:
    """Named by a place, and UTC; the rest of the database is aliases and history."""
    names = sorted(
        name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/")
    )
    return [(name, name.replace("_", " ")) for name in ["UTC", *names]]


class ProfileForm(forms.Form):
    full_name = forms.CharField(max_length=120, label="Name")
    time_zone = forms.ChoiceField(choices=time_zones, label="Time zone")


LIFETIMES = {
    "30": ("30 days", timedelta(days=30)),
    "90": ("90 days", timedelta(days=90)),
    "365": ("A year", timedelta(days=365)),
    "": ("Until revoked", None),
}


class TokenForm(forms.Form):
    name = forms.CharField(max_length=80, label="What will use it")
    scope = forms.ChoiceField(choices=Scope.choices, initial=Scope.WRITE, label="It may")
    lifetime = forms.ChoiceField(
        choices=[(value, label) for value, (label, _) in LIFETIMES.items()],
        initial="90",
        required=False,
        label="It ends after",
    )


class PersonForm(forms.Form):
    full_name = forms.CharField(max_length=120, label="Name")
    email = forms.EmailField(max_length=254, label="E-mail address")
    username = forms.CharField(max_length=150, label="User name")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.RESPONDER)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)
