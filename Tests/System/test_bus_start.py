"""What a node knows of the last minutes when it starts, from the bus alone, and what it says of Redis and of the bus."""

import random
import time

import pytest

from harness.busproxy import BusProxy
from harness.nodes import Nodes, at, check, counter, readiness, resumes, said_by_turns, wait_for_check
from harness.postgres import Session
from harness.redis import Bus
from harness.streams import assert_contiguous, cursor_at, texts
from harness.waiting import eventually


@pytest.fixture(scope="module")
def nodes(make_module_nodes, redis) -> Nodes:
    return make_module_nodes(2, REDIS_URL=redis.url(redis.unused_database()))


def resumed_on(node, visitor, cursor: str, account_cursor: str) -> tuple[list[str], list[str]]:
    """What is replayed of the dialog and of the account."""
    with at(node, visitor).follow(last_event_id=cursor) as dialog, at(node, visitor.shop.operator).follow(last_event_id=account_cursor) as account:
        dialog.opening(), account.opening()
        assert_contiguous(dialog.events, after=cursor)
        assert_contiguous(account.events, after=account_cursor)
        assert not dialog.named("reset") and not account.named("reset")
        return texts(dialog.events), texts(account.events)


def test_a_fresh_node_replays_the_last_minutes_without_asking_postgresql(nodes):
    visitor = nodes.shop().visitor()
    cursor = visitor.opened["cursor"]
    said = said_by_turns(nodes, visitor, 60)
    fresh = nodes.add()
    wait_for_check(fresh, "bus", "ok")
    with Session(nodes.database) as somebody:
        # Who asks for events now waits, and gets none.
        somebody.run("BEGIN")
        somebody.run("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        replayed = resumed_on(fresh, visitor, cursor, cursor_at(cursor, 0))
        somebody.run("ROLLBACK")
    assert replayed == (said, said)
    assert resumes(fresh).get("bus", 0) >= 1 and not resumes(fresh).get("postgres")
    with at(fresh, visitor).follow(last_event_id=cursor) as stream:
        stream.opening()
        visitor.say("live after the replay")
        assert texts(stream.wait_for_texts(["live after the replay"])) == [*said, "live after the replay"]
        assert_contiguous(stream.events, after=cursor)


def test_a_node_that_was_killed_replays_what_was_said_while_it_was_away(make_nodes, redis):
    nodes = make_nodes(2, REDIS_URL=redis.url(redis.unused_database()))
    visitor = nodes.shop().visitor()
    with at(nodes[1], visitor).follow() as stream:
        start = stream.opening().id
        visitor.say("seen")
        stream.wait_for_texts(["seen"])
        nodes[1].kill()
        said = [f"message {number}" for number in range(30)]
        for text in said:
            visitor.say(text)
        nodes[1].start()
        nodes.wait_for_bus()
        with at(nodes[1], visitor).follow(last_event_id=stream.last_id) as again:
            again.opening()
            assert texts(again.events) == said
            assert_contiguous(stream.events + again.events, after=start)
    assert resumes(nodes[1]).get("bus") == 1 and not resumes(nodes[1]).get("postgres")


@pytest.mark.parametrize("damage", ["a hole", "the beginning is gone", "swapped and doubled", "entries of another database", "all is gone"])
def test_a_fresh_node_believes_the_bus_only_where_nothing_is_missing(make_nodes, redis, damage):
    number = redis.unused_database()
    nodes, bus = make_nodes(2, REDIS_URL=redis.url(number)), Bus(redis.client(number))
    visitor = nodes.shop().visitor()
    account_id, cursor = visitor.shop.account_id, visitor.opened["cursor"]
    said = said_by_turns(nodes, visitor, 40)
    entries = bus.all_entries(account_id, nodes.database)
    if damage == "a hole":
        ids = [entry_id for entry_id, fields in bus.client.xrange(bus.key(account_id)) if fields.get("s") in ("20", "21", "33")]
        assert bus.client.xdel(bus.key(account_id), *ids) == 3
    else:
        bus.forget()
        first, *rest = entries
        random.Random(11).shuffle(rest)
        theirs = [{**entry, "o": "another database", "p": entry["p"].replace('"text":"', '"text":"theirs ')} for entry in entries]
        left = {"the beginning is gone": sorted(entries, key=lambda entry: int(entry["s"]))[25:], "swapped and doubled": [first, *rest, *rest, first],
                "entries of another database": theirs, "all is gone": []}[damage]
        for fields in left:
            bus.add(account_id, fields)
    fresh = nodes.add()
    wait_for_check(fresh, "bus", "ok")
    assert resumed_on(fresh, visitor, cursor, cursor_at(cursor, 0)) == (said, said)
    believed, instead = ("bus", "postgres") if damage == "swapped and doubled" else ("postgres", "bus")
    assert resumes(fresh).get(believed, 0) >= 1 and not resumes(fresh).get(instead)
    with at(fresh, visitor).follow(last_event_id=cursor) as stream:
        visitor.say("live")
        assert texts(stream.wait_for_texts(["live"])) == [*said, "live"]
        assert_contiguous(stream.events, after=cursor)


# What a node says of it


def test_readyz_and_health_tell_of_redis_and_the_bus(nodes, make_nodes):
    for node in nodes:
        for base in (node.url, node.management_url):
            assert readiness(node, base) == (200, {"status": "ok", "checks": {"postgres": "ok", "migrations": "ok", "redis": "ok", "bus": "ok"}})
        assert node.http.get("/api/sse/health").json()["redis_status"] == "connected"
        assert counter(node, "replyx_bus_healthy") == 1
    alone = make_nodes(1)[0]
    checks = {"postgres": "ok", "migrations": "ok", "redis": "not_configured", "bus": "not_configured"}
    assert readiness(alone) == (200, {"status": "ok", "checks": checks})
    assert alone.http.get("/api/sse/health").json()["redis_status"] == "not_configured"


def test_only_the_node_whose_way_is_shut_says_so_and_it_stays_in_service(make_nodes, redis, measured):
    number = redis.unused_database()
    nodes = make_nodes(1, REDIS_URL=redis.url(number))
    with BusProxy(redis.port) as way:
        shut = nodes.add(REDIS_URL=way.url(number))
        wait_for_check(shut, "bus", "ok")
        reopened = counter(shut, "replyx_bus_reopens_total")
        way.silent, begun = True, time.monotonic()
        wait_for_check(shut, "bus", "degraded", within=3)
        measured(f"a way that delivers nothing was noticed after {time.monotonic() - begun:.2f} s")
        assert readiness(shut)[1]["status"] == "degraded" and check(shut, "redis") == "ok"
        assert counter(shut, "replyx_bus_healthy") == 0
        assert check(nodes[0], "bus") == "ok"
        eventually(lambda: counter(shut, "replyx_bus_reopens_total") > reopened, "the reader to be opened again")
        visitor = nodes.shop().visitor()
        with at(shut, visitor).follow() as stream:
            start = stream.opening()
            said = [f"message {each}" for each in range(10)]
            for text in said:
                visitor.say(text)
            assert texts(stream.wait_for_texts(said, within=3)) == said
            way.silent, begun = False, time.monotonic()
            wait_for_check(shut, "bus", "ok", within=10)
            measured(f"well again after {time.monotonic() - begun:.2f} s")
            visitor.say("by the bus again")
            stream.wait_for_texts(["by the bus again"])
            assert_contiguous(stream.events, after=start.id)
        shut.kill()
