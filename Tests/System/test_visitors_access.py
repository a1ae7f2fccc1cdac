"""What ends a visitor's access, and what ends a stream that is open: on every node, within seconds, with `bye expired`."""

from __future__ import annotations

import time
import uuid

import pytest

from harness import tokens
from harness.credentials import forged
from harness.nodes import at
from harness.people import PANEL, Shop, Visitor, assert_problem, colleague, panel_cookie
from harness.streams import Follower
from harness.waiting import eventually

#: The contract's seconds, and a little for a busy machine of two cores.
STREAM_ENDS, REQUEST_REFUSED = 5.5, 4.5


@pytest.fixture(scope="module")
def nodes(make_module_nodes, redis):
    """The stream is on one node, what ends it is done on the other."""
    return make_module_nodes(2, REDIS_URL=redis.url(redis.unused_database()))


@pytest.fixture
def shop(nodes) -> Shop:
    return nodes.shop(allowed_domains=["shop.test"])


def ended_with(stream: Follower, reason: str = "expired", within: float = STREAM_ENDS) -> None:
    stream.wait_for_end(within=within)
    assert stream.error is None, "a clean end"
    assert [frame.data["reason"] for frame in stream.named("bye")] == [reason]


def change(shop: Shop, **fields: object) -> None:
    answer = shop.server.http.patch(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials, json=fields)
    assert answer.status_code == 200, answer.text


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
            ended_with(stream, within=max(0.5, STREAM_ENDS - (time.monotonic() - begun)))
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
    by = {"switched off": lambda: change(shop, is_active=False),
          "put away": lambda: shop.server.http.delete(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials).raise_for_status()}[what]
    assert_all_end(nodes, visitor, by, bystander)
    assert [each["text"] for each in shop.operator.get(f"/api/dialogs/{visitor.dialog_id}/messages").json()["items"]] == ["before"], "its dialogs stay"
    if what == "put away":
        assert_problem(shop.operator.get(f"/api/assistants/{shop.assistant_id}"), 404, "not_found")
        assert shop.assistant_id not in [each["id"] for each in shop.operator.get("/api/assistants").json()["items"]]
    else:
        change(shop, is_active=True)
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
        ended_with(stream)
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
        change(shop, guest_access=False)
        ended_with(stream)
        for node in nodes:
            eventually(lambda: is_refused(at(node, guest)), "to be refused", within=REQUEST_REFUSED)
            assert_problem(node.http.post("/api/widget/dialogs", params=guest.query, json={}), 403, "guest_access_off")
        visitor.say("by site token")
        other.wait_for_texts(["by site token"])


def test_a_domain_that_is_taken_off_the_list_is_refused_on_every_node(nodes, shop):
    visitor = shop.visitor()
    ask = lambda node: node.http.get(f"{visitor.path}/messages", params=visitor.query, headers={"Origin": "https://shop.test"}).status_code  # noqa: E731
    assert [ask(node) for node in nodes] == [200, 200]
    change(shop, allowed_domains=["other.test"])
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


# Identity

def identity_secret(shop: Shop) -> str:
    made = shop.operator.post(f"/api/assistants/{shop.assistant_id}/identity-secret", {})
    assert made.status_code == 201, made.text
    secret = made.json()["identity_secret"]
    assert len(secret) >= 32
    return secret


def identity(secret: str, **claims: object) -> str:
    return tokens.signed({"sub": "customer-7", "exp": int(time.time()) + 3600, **claims}, secret=secret)


def opened_as(shop: Shop, shown: str | None, guest_id: str | None = None) -> tuple[Visitor, object]:
    visitor = Visitor(shop, guest_id)
    headers = {} if shown is None else {"X-Identity": shown}
    answer = shop.server.http.post(visitor.base, params=visitor.query, headers=headers, json={})
    visitor.dialog_id = answer.json().get("id", 0)
    return visitor, answer


def seen_by_operator(shop: Shop, visitor: Visitor) -> dict:
    visitor.say("who am I?")
    seen = shop.operator.get(f"/api/dialogs/{visitor.dialog_id}").json()["visitor"]
    assert seen == next(item["visitor"] for item in shop.operator.get("/api/dialogs").json()["items"] if item["id"] == visitor.dialog_id)
    return seen


@pytest.mark.parametrize("claims, name", [({}, None), ({"name": "Vera Иванова"}, "Vera Иванова"), ({"sub": "x" * 200}, None), ({"exp": 86_000}, None), ({"email": "x@example.test", "role": "owner"}, None)],
                         ids=str)
def test_a_signed_identity_is_shown_to_operators_as_verified(shop, claims, name):
    secret = identity_secret(shop)
    if "exp" in claims:
        claims = {**claims, "exp": int(time.time()) + claims["exp"]}
    visitor, answer = opened_as(shop, identity(secret, **claims))
    assert answer.status_code == 200, answer.text
    seen = seen_by_operator(shop, visitor)
    assert seen["verified"] is True and seen["external_id"] == claims.get("sub", "customer-7") and seen.get("name") == name
    assert "owner" not in str(seen)


def test_an_unsigned_visitor_is_not_verified_and_cannot_say_they_are(shop):
    identity_secret(shop)
    visitor = Visitor(shop)
    visitor.dialog_id = shop.server.http.post(visitor.base, params=visitor.query, json={"visitor": {"verified": True, "external_id": "customer-7"}, "sub": "customer-7"}).json()["id"]
    seen = seen_by_operator(shop, visitor)
    assert seen["verified"] is False and not seen.get("external_id")


def bad_identities(shop: Shop, secret: str, others_secret: str) -> dict[str, str]:
    good, now = identity(secret), int(time.time())
    header, payload, signature = good.split(".")
    return {"expired": identity(secret, exp=now - 5), "too far ahead": identity(secret, exp=now + 86_400 + 300), "no end": tokens.signed({"sub": "customer-7"}, secret=secret),
            "another secret": identity("x" * 40), "another assistant's secret": identity(others_secret), "the server's secret": identity(tokens.SECRET), "an empty secret": identity(""),
            "alg none": tokens.unsigned(good), "alg None": forged(good, "None", key=secret), "HS512": forged(good, "HS512", "sha512", secret), "RS256 in name": forged(good, "RS256", key=secret),
            "tampered": tokens.tampered(good), "no signature": f"{header}.{payload}.", "no subject": tokens.signed({"exp": now + 60}, secret=secret), "an empty subject": identity(secret, sub=""),
            "a long subject": identity(secret, sub="x" * 201), "a subject of another kind": identity(secret, sub=7), "an end of another kind": identity(secret, exp=str(now + 60)),
            "an end beyond numbers": identity(secret, exp=10**30), "a name of another kind": identity(secret, name=["x"]), "rubbish": "rubbish", "dots": "..", "four parts": f"{good}.x",
            "an access token": shop.operator.token, "a site token": shop.site_token}


def test_an_identity_that_is_not_signed_and_in_time_is_refused_and_marks_nothing(shop, nodes):
    secret, others = identity_secret(shop), nodes.shop()
    before = shop.server.database.counts()
    for what, shown in bad_identities(shop, secret, identity_secret(others)).items():
        _, answer = opened_as(shop, shown)
        assert answer.status_code == 401 and answer.json()["code"] == "identity_invalid", f"{what}: {answer.status_code} {answer.text}"
        assert_problem(answer, 401, "identity_invalid")
        assert secret not in answer.text
    assert shop.server.database.counts() == {**before, **{name: shop.server.database.counts()[name] for name in ("accounts", "operators", "assistants")}}
    assert shop.server.database.counts()["dialogs"] == before["dialogs"]
    assert_problem(opened_as(others, identity(secret))[1], 401, "identity_invalid")


def test_without_a_secret_no_identity_is_good(shop):
    for secret in ("", "x" * 40, tokens.SECRET):
        assert_problem(opened_as(shop, identity(secret))[1], 401, "identity_invalid")


def test_a_new_identity_secret_replaces_the_one_before_and_neither_can_be_read(shop):
    old, new = identity_secret(shop), identity_secret(shop)
    assert old != new
    eventually(lambda: opened_as(shop, identity(old))[1].status_code == 401, "the old secret to end", within=REQUEST_REFUSED)
    eventually(lambda: opened_as(shop, identity(new))[1].status_code == 200, "the new secret to count", within=REQUEST_REFUSED)
    stored = shop.server.database.value(f"SELECT a::text FROM assistants a WHERE id = {shop.assistant_id}")
    for secret in (old, new):
        assert secret not in stored and secret.encode().hex() not in stored
        assert secret not in shop.operator.get(f"/api/assistants/{shop.assistant_id}").text and secret not in shop.operator.get("/api/assistants").text


def test_the_same_identity_gives_no_access_to_another_guests_dialog(shop):
    shown = identity(identity_secret(shop))
    owner, _ = opened_as(shop, shown)
    owner.say("from my laptop")
    twin, answer = opened_as(shop, shown)
    assert answer.status_code == 200 and twin.dialog_id != owner.dialog_id
    for path in (f"{owner.path}/messages", f"{owner.path}/events"):
        assert_problem(shop.server.http.get(path, params=twin.query, headers={"X-Identity": shown, "Accept": "application/json"}), 404, "not_found")
    listed = shop.server.http.get(twin.base, params=twin.query, headers={"X-Identity": shown}).json()["items"]
    assert [item["id"] for item in listed] == [twin.dialog_id]


# Operators' streams

def streams_of(nodes, shop: Shop, person, cookie: dict, dialog_id: int) -> dict[str, Follower]:
    """By header, by cookie and by token, of the account and of a dialog, on the second node."""
    url, found = nodes[1].url, {}
    for what, path, body in (("account", "/api/admin/events", {}), ("dialog", f"/api/dialogs/{dialog_id}/events", {"dialog_id": dialog_id})):
        token = person.post("/api/stream-tokens", body).json()["stream_token"]
        by_cookie = shop.server.http.post("/api/stream-tokens", headers={**cookie, **PANEL}, json=body).json()["stream_token"]
        found |= {f"{what} by header": Follower(url + path, headers=person.credentials), f"{what} by token": Follower(url + path, params={"stream_token": token}),
                  f"{what} by cookie": Follower(url + path, headers=cookie), f"{what} by the cookie's token": Follower(url + path, params={"stream_token": by_cookie})}
    for stream in found.values():
        stream.opening()
    return found


@pytest.mark.parametrize("what", ["logout", "logout of the panel", "deactivation", "removal", "password", "reset", "role"])
def test_what_ends_a_session_ends_its_streams_on_the_other_node(nodes, shop, what):
    person, http = colleague(shop), shop.server.http
    cookie = panel_cookie(person)
    dialog_id = shop.visitor().dialog_id
    me = next(each["id"] for each in shop.operator.get("/api/operators").json()["items"] if each["email"] == person.email)
    owner = shop.operator.credentials

    def reset() -> None:
        made = shop.server.command("operator", "reset", "--email", person.email)
        assert made.returncode == 0, made.stderr
        http.post("/api/auth/reset-password", json={"token": made.stdout.strip().split("#reset=")[1], "password": "quite another password"}).raise_for_status()

    by = {"logout": lambda: http.post("/api/logout", headers=person.credentials).raise_for_status(),
          "logout of the panel": lambda: http.post("/api/logout", headers={**cookie, **PANEL}).raise_for_status(),
          "deactivation": lambda: http.patch(f"/api/operators/{me}", headers=owner, json={"is_active": False}).raise_for_status(),
          "removal": lambda: http.delete(f"/api/operators/{me}", headers=owner).raise_for_status(),
          "password": lambda: http.post("/api/auth/change-password", headers=person.credentials,
                                        json={"old_password": person.password, "new_password": "quite another password"}).raise_for_status(),
          "reset": reset, "role": lambda: http.patch(f"/api/operators/{me}", headers=owner, json={"role": "admin"}).raise_for_status()}[what]
    streams = streams_of(nodes, shop, person, cookie, dialog_id)
    with shop.operator.follow() as bystander:
        bystander.opening()
        begun = time.monotonic()
        by()
        # A session that ends alone leaves the other one; a new password leaves the session that set it.
        stays = {"logout": "cookie", "logout of the panel": ("header", "by token"), "password": ("header", "by token")}.get(what, ())
        stays = (stays,) if isinstance(stays, str) else stays
        ending = {name: stream for name, stream in streams.items() if not any(part in name for part in stays)}
        assert ending
        for name, stream in ending.items():
            ended_with(stream, within=max(0.5, STREAM_ENDS - (time.monotonic() - begun)))
        credentials = {"header": person.credentials, "cookie": cookie}
        for node in nodes:
            for how, headers in credentials.items():
                expected = 200 if how in stays else 401
                assert node.http.get("/api/me", headers=headers).status_code == expected, f"{how} after {what}"
        time.sleep(max(0, STREAM_ENDS - (time.monotonic() - begun)))
        for name in streams.keys() - ending.keys():
            assert not streams[name].ended, f"{name} belongs to a session that goes on"
        assert not bystander.ended
    for stream in streams.values():
        stream.close()


# Time alone

def test_a_stream_ends_when_the_time_of_its_token_is_over(nodes, shop):
    visitor = shop.visitor()
    ends = int(time.time()) + 4
    given = {f"{visitor.path}/events": visitor.messages()["stream_token"],
             "/api/admin/events": shop.operator.post("/api/stream-tokens", {}).json()["stream_token"],
             f"/api/dialogs/{visitor.dialog_id}/events": shop.operator.post("/api/stream-tokens", {"dialog_id": visitor.dialog_id}).json()["stream_token"]}
    streams = [Follower(nodes[1].url + path, params={"stream_token": tokens.changed(token, exp=ends)}) for path, token in given.items()]
    streams.append(Follower(f"{nodes[1].url}/api/admin/events", headers={"Authorization": f"Bearer {tokens.changed(shop.operator.token, exp=ends)}"}))
    for stream in streams:
        stream.opening()
    for stream in streams:
        ended_with(stream, within=12)
        assert "retry: 30000\n" in stream.text
    assert ends - 1 <= time.time() <= ends + STREAM_ENDS
    for path, token in given.items():
        over = tokens.changed(token, exp=ends)
        with Follower(nodes[1].url + path, params={"stream_token": over}) as stream:
            ended_with(stream, within=5)
        assert nodes[0].http.get(path, params={"stream_token": over}, headers={"Accept": "application/json"}).status_code == 401


def test_an_hour_is_what_a_stream_token_is_good_for(shop):
    visitor, now = shop.visitor(), time.time()
    made = shop.operator.post("/api/stream-tokens", {})
    assert made.status_code == 201 and made.json()["expires_in"] == 3600
    for token in (visitor.opened["stream_token"], visitor.messages()["stream_token"], made.json()["stream_token"]):
        assert abs(tokens.claims(token)["exp"] - now - 3600) < 30


def test_a_stream_token_is_good_on_every_node_and_for_any_number_of_connections(nodes, shop):
    visitor = shop.visitor()
    query = {"stream_token": visitor.opened["stream_token"]}
    streams = [Follower(f"{node.url}{visitor.path}/events", params=query) for node in nodes for _ in range(3)]
    said = f"to all {uuid.uuid4().hex}"
    for stream in streams:
        stream.opening()
    visitor.say(said)
    for stream in streams:
        stream.wait_for_texts([said])
        stream.close()
