"""A visitor and an operator talk to each other, over REST one way and over streams the other."""

import json
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.clients import Curl, LaunchDarkly, Node
from harness.streams import Follower, assert_contiguous, position, texts
from harness.waiting import eventually


def curl(url: str, body: object, *options: str) -> dict:
    answer = subprocess.run(["curl", "-sS", "--fail-with-body", "-H", "Content-Type: application/json", *options,
                             "-d", json.dumps(body), url], capture_output=True, text=True, timeout=30)
    assert answer.returncode == 0, f"{answer.stdout} {answer.stderr}"
    return json.loads(answer.stdout)


def test_the_curl_conversation_of_the_readme(server, shop):
    bearer = ("-H", f"Authorization: Bearer {shop.operator.token}")
    opened = curl(f"{server.url}/api/site/dialogs?site_token={shop.site_token}", {})
    proof = f"site_token={shop.site_token}&guest_id={opened['guest_id']}"
    path = f"/api/site/dialogs/{opened['id']}"
    with Curl(f"{server.url}/api/admin/events", *bearer) as operators, Curl(f"{server.url}{path}/events?{proof}") as visitors:
        operators.wait_for_opening()
        visitors.wait_for_opening()
        sent = curl(f"{server.url}{path}/messages?{proof}", {"text": "Where is my order?"})
        assert sent["user_message"]["sender"] == "user"
        operators.wait_for_texts(["Where is my order?"])
        curl(f"{server.url}/api/dialogs/{opened['id']}/messages", {"text": "On its way."}, *bearer)
        visitors.wait_for_texts(["On its way."])


def test_what_the_visitor_says_arrives_in_the_operators_account_stream_and_the_answer_in_the_visitors(shop):
    visitor = shop.visitor()
    with shop.operator.follow() as account, visitor.follow() as dialog:
        account.opening(), dialog.opening()
        question = visitor.say("Is it blue?")
        answer = shop.operator.answer(visitor.dialog_id, "It is.")
        account.wait_for_texts(["Is it blue?", "It is."])
        dialog.wait_for_texts(["Is it blue?", "It is."])

        assert texts(dialog.events) == ["Is it blue?", "It is."]
        seen = {frame.data["message"]["id"]: frame.data for frame in dialog.events if frame.data["type"] == "message:new"}
        assert seen[question["id"]]["message"]["sender"] == "user"
        assert seen[answer["id"]]["message"]["sender"] == "manager"
        assert seen[answer["id"]]["dialog_id"] == visitor.dialog_id
        assert seen[answer["id"]]["message"]["seq"] == seen[answer["id"]]["seq"]

        operators = [frame.data for frame in account.events if frame.data["type"] == "message:new"
                     and frame.data["dialog_id"] == visitor.dialog_id]
        assert [event["dialog_seq"] for event in operators] == [seen[question["id"]]["seq"], seen[answer["id"]]["seq"]]


def test_the_operator_can_follow_one_dialog_and_sees_what_the_visitor_sees(shop):
    visitor = shop.visitor()
    with shop.operator.follow(visitor.dialog_id) as operators, visitor.follow() as visitors:
        operators.opening(), visitors.opening()
        visitor.say("one")
        shop.operator.answer(visitor.dialog_id, "two")
        operators.wait_for_texts(["one", "two"]), visitors.wait_for_texts(["one", "two"])
        assert [frame.id for frame in operators.events] == [frame.id for frame in visitors.events]
        assert [frame.data for frame in operators.events] == [frame.data for frame in visitors.events]


def test_the_visitor_may_follow_the_operators_path_with_the_query_credentials(server, shop):
    visitor = shop.visitor()
    with Follower(f"{server.url}/api/dialogs/{visitor.dialog_id}/events", params=visitor.query) as stream:
        stream.opening()
        visitor.say("over there")
        stream.wait_for_texts(["over there"])


@pytest.mark.parametrize("through", ["site", "widget"])
def test_a_visitor_has_one_open_dialog_per_assistant(shop, through):
    visitor = shop.visitor(through=through)
    assert visitor.opened["created"] is True
    again = shop.visitor(visitor.guest_id, through)
    assert again.dialog_id == visitor.dialog_id
    assert again.opened["created"] is False
    assert shop.visitor(through=through).dialog_id != visitor.dialog_id


def test_many_openings_at_once_are_one_dialog(shop):
    guest = str(uuid.uuid4())
    with ThreadPoolExecutor(16) as hands:
        opened = list(hands.map(lambda _: shop.visitor(guest).opened, range(16)))
    assert len({each["id"] for each in opened}) == 1
    assert sum(each["created"] for each in opened) == 1


def test_opening_without_a_guest_id_mints_a_secret_that_works(server, shop):
    opened = server.http.post("/api/site/dialogs", params={"site_token": shop.site_token}, json={})
    assert opened.status_code == 200, opened.text
    guest = opened.json()["guest_id"]
    assert len(guest) >= 22
    other = server.http.post("/api/site/dialogs", params={"site_token": shop.site_token}, json={}).json()
    assert other["guest_id"] != guest and other["id"] != opened.json()["id"]
    again = shop.visitor(guest)
    assert again.dialog_id == opened.json()["id"]
    again.say("It is me.")


def test_the_credential_may_travel_in_headers(server, shop):
    visitor = shop.visitor()
    headers = {"X-Site-Token": shop.site_token, "X-Guest-Id": visitor.guest_id}
    sent = server.http.post(f"{visitor.path}/messages", headers=headers, json={"text": "quietly"})
    assert sent.status_code == 200, sent.text
    with Follower(f"{server.url}{visitor.path}/events", headers=headers) as stream:
        stream.opening()


def test_a_dialog_appears_to_operators_with_its_first_message(shop):
    with shop.operator.follow() as account:
        account.opening()
        visitor = shop.visitor()
        listed = [each["id"] for each in shop.operator.get("/api/dialogs?limit=100").json()["items"]]
        assert visitor.dialog_id not in listed
        visitor.say("Hello")
        listed = [each["id"] for each in shop.operator.get("/api/dialogs?limit=100").json()["items"]]
        assert visitor.dialog_id in listed
        account.wait_for_texts(["Hello"])
        kinds = [frame.data["type"] for frame in account.events if frame.data.get("dialog_id") == visitor.dialog_id]
        assert kinds.count("dialog:new") == 1
        assert kinds.count("message:new") == 1


def test_messages_can_be_paged_in_both_directions(shop):
    visitor = shop.visitor()
    said = [visitor.say(f"message {number}") for number in range(12)]
    ids = [each["id"] for each in said]
    assert ids == sorted(ids), "message ids rise within a dialog"

    newest = visitor.messages(limit=5)
    assert [each["id"] for each in newest["items"]] == ids[-5:]
    assert newest["has_more"] is True
    before = visitor.messages(limit=5, before_id=newest["items"][0]["id"])
    assert [each["id"] for each in before["items"]] == ids[2:7]
    first = visitor.messages(limit=5, before_id=before["items"][0]["id"])
    assert [each["id"] for each in first["items"]] == ids[:2]
    assert first["has_more"] is False

    after = visitor.messages(limit=5, after_id=ids[3])
    assert [each["id"] for each in after["items"]] == ids[4:9]
    assert after["has_more"] is True
    last = visitor.messages(limit=5, after_id=ids[8])
    assert [each["id"] for each in last["items"]] == ids[9:]
    assert last["has_more"] is False
    assert [each["id"] for each in visitor.messages()["items"]] == ids

    operators = shop.operator.get(f"/api/dialogs/{visitor.dialog_id}/messages").json()
    assert [each["id"] for each in operators["items"]] == ids


def test_a_snapshot_and_the_events_after_its_cursor_are_the_whole_while_others_write(shop):
    """Read early, follow from there: together they are what a fresh reading gives at the end."""
    visitor = shop.visitor()
    visitor.say("the first")
    with ThreadPoolExecutor(4) as hands:
        writing = [hands.submit(visitor.say, f"meanwhile {number}") for number in range(120)]
        snapshots = []
        while not all(each.done() for each in writing) and len(snapshots) < 20:
            snapshots.append(visitor.messages(limit=100))
        [each.result() for each in writing]
    fresh = {each["id"] for each in visitor.messages(limit=100)["items"]}
    fresh |= {each["id"] for each in visitor.messages(limit=100, before_id=min(fresh))["items"]}
    assert len(fresh) == 121 and snapshots
    for snapshot in snapshots:
        known = {each["id"] for each in snapshot["items"]}
        if snapshot["has_more"]:
            known |= {each["id"] for each in visitor.messages(limit=100, before_id=min(known))["items"]}
        with visitor.follow(last_event_id=snapshot["cursor"]) as stream:
            stream.opening()
            assert_contiguous(stream.events, after=snapshot["cursor"])
            told = {frame.data["message"]["id"] for frame in stream.events if frame.data["type"] == "message:new"}
        assert not known & told, "told twice"
        assert known | told == fresh


def test_the_operators_lists_carry_cursors_that_continue_without_a_hole(shop):
    visitor = shop.visitor()
    visitor.say("before")
    listed = shop.operator.get("/api/dialogs").json()
    read = shop.operator.get(f"/api/dialogs/{visitor.dialog_id}/messages").json()
    visitor.say("after")
    for cursor in (listed["cursor"], read["cursor"]):
        with shop.operator.follow(last_event_id=cursor) as account:
            account.wait_for_texts(["after"])
            assert "before" not in texts(account.events)
            assert_contiguous(account.events, after=cursor)
    with shop.operator.follow(visitor.dialog_id, last_event_id=read["dialog_cursor"]) as dialog:
        assert texts(dialog.wait_for_texts(["after"])) == ["after"]


def test_the_answer_to_opening_carries_a_cursor_and_a_stream_token(server, shop):
    visitor = shop.visitor()
    visitor.say("first words")
    with Follower(f"{server.url}{visitor.path}/events", params={"stream_token": visitor.opened["stream_token"],
                                                                "last_event_id": visitor.opened["cursor"]}) as stream:
        stream.wait_for_texts(["first words"])
        assert_contiguous(stream.events, after=visitor.opened["cursor"])


def test_an_operator_gets_a_stream_token_for_clients_without_headers(server, shop):
    visitor = shop.visitor()
    account = shop.operator.post("/api/stream-tokens", {})
    assert account.status_code == 201, account.text
    assert account.json()["expires_in"] > 0
    one = shop.operator.post("/api/stream-tokens", {"dialog_id": visitor.dialog_id}).json()
    with LaunchDarkly(f"{server.url}/api/admin/events", {"stream_token": account.json()["stream_token"]}) as whole, \
            LaunchDarkly(f"{server.url}/api/dialogs/{visitor.dialog_id}/events", {"stream_token": one["stream_token"]}) as dialog:
        whole.wait_for_opening(), dialog.wait_for_opening()
        visitor.say("to both")
        whole.wait_for_texts(["to both"]), dialog.wait_for_texts(["to both"])


@pytest.mark.skipif(not Node.is_here(), reason="needs node with --experimental-eventsource")
def test_a_native_event_source_reads_with_a_stream_token(server, shop):
    visitor = shop.visitor()
    with Node(f"{server.url}{visitor.path}/events", {"stream_token": visitor.opened["stream_token"]}) as browser:
        browser.wait_for_opening()
        for number in range(5):
            visitor.say(f"to the browser {number}")
        events = browser.wait_for_texts([f"to the browser {number}" for number in range(5)])
        assert [frame.number for frame in events] == sorted({frame.number for frame in events})
        assert not browser.gave_up()


def test_a_closed_dialog_replays_and_stays_followable(server, shop):
    visitor = shop.visitor()
    visitor.say("the last words")
    server.database.execute(f"UPDATE dialogs SET status = 'closed', closed_at = now() WHERE id = {visitor.dialog_id}")
    with visitor.follow(last_event_id=visitor.opened["cursor"]) as stream:
        stream.opening()
        assert texts(stream.events) == ["the last words"]
        eventually(lambda: len(stream.named("hb")) > 1, "a heartbeat of a closed dialog's stream")
    following = shop.visitor(visitor.guest_id)
    assert following.dialog_id != visitor.dialog_id and following.opened["created"] is True


def test_heads_name_the_stream_as_far_as_it_has_come(shop):
    visitor = shop.visitor()
    posted = visitor.post({"text": "counted"}).json()
    head = shop.visitor(visitor.guest_id).opened["cursor"]
    assert position(posted["head"]) <= position(head)
    assert posted["user_message"]["seq"] <= position(posted["head"])[1]
    assert posted["assistant_message"] is None
