"""Several servers on one database, and what each of them says of its bus."""

import contextlib
import copy
import os
import pathlib
import signal
from typing import Iterator, TypeVar

import httpx

from harness.people import Operator, Shop, Visitor
from harness.postgres import Database
from harness.server import Server
from harness.waiting import eventually

Person = TypeVar("Person", Visitor, Operator)


class Nodes:
    """Nodes that share a database and their settings; each has ports of its own, and may have settings of its own."""

    def __init__(self, binary: pathlib.Path, root: pathlib.Path, database: Database, logs: pathlib.Path, **settings: str):
        self.database = database
        self._make = lambda **own: Server(binary, root, database, logs, **{**settings, **own})
        self._nodes: list[Server] = []

    def add(self, **settings: str) -> Server:
        node = self._make(**settings)
        self._nodes.append(node)
        return node.start()

    def shop(self, **assistant: object) -> Shop:
        return self[0].shop(**assistant)

    def wait_for_bus(self) -> "Nodes":
        """Until every node that has a bus has read the past from it and hears itself."""
        for node in self:
            wait_for_check(node, "bus", ("ok", "not_configured"))
        return self

    def assert_in_order(self) -> None:
        for node in self:
            assert node.metrics().get("replyx_out_of_order_total", 0) == 0

    def remove(self) -> None:
        for node in self._nodes:
            node.remove()

    def __getitem__(self, index: int) -> Server:
        return self._nodes[index]

    def __iter__(self) -> Iterator[Server]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


def at(node: Server, person: Person) -> Person:
    """The same person with the same credentials, who now speaks to that node."""
    moved = copy.copy(person)
    moved.server = node
    return moved


def said_by_turns(nodes: Nodes, visitor: Visitor, count: int, what: str = "message") -> list[str]:
    """One after the other, each on another of the first two nodes."""
    said = [f"{what} {number}" for number in range(count)]
    for number, text in enumerate(said):
        at(nodes[number % 2], visitor).say(text)
    return said


def readiness(node: Server, base: str | None = None) -> tuple[int, dict]:
    """The status of `/readyz`, and what it says. Asked anew each time, past connections that a stopped node holds."""
    try:
        answer = httpx.get(f"{base or node.url}/readyz", trust_env=False, timeout=5)
    except httpx.TransportError as error:
        raise AssertionError(f"no answer from {node.url}: {error!r}") from error
    return answer.status_code, answer.json()


def check(node: Server, name: str) -> str:
    """What one check says. Neither Redis nor the bus may ever take a node out."""
    status, body = readiness(node)
    assert status == 200, f"{status} {body}"
    return body["checks"][name]


def wait_for_check(node: Server, name: str, wanted: str | tuple[str, ...], within: float = 10) -> None:
    options = (wanted,) if isinstance(wanted, str) else wanted
    eventually(lambda: check(node, name) in options, f"{name} of {node.url} to be {wanted}", within)


def resumes(node: Server) -> dict[str, int]:
    """How many streams became live, by where they got what they had missed."""
    return labelled(node, "replyx_stream_resumes_total", "source")


def dropped_ephemerals(node: Server) -> dict[str, int]:
    return labelled(node, "replyx_ephemeral_dropped_total", "reason")


def labelled(node: Server, name: str, label: str) -> dict[str, int]:
    opening = f'{name}{{{label}="'
    return {series.removeprefix(opening).removesuffix('"}'): int(value)
            for series, value in node.metrics().items() if series.startswith(opening)}


def counter(node: Server, name: str) -> float:
    return node.metrics().get(name, 0)


@contextlib.contextmanager
def stopped(node: Server) -> Iterator[None]:
    """The process stands still; its connections stay."""
    os.kill(node.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.process.pid, signal.SIGCONT)
