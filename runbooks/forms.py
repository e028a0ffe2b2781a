"""What people type into the pages of runbooks."""

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.db.models.functions import Lower

from accounts.models import Team
from catalog.models import Service
from runbooks import rules
from runbooks.models import OutageClass, Runbook, Version, VersionStatus
from runbooks.transitions import RunbookData

PATTERN = """Who it is for, and how you know that it is this.

## Triage in one minute

- What do customers see?
- What changed last?

## Steps

### Say what you do first (5 min)

Commands and queries, word for word.

### Then the next thing (10 min)

How one sees that it worked.

## Rollback

How to go back.
"""


class RunbookForm(forms.Form):
    title = forms.CharField(max_length=160, label="Title", help_text="As somebody will look for it at night.")
    summary = forms.CharField(
        max_length=300, required=False, label="When it is the right one",
        help_text="One sentence. The list shows it.",
    )  # fmt: skip
    outage_class = forms.ChoiceField(choices=OutageClass, initial=OutageClass.OTHER, label="Kind of outage")
    team = forms.ModelChoiceField(
        queryset=Team.objects.order_by("name"), required=False, to_field_name="slug", empty_label="No team",
        label="Owning team",
    )  # fmt: skip
    services = forms.CharField(
        required=False, max_length=4000, label="Services", help_text="Names, parted by commas. Their incidents offer it.",
    )  # fmt: skip
    tags = forms.CharField(required=False, max_length=900, label="Tags", help_text="Parted by commas.")
    text = forms.CharField(
        max_length=rules.LONGEST, label="What to do", strip=False, initial=PATTERN,
        widget=forms.Textarea(attrs={"rows": 28, "class": "mono", "spellcheck": "true"}),
        help_text='Markdown. "## Steps" begins the steps, "### Title (5 min)" each of them.',
    )  # fmt: skip
    why = forms.CharField(
        max_length=300, required=False, label="What changed, and why",
        help_text="Whoever publishes it reads this.",
    )  # fmt: skip
    read_at = forms.DateTimeField(required=False, widget=forms.HiddenInput)

    def clean_tags(self) -> list[str]:
        return [tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()]

    def clean_services(self) -> list[Service]:
        names = {
            name.strip().lower(): name.strip()
            for name in self.cleaned_data["services"].split(",")
            if name.strip()
        }
        found: dict[str, Service] = {}
        if names:
            named = Service.objects.annotate(key=Lower("name")).filter(Q(key__in=names) | Q(slug__in=names))
            for service in named:
                for key in (service.name.lower(), service.slug):
                    if key in names:
                        found[key] = service
        unknown = [name for key, name in names.items() if key not in found]
        if unknown:
            raise ValidationError(f"No service is called {unknown[0]}.")
        return list({service.pk: service for service in found.values()}.values())

    def data_of(self) -> RunbookData:
        given = self.cleaned_data
        return RunbookData(
            title=given["title"], text=given["text"], summary=given["summary"], outage_class=given["outage_class"],
            team=given["team"], services=given["services"], tags=given["tags"], why=given["why"],
        )  # fmt: skip


def initial_of(runbook: Runbook, latest: Version) -> dict[str, object]:
    return {
        "title": runbook.title,
        "summary": runbook.summary,
        "outage_class": runbook.outage_class,
        "team": runbook.team.slug if runbook.team else "",
        "services": ", ".join(service.name for service in runbook.services.all()),
        "tags": ", ".join(runbook.tags),
        "text": latest.text,
        "why": latest.why if latest.status == VersionStatus.DRAFT else "",
        "read_at": runbook.saved_at.isoformat(),
    }
