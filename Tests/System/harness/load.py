"""Many messages at a steady rate over all nodes, by clients that never give one up: the same key again until it is answered."""

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field

from harness.people import Visitor
from harness.server import Server

#: What a post may take before its client tries elsewhere. The server's own rule is five seconds.
ANSWER_WITHIN = 6.0
#: How long a node that gave no answer is passed over, as a proxy in front would do.
PASSED_OVER = 1.0


class Door:
    """A node as its posting clients see it: a few kept connections, spoken to by hand because that is cheap."""

    def __init__(self, node: Server):
        self.node, self.closed_until = node, 0.0
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, head: str, body: bytes) -> int:
        """The answer's status. Whatever goes wrong on the way is an OSError or the end of the stream."""
        async with asyncio.timeout(ANSWER_WITHIN):
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self.node.port)
            try:
                writer.write(f"{head}Host: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(answer.split("\r\ncontent-length: ", 1)[1].split("\r\n", 1)[0])
                await reader.readexactly(length)
            except BaseException:
                writer.close()
                raise
            self._idle.append((reader, writer))
            return int(answer.split(" ", 2)[1])

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


@dataclass
class Sent:
    """One message and what became of it."""

    dialog_id: int
    key: str
    attempts: int = 0
    answered: bool = False
    took: float = 0.0
    problems: list[str] = field(default_factory=list)


class Load:
    """Posts `rate` messages a second, in turn to each dialog and each node. A retry goes to another node, by the same key."""

    def __init__(self, nodes: list[Server], visitors: list[Visitor], rate: float, patience: float = 40):
        self._doors = [Door(node) for node in nodes]
        self._heads = [self._head(visitor) for visitor in visitors]
        self._visitors, self._rate, self._patience = visitors, rate, patience
        self._stopped = False
        self.sent: list[Sent] = []

    @staticmethod
    def _head(visitor: Visitor) -> str:
        names = {"site_token": "X-Site-Token", "guest_id": "X-Guest-Id"}
        proofs = "".join(f"{names[name]}: {value}\r\n" for name, value in visitor.query.items() if name in names)
        query = "".join(f"?{name}={value}" for name, value in visitor.query.items() if name not in names)
        return f"POST {visitor.path}/messages{query} HTTP/1.1\r\nContent-Type: application/json\r\n{proofs}"

    async def run(self) -> None:
        """Until told to stop; then until every message is answered or given up."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as posts:
            while not self._stopped:
                number = len(self.sent)
                await asyncio.sleep(begun + number / self._rate - time.monotonic())
                sent = Sent(self._visitors[number % len(self._visitors)].dialog_id, str(uuid.uuid4()))
                self.sent.append(sent)
                posts.create_task(self._say(number, sent))
        for door in self._doors:
            door.close()

    def stop(self) -> None:
        self._stopped = True

    async def _say(self, number: int, sent: Sent) -> None:
        head = self._heads[number % len(self._heads)]
        body = json.dumps({"text": f"load {number}", "client_message_id": sent.key}).encode()
        begun = time.monotonic()
        # Whole rounds over the dialogs shift by one node, so that each dialog is written to on every node.
        turn = number + number // len(self._heads)
        while not sent.answered and time.monotonic() - begun < self._patience:
            door = self._open_door(turn + sent.attempts)
            sent.attempts += 1
            try:
                status = await door.post(head, body)
                sent.answered = status == 200
                if not sent.answered:
                    sent.problems.append(str(status))
                    assert status >= 500, f"a legal message was answered {status}"
            except (OSError, EOFError, TimeoutError) as error:
                sent.problems.append(type(error).__name__)
                door.closed_until = time.monotonic() + PASSED_OVER
            if not sent.answered:
                await asyncio.sleep(0.1)
        sent.took = time.monotonic() - begun

    def _open_door(self, turn: int) -> Door:
        choices = [self._doors[(turn + step) % len(self._doors)] for step in range(len(self._doors))]
        now = time.monotonic()
        return next((door for door in choices if door.closed_until < now), choices[0])
