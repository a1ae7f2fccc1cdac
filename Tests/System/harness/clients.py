"""Clients that somebody else wrote and that people really use: curl, LaunchDarkly's EventSource, the one in Node."""

import json
import subprocess
import threading
from urllib.parse import urlencode

from ld_eventsource import SSEClient
from ld_eventsource.actions import Event
from ld_eventsource.config import ConnectStrategy, ErrorStrategy, RetryDelayStrategy

from harness.streams import Frame
from harness.waiting import eventually


class Reader:
    """Something that collects frames by itself until it is closed."""

    def __init__(self):
        self.frames: list[Frame] = []

    @property
    def events(self) -> list[Frame]:
        return [frame for frame in list(self.frames) if frame.name == "message" and "seq" in frame.data]

    def named(self, name: str) -> list[Frame]:
        return [frame for frame in list(self.frames) if frame.name == name]

    def wait_for_texts(self, wanted: list[str], within: float = 30) -> list[Frame]:
        def all_there() -> bool:
            seen = {frame.data["message"]["text"] for frame in self.events if frame.data["type"] == "message:new"}
            missing = set(wanted) - seen
            assert not missing, f"{len(missing)} of {len(wanted)} missing"
            return True

        eventually(all_there, f"{len(wanted)} messages at {type(self).__name__}", within)
        return self.events

    def wait_for_opening(self) -> None:
        eventually(lambda: self.named("hb"), f"the opening heartbeat at {type(self).__name__}")

    def close(self) -> None: ...

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LaunchDarkly(Reader):
    """Reconnects by itself with its last event id. Its own waiting is shortened; the server's `retry` is not its concern."""

    def __init__(self, url: str, params: dict[str, str] | None = None, headers: dict[str, str] | None = None):
        super().__init__()
        self._client = SSEClient(
            ConnectStrategy.http(f"{url}?{urlencode(params or {})}", headers=headers or {}),
            initial_retry_delay=0.1,
            retry_delay_strategy=RetryDelayStrategy.default(max_delay=0.5),
            error_strategy=ErrorStrategy.always_continue())
        self._closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for action in self._client.all:
            if self._closed:
                return
            if isinstance(action, Event):
                self.frames.append(Frame(action.event, action.last_event_id or "", json.loads(action.data), 0))

    def close(self) -> None:
        self._closed = True
        self._client.close()


class Curl(Reader):
    """`curl -N`: the reader of the README. Decoded by hand, as a person reads it: lines, and blank lines between."""

    def __init__(self, url: str, *options: str):
        super().__init__()
        self.lines: list[str] = []
        self._process = subprocess.Popen(["curl", "-sS", "-N", *options, url], stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        name, data, last_id = "message", None, ""
        for raw in self._process.stdout:
            line = raw.decode().removesuffix("\n")
            self.lines.append(line)
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("id: "):
                last_id = line[4:]
            elif line.startswith("data: "):
                assert data is None, "data of one line only"
                data = line[6:]
            elif line == "":
                if data is not None:
                    self.frames.append(Frame(name, last_id, json.loads(data), 0))
                name, data = "message", None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join(timeout=5)
        self._process.stdout.close()


NODE_PROGRAM = """
const source = new EventSource(process.argv[1]);
const show = (event) => console.log(JSON.stringify({name: event.type, id: event.lastEventId, data: JSON.parse(event.data)}));
for (const name of ["message", "hb", "reset", "bye"]) source.addEventListener(name, show);
// Its waiting for the next attempt does not keep the process alive.
setInterval(() => {}, 1000);
// Closed for good is what a browser does after an answer that is not 200: the reader must see it happen.
source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) process.exit(3); });
"""


class Node(Reader):
    """The native `EventSource` of Node, which behaves as a browser's: it obeys `retry` and gives up after a non-200.

    Only a port on which nobody listens discourages Node 20's for ever, unlike a browser's: put a `Relay` before a
    server that is going to be away.
    """

    @staticmethod
    def is_here() -> bool:
        try:
            probe = subprocess.run(["node", "--experimental-eventsource", "-p", "typeof EventSource"],
                                   capture_output=True, text=True, timeout=30)
        except FileNotFoundError:
            return False
        return probe.stdout.strip() == "function"

    def __init__(self, url: str, params: dict[str, str]):
        super().__init__()
        self._process = subprocess.Popen(
            ["node", "--no-warnings", "--experimental-eventsource", "-e", NODE_PROGRAM, f"{url}?{urlencode(params)}"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            said = json.loads(line)
            self.frames.append(Frame(said["name"], said["id"], said["data"], 0))

    def gave_up(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join(timeout=5)
        self._process.stdout.close()
