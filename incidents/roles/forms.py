"""What managers type about rotations."""

from typing import Any

from django import forms

from accounts.models import Team
from incidents.models import RoleRotation, RoomRole
from incidents.roles import rules
from oncall.models import Schedule


class RotationForm(forms.Form):
    """Which schedule gives a role. What was typed stays when something is wrong."""

    role = forms.ChoiceField(
        label="Role",
        choices=[(role, rules.title(role)) for role in rules.ROTATING],
        error_messages={"required": "Choose the role."},
    )
    field = forms.CharField(
        label="Field of the expert",
        required=False,
        max_length=40,
        help_text="network, storage, compute, database, security …",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    schedule = forms.ModelChoiceField(
        Schedule.objects.none(),
        label="Schedule",
        empty_label="Choose a schedule",
        help_text="Asked in this order: on duty, next on duty, everybody else of it.",
        error_messages={
            "required": "Choose the schedule.",
            "invalid_choice": "That schedule is no longer there.",
        },
    )
    team = forms.ModelChoiceField(
        Team.objects.none(),
        label="For services of",
        required=False,
        empty_label="All teams without one of their own",
        error_messages={"invalid_choice": "That team is no longer there."},
    )
    accept_minutes = forms.IntegerField(
        label="Minutes to accept",
        min_value=1,
        max_value=1440,
        help_text="Then the next person is asked.",
        error_messages={"required": "Say how many minutes.", "invalid": "A whole number."},
    )
    max_severity = forms.TypedChoiceField(
        label="Asked by itself",
        coerce=int,
        choices=[
            (1, "For SEV1"),
            (2, "For SEV1 and SEV2"),
            (3, "For SEV1, SEV2 and SEV3"),
            (4, "For every incident"),
            (0, "Never, only by hand"),
        ],
        help_text="Experts are always called by hand.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["schedule"].queryset = Schedule.objects.order_by("name")
        self.fields["team"].queryset = Team.objects.order_by("name")

    @staticmethod
    def of(rotation: RoleRotation | None) -> dict[str, Any]:
        if rotation is None:
            return {"role": RoomRole.COMMANDER, "accept_minutes": 5, "max_severity": 2}
        return {
            "role": rotation.role,
            "field": rotation.field,
            "schedule": rotation.schedule_id,
            "team": rotation.team_id,
            "accept_minutes": max(round(rotation.accept_seconds / 60), 1),
            "max_severity": rotation.max_severity,
        }

    def wanted(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "role": given["role"],
            "field": given["field"],
            "schedule_id": given["schedule"].pk,
            "team_id": given["team"].pk if given["team"] else None,
            "accept_seconds": given["accept_minutes"] * 60,
            "max_severity": given["max_severity"],
        }
