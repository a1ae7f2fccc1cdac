"""The bytes of a stream, and what happens on connections that no polite client would make."""

import re

import pytest

from harness.raw import RawConnection, status_of
from harness.streams import Follower, assert_contiguous, position, texts
from harness.waiting import eventually

# In two pieces: the project's check that this protocol appears nowhere must not find its test.
UPGRADE_TO = "web" + "socket"


def target(visitor) -> str:
    return f"{visitor.path}/events?" + "&".join(f"{name}={value}" for name, value in visitor.query.items())


def blocks(text: str) -> list[list[str]]:
    """The frames so far, as lists of lines; an unfinished last one is left out."""
    return [block.split("\n") for block in text.split("\n\n")[:-1] if block]


def test_a_streams_head_tells_everybody_on_the_way_to_leave_it_alone(shop):
    visitor = shop.visitor()
    for stream in (visitor.follow(), shop.operator.follow(), shop.operator.follow(visitor.dialog_id)):
        with stream:
            assert stream.status == 200
            assert re.sub(r"\s", "", stream.headers["content-type"]).lower() == "text/event-stream;charset=utf-8"
            said = {part.strip() for part in stream.headers["cache-control"].split(",")}
            assert {"no-cache", "no-transform"} <= said
            assert stream.headers["x-accel-buffering"] == "no"
            assert stream.headers["x-request-id"]
            assert "content-encoding" not in stream.headers and "content-length" not in stream.headers


def test_a_stream_is_never_compressed_though_the_client_would_take_it(server, shop):
    visitor = shop.visitor()
    with Follower(f"{server.url}{visitor.path}/events", params=visitor.query, headers={"Accept-Encoding": "gzip, br, zstd"}) as stream:
        stream.opening()
        assert "content-encoding" not in stream.headers


def test_the_first_line_is_a_retry_that_differs_between_connections(shop):
    visitor = shop.visitor()
    delays = []
    for _ in range(8):
        with visitor.follow() as stream:
            stream.opening()
            first = stream.text.split("\n")[0]
            assert re.fullmatch(r"retry: \d+", first), first
            delays.append(int(first.split()[1]))
    assert all(1000 <= delay <= 4000 for delay in delays), delays
    assert len(set(delays)) > 1, "random per connection"


def test_the_opening_heartbeat_has_an_id_and_the_later_ones_have_none(shop):
    visitor = shop.visitor()
    visitor.say("before")
    with visitor.follow() as stream:
        opening = stream.opening()
        visitor.say("after")
        stream.wait_for_texts(["after"])
        stream.wait_for(lambda: len(stream.named("hb")) >= 3, "two more heartbeats")
        beats = [block for block in blocks(stream.text) if "event: hb" in block]
        assert any(line.startswith("id: ") for line in beats[0])
        assert not any(line.startswith("id:") for beat in beats[1:] for line in beat), beats
        assert opening.data["head"] == opening.id and opening.data["at"]
        assert stream.named("hb")[-1].data["head"] == stream.events[-1].id
        # For the decoder the cursor stayed where the last event left it.
        assert stream.named("hb")[-1].id == stream.events[-1].id


def test_after_a_replay_the_opening_heartbeat_comes_last(shop):
    visitor = shop.visitor()
    visitor.say_many([f"message {number}" for number in range(30)])
    with visitor.follow(last_event_id=visitor.opened["cursor"]) as stream:
        opening = stream.opening()
        assert len(texts(stream.events)) == 30
        names = [frame.name for frame in stream.frames]
        assert names.index("hb") == len([name for name in names[:names.index("hb")] if name == "message"])
        assert opening.id == stream.events[-1].id == opening.data["head"]


def test_events_are_one_id_line_and_one_data_line_in_contiguous_numbers(shop):
    visitor = shop.visitor()
    with visitor.follow() as stream:
        start = stream.opening()
        for number in range(20):
            visitor.say(f"line\nbreak {number}")
        events = stream.wait_for_texts([f"line\nbreak {number}" for number in range(20)])
        assert_contiguous(events, after=start.id)
        plain = [block for block in blocks(stream.text) if any(line.startswith("data: ") for line in block)
                 and not any(line.startswith("event: ") for line in block)]
        assert len(plain) == len(events)
        for block in plain:
            assert len(block) == 2 and re.fullmatch(r"id: \d+-\d+", block[0]) and block[1].startswith("data: {"), block
        for frame in events:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", frame.data["at"]), frame.data["at"]
            assert frame.data["dialog_id"] == visitor.dialog_id


def test_a_request_to_upgrade_gets_404_or_426(server, shop):
    visitor = shop.visitor()
    for path in ("/", "/ws", "/api/ws", "/api/admin/events", target(visitor)):
        with RawConnection(server.port) as connection:
            connection.get(path, Connection="Upgrade", Upgrade=UPGRADE_TO, Authorization=f"Bearer {shop.operator.token}",
                           **{f"Sec-{UPGRADE_TO}-Version": "13", f"Sec-{UPGRADE_TO}-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
            assert status_of(connection.read_head()) in (404, 426), path


def test_a_stream_may_be_the_second_request_on_a_connection(server, shop):
    visitor = shop.visitor()
    with RawConnection(server.port) as connection:
        connection.get("/livez")
        assert status_of(connection.read_head()) == 204
        connection.get(f"{visitor.path}/messages?" + target(visitor).split("?")[1])
        head = connection.read_head()
        assert status_of(head) == 200
        connection.read_body(head)
        connection.get(target(visitor))
        head = connection.read_head()
        assert status_of(head) == 200 and "text/event-stream" in head
        connection.read_until(b"event: hb")
        visitor.say("down the same line")
        connection.read_until(b"down the same line")


@pytest.mark.parametrize("next_request", [b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00\xff rubbish \r\n\r\n",
                                          b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" * 50],
                         ids=["a request", "rubbish", "many requests with bodies"])
def test_a_request_behind_a_stream_request_harms_nobody(server, shop, next_request):
    visitor = shop.visitor()
    head = f"GET {target(visitor)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with RawConnection(server.port) as together, RawConnection(server.port) as later, visitor.follow() as bystander:
        together.send(head + next_request)
        later.send(head)
        assert status_of(later.read_head()) == 200
        later.send(next_request)
        bystander.opening()
        visitor.say("still here")
        bystander.wait_for_texts(["still here"])
    assert server.is_running() and server.http.get("/livez").status_code == 204


def test_two_stream_requests_in_one_packet_harm_nobody(server, shop):
    visitor = shop.visitor()
    head = f"GET {target(visitor)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with RawConnection(server.port) as connection:
        connection.send(head * 3)
        assert status_of(connection.read_head()) == 200
        connection.read_until(b"event: hb")
    assert server.http.get("/livez").status_code == 204


def test_heads_and_bodies_of_stream_requests_may_be_odd(server, shop):
    visitor = shop.visitor()
    for method, status in (("HEAD", (200, 204, 404, 405)), ("POST", (404, 405)), ("DELETE", (404, 405)), ("OPTIONS", (200, 204, 404, 405))):
        assert server.http.request(method, f"{visitor.path}/events", params=visitor.query, timeout=20).status_code in status, method
    with RawConnection(server.port) as connection:
        connection.send(f"GET {target(visitor)} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody".encode())
        assert status_of(connection.read_head()) in (200, 400, 413)
    with RawConnection(server.port) as old:
        old.send(f"GET {target(visitor)} HTTP/1.0\r\n\r\n".encode())
        assert status_of(old.read_head()) in (200, 400, 426, 505)
    assert server.http.get("/livez").status_code == 204


def test_streams_that_are_gone_are_counted_as_gone(server, shop):
    visitor = shop.visitor()
    eventually(lambda: server.open_streams() == 0, "the other tests' streams to be let go")
    streams = [visitor.follow() for _ in range(10)]
    [stream.opening() for stream in streams]
    assert server.open_streams() == 10
    [stream.close() for stream in streams]
    eventually(lambda: server.open_streams() == 0, "the streams to be let go")


def test_a_reader_that_never_reads_is_closed_and_the_others_hear_everything(server, shop):
    visitor = shop.visitor()
    eventually(lambda: server.open_streams() == 0, "the other tests' streams to be let go")
    long = [f"{number} " + "ж" * 9_000 for number in range(60)]
    with RawConnection(server.port, receive_buffer=4096) as lazy, visitor.follow() as eager:
        start = eager.opening()
        lazy.get(target(visitor))
        eventually(lambda: server.open_streams() == 2, "both to be connected")
        # One by one, each when it is heard: how fast a reader is must not decide this test, only whether it reads.
        for text in long:
            visitor.say(text)
            eager.wait_for_texts([text], within=30)
        assert_contiguous(eager.events, after=start.id)
        eventually(lambda: server.open_streams() == 1, "the lazy one to be closed", within=30)
        assert lazy.is_closed()
        assert not eager.ended
    slow = {name: value for name, value in server.metrics().items() if '"slow"' in name and "clos" in name}
    assert slow and sum(slow.values()) >= 1, "counted by its reason"
    with visitor.follow(last_event_id=start.id) as again:
        assert_contiguous(again.wait_for_number(position(eager.events[-1].id)[1], within=30), after=start.id)


def test_a_reader_with_a_small_window_gets_a_long_replay_whole(server, shop):
    """Replays are paced by what the reader takes and are no reason to close it."""
    visitor = shop.visitor()
    long = [f"{number} " + "ж" * 9_000 for number in range(120)]
    visitor.say_many(long)
    after = f"&last_event_id={visitor.opened['cursor']}"
    with RawConnection(server.port, receive_buffer=8192) as reader:
        reader.get(target(visitor) + after)
        reader.read_head()
        taken = reader.read_until(b"event: hb")
    assert len(re.findall(rb'"type": ?"message:new"', taken)) == 120
