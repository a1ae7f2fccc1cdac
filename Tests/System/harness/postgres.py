"""A PostgreSQL of the tests' own, made by `./dev postgres`, and ways to look into it past the server."""

import os
import pathlib
import re
import subprocess
import tempfile
import uuid
from urllib.parse import urlsplit, urlunsplit

from harness.waiting import eventually

FIELD = "\x1f"


def psql(url: str, *options: str) -> list[str]:
    return ["psql", url, "-X", "-q", "-A", "-t", "-F", FIELD, "-v", "ON_ERROR_STOP=1", *options]


class Cluster:
    """A running PostgreSQL under a directory of its own; it may be stopped and restarted in mid-test."""

    def __init__(self, dev: pathlib.Path, directory: pathlib.Path):
        self._dev, self._directory = dev, directory
        self._template: str | None = None
        self.url = self._postgres_url(self._run("start"))

    def database(self, server_binary: pathlib.Path, root: pathlib.Path) -> "Database":
        """A fresh, migrated database. Copied from one that `replyx migrate` made, because a copy is quick."""
        if self._template is None:
            template = self.empty_database()
            migrated = subprocess.run(
                [server_binary, "migrate"], cwd=root, capture_output=True, text=True, timeout=120,
                env={**os.environ, "DATABASE_URL": template.url})
            assert migrated.returncode == 0, f"replyx migrate failed: {migrated.stdout}{migrated.stderr}"
            self._template = template.name
        name = f"t_{uuid.uuid4().hex[:12]}"

        def copied() -> bool:
            # Refused while the migration's own connection to the template is still being taken down.
            outcome = subprocess.run(psql(self.url, "-c", f"CREATE DATABASE {name} TEMPLATE {self._template}"),
                                     capture_output=True, text=True, timeout=60)
            assert outcome.returncode == 0, outcome.stderr
            return True

        eventually(copied, "a copy of the migrated database")
        return Database(self._url_of(name), name)

    def empty_database(self) -> "Database":
        name = f"t_{uuid.uuid4().hex[:12]}"
        Database(self.url, "postgres").execute(f"CREATE DATABASE {name}")
        return Database(self._url_of(name), name)

    def stop(self, how: str = "immediate") -> None:
        self._run("stop", how)

    def remove(self) -> None:
        self._run("remove")

    def restart(self) -> None:
        """As after a crash; the same port and URL. Also starts it again after `stop`."""
        self._run("restart", "immediate")
        eventually(lambda: self._answers(), "PostgreSQL to answer again", within=60)

    def _answers(self) -> bool:
        return subprocess.run(psql(self.url, "-c", "SELECT 1"), capture_output=True, timeout=60,
                              env={**os.environ, "PGCONNECT_TIMEOUT": "5"}).returncode == 0

    def _run(self, verb: str, *arguments: str) -> str:
        # Into files, not pipes: a daemon that inherits a pipe would keep its reader waiting for ever.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            command = [str(self._dev), "postgres", verb, str(self._directory), *arguments]
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=120).returncode
            out.seek(0), err.seek(0)
            said, complained = out.read(), err.read()
        assert code == 0, f"{' '.join(command)} ended with {code}: {said}{complained}"
        return said

    @staticmethod
    def _postgres_url(output: str) -> str:
        found = re.findall(r"postgres(?:ql)?://\S+", output)
        assert found, f"`./dev postgres start` printed no DATABASE_URL: {output!r}"
        return found[-1]

    def _url_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))


class Database:
    """One database, read and written by `psql`, which the server did not bring along."""

    def __init__(self, url: str, name: str):
        self.url, self.name = url, name

    def rows(self, query: str) -> list[list[str]]:
        outcome = subprocess.run(psql(self.url, "-c", query), capture_output=True, text=True, timeout=60)
        assert outcome.returncode == 0, f"{query}: {outcome.stderr}"
        return [line.split(FIELD) for line in outcome.stdout.splitlines() if line]

    def value(self, query: str) -> str:
        return self.rows(query)[0][0]

    def number(self, query: str) -> int:
        return int(self.value(query))

    def execute(self, statement: str) -> None:
        self.rows(statement)

    def counts(self) -> dict[str, int]:
        """What a refused request must leave as it was."""
        names = ["messages", "events", "dialogs", "assistants", "operators", "accounts"]
        columns = ", ".join(f"(SELECT count(*) FROM {name})" for name in names)
        sums = ("(SELECT coalesce(sum(last_seq), 0) FROM accounts)", "(SELECT coalesce(sum(last_seq), 0) FROM dialogs)")
        found = self.rows(f"SELECT {columns}, {', '.join(sums)}")[0]
        return dict(zip([*names, "accounts.last_seq", "dialogs.last_seq"], map(int, found)))

    def assert_gapless(self, account_id: int) -> None:
        """Both numbers of the log count 1, 2, 3 … and the heads say how far."""
        count, highest, head = map(int, self.rows(
            f"SELECT count(*), coalesce(max(seq), 0), (SELECT last_seq FROM accounts WHERE id = {account_id})"
            f" FROM events WHERE account_id = {account_id}")[0])
        assert count == highest == head, f"account: {count} events, highest {highest}, head {head}"
        broken = self.rows(
            "SELECT d.id, d.last_seq, count(e.*), count(DISTINCT e.dialog_seq), max(e.dialog_seq), min(e.dialog_seq)"
            " FROM dialogs d LEFT JOIN events e ON e.dialog_id = d.id AND e.dialog_seq IS NOT NULL"
            f" WHERE d.account_id = {account_id} GROUP BY d.id"
            " HAVING d.last_seq <> count(e.*) OR d.last_seq <> count(DISTINCT e.dialog_seq)"
            " OR d.last_seq <> coalesce(max(e.dialog_seq), 0) OR (d.last_seq > 0 AND min(e.dialog_seq) <> 1)")
        assert not broken, f"dialogs with holes (id, head, events, distinct, max, min): {broken}"


class Session:
    """A `psql` that stays open, for a transaction that somebody else holds."""

    MARK = "-- said --"

    def __init__(self, database: Database):
        self._process = subprocess.Popen(psql(database.url), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.STDOUT, text=True, bufsize=1)

    def run(self, statement: str) -> list[str]:
        """Returns once the statement has been answered."""
        self._process.stdin.write(f"{statement};\n\\echo {self.MARK}\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line.strip() == self.MARK:
                return said
            said.append(line.strip())
        raise AssertionError(f"psql ended: {said}")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        # Ending the input rolls an open transaction back.
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
