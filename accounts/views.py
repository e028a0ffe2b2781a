"""A person's own page, and the pages of people and teams."""

from django import forms
from django.contrib import messages
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import queries, transitions
from accounts.forms import LIFETIMES, ProfileForm, RoleForm, TokenForm
from accounts.models import Role, Team, User
from accounts.permissions import at_least, role_required
from core.errors import Invalid, MusterError

PER_PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("viewer")
def profile(request: HttpRequest) -> HttpResponse:
    user = request.user
    if request.method != "POST":
        return _profile(request)
    form = ProfileForm(request.POST)
    if form.is_valid():
        try:
            transitions.update_profile(user=user, **form.cleaned_data)
        except Invalid as refusal:
            _show(refusal, form)
        else:
            messages.success(request, "Saved.")
            return redirect("accounts:profile")
    return _profile(request, profile_form=form, status=422)


def _profile(
    request: HttpRequest,
    *,
    profile_form: forms.Form | None = None,
    token_form: forms.Form | None = None,
    new_token: str = "",
    status: int = 200,
) -> HttpResponse:
    user = request.user
    initial = {"full_name": user.full_name, "time_zone": user.time_zone}
    return render(
        request,
        "accounts/profile.html",
        {
            "profile_form": profile_form or ProfileForm(initial=initial),
            "token_form": token_form or TokenForm(),
            "tokens": queries.tokens_of(user)[:100],
            "new_token": new_token,
            "now": timezone.now(),
            "teams": user.teams.all(),
            "notification_methods": _address("notifications:methods", "notifications:profile"),
        },
        status=status,
    )


def _address(*names: str) -> str | None:
    for name in names:
        try:
            return reverse(name)
        except NoReverseMatch:
            continue
    return None


@require_POST
@role_required("viewer")
def theme(request: HttpRequest) -> HttpResponse:
    try:
        transitions.set_theme(user=request.user, theme=request.POST.get("theme", ""))
    except Invalid as refusal:
        return HttpResponse(refusal.message, status=refusal.status, content_type="text/plain; charset=utf-8")
    if request.headers.get("HX-Request") == "true":
        return HttpResponse(status=204)
    back = request.headers.get("Referer", "")
    here = url_has_allowed_host_and_scheme(
        back, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return redirect(back if here else "accounts:profile")


@require_POST
@never_cache
@role_required("viewer")
def token_create(request: HttpRequest) -> HttpResponse:
    """Answers with the page itself, not a redirect: the token is in this answer and nowhere else."""
    now = timezone.now()
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _profile(request, token_form=form, status=422)
    lifetime = LIFETIMES[form.cleaned_data["lifetime"]][1]
    try:
        _, secret = transitions.create_token(
            user=request.user,
            name=form.cleaned_data["name"],
            scope=form.cleaned_data["scope"],
            expires_at=now + lifetime if lifetime else None,
            now=now,
        )
    except MusterError as refusal:
        _show(refusal, form)
        return _profile(request, token_form=form, status=refusal.status)
    return _profile(request, new_token=secret)


@require_POST
@role_required("viewer")
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        token = transitions.revoke_token(token_id=pk, user=request.user, now=timezone.now())
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"{token} is revoked. What used it is refused from now on.")
    return redirect("accounts:profile")


@require_safe
@role_required("viewer")
def people(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").replace("\x00", "")[:100].strip()
    page = _page(queries.people(text), request)
    return render(request, "accounts/people.html", {"page": page, "q": text})


@require_safe
@role_required("viewer")
def person(request: HttpRequest, pk: int) -> HttpResponse:
    who = get_object_or_404(User.objects.prefetch_related("teams"), pk=pk)
    may_change_role = at_least(request.user, Role.ADMIN)
    return render(
        request,
        "accounts/person.html",
        {
            "person": who,
            "services": [*who.primary_for.all()[:50], *who.secondary_for.all()[:50]],
            "role_form": RoleForm(initial={"role": who.role}),
            "may_change_role": may_change_role,
            "audit": queries.audit_of(who) if may_change_role else [],
        },
    )


@require_POST
@role_required("admin")
def role(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        who = transitions.set_role(
            user_id=pk, role=request.POST.get("role", ""), by=request.user, now=timezone.now()
        )
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"{who} is {who.get_role_display().lower()} now.")
    return redirect("accounts:person", pk=pk)


@require_safe
@role_required("viewer")
def teams(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/teams.html", {"page": _page(queries.teams(), request)})


@require_safe
@role_required("viewer")
def team(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Team, slug=slug)
    members = found.memberships.select_related("user").filter(user__is_active=True)
    return render(request, "accounts/team.html", {"team": found, "page": _page(members, request)})


def _page(rows: QuerySet, request: HttpRequest) -> Page:
    return Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))


def _show(refusal: MusterError, form: forms.Form) -> None:
    """Put the refusal's sentences beside the fields that they are about."""
    for name, sentences in refusal.fields.items():
        for sentence in sentences:
            form.add_error(name if name in form.fields else None, sentence)
    if not refusal.fields:
        form.add_error(None, refusal.message)
