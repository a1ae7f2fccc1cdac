"""How much visitors may do: of one visitor, of one address, on all nodes together, and with Redis away."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.nodes import at
from harness.people import Visitor, assert_problem
from harness.waiting import eventually

ON = {"REPLYX_LIMITS": "on"}
MANY_DIALOGS = {**ON, "REPLYX_LIMIT_ADDRESS_DIALOGS": "1000"}


@pytest.fixture(scope="module")
def limited(binary, cluster, directory):
    from conftest import started
    server = started(binary, cluster, directory, **MANY_DIALOGS, REPLYX_TRUSTED_PROXIES="127.0.0.1")
    yield server
    server.remove()


class Crowd:
    """Addresses nobody has used yet: the module's tests share a server, and would share a budget."""

    used = 0

    @classmethod
    def address(cls) -> dict[str, str]:
        cls.used += 1
        return {"X-Forwarded-For": f"198.51.{cls.used // 250}.{cls.used % 250 + 1}"}


def send(visitor: Visitor, text: str = "hello", headers: dict | None = None, server=None, key: str | None = None):
    return (server or visitor.server).http.post(
        f"{visitor.path}/messages", params=visitor.query, headers=headers,
        json={"text": text, "client_message_id": key or str(uuid.uuid4())})


def open_dialog(shop, headers: dict, guest_id: str | None = None, server=None):
    visitor = Visitor(shop, guest_id)
    return (server or shop.server).http.post(visitor.base, params=visitor.query, json={}, headers=headers)


def accepted(responses: list) -> int:
    for response in responses:
        if response.status_code != 200:
            assert_problem(response, 429, "rate_limited")
    return sum(response.status_code == 200 for response in responses)


# Of one visitor

def test_a_visitors_thirty_first_message_in_a_minute_is_told_when_to_come_again(limited):
    visitor, here = limited.shop().visitor(), Crowd.address()
    assert accepted([send(visitor, f"{number}", here) for number in range(30)]) == 30
    refused = send(visitor, "31", here)
    assert_problem(refused, 429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 3
    assert refused.headers["RateLimit-Limit"] == "30" and refused.headers["RateLimit-Remaining"] == "0"
    assert 50 <= int(refused.headers["RateLimit-Reset"]) <= 61
    # What was refused is not there, and what is said again when it was told to is.
    assert len(visitor.messages(limit=100)["items"]) == 30
    time.sleep(int(refused.headers["Retry-After"]))
    assert send(visitor, "31", here).status_code == 200


def test_another_visitor_behind_the_same_address_goes_on(limited):
    shop, here = limited.shop(), Crowd.address()
    one, other = shop.visitor(), shop.visitor()
    assert accepted([send(one, headers=here) for _ in range(40)]) in (30, 31)
    assert accepted([send(other, headers=here) for _ in range(30)]) == 30


def test_the_honest_are_served_behind_the_address_of_somebody_who_floods(limited, measured):
    shop, here = limited.shop(), Crowd.address()
    honest, flooder = shop.visitors(50), shop.visitor()

    def talk(visitor: Visitor) -> list[int]:
        return [send(visitor, f"honest {number}", here).status_code for number in range(8)]

    def flood(_: int) -> int:
        return send(flooder, "me me me", here).status_code

    def stray(_: int) -> int:
        """Somebody else's dialog, with a guest id that was just made up: not even a visitor."""
        return send(Visitor(shop), "lost", here).status_code

    with ThreadPoolExecutor(16) as hands:
        flooding = [hands.submit(flood, number) for number in range(300)]
        straying = [hands.submit(stray, number) for number in range(300)]
        said = list(hands.map(talk, honest))
        flooded = [each.result() for each in flooding]
        strayed = [each.result() for each in straying]
    assert all(status == 200 for statuses in said for status in statuses)
    assert 30 <= flooded.count(200) <= 45 and flooded.count(429) == 300 - flooded.count(200)
    assert set(strayed) <= {404, 405, 429}
    measured(f"{sum(map(len, said))} of 50 honest visitors' messages taken, {flooded.count(200)} of 300 of the flooder's")


def test_an_address_has_twenty_visitors_worth(make_server):
    server = make_server(**MANY_DIALOGS, REPLYX_LIMIT_VISITOR_MESSAGES="2", REPLYX_LIMIT_ADDRESS_FACTOR="3")
    shop = server.shop()
    visitors = shop.visitors(4)
    assert [send(visitor).status_code for visitor in visitors for _ in range(2)] == [200] * 6 + [429] * 2


def test_what_came_to_nothing_costs_the_neighbours_nothing(make_server):
    server = make_server(**MANY_DIALOGS, REPLYX_LIMIT_VISITOR_MESSAGES="2", REPLYX_LIMIT_ADDRESS_FACTOR="3")
    shop = server.shop()
    stranger = Visitor(shop)
    stranger.dialog_id = shop.visitor().dialog_id
    for _ in range(20):
        assert send(stranger).status_code == 404
    visitors = shop.visitors(3)
    assert [send(visitor).status_code for visitor in visitors for _ in range(2)] == [200] * 6


def test_a_repeat_is_the_same_message_also_when_it_had_to_wait(limited):
    visitor, here, key = limited.shop().visitor(), Crowd.address(), str(uuid.uuid4())
    first = send(visitor, "once", here, key=key)
    assert accepted([send(visitor, headers=here) for _ in range(35)]) < 35
    refused = send(visitor, "once", here, key=key)
    if refused.status_code == 429:
        time.sleep(int(refused.headers["Retry-After"]))
        refused = send(visitor, "once", here, key=key)
    assert refused.status_code == 200 and refused.headers["Idempotent-Replayed"] == "true"
    assert refused.json()["user_message"]["id"] == first.json()["user_message"]["id"]


# New dialogs

def test_the_eleventh_new_dialog_of_an_address_waits_and_who_has_one_comes_back(make_server):
    server = make_server(**ON)
    shop = server.shop()
    known = [shop.visitor() for _ in range(10)]
    assert_problem(open_dialog(shop, {}), 429, "rate_limited")
    for visitor in known:
        again = server.http.post(visitor.base, params=visitor.query, json={})
        assert again.status_code == 200 and again.json()["created"] is False


# Addresses

def test_only_a_proxy_that_is_trusted_is_believed(make_server):
    for proxies, expected in (("", 10), ("192.0.2.0/24", 10), ("127.0.0.0/8", 15)):
        server = make_server(**ON, REPLYX_TRUSTED_PROXIES=proxies)
        shop = server.shop()
        opened = [open_dialog(shop, {"X-Forwarded-For": f"203.0.113.{number}"}).status_code for number in range(15)]
        assert opened.count(200) == expected, f"trusting {proxies!r}"


def test_what_a_client_writes_in_front_of_the_proxys_word_counts_for_nothing(make_server):
    server = make_server(**ON, REPLYX_TRUSTED_PROXIES="127.0.0.1")
    shop = server.shop()
    opened = [open_dialog(shop, {"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.7"}).status_code
              for number in range(15)]
    assert opened.count(200) == 10


def test_a_household_with_ipv6_is_one_address(make_server):
    server = make_server(**ON, REPLYX_TRUSTED_PROXIES="127.0.0.1")
    shop = server.shop()
    same = [open_dialog(shop, {"X-Forwarded-For": f"2001:db8:1:1::{number:x}"}).status_code for number in range(15)]
    assert same.count(200) == 10
    assert open_dialog(shop, {"X-Forwarded-For": "2001:db8:1:2::1"}).status_code == 200


# Streams

def test_a_visitors_sixth_stream_is_told_to_come_later_and_takes_the_place_of_one_that_left(limited):
    visitor = limited.shop().visitor()
    streams = [visitor.follow(params={}) for _ in range(5)]
    for stream in streams:
        stream.opening()
    sixth = visitor.follow()
    sixth.wait_for(lambda: sixth.ended, "the sixth stream's end")
    assert sixth.status == 200 and sixth.named("bye")[0].data["reason"] == "overload"
    assert not sixth.named("hb")
    streams[0].close()

    def has_room() -> bool:
        again = visitor.follow()
        again.wait_for(lambda: again.ended or again.named("hb"), "an answer")
        return bool(again.named("hb"))

    eventually(has_room, "a place for another stream")


def test_another_visitors_streams_are_their_own(limited):
    shop = limited.shop()
    one, other = shop.visitor(), shop.visitor()
    for stream in [one.follow() for _ in range(5)] + [other.follow() for _ in range(5)]:
        stream.opening()
    assert len(shop.operator.follow().opening().id) > 2


# Many nodes

def test_nodes_share_what_a_visitor_may_do(make_nodes, redis):
    nodes = make_nodes(2, REDIS_URL=redis.url(redis.unused_database()), **MANY_DIALOGS)
    visitor = nodes.shop().visitor()
    answers = [send(visitor, server=nodes[number % 2]).status_code for number in range(40)]
    assert answers.count(200) in (30, 31)
    streams = [visitor.follow() for _ in range(3)]
    for stream in streams:
        stream.opening()
    there = [at(nodes[1], visitor).follow() for _ in range(3)]
    for stream in there:
        stream.wait_for(lambda stream=stream: stream.ended or stream.named("hb"), "an answer")
    assert sum(bool(stream.named("hb")) for stream in there) == 2


def test_without_redis_each_node_goes_on_by_itself(make_nodes, directory):
    from harness.redis import Redis
    with Redis(directory) as own:
        nodes = make_nodes(2, REDIS_URL=own.url(0), **MANY_DIALOGS)
        shop = nodes.shop()
        own.kill()
        for node in nodes:
            visitor = shop.visitor()
            answers = [send(visitor, server=node).status_code for _ in range(40)]
            assert answers.count(200) in (30, 31), answers
            assert set(answers) == {200, 429}


# Off

def test_they_can_be_switched_off(make_server):
    server = make_server(REPLYX_LIMITS="off")
    visitor = server.shop().visitor()
    assert {send(visitor).status_code for _ in range(60)} == {200}


@pytest.mark.parametrize("name, value", [
    ("REPLYX_LIMITS", "maybe"), ("REPLYX_LIMIT_VISITOR_MESSAGES", "0"), ("REPLYX_TRUSTED_PROXIES", "10.0.0.1/8"),
    ("REPLYX_TRUSTED_PROXIES", "everybody"), ("REPLYX_OUTBOUND_ALLOW", "localhost"),
])
def test_a_setting_that_cannot_be_is_refused_by_its_name_or_its_word(server, name, value):
    ended = server.command("serve", **{name: value})
    assert ended.returncode != 0
    assert name in ended.stderr or value in ended.stderr


# Found by a reviewer, each of them once open

@pytest.mark.parametrize("path, method", [
    ("/api/site/dialogs/999999/messages", "POST"), ("/api/site/dialogs/999999/messages", "GET"),
    ("/api/site/dialogs/999999/events", "GET"), ("/api/site/dialogs/999999/typing", "POST"), ("/api/site/dialogs", "GET"),
])
def test_nothing_that_a_visitor_asks_for_is_without_a_limit(limited, path, method):
    visitor, here = Visitor(limited.shop()), {**Crowd.address(), "Accept": "application/json"}
    body = {"json": {"text": "hello", "typing": True}} if method == "POST" else {}
    with ThreadPoolExecutor(8) as hands:
        statuses = list(hands.map(
            lambda _: limited.http.request(method, path, params=visitor.query, headers=here, **body).status_code, range(300)))
    assert 429 in statuses and statuses.count(429) >= 50
    assert set(statuses) <= {200, 404, 429}


def test_guessing_assistants_numbers_ends_soon(make_server):
    server = make_server(**ON, REPLYX_LIMIT_VISITOR_REQUESTS="10", REPLYX_LIMIT_ADDRESS_FACTOR="2")
    statuses = [server.http.get("/api/widget/dialogs", params={"assistant_id": 10_000 + number, "guest_id": "a" * 24}).status_code
                for number in range(40)]
    assert statuses[:15] == [404] * 15 and statuses[-10:] == [429] * 10


def test_a_page_that_may_ask_may_read_that_its_streams_are_too_many(limited):
    shop = limited.shop(allowed_domains=["shop.example"])
    visitor = shop.visitor()
    streams = [visitor.follow() for _ in range(5)]
    for stream in streams:
        stream.opening()
    # A browser takes an answer that it may not read for a failure, and gives the stream up.
    with limited.http.stream("GET", f"{visitor.path}/events", params=visitor.query,
                             headers={"Origin": "https://shop.example", "Accept": "text/event-stream"}) as sixth:
        assert sixth.status_code == 200 and sixth.headers["content-type"].startswith("text/event-stream")
        assert sixth.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert "Origin" in sixth.headers["Vary"] and sixth.headers["X-Content-Type-Options"] == "nosniff"
        assert "overload" in sixth.read().decode()
