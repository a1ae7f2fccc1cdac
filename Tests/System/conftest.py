"""Fixtures of the system tests: the built server, on a real PostgreSQL, spoken to by clients that are not ours.

Run from the repository's top with REPLYX_BIN (the built `replyx`) and REPLYX_DEV (the script `./dev`).
One PostgreSQL serves the whole session; each test module has a database and a server of its own. Tests that
break things make their own server (`make_server`), and their own PostgreSQL if that is what they break.
"""

import os
import pathlib
import shutil
import tempfile

import pytest

from harness.postgres import Cluster
from harness.server import RUNNING, Server

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
    if os.environ.get("REPLYX_KEEP"):
        print(f"\nkept: {made}")
    else:
        shutil.rmtree(made, ignore_errors=True)


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the servers had to say about it."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in RUNNING:
            report.sections.append((f"log of {server.url} (its end)", server.log()[-6000:]))
