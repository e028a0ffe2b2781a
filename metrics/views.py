"""The metrics page, its table as a file, and the figures of one incident."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.permissions import role_required
from catalog.models import Service
from incidents.models import Severity
from incidents.queries import incident as find_incident
from metrics import presenters, queries, rules
from metrics.rules import Measure, Population

DEFAULT_DAYS = 90


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the address asks for. What it cannot be read as becomes the default."""

    days: int
    population: Population
    severity: int | None
    service: Service | None
    until: date  # the day after the last one, in the viewer's zone

    @classmethod
    def read(cls, query: QueryDict, *, services: dict[str, Service], now: datetime) -> "Asked":
        days = query.get("days", "")
        severity = query.get("severity", "").upper().removeprefix("SEV")
        drills = query.get("population") == Population.DRILL
        return cls(
            days=int(days) if days in {str(window) for window in rules.WINDOWS} else DEFAULT_DAYS,
            population=Population.DRILL if drills else Population.PRODUCTION,
            severity=int(severity) if severity in {str(value) for value in Severity.values} else None,
            service=services.get(query.get("service", "")),
            until=timezone.localtime(now).date() + timedelta(days=1),
        )

    @property
    def starts(self) -> list[date]:
        return rules.span_starts(days=self.days, until=self.until)

    @property
    def edges(self) -> list[datetime]:
        return [datetime.combine(day, time.min, timezone.get_current_timezone()) for day in self.starts]

    @property
    def choice(self) -> queries.Choice:
        edges = self.edges
        return queries.Choice(
            population=self.population,
            since=edges[0],
            until=edges[-1],
            severity=self.severity,
            service_id=self.service.pk if self.service else None,
        )

    def query(self, **other: object) -> str:
        """The address that asks for the same, but for what is named."""
        asked = {
            "days": self.days,
            "population": self.population if self.population == Population.DRILL else "",
            "severity": self.severity or "",
            "service": self.service.slug if self.service else "",
        } | other
        return urlencode({name: value for name, value in asked.items() if value})


def _services() -> dict[str, Service]:
    return {service.slug: service for service in Service.objects.order_by("name")}


def _incidents_url(asked: Asked, **other: object) -> str:
    """The same incidents in the list."""
    wanted = {
        "status": "all",
        "kind": asked.population,
        "severity": asked.severity or "",
        "service": asked.service.slug if asked.service else "",
    } | other
    return (
        f"{reverse('incidents:list')}?{urlencode({name: value for name, value in wanted.items() if value})}"
    )


@require_safe
@never_cache
@role_required("viewer")
def overview(request: HttpRequest) -> HttpResponse:
    """How fast we answer, contain and repair. Everything that is chosen stands in the address."""
    now = timezone.now()
    services = _services()
    asked = Asked.read(request.GET, services=services, now=now)
    found = queries.overview(choice=asked.choice, edges=asked.edges)
    panels = presenters.panels(found, starts=asked.starts)
    lateness = queries.lateness(since=now - queries.LATENESS_SPAN)
    by_id = {service.pk: service for service in services.values()}
    by_service = dict(
        sorted(found.by_service.items(), key=lambda item: (-item[1].incidents, by_id[item[0]].name))
    )
    context = {
        "asked": asked,
        "overview": found,
        "headline": rules.headline(
            found.now.incidents,
            found.now.spreads,
            {measure: panel.change for measure, panel in zip(Measure, panels, strict=True)},
        ),
        "subline": presenters.subline(
            found, days=asked.days, last=asked.until - timedelta(days=1), population=asked.population
        ),
        "windows": [(days, f"?{asked.query(days=days)}") for days in rules.WINDOWS],
        "populations": [
            ("Real", Population.PRODUCTION, f"?{asked.query(population='')}"),
            ("Drills", Population.DRILL, f"?{asked.query(population=Population.DRILL)}"),
        ],
        "severities": Severity.choices,
        "services": services.values(),
        "panels": panels,
        "measures": [rules.NAMES[measure] for measure in Measure],
        "by_severity": presenters.lines(
            found.by_severity,
            names=dict(Severity.choices),
            urls={value: _incidents_url(asked, severity=value) for value in found.by_severity},
            are_severities=True,
        ),
        "by_service": presenters.lines(
            by_service,
            names={pk: by_id[pk].name for pk in by_service},
            urls={pk: _incidents_url(asked, service=by_id[pk].slug) for pk in by_service},
            are_severities=False,
        ),
        "outside": presenters.outside(found.now),
        "lateness": lateness,
        "lateness_words": rules.lateness_words(lateness),
        "enough": rules.ENOUGH,
        "incidents_url": _incidents_url(asked),
        "csv_url": f"{reverse('metrics:csv')}?{asked.query()}",
    }
    return render(request, "metrics/overview.html", context)


class _Echo:
    def write(self, value: str) -> str:
        return value


# A spreadsheet would run what begins like a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def csv_lines(choice: queries.Choice) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(
        ["incident", "title", "service", "severity", "began", "seconds_to_acknowledge", "seconds_to_contain",
         "seconds_to_repair", "not_acknowledged_because"]
    )  # fmt: skip
    for row in queries.rows(choice=choice):
        yield writer.writerow(
            [
                f"INC-{row.incident_id}", _plain(row.title), _plain(row.service), f"SEV{row.severity}",
                row.triggered_at.isoformat(timespec="seconds"), _seconds(row.acknowledge), _seconds(row.contain),
                _seconds(row.repair), row.unanswered,
            ]
        )  # fmt: skip


@require_safe
@never_cache
@role_required("viewer")
def as_csv(request: HttpRequest) -> StreamingHttpResponse:
    """Every incident of the window with its figures."""
    asked = Asked.read(request.GET, services=_services(), now=timezone.now())
    name = f"muster-{asked.population}-{asked.days}-days-to-{asked.until - timedelta(days=1)}.csv"
    return StreamingHttpResponse(
        csv_lines(asked.choice),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@require_safe
@never_cache
@role_required("viewer")
def incident(request: HttpRequest, incident_id: int) -> HttpResponse:
    """A fragment for the room: how fast this one was answered, contained and repaired."""
    found = find_incident(incident_id)
    if found is None:
        raise Http404(f"INC-{incident_id} does not exist")
    return render(
        request, "metrics/_incident.html", {"incident": found, "figures": queries.of_incident(incident=found)}
    )
