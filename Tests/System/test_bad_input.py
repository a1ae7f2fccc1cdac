"""Every wrong request gets a stable code and leaves the database as it was; every strange but right text arrives as it was sent."""

import json
import secrets
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.clients import Curl
from harness.people import assert_problem
from harness.streams import texts

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def visitor(shop):
    visitor = shop.visitor()
    visitor.say("a dialog that operators can see")
    return visitor


@pytest.fixture(params=["visitor", "operator"])
def door(request, shop, visitor):
    """The two ways to send a message: `(path, headers, params)`."""
    if request.param == "visitor":
        return f"{visitor.path}/messages", {}, visitor.query
    return f"/api/dialogs/{visitor.dialog_id}/messages", shop.operator.credentials, {}


@pytest.fixture
def nothing_is_stored(server):
    before = server.database.counts()
    yield
    assert server.database.counts() == before
    assert server.http.get("/livez").status_code == 204


def post(server, door, content: bytes, content_type: str = "application/json"):
    path, headers, params = door
    return server.http.post(path, params=params, content=content, headers={**headers, "Content-Type": content_type})


@pytest.mark.parametrize("content, status, code", [
    pytest.param(b'{"text":', 400, "malformed_json", id="cut off"),
    pytest.param(b"", (400, 422), ("malformed_json", "text_missing"), id="empty body"),
    pytest.param(b"text=hello", 400, "malformed_json", id="a form that says it is JSON"),
    pytest.param(b'{"text":"\xff\xfe"}', 400, "malformed_json", id="no UTF-8"),
    pytest.param(b'{"text":"\\ud800"}', (400, 422), None, id="half a surrogate pair"),
    pytest.param(b"[" * 100_000, (400, 422), None, id="nested without end"),
    pytest.param(b'{"a":' * 40_000, (400, 422), None, id="objects without end"),
    pytest.param(b'["text"]', (400, 422), None, id="a list"),
    pytest.param(b"null", (400, 422), None, id="null"),
    pytest.param(b"{}", 422, "text_missing", id="no text"),
    pytest.param(b'{"text":null}', 422, ("text_missing", "invalid_field"), id="text null"),
    pytest.param(b'{"text":7}', (400, 422), None, id="text is a number"),
    pytest.param(b'{"text":["x"]}', (400, 422), None, id="text is a list"),
    pytest.param(b'{"text":""}', 422, ("text_blank", "text_missing"), id="empty text"),
    pytest.param(json.dumps({"text": " \t\r\n\u3000\u2003\u2028"}).encode(), 422, "text_blank", id="white space"),
    pytest.param(json.dumps({"text": "x" * 10_001}).encode(), 422, "text_too_long", id="too long"),
    pytest.param(json.dumps({"text": "😀" * 10_001}).encode(), 422, "text_too_long", id="too long in scalars"),
    pytest.param(json.dumps({"text": "before\0after"}).encode(), 422, "text_nul", id="NUL"),
    pytest.param(json.dumps({"text": "x", "client_message_id": "not-a-uuid"}).encode(), 422, "invalid_field", id="key no UUID"),
    pytest.param(json.dumps({"text": "x", "client_message_id": 5}).encode(), (400, 422), None, id="key a number"),
    pytest.param(b" " * (256 * 1024) + b'{"text":"x"}', 413, "body_too_large", id="body too large"),
])
def test_a_bad_message_is_refused_with_its_code(server, door, nothing_is_stored, content, status, code):
    problem = assert_problem(post(server, door, content), status, code)
    assert "x" * 100 not in json.dumps(problem), "an error does not repeat what was sent"


def test_another_media_type_is_415(server, door, nothing_is_stored):
    for kind in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert_problem(post(server, door, b'{"text":"x"}', kind), 415, "unsupported_media_type")


def test_a_charset_beside_the_media_type_is_fine(server, door):
    assert post(server, door, b'{"text":"x"}', "application/json; charset=utf-8").status_code == 200


def test_an_unknown_field_is_refused_to_operators(server, shop, visitor, nothing_is_stored):
    assert_problem(shop.operator.post(f"/api/dialogs/{visitor.dialog_id}/messages", {"text": "x", "colour": "blue"}), 422, "unknown_field")
    assert_problem(shop.operator.post("/api/assistants", {"name": "x", "colour": "blue"}), 422, "unknown_field")


def test_an_unknown_field_is_ignored_for_visitors(visitor):
    assert visitor.post({"text": "x", "colour": "blue"}).status_code == 200


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 7}, {"name": "x" * 100_000}, {"name": "x", "answerer": "magic"},
                                  {"name": "x", "guest_access": "perhaps"},
                                  {"name": "x", "allowed_domains": "not a list"},
                                  {"name": "nul\0"}, {"name": "x", "locale": "klingon"}],
                         ids=lambda body: str(body)[:40])
def test_a_bad_assistant_is_refused(shop, nothing_is_stored, body):
    assert_problem(shop.operator.post("/api/assistants", body), (400, 422))


@pytest.mark.parametrize("wrong", ["0", "-1", "9000000000", "9223372036854775807", "9223372036854775808", "1" * 40, "abc", "1e3",
                                   "1.0", "%00", "..%2f..%2fetc", "1%20OR%201=1", "%F0%9F%98%80", "0x10"])
def test_a_wrong_id_is_refused_and_harms_nobody(server, shop, visitor, nothing_is_stored, wrong):
    codes = set()
    for method, path, headers, params in (
            ("GET", f"/api/dialogs/{wrong}", shop.operator.credentials, {}),
            ("GET", f"/api/dialogs/{wrong}/messages", shop.operator.credentials, {}),
            ("POST", f"/api/dialogs/{wrong}/messages", shop.operator.credentials, {}),
            ("GET", f"/api/dialogs/{wrong}/events", shop.operator.credentials, {}),
            ("GET", f"/api/assistants/{wrong}", shop.operator.credentials, {}),
            ("GET", f"/api/site/dialogs/{wrong}/messages", {}, visitor.query),
            ("POST", f"/api/site/dialogs/{wrong}/messages", {}, visitor.query),
            ("GET", f"/api/site/dialogs/{wrong}/events", {}, visitor.query)):
        body = {"json": {"text": "x"}} if method == "POST" else {}
        response = server.http.request(method, path, headers=headers, params=params, **body)
        codes.add(assert_problem(response, (400, 404, 422))["code"])
    if wrong.lstrip("-").isdigit() and len(wrong) <= 18:
        assert codes == {"not_found"}


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "-5"}, {"limit": "101"}, {"limit": "abc"}, {"limit": "9" * 30},
                                   {"before_id": "abc"}, {"after_id": "9" * 30}, {"before_id": "-1"}, {"after_id": "1", "before_id": "9"}], ids=str)
def test_a_bad_page_is_refused_or_bounded(server, visitor, query):
    response = server.http.get(f"{visitor.path}/messages", params={**visitor.query, **query})
    if response.status_code == 200:
        assert len(response.json()["items"]) <= 100
    else:
        assert_problem(response, (400, 422))


def test_unknown_paths_and_methods_are_problems_too(server):
    assert_problem(server.http.get("/api/nothing/here"), 404, "not_found")
    assert_problem(server.http.request("DELETE", "/api/login"), (404, 405), ("method_not_allowed", "not_found"))


@pytest.mark.parametrize("path", ["/demo/../../etc/passwd", "/demo/%2e%2e/%2e%2e/Package.swift", "/../Package.swift", "/demo/..%2f..%2fPackage.swift"])
def test_static_files_stay_in_their_directory(server, path):
    response = server.http.get(path)
    assert response.status_code in (400, 403, 404), response.text[:100]


STRANGE = {
    "CR": "one\rtwo", "LF": "one\ntwo", "CRLF": "one\r\ntwo\r\n\r\nthree", "U+2028": "one\u2028two\u2029three\u0085four",
    "fields": "data: x\nid: 9-9\nevent: reset\nretry: 1\n\ndata: {\"type\":\"message:new\"}\n\n: end",
    "fields by CR": "x\rid: 1-999999\r\rdata: forged", "quotes": "\"\\/\b\f\t'<script>&amp;</script>{{}}${x}%s",
    "emoji": "👩‍👩‍👧‍👦 e\u0301 é \U0001F3F4\U000E0067\U000E007F", "right to left": "\u202eabc\u202c עברית العربية",
    "BOM inside": "a\ufeffb\u200bc", "controls": "a\x01\x1b[31m\x7fb", "not a character": "a\ufffe\uffffb", "astral": "𝕏\U0010ffff",
    "JSON": '{"text":"inner"}', "SQL": "'); DROP TABLE messages; --", "backslashes": "\\u0000 \\x00 \\",
}


def test_strange_texts_arrive_as_they_were_sent(server, shop):
    visitor = shop.visitor()
    wanted = list(STRANGE.values())
    with visitor.follow() as stream, shop.operator.follow() as account, \
            Curl(f"{server.url}{visitor.path}/events?stream_token={visitor.opened['stream_token']}") as curl:
        stream.opening(), account.opening(), curl.wait_for_opening()
        for name, text in STRANGE.items():
            assert visitor.say(text)["text"] == text, name
        shop.operator.answer(visitor.dialog_id, STRANGE["fields"] + " by the operator")
        wanted.append(STRANGE["fields"] + " by the operator")
        for reader in (stream, account, curl):
            reader.wait_for_texts(wanted)
        assert texts(stream.events) == wanted
        assert [text for text in texts(account.events) if text in wanted] == wanted
        assert texts(curl.events) == wanted
        assert not stream.named("reset") and not account.named("reset") and not curl.named("reset")
        assert "\r" not in stream.text, "lines end with LF only"
        kinds = {line.split(":")[0] for line in curl.lines if line}
        assert kinds <= {"retry", "id", "event", "data"}, "one line of JSON each, nothing of the texts on lines of its own"
    assert [each["text"] for each in visitor.messages(limit=100)["items"]] == wanted
    paged = [item["message"]["text"] for item in visitor.page(visitor.opened["cursor"])["items"] if item["type"] == "message:new"]
    assert paged == wanted


def test_the_longest_legal_text_passes_in_any_spelling(visitor):
    for text in ("x" * 10_000, "ж" * 10_000, "😀" * 10_000):
        assert visitor.say(text)["text"] == text
    padded = visitor.say("  " + "y" * 10_000 + "\n ")
    assert padded["text"].strip() == "y" * 10_000
    escaped = ('{"text":"' + "\\ud83d\\ude00" * 10_000 + '"}').encode()
    response = visitor.server.http.post(f"{visitor.path}/messages", params=visitor.query, content=escaped, headers=JSON)
    assert response.status_code == 200 and response.json()["user_message"]["text"] == "😀" * 10_000


def test_one_bad_post_among_many_harms_only_itself(server, shop):
    """They meet in the server's batches."""
    visitor = shop.visitor()
    bodies = [{"text": f"good {number}"} if number % 4 else
              [{"text": "nul\0"}, {"text": " "}, {"text": "x", "client_message_id": "?"}, {}][number // 4 % 4] for number in range(64)]
    with ThreadPoolExecutor(32) as hands:
        answers = list(hands.map(visitor.post, bodies))
    for number, answer in enumerate(answers):
        assert answer.status_code == (200 if number % 4 else 422), f"{bodies[number]}: {answer.text[:200]}"
    stored = server.database.number(f"SELECT count(*) FROM messages WHERE dialog_id = {visitor.dialog_id}")
    assert stored == 48
    server.database.assert_gapless(shop.account_id)


def test_a_dialog_may_be_opened_with_odd_bodies_but_not_with_odd_secrets(server, shop, nothing_is_stored):
    for guest in ("\x01" * 30, "é" * 30, "a b" * 10, "'" * 30):
        response = server.http.post("/api/site/dialogs", params={"site_token": shop.site_token, "guest_id": guest}, json={})
        assert_problem(response, (400, 401, 403, 414, 422, 431))


def test_a_login_with_rubbish_is_refused(server, nothing_is_stored):
    for body in ({}, {"username": "x"}, {"username": 5, "password": []}, {"username": "a\0", "password": "b\0"},
                 {"username": "x" * 5000, "password": "y" * 100_000}, {"username": secrets.token_hex(8), "password": str(uuid.uuid4())}):
        assert_problem(server.http.post("/api/login", json=body), (400, 401, 422))
    assert_problem(server.http.post("/api/login", content=b"\xff\xfe", headers=JSON), (400, 422))
