"""nginx with the project's own deploy/nginx.conf before nodes, and readers by the hundred."""

import json
import pathlib
import subprocess
import tempfile
import threading
import time

import httpx

from harness.people import Operator, Shop
from harness.postgres import Cluster
from harness.server import Server
from harness.waiting import eventually


class Nginx:
    """Started by `./dev nginx`, so that the checkout's nginx is what is tested. Stands in for a `Server` where people
    only need an address."""

    def __init__(self, dev: pathlib.Path, directory: pathlib.Path, nodes: list[str]):
        self._dev, self._directory = dev, directory
        self.url, self.https_url = self._run("start", *nodes).split()
        self.certificate = directory / "tls" / "fullchain.pem"
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30,
                                 limits=httpx.Limits(max_connections=200, max_keepalive_connections=100))

    def log(self) -> str:
        return (self._directory / "log").read_text()

    def requests(self) -> list[dict]:
        """The lines about requests. One is written when its request has ended."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def remove(self) -> None:
        self.http.close()
        self._run("remove")

    def _run(self, verb: str, *arguments: str) -> str:
        # Into files, not pipes: a daemon that inherits a pipe would keep its reader waiting for ever.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            command = [str(self._dev), "nginx", verb, str(self._directory), *arguments]
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=60).returncode
            out.seek(0), err.seek(0)
            said, complained = out.read(), err.read()
        assert code == 0, f"{' '.join(command)} ended with {code}: {said}{complained}"
        return said


class Site:
    """Nodes on one database, and nginx before them."""

    def __init__(self, binary: pathlib.Path, root: pathlib.Path, cluster: Cluster, dev: pathlib.Path,
                 directory: pathlib.Path, count: int = 2, **settings: str):
        directory.mkdir()
        directory.chmod(0o755)
        self.database = cluster.database(binary, root)
        self.nodes = [Server(binary, root, self.database, directory, **settings) for _ in range(count)]
        self.nginx = Nginx(dev, directory / "nginx", [node.url for node in self.nodes])

    def start(self) -> "Site":
        for node in self.nodes:
            if not node.is_running():
                node.start()
        self.wait_until_reached(*self.nodes)
        return self

    def wait_until_reached(self, *nodes: Server) -> None:
        """A node that was away is passed over for some seconds. Without streams, each gets its turn."""
        missing = {f"127.0.0.1:{node.port}" for node in nodes}

        def all_reached() -> bool:
            name = f"probe-{time.monotonic_ns()}"
            assert self.nginx.http.get("/livez", headers={"X-Request-Id": name}).status_code == 204
            line = eventually(lambda: next((each for each in self.nginx.requests() if each["request_id"] == name), None),
                              "the log's line")
            missing.discard(line["upstream"].split(", ")[-1])
            return not missing

        eventually(all_reached, f"nginx to use {missing}")

    def shop(self) -> Shop:
        """A shop whose people know only the address of nginx."""
        made = next(node for node in self.nodes if node.is_running()).shop()
        operator = Operator(self.nginx, made.operator.email, made.operator.password)
        operator.log_in()
        return Shop(self.nginx, made.account_id, made.operator_id, operator, made.assistant_id, made.site_token)

    def open_streams(self) -> list[int]:
        return [node.open_streams() for node in self.nodes if node.is_running()]

    def remove(self) -> None:
        self.nginx.remove()
        for node in self.nodes:
            node.remove()


CROWD_PROGRAM = """
const say = (fact) => process.stdout.write(JSON.stringify({...fact, at: Date.now() / 1000}) + "\\n");
JSON.parse(require("fs").readFileSync(0)).forEach((url, reader) => {
  const source = new EventSource(url);
  source.addEventListener("error", () =>
    say({reader, what: source.readyState === EventSource.CLOSED ? "gave up" : "lost"}));
  for (const name of ["message", "hb", "reset", "bye"])
    source.addEventListener(name, (event) =>
      say({reader, what: name, id: event.lastEventId, data: JSON.parse(event.data)}));
});
setInterval(() => {}, 1000);
"""


class Crowd:
    """Many of Node's native `EventSource` in one process, each on an address of its own. Collects what they report:
    `{"reader", "what", "at", "id", "data"}`."""

    def __init__(self, urls: list[str]):
        self.facts: list[dict] = []
        self._process = subprocess.Popen(["node", "--no-warnings", "--experimental-eventsource", "-e", CROWD_PROGRAM],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._process.stdin.write(json.dumps(urls))
        self._process.stdin.close()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.facts.append(json.loads(line))

    def named(self, what: str, since: float = 0) -> list[dict]:
        return [fact for fact in list(self.facts) if fact["what"] == what and fact["at"] >= since]

    def first(self, what: str, since: float) -> dict[int, float]:
        """When each reader first reported this after `since`."""
        times: dict[int, float] = {}
        for fact in self.named(what, since):
            times.setdefault(fact["reader"], fact["at"])
        return times

    def is_running(self) -> bool:
        return self._process.poll() is None

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join(timeout=5)
        self._process.stdout.close()
