"""What ends a visitor's access: on every node, open streams included, within seconds."""

from __future__ import annotations

import time

import pytest

from harness import tokens
from harness.access import REQUEST_REFUSED, STREAM_ENDS, assert_expires, change_assistant
from harness.nodes import at
from harness.people import Shop, Visitor, assert_problem, colleague
from harness.streams import Follower
from harness.waiting import eventually


@pytest.fixture(scope="module")
def nodes(make_module_nodes, redis):
    """The stream is on one node, what ends it is done on the other."""
    return make_module_nodes(2, REDIS_URL=redis.url(redis.unused_database()))


@pytest.fixture
def shop(nodes) -> Shop:
    return nodes.shop(allowed_domains=["shop.test"])


def is_refused(visitor: Visitor) -> bool:
    """By opening, reading and following, and then by writing, so that nothing is said while it is still let in."""
    http, asked = visitor.server.http, {"params": visitor.query}
    ways = (lambda: http.get(f"{visitor.path}/messages", **asked), lambda: http.get(visitor.base, **asked), lambda: http.post(visitor.base, json={}, **asked),
            lambda: http.get(f"{visitor.path}/events", headers={"Accept": "application/json"}, **asked),
            lambda: http.post(f"{visitor.path}/messages", json={"text": "still here"}, **asked))
    return all(way().status_code in (401, 403, 404) for way in ways)


class OpenStreams:
    """A visitor's by their own door, by token and by the operators' door, on the second node."""

    def __init__(self, nodes, visitor: Visitor):
        token = visitor.messages()["stream_token"]
        self.all = [at(nodes[1], visitor).follow(), Follower(f"{nodes[1].url}{visitor.path}/events", params={"stream_token": token}),
                    Follower(f"{nodes[1].url}/api/dialogs/{visitor.dialog_id}/events", params=visitor.query)]

    def __enter__(self) -> list[Follower]:
        for stream in self.all:
            stream.opening()
        return self.all

    def __exit__(self, *_: object) -> None:
        for stream in self.all:
            stream.close()


def assert_all_end(nodes, visitor: Visitor, by, bystander: Visitor) -> None:
    """What `by` does on the first node ends the visitor's streams on the second one and refuses them everywhere; nobody else notices."""
    with OpenStreams(nodes, visitor) as streams, at(nodes[1], bystander).follow() as other:
        other.opening()
        begun = time.monotonic()
        by()
        for stream in streams:
            assert_expires(stream, within=max(0.5, STREAM_ENDS - (time.monotonic() - begun)))
        for node in nodes:
            eventually(lambda: is_refused(at(node, visitor)), "to be refused", within=max(0.5, REQUEST_REFUSED - (time.monotonic() - begun)))
        bystander.say("I am still served")
        other.wait_for_texts(["I am still served"])
        assert not other.named("bye")


# Visitors

@pytest.mark.parametrize("door", ["site", "widget"])
@pytest.mark.parametrize("what", ["switched off", "put away"])
def test_an_assistant_that_is_switched_off_or_put_away_lets_nobody_in(nodes, shop, door, what):
    visitor, bystander = shop.visitor(through=door), nodes.shop().visitor()
    visitor.say("before")
    by = {"switched off": lambda: change_assistant(shop, is_active=False),
          "put away": lambda: shop.server.http.delete(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials).raise_for_status()}[what]
    assert_all_end(nodes, visitor, by, bystander)
    assert [each["text"] for each in shop.operator.get(f"/api/dialogs/{visitor.dialog_id}/messages").json()["items"]] == ["before"], "its dialogs stay"
    if what == "put away":
        assert_problem(shop.operator.get(f"/api/assistants/{shop.assistant_id}"), 404, "not_found")
        assert shop.assistant_id not in [each["id"] for each in shop.operator.get("/api/assistants").json()["items"]]
    else:
        change_assistant(shop, is_active=True)
        eventually(lambda: visitor.post({"text": "after"}).status_code == 200, "to be let in again", within=REQUEST_REFUSED)


def revoke_tokens(shop: Shop, **body: object) -> dict:
    answer = shop.operator.post(f"/api/assistants/{shop.assistant_id}/revoke-tokens", body)
    assert answer.status_code == 200, answer.text
    assert {"token_version", "embed_code", "token"} <= set(answer.json()) and answer.json()["token"] in answer.json()["embed_code"]
    return answer.json()


@pytest.mark.parametrize("body", [{}, {"grace_hours": 0}], ids=str)
def test_revoked_site_tokens_end_at_once_and_the_new_one_works(nodes, shop, body):
    visitor, renewed = shop.visitor(), {}
    visitor.say("before")
    assert_all_end(nodes, visitor, lambda: renewed.update(revoke_tokens(shop, **body)), nodes.shop().visitor())
    assert tokens.claims(renewed["token"])["version"] == renewed["token_version"] == tokens.claims(shop.site_token)["version"] + 1
    shop.site_token = renewed["token"]
    for node in nodes:
        assert [each["text"] for each in at(node, visitor).messages()["items"]] == ["before"], "the same guest, the same dialog"


def test_with_grace_the_version_before_is_good_for_a_while_and_older_ones_are_not(nodes, shop):
    first, visitor = shop.site_token, shop.visitor()
    opens = lambda token: shop.server.http.get(visitor.base, params={"site_token": token, "guest_id": visitor.guest_id}).status_code == 200  # noqa: E731
    with at(nodes[1], visitor).follow() as stream:
        stream.opening()
        second = revoke_tokens(shop, grace_hours=168)["token"]
        eventually(lambda: opens(second), "the new token to be known", within=REQUEST_REFUSED)
        assert opens(first), "in its grace"
        visitor.say("cached pages go on")
        stream.wait_for_texts(["cached pages go on"])
        third = revoke_tokens(shop, grace_hours=1)["token"]
        assert_expires(stream)
    eventually(lambda: opens(third) and opens(second) and not opens(first), "two versions and no more", within=REQUEST_REFUSED)
    nodes.database.execute(f"UPDATE assistants SET token_grace_until = now() - interval '1 second' WHERE id = {shop.assistant_id}")
    eventually(lambda: opens(third) and not opens(second), "the grace to end", within=REQUEST_REFUSED)


@pytest.mark.parametrize("hours", [-1, 169, 1.5, "1", None], ids=str)
def test_grace_is_bounded(shop, hours):
    answer = shop.operator.post(f"/api/assistants/{shop.assistant_id}/revoke-tokens", {"grace_hours": hours})
    if hours is None:
        assert answer.status_code == 200, "null counts as absent"
    else:
        assert_problem(answer, (400, 422))
        assert shop.server.http.get("/api/site/dialogs", params={"site_token": shop.site_token, "guest_id": "g" * 30}).status_code == 200


def test_guest_access_that_is_switched_off_closes_one_door_and_not_the_other(nodes, shop):
    guest, visitor = shop.visitor(through="widget"), shop.visitor()
    with at(nodes[1], guest).follow() as stream, at(nodes[1], visitor).follow() as other:
        stream.opening(), other.opening()
        change_assistant(shop, guest_access=False)
        assert_expires(stream)
        for node in nodes:
            eventually(lambda: is_refused(at(node, guest)), "to be refused", within=REQUEST_REFUSED)
            assert_problem(node.http.post("/api/widget/dialogs", params=guest.query, json={}), 403, "guest_access_off")
        visitor.say("by site token")
        other.wait_for_texts(["by site token"])


def test_a_domain_that_is_taken_off_the_list_is_refused_on_every_node(nodes, shop):
    visitor = shop.visitor()
    ask = lambda node: node.http.get(f"{visitor.path}/messages", params=visitor.query, headers={"Origin": "https://shop.test"}).status_code  # noqa: E731
    assert [ask(node) for node in nodes] == [200, 200]
    change_assistant(shop, allowed_domains=["other.test"])
    for node in nodes:
        eventually(lambda: ask(node) == 403, "the domain to be refused", within=REQUEST_REFUSED)
    visitor.say("the guest itself is still a guest")


# Blocking

@pytest.mark.parametrize("door", ["site", "widget"])
def test_a_blocked_guest_is_out_by_both_doors_and_let_in_again(nodes, shop, door):
    visitor, bystander = shop.visitor(through=door), shop.visitor()
    visitor.say("rude")
    block = f"/api/dialogs/{visitor.dialog_id}/block"
    plain = colleague(shop)
    assert_all_end(nodes, visitor, lambda: plain.post(block, {}).raise_for_status(), bystander)
    for through in ("site", "widget"):
        again = Visitor(shop, visitor.guest_id, through)
        for node in nodes:
            assert_problem(node.http.post(again.base, params=again.query, json={}), 403, "blocked")
            assert_problem(node.http.get(f"{again.base}/{visitor.dialog_id}/messages", params=again.query), 403, "blocked")
            with Follower(f"{node.url}{again.base}/{visitor.dialog_id}/events", params=again.query) as stream:
                stream.wait_for_end(within=5)
                assert stream.status == 403 and b'"blocked"' in stream.body
    assert plain.post(block, {}).status_code == 204, "twice is once"
    assert plain.get(f"/api/dialogs/{visitor.dialog_id}").status_code == 200
    assert nodes[1].http.delete(block, headers=plain.credentials).status_code == 204
    eventually(lambda: visitor.post({"text": "sorry"}).status_code == 200, "to be let in again", within=REQUEST_REFUSED)


def test_blocking_counts_for_one_assistant(shop):
    made = shop.operator.post("/api/assistants", {"name": "Other", "answerer": "none", "guest_access": True}).json()["id"]
    visitor = shop.visitor()
    visitor.say("rude")
    assert shop.operator.post(f"/api/dialogs/{visitor.dialog_id}/block", {}).status_code == 204
    eventually(lambda: is_refused(visitor), "to be refused", within=REQUEST_REFUSED)
    assert shop.server.http.post("/api/widget/dialogs", params={"assistant_id": made, "guest_id": visitor.guest_id}, json={}).status_code == 200
