"""Fixtures of the system tests: the built server, on a real PostgreSQL, spoken to by clients that are not ours.

Run from the repository's top with REPLYX_BIN (the built `replyx`) and REPLYX_DEV (the script `./dev`).
One PostgreSQL serves the whole session; each test module has a database and a server of its own. Tests that
break things make their own server (`make_server`), and their own PostgreSQL if that is what they break.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from typing import Callable, Iterator

import pytest

from harness import logscan
from harness.nodes import Nodes
from harness.postgres import Cluster
from harness.redis import Redis
from harness.server import RUNNING, Server

# A developer's own Redis is no part of the tests: a server has one only where its test says so.
os.environ.pop("REDIS_URL", None)

#: What was measured on the way, shown at the end; nothing depends on it.
MEASURED: list[str] = []

ROOT = pathlib.Path(__file__).resolve().parents[2]


def given(variable: str) -> pathlib.Path:
    path = os.environ.get(variable)
    if not path or not pathlib.Path(path).exists():
        pytest.exit(f"{variable} must name an existing file (it is {path!r}); `./dev test` sets it", returncode=2)
    return pathlib.Path(path).resolve()


@pytest.fixture(scope="session")
def binary() -> pathlib.Path:
    return given("REPLYX_BIN")


@pytest.fixture(scope="session")
def directory():
    """Under /tmp and open to all: run as root, PostgreSQL lives there as another user."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="replyx-system-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    found = logscan.found_in(made)
    MEASURED.append(f"logs: {logscan.count()} secrets and messages of this run searched for, {len(found)} found")
    if os.environ.get("REPLYX_KEEP"):
        print(f"\nkept: {made}")
    else:
        shutil.rmtree(made, ignore_errors=True)
    # The last teardown of the run, which fails with it.
    assert not found, "in the logs:\n" + "\n".join(found[:20])


@pytest.fixture(scope="session")
def cluster(directory):
    cluster = Cluster(given("REPLYX_DEV"), directory / "postgres")
    yield cluster
    cluster.remove()


@pytest.fixture(scope="module")
def breakable_cluster(directory, request):
    """A PostgreSQL that a module may stop and restart without taking the others' from under them."""
    cluster = Cluster(given("REPLYX_DEV"), directory / f"postgres-{request.module.__name__}")
    yield cluster
    cluster.remove()


def started(binary, cluster, directory, **settings) -> Server:
    server = Server(binary, ROOT, cluster.database(binary, ROOT), directory, **settings)
    try:
        return server.start()
    except BaseException:
        server.remove()
        raise


@pytest.fixture(scope="module")
def server(binary, cluster, directory):
    """The module's server. That it is still running at the end is a test of its own."""
    server = started(binary, cluster, directory)
    yield server
    survived = server.is_running()
    ending = "" if survived else f"the server ended by itself with {server.process.returncode}:\n{server.log()[-4000:]}"
    server.remove()
    assert survived, ending


@pytest.fixture(scope="module")
def shop(server):
    """The module's account, with one assistant."""
    return server.shop()


@pytest.fixture
def make_server(binary, cluster, directory):
    """Servers for one test: `make_server(REPLYX_DRAIN_SECONDS="8", on=another_cluster)`."""
    made = []

    def make(on: Cluster | None = None, **settings: str) -> Server:
        made.append(started(binary, on or cluster, directory, **settings))
        return made[-1]

    yield make
    for server in made:
        server.remove()


@pytest.fixture(scope="session")
def redis(directory):
    """A Redis for tests that break nothing of it. Each takes a database of its own: `redis.unused_database()`."""
    with Redis(directory) as shared:
        yield shared


@contextlib.contextmanager
def nodes_maker(binary, cluster, directory) -> Iterator[Callable[..., Nodes]]:
    made = []

    def make(count: int, on: Cluster | None = None, **settings: str) -> Nodes:
        nodes = Nodes(binary, ROOT, (on or cluster).database(binary, ROOT), directory, **settings)
        made.append(nodes)
        for _ in range(count):
            nodes.add()
        return nodes.wait_for_bus() if settings.get("REDIS_URL") else nodes

    try:
        yield make
    finally:
        for nodes in made:
            nodes.remove()


@pytest.fixture
def make_nodes(binary, cluster, directory):
    """Nodes on one fresh database for one test: `make_nodes(2, REDIS_URL=redis.url(7))`."""
    with nodes_maker(binary, cluster, directory) as make:
        yield make


@pytest.fixture(scope="module")
def make_module_nodes(binary, cluster, directory):
    """The same for all tests of a module."""
    with nodes_maker(binary, cluster, directory) as make:
        yield make


@pytest.fixture
def measured(request):
    """Notes a figure for the end of the run."""
    return lambda text: MEASURED.append(f"{request.node.name}: {text}")


def pytest_sessionfinish(session):
    """A worker of several hands its figures to the one who shows them."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["measured"] = MEASURED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    MEASURED.extend(getattr(node, "workeroutput", {}).get("measured", []))


def pytest_terminal_summary(terminalreporter):
    if MEASURED:
        terminalreporter.section("measured")
        for line in MEASURED:
            terminalreporter.line(line)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the servers had to say about it."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in RUNNING:
            report.sections.append((f"log of {server.url} (its end)", server.log()[-6000:]))
