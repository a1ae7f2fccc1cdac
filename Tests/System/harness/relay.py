"""A patient way in front of the server, as a proxy that holds a request while the server behind it is being replaced."""

import socket
import threading
import time

from harness.waiting import PATIENCE


class Relay:
    """Passes bytes both ways. A new connection waits until the server listens; an old one ends when the server ends it."""

    def __init__(self, port: int):
        self._behind = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = self._dial()
        if server is None:
            client.close()
            return
        threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
        self._pass_on(server, client)
        client.close()
        server.close()

    def _dial(self) -> socket.socket | None:
        deadline = time.monotonic() + 3 * PATIENCE
        while time.monotonic() < deadline:
            try:
                return socket.create_connection(("127.0.0.1", self._behind))
            except OSError:
                time.sleep(0.05)
        return None

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
