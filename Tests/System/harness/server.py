"""The built server as a process: started on free ports, killed, stopped, started again in the same place."""

import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import uuid

import httpx

from harness import logscan
from harness.people import Operator, Shop
from harness.postgres import Database
from harness.waiting import eventually

SECRET = "system-tests-signing-secret-0123456789abcdef"
RUNNING: list["Server"] = []


def free_port() -> int:
    """A port below the kernel's ephemeral range.

    A client that keeps dialling a dead port *inside* that range can be given the same number for itself
    and then talks to itself; the restarted server finds its port taken.
    """
    while True:
        port = random.randrange(18_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    def __init__(self, binary: pathlib.Path, root: pathlib.Path, database: Database, logs: pathlib.Path, **settings: str):
        self.binary, self.root, self.database = binary, root, database
        self.port, self.management_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.management_url = f"http://127.0.0.1:{self.management_port}"
        self.log_path = logs / f"server-{uuid.uuid4().hex[:8]}.log"
        inherited = {name: value for name, value in os.environ.items()
                     if not name.startswith(("REPLYX_", "DATABASE_", "PG")) and name not in ("PORT", "HOST")}
        self.environment = {
            **inherited,
            "DATABASE_URL": database.url,
            "REPLYX_SECRETS": SECRET,
            "REPLYX_HOST": "127.0.0.1",
            "PORT": str(self.port),
            "REPLYX_MANAGEMENT_PORT": str(self.management_port),
            "REPLYX_SETUP_CODE": "system-tests-setup-code",
            # Often, so that a reader notices within a second that it has been told to stop.
            "REPLYX_HEARTBEAT_SECONDS": "1",
            "REPLYX_DRAIN_SECONDS": "2",
            # Where limits are what is tested, they are on.
            "REPLYX_LIMITS": "off",
            **settings,
        }
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30, event_hooks=logscan.HOOKS,
                                 limits=httpx.Limits(max_connections=200, max_keepalive_connections=100))
        self.process: subprocess.Popen | None = None

    def start(self) -> "Server":
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.binary, "serve"], cwd=self.root, env=self.environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if self not in RUNNING:
            RUNNING.append(self)
        eventually(self.is_ready, "the server to be ready", within=30)
        return self

    def is_ready(self) -> bool:
        assert self.is_running(), f"the server ended with {self.process.returncode}:\n{self.log()[-3000:]}"
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """As the power cord does."""
        if self.is_running():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def ask_to_stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def restart(self) -> "Server":
        """On the same ports, as a supervisor does after a crash."""
        self.kill()
        return self.start()

    def remove(self) -> None:
        if self.process is not None:
            self.kill()
        self.http.close()
        if self in RUNNING:
            RUNNING.remove(self)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Another command of the same binary, on the same database."""
        return subprocess.run([self.binary, *arguments], cwd=self.root, capture_output=True, text=True, timeout=60,
                              env={**self.environment, **environment})

    def shop(self, **assistant: object) -> Shop:
        """A new account with its owner logged in and one assistant that lets guests in."""
        logscan.note(SECRET)
        email, password = f"owner-{uuid.uuid4().hex[:10]}@example.test", f"correct horse {uuid.uuid4().hex[:8]}"
        made = self.command("account", "create", "--email", email, "--account-name", "System test",
                            "--first-name", "Olga", REPLYX_PASSWORD=password)
        assert made.returncode == 0, f"account create: {made.stdout}{made.stderr}"
        facts = json.loads(made.stdout.strip().splitlines()[-1])
        operator = Operator(self, email, password)
        operator.log_in()
        created = operator.post("/api/assistants", {"name": "Helper", "answerer": "none", "guest_access": True, **assistant})
        assert created.status_code in (200, 201), created.text
        assistant_id = created.json()["id"]
        embed = operator.get(f"/api/assistants/{assistant_id}/embed-code")
        assert embed.status_code == 200, embed.text
        return Shop(self, int(facts["account_id"]), int(facts["operator_id"]), operator, assistant_id, embed.json()["token"])

    def metrics(self) -> dict[str, float]:
        """Every sample of the management address, by its name with labels."""
        samples = {}
        for line in httpx.get(f"{self.management_url}/metrics", trust_env=False, timeout=10).text.splitlines():
            if line and not line.startswith("#"):
                parsed = re.fullmatch(r"(\S+?(?:\{.*\})?)\s+(\S+)(?:\s+\d+)?", line)
                assert parsed, f"no sample of Prometheus' text format: {line!r}"
                samples[parsed[1]] = float(parsed[2])
        return samples

    def open_streams(self) -> int:
        return self.http.get("/api/sse/health").json()["active_connections"]
