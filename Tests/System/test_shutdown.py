"""SIGTERM: every stream is told, everything answered is stored, and the process is gone within ten seconds."""

import re
import threading
import time
import uuid
from urllib.parse import urlencode

import httpx
import pytest

from harness.clients import Node
from harness.raw import RawConnection
from harness.relay import Relay
from harness.streams import assert_contiguous, texts
from harness.waiting import eventually

#: Ten seconds are the rule; two are for a busy machine to notice.
GONE_WITHIN = 12


def assert_told_to_drain(stream) -> None:
    stream.wait_for_end()
    assert stream.error is None, f"a clean end, not {stream.error!r}"
    assert [frame.data["reason"] for frame in stream.named("bye")] == ["drain"]
    goodbye = stream.text[stream.text.index("event: bye"):]
    retries = [int(number) for number in re.findall(r"^retry: (\d+)$", goodbye, re.MULTILINE)]
    assert retries and min(retries) >= 1000, f"a retry line comes with the goodbye: {goodbye!r}"


@pytest.mark.parametrize("drain", ["1", "8"])
def test_sigterm_ends_every_stream_with_bye_drain_and_the_process_with_0(make_server, drain):
    server = make_server(REPLYX_DRAIN_SECONDS=drain)
    shop = server.shop()
    visitors = shop.visitors(20)
    streams = [visitor.follow() for visitor in visitors] + [shop.operator.follow(), shop.operator.follow(visitors[0].dialog_id)]
    [stream.opening() for stream in streams]
    begun = time.monotonic()
    server.ask_to_stop()
    assert server.process.wait(timeout=30) == 0
    assert time.monotonic() - begun < GONE_WITHIN
    for stream in streams:
        assert_told_to_drain(stream)
        stream.close()
    if drain == "8":
        delays = {int(number) for stream in streams for number in re.findall(r"retry: (\d+)", stream.text[stream.text.index("event: bye"):])}
        assert len(delays) > 3, "jittered: they must not all come back at once"


def test_readyz_says_no_as_soon_as_the_server_is_asked_to_stop(make_server):
    server = make_server(REPLYX_DRAIN_SECONDS="6")
    shop = server.shop()
    streams = [visitor.follow() for visitor in shop.visitors(10)]
    [stream.opening() for stream in streams]
    server.ask_to_stop()

    def unready() -> bool:
        try:
            return httpx.get(f"{server.url}/readyz", trust_env=False, timeout=5).status_code == 503
        except httpx.TransportError:
            return True

    eventually(unready, "a load balancer to be told")
    assert server.process.wait(timeout=30) == 0
    [stream.close() for stream in streams]


def test_without_streams_it_ends_at_once_and_again_with_0(make_server):
    server = make_server()
    server.ask_to_stop()
    assert server.process.wait(timeout=GONE_WITHIN) == 0


def test_a_second_sigterm_does_no_harm(make_server):
    server = make_server(REPLYX_DRAIN_SECONDS="3")
    stream = server.shop().visitor().follow()
    stream.opening()
    server.ask_to_stop()
    server.ask_to_stop()
    assert server.process.wait(timeout=GONE_WITHIN) == 0
    assert_told_to_drain(stream)


def test_readers_that_never_read_and_pending_polls_do_not_hold_it_up(make_server):
    server = make_server()
    visitor = server.shop().visitor()
    with httpx.Client(trust_env=False, timeout=40) as client:
        polling = threading.Thread(target=lambda: poll(client, server, visitor), daemon=True)
        polling.start()
        stream, lazy = visitor.follow(), RawConnection(server.port, receive_buffer=4096)
        lazy.get(f"{visitor.path}/events?{urlencode(visitor.query)}")
        stream.opening()
        visitor.say_many([f"{number} " + "ж" * 9_000 for number in range(10)])
        server.ask_to_stop()
        assert server.process.wait(timeout=GONE_WITHIN) == 0
        polling.join(timeout=10)
        assert not polling.is_alive()
        stream.close(), lazy.close()


def poll(client: httpx.Client, server, visitor) -> None:
    try:
        client.get(f"{server.url}{visitor.path}/events", headers={"Accept": "application/json"},
                   params={**visitor.query, "after": visitor.opened["cursor"], "wait": "25"})
    except httpx.TransportError:
        pass


@pytest.mark.skipif(not Node.is_here(), reason="needs node with --experimental-eventsource")
def test_nothing_is_lost_over_a_deploy(make_server):
    """Posts in flight while it stops are either answered and stored, or not answered; readers resume over it."""
    server = make_server()
    shop = server.shop()
    visitor, answered, refused = shop.visitor(), [], threading.Event()

    def write(name: int) -> None:
        for number in range(100_000):
            text = f"{name} {number}"
            try:
                if visitor.post({"text": text, "client_message_id": str(uuid.uuid4())}).status_code == 200:
                    answered.append(text)
                    continue
            except httpx.TransportError:
                pass
            refused.set()
            return

    token = {"stream_token": visitor.opened["stream_token"]}
    with visitor.follow() as stream, Relay(server.port) as relay, \
            Node(f"{relay.url}{visitor.path}/events", token) as browser:
        start = stream.opening()
        browser.wait_for_opening()
        writers = [threading.Thread(target=write, args=(name,), daemon=True) for name in range(4)]
        [writer.start() for writer in writers]
        eventually(lambda: len(answered) > 50, "traffic")
        server.ask_to_stop()
        assert server.process.wait(timeout=GONE_WITHIN) == 0
        assert refused.wait(timeout=20)
        [writer.join(timeout=30) for writer in writers]
        assert_told_to_drain(stream)
        server.start()
        visitor.say("after the deploy")
        with visitor.follow(last_event_id=stream.last_id) as again:
            again.wait_for_texts(["after the deploy"])
            whole = stream.events + again.events
        # It had no help: `bye`, the end, its own reconnect with its own last id.
        assert [frame.id for frame in browser.wait_for_texts(["after the deploy"], within=60)] == [frame.id for frame in whole]
        assert not browser.gave_up() and not browser.named("reset")
    assert_contiguous(whole, after=start.id)
    stored = {row[0] for row in server.database.rows(f"SELECT text FROM messages WHERE dialog_id = {visitor.dialog_id}")}
    assert set(answered) <= stored
    assert sorted(texts(whole)) == sorted(stored)
    server.database.assert_gapless(shop.account_id)
