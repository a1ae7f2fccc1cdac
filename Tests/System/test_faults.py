"""What breaks around the server, or under it, loses nothing and delays nobody who has no part in it."""

import os
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.people import assert_problem, persistently
from harness.postgres import Session
from harness.streams import Follower, assert_contiguous, texts
from harness.waiting import eventually


def test_a_server_killed_between_commit_and_delivery_loses_nothing(make_server, binary, directory):
    if "release" in binary.parts:
        pytest.skip("the fault point exists in debug builds only")
    fault = directory / f"kill-after-commit-{uuid.uuid4().hex}"
    server = make_server(REPLYX_FAULT_KILL_AFTER_COMMIT=str(fault))
    shop = server.shop()
    visitor, key = shop.visitor(), str(uuid.uuid4())
    with visitor.follow() as dialog, shop.operator.follow() as account:
        start, head = dialog.opening(), account.opening()
        visitor.say("delivered")
        dialog.wait_for_texts(["delivered"]), account.wait_for_texts(["delivered"])
        fault.touch()
        with pytest.raises(httpx.TransportError):
            visitor.post({"text": "committed only", "client_message_id": key})
        assert server.process.wait(timeout=20) == -signal.SIGKILL
        dialog.wait_for_end(), account.wait_for_end()
        assert "committed only" not in texts(dialog.events)
    assert server.database.number(f"SELECT count(*) FROM messages WHERE dialog_id = {visitor.dialog_id}") == 2

    fault.unlink()
    server.start()
    with visitor.follow(last_event_id=dialog.last_id) as again:
        again.wait_for_texts(["committed only"])
        assert_contiguous(dialog.events + again.events, after=start.id)
    with shop.operator.follow(last_event_id=account.last_id) as again:
        again.wait_for_texts(["committed only"])
        assert_contiguous(account.events + again.events, after=head.id)
    retried = visitor.post({"text": "committed only", "client_message_id": key})
    assert retried.status_code == 200 and retried.headers["Idempotent-Replayed"] == "true"
    assert server.database.number(f"SELECT count(*) FROM messages WHERE dialog_id = {visitor.dialog_id}") == 2
    server.database.assert_gapless(shop.account_id)


def test_with_postgresql_away_posts_get_503_and_streams_stay_open_and_catch_up(make_server, breakable_cluster):
    server = make_server(on=breakable_cluster)
    shop = server.shop()
    visitor, key = shop.visitor(), str(uuid.uuid4())
    with visitor.follow() as dialog, shop.operator.follow() as account:
        start, head = dialog.opening(), account.opening()
        visitor.say("before")
        dialog.wait_for_texts(["before"])
        breakable_cluster.stop()
        try:
            answer = visitor.post({"text": "during", "client_message_id": key})
            assert_problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            for refused in (visitor.server.http.get(f"{visitor.path}/messages", params=visitor.query),
                            shop.operator.get("/api/dialogs"), shop.operator.post("/api/assistants", {"name": "x"}),
                            server.http.post("/api/site/dialogs", params={"site_token": shop.site_token}, json={}),
                            server.http.post("/api/login", json={"username": shop.operator.email, "password": "whatever it was"})):
                assert_problem(refused, 503, "unavailable")
                assert "Retry-After" in refused.headers
            assert server.http.get("/livez").status_code == 204, "alive, only not ready"
            eventually(lambda: server.http.get("/readyz").status_code == 503, "/readyz to tell")
            # A browser would give up for good after a 503; a program may be told so.
            with Follower(f"{server.url}{visitor.path}/events", params=visitor.query, last_event_id=start.id) as newcomer:
                assert newcomer.status in (200, 503)
                if newcomer.status == 200:
                    assert "retry:" in newcomer.wait_for(lambda: newcomer.text, "a retry line")
            beats = len(dialog.named("hb"))
            dialog.wait_for(lambda: len(dialog.named("hb")) > beats + 1, "heartbeats go on")
            assert not dialog.ended and not account.ended
        finally:
            breakable_cluster.restart()
        eventually(lambda: server.http.get("/readyz").status_code == 200, "ready again", within=30)
        answer = persistently(lambda: visitor.post({"text": "during", "client_message_id": key}))
        assert answer.status_code == 200
        visitor.say("after")
        dialog.wait_for_texts(["during", "after"]), account.wait_for_texts(["during", "after"])
        assert texts(dialog.events) == ["before", "during", "after"]
        assert_contiguous(dialog.events, after=start.id)
        assert_contiguous(account.events, after=head.id)
        assert not dialog.ended and not account.ended
    server.database.assert_gapless(shop.account_id)


def writers_backend(server, visitor) -> int:
    """The process id of the backend that inserts messages: the one that waits while nobody may insert."""
    with Session(server.database) as other, ThreadPoolExecutor(1) as hands:
        other.run("BEGIN")
        other.run("LOCK TABLE messages IN SHARE MODE")
        posting = hands.submit(visitor.say_persistently, "who writes this?")
        try:
            waiting = eventually(lambda: server.database.rows(
                "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid WHERE a.datname = current_database()"
                " AND NOT l.granted AND l.relation = 'messages'::regclass"), "the writer to wait for its lock")
        finally:
            other.run("ROLLBACK")
        posting.result(timeout=60)
    return int(waiting[0][0])


def test_a_stopped_backend_costs_the_writer_a_few_seconds_then_503_and_recovery(make_server):
    server = make_server()
    shop = server.shop()
    visitor, keys = shop.visitor(), [str(uuid.uuid4()) for _ in range(4)]
    with visitor.follow() as stream:
        start = stream.opening()
        backend = writers_backend(server, visitor)
        os.kill(backend, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            with ThreadPoolExecutor(4) as hands:
                answers = list(hands.map(lambda key: visitor.post({"text": f"held up {key}", "client_message_id": key}), keys))
            waited = time.monotonic() - begun
            for answer in answers:
                if answer.status_code != 200:  # Or a new connection has already done it.
                    assert_problem(answer, 503, "unavailable")
                    assert "Retry-After" in answer.headers
            # The rule is five seconds; the rest is for a busy machine. Without a deadline of the client's own it is for ever.
            assert waited < 12, f"{waited:.1f} s behind a stopped backend"
            # Recovery does not wait for that backend.
            again = [persistently(lambda: visitor.post({"text": f"held up {key}", "client_message_id": key})) for key in keys]
            assert {answer.status_code for answer in again} == {200}
            visitor.say("working again")
        finally:
            os.kill(backend, signal.SIGCONT)
        stream.wait_for_texts(["working again", *(f"held up {key}" for key in keys)])
        # What the stopped one still had in hand must not come out a second time.
        eventually(lambda: not server.database.rows(f"SELECT 1 FROM pg_stat_activity WHERE pid = {backend} AND state <> 'idle'"),
                   "the stopped backend to come to rest")
        visitor.say("the end")
        stream.wait_for_texts(["the end"])
        assert_contiguous(stream.events, after=start.id)
        assert len(texts(stream.events)) == len(set(texts(stream.events)))
    assert server.database.number(f"SELECT count(*) - count(DISTINCT text) FROM messages WHERE dialog_id = {visitor.dialog_id}") == 0
    server.database.assert_gapless(shop.account_id)


def test_an_account_that_somebody_else_has_locked_delays_no_other_account(server):
    held, free = server.shop(), server.shop()
    waiting_visitor, other_visitor, key = held.visitor(), free.visitor(), str(uuid.uuid4())
    with Session(server.database) as somebody, ThreadPoolExecutor(1) as hands:
        somebody.run("BEGIN")
        somebody.run(f"SELECT id FROM accounts WHERE id = {held.account_id} FOR UPDATE")
        begun, posted = time.monotonic(), 0
        waiting = hands.submit(waiting_visitor.post, {"text": "behind a lock", "client_message_id": key})
        while time.monotonic() - begun < 3 or posted < 5:
            other_visitor.say(f"not concerned {posted}")
            posted += 1
            # It is the order that counts: these were answered while the lock was held.
            assert not (waiting.done() and waiting.result().status_code == 200), "the lock is no lock"
        stored = server.database.number(f"SELECT count(*) FROM messages WHERE dialog_id = {waiting_visitor.dialog_id}")
        assert stored == 0, "still locked at the end"
        somebody.run("COMMIT")
        first = waiting.result(timeout=30)
        if first.status_code != 200:
            assert_problem(first, 503, "unavailable")
            assert "Retry-After" in first.headers
    answer = persistently(lambda: waiting_visitor.post({"text": "behind a lock", "client_message_id": key}))
    assert answer.status_code == 200
    assert server.database.number(f"SELECT count(*) FROM messages WHERE dialog_id = {waiting_visitor.dialog_id}") == 1
    for shop in (held, free):
        server.database.assert_gapless(shop.account_id)


def test_what_was_answered_2xx_is_stored_though_the_server_was_killed_in_the_midst_of_it(make_server):
    server = make_server()
    shop = server.shop()
    visitors, answered = shop.visitors(8), []
    enough = threading.Event()

    def write(visitor) -> None:
        number = 0
        try:
            while True:
                answer = visitor.post({"text": f"{visitor.dialog_id} {number}", "client_message_id": str(uuid.uuid4())})
                if answer.status_code == 200:
                    answered.append(answer.json()["user_message"]["id"])
                number += 1
                if len(answered) > 200:
                    enough.set()
        except httpx.TransportError:
            return

    writers = [threading.Thread(target=write, args=(visitor,), daemon=True) for visitor in visitors]
    [writer.start() for writer in writers]
    assert enough.wait(timeout=60)
    server.kill()
    [writer.join(timeout=30) for writer in writers]
    stored = {int(row[0]) for row in server.database.rows(f"SELECT id FROM messages WHERE account_id = {shop.account_id}")}
    assert set(answered) <= stored
    server.start()
    with shop.operator.follow(last_event_id=f"{shop.operator.get('/api/dialogs').json()['cursor'].split('-')[0]}-0") as account:
        account.opening()
        told = {frame.data["message"]["id"] for frame in account.events if frame.data["type"] == "message:new"}
        assert told == stored, "every stored message is in the log, and nothing else"
    server.database.assert_gapless(shop.account_id)


def test_connections_that_postgresql_cuts_are_made_anew(server, shop):
    visitor = shop.visitor()
    with visitor.follow() as stream:
        start = stream.opening()
        for number in range(3):
            server.database.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                 " WHERE datname = current_database() AND pid <> pg_backend_pid()")
            visitor.say_persistently(f"after cut {number}")
        stream.wait_for_texts([f"after cut {number}" for number in range(3)])
        assert_contiguous(stream.events, after=start.id)
        assert not stream.ended
