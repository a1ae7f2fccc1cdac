"""An `EventSource` as the HTML standard has it, cheap enough for hundreds of them in one thread.

It remembers what it saw and why its stream ended, and judges nothing but the order.
"""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from typing import AsyncIterator, NamedTuple
from urllib.parse import urlencode

from harness.server import Server

#: Longer waits that the server asks for are shortened, to keep tests short.
LONGEST_RETRY = 1.0


class Seen(NamedTuple):
    number: int
    data: bytes
    at: float


class Silence(Exception):
    """No byte came, not even a heartbeat's."""


class EventSource:
    """Follows one stream on one node, from its head on, until its task is cancelled. Reconnects with its last id.

    `silence` is how long it waits for any byte; heartbeats come every second here. One that is `restless` leaves by
    itself after about so many seconds, and comes back with its cursor.
    """

    def __init__(self, node: Server, path: str, query: dict[str, str] | None = None, headers: dict[str, str] | None = None,
                 silence: float = 20, restless: float | None = None):
        self.node, self._silence, self._restless = node, silence, restless
        target = path + (f"?{urlencode(query)}" if query else "")
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n{lines}"
        self._retry, self._last_id, self._head, self._goodbye, self._generation = 1.0, "", "", "", ""
        self.start: int | None = None
        self.seen: list[Seen] = []
        self.ephemeral = 0
        #: What ended a stream that was open; its own leaving is not among it.
        self.closes: Counter[str] = Counter()
        #: What became of attempts that did not get so far.
        self.refusals: Counter[str] = Counter()
        self.faults: list[str] = []
        self.gave_up = ""

    @property
    def number(self) -> int:
        """The last event's, or where it began."""
        return self.seen[-1].number if self.seen else self.start or 0

    # Connecting

    async def run(self) -> None:
        while True:
            try:
                reader, writer = await self._connect()
            except (OSError, EOFError, TimeoutError) as error:
                self.refusals[type(error).__name__] += 1
            else:
                with contextlib.closing(writer):
                    if not self._is_let_in():
                        return
                    ending = await self._read(reader)
                if ending:
                    self.closes[ending] += 1
            await asyncio.sleep(min(self._retry, LONGEST_RETRY))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(self._silence):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.node.port)
            try:
                cursor = f"Last-Event-ID: {self._last_id}\r\n" if self._last_id else ""
                writer.write(f"{self._request}{cursor}\r\n".encode())
                self._head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            except BaseException:
                writer.close()
                raise
            return reader, writer

    def _is_let_in(self) -> bool:
        """Anything but 200 and the right type is the end for good, as in a browser."""
        if self._head.startswith("http/1.1 200 ") and "\r\ncontent-type: text/event-stream" in self._head:
            assert "\r\ntransfer-encoding: chunked" in self._head, self._head
            return True
        self.gave_up = self._head.split("\r\n", 1)[0]
        return False

    # Reading

    async def _read(self, reader: asyncio.StreamReader) -> str:
        """To the stream's end, whose cause it returns; nothing if the end was its own wish."""
        self._goodbye, rest = "", b""
        patience = self._restless and self._restless * random.uniform(0.5, 1.5)
        try:
            async with asyncio.timeout(patience):
                async for chunk in self._chunks(reader):
                    *blocks, rest = (rest + chunk).split(b"\n\n")
                    for block in blocks:
                        self._take(block)
            return self._goodbye or "a clean end"
        except TimeoutError:
            return ""
        except (OSError, EOFError, Silence) as error:
            return self._goodbye or type(error).__name__

    async def _chunks(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._silence):
                    line = await reader.readline()
                    if not line:
                        raise EOFError
                    size = int(line, 16)
                    chunk = await reader.readexactly(size + 2)
            except TimeoutError:
                raise Silence from None
            if size == 0:
                return
            yield chunk[:-2]

    def _take(self, block: bytes) -> None:
        name, data, place = "message", b"", ""
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data = value
            elif field == b"id":
                place = self._last_id = value.decode()
            elif field == b"event":
                name = value.decode()
            elif field == b"retry":
                self._retry = int(value) / 1000
        if not data:
            return
        if name == "message":
            self._take_event(place, data)
        elif name == "bye":
            self._goodbye = f"bye {json.loads(data)['reason']}"
        elif name == "reset":
            self.faults.append(f"reset: {data.decode()} at {self.number}")
        elif place:
            self._take_opening(place)

    def _take_event(self, place: str, data: bytes) -> None:
        if not place:
            self.ephemeral += 1
            return
        number = self._number_of(place)
        if self.start is None:
            self.start = number - 1
        if number != self.number + 1:
            self.faults.append(f"{number} after {self.number}")
        self.seen.append(Seen(number, data, time.time()))

    def _take_opening(self, place: str) -> None:
        """The replay has caught up: up to this number everything has been there."""
        number = self._number_of(place)
        if self.start is None:
            self.start = number
        if number != self.number:
            self.faults.append(f"opened at {number} after {self.number}")

    def _number_of(self, place: str) -> int:
        generation, number = place.split("-")
        if generation != self._generation:
            if self._generation:
                self.faults.append(f"generation {generation} after {self._generation}")
            self._generation = generation
        return int(number)
