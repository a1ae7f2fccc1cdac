"""Operators' sessions and roles: renewed, ended, passed on, and nobody's who should not have them."""

import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.people import Operator, assert_problem
from harness.waiting import eventually


def logged_in(server, operator) -> dict:
    answer = server.http.post("/api/login", json={"username": operator.email, "password": operator.password})
    assert answer.status_code == 200, answer.text
    return answer.json()


def bearer(tokens: dict) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def me(server, headers: dict[str, str]) -> int:
    return server.http.get("/api/me", headers=headers).status_code


def refresh(server, tokens: dict):
    return server.http.post("/api/refresh-token", json={"refresh_token": tokens["refresh_token"]})


@pytest.fixture
def shop(server):
    return server.shop()


@pytest.fixture
def colleague(server, shop):
    """Makes somebody of a role, by invitation."""
    def make(role: str = "operator", by: Operator | None = None) -> Operator:
        email, password = f"{role}-{uuid.uuid4().hex[:8]}@example.test", f"a long password {uuid.uuid4().hex[:6]}"
        invited = (by or shop.operator).post("/api/invitations", {"email": email, "role": role})
        assert invited.status_code == 201, invited.text
        token = invited.json()["url"].split("#invitation=")[1]
        joined = server.http.post("/api/invitations/accept", json={"token": token, "password": password, "first_name": "Ivan"})
        assert joined.status_code == 201, joined.text
        person = Operator(server, email, password)
        person.log_in()
        return person
    return make


# Sessions

def test_a_refresh_token_yields_a_successor_and_the_same_one_again_for_a_moment(server, shop):
    first = logged_in(server, shop.operator)
    second = refresh(server, first).json()
    assert second["refresh_token"] != first["refresh_token"] and me(server, bearer(second)) == 200
    assert refresh(server, first).json()["refresh_token"] == second["refresh_token"], "its answer may have been lost"
    assert refresh(server, second).status_code == 200


def test_ten_tabs_refresh_at_once_and_nobody_is_logged_out(server, shop):
    tokens = logged_in(server, shop.operator)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: refresh(server, tokens), range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert refresh(server, answers[0].json()).status_code == 200


def test_a_refresh_token_used_long_after_ends_the_session_for_both_who_hold_it(server, shop):
    first = logged_in(server, shop.operator)
    second = refresh(server, first).json()
    third = refresh(server, second).json()
    assert_problem(refresh(server, first), 401, "unauthorized")
    assert_problem(refresh(server, third), 401, "unauthorized")
    assert me(server, bearer(third)) == 401, "its access token ends with it"
    assert server.database.value(
        f"SELECT count(*) FROM security_events WHERE account_id = {shop.account_id} AND action = 'refresh_token_reused'") == "1"


def test_a_refresh_token_is_no_access_token_and_the_other_way_round(server, shop):
    tokens = logged_in(server, shop.operator)
    assert me(server, {"Authorization": f"Bearer {tokens['refresh_token']}"}) == 401
    for wrong in (tokens["access_token"], "", "rxr_", "rxr_" + "A" * 75, tokens["refresh_token"][:-2] + "AA"):
        assert_problem(server.http.post("/api/refresh-token", json={"refresh_token": wrong}), 401, "unauthorized")


def test_logging_out_ends_one_session_at_once_and_no_other(server, shop):
    one, other = logged_in(server, shop.operator), logged_in(server, shop.operator)
    assert server.http.post("/api/logout", headers=bearer(one)).status_code == 204
    assert me(server, bearer(one)) == 401 and refresh(server, one).status_code == 401
    assert me(server, bearer(other)) == 200


def test_a_new_password_ends_all_other_sessions(server, shop):
    here, there = logged_in(server, shop.operator), logged_in(server, shop.operator)
    wrong = server.http.post("/api/auth/change-password", headers=bearer(here),
                             json={"old_password": "not that one", "new_password": "another long password"})
    assert_problem(wrong, 403, "password_wrong")
    done = server.http.post("/api/auth/change-password", headers=bearer(here),
                            json={"old_password": shop.operator.password, "new_password": "another long password"})
    assert done.status_code == 204, done.text
    assert me(server, bearer(here)) == 200 and me(server, bearer(there)) == 401
    assert server.http.post("/api/login", json={"username": shop.operator.email, "password": shop.operator.password}).status_code == 401
    assert server.http.post("/api/login", json={"username": shop.operator.email, "password": "another long password"}).status_code == 200


# The panel's cookie

PANEL = {"X-Replyx": "1", "Sec-Fetch-Site": "same-origin"}


def panel_cookie(server, operator) -> dict[str, str]:
    answer = server.http.post("/api/login", headers=PANEL,
                              json={"username": operator.email, "password": operator.password, "session": True})
    assert answer.status_code == 200, answer.text
    assert "access_token" not in answer.text and "refresh_token" not in answer.text
    said = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in said.split(";")}
    server.http.cookies.clear()
    return {"Cookie": said.split(";")[0]}


def test_the_panels_cookie_reads_and_is_ended_by_logging_out(server, shop):
    cookie = panel_cookie(server, shop.operator)
    assert me(server, cookie) == 200
    assert cookie["Cookie"].split("=", 1)[1] not in server.database.value("SELECT string_agg(sessions::text, ' ') FROM sessions")
    assert server.http.post("/api/logout", headers={**cookie, **PANEL}).status_code == 204
    assert me(server, cookie) == 401


@pytest.mark.parametrize("headers, code", [
    ({}, "write_header_missing"), ({"X-Replyx": "1"}, "cross_origin"), ({"Sec-Fetch-Site": "same-origin"}, "write_header_missing"),
    ({"X-Replyx": "1", "Sec-Fetch-Site": "cross-site"}, "cross_origin"), ({"X-Replyx": "1", "Sec-Fetch-Site": "same-site"}, "cross_origin"),
    ({"X-Replyx": "1", "Origin": "https://evil.example"}, "cross_origin"), ({"X-Replyx": "1", "Origin": "null"}, "cross_origin")])
def test_a_write_with_the_cookie_that_another_site_could_make_is_refused(server, shop, headers, code):
    cookie = panel_cookie(server, shop.operator)
    for path, body in (("/api/assistants", {"name": "x"}), ("/api/logout", {})):
        assert_problem(server.http.post(path, headers={**cookie, **headers}, json=body), 403, code)
    assert_problem(server.http.post("/api/login", headers=headers, json={
        "username": shop.operator.email, "password": shop.operator.password, "session": True}), 403, code)
    assert me(server, cookie) == 200, "and the session goes on"


def test_an_origin_of_ours_is_enough_for_browsers_without_fetch_metadata(server, shop):
    cookie = panel_cookie(server, shop.operator)
    made = server.http.post("/api/assistants", headers={**cookie, "X-Replyx": "1", "Origin": server.url}, json={"name": "x"})
    assert made.status_code in (200, 201), made.text


def test_an_explicit_credential_beats_the_cookie_and_visitors_paths_ignore_it(server, shop):
    cookie = panel_cookie(server, shop.operator)
    assert me(server, {**cookie, "Authorization": "Bearer rubbish"}) == 401
    visitor = shop.visitor()
    assert server.http.get(f"{visitor.path}/messages", headers=cookie).status_code == 401


# Roles

def test_only_owners_make_owners_and_admins(server, shop, colleague):
    admin, plain = colleague("admin"), colleague("operator")
    for by, role, allowed in ((shop.operator, "owner", True), (shop.operator, "admin", True), (admin, "operator", True), (admin, "admin", False),
                              (admin, "owner", False), (plain, "operator", False), (plain, "owner", False)):
        answer = by.post("/api/invitations", {"email": f"{uuid.uuid4().hex}@example.test", "role": role})
        assert answer.status_code == (201 if allowed else 403), f"{by.email} invites a {role}: {answer.text}"
    people = {person["email"]: person["id"] for person in shop.operator.get("/api/operators").json()["items"]}
    patch = lambda by, who, change: server.http.patch(f"/api/operators/{people[who.email]}", headers=by.credentials, json=change)
    assert patch(plain, plain, {"role": "owner"}).status_code == 403
    assert patch(plain, admin, {"is_active": False}).status_code == 403
    assert patch(admin, shop.operator, {"role": "operator"}).status_code == 403
    assert patch(admin, admin, {"role": "owner"}).status_code == 403
    assert patch(plain, plain, {"first_name": "Vera"}).json()["first_name"] == "Vera"
    assert me(server, plain.credentials) == 200, "a new name ends no session"
    assert patch(shop.operator, plain, {"role": "admin"}).json()["role"] == "admin"
    assert me(server, plain.credentials) == 401, "a new role ends all sessions"


def test_the_last_owner_stays_even_if_two_step_down_at_once(server, shop, colleague):
    second = colleague("owner")
    people = {person["email"]: person["id"] for person in shop.operator.get("/api/operators").json()["items"]}
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda person: server.http.patch(
            f"/api/operators/{people[person.email]}", headers=person.credentials, json={"role": "admin"}), (shop.operator, second)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert server.database.value(f"SELECT count(*) FROM operators WHERE account_id = {shop.account_id} AND role = 'owner' AND is_active") == "1"


def test_who_is_switched_off_is_out_at_once_and_stays_out(server, shop, colleague):
    gone = colleague()
    people = {person["email"]: person["id"] for person in shop.operator.get("/api/operators").json()["items"]}
    assert server.http.delete(f"/api/operators/{people[gone.email]}", headers=shop.operator.credentials).status_code == 204
    assert me(server, gone.credentials) == 401
    assert server.http.post("/api/login", json={"username": gone.email, "password": gone.password}).status_code == 401


def test_another_accounts_people_are_not_there(server, shop):
    other = server.shop()
    assert other.operator.email not in shop.operator.get("/api/operators").text
    for call in (server.http.patch, server.http.delete):
        more = {"json": {"is_active": False}} if call == server.http.patch else {}
        answer = call(f"/api/operators/{other.operator_id}", headers=shop.operator.credentials, **more)
        assert_problem(answer, 404, "not_found")
    assert me(server, other.operator.credentials) == 200


# One-time links

def test_an_invitation_is_good_once(server, shop):
    link = shop.operator.post("/api/invitations", {"email": f"{uuid.uuid4().hex}@example.test"}).json()["url"]
    token = re.search(r"#invitation=(rxl_[\w-]{43})$", link)[1]
    ask = lambda: server.http.post("/api/invitations/accept", json={"token": token, "password": "a long password"})
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(), range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 410, 410, 410]
    assert_problem(server.http.post("/api/invitations/accept", json={"token": "rxl_" + "A" * 43, "password": "a long password"}), 410, "link_over")


def test_a_reset_link_sets_a_password_once_and_ends_all_sessions(server, shop):
    tokens = logged_in(server, shop.operator)
    made = server.command("operator", "reset", "--email", shop.operator.email.upper())
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip().split("#reset=")[1]
    ask = lambda: server.http.post("/api/auth/reset-password", json={"token": token, "password": "quite a new password"})
    assert ask().status_code == 204
    assert_problem(ask(), 410, "link_over")
    assert me(server, bearer(tokens)) == 401
    assert server.http.post("/api/login", json={"username": shop.operator.email, "password": "quite a new password"}).status_code == 200
    assert server.command("operator", "reset", "--email", "nobody@example.test").returncode != 0


def test_a_link_of_one_kind_is_none_of_the_other(server, shop):
    link = shop.operator.post("/api/invitations", {"email": f"{uuid.uuid4().hex}@example.test"}).json()["url"]
    token = link.split("#invitation=")[1]
    assert_problem(server.http.post("/api/auth/reset-password", json={"token": token, "password": "a long password"}), 410, "link_over")
