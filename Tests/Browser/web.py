"""The web as the browser under test sees it: hosts with names of their own, behind a proxy that writes everything down.

Every engine can be given a proxy; so names need no resolver, sites really differ, and nothing that a browser asks for
can pass unseen, whichever of its processes or workers asks.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

#: Our own host. All others serve the pages of the tests.
CHAT = "chat.example"
#: Where browsers send what a Content Security Policy has forbidden.
REPORTS = "reports.example"


@dataclass
class Asked:
    """One request. `status` is 0 until its answer begins."""

    method: str
    url: str
    headers: dict[str, str]
    status: int = 0

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


class Web:
    """A proxy for plain HTTP, one request a connection, and the customers' sites behind it."""

    def __init__(self, chat_port: int):
        self._chat_port = chat_port
        self.requests: list[Asked] = []
        #: What each path of the customers' sites shows; the same on all their hosts.
        self.pages: dict[str, str] = {}
        #: What browsers have reported that a Content Security Policy forbade, whichever frame or worker it was.
        self.violations: list[dict] = []
        #: Changes the address of a request on its way, after it was written down.
        self.redirects = lambda asked: asked.url
        #: Tells whose answer gets lost, after the server has done what was asked.
        self.loses = lambda asked: False
        self._sites = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._site())
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._sites.serve_forever, daemon=True).start()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone does not wake who waits in `accept`.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._sites.shutdown()
        self._sites.server_close()

    def asked(self, path: str, method: str | None = None) -> list[Asked]:
        """What was asked of our own host at a path (a pattern)."""
        return [asked for asked in list(self.requests) if asked.host == CHAT and re.fullmatch(path, asked.path)
                and method in (None, asked.method)]

    def _site(self) -> type[http.server.BaseHTTPRequestHandler]:
        pages, violations = self.pages, self.violations

        class Site(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(urlsplit(self.path).path)
                body = (page or "").encode()
                self.send_response(200 if page is not None else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.headers["Host"] == REPORTS:
                    violations.append(said["csp-report"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        return Site

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(browser,), daemon=True).start()

    def _serve(self, browser: socket.socket) -> None:
        with browser, contextlib.suppress(OSError, ValueError):
            head, rest = _head(browser)
            line, *fields = head.split("\r\n")
            method, url, _ = line.split(" ", 2)
            asked = Asked(method, url, {name.lower(): value.strip() for name, _, value in
                                        (field.partition(":") for field in fields)})
            self.requests.append(asked)
            # Anything else is the browser's own business (updates and the like), and stays here.
            if urlsplit(url).scheme == "http" and asked.host.endswith(".example"):
                self._pass_on(asked, fields, rest, browser)

    def _pass_on(self, asked: Asked, fields: list[str], rest: bytes, browser: socket.socket) -> None:
        port = self._chat_port if asked.host == CHAT else self._sites.server_address[1]
        target = urlsplit(self.redirects(asked))
        with socket.create_connection(("127.0.0.1", port)) as server:
            line = f"{asked.method} {target.path or '/'}{f'?{target.query}' if target.query else ''} HTTP/1.1"
            server.sendall(_closing([line, *fields]) + rest)
            threading.Thread(target=_copy, args=(browser, server), daemon=True).start()
            head, rest = _head(server)
            asked.status = int(head.split(" ", 2)[1])
            if self.loses(asked):
                _end(browser, server)
            else:
                browser.sendall(_closing(_reporting(head.split("\r\n"))) + rest)
                _copy(server, browser)


def _head(source: socket.socket) -> tuple[str, bytes]:
    """The first line and the header fields, and what came behind them."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = source.recv(65536)
        if not more or len(data) > 1 << 20:
            raise OSError("no head")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _closing(lines: list[str]) -> bytes:
    """The same head, for a connection that ends after it."""
    kept = [line for line in lines if not re.match(r"(?:proxy-)?connection:", line, re.IGNORECASE)]
    return "\r\n".join([*kept, "Connection: close", "", ""]).encode("latin-1")


def _reporting(lines: list[str]) -> list[str]:
    """The same policies, with an address for what they forbid."""
    return [f"{line}; report-uri http://{REPORTS}/" if line.lower().startswith("content-security-policy:") else line
            for line in lines]


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Until one of them ends; then both have."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _end(source, sink)


def _end(*connections: socket.socket) -> None:
    # Closing alone does not end what another thread still reads from.
    for connection in connections:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
