"""HTTP by hand, for what well-behaved clients never send."""

import re
import socket

from harness.waiting import PATIENCE


class RawConnection:
    def __init__(self, port: int, receive_buffer: int | None = None):
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", port))
        self.received = b""

    def send(self, request: str | bytes) -> None:
        """A head may be written with plain newlines."""
        self._socket.sendall(request if isinstance(request, bytes) else request.replace("\n", "\r\n").encode())

    def get(self, target: str, **headers: str) -> None:
        lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        self.send("\n".join(lines) + "\n\n")

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with the mark; the rest stays for the next call."""
        while mark not in self.received:
            more = self._socket.recv(65536)
            assert more, f"closed before {mark!r}: {self.received[-300:]!r}"
            self.received += more
        end = self.received.index(mark) + len(mark)
        taken, self.received = self.received[:end], self.received[end:]
        return taken

    def read_head(self) -> str:
        return self.read_until(b"\r\n\r\n").decode()

    def read_body(self, head: str) -> bytes:
        """The body that belongs to the head, so that what follows belongs to the next answer."""
        length = re.search(r"^content-length: *(\d+)\r$", head, re.IGNORECASE | re.MULTILINE)
        if length is None:
            assert re.search(r"^transfer-encoding: *chunked\r$", head, re.IGNORECASE | re.MULTILINE), head
            return self.read_until(b"\r\n0\r\n\r\n")
        while len(self.received) < int(length[1]):
            more = self._socket.recv(65536)
            assert more, "closed in the body"
            self.received += more
        body, self.received = self.received[:int(length[1])], self.received[int(length[1]):]
        return body

    def is_closed(self) -> bool:
        """Reads what is there; true once the other side has ended or reset the connection."""
        try:
            while True:
                if not self._socket.recv(65536):
                    return True
        except ConnectionError:
            return True

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "RawConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def status_of(head: str) -> int:
    return int(head.split(" ", 2)[1])
