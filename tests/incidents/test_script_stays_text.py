"""Whatever a person types into a field of the room is shown as text, wherever it is shown."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts.models import User
from incidents import transitions
from incidents.channel import transitions as channel
from incidents.live import reads
from incidents.models import Incident
from notifications.models import Notification
from tests.factories.accounts import make_user
from tests.factories.catalog import make_service
from tests.factories.escalation import make_policy, tier

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
BREAKOUT = "\"><img src=x onerror=alert(1)>'"

pytestmark = pytest.mark.django_db

FORMS = {
    "note": {"text": "{}"},
    "decide": {"reason": "{}"},
    "impact": {"impact": "{}"},
    "severity": {"severity": "1", "reason": "{}"},
    "page": {"user": "{ravi}", "reason": "{}"},
    "contain": {"note": "{}"},
    "resolve": {"note": "{}"},
    "update": {"impact": "{}", "action": "{}", "next_minutes": "30"},
    "handoff": {
        "role": "commander:",
        "user": "{ravi}",
        "known": "{}",
        "in_progress": "{}",
        "next_steps": "{}",
    },
    "task_new": {"title": "{}"},
    "amend": {"text": "{}"},
}


@pytest.fixture
def ines() -> User:
    return make_user("ines", full_name=f"Ines {SCRIPT}", role="manager")


@pytest.fixture
def ravi() -> User:
    return make_user("ravi", full_name="Ravi Menon", expertise=["network"])


@pytest.fixture
def incident(ines: User, ravi: User) -> Incident:
    service = make_service("checkout-api", criticality=1)
    make_policy(tier(1, ines), tier(2, ravi), service=service, catch_all=ines, name="Checkout")
    incident = transitions.declare(service=service, title=f"5xx {BREAKOUT}", severity=2, by=ines, now=NOW)
    return transitions.assign_commander(incident_id=incident.pk, user=ines, by=ines, now=NOW)


def is_harmless(html: str) -> bool:
    return "<script>alert" not in html and "<img src=x" not in html


@pytest.mark.parametrize("evil", [SCRIPT, BREAKOUT])
@pytest.mark.parametrize("form", list(FORMS))
def test_every_field_keeps_script_as_text(incident, ines, ravi, form, evil):
    client = Client()
    client.force_login(ines)
    more = []
    if form == "amend":
        more = [channel.say(incident_id=incident.pk, text="first", by=ines, now=NOW).seq]
    data = {
        name: str(ravi.pk) if value == "{ravi}" else value.format(evil) for name, value in FORMS[form].items()
    }
    before = incident.timeline.count()
    answer = client.post(reverse(f"incidents:{form}", args=[incident.pk, *more]), data)
    assert answer.status_code == 302, answer.content.decode()[:2000]
    assert incident.timeline.count() > before
    seq = incident.timeline.order_by("-seq").first().seq
    pages = [client.get(answer.headers["Location"], follow=True).content.decode()]
    for name, args in (
        ("detail", []), ("news", []), ("earlier", []), ("entry", [seq]), ("strip", []), ("print", []), ("acts", []),
        ("my_pages", None), ("list", None), ("search", None),
    ):  # fmt: skip
        try:
            address = reverse(f"incidents:{name}", args=[] if args is None else [incident.pk, *args])
        except NoReverseMatch:
            continue
        pages.append(client.get(address, {"after": 0, "q": "alert"}).content.decode())
    pages.append(client.get(reverse("status:internal")).content.decode())
    pages += [sent.data.decode() for sent in reads.entries(incident.pk, 0, 100)]
    pages.append(reads.slots(incident.pk).decode())
    for page in pages:
        assert is_harmless(page)
    shown = "".join(pages)
    assert "&lt;script&gt;alert(1)" in shown
    assert "&lt;img src=x" in shown
    assert all("\n" not in title for title in Notification.objects.values_list("title", flat=True))


def test_the_name_of_a_file_stays_text(incident, ines):
    files = [channel.Upload(f"{SCRIPT.replace('/', '')}.log", b"x"), channel.Upload(f"{BREAKOUT}.txt", b"y")]
    channel.say(incident_id=incident.pk, text="", by=ines, now=NOW, files=files)
    client = Client()
    client.force_login(ines)
    page = client.get(reverse("incidents:detail", args=[incident.pk])).content.decode()
    assert is_harmless(page)
    assert "&lt;script&gt;alert(1)&lt;script&gt;.log" in page
