"""Against a real web server process, a real Postgres and a real Valkey."""

import http.client
import socket
import time

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from accounts.models import User
from incidents import transitions
from incidents.models import Page
from tests.factories.accounts import make_user
from tests.live.conftest import Stream, sign_in, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_entry_arrives_within_a_second_of_its_commit(look, say, incident):
    stream = look(incident.last_seq)
    stream.take("beat")

    took = []
    for _ in range(3):  # a machine that runs other tests may hold up one of them
        seq = say("Rolling back.")
        committed = time.time()
        entry = stream.take("entry")
        assert entry.id == seq
        assert f'id="e-{seq}"' in entry.data
        assert "Rolling back." in entry.data
        took.append(entry.at - committed)

    assert min(took) < 1


def test_slots_follow_a_change_of_state(look, incident, writer):
    stream = look(incident.last_seq)
    stream.take("slots")
    now = timezone.now()

    transitions.acknowledge(incident_id=incident.pk, by=writer, now=now)

    wait_for(lambda: "Not contained" in [e for e in stream.events if e.name == "slots"][-1].data)


def test_coming_back_brings_exactly_what_was_missed(look, say, incident):
    first = look(incident.last_seq)
    a = say("a")
    assert first.take("entry").id == a
    first.close()
    b, c = say("b"), say("c")

    again = look(incident.last_seq, last_event_id=str(a))

    assert [again.take("entry").id, again.take("entry").id] == [b, c]
    d = say("d")
    assert again.take("entry").id == d
    assert again.seqs() == [b, c, d]


def test_a_newcomer_without_a_number_gets_only_what_comes(look, say):
    say("before")
    stream = look()
    stream.take("beat")
    after = say("after")
    assert stream.take("entry").id == after
    assert stream.seqs() == [after]


def test_a_browser_that_is_ahead_gets_nothing_twice(look, say, incident):
    look(incident.last_seq).take("beat")  # keeps the room open
    last = [say(text) for text in "abc"][-1]
    stream = look(last)
    stream.take("beat")
    assert say("d") == stream.take("entry").id == last + 1
    assert stream.seqs() == [last + 1]


def test_who_missed_too_much_reads_the_page_again(look, say, say_many, incident):
    start = incident.last_seq
    say_many([str(number) for number in range(501)])
    incident.refresh_from_db()

    stream = look(start)

    assert stream.take("reload").json == {"seq": incident.last_seq}
    assert say("next") == stream.take("entry").id
    assert stream.seqs() == [incident.last_seq + 1]


def test_a_burst_arrives_in_order_and_whole(look, say, say_many, incident):
    streams = [look(incident.last_seq) for _ in range(5)]
    for stream in streams:
        stream.take("beat")
    wanted = [say("a"), *say_many([str(number) for number in range(450)]), say("b")]
    for stream in streams:
        wait_for(lambda stream=stream: len(stream.seqs()) >= len(wanted), what="the burst")
        assert stream.seqs() == wanted


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_stranger_sees_nothing(web, incident, method):
    link = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)
    link.request(
        method,
        f"/live/incidents/{incident.pk}/",
        headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}=made-up"},
    )
    answer = link.getresponse()
    assert answer.status == 401
    body = answer.read()
    assert method == "HEAD" or b'"not_signed_in"' in body


def test_an_inactive_person_sees_nothing(look, viewer, session):
    User.objects.filter(pk=viewer.pk).update(is_active=False)
    assert look(session=session).status == 401


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/live/incidents/99999999/", 404, "not_found"),
        ("/live/incidents/999999999999999999/", 404, "not_found"),
        ("/live/incidents/x/", 404, "not_found"),
        ("/live/", 404, "not_found"),
        ("/live/now/?after=-1", 400, "invalid"),
        ("/live/now/?after=1%00", 400, "invalid"),
        ("/live/now/?after=99999999999", 400, "invalid"),
    ],
)
def test_wrong_addresses_are_refused(web, session, path, status, code):
    stream = Stream(web.port, path, session=session)
    assert (stream.status, stream.error["error"]["code"]) == (status, code)


def test_streams_are_only_read(web, session, incident):
    link = http.client.HTTPConnection("127.0.0.1", web.port, timeout=5)
    link.request(
        "POST",
        f"/live/incidents/{incident.pk}/",
        headers={"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"},
    )
    assert link.getresponse().status == 405


def test_the_twenty_first_stream_of_one_person_is_refused_and_others_are_not(look, incident):
    for _ in range(20):
        assert look(incident.last_seq).status == 200
    refused = look(incident.last_seq)
    assert (refused.status, refused.error["error"]["code"]) == (429, "too_many")
    assert look(incident.last_seq, session=sign_in(make_user("other"))).status == 200


def test_without_the_broker_entries_still_arrive(look, say, incident, valkey):
    stream = look(incident.last_seq)
    stream.take("beat")
    valkey.stop()
    try:
        begun = time.monotonic()
        seq = say("Nobody publishes this.")
        took = time.monotonic() - begun
        assert stream.take("entry").id == seq
        assert took < 1  # the transition does not wait for the broker
    finally:
        valkey.start()
    seq = say("Nor this, for a moment.")
    assert stream.take("entry").id == seq


def test_after_the_broker_is_back_hints_are_heard_again(look, say, incident, valkey):
    stream = look(incident.last_seq)
    stream.take("beat")
    valkey.stop()
    valkey.start()

    def fast() -> bool:
        seq, at = say("."), time.time()
        entry = stream.take("entry")
        assert entry.id == seq
        return entry.at - at < 0.25

    wait_for(lambda: fast() and fast() and fast(), what="hearing hints")


def test_cut_database_connections_heal(look, say, incident):
    stream = look(incident.last_seq)
    stream.take("beat")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    seq = say("after")
    assert stream.take("entry").id == seq


def test_who_does_not_read_is_dropped_and_the_others_do_not_notice(web, look, say_many, incident, session):
    quick = look(incident.last_seq)
    quick.take("beat")
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect(("127.0.0.1", web.port))
    cookie = f"{settings.SESSION_COOKIE_NAME}={session}"
    request = f"GET /live/incidents/{incident.pk}/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
    stuck.sendall(request.encode())
    wait_for(lambda: quick.take("beat").json["viewers"] == 2)

    wanted: list[int] = []
    for _ in range(12):  # more than all buffers between the two hold
        wanted += say_many(["x" * 200_000] * 4)
        wait_for(lambda: len(quick.seqs()) == len(wanted), what="the quick reader's entries")  # noqa: B023

    assert quick.seqs() == wanted
    wait_for(lambda: quick.take("beat").json["viewers"] == 1, what="dropping the other")
    assert not quick.ended.is_set()
    stuck.close()


def test_two_processes_bring_the_same(look, say, incident, new_web):
    other = new_web()
    here, there = look(incident.last_seq), look(incident.last_seq, port=other.port)
    here.take("beat"), there.take("beat")
    seq = say("both")
    one, two = here.take("entry"), there.take("entry")
    assert (one.id, one.data) == (two.id, two.data) == (seq, one.data)


def test_a_server_that_stops_lets_its_streams_go_at_once(new_web, look, say, incident):
    own = new_web()
    stream = look(incident.last_seq, port=own.port)
    stream.take("beat")

    assert own.stop() < 2

    assert stream.take("bye").json == {"reason": "restart"}
    assert stream.ended.wait(5)
    missed = say("while it was away")
    own.start()
    again = look(incident.last_seq, port=own.port)
    assert again.take("entry").id == missed


def test_lists_hear_which_incidents_changed(web, session, incident, say):
    stream = Stream(web.port, "/live/now/", session=session)
    stream.take("beat")
    say("x")
    assert stream.take("changed").json == {"ids": [incident.pk]}
    stream.close()


def test_who_is_called_hears_it_on_every_page_and_nobody_else_does(web, session, incident, writer, viewer):
    hers = Stream(web.port, "/live/now/", session=sign_in(writer))
    room = Stream(web.port, f"/live/incidents/{incident.pk}/", session=sign_in(writer))
    other = Stream(web.port, "/live/now/", session=session)
    for stream in (hers, room, other):
        stream.take("beat")

    transitions.page_person(
        incident_id=incident.pk, user=writer, by=viewer, reason="look", now=timezone.now()
    )

    page = Page.objects.get(recipient=writer)
    for stream in (hers, room):
        wait_for(lambda stream=stream: page.pk in called(stream), what="hearing of the page")
    other.take("changed")
    other.take("beat")
    assert page.pk not in called(other)
    for stream in (hers, room, other):
        stream.close()


def called(stream: Stream) -> list[int]:
    return [event.json["page"] for event in stream.events if event.name == "page"]
