"""A Redis of the tests' own: started, killed, stopped in its tracks, started again with nothing in it.

It is looked into with redis-py, a client that nobody here wrote.
"""

import os
import pathlib
import signal
import subprocess
import uuid
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness.postgres import Database
from harness.server import free_port
from harness.waiting import eventually

#: How many streams the bus has: an account's is `replyx:{account modulo 16}:bus`.
SHARDS = 16


def openssl(directory: pathlib.Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


class Certificates:
    """An authority made by `openssl`, and a certificate signed by it for `name` (in openssl's notation)."""

    def __init__(self, directory: pathlib.Path, name: str = "IP:127.0.0.1"):
        self.directory = directory / f"certificates-{uuid.uuid4().hex[:6]}"
        self.directory.mkdir()
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl(self.directory, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        openssl(self.directory, "req", "-new", *key, "-keyout", "redis.key", "-out", "redis.csr", "-subj", "/CN=redis")
        (self.directory / "names").write_text(f"subjectAltName={name}\n")
        openssl(self.directory, "x509", "-req", "-in", "redis.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", "redis.pem")

    @property
    def authority(self) -> str:
        return str(self.directory / "ca.pem")

    @property
    def options(self) -> list[str]:
        return ["--tls-cert-file", str(self.directory / "redis.pem"), "--tls-key-file", str(self.directory / "redis.key"),
                "--tls-ca-cert-file", self.authority, "--tls-auth-clients", "no"]


class Redis:
    """Keeps nothing on disk, so whoever starts it again finds it empty.

    It always listens on a plain port too, for `client()`, which comes in by a user of its own.
    """

    def __init__(self, directory: pathlib.Path, *options: str, password: str = "", certificates: Certificates | None = None,
                 cluster: bool = False):
        self.directory = directory / f"redis-{uuid.uuid4().hex[:6]}"
        self.directory.mkdir()
        self.port, self.tls_port, self.socket = free_port(), free_port(), str(self.directory / "redis.sock")
        self.password, self._databases, self._process = password, 0, None
        self._command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket, "--save", "",
                         "--appendonly", "no", "--dir", str(self.directory), "--logfile", str(self.directory / "log"),
                         *(["--requirepass", password] if password else []),
                         *(["--tls-port", str(self.tls_port), *certificates.options] if certificates else []),
                         *(["--cluster-enabled", "yes", "--cluster-port", str(free_port())] if cluster else ["--databases", "1000"]), *options]

    # What a server is told in REDIS_URL

    def url(self, database: int | None = None, *, scheme: str = "redis", user: str = "", password: str | None = None) -> str:
        secret = self.password if password is None else password
        who = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if user or secret else ""
        if scheme == "unix":
            return f"unix://{who}{self.socket}" + ("" if database is None else f"?db={database}")
        port = self.tls_port if scheme == "rediss" else self.port
        return f"{scheme}://{who}127.0.0.1:{port}" + ("" if database is None else f"/{database}")

    def unused_database(self) -> int:
        """A keyspace that no other test of this Redis has seen."""
        self._databases += 1
        return self._databases

    def client(self, database: int = 0) -> redis.Redis:
        return redis.Redis(port=self.port, db=database, password=self.password or None, protocol=2, decode_responses=True,
                           encoding_errors="replace", socket_timeout=20, retry=Retry(NoBackoff(), 1))

    # What happens to it

    def start(self) -> "Redis":
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers, "Redis to answer")
        return self

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"redis-server ended:\n{(self.directory / 'log').read_text()[-1000:]}"
        try:
            with self.client() as client:
                return client.ping()
        except redis.ConnectionError:
            return False

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=20)
            self._process = None

    def pause(self) -> None:
        """It keeps its connections and says nothing more."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> "Redis":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class Bus:
    """The bus as anybody sees it who may talk to that Redis."""

    def __init__(self, client: redis.Redis):
        self.client = client

    @staticmethod
    def key(account_id: int) -> str:
        return f"replyx:{{{account_id % SHARDS}}}:bus"

    @property
    def keys(self) -> list[str]:
        return [self.key(shard) for shard in range(SHARDS)]

    def entries(self, account_id: int, kind: str = "event") -> list[dict[str, str]]:
        """This account's entries of a kind, in the order of the bus."""
        return [fields for _, fields in self.client.xrange(self.key(account_id))
                if fields.get("k") == kind and fields.get("a") == str(account_id)]

    def all_entries(self, account_id: int, database: Database) -> list[dict[str, str]]:
        """The account's events, once they are here as far as the database has them."""
        head = database.number(f"SELECT last_seq FROM accounts WHERE id = {account_id}")

        def there() -> bool:
            return max((int(entry["s"]) for entry in self.entries(account_id)), default=0) >= head

        eventually(there, f"entry {head} of account {account_id} on the bus")
        return self.entries(account_id)

    def add(self, account_id: int, fields: dict) -> str:
        """As a node would: the fields in their order, the id made by Redis."""
        return self.client.xadd(self.key(account_id), fields)

    def forget(self) -> None:
        """Every stream stays, with nothing in it."""
        for key in self.keys:
            self.client.xtrim(key, maxlen=0, approximate=False)

    def length(self) -> int:
        return sum(self.client.xlen(key) for key in self.keys)
