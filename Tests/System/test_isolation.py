"""Two accounts of a thousand dialogs each: nothing that one of them can ask tells it anything of the other."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from harness.people import assert_problem
from harness.routes_table import OPERATORS, RULES, served_routes
from harness.streams import assert_contiguous
from harness.two_accounts import Side, TwoAccounts

CALLS, THREADS = 20_000, 4
MISSING = 9_000_000_000


@pytest.fixture(scope="module")
def two(server) -> TwoAccounts:
    return TwoAccounts(server)


@pytest.fixture(scope="module", params=[0, 1], ids=["aurora", "borealis"])
def side(two, request) -> Side:
    return two.sides[request.param]


def without_request_id(body: bytes) -> bytes:
    return re.sub(rb'"request_id":"[^"]*"', b'"request_id":""', body)


# Lists, histories, streams

def test_every_list_that_an_operator_can_ask_for_shows_their_own_account_alone(server, two, side):
    routes = [route for route in served_routes(server.command("routes").stdout) if route.method == "GET" and route.key in RULES
              and route.rule.is_guarded and route.rule.admits & OPERATORS and not route.rule.of]
    assert len(routes) >= 4
    other = two.other(side)
    # What an operator might add to reach across: the names are those of the contract's lists.
    reaching = [{}, {"limit": "100"}, {"search": other.mark, "limit": "100"}, {"assistant_id": other.shop.assistant_id},
                {"account_id": other.shop.account_id, "user_id": other.shop.operator_id, "all": "true"}, {"after": "1-0", "limit": "100"}]
    for person in side.people:
        for route in routes:
            for query in reaching:
                answer = server.http.get(route.path, params=query, headers={**person.credentials, "Accept": "application/json"})
                assert answer.status_code < 500 and answer.status_code != 401, f"{route} {query}: {answer.status_code}"
                assert not two.traces(side, answer.text), f"{route} {query} as {person.email}"


def test_paging_through_all_dialogs_finds_a_thousand_and_none_of_the_others(server, two, side):
    seen, cursor = [], None
    for _ in range(50):
        page = side.shop.operator.get("/api/dialogs", params={"limit": 100, **({"cursor": cursor} if cursor else {})})
        assert page.status_code == 200 and not two.traces(side, page.text)
        seen += [item["id"] for item in page.json()["items"]]
        cursor = page.json().get("next_cursor")
        if not cursor:
            break
    assert sorted(seen) == sorted(side.ids["dialog"])
    theirs = two.other(side).shop.operator.get("/api/dialogs", params={"limit": 1}).json()["next_cursor"]
    crossed = side.shop.operator.get("/api/dialogs", params={"limit": 100, "cursor": theirs})
    assert crossed.status_code in (200, 400, 422) and not two.traces(side, crossed.text), "another's cursor opens nothing"


def test_the_accounts_whole_stream_is_its_own_while_both_go_on(two, side):
    """Two thousand events replayed and some that happen meanwhile, by number: a hole would be a count of the other account."""
    other = two.other(side)
    with side.shop.operator.follow(last_event_id="1-0") as stream:
        stream.opening(within=60)
        said = []
        for number, (mine, theirs) in enumerate(zip(sorted(side.guests)[:10], sorted(other.guests)[:10])):
            other.visitor(theirs).say(f"{other.mark} live {number}")
            said.append(side.visitor(mine).say(f"{side.mark} live {number}")["text"])
            other.shop.operator.answer(theirs, f"{other.mark} live answer {number}")
        events = stream.wait_for_texts(said)
        assert other.mark not in stream.text
        assert len(events) >= 2000
        assert_contiguous(events, "1-0")
        assert not [trace for event in events for trace in two.traces(side, json.dumps(event.data))]
    for each in two.sides:
        each.learn_ids()


def test_a_dialogs_history_and_stream_are_its_own(server, two, side):
    chance = random.Random(4)
    for dialog_id in chance.sample(sorted(side.guests), 20):
        visitor = side.visitor(dialog_id, chance.choice(["site", "widget"]))
        texts = [visitor.messages()["items"], side.shop.operator.get(f"/api/dialogs/{dialog_id}/messages").json()["items"]]
        assert texts[0] and len(texts[0]) == len(texts[1])
        assert all(message["dialog_id"] == dialog_id and side.mark in message["text"] for items in texts for message in items)
        page = visitor.page("1-0")
        assert [item["message"]["text"] for item in page["items"]] == [message["text"] for message in texts[0]]
        with visitor.follow(last_event_id="1-0") as stream:
            stream.opening()
            assert {event.data["dialog_id"] for event in stream.events} == {dialog_id} and side.mark in stream.text
            assert not two.traces(side, stream.text)


def test_public_totals_tell_no_names_and_no_ids(server, two):
    for path in ("/api/sse/health", "/readyz", "/health"):
        text = server.http.get(path).text
        assert not [side.mark for side in two.sides if side.mark in text], path
        assert not re.search(r"dialog|account|guest|operator_id", text), f"{path}: {text}"


# Missing and foreign are one

def shown(response) -> tuple[int, bytes, list[tuple[str, str]]]:
    headers = sorted((name, value) for name, value in response.headers.items() if name not in ("date", "x-request-id", "content-length"))
    return response.status_code, without_request_id(response.content), headers


def test_foreign_and_missing_are_the_same_bytes_for_operators(server, two, side):
    foreign = two.other(side)
    for method, path, theirs in (
            *((method, f"/api/dialogs/{{}}{rest}", sorted(foreign.guests)[7]) for method, rest in
              (("GET", ""), ("GET", "/messages"), ("GET", "/events"), ("POST", "/messages"), ("POST", "/typing"), ("POST", "/block"), ("DELETE", "/block"))),
            *((method, f"/api/assistants/{{}}{rest}", foreign.shop.assistant_id) for method, rest in
              (("GET", ""), ("GET", "/embed-code"), ("PATCH", ""), ("DELETE", ""), ("POST", "/revoke-tokens"), ("POST", "/identity-secret"))),
            ("PATCH", "/api/operators/{}", foreign.shop.operator_id), ("DELETE", "/api/operators/{}", foreign.shop.operator_id)):
        body = {"/messages": {"text": "x"}, "/typing": {"typing": True}}.get(path[path.rindex("}") + 1:], {})
        asked = {"headers": {**side.shop.operator.credentials, "X-Request-Id": "same"}, **({"json": body} if method in ("POST", "PATCH") else {})}
        answers = [server.http.request(method, path.format(number), **asked) for number in (theirs, MISSING)]
        assert_problem(answers[0], 404, "not_found")
        assert shown(answers[0]) == shown(answers[1]), f"{method} {path}"


@pytest.mark.parametrize("door", ["site", "widget"])
def test_foreign_and_missing_are_the_same_bytes_for_visitors(server, two, side, door):
    ids = sorted(side.guests)
    visitor, neighbour, foreign = side.visitor(ids[0], door), ids[1], sorted(two.other(side).guests)[0]
    for method, rest, body in (("GET", "/messages", None), ("GET", "/events", None), ("POST", "/messages", {"text": "x"}), ("POST", "/typing", {"typing": True})):
        answers = [server.http.request(method, f"{visitor.base}/{number}{rest}", params=visitor.query, json=body, headers={"X-Request-Id": "same"})
                   for number in (neighbour, foreign, MISSING)]
        assert_problem(answers[0], 404, "not_found")
        assert shown(answers[0]) == shown(answers[1]) == shown(answers[2]), f"{method} {rest}"


def test_a_visitor_who_counts_through_all_ids_finds_their_own_dialog_and_no_other(server, two, side):
    mine = sorted(side.guests)[500]
    everything = sorted(two.sides[0].ids["dialog"] | two.sides[1].ids["dialog"])
    visitor, found = side.visitor(mine), Counter()
    connection = Connection(server.port)
    for number in range(everything[0] - 2, everything[-1] + 3):
        status, body = connection.ask("GET", f"/api/site/dialogs/{number}/messages", visitor.query)
        found[status] += 1
        assert status == (200 if number == mine else 404), f"{number}: {status} {body[:200]!r}"
        if status == 404:
            assert not re.search(rb"aurora|borealis", body)
    assert found[200] == 1 and found[404] >= 2000


# Twenty thousand calls

class Connection:
    """HTTP without comfort: twenty thousand calls shall cost the server's time, not ours."""

    def __init__(self, port: int):
        self._wire = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, method: str, path: str, query: dict | None = None, headers: dict | None = None, body: dict | None = None) -> tuple[int, bytes]:
        target = f"{path}?{urlencode(query)}" if query else path
        content = {} if body is None else {"Content-Type": "application/json"}
        self._wire.request(method, target, None if body is None else json.dumps(body), {"Accept": "application/json", **content, **(headers or {})})
        answer = self._wire.getresponse()
        return answer.status, answer.read()


@dataclass(frozen=True)
class Asker:
    """A valid credential of one side, and what of dialogs is theirs."""

    side: Side
    doors: tuple[str, ...]
    query: dict
    headers: dict
    own: frozenset[int]


def askers(two: TwoAccounts, chance: random.Random) -> list[Asker]:
    made = []
    for side in two.sides:
        every = frozenset(side.ids["dialog"])
        made += 20 * [Asker(side, ("/api/dialogs/{}", "/api/dialogs/{}/messages", "/api/dialogs/{}/events"), {}, person.credentials, every) for person in side.people]
        for dialog_id in chance.sample(sorted(side.guests), 60):
            door = chance.choice(["site", "widget"])
            visitor = side.visitor(dialog_id, door)
            doors = (f"/api/{door}/dialogs/{{}}/messages", f"/api/{door}/dialogs/{{}}/events", "/api/dialogs/{}/events")
            made.append(Asker(side, doors, visitor.query, {}, frozenset({dialog_id})))
        for dialog_id in chance.sample(sorted(side.guests), 10):
            token = side.visitor(dialog_id).messages()["stream_token"]
            made.append(Asker(side, ("/api/site/dialogs/{}/events",), {"stream_token": token}, {}, frozenset({dialog_id})))
    return made


def test_twenty_thousand_random_calls_with_valid_credentials_show_nobody_anything_of_the_other(server, two, measured):
    seed = int(os.environ.get("REPLYX_TEST_SEED", random.randrange(10**9)))
    print(f"REPLYX_TEST_SEED={seed}")
    chance = random.Random(seed)
    everybody = askers(two, chance)
    everything = sorted(two.sides[0].ids["dialog"] | two.sides[1].ids["dialog"])
    faults: list[str] = []
    seen, lock = Counter(), threading.Lock()

    def worker(number: int) -> None:
        mine, connection, counts = random.Random(seed + 1 + number), Connection(server.port), Counter()
        for _ in range(CALLS // THREADS):
            asker = mine.choice(everybody)
            target = mine.choice(sorted(asker.own)) if mine.random() < 0.2 else mine.choice(everything) if mine.random() < 0.95 else MISSING + mine.randrange(99)
            path, query, method, body = mine.choice(asker.doors).format(target), {**asker.query}, "GET", None
            if path.endswith("/messages") and mine.random() < 0.1:
                method, body = "POST", {"text": f"{asker.side.mark} random {mine.randrange(10**9)}", "client_message_id": str(uuid.UUID(int=mine.getrandbits(128)))}
            elif path.endswith("/events"):
                query["after"] = f"1-{mine.choice([0, 0, 1])}"
            status, answer = connection.ask(method, path, query, asker.headers, body)
            is_own = target in asker.own
            counts["own" if is_own else "foreign"] += 1
            right = status == 200 if is_own else status in (401, 403, 404)
            traces = two.traces(asker.side, answer.decode())
            if not right or traces:
                faults.append(f"{method} {path} {query} {'own' if is_own else 'not theirs'}: {status} {traces} {answer[:300]!r}")
        with lock:
            seen.update(counts)

    with ThreadPoolExecutor(THREADS) as hands:
        list(hands.map(worker, range(THREADS)))
    assert not faults, f"seed {seed}, {len(faults)} faults:\n" + "\n".join(faults[:20])
    assert sum(seen.values()) == CALLS and seen["own"] > CALLS / 10 and seen["foreign"] > CALLS / 10, seen
    measured(f"seed {seed}, {dict(seen)}")
    for side in two.sides:
        strangers = server.database.value(f"SELECT count(*) FROM messages WHERE account_id = {side.shop.account_id} AND text NOT LIKE '%{side.mark}%'")
        assert strangers == "0", "a message of the other side came in"
        server.database.assert_gapless(side.shop.account_id)
