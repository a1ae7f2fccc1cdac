"""Typing is heard on every node at once, and leaves nothing behind: no number, no replay, no echo, nothing stale."""

import time

import pytest

from harness.nodes import Nodes, at, dropped_ephemerals, stopped, wait_for_check
from harness.streams import Follower, assert_contiguous, texts
from harness.waiting import eventually


@pytest.fixture(scope="module")
def pair(make_module_nodes, redis) -> Nodes:
    return make_module_nodes(2, REDIS_URL=redis.url(redis.unused_database()))


def typings(stream: Follower) -> list[tuple[str, str]]:
    return [(frame.data["type"], frame.data["sender"]) for frame in list(stream.frames)
            if frame.name == "message" and frame.data["type"].startswith("typing_")]


def types(node, person, visitor, typing: bool) -> None:
    path, options = ((f"{visitor.path}/typing", {"params": visitor.query}) if person is visitor
                     else (f"/api/dialogs/{visitor.dialog_id}/typing", {"headers": person.credentials}))
    answer = node.http.post(path, json={"typing": typing}, **options)
    assert answer.status_code == 204, answer.text


def wait_until_all_is_there(nodes, visitor, streams: list[Follower], mark: str) -> None:
    """Whatever any node had published before has come, or will not: each has said something since, on the same shard."""
    said = [f"{mark} {number}" for number in range(len(nodes))]
    for node, text in zip(nodes, said):
        at(node, visitor).say(text)
    for stream in streams:
        stream.wait_for_texts(said)


def test_typing_is_seen_once_on_every_node_without_an_id(pair):
    visitor = pair.shop().visitor("typing-guest-0123456789ab", through="widget")
    operator = visitor.shop.operator
    visitor.say("hello")
    streams = [stream for node in pair for stream in (at(node, visitor).follow(), at(node, operator).follow(),
                                                      at(node, operator).follow(visitor.dialog_id))]
    heads = [stream.opening().id for stream in streams]
    before = dropped_ephemerals(pair[0]).get("own", 0)
    types(pair[0], visitor, visitor, True)
    for stream in streams:
        stream.wait_for(lambda: typings(stream), "that somebody types")
    types(pair[0], visitor, visitor, False)
    types(pair[1], operator, visitor, True)
    for stream in streams:
        stream.wait_for(lambda: len(typings(stream)) >= 3, "the rest of it")
    eventually(lambda: dropped_ephemerals(pair[0]).get("own", 0) >= before + 2, "its own to come back and be dropped")
    wait_until_all_is_there(pair, visitor, streams, "after typing")
    for stream, head in zip(streams, heads):
        seen = typings(stream)
        assert [each for each in seen if each[1] == "user"] == [("typing_start", "user"), ("typing_stop", "user")]
        assert [each for each in seen if each[1] == "manager"] == [("typing_start", "manager")]
        for block in stream.text.split("\n\n"):
            assert "typing_" not in block or "id:" not in block.replace("dialog_id", ""), f"no number is spent on it: {block!r}"
        frames = [frame.data for frame in stream.frames if frame.data.get("type", "").startswith("typing_")]
        assert all(data["dialog_id"] == visitor.dialog_id and data["at"] and "seq" not in data for data in frames)
        assert_contiguous(stream.events, after=head)
        stream.close()


def test_typing_is_for_those_who_may_see_the_dialog_and_by_those_who_may_write_there(pair):
    shop, other_shop = pair.shop(), pair.shop()
    visitor, neighbour = shop.visitor(), shop.visitor()
    streams = [at(node, person).follow() for node in pair for person in (neighbour, other_shop.operator)]
    [stream.opening() for stream in streams]
    types(pair[0], visitor, visitor, True)
    assert pair[0].http.post(f"{visitor.path}/typing", params=neighbour.query, json={"typing": True}).status_code == 404
    assert other_shop.operator.post(f"/api/dialogs/{visitor.dialog_id}/typing", {"typing": True}).status_code == 404
    assert pair[0].http.post(f"{visitor.path}/typing", json={"typing": True}).status_code == 401
    stranger = other_shop.visitor()
    wait_until_all_is_there(pair, neighbour, [stream for number, stream in enumerate(streams) if number % 2 == 0], "fence")
    wait_until_all_is_there(pair, stranger, [stream for number, stream in enumerate(streams) if number % 2 == 1], "fence")
    assert not [seen for stream in streams for seen in typings(stream)]
    [stream.close() for stream in streams]


def test_typing_is_never_replayed(pair):
    visitor = pair.shop().visitor()
    with visitor.follow() as witness:
        start = witness.opening().id
        visitor.say("one")
        types(pair[0], visitor, visitor, True)
        witness.wait_for(lambda: typings(witness), "that somebody types")
        visitor.say("two")
        witness.wait_for_texts(["two"])
    said = ["one", "two"]
    for node in [*pair, pair.add()]:
        wait_for_check(node, "bus", "ok")
        with at(node, visitor).follow(last_event_id=start) as again:
            again.opening()
            assert texts(again.events) == said and not typings(again)
            said.append(f"live on {node.port}")
            at(node, visitor).say(said[-1])
            assert texts(again.wait_for_texts(said)) == said and not typings(again)


def test_typing_that_is_older_than_10_s_is_dropped(pair):
    visitor = pair.shop().visitor()
    with at(pair[1], visitor).follow() as stream, visitor.follow() as witness:
        start, _ = stream.opening(), witness.opening()
        with stopped(pair[1]):
            types(pair[0], visitor, visitor, True)
            witness.wait_for(lambda: typings(witness), "that somebody types")
            time.sleep(11.5)
        wait_until_all_is_there(pair, visitor, [stream], "now")
        wait_for_check(pair[1], "bus", "ok")
        assert not typings(stream), "it would say now what was so then"
        types(pair[0], visitor, visitor, False)
        stream.wait_for(lambda: typings(stream) == [("typing_stop", "user")], "what is new")
        assert_contiguous(stream.events, after=start.id)


def test_typing_without_a_bus_stays_on_its_node_and_harms_nothing(make_nodes):
    nodes = make_nodes(2)
    visitor = nodes.shop().visitor()
    with visitor.follow() as here, at(nodes[1], visitor).follow() as there:
        here.opening(), there.opening()
        types(nodes[0], visitor, visitor, True)
        here.wait_for(lambda: typings(here) == [("typing_start", "user")], "that somebody types")
        wait_until_all_is_there(nodes, visitor, [here, there], "after")
        assert typings(here) == [("typing_start", "user")] and not typings(there)


@pytest.mark.parametrize("body, status", [({}, 422), ({"typing": "yes"}, 422), ({"typing": None}, 422), ([], 422)], ids=str)
def test_typing_wants_true_or_false(pair, body, status):
    visitor = pair.shop().visitor()
    answer = pair[0].http.post(f"{visitor.path}/typing", params=visitor.query, json=body)
    assert answer.status_code in (400, status), answer.text
