"""Who followed what, and what the database says they should have seen.

    with Oracle(nodes, crowd) as oracle:
        ...something breaks...
        report = oracle.finish()
    report.assert_exact()
"""

import asyncio
import json
import threading
from collections import Counter
from dataclasses import dataclass, field

from harness.event_source import EventSource
from harness.load import Load
from harness.nodes import Nodes
from harness.people import Visitor
from harness.waiting import PATIENCE, eventually

#: Every so many readers of a dialog one is restless.
RESTLESS_ONE_IN = 20


class Crowd:
    """Dialogs of several accounts, so that several shards of the bus have work. Made once, watched by many oracles."""

    def __init__(self, nodes: Nodes, dialogs: int = 200, accounts: int = 4):
        self.shops = [nodes.shop() for _ in range(accounts)]
        self.visitors: list[Visitor] = []
        for number, shop in enumerate(self.shops):
            self.visitors += shop.visitors(dialogs * (number + 1) // accounts - dialogs * number // accounts)

    @property
    def account_ids(self) -> list[int]:
        return [shop.account_id for shop in self.shops]


@dataclass(frozen=True)
class Expected:
    """A row of `events`."""

    type: str
    dialog_id: int | None
    payload: dict
    at: float


@dataclass
class Report:
    """What an oracle found."""

    readers: int
    sent: int
    retried: int
    unanswered: list[str]
    #: Lost, doubled, out of order, other than stored: one line each, none in a good world.
    faults: list[str]
    closes: Counter[str]
    refusals: Counter[str]
    #: Seconds from commit to reader, sorted.
    delays: list[float] = field(repr=False)
    events: int = 0

    def assert_exact(self) -> None:
        assert self.sent and self.events, "an oracle that saw nothing knows nothing"
        assert not self.unanswered, f"{len(self.unanswered)} messages never answered: {self.unanswered[:5]}"
        assert not self.faults, f"{len(self.faults)} faults:\n" + "\n".join(self.faults[:30])

    def assert_no_stream_closed(self) -> None:
        assert not self.closes and not self.refusals, f"closed: {dict(self.closes)}, refused: {dict(self.refusals)}"

    def __str__(self) -> str:
        slow = {share: self.delays[int(share * (len(self.delays) - 1))] for share in (0.5, 0.99, 1)} if self.delays else {}
        late = ", ".join(f"{name} {slow[share] * 1000:.0f} ms" for name, share in (("median", 0.5), ("p99", 0.99), ("last", 1)) if slow)
        return (f"{self.sent} messages ({self.retried} retried), {self.events} deliveries to {self.readers} readers, "
                f"commit to reader: {late}; closed: {dict(self.closes)}, refused: {dict(self.refusals)}")


class Oracle:
    """Two readers for each dialog and one of each account on every node, and messages to all of it on all nodes."""

    def __init__(self, nodes: Nodes, crowd: Crowd, rate: float = 300, silence: float = 20):
        self._nodes, self._crowd, self._database = nodes, crowd, nodes.database
        self._readers = self._make_readers(silence)
        self._load = Load(list(nodes), crowd.visitors, rate)
        self._before = self._heads()
        self._loop = asyncio.new_event_loop()
        self._tasks: list[asyncio.Task] = []

    def _make_readers(self, silence: float) -> dict[EventSource, tuple[str, int]]:
        """Each with what it follows: ("account" or "dialog", its id)."""
        readers: dict[EventSource, tuple[str, int]] = {}
        for node in self._nodes:
            for shop in self._crowd.shops:
                readers[EventSource(node, "/api/admin/events", headers=shop.operator.credentials, silence=silence)] = ("account", shop.account_id)
            for number, visitor in enumerate(self._crowd.visitors):
                restless = 2.0 if number % RESTLESS_ONE_IN == 0 else None
                if number % 4 == 1:
                    path, proof = f"/api/dialogs/{visitor.dialog_id}/events", {"headers": visitor.shop.operator.credentials}
                else:
                    path, proof = f"{visitor.path}/events", {"query": visitor.query}
                readers[EventSource(node, path, silence=silence, restless=restless, **proof)] = ("dialog", visitor.dialog_id)
        return readers

    def _heads(self) -> dict[tuple[str, int], int]:
        accounts = ",".join(map(str, self._crowd.account_ids))
        rows = self._database.rows(f"SELECT 'account', id, last_seq FROM accounts WHERE id IN ({accounts})"
                                   f" UNION ALL SELECT 'dialog', id, last_seq FROM dialogs WHERE account_id IN ({accounts})")
        return {(kind, int(key)): int(head) for kind, key, head in rows}

    # Running

    def __enter__(self) -> "Oracle":
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._call(self._begin())
        eventually(lambda: all(reader.start is not None for reader in self._readers), "all readers to be live", 2 * PATIENCE)
        self._call(self._begin_load())
        return self

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=120)

    async def _begin(self) -> None:
        self._tasks = [asyncio.create_task(reader.run()) for reader in self._readers]

    async def _begin_load(self) -> None:
        self._loading = asyncio.create_task(self._load.run())

    def finish(self, within: float = 30) -> Report:
        """Ends the load, waits until everything is answered and everybody has come to the end, and compares."""
        self._load.stop()
        self._call(self._loaded())
        heads = self._heads()

        def behind() -> list[str]:
            return [f"{kind} {key} at {reader.number} of {heads[kind, key]} (gave up: {reader.gave_up or 'no'})"
                    for reader, (kind, key) in self._readers.items() if reader.number < heads[kind, key]]

        try:
            eventually(lambda: not behind(), "readers to see the end", within)
            faults = []
        except AssertionError:
            faults = [f"never saw the end: {line}" for line in behind()]
        self._call(self._end())
        return self._compared(heads, faults)

    async def _loaded(self) -> None:
        await self._loading

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        self._tasks.clear()

    def __exit__(self, *_: object) -> None:
        if self._tasks:
            self._load.stop()
            self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)

    # Comparing

    def _compared(self, heads: dict[tuple[str, int], int], faults: list[str]) -> Report:
        log, delays = self._log(), []
        known: set[tuple[str, int, bytes]] = set()
        for reader, (kind, key) in self._readers.items():
            who = f"{kind} {key} on {reader.node.port}"
            faults += [f"{who}: {fault}" for fault in reader.faults]
            if reader.gave_up:
                faults.append(f"{who}: gave up after {reader.gave_up}")
            faults += self._differences(who, [seen.number for seen in reader.seen], range(reader.start + 1, heads[kind, key] + 1))
            for seen in reader.seen:
                expected = log.get((kind, key, seen.number))
                if expected is None:
                    faults.append(f"{who}: {seen.number} is not in the database")
                    continue
                delays.append(seen.at - expected.at)
                if (kind, key, seen.data) not in known:
                    known.add((kind, key, seen.data))
                    faults += [f"{who}: {fault}" for fault in self._deviations(seen.number, json.loads(seen.data), expected)]
        faults += self._unstored()
        for account_id in self._crowd.account_ids:
            self._database.assert_gapless(account_id)
        self._nodes.assert_in_order()
        sum_of = lambda counters: sum(counters, Counter())  # noqa: E731
        return Report(readers=len(self._readers), sent=len(self._load.sent), retried=sum(sent.attempts > 1 for sent in self._load.sent),
                      unanswered=[f"{sent.key}: {sent.problems[-3:]}" for sent in self._load.sent if not sent.answered], faults=faults,
                      closes=sum_of(reader.closes for reader in self._readers), refusals=sum_of(reader.refusals for reader in self._readers),
                      delays=sorted(delays), events=len(delays))

    def _log(self) -> dict[tuple[str, int, int], Expected]:
        log = {}
        for account_id in self._crowd.account_ids:
            for seq, dialog_id, dialog_seq, kind, payload, at in self._database.rows(
                    "SELECT seq, dialog_id, dialog_seq, type, payload, extract(epoch FROM created_at) FROM events"
                    f" WHERE account_id = {account_id} AND seq > {self._before['account', account_id]}"):
                event = Expected(kind, int(dialog_id) if dialog_id else None, json.loads(payload), float(at))
                log["account", account_id, int(seq)] = event
                if dialog_seq:
                    log["dialog", int(dialog_id), int(dialog_seq)] = event
        return log

    @staticmethod
    def _differences(who: str, seen: list[int], expected: range) -> list[str]:
        counts = Counter(seen)
        found = [f"{who}: lost {number}" for number in expected if number not in counts]
        found += [f"{who}: {number} came {times} times" for number, times in counts.items() if times > 1]
        return found + ([f"{who}: out of order"] if seen != sorted(seen) else [])

    @staticmethod
    def _deviations(number: int, data: dict, expected: Expected) -> list[str]:
        envelope = {"seq": number, "type": expected.type, **({"dialog_id": expected.dialog_id} if expected.dialog_id else {})}
        said = {name: value for name, value in data.items() if name in envelope}
        told = {name: value for name, value in data.items() if name not in ("seq", "type", "dialog_id", "dialog_seq", "at")}
        return [] if said == envelope and told == expected.payload else [f"{number} is {data} where {expected} is stored"]

    def _unstored(self) -> list[str]:
        """What was answered is stored, what was sent often is stored once, and nothing else is."""
        accounts = ",".join(map(str, self._crowd.account_ids))
        oldest = ",".join(f"({account_id},{self._before['account', account_id]})" for account_id in self._crowd.account_ids)
        rows = self._database.rows(
            "SELECT e.dialog_id, e.payload->'message'->>'client_message_id' FROM events e"
            f" JOIN (VALUES {oldest}) b (account_id, seq) ON e.account_id = b.account_id AND e.seq > b.seq"
            f" WHERE e.account_id IN ({accounts}) AND e.type = 'message:new'")
        stored = Counter((int(dialog_id), key) for dialog_id, key in rows)
        answered = {(sent.dialog_id, sent.key) for sent in self._load.sent if sent.answered}
        sent = {(sent.dialog_id, sent.key) for sent in self._load.sent}
        return ([f"answered but not stored: {each}" for each in answered - stored.keys()]
                + [f"stored {times} times: {each}" for each, times in stored.items() if times > 1]
                + [f"stored but never sent: {each}" for each in stored.keys() - sent])
