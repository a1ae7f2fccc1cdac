"""A client that resumes with its last id sees each event exactly once and in order, or is told that it cannot."""

import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.clients import LaunchDarkly, Node
from harness.relay import Relay
from harness.streams import Follower, assert_contiguous, assert_unbroken, cursor_at, position, texts
from harness.waiting import eventually

MISSED = [f"missed {number}" for number in range(200)]


def resumed(visitor, cursor: str, how: str) -> Follower:
    return visitor.follow(last_event_id=cursor) if how == "header" else visitor.follow(params={"last_event_id": cursor})


@pytest.mark.parametrize("how", ["header", "query"])
def test_200_events_missed_while_away_are_replayed_exactly_once_in_order(server, shop, how):
    visitor = shop.visitor()
    with visitor.follow() as stream:
        stream.opening()
        visitor.say("seen")
        stream.wait_for_texts(["seen"])
        last = stream.last_id
    visitor.say_many(MISSED)
    with resumed(visitor, last, how) as stream:
        stream.opening()
        assert sorted(texts(stream.events)) == sorted(MISSED)
        assert_contiguous(stream.events, after=last)
        visitor.say("live again")
        stream.wait_for_texts(["live again"])
        assert_contiguous(stream.events, after=last)


def test_a_stream_without_a_cursor_that_broke_before_its_first_event_misses_nothing(shop):
    visitor = shop.visitor()
    visitor.say("long ago")
    with visitor.follow() as stream:
        cursor = stream.opening().id
        assert not stream.events, "without a cursor a stream begins at the head"
    visitor.say_many(MISSED)
    with visitor.follow(last_event_id=cursor) as stream:
        stream.opening()
        assert sorted(texts(stream.events)) == sorted(MISSED)
        assert_contiguous(stream.events, after=cursor)


def test_the_header_beats_the_query(shop):
    """A native EventSource reopens the same URL, whose query is old by then."""
    visitor = shop.visitor()
    with visitor.follow() as stream:
        first = stream.opening().id
        visitor.say("one"), visitor.say("two")
        events = stream.wait_for_texts(["one", "two"])
    newer = next(frame.id for frame in events if frame.data["type"] == "message:new" and frame.data["message"]["text"] == "one")
    with visitor.follow(last_event_id=newer, params={"last_event_id": first}) as stream:
        stream.opening()
        assert texts(stream.events) == ["two"]


def test_the_account_stream_resumes_too(server):
    shop = server.shop()
    with shop.operator.follow() as stream:
        cursor = stream.opening().id
    visitors = shop.visitors(10)
    with ThreadPoolExecutor(8) as hands:
        list(hands.map(lambda number: visitors[number % 10].say(f"missed {number}"), range(200)))
    with shop.operator.follow(last_event_id=cursor) as stream:
        stream.opening()
        assert sorted(texts(stream.events)) == sorted(MISSED)
        assert_contiguous(stream.events, after=cursor)


def test_what_was_missed_survives_kill_9_and_a_restart(make_server):
    server = make_server()
    shop = server.shop()
    visitor = shop.visitor()
    with visitor.follow() as stream, \
            LaunchDarkly(f"{server.url}{visitor.path}/events", visitor.query) as by_itself:
        cursor = stream.opening().id
        by_itself.wait_for_opening()
        visitor.say_many(MISSED[:50])
        stream.wait_for_texts(MISSED[:50])
        stream.close()
        visitor.say_many(MISSED[50:120])
        server.restart()
        visitor.say_many(MISSED[120:])
        with visitor.follow(last_event_id=stream.last_id) as after:
            after.opening()
            assert_contiguous(stream.events + after.events, after=cursor)
            assert sorted(texts(stream.events + after.events)) == sorted(MISSED)
        # Who reconnects by itself had no help, and may not have heard anything twice.
        assert_contiguous(by_itself.wait_for_texts(MISSED, within=30), after=cursor)
        assert not by_itself.named("reset")
    server.database.assert_gapless(shop.account_id)


@pytest.mark.skipif(not Node.is_here(), reason="needs node with --experimental-eventsource")
def test_a_native_event_source_comes_through_kill_9_by_itself(make_server):
    server = make_server()
    visitor = server.shop().visitor()
    token = {"stream_token": visitor.opened["stream_token"]}
    with Relay(server.port) as relay, Node(f"{relay.url}{visitor.path}/events", token) as browser:
        browser.wait_for_opening()
        cursor = browser.named("hb")[0].id
        visitor.say_many(MISSED[:100])
        server.restart()
        visitor.say_many(MISSED[100:])
        assert_contiguous(browser.wait_for_texts(MISSED, within=45), after=cursor)
        assert not browser.named("reset") and not browser.gave_up()


def test_streams_stay_open_over_an_immediate_restart_of_postgresql_and_catch_up(make_server, breakable_cluster):
    server = make_server(on=breakable_cluster)
    shop = server.shop()
    visitor = shop.visitor()
    with visitor.follow() as dialog, shop.operator.follow() as account:
        start, head = dialog.opening(), account.opening()
        visitor.say_many(MISSED[:50])
        with ThreadPoolExecutor(4) as hands:
            writing = [hands.submit(visitor.say_persistently, text) for text in MISSED[50:]]
            breakable_cluster.restart()
            for each in writing:
                each.result(timeout=60)
        dialog.wait_for_texts(MISSED, within=30), account.wait_for_texts(MISSED, within=30)
        assert not dialog.ended and not account.ended
        assert_contiguous(dialog.events, after=start.id)
        assert_contiguous(account.events, after=head.id)
        assert sorted(texts(dialog.events)) == sorted(MISSED), "each once"
    with visitor.follow(last_event_id=start.id) as again:
        again.opening()
        assert [frame.id for frame in again.events] == [frame.id for frame in dialog.events]
    server.database.assert_gapless(shop.account_id)


def test_readers_that_subscribe_at_random_moments_see_no_hole_and_no_double_at_the_seam(server):
    """100 repetitions, while one dialog gets as many events as it can."""
    shop = server.shop()
    visitor = shop.visitor()
    visitor.say("the first")
    stop, numbers, chance = threading.Event(), itertools.count(), random.Random(7)

    def write() -> None:
        while not stop.is_set():
            visitor.say(f"flood {next(numbers)}")

    def read(kind: str) -> None:
        # From the head, from a snapshot's cursor, or from somewhere in the past (a replay that must meet the ring).
        cursor = None
        if kind == "snapshot":
            cursor = visitor.messages(limit=1)["cursor"]
        elif kind == "past":
            head = visitor.messages(limit=1)["cursor"]
            cursor = cursor_at(head, max(0, position(head)[1] - chance.randrange(400)))
        with visitor.follow(last_event_id=cursor) as stream:
            opening = stream.opening(within=40)
            reached = position(opening.id)[1]
            events = stream.wait_for_number(reached + chance.randrange(1, 40), within=40)
            if cursor:
                assert_contiguous(events, after=cursor)
            assert_unbroken(stream)

    def read_account(_: str) -> None:
        with shop.operator.follow() as stream:
            stream.wait_for_number(stream.opening(within=40).number + 20, within=40)
            assert_unbroken(stream)

    with ThreadPoolExecutor(8) as writers, ThreadPoolExecutor(4) as readers:
        writing = [writers.submit(write) for _ in range(8)]
        try:
            kinds = ["head", "snapshot", "past", "account"] * 25
            list(readers.map(lambda kind: read_account(kind) if kind == "account" else read(kind), kinds))
        finally:
            stop.set()
        for each in writing:
            each.result()
    server.database.assert_gapless(shop.account_id)


@pytest.mark.parametrize("garbage", ["garbage", "1", "-", "1-", "-1", "1-x", "x-1", "1-1-1", "1--1", "0x1-1", "1-1.5", "9" * 40 + "-1",
                                     "1-" + "9" * 40, "a" * 4000, "1-1;DROP TABLE events", "１-１"], ids=lambda text: text[:12])
def test_a_last_event_id_of_garbage_gets_200_and_a_reset(shop, garbage):
    visitor = shop.visitor()
    visitor.say("before")
    with visitor.follow(params={"last_event_id": garbage}) as stream:
        assert stream.status == 200
        reset = stream.wait_for(lambda: stream.named("reset"), "the reset")[0]
        assert reset.data["reason"] in (("malformed", "ahead", "generation") if garbage.count("9") > 30 else ("malformed",))
        assert_continues_from(visitor, reset, stream)


def assert_continues_from(visitor, reset, stream) -> None:
    """A reset names the head, and from there on nothing is missing: on this connection or the next."""
    assert reset.id == reset.data["head"]
    visitor.say("after the reset")
    eventually(lambda: stream.ended or "after the reset" in texts(stream.events), "life after the reset")
    if stream.ended:
        with visitor.follow(last_event_id=reset.id) as again:
            again.wait_for_texts(["after the reset"])
            stream = again
    assert_contiguous(stream.events, after=reset.id)
    assert texts(stream.events) == ["after the reset"]


def test_garbage_in_the_header_gets_200_and_a_reset_too(shop):
    visitor = shop.visitor()
    with visitor.follow(last_event_id="garbage") as stream:
        assert stream.status == 200
        assert stream.wait_for(lambda: stream.named("reset"), "the reset")[0].data["reason"] == "malformed"


@pytest.mark.parametrize("reason", ["ahead", "generation"])
def test_a_cursor_that_was_never_given_out_gets_a_reset(shop, reason):
    visitor = shop.visitor()
    visitor.say("before")
    generation, number = position(visitor.messages()["cursor"])
    cursor = f"{generation}-{number + 1}" if reason == "ahead" else f"{generation + 7}-{number}"
    with visitor.follow(last_event_id=cursor) as stream:
        reset = stream.wait_for(lambda: stream.named("reset"), "the reset")[0]
        assert reset.data["reason"] == reason
        assert_continues_from(visitor, reset, stream)


def test_a_cursor_whose_rows_were_erased_gets_a_reset_and_a_younger_one_does_not(make_server):
    server = make_server()
    shop = server.shop()
    visitor = shop.visitor()
    said = [visitor.say(f"message {number}") for number in range(20)]
    cursor = visitor.messages()["cursor"]
    kept = said[9]["seq"]
    server.database.execute(f"DELETE FROM events WHERE dialog_id = {visitor.dialog_id} AND dialog_seq <= {kept}")
    server.restart()  # No memory of the server can stand in for the rows.
    with visitor.follow(last_event_id=cursor_at(cursor, kept)) as stream:
        stream.opening()
        assert not stream.named("reset")
        assert texts(stream.events) == [f"message {number}" for number in range(10, 20)]
    with visitor.follow(last_event_id=cursor_at(cursor, said[4]["seq"])) as stream:
        reset = stream.wait_for(lambda: stream.named("reset"), "the reset")[0]
        assert reset.data["reason"] == "erased"
        assert_continues_from(visitor, reset, stream)


def test_all_rows_erased_is_a_reset_too_unless_the_cursor_is_the_head(make_server):
    server = make_server()
    shop = server.shop()
    visitor = shop.visitor()
    said = [visitor.say(f"message {number}") for number in range(3)]
    cursor = visitor.messages()["cursor"]
    server.database.execute(f"DELETE FROM events WHERE account_id = {shop.account_id}")
    server.restart()
    with visitor.follow(last_event_id=cursor) as stream:
        stream.opening()
        assert not stream.named("reset") and not stream.events
    with visitor.follow(last_event_id=cursor_at(cursor, said[0]["seq"])) as stream:
        assert stream.wait_for(lambda: stream.named("reset"), "the reset")[0].data["reason"] == "erased"


def test_what_one_node_writes_another_nodes_streams_hear(make_server, cluster):
    """Without a bus the log itself is how they hear of it, and this is the test of who looks."""
    one = make_server()
    other = make_server(DATABASE_URL=one.environment["DATABASE_URL"], REPLYX_SECRETS=one.environment["REPLYX_SECRETS"])
    visitor = one.shop().visitor()
    follower = Follower(f"{other.url}{visitor.path}/events", params=visitor.query)
    try:
        start = follower.opening()
        said = [f"over there {number}" for number in range(50)]
        for text in said:
            visitor.say(text)
        follower.wait_for_texts(said)
        assert_contiguous(follower.events, after=start.id)
        assert other.metrics()["replyx_gaps_repaired_total"] >= 50
    finally:
        follower.close()
