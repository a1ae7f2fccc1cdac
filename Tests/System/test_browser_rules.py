"""What a browser is told, and what it is refused: origins, preflights, policies, and what may be kept in a cache."""

from __future__ import annotations

import re

import httpx
import pytest

from harness.pages import pages, policy
from harness.people import PANEL, Shop, assert_problem, panel_cookie
from harness.raw import RawConnection, status_of
from harness.streams import Follower
from harness.waiting import eventually

ALLOWED_HEADERS = {"content-type", "x-site-token", "x-guest-id", "x-identity", "x-request-id", "last-event-id"}
EXPOSED_HEADERS = {"x-request-id", "idempotent-replayed", "retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}

#: The list is `example.com`, `shop.test` and `xn--80ak6aa92e.com`.
WELCOME = ["https://example.com", "http://example.com", "https://www.example.com", "https://a.b.example.com", "https://example.com:8443", "http://shop.test:3000",
           "HTTPS://EXAMPLE.COM", "https://Example.Com", "https://xn--80ak6aa92e.com"]
UNWELCOME = ["https://evil-example.com", "https://example.com.evil.test", "https://wwwexample.com", "https://ample.com", "https://com", "https://example.co",
             "https://xn--example-9d0b.com", "https://xn--80ak6aa92e.com.evil.test", "https://evil.test", "null", "NULL", "", "https://", "example.com", "//example.com",
             "ftp://example.com", "file://example.com", "chrome-extension://example.com", "https://example.com@evil.test", "https://evil.test#example.com",
             "https://evil.test/example.com", "https://evil.test?example.com", "https://example.com evil.test", "https://example.com,https://evil.test",
             "https://.example.com", "https://example.com:99999", "https://127.0.0.1.evil.test", "https://exаmple.com".encode(), "*", "https://*.example.com"]


@pytest.fixture(scope="module")
def shop(server) -> Shop:
    return server.shop(allowed_domains=["example.com", "shop.test", "xn--80ak6aa92e.com"])


@pytest.fixture(scope="module")
def visitors(shop):
    found = [shop.visitor(), shop.visitor(through="widget")]
    for visitor in found:
        visitor.say("hello")
    return found


def with_origin(origin: str | bytes | None) -> list[tuple[bytes, bytes]]:
    return [] if origin is None else [(b"origin", origin if isinstance(origin, bytes) else origin.encode())]


def answers_to(server, visitor, origin) -> list[httpx.Response]:
    """Every way in that a page has."""
    asked = {"params": visitor.query, "headers": with_origin(origin)}
    return [server.http.post(visitor.base, json={}, **asked), server.http.get(visitor.base, **asked), server.http.get(f"{visitor.path}/messages", **asked),
            server.http.post(f"{visitor.path}/messages", json={"text": "from a page"}, **asked), server.http.post(f"{visitor.path}/typing", json={"typing": True}, **asked),
            server.http.get(f"{visitor.path}/events", params=visitor.query, headers=[*with_origin(origin), (b"accept", b"application/json")])]


def names(header: str) -> set[str]:
    return {name.strip().lower() for name in header.split(",") if name.strip()}


# Origins

@pytest.mark.parametrize("origin", WELCOME)
def test_a_page_of_the_assistants_domains_may_ask_and_read(server, visitors, origin):
    for visitor in visitors:
        for answer in answers_to(server, visitor, origin):
            assert answer.status_code in (200, 204), f"{answer.request.url.path}: {answer.status_code} {answer.text}"
            assert answer.headers["access-control-allow-origin"] == origin
            assert names(answer.headers["access-control-expose-headers"]) == EXPOSED_HEADERS
            assert "access-control-allow-credentials" not in answer.headers
            assert "origin" in names(answer.headers["vary"])


@pytest.mark.parametrize("origin", UNWELCOME, ids=repr)
def test_a_page_of_any_other_place_is_refused_and_changes_nothing(server, visitors, origin):
    before = server.database.counts()
    for visitor in visitors:
        for answer in answers_to(server, visitor, origin):
            assert_problem(answer, 403, "origin_not_allowed")
            assert not [name for name in answer.headers if name.startswith("access-control")], answer.headers
            assert "origin" in names(answer.headers["vary"])
    assert server.database.counts() == before


@pytest.mark.parametrize("origin", [None, "ours"])
def test_no_origin_and_our_own_pass_without_a_list(server, origin):
    for visitor in (server.shop().visitor(), server.shop().visitor(through="widget")):
        for answer in answers_to(server, visitor, server.url if origin else None):
            assert answer.status_code in (200, 204), answer.text
            assert "origin" in names(answer.headers["vary"]), "a cache must not give it to another origin"


def test_our_own_name_scheme_and_port_are_our_origin_together(make_server):
    server = make_server(REPLYX_PUBLIC_URL="http://chat.shop.test:8000")
    visitor = server.shop().visitor()
    assert {answer.status_code for answer in answers_to(server, visitor, "http://chat.shop.test:8000")} <= {200, 204}
    for origin in ("http://chat.shop.test", "https://chat.shop.test:8000", "http://chat.shop.test:8001", "http://a.chat.shop.test:8000", "http://shop.test:8000",
                   server.url, "http://127.0.0.1", "http://localhost:8000", "http://[::1]:8000"):
        for answer in answers_to(server, visitor, origin):
            assert_problem(answer, 403, "origin_not_allowed")


def test_an_empty_list_lets_no_foreign_page_in(server):
    visitor = server.shop(allowed_domains=[]).visitor()
    for answer in answers_to(server, visitor, "https://example.com"):
        assert_problem(answer, 403, "origin_not_allowed")


def test_two_origins_are_none_that_is_allowed(server, visitors):
    visitor = visitors[0]
    for pair in (("https://example.com", "https://evil.test"), ("https://evil.test", "https://example.com")):
        with RawConnection(server.port) as raw:
            raw.send(f"GET {visitor.path}/messages?site_token={visitor.query['site_token']}&guest_id={visitor.guest_id} HTTP/1.1\nHost: x\n"
                     f"Origin: {pair[0]}\nOrigin: {pair[1]}\n\n")
            head = raw.read_head()
            assert status_of(head) in (400, 403) and "access-control-allow-origin" not in head.lower(), head


@pytest.mark.parametrize("origin, status", [("https://example.com", 200), ("https://evil.test", 403)])
def test_a_stream_obeys_the_same_rule(server, visitors, origin, status):
    for visitor in visitors:
        for query in (visitor.query, {"stream_token": visitor.opened["stream_token"]}):
            with Follower(f"{server.url}{visitor.path}/events", headers={"Origin": origin}, params=query) as stream:
                assert stream.status == status
                assert stream.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
                assert "origin" in names(stream.headers["vary"])


def test_an_error_that_a_page_may_know_is_one_that_it_can_read(server, visitors):
    """Without the header a script sees no status, no code and no Retry-After."""
    visitor, origin = visitors[0], {"Origin": "https://example.com"}
    for answer, code in ((server.http.get(f"{visitor.base}/9000000000/messages", params=visitor.query, headers=origin), "not_found"),
                         (server.http.post(f"{visitor.path}/messages", params=visitor.query, headers=origin, json={"text": " "}), "text_blank")):
        assert answer.json()["code"] == code or answer.status_code == 422
        assert answer.headers["access-control-allow-origin"] == "https://example.com"


def test_a_changed_list_counts_within_seconds(server):
    shop = server.shop(allowed_domains=["old.test"])
    visitor, ask = shop.visitor(), lambda host: answers_to(server, visitor, f"https://{host}")[2].status_code
    assert (ask("old.test"), ask("new.test")) == (200, 403)
    changed = server.http.patch(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials, json={"allowed_domains": ["new.test"]})
    assert changed.status_code == 200, changed.text
    eventually(lambda: (ask("old.test"), ask("new.test")) == (403, 200), "the new list to count", within=4.5)


# Preflights

PREFLIGHT = {"Origin": "https://anywhere.test", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-site-token"}


@pytest.mark.parametrize("path", ["/api/site/dialogs", "/api/site/dialogs/1/messages", "/api/site/dialogs/1/events", "/api/widget/dialogs", "/api/widget/dialogs/1/typing",
                                  "/api/widget-config"])
def test_a_preflight_says_exactly_what_may_be_sent(server, path):
    answer = server.http.options(path, headers=PREFLIGHT)
    assert answer.status_code == 204 and not answer.content
    said = {name: value for name, value in answer.headers.items() if name.startswith("access-control")}
    assert said["access-control-allow-origin"] == "*"
    assert names(said["access-control-allow-methods"]) == {"get", "post"}
    assert names(said["access-control-allow-headers"]) == ALLOWED_HEADERS
    assert said["access-control-max-age"] == "7200"
    assert set(said) == {"access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"}


@pytest.mark.parametrize("path", ["/api/me", "/api/login", "/api/logout", "/api/dialogs", "/api/dialogs/1/messages", "/api/admin/events", "/api/assistants", "/api/api-keys",
                                  "/api/bot/bots", "/api/bot-instances", "/api/stream-tokens", "/api/sitemap", "/api/widget-configs", "/demo/", "/openapi.yaml", "/readyz"])
def test_no_other_path_tells_foreign_pages_anything(server, shop, path):
    for answer in (server.http.options(path, headers=PREFLIGHT), server.http.get(path, headers={"Origin": "https://example.com"}),
                   server.http.get(path, headers={"Origin": "https://example.com", **shop.operator.credentials, "Accept": "application/json"})):
        assert not [name for name in answer.headers if name.startswith("access-control")], f"{path}: {answer.status_code} {answer.headers}"
    assert server.http.options(path, headers=PREFLIGHT).status_code != 204


# The panel's cookie

@pytest.mark.parametrize("origin", ["https://evil.test", "https://example.com", "null", "http://127.0.0.1.evil.test", "http://localhost.evil.test"])
def test_the_operators_streams_refuse_a_foreign_page_that_has_the_cookie(server, shop, visitors, origin):
    cookie = panel_cookie(shop.operator)
    for path in ("/api/admin/events", f"/api/dialogs/{visitors[0].dialog_id}/events"):
        with Follower(server.url + path, headers={**shop.operator.credentials, "Origin": origin}) as stream:
            assert stream.status == 200, "a bearer token is shown on purpose"
        for accept in ("text/event-stream", "application/json"):
            with Follower(server.url + path, headers={**cookie, "Origin": origin, "Accept": accept}) as stream:
                assert stream.status == 403, f"{path} with {accept}: {stream.status}"
                stream.wait_for_end()
                assert b'"cross_origin"' in stream.body, stream.body
        with Follower(server.url + path, headers={**cookie, "Origin": server.url}) as stream:
            stream.opening()
        with Follower(server.url + path, headers=cookie) as stream:
            stream.opening()


def test_the_cookie_is_locked_to_https_where_there_is_any(make_server):
    server = make_server(REPLYX_PUBLIC_URL="https://chat.shop.test")
    shop = server.shop()
    answer = server.http.post("/api/login", headers={**PANEL, "Host": "chat.shop.test"},
                              json={"username": shop.operator.email, "password": shop.operator.password, "session": True})
    said = [each for each in answer.headers.get_list("set-cookie") if each.startswith("__Host-replyx=")]
    assert len(said) == 1, answer.headers.get_list("set-cookie")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in said[0].split(";")} and "Domain" not in said[0]


# What every answer carries

def some_answers(server, shop, visitor) -> dict[str, httpx.Response]:
    asked = {"a list": ("GET", "/api/dialogs", shop.operator.credentials, {}), "an error": ("GET", "/api/me", {}, {}), "nothing there": ("GET", "/nothing", {}, {}),
             "health": ("GET", "/livez", {}, {}), "the contract": ("GET", "/openapi.yaml", {}, {}), "a page": ("GET", "/demo/", {}, {}),
             "a script": ("GET", "/demo/main.js", {}, {}),
             "a visitor's list": ("GET", visitor.base, {}, visitor.query), "a refusal": ("GET", visitor.base, {"Origin": "https://evil.test"}, visitor.query),
             "a frame": ("GET", "/chat/", {}, {"site_token": shop.site_token}), "a preflight": ("OPTIONS", "/api/site/dialogs", PREFLIGHT, {}),
             "a bad body": ("POST", "/api/login", {"Content-Type": "text/css"}, {})}
    return {what: server.http.request(method, path, headers=headers, params=query) for what, (method, path, headers, query) in asked.items()}


def test_every_answer_forbids_sniffing_and_tells_no_referrer(server, shop, visitors):
    found = some_answers(server, shop, visitors[0])
    with visitors[0].follow() as stream:
        every = {**{what: answer.headers for what, answer in found.items()}, "a stream": stream.headers}
    for what, headers in every.items():
        assert headers["x-content-type-options"] == "nosniff", what
        assert headers["referrer-policy"] == "no-referrer", what
        assert "strict-transport-security" not in headers, f"{what}: there is no TLS here"


def test_behind_tls_every_answer_asks_for_tls(make_server):
    server = make_server(REPLYX_PUBLIC_URL="https://chat.shop.test")
    shop = server.shop(allowed_domains=["example.com"])
    for what, answer in some_answers(server, shop, shop.visitor()).items():
        assert answer.headers["strict-transport-security"] == "max-age=31536000", what
    visitor = shop.visitor()
    assert server.http.get(visitor.base, params=visitor.query, headers={"Origin": "https://chat.shop.test"}).status_code == 200
    assert_problem(server.http.get(visitor.base, params=visitor.query, headers={"Origin": server.url}), 403, "origin_not_allowed")


def test_what_the_api_answers_is_kept_by_no_cache(server, shop, visitors):
    for what, answer in some_answers(server, shop, visitors[0]).items():
        if answer.url.path.startswith("/api/") and answer.request.method != "OPTIONS":
            assert answer.headers["cache-control"] == "no-store", what
    with visitors[0].follow() as stream:
        assert {"no-cache", "no-transform"} <= names(stream.headers["cache-control"])


# Pages

def test_pages_load_only_their_own_scripts_and_are_framed_by_nobody(server):
    for path, page in pages(server).items():
        if not page.headers["content-type"].startswith("text/html"):
            continue
        said = policy(page)
        assert said["default-src"] == ["'self'"], path
        loose = {"'unsafe-inline'", "'unsafe-eval'", "*", "http:", "https:", "data:", "blob:"}
        # An avatar may lie anywhere; a picture runs nothing.
        assert not loose & {source for name, values in said.items() if name != "img-src" for source in values}, said
        assert "http:" not in said.get("img-src", [])
        if path != "/chat/":
            assert said["frame-ancestors"] == ["'none'"], path


def frame(server, token: str | None) -> httpx.Response:
    return server.http.get("/chat/", params={} if token is None else {"site_token": token})


def test_the_frame_is_for_the_assistants_domains_alone_and_for_no_cache(server, shop):
    answer = frame(server, shop.site_token)
    said = policy(answer)
    hosts = [host for name in ("example.com", "shop.test", "xn--80ak6aa92e.com") for host in (name, f"*.{name}")]
    # A source of http stands for https too (CSP Level 3, "scheme-part matches").
    expected = {"'self'"} | {f"http://{host}" for host in hosts}
    # Without a port a source means the usual one; the rule of origins asks for none.
    assert {source.removesuffix(":*") for source in said["frame-ancestors"]} == expected
    assert said["default-src"] == ["'self'"] and "'unsafe-inline'" not in answer.headers["content-security-policy"]
    assert names(answer.headers["cache-control"]) == {"private", "no-store"}
    assert "x-frame-options" not in answer.headers, "it would forbid what the policy allows"


def test_without_a_good_token_the_frame_is_for_our_own_pages(server, shop):
    off = server.shop(allowed_domains=["example.com"])
    assert server.http.patch(f"/api/assistants/{off.assistant_id}", headers=off.operator.credentials, json={"is_active": False}).status_code == 200
    eventually(lambda: policy(frame(server, off.site_token))["frame-ancestors"] == ["'self'"], "the frame of a switched off assistant to close", within=4.5)
    for token in (None, "", "rubbish", shop.site_token[:-8] + "AAAAAAAA", shop.operator.token, "a;frame-ancestors *", "x\r\nX-Evil: 1"):
        answer = frame(server, token)
        assert policy(answer)["frame-ancestors"] == ["'self'"], token
        assert names(answer.headers["cache-control"]) == {"private", "no-store"} and "x-evil" not in answer.headers
    assert policy(frame(server, server.shop().site_token))["frame-ancestors"] == ["'self'"], "an empty list"


@pytest.mark.parametrize("domain", ["example.com; script-src *", "evil.test 'unsafe-inline'", "*", "*.example.com", "https://example.com", "a b", "example.com/",
                                    "exa\nmple.com", "", ".", "example..com", "-.com", "com:80:80", "'none'", "x" * 300])
def test_no_domain_can_be_saved_that_would_be_another_policy(server, shop, domain):
    """Whether it is refused or brought into form, what comes out is a host."""
    made = shop.operator.post("/api/assistants", {"name": "Framed", "answerer": "none", "allowed_domains": [domain]})
    if made.status_code != 201:
        assert_problem(made, 422)
        return
    saved = made.json()["allowed_domains"]
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:\d{1,5})?", host) for host in saved), saved
    token = shop.operator.get(f"/api/assistants/{made.json()['id']}/embed-code").json()["token"]
    assert set(policy(frame(server, token))) == set(policy(frame(server, None)))


def test_as_many_domains_as_may_be_named_still_fit_into_token_and_headers(server):
    """Once a reviewer's find: more of them made a token that was refused, and a header that nginx would not take."""
    shop = server.shop()
    longest = [f"{number:02d}-{'x' * 30}.example" for number in range(48)]
    assert 1900 < sum(map(len, longest)) <= 2000
    set_to = server.http.patch(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials,
                               json={"allowed_domains": longest})
    assert set_to.status_code == 200, set_to.text
    token = shop.operator.get(f"/api/assistants/{shop.assistant_id}/embed-code").json()["token"]
    assert server.http.post("/api/widget-config", json={"token": token}).status_code == 200
    policy = server.http.get("/chat/", params={"site_token": token}).headers["Content-Security-Policy"]
    assert all(f"http://*.{host}:*" in policy for host in longest) and len(policy) < 8000
    refused = server.http.patch(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials,
                                json={"allowed_domains": [*longest, "y" * 60 + ".example"]})
    assert refused.status_code == 422
    for whole_top_level in ("com", "test"):
        assert server.http.patch(f"/api/assistants/{shop.assistant_id}", headers=shop.operator.credentials,
                                 json={"allowed_domains": [whole_top_level]}).status_code == 422
