"""The search over all timelines, the transcript to keep and to print, and the correction of phases."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.permissions import role_required
from catalog.models import Service
from core.errors import Invalid, MusterError, Refused
from incidents import presenters, transitions
from incidents import queries as incidents
from incidents.models import Incident, Phase, Severity
from incidents.reading import export, queries
from incidents.reading import phases as correcting
from incidents.reading.queries import Transcript
from incidents.reading.rules import begun
from incidents.refs import number_in
from incidents.web import answered, is_fragment, load, room, sentence

PAGE = 50
TITLES = 5
IN_THE_ROOM = 100
"""So many of the last entries are surely on the room's first view."""


# --- search ---------------------------------------------------------------------------------------------------------


@require_safe
@never_cache
@role_required("viewer")
def search(request: HttpRequest) -> HttpResponse:
    """Words in all timelines; every filter stands in the address."""
    asked = {name: value.replace("\x00", "").strip()[:200] for name, value in request.GET.items()}
    text = asked.get("q", "")
    services = {service.slug: service for service in Service.objects.order_by("name")}
    service = services.get(asked.get("service", ""))
    severity = int(asked["severity"]) if asked.get("severity") in {str(n) for n in Severity.values} else None
    show = asked.get("show", "") if asked.get("show") in presenters.KINDS_OF_GROUP else ""
    one = _incident(asked.get("incident", ""))
    before = int(asked["before"]) if _is_number(asked.get("before", ""), digits=18) else None
    rows = []
    if text:
        rows = queries.search(
            text,
            incident_id=one.pk if one else None,
            kinds=presenters.KINDS_OF_GROUP.get(show, ()),
            severity=severity,
            service_id=service.pk if service else None,
            before=before,
            limit=PAGE + 1,
        )
    more, rows = len(rows) > PAGE, rows[:PAGE]
    chosen = {
        "q": text,
        "incident": one.ref if one else "",
        "severity": str(severity or ""),
        "service": service.slug if service else "",
        "show": show,
    }
    titles = []
    if text and before is None and one is None:
        wanted = incidents.IncidentFilter(
            text=text,
            severities=(severity,) if severity else (),
            service_ids=(service.pk,) if service else (),
        )
        titles = list(incidents.incident_list(wanted)[:TITLES])
    context = {
        "q": text,
        "one": one,
        "chosen": chosen,
        "filtered": any(chosen[name] for name in ("incident", "severity", "service", "show")),
        "severities": Severity.choices,
        "services": services.values(),
        "groups": presenters.GROUPS[1:],
        "titles": titles,
        "hits": [_hit(found) for found in rows],
        "older_url": _address(chosen, before=str(rows[-1].entry.pk)) if more else None,
        "first_url": _address(chosen) if before is not None else None,
        "everywhere_url": _address({**chosen, "incident": ""}),
        "clear_url": _address({"q": text}),
    }
    return render(request, "incidents/search.html", context)


def _hit(found: queries.Found) -> dict[str, Any]:
    entry = found.entry
    look = presenters.LOOKS.get(entry.kind)
    return {
        "entry": entry,
        "incident": entry.incident,
        "icon": look.icon if look else "point",
        "html": found.html,
        "is_old": found.is_old,
        "url": _place_of(entry.incident, found.about),
    }


def _place_of(incident: Incident, seq: int) -> str:
    """The address at which an entry is read: in the room, or among the earlier ones."""
    if incident.last_seq - seq < IN_THE_ROOM:
        return f"{reverse('incidents:detail', args=[incident.pk])}#e-{seq}"
    return f"{reverse('incidents:earlier', args=[incident.pk])}?before={seq + 20}#e-{seq}"


def _is_number(text: str, *, digits: int) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= digits


def _incident(text: str) -> Incident | None:
    """INC-42 or 42; anything else searches everywhere."""
    number = number_in(text)
    return incidents.incident(number) if number is not None else None


def _address(chosen: dict[str, str], **more: str) -> str:
    query = urlencode({name: value for name, value in (chosen | more).items() if value})
    address = reverse("incidents:search")
    return f"{address}?{query}" if query else address


# --- the transcript -------------------------------------------------------------------------------------------------


def download(
    incident: Incident, ending: str, write: Callable[..., Iterator[str]], *, content_type: str
) -> StreamingHttpResponse:
    """The transcript as a file, in pieces."""
    transcript = queries.transcript(incident)
    response = StreamingHttpResponse(
        _in_chunks(write(transcript, now=timezone.now())), content_type=f"{content_type}; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="{incident.ref}.{ending}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _in_chunks(pieces: Iterator[str], size: int = 64 * 1024) -> Iterator[bytes]:
    waiting: list[str] = []
    length = 0
    for piece in pieces:
        waiting.append(piece)
        length += len(piece)
        if length >= size:
            yield "".join(waiting).encode()
            waiting, length = [], 0
    if waiting:
        yield "".join(waiting).encode()


@require_safe
@role_required("viewer")
@room
def export_md(request: HttpRequest, incident: Incident) -> HttpResponse:
    return download(incident, "md", export.as_markdown, content_type="text/markdown")


@require_safe
@role_required("viewer")
@room
def export_json(request: HttpRequest, incident: Incident) -> HttpResponse:
    return download(incident, "json", export.as_json, content_type="application/json")


@require_safe
@role_required("viewer")
@room
def to_print(request: HttpRequest, incident: Incident) -> HttpResponse:
    """The transcript as one page, for paper and for reading without script."""
    transcript: Transcript = queries.transcript(incident)
    context = {
        "incident": incident,
        "transcript": transcript,
        "now": timezone.now(),
        "zone": timezone.get_current_timezone_name(),
        "phases": [(Phase(stamp.phase).label, stamp.at) for stamp in transcript.stamps],
        "amended": {seq for seq, overlay in transcript.overlays.items() if overlay.text},
    }
    return render(request, "incidents/print.html", context)


# --- phases ---------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def phases(request: HttpRequest, incident: Incident) -> HttpResponse:
    """Where the incident stands and when each phase began. GET asks, POST acts."""
    template = "incidents/_phases_form.html" if is_fragment(request) else "incidents/phases.html"
    if request.method != "POST":
        return render(request, template, _phases_context(incident, {}))
    given = request.POST.dict()
    try:
        _correct(incident, given, request)
    except MusterError as error:
        if is_fragment(request):
            return sentence(error.message, status=error.status)
        context = {**_phases_context(load(incident.pk), given), "refused": error.message}
        return render(request, template, context, status=error.status)
    return answered(request, incident.pk, "The phases are corrected.")


def _phases_context(incident: Incident, given: dict[str, str]) -> dict[str, Any]:
    at = incidents.phase_stamps(incident.pk)
    return {
        "incident": incident,
        "phases": Phase.choices,
        "chosen": given.get("phase", incident.phase),
        "was": incident.phase,
        "zone": timezone.get_current_timezone_name(),
        "reason": given.get("reason", ""),
        "stamps": [
            {
                "phase": phase.value,
                "label": phase.label,
                "value": given.get(f"at_{phase}", _local(at.get(phase))),
                "seen": _seen(at.get(phase)),
            }
            for phase in Phase
            if begun(phase, now_in=incident.phase)
        ],
    }


def _local(at: datetime | None) -> str:
    """As a field of type datetime-local has it, in the viewer's zone."""
    return f"{timezone.localtime(at):%Y-%m-%dT%H:%M:%S}" if at else ""


def _seen(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}+00:00" if at else ""


def _time(text: str, name: str) -> datetime | None:
    """A field's time in the viewer's zone, or one that says its own. Raises Invalid."""
    if not text.strip():
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        if not 1970 <= at.year <= 9000:
            raise ValueError
        return at if at.tzinfo else timezone.make_aware(at)
    except (ValueError, OverflowError):
        raise Invalid(f"{name}: a date and a time.", fields={name: ["A date and a time."]}) from None


@transaction.atomic
def _correct(incident: Incident, given: dict[str, str], request: HttpRequest) -> None:
    """All of the form or nothing of it."""
    incident = transitions.lock_incident(incident.pk)
    now, by, reason = timezone.now(), request.user, given.get("reason", "")
    changed: dict[str, datetime] = {}
    seen: dict[str, datetime | None] = {}
    for phase in Phase.values:
        if f"at_{phase}" not in given:
            continue
        label = Phase(phase).label
        before = _time(given.get(f"seen_{phase}", ""), label)
        at = _time(given[f"at_{phase}"], label)
        if at is None and before is not None:
            raise Invalid(f"{label} has begun, so it keeps a time. Or set the incident back before it.")
        if at is not None and _local(at) != _local(before):
            changed[phase], seen[phase] = at, before
    wanted, was = given.get("phase", incident.phase), given.get("was", incident.phase)
    if wanted != was:
        if was != incident.phase:
            raise Refused(
                f"It stands in {Phase(incident.phase).label} by now. Look again before you change it.",
                code="changed_meanwhile",
            )
        if wanted in Phase.values and not begun(wanted, now_in=incident.phase):
            transitions.move_phase(incident_id=incident.pk, phase=wanted, by=by, now=now, reason=reason)
        else:
            correcting.set_back(incident_id=incident.pk, phase=wanted, reason=reason, by=by, now=now)
            changed = {phase: at for phase, at in changed.items() if begun(phase, now_in=wanted)}
    elif not changed:
        raise Invalid("Nothing is changed yet.")
    if changed:
        correcting.correct_phases(
            incident_id=incident.pk, stamps=changed, reason=reason, by=by, now=now, seen=seen
        )
