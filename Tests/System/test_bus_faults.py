"""Two nodes under load while Redis breaks in every way it can, and while a node does: an oracle compares each reader with
the database. Nothing is lost, doubled or out of order, and no stream is closed by a fault of Redis.
"""

import os
import time
from typing import Callable

import pytest

from harness.busproxy import BusProxy
from harness.nodes import Nodes, check, counter, readiness, stopped, wait_for_check
from harness.oracle import Crowd, Oracle, Report
from harness.redis import Bus, Redis
from harness.waiting import eventually

pytestmark = pytest.mark.faults

#: How soon a bus that does not deliver must be noticed, and how soon one that does again.
NOTICED_WITHIN, WELL_WITHIN = 3, 10
STOPPED_FOR = 60 if os.environ.get("REPLYX_TEST_LONG") else 20


@pytest.fixture(scope="module")
def breakable(directory):
    with Redis(directory) as redis:
        yield redis


@pytest.fixture(scope="module")
def ways(breakable):
    """One for each node."""
    with BusProxy(breakable.port) as one, BusProxy(breakable.port) as other:
        yield [one, other]


@pytest.fixture(scope="module")
def nodes(make_module_nodes, ways) -> Nodes:
    nodes = make_module_nodes(0)
    for way in ways:
        nodes.add(REDIS_URL=way.url())
    return nodes


@pytest.fixture(scope="module")
def crowd(nodes) -> Crowd:
    return Crowd(nodes)


@pytest.fixture
def under_load(nodes, crowd, measured) -> Callable[..., Report]:
    """Runs a fault in the midst of the load and returns what the oracle says of it."""

    def run(fault: Callable[[], None], silence: float = 20) -> Report:
        for node in nodes:
            wait_for_check(node, "bus", "ok")
        with Oracle(nodes, crowd, silence=silence) as oracle:
            time.sleep(1.5)
            fault()
            time.sleep(1.5)
            report = oracle.finish()
        measured(str(report))
        report.assert_exact()
        return report

    yield run
    for node in nodes:
        wait_for_check(node, "bus", "ok")


def wait_until_noticed(nodes: Nodes, measured) -> None:
    begun = time.monotonic()
    for node in nodes:
        wait_for_check(node, "bus", "degraded", within=NOTICED_WITHIN)
        assert readiness(node)[1]["status"] == "degraded"
        assert counter(node, "replyx_bus_healthy") == 0
    measured(f"noticed within {time.monotonic() - begun:.2f} s")


def wait_until_well(nodes: Nodes, measured) -> None:
    begun = time.monotonic()
    for node in nodes:
        wait_for_check(node, "bus", "ok", within=WELL_WITHIN)
        assert check(node, "redis") == "ok"
        assert counter(node, "replyx_bus_healthy") == 1
    measured(f"well again within {time.monotonic() - begun:.2f} s")


def test_flushall_three_times(under_load, nodes, breakable):
    def fault() -> None:
        for _ in range(3):
            breakable.client().flushall()
            time.sleep(2)

    under_load(fault).assert_no_stream_closed()


def test_redis_killed_and_started_empty(under_load, nodes, breakable, measured):
    def fault() -> None:
        breakable.kill()
        wait_until_noticed(nodes, measured)
        for node in nodes:
            wait_for_check(node, "redis", "unreachable")
            assert node.http.get("/api/sse/health").json()["redis_status"] == "disconnected"
        time.sleep(2)
        breakable.start()
        wait_until_well(nodes, measured)

    under_load(fault).assert_no_stream_closed()


def test_a_redis_that_answers_but_delivers_nothing(under_load, nodes, ways, measured):
    def fault() -> None:
        for way in ways:
            way.silent = True
        try:
            wait_until_noticed(nodes, measured)
            assert check(nodes[0], "redis") == "ok", "it does answer"
            time.sleep(3)
        finally:
            for way in ways:
                way.silent = False
        wait_until_well(nodes, measured)

    under_load(fault).assert_no_stream_closed()


def test_a_redis_that_stands_still_for_three_seconds(under_load, nodes, breakable, measured):
    def fault() -> None:
        breakable.client().client_pause(3000)
        time.sleep(3)
        wait_until_well(nodes, measured)

    under_load(fault).assert_no_stream_closed()


def test_the_connections_of_the_bus_killed(under_load, nodes, breakable, measured):
    def fault() -> None:
        for _ in range(3):
            killed = breakable.client().client_kill_filter(_type="normal", skipme=True)
            assert killed >= len(nodes)
            time.sleep(1)
        wait_until_well(nodes, measured)

    under_load(fault).assert_no_stream_closed()


def test_a_redis_that_is_full(under_load, nodes, breakable, measured):
    def fault() -> None:
        client = breakable.client()
        dropped = sum(counter(node, "replyx_bus_dropped_total") for node in nodes)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        try:
            wait_until_noticed(nodes, measured)
            assert check(nodes[0], "redis") == "ok", "full, not away"
            assert sum(counter(node, "replyx_bus_dropped_total") for node in nodes) > dropped
            time.sleep(2)
        finally:
            client.config_set("maxmemory", 0)
        wait_until_well(nodes, measured)

    under_load(fault).assert_no_stream_closed()


def test_a_node_that_stood_still_while_the_bus_was_trimmed_past_it(under_load, nodes, breakable, measured):
    def fault() -> None:
        with stopped(nodes[1]):
            time.sleep(STOPPED_FOR)
            Bus(breakable.client()).forget()
        # It first writes to its readers all that it has slept through.
        for node in nodes:
            wait_for_check(node, "bus", "ok", within=30)
        time.sleep(2)

    # Its streams are silent meanwhile; whether they outlive it is not promised, only what they say.
    under_load(fault, silence=STOPPED_FOR + 20)


def test_a_node_killed_and_started_again(under_load, nodes, measured):
    def fault() -> None:
        nodes[1].kill()
        time.sleep(2)
        nodes[1].start()
        eventually(lambda: nodes[1].open_streams() > 50, "its readers to come back")
        wait_until_well(nodes, measured)

    report = under_load(fault)
    assert report.closes, "its streams were cut"
