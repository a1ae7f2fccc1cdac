"""An open stream ends with its credential: by what an operator does, on the other node too, and by time alone."""

from __future__ import annotations

import time
import uuid

import pytest

from harness import tokens
from harness.access import STREAM_ENDS, assert_expires
from harness.people import PANEL, Shop, colleague, panel_cookie
from harness.streams import Follower


@pytest.fixture(scope="module")
def nodes(make_module_nodes, redis):
    """The stream is on one node, what ends it is done on the other."""
    return make_module_nodes(2, REDIS_URL=redis.url(redis.unused_database()))


@pytest.fixture
def shop(nodes) -> Shop:
    return nodes.shop()


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
            assert_expires(stream, within=max(0.5, STREAM_ENDS - (time.monotonic() - begun)))
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
        assert_expires(stream, within=12)
        assert "retry: 30000\n" in stream.text
    assert ends - 1 <= time.time() <= ends + STREAM_ENDS
    for path, token in given.items():
        over = tokens.changed(token, exp=ends)
        with Follower(nodes[1].url + path, params={"stream_token": over}) as stream:
            assert_expires(stream, within=5)
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
