"""The figures of the metrics page as JSON."""

from datetime import datetime, time, timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.models import Service
from core.api import StrictSerializer, read_query
from core.errors import Invalid
from incidents.models import Severity
from metrics import queries, rules
from metrics.rules import Measure, Population, Unanswered


class MetricsQuery(StrictSerializer):
    days = serializers.ChoiceField(choices=list(rules.WINDOWS), default=90, help_text="Length of the window.")
    population = serializers.ChoiceField(
        choices=[each.value for each in Population], default=Population.PRODUCTION.value
    )
    severity = serializers.ChoiceField(choices=[f"SEV{value}" for value in Severity.values], required=False)
    service = serializers.SlugField(required=False, help_text="Slug of a service.")


class SpreadOut(serializers.Serializer):
    count = serializers.IntegerField(help_text="Incidents that have this figure.")
    median_seconds = serializers.FloatField(source="median", allow_null=True)
    p90_seconds = serializers.FloatField(source="p90", allow_null=True)


class UnansweredOut(serializers.Serializer):
    ended_itself = serializers.IntegerField(help_text="Resolved by their sender before anybody acknowledged.")
    ended_by_hand = serializers.IntegerField(help_text="Resolved by a person without an acknowledgement.")
    open = serializers.IntegerField(help_text="Not acknowledged so far.")


class CutOut(serializers.Serializer):
    incidents = serializers.IntegerField()
    acknowledge = SpreadOut()
    contain = SpreadOut()
    repair = SpreadOut()
    not_acknowledged = UnansweredOut()


class BySeverityOut(CutOut):
    severity = serializers.CharField()


class ByServiceOut(CutOut):
    service = serializers.CharField(help_text="Slug.")


class BucketOut(CutOut):
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()


class MetricsOut(serializers.Serializer):
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    population = serializers.CharField()
    finding = serializers.CharField(help_text="In words, by rule from these numbers.")
    now = CutOut()
    before = CutOut(help_text="The window of the same length just before.")
    by_severity = BySeverityOut(many=True)
    by_service = ByServiceOut(many=True)
    buckets = BucketOut(many=True)


def _cut(cut: queries.Cut) -> dict[str, Any]:
    return {
        "incidents": cut.incidents,
        **{str(measure): cut.spreads[measure] for measure in Measure},
        "not_acknowledged": {str(reason): cut.unanswered[reason] for reason in Unanswered},
    }


class Metrics(APIView):
    """Time to acknowledge, to containment and to repair, computed from the timelines."""

    @extend_schema(parameters=[MetricsQuery], responses=MetricsOut, operation_id="metrics")
    def get(self, request: Request) -> Response:
        asked = read_query(request, MetricsQuery)
        services = dict(Service.objects.values_list("slug", "pk"))
        service = asked.get("service")
        if service is not None and service not in services:
            raise Invalid("No such service.", fields={"service": ["No such service."]})
        until = timezone.localtime().date() + timedelta(days=1)
        edges = [
            datetime.combine(day, time.min, timezone.get_current_timezone())
            for day in rules.span_starts(days=asked["days"], until=until)
        ]
        choice = queries.Choice(
            population=Population(asked["population"]),
            since=edges[0],
            until=edges[-1],
            severity=int(asked["severity"].removeprefix("SEV")) if "severity" in asked else None,
            service_id=services[service] if service else None,
        )
        found = queries.overview(choice=choice, edges=edges)
        changes = {
            measure: rules.change(found.now.spreads[measure], found.before.spreads[measure])
            for measure in Measure
        }
        slugs = {pk: slug for slug, pk in services.items()}
        told = {
            "since": choice.since,
            "until": choice.until,
            "population": str(choice.population),
            "finding": rules.headline(found.now.incidents, found.now.spreads, changes),
            "now": _cut(found.now),
            "before": _cut(found.before),
            "by_severity": [
                {"severity": f"SEV{value}", **_cut(cut)} for value, cut in found.by_severity.items()
            ],
            "by_service": [{"service": slugs[pk], **_cut(cut)} for pk, cut in found.by_service.items()],
            "buckets": [
                {"since": edges[at], "until": edges[at + 1], **_cut(cut)}
                for at, cut in enumerate(found.buckets)
            ],
        }
        return Response(MetricsOut(told).data)
