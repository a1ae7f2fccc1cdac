"""Connections that do not behave cost a bounded time and a bounded memory, and never hold the server up."""

import time
from urllib.parse import urlencode

from harness.raw import RawConnection
from harness.waiting import eventually

GONE_WITHIN = 12


def stream_of(visitor) -> str:
    return f"{visitor.path}/events?{urlencode(visitor.query)}"


def test_requests_that_never_end_and_answers_that_nobody_takes_do_not_hold_up_a_stop(make_server):
    server = make_server(REPLYX_DRAIN_SECONDS="1")
    with RawConnection(server.port) as half, RawConnection(server.port, receive_buffer=4096) as lazy, \
            RawConnection(server.port) as idle:
        half.send(b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        lazy.send(b"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        idle.get("/livez")
        idle.read_head()
        begun = time.monotonic()
        server.ask_to_stop()
        assert server.process.wait(timeout=60) == 0
        assert time.monotonic() - begun < GONE_WITHIN


def test_behind_a_request_for_another_protocol_nothing_is_kept(server):
    with RawConnection(server.port) as connection:
        connection.get("/livez", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABkAAQAAP__")
        head = connection.read_head().lower()
        assert "204" in head.splitlines()[0] and "connection: close" in head
        eventually(connection.is_closed, "the connection to be closed")


def test_what_follows_an_upgraded_stream_is_bounded(server, shop):
    visitor = shop.visitor()
    with RawConnection(server.port) as connection:
        connection.get(stream_of(visitor), Connection="Upgrade", Upgrade="h2c")
        connection.read_until(b"event: hb")
        try:
            for _ in range(64):
                connection.send(b"x" * 65536)
        except ConnectionError:
            return
        eventually(connection.is_closed, "the connection to be closed")


def test_rubbish_behind_a_good_request_ends_the_connection_and_only_it(server):
    with RawConnection(server.port) as connection:
        connection.get("/livez")
        connection.read_head()
        connection.send(b"\x00\xff rubbish\r\n\r\n")
        assert b"400" in connection.read_until(b"\r\n")
    assert server.http.get("/livez").status_code == 204


def test_a_stream_that_is_asked_for_behind_other_requests_is_opened_and_they_are_answered_first(server, shop):
    visitor = shop.visitor()
    with RawConnection(server.port) as connection:
        connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.get(stream_of(visitor))
        head = connection.read_head()
        assert "application/json" in head
        connection.read_body(head)
        assert "text/event-stream" in connection.read_head()
        connection.read_until(b"event: hb")


def test_refused_streams_leave_the_connection_as_it_was(server):
    with RawConnection(server.port) as connection:
        for _ in range(200):
            connection.get("/api/admin/events")
            head = connection.read_head()
            assert " 401 " in head.splitlines()[0]
            connection.read_body(head)
        connection.get("/livez")
        assert " 204 " in connection.read_head().splitlines()[0]
