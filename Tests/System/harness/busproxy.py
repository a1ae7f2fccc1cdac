"""Ways between a node and what stands behind it that can be made slow, deaf or silent while both ends stay up."""

import socket
import threading
import time
from typing import Callable

#: No entry of a stream can ever have a higher id.
NEVER = b"18446744073709551615-18446744073709551615"


class Passage:
    """Passes bytes both ways to where `dial` leads. `hold()` keeps them back, connections stay open; `lag` delays what goes in."""

    def __init__(self, dial: Callable[[], socket.socket]):
        self._dial = dial
        self._flowing = threading.Event()
        self._flowing.set()
        self.lag = 0.0
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @classmethod
    def to_port(cls, port: int) -> "Passage":
        return cls(lambda: socket.create_connection(("127.0.0.1", port), timeout=5))

    def hold(self) -> None:
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = self._dial()
        except OSError:
            near.close()
            return
        far.settimeout(None)
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open |= {near, far}
        outwards = threading.Thread(target=self._pass_on, args=(far, near, lambda data: data), daemon=True)
        outwards.start()
        self._pass_on(near, far, self._inwards())
        outwards.join()
        self._open -= {near, far}
        near.close(), far.close()

    def _inwards(self) -> Callable[[bytes], bytes]:
        """What is done to the bytes of one connection on their way in."""
        return lambda data: data

    def _pass_on(self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        try:
            while data := source.recv(65536):
                if self.lag and source.getsockname()[1] == self.port:
                    time.sleep(self.lag)
                self._flowing.wait()
                sink.sendall(change(data))
        except OSError:
            pass
        # Both directions end with either: a node must see a killed Redis as it would without us.
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()
        self.release()
        for each in list(self._open):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BusProxy(Passage):
    """A way to Redis. While it is `silent`, Redis answers everything and delivers nothing.

    Silence is made by what is asked, not by what is answered: an XREAD goes on with ids that no entry can have, so Redis
    itself blocks and answers "nothing", in its place among the other answers.
    """

    def __init__(self, port: int):
        super().__init__(lambda: socket.create_connection(("127.0.0.1", port), timeout=5))
        self.silent = False
        self.silenced = 0

    def url(self, database: int = 0, password: str = "") -> str:
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/{database}"

    def _inwards(self) -> Callable[[bytes], bytes]:
        pending = bytearray()

        def change(data: bytes) -> bytes:
            pending.extend(data)
            passed = b""
            while (end := command_end(pending)) is not None:
                passed += self._changed(bytes(pending[:end]))
                del pending[:end]
            return passed

        return change

    def _changed(self, command: bytes) -> bytes:
        # `*3\r\n$5\r\nXREAD\r\n…`: every other line is a length.
        if not self.silent or not command.startswith(b"*"):
            return command
        words = arguments_of(command)
        if words[0].upper() != b"XREAD":
            return command
        self.silenced += 1
        first_key = [word.upper() for word in words].index(b"STREAMS") + 1
        keys = (len(words) - first_key) // 2
        words[first_key + keys:] = [NEVER] * keys
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def command_end(data: bytes | bytearray) -> int | None:
    """Where the first whole command ends: an array of bulk strings, or a line."""
    at = data.find(b"\r\n")
    if at < 0:
        return None
    if not data.startswith(b"*"):
        return at + 2
    count, at = int(data[1:at]), at + 2
    for _ in range(count):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        at = end + 2 + int(data[at + 1:end]) + 2
        if at > len(data):
            return None
    return at


def arguments_of(command: bytes) -> list[bytes]:
    words, at = [], command.index(b"\r\n") + 2
    while at < len(command):
        end = command.index(b"\r\n", at)
        length = int(command[at + 1:end])
        words.append(command[end + 2:end + 2 + length])
        at = end + 2 + length + 2
    return words
