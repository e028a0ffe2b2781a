"""The channel's own pages and answers: a message or command, an entry with what can be done with it, files."""

import hashlib
import re
from collections.abc import Callable, Sequence

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.idempotency import Answer, KeyReused, once
from accounts.permissions import at_least, role_required
from core.errors import Invalid, MusterError
from incidents import presenters
from incidents.asks import Ask, Fact
from incidents.channel import commands, files, queries, rules, transitions
from incidents.channel.transitions import Upload
from incidents.models import Incident, TimelineEntry
from incidents.queries import timeline_after
from incidents.views import room_page
from incidents.web import answered, done, is_fragment, load, room, sentence, who_was_first

NEWS = 200
ANSWERS = 50
FILE_HEADERS = {
    "Cache-Control": "private, max-age=3600",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


# --- writing ----------------------------------------------------------------------------------------------------


@require_POST
@role_required("responder")
@room
def note(request: HttpRequest, incident: Incident) -> HttpResponse:
    """A message or a command of the composer.

    htmx gets every entry that its feed lacks, so that the own message never waits.
    """
    text, reply_to = request.POST.get("text", ""), _number(request.POST.get("reply_to", ""))
    try:
        found, uploads = commands.read(text), files.read(request.FILES.getlist("files"))
        if found is not None:
            command, rest = found
            if uploads:
                sentence_of_it = "A command takes no files. Send the files as a message first."
                raise Invalid(sentence_of_it, code="command_with_files", fields={"files": [sentence_of_it]})
            asks = "" if rest else command.question(incident)
            if asks and not is_fragment(request):
                return redirect(asks)  # the page that asks what is missing
        _once(request, incident, text=text, reply_to=reply_to, uploads=uploads)
    except MusterError as error:
        return _refused(request, incident, error, text=text, reply_to=reply_to)
    if not is_fragment(request):
        return redirect(f"{reverse('incidents:detail', args=[incident.pk])}#composer")
    after = _number(request.POST.get("after", ""))
    entries = timeline_after(incident.pk, incident.last_seq if after is None else after, limit=NEWS)
    answer = HttpResponse("".join(presenters.news_html(incident.pk, entries)))
    if found is not None:
        answer.headers["HX-Trigger"] = "incident:changed"
    return answer


def _once(
    request: HttpRequest, incident: Incident, *, text: str, reply_to: int | None, uploads: Sequence[Upload]
) -> None:
    """Do what was sent, once for each key of the form: sent again because the answer was lost, nothing happens."""
    now = timezone.now()

    def act() -> Answer:
        if not commands.run(incident=incident, text=text, by=request.user, now=now):
            transitions.say(
                incident_id=incident.pk, text=text, by=request.user, now=now, reply_to=reply_to, files=uploads
            )
        return Answer(200, {})

    key = request.POST.get("key", "")
    if not _KEY.fullmatch(key):
        act()
        return
    said = [
        f"{text}\n{reply_to}",
        *(f"{file.name} {hashlib.sha256(file.data).hexdigest()}" for file in uploads),
    ]
    fingerprint = hashlib.sha256("\n".join(said).encode("utf-8", "surrogatepass")).hexdigest()
    once(user=request.user, key=f"room:{incident.pk}:{key}", fingerprint=fingerprint, now=now, act=act)


_KEY = re.compile(r"[\w-]{8,64}", re.ASCII)


def _refused(
    request: HttpRequest, incident: Incident, error: MusterError, *, text: str, reply_to: int | None
) -> HttpResponse:
    """A sentence beside the form that keeps what was typed; without script the room again, with all of it in the form."""
    message = who_was_first(incident.pk, error) if error.code.startswith("already_") else error.message
    other = isinstance(error, KeyReused)
    if other:
        message = (
            "What you sent before has arrived; only its answer was lost. Press Send again to send this too."
        )
    if is_fragment(request):
        answer = sentence(message, status=error.status)
        if other:
            answer.headers["X-Muster-Arrived"] = "1"  # composer.js takes a new key
        return answer
    if request.FILES:
        message = f"{message} Choose the files again."
    return room_page(request, load(incident.pk), draft=text, refused=message, reply_to=reply_to, status=422)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else None


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("responder")
@room
def decide(request: HttpRequest, incident: Incident) -> HttpResponse:
    """GET asks, POST records the decision."""
    ask = Ask(
        verb="decide",
        title="Record a decision",
        button="Record",
        facts=[Fact("Happens", "it stands framed in the timeline, for everybody who comes later")],
        leave="Leave it",
        reason_label="What is decided",
        reason_required=True,
    )
    context = {"incident": incident, "ask": ask, "given": {}}
    if request.method != "POST":
        return render(request, _ask_template(request), context)
    text = request.POST.get("reason", "")
    try:
        transitions.decide(incident_id=incident.pk, text=text, by=request.user, now=timezone.now())
    except MusterError as error:
        if is_fragment(request):
            return sentence(error.message, status=error.status)
        context |= {"given": request.POST.dict(), "refused": error.message}
        return render(request, "incidents/ask.html", context, status=error.status)
    return answered(request, incident.pk, "The decision is recorded.")


def _ask_template(request: HttpRequest) -> str:
    return "incidents/_ask.html" if is_fragment(request) else "incidents/ask.html"


# --- help while typing ------------------------------------------------------------------------------------------


@require_safe
@role_required("responder")
@room
def command_list(request: HttpRequest, incident: Incident) -> HttpResponse:
    """The commands that make sense now, for the list over the composer."""
    return render(request, "incidents/_commands.html", commands.listed(incident))


@require_safe
@role_required("responder")
@room
def mention(request: HttpRequest, incident: Incident) -> HttpResponse:
    """People whose name begins like what stands after the @."""
    prefix = request.GET.get("q", "").replace("\x00", "")[:60]
    return render(request, "incidents/_mentions.html", {"people": queries.people_matching(prefix)})


# --- one entry --------------------------------------------------------------------------------------------------


def _with_entry(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Gives a view of the room the entry that the address names."""

    def loaded(request: HttpRequest, incident: Incident, seq: int) -> HttpResponse:
        entry = queries.entry(incident.pk, seq) if seq < 2**31 else None
        if entry is None:
            raise Http404(f"{incident.ref} has no entry {seq}")
        return view(request, incident, entry)

    return room(loaded)


@require_safe
@role_required("viewer")
@_with_entry
def entry(request: HttpRequest, incident: Incident, entry: TimelineEntry) -> HttpResponse:
    """One entry with all its versions, its answers, and what can be done with it: a dialog, or a page."""
    return _entry_page(request, incident, entry)


def _entry_page(
    request: HttpRequest, incident: Incident, entry: TimelineEntry, *, status: int = 200, **more: object
) -> HttpResponse:
    overlay = queries.overlay_of(entry)
    may_write = at_least(request.user, "responder")
    own = entry.actor_id == request.user.pk or at_least(request.user, "manager")
    markable = may_write and entry.kind not in queries.OVERLAYS
    context = {
        "incident": incident,
        "entry": entry,
        "words": queries.words_of(entry),
        "rev": overlay.rev if overlay else 0,
        "shown": presenters.entry_html(entry, loose=True),
        "versions": _versions(incident, entry) if overlay and overlay.amended_at else [],
        "answers": [
            presenters.entry_html(row, loose=True)
            for row in queries.answers(incident.pk, entry.seq, limit=ANSWERS)
        ],
        "may_answer": may_write,
        "may_amend": may_write and own and entry.kind in queries.AMENDABLE,
        "marks": _marks(overlay) if markable else [],
        **more,
    }
    name = "incidents/_entry_ask.html" if is_fragment(request) else "incidents/entry.html"
    return render(request, name, context, status=status)


def _marks(overlay: object) -> list[tuple[str, str, str, str]]:
    """(mark, on, icon, words) of each button."""
    return [
        ("pin", "", "pin", "Unpin") if getattr(overlay, "pinned_at", None)
        else ("pin", "1", "pin", "Pin above the feed"),
        ("star", "", "star", "Take the star away") if getattr(overlay, "starred_at", None)
        else ("star", "1", "star", "Star"),
    ]  # fmt: skip


def _versions(incident: Incident, entry: TimelineEntry) -> list[TimelineEntry]:
    """Every wording that the entry had before the present one, oldest first."""
    return [entry, *queries.versions(incident.pk, entry.seq)][:-1]


@require_POST
@role_required("responder")
@_with_entry
def amend(request: HttpRequest, incident: Incident, entry: TimelineEntry) -> HttpResponse:
    text = request.POST.get("text", "")
    try:
        transitions.amend(
            incident_id=incident.pk, seq=entry.seq, text=text, by=request.user, now=timezone.now(),
            rev=_number(request.POST.get("rev", "")),
        )  # fmt: skip
    except MusterError as error:
        if is_fragment(request):
            return sentence(error.message, status=error.status)
        return _entry_page(request, incident, entry, status=error.status, refused=error.message, typed=text)
    return _back(request, incident, "Amended. The first words stay in the timeline.")


@require_POST
@role_required("responder")
@_with_entry
def mark(request: HttpRequest, incident: Incident, entry: TimelineEntry) -> HttpResponse:
    """Pin or star, or take that back: `on` empty takes it back, `toggle` does the other thing."""
    name, on = request.POST.get("mark", ""), request.POST.get("on", "")
    overlay = queries.overlay_of(entry)
    if on == "toggle":
        on = "" if getattr(overlay, f"{transitions.MARKS.get(name, '')}_at", None) else "1"
    try:
        transitions.mark(
            incident_id=incident.pk, seq=entry.seq, mark=name, on=bool(on), by=request.user, now=timezone.now()
        )  # fmt: skip
    except MusterError as error:
        if is_fragment(request):
            return sentence(error.message, status=error.status)
        messages.error(request, error.message)
        return redirect("incidents:entry", incident.pk, entry.seq)
    return _back(request, incident, "It is pinned." if name == "pin" and on else "Done.")


def _back(request: HttpRequest, incident: Incident, words: str) -> HttpResponse:
    if is_fragment(request):
        return done()
    messages.success(request, words)
    return redirect("incidents:detail", incident.pk)


# --- files ------------------------------------------------------------------------------------------------------


@require_safe
@role_required("viewer")
def attachment(request: HttpRequest, incident_id: int, pk: int, name: str) -> HttpResponse:
    """The bytes of a file, in a cage: the browser takes the type as said and runs nothing of it."""
    found = queries.attachment(incident_id, pk) if pk < 2**63 else None
    if found is None:
        raise Http404("There is no such file")
    etag = f'"{found.blob_id}"'
    if etag in request.headers.get("If-None-Match", ""):
        answer: HttpResponse = HttpResponseNotModified()
    else:
        charset = "; charset=utf-8" if found.content_type == rules.TEXT else ""
        answer = HttpResponse(bytes(found.blob.data), content_type=f"{found.content_type}{charset}")
        shown = found.content_type in rules.IMAGES
        disposition = content_disposition_header(not shown, found.name)
        answer.headers["Content-Disposition"] = disposition or "inline"
    for header, value in FILE_HEADERS.items():
        answer.headers[header] = value
    answer.headers["ETag"] = etag
    return answer
