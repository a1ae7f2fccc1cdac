"""Readers of event streams. The decoding is httpx-sse's, which knows nothing of this server."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import Callable, Iterator

import httpx
from httpx_sse import EventSource

from harness.waiting import PATIENCE


@dataclass(frozen=True)
class Frame:
    """One dispatched event. `id` is the last event id as the decoder holds it, so frames without one repeat it."""

    name: str
    id: str
    data: dict
    at: float

    @property
    def number(self) -> int:
        return position(self.id)[1]


def position(cursor: str) -> tuple[int, int]:
    """`G-N` as (generation, number)."""
    generation, number = cursor.split("-")
    return int(generation), int(number)


def cursor_at(cursor: str, number: int) -> str:
    """Another place in the same stream and generation."""
    return f"{position(cursor)[0]}-{number}"


def texts(frames: list[Frame]) -> list[str]:
    return [frame.data["message"]["text"] for frame in frames if frame.data.get("type") == "message:new"]


def assert_contiguous(frames: list[Frame], after: str) -> None:
    """No hole and no double: each number is the last + 1, and `data` says the same number as `id`."""
    generation, number = position(after)
    for frame in frames:
        number += 1
        assert position(frame.id) == (generation, number), f"{frame.id} where {generation}-{number} belongs"
        assert frame.data["seq"] == number, frame.data
        assert frame.data["type"] and frame.data["at"]


def assert_unbroken(stream: Follower) -> None:
    """For a stream that began without a cursor, under load: whatever came first, from there on each number is the
    last + 1, and heartbeats stand where the events have come to."""
    here: tuple[int, int] | None = None
    for frame in list(stream.frames):
        place = position(frame.id)
        if frame.name == "message":
            assert here is None or place == (here[0], here[1] + 1), f"{frame.id} after {here}"
            assert frame.data["seq"] == place[1]
        else:
            assert frame.name == "hb" and (here is None or place == here), f"{frame.name} {frame.id} after {here}"
        here = place


class Follower:
    """One connection to a stream, read by a thread of its own. It never reconnects: tests do that, on purpose."""

    def __init__(self, url: str, headers: dict[str, str] | None = None, params: dict | None = None,
                 last_event_id: str | None = None):
        self.url, self.frames, self.raw = url, [], []
        self.status, self.headers, self.error = 0, httpx.Headers(), None
        self.body = b""
        self.ended = False
        self._changed = threading.Condition()
        self._socket: socket.socket | None = None
        asked = {"Accept": "text/event-stream", **(headers or {})}
        if last_event_id is not None:
            asked["Last-Event-ID"] = last_event_id
        self._thread = threading.Thread(target=self._read, args=(asked, params), daemon=True)
        self._thread.start()
        self._until(lambda: self.status or self.ended, "the stream's head")

    # What was seen

    @property
    def events(self) -> list[Frame]:
        """The durable ones: unnamed frames with a number."""
        with self._changed:
            return [frame for frame in self.frames if frame.name == "message" and "seq" in frame.data]

    def named(self, name: str) -> list[Frame]:
        with self._changed:
            return [frame for frame in self.frames if frame.name == name]

    @property
    def text(self) -> str:
        """The stream as it came over the wire."""
        with self._changed:
            return "".join(self.raw)

    @property
    def last_id(self) -> str:
        with self._changed:
            return self.frames[-1].id if self.frames else ""

    # Waiting

    def opening(self, within: float = PATIENCE) -> Frame:
        """The first heartbeat: the replay has caught up, and its id is a cursor."""
        return self.wait_for(lambda: self.named("hb"), "the opening heartbeat", within)[0]

    def wait_for(self, seen: Callable[[], object], what: str, within: float = PATIENCE):
        return self._until(seen, what, within)

    def wait_for_texts(self, wanted: list[str], within: float = PATIENCE) -> list[Frame]:
        """All of these messages, in whatever order; returns the durable events so far."""
        missing = set(wanted)
        self._until(lambda: missing <= set(texts(self.events)), f"{len(missing)} messages", within)
        return self.events

    def wait_for_number(self, number: int, within: float = PATIENCE) -> list[Frame]:
        self._until(lambda: self.events and self.events[-1].number >= number, f"event {number}", within)
        return self.events

    def wait_for_end(self, within: float = PATIENCE) -> None:
        self._until(lambda: self.ended, "the end of the stream", within)

    def close(self) -> None:
        """Breaks the connection, as a lost network does."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join(timeout=PATIENCE)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def _until(self, seen: Callable[[], object], what: str, within: float = PATIENCE):
        deadline = time.monotonic() + within
        with self._changed:
            while not (answer := seen()):
                remaining = deadline - time.monotonic()
                if remaining <= 0 or (self.ended and not seen()):
                    why = f"the stream ended ({self.error!r})" if self.ended else f"{within:.0f} s passed"
                    raise AssertionError(f"{why} before {what}; status {self.status} {self.body[:300]!r}, "
                                         f"{len(self.frames)} frames, the last: {self.frames[-3:]}")
                self._changed.wait(min(remaining, 0.5))
            return answer

    def _read(self, headers: dict[str, str], params: dict | None) -> None:
        try:
            # Heartbeats come every second here: twenty without a byte are a dead server.
            with httpx.Client(trust_env=False, timeout=httpx.Timeout(20, read=30)) as client:
                with client.stream("GET", self.url, headers=headers, params=params) as response:
                    self._socket = response.extensions["network_stream"].get_extra_info("socket")
                    self._open(response)
                    if response.status_code != 200:
                        self.body = response.read()
                        return
                    for event in EventSource(_Tapped(response, self.raw)).iter_sse():
                        # httpx-sse also dispatches a block that has only `retry:`; browsers do not.
                        if event.data:
                            self._append(Frame(event.event, event.id, json.loads(event.data), time.monotonic()))
        except Exception as error:  # noqa: BLE001: whatever ends the reading is what the test wants to see
            self.error = error
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def _open(self, response: httpx.Response) -> None:
        with self._changed:
            self.headers, self.status = response.headers, response.status_code
            self._changed.notify_all()

    def _append(self, frame: Frame) -> None:
        with self._changed:
            self.frames.append(frame)
            self._changed.notify_all()


class _Tapped:
    """A response as `EventSource` wants it, which leaves a copy of the text behind."""

    def __init__(self, response: httpx.Response, copy: list[str]):
        self.headers, self._response, self._copy = response.headers, response, copy

    def iter_text(self) -> Iterator[str]:
        for text in self._response.iter_text():
            self._copy.append(text)
            yield text
