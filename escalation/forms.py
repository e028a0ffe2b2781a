"""The form of a policy: a head and one form for each tier. What is wrong with the whole is said by `rules.faults`."""

from typing import Any

from django import forms

from accounts.models import Role, Team, User
from core.durations import parse_duration
from core.words import duration
from escalation.models import Policy, TargetKind, Tier
from escalation.rules import MAX_TIERS, PolicyData, TargetData, TierData
from oncall.models import Schedule


class DurationField(forms.CharField):
    """Seconds, typed as 90 s, 5 min or 1 h."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20, **options)
        self.widget.attrs["autocomplete"] = "off"

    def clean(self, value: Any) -> int:
        text = super().clean(value)
        try:
            return int(parse_duration(text).total_seconds())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def prepare_value(self, value: Any) -> Any:
        return duration(value) if isinstance(value, int) else value


class PolicyForm(forms.Form):
    name = forms.CharField(max_length=120)
    description = forms.CharField(max_length=300, required=False)
    team = forms.ModelChoiceField(Team.objects.all(), required=False, empty_label="No team")
    repeats = forms.IntegerField(
        min_value=0,
        max_value=20,
        label="Repeats",
        help_text="How often all tiers are paged again before the catch-all.",
    )
    catch_all = forms.ModelChoiceField(
        User.objects.filter(is_active=True, is_bot=False), required=False, empty_label="All admins", label="Catch-all",
        help_text="Paged when no tier has answered.",
    )  # fmt: skip
    catch_all_every_minutes = forms.IntegerField(
        min_value=1, max_value=1440, label="Catch-all again every, minutes"
    )


class TierForm(forms.Form):
    level = forms.IntegerField(min_value=0, max_value=9, label="Tier")
    name = forms.CharField(max_length=80)
    criteria = forms.CharField(max_length=300, required=False, label="When it is right")
    expected_outcome = forms.CharField(
        max_length=300, required=False, label="Expected outcome", help_text="The paged person reads it."
    )
    expertise = forms.CharField(max_length=40, required=False)
    sev1 = DurationField(label="SEV1")
    sev2 = DurationField(label="SEV2")
    sev3 = DurationField(label="SEV3")
    sev4 = DurationField(label="SEV4")
    targets = forms.MultipleChoiceField(required=False, label="Who is paged")

    def __init__(self, *args: Any, choices: list[Any], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["targets"].choices = choices
        self.fields["targets"].widget.attrs["size"] = "8"


TierForms = forms.formset_factory(
    TierForm, extra=1, max_num=MAX_TIERS, absolute_max=MAX_TIERS, can_delete=True
)


def target_choices() -> list[Any]:
    """Everything that a tier can page, in groups."""
    return [
        ("The service's", [
            (f"{TargetKind.SERVICE_PRIMARY}:", "Primary responder"),
            (f"{TargetKind.SERVICE_SECONDARY}:", "Secondary responder"),
        ]),
        ("On call on", [(f"schedule:{pk}", name) for pk, name in Schedule.objects.values_list("pk", "name")]),
        ("Everybody in", [(f"team:{pk}", name) for pk, name in Team.objects.values_list("pk", "name")]),
        ("Everybody who is", [(f"role:{value}", label) for value, label in Role.choices if value != Role.VIEWER]),
        ("A person", [
            (f"user:{pk}", name)
            for pk, name in User.objects.filter(is_active=True).values_list("pk", "full_name")
        ]),
    ]  # fmt: skip


def initial_of(policy: Policy | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the forms show first. A new policy starts with tier 1, on call."""
    if policy is None:
        seconds = {"sev1": 300, "sev2": 600, "sev3": 1800, "sev4": 3600}
        first = {
            "level": 1, "name": "On call", "expected_outcome": "Acknowledge, open the room, find out how bad it is.",
            **seconds,
        }  # fmt: skip
        return {"repeats": 1, "catch_all_every_minutes": 15}, [first]
    head = {
        "name": policy.name, "description": policy.description, "team": policy.team_id, "repeats": policy.repeats,
        "catch_all": policy.catch_all_id, "catch_all_every_minutes": policy.catch_all_every_minutes,
    }  # fmt: skip
    return head, [_tier_initial(tier) for tier in policy.tiers.all()]


def _tier_initial(tier: Tier) -> dict[str, Any]:
    return {
        "level": tier.level, "name": tier.name, "criteria": tier.criteria, "expected_outcome": tier.expected_outcome,
        "expertise": tier.expertise, "sev1": tier.ack_seconds_sev1, "sev2": tier.ack_seconds_sev2,
        "sev3": tier.ack_seconds_sev3, "sev4": tier.ack_seconds_sev4,
        "targets": [
            f"{target.kind}:{target.role or target.schedule_id or target.user_id or target.team_id or ''}"
            for target in tier.targets.all()
        ],
    }  # fmt: skip


def data_of(head: dict[str, Any], tiers: list[dict[str, Any]]) -> PolicyData:
    """From the cleaned forms to what `save_policy` takes."""
    return PolicyData(
        name=head["name"], description=head["description"], team_id=head["team"].pk if head["team"] else None,
        repeats=head["repeats"], catch_all_id=head["catch_all"].pk if head["catch_all"] else None,
        catch_all_every_minutes=head["catch_all_every_minutes"],
        tiers=[
            TierData(
                level=tier["level"], name=tier["name"], criteria=tier["criteria"], expertise=tier["expertise"],
                expected_outcome=tier["expected_outcome"],
                ack_seconds={number: tier[f"sev{number}"] for number in (1, 2, 3, 4)},
                targets=[_target(value) for value in tier["targets"]],
            )
            for tier in tiers
        ],
    )  # fmt: skip


def _target(value: str) -> TargetData:
    kind, _, rest = value.partition(":")
    if kind == TargetKind.ROLE:
        return TargetData(kind=kind, role=rest)
    return TargetData(kind=kind, id=int(rest) if rest else None)
