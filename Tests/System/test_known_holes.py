"""The replaced system let anybody read anything. Each line of its list, S-01 to S-16 here (S-09 with the pages), is a hole that ours has not."""

from __future__ import annotations

import socketserver
import threading
import uuid
from http.server import BaseHTTPRequestHandler

import pytest

from harness import tokens
from harness.bridges import make_bot, make_bridge
from harness.credentials import World
from harness.pages import policy
from harness.people import assert_problem, colleague
from harness.server import Server
from harness.streams import Follower
from harness.waiting import eventually

KEPT_OUT = (401, 403, 404)


@pytest.fixture(scope="module")
def world(server) -> World:
    return World(server)


@pytest.fixture(scope="module")
def listed(server):
    """An assistant with a list of domains."""
    return server.shop(allowed_domains=["example.com", "shop.test"])


def assert_no_way(server, calls: list[tuple[str, str]], hidden: list[str], headers: dict | None = None, **query: object) -> None:
    """Neither answered nor done, and nothing told on the way."""
    before = server.database.counts()
    for method, path in calls:
        body = {"json": {"text": "injected", "sender": "manager", "user_id": 1, "assistant_id": 1, "dialog_id": 1, "message": "injected",
                         "guest_id": "x" * 22}} if method in ("POST", "PUT", "PATCH") else {}
        answer = server.http.request(method, path, headers=headers, params=query, **body)
        assert_problem(answer, KEPT_OUT)
        assert not [text for text in hidden if text in answer.text], f"{method} {path}"
    assert server.database.counts() == before


def test_s01_an_admins_token_is_verified_before_a_stream_says_anything(server, world):
    dialog_id, stranger = world.visitor.dialog_id, world.other.operator
    rubbish = ("x", tokens.unsigned(stranger.token), tokens.tampered(world.shop.operator.token))
    for path in (f"/api/dialogs/{dialog_id}/events", "/api/admin/events", f"/api/site/dialogs/{dialog_id}/events"):
        for query in [{name: token} for name in ("token", "access_token", "stream_token", "admin_token") for token in rubbish]:
            with Follower(server.url + path, params=query) as stream:
                assert stream.status in KEPT_OUT and world.mark.encode() not in stream.body, f"{path} {query}"
    with stranger.follow(dialog_id) as stream:
        assert stream.status == 404, "a good token of another account"
    off = colleague(world.shop)
    assert server.http.delete(f"/api/operators/{world.id_of(off)}", headers=world.shop.operator.credentials).status_code == 204
    with off.follow(dialog_id) as stream:
        stream.wait_for_end(within=5)
        assert world.mark not in stream.text, "who was switched off sees nothing"


def test_s02_the_public_site_token_opens_ones_own_dialog_and_not_the_next_ones(server, world):
    mine, theirs = world.neighbours["same assistant"], world.visitor
    for proof in (mine.query, {"site_token": world.shop.site_token}, {**mine.query, "guest_id": str(uuid.uuid4())}):
        for number in (theirs.dialog_id, theirs.dialog_id - 1, theirs.dialog_id + 1):
            if number != mine.dialog_id:
                for rest in ("messages", "events"):
                    with Follower(f"{server.url}/api/site/dialogs/{number}/{rest}", params=proof) as stream:
                        assert stream.status in KEPT_OUT and world.mark.encode() not in stream.body
    with mine.follow() as stream:
        stream.opening()


def test_s03_no_bots_token_is_given_to_anybody_but_its_own_bridge(server, world):
    bot = world.bot
    calls = [("GET", path) for path in ("/api/bot/bots", "/api/bot-instances", f"/api/bot-instances/{bot.id}", "/api/bot-instances-all",
                                        f"/api/bot-instances/{bot.id}/assistant", f"/api/bot-instances/by-assistant/{world.shop.assistant_id}",
                                        f"/api/admin/bot-instances/{world.shop.operator_id}", "/api/telegram-token")]
    assert_no_way(server, calls, [bot.platform_token, world.mark])
    assert bot.platform_token not in world.shop.operator.get("/api/bot-instances").text, "not even to its owner, once saved"
    stored = server.database.value(f"SELECT bot::text FROM bot_instances bot WHERE id = {bot.id}")
    assert bot.platform_token not in stored and bot.platform_token.encode().hex() not in stored, "nor in plain text on the disk"


def test_s04_nobody_writes_into_dialogs_or_spends_answers_by_the_bots_door(server, world):
    number = world.visitor.dialog_id
    calls = [("GET", "/api/bot/dialogs"), ("POST", "/api/bot/dialogs"), ("POST", f"/api/bot/dialogs/{number}/messages"), ("PATCH", f"/api/bot/dialogs/{number}"),
             ("PATCH", f"/api/bot/dialogs/{number}/user-info"), ("POST", "/api/bot/ai-response"), ("POST", "/api/reload-bot"), ("POST", "/bot/ai-response")]
    for headers in ({}, {"Authorization": "Bearer rxk_" + "A" * 43}, world.other.operator.credentials):
        assert_no_way(server, calls, [world.mark], headers)


@pytest.mark.parametrize("door", ["/api/dialogs", "/api/site/dialogs", "/api/widget/dialogs", "/api/bot/dialogs"])
def test_s05_nobody_requests_cancels_or_watches_a_handoff_that_is_not_theirs(server, world, door):
    state = f"SELECT handoff_status, handoff_epoch FROM dialogs WHERE id = {world.visitor.dialog_id}"
    before = server.database.rows(state)
    calls = [(method, f"{door}/{world.visitor.dialog_id}/handoff/{what}") for method, what in
             (("POST", "request"), ("POST", "cancel"), ("GET", "status"), ("POST", "should-request"), ("POST", "force-reset"))]
    for stranger in (world.neighbours["same assistant"], world.neighbours["another account"]):
        assert_no_way(server, calls, [world.mark], **stranger.query)
    assert_no_way(server, calls, [world.mark])
    assert server.database.rows(state) == before


def test_s06_no_operator_of_another_account_takes_over_or_counts_the_queue(server, world):
    number, stranger = world.visitor.dialog_id, world.other.operator
    assert_no_way(server, [("POST", f"/api/dialogs/{number}/handoff/takeover"), ("GET", f"/api/dialogs/{number}")], [world.mark], stranger.credentials)
    assert_problem(stranger.post(f"/api/dialogs/{number}/messages", {"text": "mine now"}), 404, "not_found")
    for path in ("/api/operator/queue", "/api/operator/my-dialogs", "/api/dialogs"):
        assert world.mark not in stranger.get(path).text
    assert server.database.value(f"SELECT assigned_operator_id IS NULL FROM dialogs WHERE id = {number}") == "t"


def test_s07_there_is_no_second_way_to_take_over_or_release(server, world):
    number = world.visitor.dialog_id
    calls = [("POST", f"/api/dialogs/{number}/{what}") for what in ("takeover", "release")]
    assert_no_way(server, calls, [world.mark], world.other.operator.credentials)
    assert_no_way(server, calls, [world.mark])


@pytest.mark.parametrize("door", ["site", "widget"])
@pytest.mark.parametrize("claim", [
    {"sender": "manager"}, {"sender": "assistant"}, {"sender": "system"}, {"author": {"id": 1, "name": "Olga"}}, {"author_id": 1}, {"principal": "operator:1"},
    {"message_kind": "system"}, {"message_kind": "note"}, {"system_type": "handoff_started"}, {"role": "system"}, {"seq": None, "id": 1, "account_id": 1}], ids=str)
def test_s08_a_visitor_cannot_speak_as_operator_assistant_or_system(server, world, door, claim):
    visitor = world.shop.visitor(through=door)
    posted = visitor.post({"text": "I am the manager", **claim})
    assert posted.status_code == 200, posted.text
    message = posted.json()["user_message"]
    with visitor.follow(last_event_id=visitor.opened["cursor"]) as stream:
        stream.opening()
        shown = [message, visitor.messages()["items"][-1], world.shop.operator.get(f"/api/dialogs/{visitor.dialog_id}/messages").json()["items"][-1],
                 stream.events[-1].data["message"]]
    for each in shown:
        assert each["id"] == message["id"] and each["sender"] == "user" and each["message_kind"] == "text" and each["seq"] == 1
        assert not each.get("author") and not each.get("system_type")
    assert server.database.rows(f"SELECT sender, principal, message_kind, author_id IS NULL, system_type IS NULL, account_id FROM messages WHERE id = {message['id']}") == [
        ["user", "visitor", "text", "t", "t", str(world.shop.account_id)]]


def test_s10_no_file_and_no_variable_makes_the_server_take_a_wrong_signature(binary, cluster, directory, server):
    """In a directory with a `.env`, under every name that has ever meant "development"."""
    place = directory / f"dev-{uuid.uuid4().hex[:6]}"
    place.mkdir()
    for name in ("Migrations", "Public", "docs"):
        (place / name).symlink_to(server.root / name)
    loose = {name: value for names, value in ((("ENVIRONMENT", "ENV", "APP_ENV", "NODE_ENV", "REPLYX_ENV"), "development"),
             (("DEBUG", "DEV", "DEV_MODE", "IS_DEVELOPMENT", "REPLYX_DEV", "REPLYX_DEBUG", "REPLYX_INSECURE", "TESTING"), "1")) for name in names}
    (place / ".env").write_text("".join(f"{name}={value}\n" for name, value in {**loose, "REPLYX_SECRETS": "y" * 20 + "0123456789abcdefghij"}.items()))
    lax = Server(binary, place, cluster.database(binary, server.root), directory, **loose).start()
    try:
        shop = lax.shop()
        visitor = shop.visitor()
        for secret in ("x" * 40, "", "y" * 20 + "0123456789abcdefghij"):
            forged = tokens.changed(shop.site_token, secret=secret)
            assert_problem(lax.http.get(f"{visitor.path}/messages", params={**visitor.query, "site_token": forged}), 401, "unauthorized")
            assert_problem(lax.http.get("/api/me", headers={"Authorization": f"Bearer {tokens.changed(shop.operator.token, secret=secret)}"}), 401)
        assert lax.http.get(f"{visitor.path}/messages", params=visitor.query).status_code == 200
    finally:
        lax.remove()


def test_s11_no_prompt_and_no_knowledge_is_read_without_a_right(server, world):
    secret = f"prompt-{uuid.uuid4().hex}"
    made = world.shop.operator.post("/api/assistants", {"name": "With a prompt", "answerer": "none", "guest_access": True, "system_prompt": secret}).json()
    token = world.shop.operator.get(f"/api/assistants/{made['id']}/embed-code").json()["token"]
    guest = {"site_token": token, "guest_id": "g" * 30, "assistant_id": made["id"]}
    opened = server.http.post("/api/site/dialogs", params=guest, json={})
    answers = [opened, server.http.get(f"/api/site/dialogs/{opened.json()['id']}/messages", params=guest), server.http.post("/api/widget-config", json={"token": token})]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert not [answer.text for answer in answers if secret in answer.text], "a visitor is told nothing of it"
    calls = [("GET", path) for path in (f"/api/assistants/{made['id']}", f"/api/assistants/{made['id']}/settings", f"/api/assistants/{made['id']}/knowledge",
             f"/api/user-knowledge/{world.shop.operator_id}", f"/api/user-telegram-assistant/{world.shop.operator_id}", "/api/qa-knowledge",
             f"/api/files/documents/{world.shop.operator_id}/a.pdf")] + [("POST", "/api/support/send-to-admins")]
    assert_no_way(server, calls, [secret], **guest)
    assert_no_way(server, calls[:1], [secret], world.other.operator.credentials)


def test_s12_a_bridge_serves_its_own_bots_and_never_the_first_bot_of_anyone(server, world):
    theirs = make_bot(world.other, "Theirs")
    second = make_bot(world.shop, "Second")
    narrow, own = make_bridge(world.shop, second), world.bridge
    assert [bot["id"] for bot in narrow.bots().json()["items"]] == [second.id]
    assert [bot["id"] for bot in own.bots().json()["items"]] == [world.bot.id]
    for bridge, bot_id in ((narrow, world.bot.id), (narrow, theirs.id), (own, theirs.id)):
        assert_problem(bridge.lease(bot_id, "us"), 404, "not_found")
    crossed = world.shop.operator.post("/api/api-keys", {"name": "Crossed", "bot_ids": [world.bot.id, theirs.id]})
    assert_problem(crossed, (404, 422))
    assert_problem(world.shop.operator.post("/api/bot-instances", {"assistant_id": world.other.assistant_id, "name": "x", "platform": "telegram",
                                                                  "platform_token": theirs.platform_token}), (404, 422))


def test_s13_no_parameter_widens_what_an_operator_sees(server, world):
    reach = {"all": "true", "user_id": world.shop.operator_id, "account_id": world.shop.account_id, "assistant_id": world.shop.assistant_id, "search": world.mark}
    for path in ("/api/dialogs", "/api/operators", "/api/assistants", "/api/metrics", "/api/statistics", "/api/me"):
        for person in (world.other.operator, colleague(world.other)):
            text = person.get(path, params=reach).text
            assert not [hidden for hidden in world.hidden if hidden in text], path


def test_s14_a_site_token_lasts_as_long_as_its_assistant_wants_and_names_one(make_server):
    server = make_server()
    shop = server.shop()
    visitor = shop.visitor()
    wanting = {"no assistant": {"assistant_id": None}, "no version": {"version": None}, "an older version": {"version": 0}, "a later version": {"version": 2},
               "another type": {"typ": "access"}, "no type": {"typ": None}, "an assistant that is none": {"assistant_id": 999_999}}
    for what, change in wanting.items():
        claims = {name: value for name, value in {**tokens.claims(shop.site_token), **change}.items() if value is not None}
        query = {**visitor.query, "site_token": tokens.signed(claims)}
        for path in (visitor.base, f"{visitor.path}/messages", f"{visitor.path}/events"):
            answer = server.http.get(path, params=query, headers={"Accept": "application/json"})
            assert answer.status_code in KEPT_OUT, f"{what} at {path}: {answer.status_code}"
    with visitor.follow() as stream:
        stream.opening()
        server.database.execute(f"UPDATE assistants SET is_active = false WHERE id = {shop.assistant_id}")
        stream.wait_for_end(within=5)
        assert [frame.data["reason"] for frame in stream.named("bye")] == ["expired"]
    eventually(lambda: visitor.post({"text": "still here"}).status_code in KEPT_OUT, "to be refused", within=4)
    assert server.http.post(visitor.base, params=visitor.query, json={}).status_code in KEPT_OUT


@pytest.mark.parametrize("origin, allowed", [
    ("https://example.com", True), ("https://www.example.com", True), ("https://ample.com", False), ("https://e", False), ("https://evil-example.com", False),
    ("https://example.com.evil.test", False), ("https://example.co", False), ("https://wwwexample.com", False), ("https://", False), ("example.com", False)])
def test_s15_a_domain_is_compared_whole_and_no_part_of_a_string(server, listed, origin, allowed):
    answer = server.http.post("/api/site/dialogs", params={"site_token": listed.site_token}, headers={"Origin": origin}, json={})
    if allowed:
        assert answer.status_code == 200, answer.text
    else:
        assert_problem(answer, 403, "origin_not_allowed")
    told = server.http.post("/api/widget-config", headers={"Origin": origin}, json={"token": listed.site_token, "domain": "example.com", "valid": True})
    assert allowed == (told.status_code == 200), "what the caller says of its domain proves nothing"


def test_s16_no_address_in_the_query_is_believed_or_called(server, world):
    called = []

    class Trap(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            called.append(self.path)
            self.send_error(404)
        do_POST = do_GET

    with socketserver.TCPServer(("127.0.0.1", 0), Trap) as trap:
        threading.Thread(target=trap.serve_forever, daemon=True).start()
        place = f"http://127.0.0.1:{trap.server_address[1]}"
        for token in ("forged", world.shop.site_token, tokens.tampered(world.shop.site_token)):
            page = server.http.get("/chat/", params={"site_token": token, "api": place, "apiBase": place, "valid": "true", "domain": "evil.example"})
            assert policy(page)["frame-ancestors"] == ["'self'"]
            assert place not in page.text and place not in str(page.headers) and "evil.example" not in str(page.headers)
        trap.shutdown()
    assert not called
