import email
import email.policy
import smtplib
import time

import pytest

from notifications.channels import email as email_channel
from notifications.channels.base import TransientError
from notifications.channels.email import EmailChannel
from tests.notifications.test_channel_contract import KEY, make_message, yes


def received(mailbox):
    return [email.message_from_bytes(mail.content, policy=email.policy.default) for mail in mailbox.mails]


def test_the_mail_says_it_in_plain_text_first_and_again_as_html(mailbox):
    EmailChannel().send(
        make_message(
            "ravi@example.org", title="SEV1 Checkout fails", body="How bad: 38% of <checkouts> fail",
            why="Muster sent this to Ravi Menon. Rule for high urgency: at once.",
        ),
        last_look=yes,
    )  # fmt: skip

    [mail] = received(mailbox)
    plain, html = mail.iter_parts()
    assert mail["Subject"] == "SEV1 Checkout fails"
    assert mail["To"] == "ravi@example.org"
    assert plain.get_content_type() == "text/plain"
    assert plain.get_content().replace("\r\n", "\n") == (
        "SEV1 Checkout fails\n\nHow bad: 38% of <checkouts> fail\n\nhttps://muster.example/p/x/\n\n"
        "Muster sent this to Ravi Menon. Rule for high urgency: at once.\n"
    )
    assert html.get_content_type() == "text/html"
    assert "38% of &lt;checkouts&gt; fail" in html.get_content()
    assert 'href="https://muster.example/p/x/"' in html.get_content()


def test_a_page_says_its_first_line_once(mailbox):
    EmailChannel().send(
        make_message(
            "ravi@example.org", title="DRILL SEV1 5xx after rollout",
            body="DRILL SEV1 Checkout API: 5xx after rollout (INC-42)\nHow bad: 38% of checkouts fail",
        ),
        last_look=yes,
    )  # fmt: skip

    [mail] = received(mailbox)
    plain, html = mail.iter_parts()
    assert mail["Subject"] == "DRILL SEV1 5xx after rollout"
    assert plain.get_content().splitlines()[:4] == [
        "DRILL SEV1 Checkout API: 5xx after rollout (INC-42)",
        "",
        "How bad: 38% of checkouts fail",
        "",
    ]
    assert html.get_content().count("5xx after rollout") == 2  # its <title> and its heading


def test_every_attempt_has_the_same_message_id_and_date(mailbox):
    for _ in range(2):
        EmailChannel().send(make_message("ravi@example.org"), last_look=yes)

    first, second = received(mailbox)
    assert first["Message-ID"] == second["Message-ID"] == f"<{KEY}@localhost>"
    assert first["Date"] == second["Date"]


def test_mails_about_one_topic_form_one_thread(mailbox):
    EmailChannel().send(make_message("ravi@example.org", topic="incident:42"), last_look=yes)

    [mail] = received(mailbox)
    assert mail["References"] == "<topic-incident-42@localhost>"
    assert mail["X-Muster-Topic"] == "incident:42"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_a_line_break_in_the_title_adds_no_header(mailbox):
    EmailChannel().send(make_message("ravi@example.org", title="SEV1\r\nBcc: eve@example.org"), last_look=yes)

    [mail] = received(mailbox)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "SEV1 Bcc: eve@example.org"
    assert mailbox.mails[0].rcpt_tos == ["ravi@example.org"]


def test_the_servers_own_words_are_kept(mailbox):
    assert EmailChannel().send(make_message("ravi@example.org"), last_look=yes) == "250 OK queued as 1"


def test_a_server_that_turns_every_mail_away_is_tried_again(monkeypatch):
    def turned_away(self, deadline):
        raise smtplib.SMTPConnectError(554, b"no service here for now")

    monkeypatch.setattr(email_channel._Line, "ready", turned_away)
    with pytest.raises(TransientError, match="554 no service here for now"):
        EmailChannel().send(make_message("ravi@example.org"), last_look=yes)


def test_what_a_server_says_can_be_stored():
    assert email_channel._said(250, b"OK\x00 queued\r\nas 1") == "250 OK queued as 1"


def test_mails_share_one_connection(mailbox):
    for _ in range(5):
        EmailChannel().send(make_message("ravi@example.org"), last_look=yes)

    assert len(mailbox.mails) == 5
    assert mailbox.connections == 1


def test_a_connection_that_the_server_has_closed_is_opened_again_unseen(mailbox, monkeypatch):
    monkeypatch.setattr(email_channel, "TRUST_IDLE_SECONDS", -1)
    EmailChannel().send(make_message("ravi@example.org"), last_look=yes)
    mailbox.hang_up_next = True
    EmailChannel().send(make_message("ravi@example.org"), last_look=yes)

    assert len(mailbox.mails) == 2
    assert mailbox.connections == 2


def test_a_conversation_that_takes_too_long_in_all_is_ended(mailbox, monkeypatch):
    monkeypatch.setattr(email_channel, "SECONDS_IN_ALL", 0.0)
    began = time.monotonic()
    with pytest.raises(TransientError):
        EmailChannel().send(make_message("ravi@example.org"), last_look=yes)

    assert time.monotonic() - began < 1
    assert mailbox.mails == []


def test_without_a_mail_server_the_mail_is_a_file(settings, tmp_path):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path)
    for _ in range(2):
        EmailChannel().send(make_message("ravi@example.org"), last_look=yes)
    email_channel._line().hang_up()

    texts = [path.read_text() for path in tmp_path.iterdir()]
    assert sum(text.count("Subject: SEV1 Checkout fails") for text in texts) == 2
