"""What people type about services. These read it and show it again; what is right the transitions decide."""

from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts.fields import PersonField
from accounts.models import Team
from catalog.models import Criticality, Service
from catalog.transitions import (
    LONGEST_GROUPING,
    LONGEST_TIMEOUT,
    MOST_LINKS,
    MOST_SLOS,
    ServiceData,
    SloData,
)


class ServiceForm(forms.Form):
    name = forms.CharField(max_length=80, label="Name")
    description = forms.CharField(max_length=500, required=False, label="What it does")
    criticality = forms.TypedChoiceField(
        choices=[(value, f"{value}, {label.lower()}") for value, label in Criticality.choices],
        coerce=int, initial=Criticality.MEDIUM, label="Criticality",
        help_text="Together with an alert's severity it makes the incident's.",
    )  # fmt: skip
    team = forms.ModelChoiceField(
        queryset=Team.objects.order_by("name"), required=False, to_field_name="slug", empty_label="No team",
        label="Owning team",
    )  # fmt: skip
    primary_responder = PersonField(required=False, label="Primary responder")
    secondary_responder = PersonField(required=False, label="Secondary responder")
    tags = forms.CharField(required=False, max_length=900, label="Tags", help_text="Parted by commas.")
    grouping_minutes = forms.IntegerField(
        required=False, min_value=0, max_value=LONGEST_GROUPING, initial=0, label="Group alerts for, in minutes",
        help_text="An alert within this time of the last one joins the open incident. 0: each opens its own.",
    )  # fmt: skip
    acknowledge_timeout_minutes = forms.IntegerField(
        required=False, min_value=0, max_value=LONGEST_TIMEOUT, initial=0, label="Page again after, in minutes",
        help_text="Counts from the acknowledgement. 0: never.",
    )  # fmt: skip
    activity_extends_acknowledgement = forms.TypedChoiceField(
        coerce=lambda value: value == "yes", empty_value=True, required=False, initial="yes",
        choices=[("yes", "Starts that time anew"), ("no", "Changes nothing")], label="What people do in the room",
        help_text="Messages, updates, decisions, tasks, roles. Bots and alerts never do.",
    )  # fmt: skip

    def clean_tags(self) -> list[str]:
        return [tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()]


class LinkForm(forms.Form):
    text = forms.CharField(max_length=80, required=False, label="What")
    href = forms.CharField(max_length=500, required=False, label="Address")

    @property
    def is_empty(self) -> bool:
        return not (self.cleaned_data.get("text") or self.cleaned_data.get("href"))


class SloForm(forms.Form):
    name = forms.CharField(max_length=120, required=False, label="What is promised")
    target_percent = forms.DecimalField(
        max_digits=6, decimal_places=3, required=False, label="Target, in %", max_value=100
    )
    window_days = forms.IntegerField(
        min_value=1, max_value=366, required=False, initial=30, label="Over, in days"
    )
    indicator = forms.CharField(max_length=300, required=False, label="What is measured")

    @property
    def is_empty(self) -> bool:
        return not (self.cleaned_data.get("name") or self.cleaned_data.get("target_percent"))

    def wanted(self) -> SloData:
        data = self.cleaned_data
        return SloData(
            name=data["name"],
            target_percent=data["target_percent"] or Decimal(0),
            window_days=data["window_days"] or 30,
            indicator=data["indicator"],
        )


LinkForms = forms.formset_factory(LinkForm, extra=2, max_num=MOST_LINKS, absolute_max=MOST_LINKS + 2)
SloForms = forms.formset_factory(SloForm, extra=1, max_num=MOST_SLOS, absolute_max=MOST_SLOS + 1)


def initial_of(service: Service) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """The service, its links and its objectives, as the forms show them."""
    head = {
        "name": service.name,
        "description": service.description,
        "criticality": service.criticality,
        "team": service.team.slug if service.team else "",
        "primary_responder": service.primary_responder,
        "secondary_responder": service.secondary_responder,
        "tags": ", ".join(service.tags),
        "grouping_minutes": service.grouping_minutes,
        "acknowledge_timeout_minutes": service.acknowledge_timeout_minutes,
        "activity_extends_acknowledgement": "yes" if service.activity_extends_acknowledgement else "no",
    }
    slos = [
        {
            "name": slo.name,
            "target_percent": f"{slo.target_percent.normalize():f}",
            "window_days": slo.window_days,
            "indicator": slo.indicator,
        }
        for slo in service.slos.order_by("name")
    ]
    return head, [dict(link) for link in service.links], slos


def wanted(form: ServiceForm, links: list[LinkForm], slos: list[SloForm]) -> ServiceData:
    data = form.cleaned_data
    return ServiceData(
        **data
        | {
            "grouping_minutes": data["grouping_minutes"] or 0,
            "acknowledge_timeout_minutes": data["acknowledge_timeout_minutes"] or 0,
        },
        links=[{"text": item.cleaned_data["text"], "href": item.cleaned_data["href"]} for item in links],
        slos=[item.wanted() for item in slos],
    )


class DependencyForm(forms.Form):
    service = forms.CharField(max_length=80, label="Needs")
    note = forms.CharField(max_length=200, required=False, label="What for")

    def clean_service(self) -> Service:
        """By name or by the last part of its address."""
        text = self.cleaned_data["service"].strip()
        found = Service.objects.filter(name__iexact=text).first() or Service.objects.filter(slug=text).first()
        if found is None:
            raise ValidationError(f"There is no service called {text}.")
        return found
