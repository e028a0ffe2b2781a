"""A person's own page, and the pages of people and teams."""

from allauth.account import views as allauth_views
from allauth.account.forms import ResetPasswordForm
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
from accounts.forms import LIFETIMES, PersonForm, ProfileForm, RoleForm, TokenForm
from accounts.models import Role, Team, User
from accounts.permissions import at_least, role_required
from core.errors import Invalid, MusterError
from core.forms import show_refusal

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
            show_refusal(refusal, form)
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


@role_required("viewer")
def email(request: HttpRequest) -> HttpResponse:
    """allauth's page to change the address. It must know the present one, or it would drop it at once for the new."""
    wanted = request.POST.get("email", "").strip()
    if "action_add" in request.POST and queries.is_address_of_another(request.user, wanted):
        # Colleagues see each other's addresses, so there is nothing to hide.
        messages.error(request, f"Somebody has the address {wanted[:254]} already.")
        return redirect("account_email")
    transitions.vouch_for_address(user=request.user)
    return allauth_views.email(request)


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
        show_refusal(refusal, form)
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
    chosen = {name: _typed(request, name) for name in ("q", "role", "team", "state")}
    found = queries.people(
        chosen["q"], role=chosen["role"], team=chosen["team"], active=chosen["state"] != "inactive"
    )
    context = {
        "page": _page(found, request),
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "roles": Role.choices,
        "teams": Team.objects.order_by("name"),
        "may_add": at_least(request.user, Role.ADMIN),
        "now": timezone.now(),
    }
    return render(request, "accounts/people.html", context)


def _typed(request: HttpRequest, name: str) -> str:
    """A word of the address, as somebody may have typed it."""
    return request.GET.get(name, "").replace("\x00", "")[:100].strip()


@require_http_methods(["GET", "HEAD", "POST"])
@role_required("admin")
def person_add(request: HttpRequest) -> HttpResponse:
    form = PersonForm(request.POST if request.method == "POST" else None)
    if request.method != "POST":
        return render(request, "accounts/person_add.html", {"form": form})
    if form.is_valid():
        try:
            who = transitions.add_person(by=request.user, now=timezone.now(), **form.cleaned_data)
        except Invalid as refusal:
            show_refusal(refusal, form)
        else:
            _invite(request, who)
            return redirect("accounts:person", pk=who.pk)
    return render(request, "accounts/person_add.html", {"form": form}, status=422)


def _invite(request: HttpRequest, who: User) -> None:
    """Mail a link with which the person sets a password. The person is there even when the mail cannot be sent."""
    form = ResetPasswordForm({"email": who.email})
    try:
        if form.is_valid():
            form.save(request)
    except OSError:  # SMTP, sockets and files
        messages.warning(
            request,
            f"{who} is added, but the mail was not sent. They can use “Forgot the password” to come in.",
        )
    else:
        messages.success(request, f"{who} is added. A link to set a password is on its way to {who.email}.")


@require_POST
@role_required("admin")
def active(request: HttpRequest, pk: int) -> HttpResponse:
    wanted = request.POST.get("active") == "true"
    try:
        who = transitions.set_active(user_id=pk, active=wanted, by=request.user, now=timezone.now())
    except MusterError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"{who} is {'active again' if who.is_active else 'inactive now'}.")
    return redirect("accounts:person", pk=pk)


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
            "now": timezone.now(),
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
    text = _typed(request, "q")
    return render(request, "accounts/teams.html", {"page": _page(queries.teams(text), request), "q": text})


@require_safe
@role_required("viewer")
def team(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Team, slug=slug)
    members = queries.active_members().filter(team=found).order_by("-is_lead", "user__full_name")
    context = {"team": found, "page": _page(members, request), "now": timezone.now()}
    return render(request, "accounts/team.html", context)


def _page(rows: QuerySet, request: HttpRequest) -> Page:
    return Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
