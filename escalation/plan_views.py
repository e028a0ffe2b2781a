"""Who would be paged when: the page plan of a service, and what is wrong with a policy."""

from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.permissions import role_required
from catalog.models import Service
from escalation import foresight, queries
from incidents.models import Severity


class PlanForm(forms.Form):
    service = forms.ModelChoiceField(
        queryset=Service.objects.order_by("name"),
        to_field_name="slug",
        empty_label="Choose a service",
        label="Service",
    )
    severity = forms.TypedChoiceField(choices=Severity.choices, coerce=int, initial=1, label="Severity")
    at = forms.DateTimeField(
        required=False, label="When", help_text="Your time. Empty: now.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )  # fmt: skip


@require_safe
@role_required("viewer")
def plan(request: HttpRequest) -> HttpResponse:
    """Service, severity and time stand in the address, so that a plan can be sent to somebody."""
    form = PlanForm(request.GET if request.GET.get("service") else None, initial=request.GET)
    context: dict[str, Any] = {"form": form, "now": timezone.now()}
    status = 200
    if form.is_bound:
        if form.is_valid():
            asked = form.cleaned_data
            context["plan"] = foresight.page_plan(
                service=asked["service"], severity=asked["severity"], at=asked["at"] or timezone.now()
            )
        else:
            status = 422
    return render(request, "escalation/plan.html", context, status=status)


@require_safe
@role_required("viewer")
def faults(request: HttpRequest, slug: str) -> HttpResponse:
    """What is wrong with a policy in the coming week; its page loads it."""
    policy = queries.policy_in_full(slug)
    if policy is None:
        raise Http404("There is no such policy")
    found = foresight.faults_of_policy(policy, start=timezone.now())
    return render(request, "escalation/_faults.html", {"policy": policy, "faults": found})
