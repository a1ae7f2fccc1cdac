"""Bots and the keys of their bridges: shown once, kept so that nobody can read them, good for their own bots only, gone at once."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.bridges import Bot, make_bot, make_bridge, platform_token, revoke
from harness.people import assert_problem, colleague
from harness.waiting import eventually


@pytest.fixture(scope="module")
def other_shop(server):
    return server.shop()


def dump(server) -> str:
    """Every row of every table, as text."""
    tables = [row[0] for row in server.database.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")]
    assert {"bot_instances", "api_keys", "security_events"} <= set(tables)
    return "\n".join(row[0] for table in tables for row in server.database.rows(f"SELECT t::text FROM {table} t"))


def change_bot(shop, bot: Bot, **change: object):
    return shop.server.http.patch(f"/api/bot-instances/{bot.id}", headers=shop.operator.credentials, json=change)


def listed(shop, path: str) -> list[dict]:
    answer = shop.operator.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["has_more"] is False
    return answer.json()["items"]


# What is shown, and to whom

def test_a_platform_token_is_given_and_never_shown_again(shop):
    token = platform_token()
    made = shop.operator.post("/api/bot-instances", {"assistant_id": shop.assistant_id, "name": "Shown once", "platform": "telegram", "platform_token": token})
    assert made.status_code == 201, made.text
    assert set(made.json()) == {"id", "assistant_id", "name", "platform", "is_active", "created_at"} and made.json()["is_active"] is True
    renewed = change_bot(shop, Bot(made.json()["id"], "", ""), platform_token=platform_token(), name="Renamed")
    answers = [made, renewed, shop.operator.get("/api/bot-instances"), shop.operator.get("/api/api-keys"), shop.operator.get("/api/assistants"),
               shop.operator.get(f"/api/assistants/{shop.assistant_id}")]
    assert renewed.status_code == 200 and renewed.json()["name"] == "Renamed"
    for answer in answers:
        assert "platform_token" not in answer.text and token not in answer.text and token.split(":")[1] not in answer.text


def test_a_key_is_shown_once_and_listed_without_itself(shop):
    bot = make_bot(shop)
    made = shop.operator.post("/api/api-keys", {"name": "Once", "bot_ids": [bot.id]})
    assert made.status_code == 201, made.text
    key = made.json()["key"]
    assert key.startswith("rxk_") and len(key) >= 40 and made.headers["cache-control"] == "no-store"
    line = next(item for item in listed(shop, "/api/api-keys") if item["id"] == made.json()["id"])
    assert set(line) == {"id", "name", "bot_ids", "created_at", "last_used_at", "revoked_at"}
    assert line["bot_ids"] == [bot.id] and line["last_used_at"] is None and line["revoked_at"] is None
    assert key not in shop.operator.get("/api/api-keys").text


def test_two_keys_for_the_same_bot_are_two_secrets(shop):
    bot = make_bot(shop)
    one, two = make_bridge(shop, bot), make_bridge(shop, bot)
    assert one.key != two.key
    revoke(shop, one)
    eventually(lambda: one.bots().status_code == 401, "the first key to end", within=4)
    assert two.bots().status_code == 200


# What is kept

def test_neither_keys_nor_platform_tokens_can_be_read_from_a_dump_or_the_log(server, shop):
    bot = make_bot(shop)
    renewed = platform_token()
    assert change_bot(shop, bot, platform_token=renewed).status_code == 200
    bridge = make_bridge(shop, bot)
    assert bridge.bots().json()["items"][0]["platform_token"] == renewed
    assert bridge.lease(bot.id, "a").status_code == 200
    kept = dump(server)
    secrets = [bot.platform_token, renewed, bridge.key, bridge.key.removeprefix("rxk_")]
    secrets += [secret.split(":")[1] for secret in secrets if ":" in secret]
    for secret in secrets:
        raw = secret.encode()
        for shape in (secret, raw.hex(), base64.b64encode(raw).decode().rstrip("="), base64.b64encode(raw).hex()):
            assert shape not in kept, f"{secret[:8]}… as it is" if shape == secret else f"{secret[:8]}… encoded"
        assert secret not in server.log()
        assert hashlib.md5(raw).hexdigest() not in kept and hashlib.sha1(raw).hexdigest() not in kept


def test_equal_platform_tokens_are_sealed_differently_and_bound_to_their_bot(server, shop):
    token = platform_token()
    bots = [shop.operator.post("/api/bot-instances", {"assistant_id": shop.assistant_id, "name": f"Twin {n}", "platform": "telegram", "platform_token": token}).json()["id"]
            for n in range(2)]
    sealed = [server.database.value(f"SELECT encode(platform_token, 'hex') FROM bot_instances WHERE id = {bot}") for bot in bots]
    assert sealed[0] != sealed[1], "who reads the table must not see that they are the same"
    bridge = make_bridge(shop, Bot(bots[0], "", token))
    assert bridge.bots().json()["items"][0]["platform_token"] == token
    flipped = sealed[0][:-2] + format(int(sealed[0][-2:], 16) ^ 1, "02x")
    server.database.execute(f"UPDATE bot_instances SET platform_token = decode('{flipped}', 'hex') WHERE id = {bots[0]}")
    answer = bridge.bots()
    assert answer.status_code >= 500 or token not in answer.text, "what was changed on the disk is noticed"


# What a key is good for

def test_a_bridge_sees_its_own_bots_with_their_tokens_and_no_others(shop, other_shop):
    mine, second, unrelated, theirs = make_bot(shop, "Mine"), make_bot(shop, "Second"), make_bot(shop, "Unrelated"), make_bot(other_shop, "Theirs")
    bridge, other = make_bridge(shop, mine, second), make_bridge(other_shop, theirs)
    seen = bridge.bots().json()
    assert seen["has_more"] is False
    assert {bot["id"]: bot["platform_token"] for bot in seen["items"]} == {mine.id: mine.platform_token, second.id: second.platform_token}
    assert all(set(bot) == {"id", "assistant_id", "name", "platform", "platform_token"} and bot["assistant_id"] == shop.assistant_id for bot in seen["items"])
    assert [bot["id"] for bot in other.bots().json()["items"]] == [theirs.id]
    for bot in (unrelated, theirs):
        answers = [bridge.lease(number, "me") for number in (bot.id, 9_000_000_000)]
        assert [assert_problem(answer, 404, "not_found") | {"request_id": ""} for answer in answers][0] == assert_problem(answers[1], 404) | {"request_id": ""}


def test_an_accounts_bots_and_keys_are_not_there_for_another(server, shop, other_shop):
    bot = make_bot(shop, f"Secret bot {uuid.uuid4().hex}")
    bridge = make_bridge(shop, bot, name=f"Secret bridge {uuid.uuid4().hex}")
    for path in ("/api/bot-instances", "/api/api-keys"):
        assert bot.name not in other_shop.operator.get(path).text and "Secret bridge" not in other_shop.operator.get(path).text
        assert bot.id not in [item["id"] for item in listed(other_shop, path) if path.endswith("instances")]
    headers = other_shop.operator.credentials
    assert_problem(server.http.patch(f"/api/bot-instances/{bot.id}", headers=headers, json={"is_active": False}), 404, "not_found")
    assert_problem(server.http.delete(f"/api/bot-instances/{bot.id}", headers=headers), 404, "not_found")
    assert_problem(server.http.delete(f"/api/api-keys/{bridge.id}", headers=headers), 404, "not_found")
    assert_problem(other_shop.operator.post("/api/api-keys", {"name": "Crossed", "bot_ids": [bot.id]}), (404, 422))
    crossed = other_shop.operator.post("/api/bot-instances", {"assistant_id": shop.assistant_id, "name": "x", "platform": "telegram", "platform_token": platform_token()})
    assert_problem(crossed, (404, 422))
    assert bridge.bots().status_code == 200


def test_a_key_opens_nothing_but_the_bridges_own_doors(server, shop):
    bridge, visitor = make_bridge(shop, make_bot(shop)), shop.visitor()
    for method, path in (("GET", "/api/me"), ("GET", "/api/dialogs"), ("GET", f"/api/dialogs/{visitor.dialog_id}/messages"), ("GET", "/api/admin/events"),
                         ("GET", "/api/api-keys"),
                         ("POST", "/api/api-keys"), ("GET", "/api/bot-instances"), ("POST", "/api/stream-tokens"), ("GET", f"{visitor.path}/messages")):
        assert_problem(server.http.request(method, path, headers=bridge.credentials), 401, "unauthorized")


@pytest.mark.parametrize("shown", ["cookie", "query", "basic", "no scheme", "upper case", "with a tail", "prefix alone"])
def test_a_key_counts_only_where_it_belongs(server, shop, shown):
    key = make_bridge(shop, make_bot(shop)).key
    asked = {"cookie": {"headers": {"Cookie": f"replyx={key}; api_key={key}"}}, "query": {"params": {"api_key": key, "key": key, "access_token": key}},
             "basic": {"headers": {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}}, "no scheme": {"headers": {"Authorization": key}},
             "upper case": {"headers": {"Authorization": f"Bearer {key.upper()}"}}, "with a tail": {"headers": {"Authorization": f"Bearer {key}A"}},
             "prefix alone": {"headers": {"Authorization": "Bearer rxk_"}}}[shown]
    assert_problem(server.http.get("/api/bot/bots", **asked), 401, "unauthorized")


# Ending

def test_a_revoked_key_is_refused_at_once_and_the_list_says_when(server, shop):
    bot = make_bot(shop)
    bridge = make_bridge(shop, bot)
    assert bridge.bots().status_code == 200
    revoke(shop, bridge)
    assert_problem(bridge.bots(), 401, "unauthorized")
    assert_problem(bridge.lease(bot.id, "late"), 401, "unauthorized")
    assert_problem(server.http.delete(f"/api/api-keys/{bridge.id + 10**6}", headers=shop.operator.credentials), 404, "not_found")
    said = [item for item in listed(shop, "/api/api-keys") if item["id"] == bridge.id]
    assert not said or said[0]["revoked_at"] is not None


def test_a_bot_that_is_put_away_or_switched_off_is_not_served(server, shop):
    off, gone, kept = make_bot(shop, "Off"), make_bot(shop, "Gone"), make_bot(shop, "Kept")
    bridge = make_bridge(shop, off, gone, kept)
    assert change_bot(shop, off, is_active=False).json()["is_active"] is False
    assert server.http.delete(f"/api/bot-instances/{gone.id}", headers=shop.operator.credentials).status_code == 204
    assert [bot["id"] for bot in bridge.bots().json()["items"]] == [kept.id]
    assert_problem(bridge.lease(gone.id, "us"), 404, "not_found")
    assert gone.id not in [item["id"] for item in listed(shop, "/api/bot-instances")]
    assert_problem(server.http.delete(f"/api/bot-instances/{gone.id}", headers=shop.operator.credentials), 404, "not_found")
    assert change_bot(shop, off, is_active=True).status_code == 200
    assert {bot["id"] for bot in bridge.bots().json()["items"]} == {off.id, kept.id}


def test_the_time_of_the_last_use_moves(server, shop):
    bot = make_bot(shop)
    bridge = make_bridge(shop, bot)
    used = lambda: next(item["last_used_at"] for item in listed(shop, "/api/api-keys") if item["id"] == bridge.id)  # noqa: E731
    assert used() is None
    assert bridge.bots().status_code == 200
    first = eventually(used, "a first use to be noted", within=5)
    server.database.execute(f"UPDATE api_keys SET last_used_at = now() - interval '1 hour' WHERE id = {bridge.id}")
    aged = used()
    assert aged < first
    assert bridge.lease(bot.id, "a").status_code == 200
    eventually(lambda: used() > aged, "the next use to be noted", within=5)


# Roles

def test_plain_operators_neither_make_nor_end_keys_and_bots(server, shop):
    plain, bot = colleague(shop), make_bot(shop)
    bridge = make_bridge(shop, bot)
    refused = [plain.post("/api/bot-instances", {"assistant_id": shop.assistant_id, "name": "x", "platform": "telegram", "platform_token": platform_token()}),
               plain.post("/api/api-keys", {"name": "x", "bot_ids": [bot.id]}),
               server.http.patch(f"/api/bot-instances/{bot.id}", headers=plain.credentials, json={"is_active": False}),
               server.http.delete(f"/api/bot-instances/{bot.id}", headers=plain.credentials), server.http.delete(f"/api/api-keys/{bridge.id}", headers=plain.credentials)]
    for answer in refused:
        assert_problem(answer, 403, "role_too_low")
    assert [item["id"] for item in bridge.bots().json()["items"]] == [bot.id]
    admin = colleague(shop, "admin")
    assert server.http.patch(f"/api/bot-instances/{bot.id}", headers=admin.credentials, json={"name": "By an admin"}).status_code == 200


# Leases

def test_of_many_who_ask_at_once_one_gets_the_lease(shop):
    for _ in range(5):
        bot = make_bot(shop)
        bridge = make_bridge(shop, bot)
        with ThreadPoolExecutor(8) as hands:
            answers = list(hands.map(lambda number: bridge.lease(bot.id, f"holder {number}"), range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
        winner = next(answer.json()["holder"] for answer in answers if answer.status_code == 200)
        for number, answer in enumerate(answers):
            if answer.status_code == 409:
                assert_problem(answer, 409, "lease_held")
            else:
                assert winner == f"holder {number}" and answer.json()["expires_at"].endswith("Z")


def test_two_bridges_of_one_bot_and_two_nodes_agree_on_one_holder(make_nodes):
    nodes = make_nodes(2)
    shop = nodes.shop()
    bot = make_bot(shop)
    bridges = [make_bridge(shop, bot), make_bridge(shop, bot)]
    for bridge, node in zip(bridges, nodes):
        bridge.server = node
    with ThreadPoolExecutor(8) as hands:
        answers = list(hands.map(lambda number: bridges[number % 2].lease(bot.id, f"holder {number}"), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7


def test_a_lease_is_renewed_by_its_holder_and_free_when_it_is_over(shop):
    bot = make_bot(shop)
    bridge = make_bridge(shop, bot)
    first, again = bridge.lease(bot.id, "one", seconds=5), bridge.lease(bot.id, "one", seconds=5)
    assert first.status_code == again.status_code == 200 and again.json()["expires_at"] >= first.json()["expires_at"]
    begun = time.monotonic()
    assert_problem(bridge.lease(bot.id, "two"), 409, "lease_held")
    eventually(lambda: bridge.lease(bot.id, "two").status_code == 200, "the lease to be free", within=8, pause=0.3)
    assert time.monotonic() - begun > 3.5, "before its time was over"
    assert_problem(bridge.lease(bot.id, "one"), 409, "lease_held")


@pytest.mark.parametrize("body", [
    {}, {"holder": "x"}, {"ttl_seconds": 30}, {"holder": "", "ttl_seconds": 30}, {"holder": "x" * 5000, "ttl_seconds": 30}, {"holder": 7, "ttl_seconds": 30},
    *({"holder": "x", "ttl_seconds": seconds} for seconds in (4, 301, -1, "30"))], ids=lambda body: str(body)[:40])
def test_what_is_no_lease_is_refused_and_takes_none(server, shop, body):
    bot = make_bot(shop)
    bridge = make_bridge(shop, bot)
    assert_problem(server.http.put(f"/api/bot/bots/{bot.id}/lease", headers=bridge.credentials, json=body), (400, 422))
    assert bridge.lease(bot.id, "honest").status_code == 200


@pytest.mark.parametrize("change", [{"platform": "pigeon"}, {"platform_token": ""}, {"platform_token": None}, {"name": ""}, {"assistant_id": 0},
                                    {"assistant_id": "1"}, {"surprise": 1}], ids=str)
def test_what_is_no_bot_is_refused(shop, change):
    before = shop.server.database.value("SELECT count(*) FROM bot_instances")
    answer = shop.operator.post("/api/bot-instances", {"assistant_id": shop.assistant_id, "name": "Bot", "platform": "telegram", "platform_token": platform_token(), **change})
    assert_problem(answer, (400, 404, 422))
    assert shop.server.database.value("SELECT count(*) FROM bot_instances") == before


def test_what_was_done_to_keys_and_bots_is_noted_without_the_secrets(server, shop):
    bot = make_bot(shop)
    bridge = make_bridge(shop, bot)
    revoke(shop, bridge)
    noted = server.database.rows(f"SELECT actor, action, subject FROM security_events WHERE account_id = {shop.account_id} ORDER BY id DESC LIMIT 3")
    assert [actor for actor, _, _ in noted] == [f"operator:{shop.operator_id}"] * 3
    assert len({action for _, action, _ in noted}) == 3 and not [row for row in noted if bridge.key in str(row) or bot.platform_token in str(row)]


# Found by a reviewer, each of them once open

def test_a_bot_of_an_assistant_that_is_put_away_is_served_no_more(server):
    shop = server.shop()
    bot = shop.operator.post("/api/bot-instances", {
        "assistant_id": shop.assistant_id, "name": "Bot", "platform": "telegram",
        "platform_token": "5500112233:AA-a-bot-whose-assistant-goes"}).json()["id"]
    key = shop.operator.post("/api/api-keys", {"name": "Bridge", "bot_ids": [bot]}).json()["key"]
    bridge = {"Authorization": f"Bearer {key}"}
    lease = {"holder": "p1", "ttl_seconds": 30}
    assert len(server.http.get("/api/bot/bots", headers=bridge).json()["items"]) == 1
    assert server.http.put(f"/api/bot/bots/{bot}/lease", headers=bridge, json=lease).status_code == 200
    assert server.http.delete(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials).status_code == 204
    assert server.http.get("/api/bot/bots", headers=bridge).json()["items"] == []
    assert server.http.put(f"/api/bot/bots/{bot}/lease", headers=bridge, json=lease).status_code == 404
