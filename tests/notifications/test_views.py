"""The pages on which people say how they are reached, and the ledger."""

from datetime import timedelta

import pytest
from django.urls import reverse

from accounts.models import ContactMethod, Role
from core.errors import Invalid
from notifications import rules, verification
from notifications.channels.webhook import sign
from notifications.models import Delivery, Notification, NotificationRule
from tests.factories.accounts import make_email, make_user
from tests.factories.notifications import NOW, make_notification, make_rule
from timers.transitions import fire_due

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def at(time_machine):
    time_machine.move_to(NOW, tick=False)
    return time_machine


@pytest.fixture
def ravi(client):
    user = make_user("ravi", full_name="Ravi Menon")
    client.force_login(user)
    return user


def url(name: str, *args) -> str:
    return reverse(f"notifications:{name}", args=args)


def said(response) -> str:
    return " ".join(response.content.decode().split())


def deliver(django_capture_on_commit_callbacks, now=NOW) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        fire_due(now=now, by="test")


# --- verifying --------------------------------------------------------------------------------------------------


def test_a_new_method_is_verified_by_the_code_that_is_sent_to_it(
    client, ravi, fake, django_capture_on_commit_callbacks
):
    client.post(url("method_add"), {"kind": "email", "address": " phone@example.org ", "label": "Phone"})
    method = ravi.contact_methods.get()
    assert (method.address, method.label, method.verified_at) == ("phone@example.org", "Phone", None)
    deliver(django_capture_on_commit_callbacks)
    [message] = fake.accepted
    assert message.address == "phone@example.org"
    assert message.title == "Your code for Muster"
    code = message.body.splitlines()[-1]
    assert len(code) == 6 and code.isdigit()

    response = client.post(url("method_verify", method.pk), {"code": f" {code[:3]} {code[3:]} "}, follow=True)

    assert "is verified" in said(response)
    method.refresh_from_db()
    assert method.verified_at == NOW


def test_the_code_is_stored_nowhere(client, ravi, fake, django_capture_on_commit_callbacks):
    client.post(url("method_add"), {"kind": "email", "address": "phone@example.org"})
    deliver(django_capture_on_commit_callbacks)
    code = verification.code_for(ravi.contact_methods.get())

    assert code in fake.accepted[0].body
    kept = Notification.objects.values_list("title", "body", "context")
    assert code not in str([*kept, *Delivery.objects.values_list("last_error", "provider_id")])


def make_pending(user, address="phone@example.org") -> ContactMethod:
    method = make_email(user, address=address)
    verification.send_code(method=method, now=NOW)
    return method


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def test_a_wrong_code_is_refused_and_after_five_even_the_right_one(client, ravi):
    method = make_pending(ravi)
    code = verification.code_for(method)
    for _ in range(5):
        response = client.post(url("method_verify", method.pk), {"code": wrong(code)})
        assert response.status_code == 422
        assert "This is not the code" in said(response)

    response = client.post(url("method_verify", method.pk), {"code": code})

    assert response.status_code == 422
    assert "Too many wrong codes" in said(response)
    method.refresh_from_db()
    assert method.verified_at is None


def test_an_old_code_is_refused(ravi):
    method = make_pending(ravi)
    code = verification.code_for(method)
    late = NOW + rules.CODE_GOOD_FOR + timedelta(seconds=1)

    with pytest.raises(Invalid, match="too old"):
        verification.confirm(method=method, code=code, now=late)


def test_a_new_code_replaces_the_old_one(client, ravi):
    method = make_pending(ravi)
    old = verification.code_for(method)
    client.post(url("method_code", method.pk))
    new = verification.code_for(method)

    assert new != old
    assert client.post(url("method_verify", method.pk), {"code": old}).status_code == 422
    assert client.post(url("method_verify", method.pk), {"code": new}).status_code == 302


def test_codes_are_limited_so_that_nobody_floods_a_stranger(client, ravi):
    method = make_pending(ravi)
    for _ in range(rules.CODES_PER_HOUR - 1):
        client.post(url("method_code", method.pk))

    response = client.post(url("method_code", method.pk), follow=True)

    assert "6 codes were sent within the hour" in said(response)
    assert Notification.objects.filter(topic=f"verify:{method.pk}").count() == rules.CODES_PER_HOUR


def test_the_code_of_one_person_does_not_verify_the_method_of_another(client, ravi):
    method = make_pending(make_user("ines"))

    assert (
        client.post(url("method_verify", method.pk), {"code": verification.code_for(method)}).status_code
        == 404
    )
    method.refresh_from_db()
    assert method.verified_at is None


@pytest.mark.parametrize(
    ("kind", "address", "says"),
    [
        ("email", "ravi", "This is not an e-mail address"),
        ("email", "a@example.org\nBcc: b@example.org", "This is not an e-mail address"),
        ("webhook", "http://example.org/", "starts with https://"),
        ("webhook", "https://169.254.169.254/latest", "inside a private network"),
        ("webhook", "https://localhost/hook", "inside a private network"),
        ("pigeon", "ravi", "Select a valid choice"),
        ("email", "", "This field is required"),
        ("email", "x" * 501, "at most 500"),
    ],
)
def test_an_address_that_cannot_work_is_refused_beside_its_field(client, ravi, kind, address, says):
    response = client.post(url("method_add"), {"kind": kind, "address": address})

    assert response.status_code == 422
    assert says in said(response)
    assert ContactMethod.objects.count() == Notification.objects.count() == 0


def test_the_same_address_twice_is_refused(client, ravi):
    make_email(ravi, address="phone@example.org")

    response = client.post(url("method_add"), {"kind": "email", "address": "Phone@example.org"})

    assert "You have this one already" in said(response)
    assert ravi.contact_methods.count() == 1


# --- rules and tests --------------------------------------------------------------------------------------------


def test_steps_are_added_and_removed(client, ravi):
    method = make_email(ravi, verified_at=NOW)

    client.post(url("rule_add"), {"urgency": "high", "minutes": "5", "method": str(method.pk)})

    rule = ravi.notification_rules.get()
    assert (rule.urgency, rule.delay_seconds, rule.method) == ("high", 300, method)
    assert "After 5 min" in said(client.get(url("methods")))

    client.post(url("rule_remove", rule.pk))
    assert not ravi.notification_rules.exists()


@pytest.mark.parametrize(
    "change",
    [{"minutes": "-1"}, {"minutes": "1441"}, {"minutes": "x"}, {"urgency": "other"}, {"method": "999"}],
)
def test_a_step_that_makes_no_sense_is_refused(client, ravi, change):
    method = make_email(ravi, verified_at=NOW)

    response = client.post(
        url("rule_add"), {"urgency": "high", "minutes": "0", "method": str(method.pk), **change}
    )

    assert response.status_code == 422
    assert NotificationRule.objects.count() == 0


def test_a_step_cannot_use_what_is_not_verified_or_not_mine(client, ravi):
    unverified = make_email(ravi)
    others = make_email(make_user("ines"), verified_at=NOW)

    for method in (unverified, others):
        response = client.post(url("rule_add"), {"urgency": "high", "minutes": "0", "method": str(method.pk)})
        assert response.status_code == 422
    assert NotificationRule.objects.count() == 0


def test_others_steps_and_methods_are_out_of_reach(client, ravi):
    method = make_email(make_user("ines"), verified_at=NOW)
    rule = make_rule(method)

    assert client.post(url("rule_remove", rule.pk)).status_code == 404
    for name in ("method_remove", "method_test", "method_code"):
        assert client.post(url(name, method.pk)).status_code == 404
    assert ContactMethod.objects.filter(pk=method.pk).exists()
    assert NotificationRule.objects.filter(pk=rule.pk).exists()


def test_a_test_goes_by_the_chosen_method_and_leads_back(
    client, ravi, fake, django_capture_on_commit_callbacks
):
    method = make_email(ravi, verified_at=NOW)

    client.post(url("method_test", method.pk))
    deliver(django_capture_on_commit_callbacks)

    [message] = fake.accepted
    assert message.title == "Test: Muster reaches you here"
    assert message.link.endswith("/notifications/methods/")
    assert "last message sent" in said(client.get(url("methods")))


def test_a_method_that_fails_its_test_says_so_and_turns_nowhere_else(
    client, ravi, fake, fake_webhook, django_capture_on_commit_callbacks
):
    fake.answers = ["permanent"]
    method = make_email(ravi, verified_at=NOW)
    ravi.contact_methods.create(kind="webhook", address="https://example.org/", verified_at=NOW)

    client.post(url("method_test", method.pk))
    deliver(django_capture_on_commit_callbacks)
    deliver(django_capture_on_commit_callbacks, NOW + timedelta(seconds=1))

    assert fake_webhook.tried == []
    assert "550 nobody here" in said(client.get(url("methods")))


def test_removing_a_method_removes_its_steps(client, ravi):
    rule = make_rule(make_email(ravi, verified_at=NOW))

    client.post(url("method_remove", rule.method_id))

    assert not ravi.contact_methods.exists()
    assert not ravi.notification_rules.exists()


def test_the_page_says_what_would_fail_tonight(client, ravi):
    assert "No verified contact method" in said(client.get(url("methods")))


def test_the_secret_of_a_webhook_is_shown_to_its_owner(client, ravi):
    client.post(url("method_add"), {"kind": "webhook", "address": "https://example.org/hook"})

    secret = ravi.contact_methods.get().secret
    assert len(secret) == 48
    assert secret in said(client.get(url("methods")))


def test_a_webhook_is_signed_with_both_secrets_until_the_old_one_is_ended(client, ravi):
    hook = ravi.contact_methods.create(
        kind="webhook", address="https://example.org/hook", secret="old", verified_at=NOW
    )
    stranger = make_user("ines").contact_methods.create(
        kind="webhook", address="https://x.org/", secret="hers"
    )

    client.post(url("method_secret", hook.pk), {"do": "new"})
    hook.refresh_from_db()
    new, old = hook.secret.split(",")
    assert (old, len(new)) == ("old", 48)
    assert sign(b"{}", hook.secret.split(",")) == f"{sign(b'{}', [new])},{sign(b'{}', ['old'])}"
    assert "End the old secret" in said(client.get(url("methods")))

    client.post(url("method_secret", hook.pk), {"do": "end"})
    hook.refresh_from_db()
    assert hook.secret == new
    assert client.post(url("method_secret", stranger.pk), {"do": "new"}).status_code == 404
    stranger.refresh_from_db()
    assert stranger.secret == "hers"


# --- the ledger -------------------------------------------------------------------------------------------------


@pytest.fixture
def manager(client):
    user = make_user("boss", role=Role.MANAGER)
    client.force_login(user)
    return user


def test_the_ledger_is_for_responders_who_see_the_addresses_of_others_in_part(client, fake):
    page = make_notification(make_user("ravi"))
    client.force_login(make_user("ines"))

    shown = said(client.get(url("ledger")))
    assert "r…@example.org" in shown
    assert "ravi@example.org" not in shown
    assert "ravi@example.org" not in said(client.get(url("delivery", page.deliveries.get().pk)))


def test_the_ledger_and_the_providers_are_not_for_strangers(client):
    client.force_login(make_user("somebody", role=Role.VIEWER))
    delivery = make_notification(make_user("x")).deliveries.get()

    for response in (
        client.get(url("ledger")),
        client.get(url("delivery", delivery.pk)),
        client.post(url("send_again", delivery.pk), {"reason": "x"}),
        client.get(url("providers")),
    ):
        assert response.status_code == 403


def test_the_ledger_is_filtered_by_result_and_person(
    client, manager, fake, django_capture_on_commit_callbacks
):
    ravi, ines = make_user("ravi"), make_user("ines")
    fake.by_address = {"ravi@example.org": "permanent"}
    failed = make_notification(ravi).deliveries.get()
    sent = make_notification(ines).deliveries.get()
    deliver(django_capture_on_commit_callbacks)

    def shown(**query) -> list[int]:
        return [row.pk for row in client.get(url("ledger"), query).context["deliveries"]]

    assert shown() == [sent.pk, failed.pk]
    assert shown(status="failed") == [failed.pk]
    assert shown(person=ines.pk) == [sent.pk]
    assert shown(status="failed", person=ines.pk) == []
    assert shown(status="nonsense", person="nonsense", before="nonsense") == [sent.pk, failed.pk]
    assert "550 nobody here" in said(client.get(url("delivery", failed.pk)))


def test_the_ledger_comes_in_portions_with_a_fixed_number_of_queries(
    client, manager, django_assert_max_num_queries
):
    ravi = make_user("ravi")
    ids = [make_notification(ravi).deliveries.get().pk for _ in range(60)]

    with django_assert_max_num_queries(6):
        newest = client.get(url("ledger"))
    assert [row.pk for row in newest.context["deliveries"]] == ids[:9:-1]
    older = client.get(url("ledger") + newest.context["older_url"])
    assert [row.pk for row in older.context["deliveries"]] == ids[9::-1]
    assert older.context["older_url"] == ""


def test_a_failed_message_is_sent_again_from_the_ledger(
    client, manager, fake, django_capture_on_commit_callbacks
):
    fake.answers = ["permanent"]
    failed = make_notification(make_user("ravi")).deliveries.get()
    deliver(django_capture_on_commit_callbacks)
    assert "Send again" in said(client.get(url("delivery", failed.pk)))

    assert client.post(url("send_again", failed.pk)).status_code == 422
    deliver(django_capture_on_commit_callbacks)
    assert fake.accepted == [], "without a reason nothing is sent"

    client.post(url("send_again", failed.pk), {"reason": "His phone was off"})
    deliver(django_capture_on_commit_callbacks)

    assert [message.address for message in fake.accepted] == ["ravi@example.org"]
    again = Delivery.objects.latest("pk")
    assert again.again_of == failed
    assert again.reason.endswith(": His phone was off")
