"""Two accounts of a thousand dialogs each in one database, side by side: their ids alternate. All that one of them ever says carries its mark."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator

from harness.people import Operator, Shop, Visitor, colleague
from harness.server import Server

SEED = """
DO $$ DECLARE a record; d bigint; m bigint[]; head bigint; said json[]; now timestamptz := clock_timestamp(); BEGIN
  FOR i IN 1..{count} LOOP
    FOR a IN SELECT * FROM (VALUES {accounts}) AS each (account, assistant, operator, mark) LOOP
      INSERT INTO dialogs (account_id, assistant_id, guest_hash, last_seq) VALUES
        (a.account, a.assistant, sha256(convert_to(format('%s-guest-%s-secret-of-theirs', a.mark, i), 'UTF8')), 2) RETURNING id INTO d;
      WITH made AS (
        INSERT INTO messages (account_id, dialog_id, seq, sender, text, principal, client_message_id, author_id, created_at)
        SELECT a.account, d, n, CASE n WHEN 1 THEN 'user' ELSE 'manager' END, format('%s message %s of %s', a.mark, n, i),
               CASE n WHEN 1 THEN 'visitor' ELSE 'operator:' || a.operator END, gen_random_uuid(), CASE n WHEN 2 THEN a.operator END, now
        FROM generate_series(1, 2) n RETURNING id, seq, sender, text, client_message_id)
      SELECT array_agg(id ORDER BY id), array_agg(json_build_object('message', json_build_object('id', id, 'dialog_id', d, 'seq', seq, 'sender', sender,
             'text', text, 'timestamp', '2026-01-01T00:00:00.000Z', 'message_kind', 'text', 'client_message_id', client_message_id)) ORDER BY id)
        INTO m, said FROM made;
      UPDATE dialogs SET last_message_id = m[2] WHERE id = d;
      UPDATE accounts SET last_seq = last_seq + 2 WHERE id = a.account RETURNING last_seq INTO head;
      INSERT INTO events (account_id, seq, dialog_id, dialog_seq, type, payload, created_at)
        SELECT a.account, head - 2 + n, d, n, 'message:new', said[n], now FROM generate_series(1, 2) n;
    END LOOP;
  END LOOP;
END $$
"""


class Side:
    """One of the two accounts."""

    def __init__(self, server: Server, name: str):
        self.mark = f"{name}{uuid.uuid4().hex[:10]}"
        self.shop: Shop = server.shop(name=f"{self.mark} helper", business_name=f"{self.mark} ltd", system_prompt=f"{self.mark} knows")
        self.people: list[Operator] = [self.shop.operator, *(colleague(self.shop, role, first_name=f"{self.mark} {role}") for role in ("admin", "operator"))]
        #: By the dialog's id.
        self.guests: dict[int, str] = {}
        self.ids: dict[str, set[int]] = {}

    def visitor(self, dialog_id: int, through: str = "site") -> Visitor:
        visitor = Visitor(self.shop, self.guests[dialog_id], through)
        visitor.dialog_id = dialog_id
        return visitor

    def learn_ids(self) -> None:
        database, mine = self.shop.server.database, f"WHERE account_id = {self.shop.account_id}"
        for table, kind in (("dialogs", "dialog"), ("messages", "message"), ("assistants", "assistant"), ("operators", "operator")):
            self.ids[kind] = {int(row[0]) for row in database.rows(f"SELECT id FROM {table} {mine}")}


class TwoAccounts:
    def __init__(self, server: Server, count: int = 1000, by_hand: int = 100):
        self.server = server
        self.sides = Side(server, "aurora"), Side(server, "borealis")
        values = ", ".join(f"({side.shop.account_id}, {side.shop.assistant_id}, {side.shop.operator_id}, '{side.mark}')" for side in self.sides)
        server.database.execute(SEED.format(count=count - by_hand, accounts=values))
        hashed = "encode(sha256(convert_to(format('%s-guest-%s-secret-of-theirs', '{}', i), 'UTF8')), 'hex')"
        for side in self.sides:
            for number, dialog_id in server.database.rows(
                    f"SELECT i, d.id FROM generate_series(1, {count - by_hand}) i JOIN dialogs d ON d.account_id = {side.shop.account_id}"
                    f" AND encode(d.guest_hash, 'hex') = {hashed.format(side.mark)}"):
                side.guests[int(dialog_id)] = f"{side.mark}-guest-{number}-secret-of-theirs"
        with ThreadPoolExecutor(8) as hands:
            list(hands.map(self._by_hand, [side for _ in range(by_hand) for side in self.sides], range(2 * by_hand)))
        for side in self.sides:
            side.learn_ids()
            assert len(side.ids["dialog"]) == count == len(side.guests)
            server.database.assert_gapless(side.shop.account_id)

    @staticmethod
    def _by_hand(side: Side, number: int) -> None:
        visitor = side.shop.visitor(f"{side.mark}-guest-by-hand-{number}-secret")
        visitor.say(f"{side.mark} by hand {number}")
        side.shop.operator.answer(visitor.dialog_id, f"{side.mark} answer {number}")
        side.guests[visitor.dialog_id] = visitor.guest_id

    def other(self, side: Side) -> Side:
        return self.sides[1 - self.sides.index(side)]

    def traces(self, side: Side, text: str) -> list[str]:
        """What an answer to somebody of one side tells of the other one."""
        other = self.other(side)
        found = [other.mark] if other.mark in text else []
        try:
            body = json.loads(text)
        except ValueError:
            return found
        return found + [f"{kind} {number}" for kind, number in ids_in(body) if number in other.ids[kind]]


def ids_in(body: object) -> Iterator[tuple[str, int]]:
    """Every id of the other account that an answer could name, by what stands around it."""
    if isinstance(body, list):
        for each in body:
            yield from ids_in(each)
    if not isinstance(body, dict):
        return
    kind = ("message" if "message_kind" in body else "dialog" if {"channel", "cursor", "handoff"} & body.keys()
            else "assistant" if "answerer" in body else "operator" if "email" in body else None)
    if kind and isinstance(body.get("id"), int):
        yield kind, body["id"]
    for name, value in body.items():
        if name in ("dialog_id", "assistant_id") and isinstance(value, int):
            yield name.removesuffix("_id"), value
        elif name in ("author", "manager", "assigned_manager") and isinstance(value, dict) and isinstance(value.get("id"), int):
            yield "operator", value["id"]
        else:
            yield from ids_in(value)
