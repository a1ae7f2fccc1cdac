"""What lies on the bus: read in any order, any number of times, from anybody, it changes nothing that a reader sees."""

import json
import random
import time
from urllib.parse import urlsplit, urlunsplit

import pytest

from harness.busproxy import BusProxy, Passage
from harness.nodes import Nodes, at, counter, said_by_turns, wait_for_check
from harness.redis import SHARDS, Bus
from harness.streams import assert_contiguous, position, texts
from harness.waiting import eventually

EVENT_FIELDS = ["n", "o", "x", "k", "a", "g", "s", "d", "q", "t", "m", "p"]


@pytest.fixture(scope="module")
def database_number(redis) -> int:
    return redis.unused_database()


@pytest.fixture(scope="module")
def bus(redis, database_number) -> Bus:
    return Bus(redis.client(database_number))


@pytest.fixture(scope="module")
def nodes(make_module_nodes, redis, database_number) -> Nodes:
    return make_module_nodes(2, REDIS_URL=redis.url(database_number))


# What is put there


def test_every_event_is_put_on_its_shard_once_with_the_fields_in_their_order(nodes, bus):
    shop = nodes.shop()
    visitor = shop.visitor()
    said_by_turns(nodes, visitor, 10)
    entries = bus.all_entries(shop.account_id, nodes.database)
    assert {tuple(entry) for entry in entries} == {tuple(EVENT_FIELDS)}
    assert len({entry["n"] for entry in entries}) == 2, "each node under a name of its own"
    assert len({entry["o"] for entry in entries}) == 1 and entries[0]["o"]
    generation = nodes.database.value("SELECT generation FROM log_generation")
    rows = nodes.database.rows("SELECT seq, dialog_id, dialog_seq, type, (extract(epoch FROM created_at) * 1000000)::bigint, payload"
                               f" FROM events WHERE account_id = {shop.account_id} ORDER BY seq")
    in_order = sorted(entries, key=lambda entry: int(entry["s"]))
    for entry, (seq, dialog_id, dialog_seq, kind, at_microseconds, payload) in zip(in_order, rows, strict=True):
        assert (entry["k"], entry["a"], entry["g"], entry["s"]) == ("event", str(shop.account_id), generation, seq)
        assert (entry["d"], entry["q"], entry["t"]) == (dialog_id, dialog_seq, kind)
        # What a program counts in milliseconds may have lost the rest.
        assert abs(int(entry["m"]) - int(at_microseconds)) < 1000
        assert json.loads(entry["p"]) == json.loads(payload)


def test_an_idle_bus_is_probed_and_does_not_grow(nodes, bus):
    def last_ids() -> list[str]:
        return [bus.client.xinfo_stream(key)["last-generated-id"] for key in bus.keys]

    ids, length = last_ids(), bus.length()
    time.sleep(4)
    assert all(new != old for new, old in zip(last_ids(), ids)), "each shard is heard of at least every second"
    assert bus.length() <= length + 2 * SHARDS, "a probe that came back is taken away"


def test_a_stream_of_the_bus_does_not_grow_without_end(nodes, bus):
    shop = nodes.shop()
    visitor = shop.visitor()
    filling = bus.client.pipeline(transaction=False)
    for number in range(12_000):
        filling.xadd(bus.key(shop.account_id), {"k": "unheard of", "x": number})
    filling.execute()
    with at(nodes[1], visitor).follow() as stream:
        start = stream.opening()
        said = said_by_turns(nodes, visitor, 20)
        stream.wait_for_texts(said)
        assert_contiguous(stream.events, after=start.id)
    # `~` lets Redis trim by whole blocks of a hundred.
    eventually(lambda: bus.client.xlen(bus.key(shop.account_id)) < 10_300, "the stream to be cut back")
    for node in nodes:
        wait_for_check(node, "bus", "ok")


# What is read there


def copies(entries: list[dict[str, str]], **changes: object) -> list[dict]:
    return [{**entry, **changes} for entry in entries]


def test_one_event_fifty_times_is_seen_once(nodes, bus):
    shop = nodes.shop()
    visitor = shop.visitor()
    with at(nodes[1], visitor).follow() as dialog, shop.operator.follow() as account:
        start, head = dialog.opening(), account.opening()
        said = said_by_turns(nodes, visitor, 10)
        dialog.wait_for_texts(said)
        entries = bus.all_entries(shop.account_id, nodes.database)
        again = [copy for number in range(50) for copy in copies(entries, n=f"copy {number}")]
        random.Random(3).shuffle(again)
        for fields in again:
            bus.add(shop.account_id, fields)
        later = said_by_turns(nodes, visitor, 10, "later")
        dialog.wait_for_texts(later), account.wait_for_texts(later)
        assert texts(dialog.events) == texts(account.events) == said + later
        assert_contiguous(dialog.events, after=start.id)
        assert_contiguous(account.events, after=head.id)
    nodes.assert_in_order()


class Deaf:
    """A node that hears of the others only when it is let: its ways to Redis and to PostgreSQL can be shut."""

    def __init__(self, nodes: Nodes, redis, database_number: int):
        self.to_redis = BusProxy(redis.port)
        address = urlsplit(nodes.database.url)
        self.to_postgres = Passage.to_port(address.port)
        netloc = f"{address.username}:{address.password}@127.0.0.1:{self.to_postgres.port}"
        self.node = nodes.add(REDIS_URL=self.to_redis.url(database_number), DATABASE_URL=urlunsplit(address._replace(netloc=netloc)))
        wait_for_check(self.node, "bus", "ok")

    def shut(self) -> None:
        self.to_redis.silent = True
        # Noticed, the reader leaves its place. Noticed later, it would pass over what this test is about.
        eventually(lambda: counter(self.node, "replyx_bus_healthy") == 0, "the silence to be noticed")
        self.to_postgres.hold()

    def open_bus(self) -> None:
        """Not PostgreSQL: what it hears now, it has from the bus."""
        self.to_redis.silent = False
        eventually(lambda: counter(self.node, "replyx_bus_healthy") == 1, "the bus to be well again")

    def __enter__(self) -> "Deaf":
        return self

    def __exit__(self, *_: object) -> None:
        self.node.kill()
        self.to_redis.close()
        self.to_postgres.close()


@pytest.mark.parametrize("order, times", [("backwards", 1), ("at random", 50)])
def test_events_in_another_order_are_seen_in_order_from_the_bus_alone(make_nodes, redis, order, times):
    number = redis.unused_database()
    nodes, bus = make_nodes(1, REDIS_URL=redis.url(number)), Bus(redis.client(number))
    shop = nodes.shop()
    visitor = shop.visitor()
    visitor.say("the first")
    with Deaf(nodes, redis, number) as deaf, at(deaf.node, visitor).follow() as dialog, at(deaf.node, shop.operator).follow() as account:
        start, head = dialog.opening(), account.opening()
        deaf.shut()
        looked = counter(deaf.node, "replyx_gaps_repaired_total")
        said = [f"message {each}" for each in range(20)]
        for text in said:
            visitor.say(text)
        entries = [entry for entry in bus.all_entries(shop.account_id, nodes.database) if int(entry["s"]) > position(head.id)[1]]
        assert len(entries) == 20
        bus.forget()
        assert not texts(dialog.events), "it has heard nothing yet"
        deaf.open_bus()
        swapped = [copy for each in range(times) for copy in copies(entries, n=f"another node {each}")]
        swapped.reverse() if order == "backwards" else random.Random(5).shuffle(swapped)
        filling = bus.client.pipeline(transaction=False)
        for fields in swapped:
            filling.xadd(bus.key(shop.account_id), fields)
        filling.execute()
        assert texts(dialog.wait_for_texts(said)) == said
        assert texts(account.wait_for_texts(said)) == said
        assert counter(deaf.node, "replyx_gaps_repaired_total") == looked, "PostgreSQL had no part in it"
        deaf.to_postgres.release()
        eventually(lambda: deaf.node.is_ready(), "PostgreSQL to be there again", within=30)
        visitor.say("the end")
        dialog.wait_for_texts(["the end"]), account.wait_for_texts(["the end"])
        assert_contiguous(dialog.events, after=start.id)
        assert_contiguous(account.events, after=head.id)
        assert counter(deaf.node, "replyx_out_of_order_total") == 0


def test_two_nodes_that_publish_one_dialog_in_swapped_order_are_heard_in_order(make_nodes, redis):
    """One of them reaches Redis a little later than the other, as over a slow way."""
    number = redis.unused_database()
    nodes, bus = make_nodes(2, REDIS_URL=redis.url(number)), Bus(redis.client(number))
    with BusProxy(redis.port) as slow:
        slow.lag = 0.06
        late = nodes.add(REDIS_URL=slow.url(number))
        shop = nodes.shop()
        visitor = shop.visitor()
        streams = [stream for node in nodes for stream in (at(node, visitor).follow(), at(node, shop.operator).follow())]
        heads = [stream.opening().id for stream in streams]
        said = [f"message {each}" for each in range(120)]
        for each, text in enumerate(said):
            at(late if each % 3 == 0 else nodes[each % 2], visitor).say(text)
        for stream, head in zip(streams, heads):
            assert texts(stream.wait_for_texts(said)) == said
            assert_contiguous(stream.events, after=head)
            stream.close()
        order = [int(entry["s"]) for entry in bus.all_entries(shop.account_id, nodes.database)]
        assert order != sorted(order), "nothing was swapped, nothing was shown"
        nodes.assert_in_order()
        late.kill()


def test_entries_of_another_database_are_not_ours(nodes, bus):
    shop = nodes.shop()
    visitor = shop.visitor()
    with at(nodes[1], visitor).follow() as dialog, at(nodes[1], shop.operator).follow() as account:
        start, head = dialog.opening(), account.opening()
        visitor.say("ours")
        dialog.wait_for_texts(["ours"])
        model = bus.all_entries(shop.account_id, nodes.database)[-1]
        for step in range(1, 4):
            payload = json.loads(model["p"])
            payload["message"]["text"] = "theirs"
            bus.add(shop.account_id, {**model, "n": "theirs", "o": "another database", "s": int(model["s"]) + step,
                                      "q": int(model["q"]) + step, "p": json.dumps(payload)})
            bus.add(shop.account_id, {"n": "theirs", "o": "another database", "k": "live", "a": shop.account_id, "d": visitor.dialog_id,
                                      "t": "typing_start", "m": time.time_ns() // 1000, "p": '{"sender":"user"}'})
        said = said_by_turns(nodes, visitor, 10)
        dialog.wait_for_texts(said), account.wait_for_texts(said)
        assert texts(dialog.events) == texts(account.events) == ["ours", *said]
        assert_contiguous(dialog.events, after=start.id)
        assert_contiguous(account.events, after=head.id)
        assert not [frame for stream in (dialog, account) for frame in stream.frames if "typing" in str(frame.data)]


def test_two_databases_may_share_one_redis(make_nodes, redis):
    """As when somebody tries a copy of the database next to the real one. The same accounts, the same numbers."""
    url = redis.url(redis.unused_database())
    ours, theirs = make_nodes(2, REDIS_URL=url), make_nodes(2, REDIS_URL=url)
    visitors = [nodes.shop().visitor() for nodes in (ours, theirs)]
    assert visitors[0].dialog_id == visitors[1].dialog_id and visitors[0].shop.account_id == visitors[1].shop.account_id
    with at(ours[1], visitors[0]).follow() as here, at(theirs[1], visitors[1]).follow() as there:
        starts = [here.opening().id, there.opening().id]
        for number in range(20):
            visitors[0].say(f"ours {number}")
            visitors[1].say(f"theirs {number}")
        assert texts(here.wait_for_texts(["ours 19"])) == [f"ours {number}" for number in range(20)]
        assert texts(there.wait_for_texts(["theirs 19"])) == [f"theirs {number}" for number in range(20)]
        assert_contiguous(here.events, after=starts[0])
        assert_contiguous(there.events, after=starts[1])


def malformed(model: dict[str, str], node: str) -> list[dict]:
    """Entries that no node writes, made from one that a node wrote.

    What could not be told from an event of the future carries a number that is known already: the bus is not open to
    strangers, and this is about accidents.
    """
    following = {**model, "s": int(model["s"]) + 1, "q": int(model["q"]) + 1, "p": model["p"].replace('"text":"', '"text":"forged ')}
    without = [{name: value for name, value in following.items() if name != missing} for missing in EVENT_FIELDS if missing not in ("n", "x")]
    no_numbers = ["", " ", "x", "1.5", "-1", "-9223372036854775809", "0x10", "１", "9" * 40, "1e3", "NaN", b"\xff\xfe", b"\x00"]
    numbers = [{**model, name: value} for name in ("a", "g", "s", "d", "q", "m") for value in no_numbers]
    huge = [{**model, "s": 10**15, "q": 10**15}, {**model, "s": 2**63 - 1}, {**model, "a": 2**63 - 1}, {**model, "m": 2**63 - 1}]
    payloads = [{**model, "p": value} for value in ("", "{", "[]", "null", "{}", "{" * 100_000, "x" * 3_000_000, bytes(range(256)) * 100)]
    live = {"n": "forger", "o": model["o"], "k": "live", "a": model["a"], "d": model["d"], "t": "typing_start", "m": time.time_ns() // 1000}
    others = [{"x": "y"}, {"": ""}, {"k": ""}, {"k": "event"}, {"k": "live"}, {"k": "probe"}, {**live, "k": "a kind of the future", "p": "{}"},
              {"n": node, "k": "probe", "x": "x"}, {"n": node, "k": "probe", "x": 2**64}, {"n": node, "k": "probe", "x": -1},
              {"n": "", "k": "probe", "x": 1}, {"n": node, "o": model["o"], "k": "probe", "x": 2**63 - 1},
              live, {**live, "m": "x", "p": "{}"}, {**live, "m": 2**63 - 1, "p": "{"}, {**live, "d": "x", "p": "{}"}, {**live, "t": "", "p": "[]"},
              {**live, "t": b"\xff\n\ndata: forged", "p": b"\xff"}, {b"\xff\xfe": b"\xff"}, {f"f{number}": number for number in range(2000)},
              {**model, "t": "x\n\ndata: forged"}, {**model, "later": "a field of the future"}]
    return [*without, *numbers, *huge, *payloads, *others]


def test_malformed_entries_do_no_harm(nodes, bus):
    shop = nodes.shop()
    visitor = shop.visitor()
    streams = [stream for node in nodes for stream in (at(node, visitor).follow(), at(node, shop.operator).follow())]
    heads = [stream.opening().id for stream in streams]
    said = said_by_turns(nodes, visitor, 4, "before")
    entries = bus.all_entries(shop.account_id, nodes.database)
    for fields in malformed(entries[-1], entries[-1]["n"]):
        bus.add(shop.account_id, fields)
    # One field twice, which no client library's dictionary can say.
    bus.client.execute_command("XADD", bus.key(shop.account_id), "*", *sum(entries[-1].items(), ()), "s", "x", "a", "x")
    said += said_by_turns(nodes, visitor, 20, "after")
    for stream, head in zip(streams, heads):
        assert texts(stream.wait_for_texts(said)) == said
        assert_contiguous(stream.events, after=head)
        assert not stream.ended and "\ndata: forged" not in stream.text
        stream.close()
    for node in nodes:
        wait_for_check(node, "bus", "ok")
        assert node.is_running()
    nodes.assert_in_order()


def test_what_is_no_stream_where_a_stream_should_be_does_no_harm(make_nodes, redis):
    """Somebody's SET took the name: that shard is lost until it is removed, and nobody's event is."""
    number = redis.unused_database()
    client = redis.client(number)
    nodes = make_nodes(2, REDIS_URL=redis.url(number))
    visitor = nodes.shop().visitor()
    with at(nodes[1], visitor).follow() as stream:
        start = stream.opening()
        key = Bus.key(visitor.shop.account_id)
        client.set(key, "not a stream")
        said = said_by_turns(nodes, visitor, 10)
        stream.wait_for_texts(said)
        wait_for_check(nodes[0], "bus", "degraded")
        client.delete(key)
        nodes.wait_for_bus()
        said += said_by_turns(nodes, visitor, 10, "later")
        assert texts(stream.wait_for_texts(said)) == said
        assert_contiguous(stream.events, after=start.id)
