"""What would fail tonight, and the waivers."""

from datetime import timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.fields import suggestions
from accounts.permissions import at_least, role_required
from core.errors import MusterError
from readiness import queries, rules, transitions
from readiness.forms import WaiverForm

PER_PAGE = 100


@require_safe
@role_required("viewer")
def tonight(request: HttpRequest) -> HttpResponse:
    return _page(request)


def _page(request: HttpRequest, *, form: WaiverForm | None = None, status: int = 200) -> HttpResponse:
    report = queries.newest_report()
    topic = request.GET.get("topic", "")
    findings = report.findings if report else []
    shown = [each for each in findings if not topic or each["topic"] == topic]
    page = Paginator(shown, PER_PAGE).get_page(request.GET.get("page"))
    may_waive = at_least(request.user, "manager")
    context = {
        "report": report, "page": page, "groups": rules.grouped(page.object_list), "topic": topic,
        "topics": [(each.value, rules.TITLES[each]) for each in rules.Topic],
        "soon": len(findings) - report.bad if report else 0,
        "waivers": list(queries.waivers()[:PER_PAGE]), "may_waive": may_waive, "form": form or WaiverForm(),
        "people": suggestions() if may_waive else [], "now": timezone.now(),
        "may_look": at_least(request.user, "responder"),
    }  # fmt: skip
    return render(request, "readiness/tonight.html", context, status=status)


@require_POST
@role_required("responder")
def look_now(request: HttpRequest) -> HttpResponse:
    transitions.take_a_look(now=timezone.now(), by=request.user)
    return redirect("readiness:tonight")


@require_POST
@role_required("manager")
def waive(request: HttpRequest) -> HttpResponse:
    form = WaiverForm(request.POST)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    now = timezone.now()
    given = form.cleaned_data
    try:
        waiver = transitions.give_waiver(
            user=given["user"], reason=given["reason"], until=now + timedelta(days=given["days"]), by=request.user,
            now=now,
        )  # fmt: skip
    except MusterError as refusal:
        for name, sentences in (refusal.fields or {"": [refusal.message]}).items():
            form.add_error(name if name in form.fields else None, sentences[0])
        return _page(request, form=form, status=refusal.status)
    messages.success(request, f"{waiver.user} may be on call until {waiver.until:%d %b}")
    return redirect("readiness:tonight")


@require_POST
@role_required("manager")
def end_waiver(request: HttpRequest, waiver_id: int) -> HttpResponse:
    try:
        waiver = transitions.end_waiver(waiver_id=waiver_id, by=request.user, now=timezone.now())
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"The waiver of {waiver.user} is over")
    return redirect("readiness:tonight")
