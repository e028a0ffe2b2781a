"""What the frame of every page shows: where one can go, who is looking, in which theme and zone, and the time."""

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.functional import cached_property


@dataclass(frozen=True)
class NavItem:
    label: str
    url: str
    key: str
    icon: str
    current: bool


# Label, URL name, key after "g", icon. What burns, then what readies for it, then what tells of it. A page that this
# installation does not have is left out.
NAV = (
    ("Now", "home", "n", "home"),
    ("Incidents", "incidents:list", "i", "flame"),
    ("On call", "oncall:schedule_list", "o", "phone-call"),
    ("Services", "catalog:service_list", "s", "stack-2"),
    ("Runbooks", "runbooks:list", "r", "book-2"),
    ("Escalation", "escalation:policy_list", "e", "stairs-up"),
    ("Tonight", "readiness:tonight", "f", "moon"),
    ("Status", "status:internal", "t", "speakerphone"),
    ("Metrics", "metrics:overview", "m", "chart-line"),
)


def reverse_or_none(name: str) -> str | None:
    try:
        return reverse(name)
    except NoReverseMatch:
        return None


class Frame:
    """Nothing is looked up before a template asks, so a fragment pays nothing."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @cached_property
    def now(self) -> datetime:
        return timezone.now()

    @property
    def zone(self) -> str:
        return timezone.get_current_timezone_name()

    @cached_property
    def signed_in(self) -> bool:
        user = getattr(self._request, "user", None)
        return user is not None and user.is_authenticated

    @property
    def theme(self) -> str:
        """dark or light; empty lets the system decide."""
        theme = getattr(self._request.user, "theme", "") if self.signed_in else ""
        return theme if theme in ("dark", "light") else ""

    @cached_property
    def nav(self) -> list[NavItem]:
        items = []
        for label, name, key, icon in NAV:
            url = reverse_or_none(name)
            if url is None:
                continue
            path = self._request.path
            mine = path == self.links["my_pages"]  # lies under the incidents, but has its own button
            current = path == url if name == "home" else path.startswith(url) and not mine
            items.append(NavItem(label=label, url=url, key=key, icon=icon, current=current))
        return items

    @cached_property
    def links(self) -> dict[str, str | None]:
        """Pages of the person's own menu; None: this installation has none."""
        return {
            "my_pages": reverse_or_none("incidents:my_pages"),
            "profile": reverse_or_none("accounts:profile"),
            "people": reverse_or_none("accounts:people"),
            "integrations": reverse_or_none("integrations:list"),
            "ledger": reverse_or_none("notifications:ledger"),
            "security": reverse_or_none("mfa_index"),
            "password": reverse_or_none("account_change_password"),
            "sign_out": reverse_or_none("account_logout"),
            "sign_in": reverse_or_none("account_login"),
            "theme": reverse_or_none("accounts:theme"),
            "jump": reverse_or_none("incidents:jump"),
            "api": reverse_or_none("api-docs"),
        }


def frame(request: HttpRequest) -> dict[str, Frame]:
    return {"frame": Frame(request)}
