"""A stranger gets nothing: 401 without a credential or with a forged one, 403 for what is not yours to do, 404 for what is not yours."""

import re
import secrets
import time
import uuid

import pytest

from harness import tokens
from harness.people import assert_problem
from harness.streams import Follower, texts
from harness.waiting import eventually

#: Whoever asks may ask these: signing in, health, the contract, pages.
OPEN_TO_ALL = re.compile(r"^/(api/register|api/login|api/refresh-token|api/invitations/accept|api/auth/reset-password|api/widget-config|api/sse/health|livez|readyz|health|metrics|openapi\.yaml|docs|demo)(/|$)|^/$")


@pytest.fixture(scope="module")
def other_shop(server):
    """Another account on the same server."""
    return server.shop()


def guarded_routes(server) -> list[tuple[str, str]]:
    listed = server.command("routes").stdout.split("\n")
    found = [tuple(line.split(maxsplit=1)) for line in listed if line.strip()]
    return [(method, path) for method, path in found if not OPEN_TO_ALL.match(path) and "*" not in path]


def ask(server, method: str, path: str, headers: dict | None = None, params: dict | None = None):
    body = {"json": {}} if method in ("POST", "PUT", "PATCH") else {}
    return server.http.request(method, re.sub(r"\{[^}]*\}|:\w+", "1", path), headers=headers, params=params, **body)


def test_every_guarded_route_answers_401_to_nobody(server):
    routes = guarded_routes(server)
    assert len(routes) >= 15, routes
    for method, path in routes:
        response = ask(server, method, path)
        assert response.status_code == 401, f"{method} {path}: {response.status_code} {response.text[:200]}"
        assert_problem(response, 401, "unauthorized")


def test_every_guarded_route_answers_401_to_a_forged_credential(server, shop):
    real = shop.operator.token
    forged = {"tampered": tokens.tampered(real), "unsigned": tokens.unsigned(real), "rubbish": "rubbish",
              "another key": tokens.changed(real, secret="x" * 40)}
    for method, path in guarded_routes(server):
        if path.startswith(("/api/site", "/api/widget")):
            continue
        for kind, token in forged.items():
            response = ask(server, method, path, {"Authorization": f"Bearer {token}"})
            assert response.status_code == 401, f"{method} {path} with {kind}: {response.status_code}"


def test_a_forged_site_token_is_refused_everywhere(server, shop):
    visitor = shop.visitor()
    for forged in (tokens.tampered(shop.site_token), "rubbish", shop.operator.token, ""):
        for method, path in guarded_routes(server):
            if path.startswith("/api/site"):
                path = re.sub(r"\{[^}]*\}", str(visitor.dialog_id), path)
                response = ask(server, method, path, params={**visitor.query, "site_token": forged})
                assert response.status_code in (401, 403), f"{method} {path} with {forged!r}: {response.status_code}"


def test_an_operators_token_is_no_site_token_and_a_site_token_no_operators(server, shop):
    for path in ("/api/me", "/api/dialogs", "/api/admin/events"):
        response = server.http.get(path, headers={"Authorization": f"Bearer {shop.site_token}"})
        assert_problem(response, 401, "unauthorized")


def test_a_stream_token_opens_its_stream_and_nothing_else(server, shop):
    mine, others = shop.visitor(), shop.visitor()
    token = mine.opened["stream_token"]
    for path in ("/api/me", "/api/dialogs", f"/api/dialogs/{mine.dialog_id}/messages"):
        assert server.http.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 401
        assert server.http.get(path, params={"stream_token": token}).status_code == 401
    for path in (f"{others.path}/events", f"/api/dialogs/{others.dialog_id}/events", "/api/admin/events"):
        with Follower(server.url + path, params={"stream_token": token}) as stream:
            assert stream.status in (401, 403, 404), f"{path} opened with a foreign stream token"
    posted = server.http.post(f"{mine.path}/messages", params={"stream_token": token}, json={"text": "by ticket"})
    assert posted.status_code in (401, 403)


@pytest.mark.parametrize("through", ["site", "widget"])
def test_another_visitor_cannot_tell_a_foreign_dialog_from_none(shop, through):
    owner, stranger = shop.visitor(through=through), shop.visitor(through=through)
    owner.say("private")
    missing = 9_000_000_000
    for method, rest in (("GET", "/messages"), ("POST", "/messages"), ("GET", "/events")):
        body = {"json": {"text": "let me in"}} if method == "POST" else {}
        answers = [shop.server.http.request(method, f"{stranger.base}/{number}{rest}", params=stranger.query, **body)
                   for number in (owner.dialog_id, missing)]
        seen = [assert_problem(answer, 404, "not_found") for answer in answers]
        for each in seen:
            each.pop("request_id"), each.pop("instance", None)
        assert seen[0] == seen[1]
        names = [sorted(name for name in answer.headers if name != "content-length") for answer in answers]
        assert names[0] == names[1]
    assert [each["text"] for each in owner.messages()["items"]] == ["private"]
    listed = shop.server.http.get(stranger.base, params=stranger.query).json()["items"]
    assert [each["id"] for each in listed] == [stranger.dialog_id]


def test_an_operator_of_another_account_cannot_tell_a_foreign_dialog_from_none(shop, other_shop):
    visitor = shop.visitor()
    visitor.say("private")
    stranger = other_shop.operator
    for rest in ("", "/messages", "/events"):
        seen = [assert_problem(stranger.get(f"/api/dialogs/{number}{rest}"), 404, "not_found")
                for number in (visitor.dialog_id, 9_000_000_000)]
        for each in seen:
            each.pop("request_id"), each.pop("instance", None)
        assert seen[0] == seen[1]
    assert_problem(stranger.post(f"/api/dialogs/{visitor.dialog_id}/messages", {"text": "hello"}), 404, "not_found")
    assert_problem(stranger.post("/api/stream-tokens", {"dialog_id": visitor.dialog_id}), 404, "not_found")
    assert_problem(stranger.get(f"/api/assistants/{shop.assistant_id}"), 404, "not_found")
    assert_problem(stranger.get(f"/api/assistants/{shop.assistant_id}/embed-code"), 404, "not_found")
    assert visitor.dialog_id not in [each["id"] for each in stranger.get("/api/dialogs").json()["items"]]
    assert shop.assistant_id not in [each["id"] for each in stranger.get("/api/assistants").json()["items"]]


def test_one_accounts_stream_says_nothing_of_another(shop, other_shop):
    with other_shop.operator.follow() as stranger:
        opening = stranger.opening()
        shop.visitor().say("between us")
        other_shop.visitor().say("for my own")
        stranger.wait_for_texts(["for my own"])
        assert texts(stranger.events) == ["for my own"]
        assert stranger.events[0].number == opening.number + 1


def test_the_dialog_of_one_assistant_is_not_there_for_the_guest_of_another(shop, other_shop):
    visitor = shop.visitor()
    asked = shop.server.http.get(f"{visitor.path}/messages", params={"site_token": other_shop.site_token, "guest_id": visitor.guest_id})
    assert_problem(asked, 404, "not_found")


def test_without_guest_access_an_assistants_id_opens_nothing(server, shop):
    made = shop.operator.post("/api/assistants", {"name": "Members only", "answerer": "none", "guest_access": False}).json()
    query = {"assistant_id": made["id"], "guest_id": secrets.token_urlsafe(24)}
    assert_problem(server.http.post("/api/widget/dialogs", params=query, json={}), 403, "guest_access_off")


@pytest.mark.parametrize("guest", ["", "short", "1234567890123456789012", "not base64 url characters!!", "x" * 21],
                         ids=["empty", "short", "digits only", "characters", "21 characters"])
def test_a_guest_id_that_could_be_guessed_opens_no_foreign_door(server, shop, guest):
    """A weak secret is refused, or replaced by a minted one (when empty); twenty-two digits are within the rule."""
    response = server.http.post("/api/site/dialogs", params={"site_token": shop.site_token, "guest_id": guest}, json={})
    if guest == "1234567890123456789012":
        assert response.status_code == 200
    elif guest == "" and response.status_code == 200:
        assert response.json()["guest_id"]
    else:
        assert_problem(response, (400, 401, 403, 422))


def test_a_visitor_cannot_choose_a_sender(server, shop):
    visitor = shop.visitor()
    posted = visitor.post({"text": "I am the manager", "sender": "manager", "author": {"id": shop.operator_id, "name": "Olga"},
                           "author_id": shop.operator_id, "message_kind": "system", "system_type": "handoff", "principal": "operator:1"})
    assert posted.status_code == 200, posted.text
    message = posted.json()["user_message"]
    assert message["sender"] == "user" and not message.get("author") and not message.get("system_type")
    stored = server.database.rows("SELECT sender, coalesce(author_id, 0), coalesce(system_type, '') FROM messages"
                                  f" WHERE id = {message['id']}")
    assert stored == [["user", "0", ""]]


def test_cookies_and_foreign_schemes_prove_nothing(server, shop):
    for headers in ({"Cookie": f"replyx={shop.operator.token}"}, {"Authorization": f"Basic {shop.operator.token}"},
                    {"Authorization": shop.operator.token}, {"Authorization": "Bearer"}, {"Authorization": "Bearer\t."}):
        assert server.http.get("/api/me", headers=headers).status_code == 401, headers


def re_signed(shop, **claims) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.changed(shop.operator.token, **claims)}"}


def test_an_expired_access_token_is_401_for_programs(server, shop):
    assert tokens.is_jwt(shop.operator.token)
    now = int(time.time())
    assert server.http.get("/api/me", headers=re_signed(shop, exp=now + 600)).status_code == 200, "our signature is a valid one"
    assert_problem(server.http.get("/api/me", headers=re_signed(shop, iat=now - 1000, exp=now - 100)), 401, "unauthorized")


def test_a_token_of_another_type_or_nobody_is_401(server, shop):
    for claims in ({"typ": "stream"}, {"typ": "site"}, {"sub": "999999999"}, {"sub": "1 OR 1=1"}, {"sub": ""}):
        response = server.http.get("/api/me", headers=re_signed(shop, **claims))
        assert response.status_code == 401, f"{claims}: {response.status_code}"


def assert_ends_as_expired(stream: Follower) -> None:
    assert stream.status == 200
    stream.wait_for_end()
    assert stream.error is None, "a clean end"
    assert [frame.data["reason"] for frame in stream.named("bye")] == ["expired"]
    assert "retry: 30000\n" in stream.text
    assert not stream.events


def test_an_expired_credential_that_was_once_ours_gets_200_and_bye(server, shop):
    """Anything but 200 would make a browser's EventSource give up for good."""
    now = int(time.time())
    assert_ends_as_expired(Follower(f"{server.url}/api/admin/events", headers=re_signed(shop, iat=now - 1000, exp=now - 100)))

    visitor = shop.visitor()
    token = visitor.opened["stream_token"]
    if not tokens.is_jwt(token):
        pytest.skip("stream tokens are no JWTs: they cannot be aged by hand")
    aged = tokens.changed(token, exp=now - 100, iat=now - 4000)
    assert_ends_as_expired(Follower(f"{server.url}{visitor.path}/events", params={"stream_token": aged}))
    forged = tokens.changed(token, secret="y" * 40, exp=now - 100, iat=now - 4000)
    with Follower(f"{server.url}{visitor.path}/events", params={"stream_token": forged}) as stream:
        assert stream.status == 401, "expired and forged: never ours"


def test_a_stream_ends_when_its_credential_expires(server, shop):
    aging = re_signed(shop, exp=int(time.time()) + 3)
    with Follower(f"{server.url}/api/admin/events", headers=aging) as stream:
        stream.opening()
        stream.wait_for_end(within=25)
        assert stream.error is None
        assert [frame.data["reason"] for frame in stream.named("bye")] == ["expired"]


def test_a_wrong_password_and_an_unknown_address_look_alike(server, shop):
    answers = [server.http.post("/api/login", json={"username": name, "password": "wrong wrong wrong"})
               for name in (shop.operator.email, f"{uuid.uuid4().hex}@example.test")]
    seen = [assert_problem(answer, 401) for answer in answers]
    for each in seen:
        each.pop("request_id"), each.pop("instance", None)
    assert seen[0] == seen[1]


def test_raising_the_token_version_revokes_site_tokens_and_what_they_were_changed_for(make_server):
    server = make_server()
    shop = server.shop()
    visitor = shop.visitor()
    token = visitor.messages()["stream_token"]
    assert server.http.get(f"{visitor.path}/events", params={"stream_token": token},
                           headers={"Accept": "application/json"}).status_code == 200
    server.database.execute(f"UPDATE assistants SET token_version = token_version + 1 WHERE id = {shop.assistant_id}")
    eventually(lambda: server.http.get(f"{visitor.path}/messages", params=visitor.query).status_code == 401,
               "the site token to be refused", within=10)
    assert server.http.get(f"{visitor.path}/events", params={"stream_token": token},
                           headers={"Accept": "application/json"}).status_code == 401
