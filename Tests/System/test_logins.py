"""Guessing passwords: delayed, and never a way to keep somebody else out."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.people import PANEL, assert_problem, colleague, panel_cookie


@pytest.fixture(scope="module")
def guarded(binary, cluster, directory):
    from conftest import started
    server = started(binary, cluster, directory, REPLYX_LIMITS="on", REPLYX_TRUSTED_PROXIES="127.0.0.1",
                     REPLYX_LIMIT_ADDRESS_DIALOGS="1000")
    yield server
    server.remove()


def log_in(server, email: str, password: str, address: str, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/api/login", trust_env=False, timeout=60, data={"username": email, "password": password},
                      headers={"X-Forwarded-For": address, **headers})


def attack(server, email: str, address: str, guesses: int = 12) -> list[httpx.Response]:
    """All at once: the line of this account and address is full afterwards, for some seconds."""
    with ThreadPoolExecutor(guesses) as hands:
        return list(hands.map(lambda n: log_in(server, email, f"wrong guess {n}", address), range(guesses)))


def test_the_first_guesses_are_free_and_the_next_wait_their_turn(guarded):
    person = guarded.shop().operator
    for _ in range(5):
        assert_problem(log_in(guarded, person.email, "wrong guess", "198.51.100.1"), 401, "login_wrong")
    began = time.monotonic()
    assert_problem(log_in(guarded, person.email, "wrong guess", "198.51.100.1"), 401, "login_wrong")
    assert time.monotonic() - began > 0.5


def test_a_line_that_is_too_long_says_when_to_come_again(guarded):
    person = guarded.shop().operator
    answers = attack(guarded, person.email, "198.51.100.2")
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and {answer.status_code for answer in answers} <= {401, 429, 503}
    for answer in refused:
        assert_problem(answer, 429, "login_delayed")
        assert 1 <= int(answer.headers["Retry-After"]) <= 15


def test_an_attack_on_one_account_delays_nobody_else_and_not_its_owner_elsewhere(guarded):
    victim, neighbour = guarded.shop().operator, guarded.shop().operator
    office, home = "198.51.100.3", "203.0.113.77"
    with ThreadPoolExecutor(1) as aside:
        attacking = aside.submit(attack, guarded, victim.email, office, 10)
        time.sleep(1)
        assert log_in(guarded, neighbour.email, neighbour.password, office).status_code in (200, 503)
        assert log_in(guarded, victim.email, victim.password, home).status_code == 200
        attacking.result()
    assert log_in(guarded, neighbour.email, neighbour.password, office).status_code == 200


def test_who_has_logged_in_from_a_browser_before_is_let_in_there_whoever_attacks_beside_them(guarded):
    victim, office = guarded.shop().operator, "198.51.100.4"
    first = httpx.post(f"{guarded.url}/api/login", trust_env=False, timeout=60, headers={**PANEL, "X-Forwarded-For": office},
                       json={"username": victim.email, "password": victim.password, "session": True})
    device = [said.split(";")[0] for said in first.headers.get_list("Set-Cookie") if said.startswith("replyx-device=")]
    assert len(device) == 1 and "HttpOnly" in "".join(first.headers.get_list("Set-Cookie"))
    other = guarded.shop().operator
    for attacked, statuses in ((victim, (200, 401)), (other, (429, 429))):
        with ThreadPoolExecutor(1) as aside:
            attacking = aside.submit(attack, guarded, attacked.email, office, 20)
            time.sleep(1.5)
            assert log_in(guarded, attacked.email, attacked.password, office).status_code == 429, "the line is full"
            # For whom it was given it is a way past the line; it opens nothing, and is for nobody else.
            assert log_in(guarded, attacked.email, attacked.password, office, Cookie=device[0]).status_code == statuses[0]
            assert log_in(guarded, attacked.email, "wrong guess", office, Cookie=device[0]).status_code == statuses[1]
            attacking.result()


def test_an_address_that_nobody_has_is_delayed_alike(guarded):
    """Or the delay would tell who has an account."""
    nobody = f"nobody-{uuid.uuid4().hex[:8]}@example.test"
    answers = attack(guarded, nobody, "198.51.100.5")
    assert {answer.status_code for answer in answers} <= {401, 429, 503}
    assert any(answer.status_code == 429 for answer in answers)


def test_the_right_password_empties_the_line(guarded):
    person, here = guarded.shop().operator, "198.51.100.6"
    for _ in range(4):
        log_in(guarded, person.email, "wrong guess", here)
    assert log_in(guarded, person.email, person.password, here).status_code == 200
    began = time.monotonic()
    for _ in range(4):
        assert log_in(guarded, person.email, "wrong guess", here).status_code == 401
    answers = [log_in(guarded, person.email, person.password, here).status_code]
    assert answers == [200], f"{time.monotonic() - began}"


def test_the_old_password_cannot_be_guessed_faster_in_a_panel_that_stands_open(guarded):
    person = colleague(guarded.shop())
    def guess(n: int) -> int:
        return httpx.post(f"{guarded.url}/api/auth/change-password", trust_env=False, timeout=60,
                          headers={**person.credentials, "X-Forwarded-For": "198.51.100.8"},
                          json={"old_password": f"wrong guess {n}", "new_password": "a new password 123"}).status_code
    with ThreadPoolExecutor(12) as hands:
        answers = list(hands.map(guess, range(12)))
    assert 429 in answers and set(answers) <= {403, 429, 503}


def test_what_happens_at_the_door_is_recorded_with_where_it_came_from(guarded):
    shop = guarded.shop()
    log_in(guarded, shop.operator.email, "wrong guess", "203.0.113.9")
    log_in(guarded, shop.operator.email, shop.operator.password, "203.0.113.9")
    events = shop.operator.get("/api/security-events").json()["items"]
    seen = [(event["action"], event["actor"]) for event in events if event["address"] == "203.0.113.9"]
    assert seen == [("login", f"operator:{shop.operator_id}"), ("login_wrong", "anonymous")]
    assert_problem(guarded.http.get("/api/security-events", headers=colleague(shop).credentials), 403, "role_too_low")


def test_a_hash_of_yesterdays_strength_becomes_todays_at_the_next_login(guarded):
    person = guarded.shop().operator
    import hashlib
    salt = bytes(range(16))
    weak = hashlib.scrypt(person.password.encode(), salt=salt, n=1 << 10, r=8, p=1, dklen=32)
    guarded.database.execute(
        f"UPDATE operators SET password_hash = 'scrypt$10$8$1${salt.hex()}${weak.hex()}' WHERE email = '{person.email}'")
    kept = f"SELECT password_hash FROM operators WHERE email = '{person.email}'"
    assert log_in(guarded, person.email, "wrong guess", "203.0.113.10").status_code == 401
    assert guarded.database.value(kept).startswith("scrypt$10$")
    assert log_in(guarded, person.email, person.password, "203.0.113.10").status_code == 200
    assert guarded.database.value(kept).startswith("scrypt$15$8$1$")
    assert log_in(guarded, person.email, person.password, "203.0.113.10").status_code == 200
    assert panel_cookie(person)


# Found by a reviewer, each of them once open

def test_a_login_that_waited_is_checked_against_the_password_of_the_moment(guarded):
    """The line may take seconds, in which the password is changed because somebody else knows it."""
    person, thief = guarded.shop().operator, "198.51.100.60"
    with ThreadPoolExecutor(8) as aside:
        filling = [aside.submit(log_in, guarded, person.email, f"wrong guess {n}", thief) for n in range(6)]
        time.sleep(1.5)
        waiting = aside.submit(log_in, guarded, person.email, person.password, thief)
        time.sleep(0.5)
        changed = httpx.post(f"{guarded.url}/api/auth/change-password", trust_env=False, timeout=60,
                             headers={**person.credentials, "X-Forwarded-For": "203.0.113.60"},
                             json={"old_password": person.password, "new_password": "another password entirely"})
        assert changed.status_code == 204, changed.text
        assert waiting.result().status_code == 401
        assert {each.result().status_code for each in filling} == {401}


def test_a_flood_of_logins_from_many_addresses_keeps_out_nobody_who_was_here_before(guarded):
    person = guarded.shop().operator
    first = httpx.post(f"{guarded.url}/api/login", trust_env=False, timeout=60,
                       headers={**PANEL, "X-Forwarded-For": "203.0.113.61"},
                       json={"username": person.email, "password": person.password, "session": True})
    device = next(said.split(";")[0] for said in first.headers.get_list("Set-Cookie") if said.startswith("replyx-device="))
    stop = threading.Event()

    def flood(n: int) -> None:
        while not stop.is_set():
            log_in(guarded, f"nobody-{uuid.uuid4().hex[:8]}@example.test", "wrong guess", f"2001:db8:{n:x}::1")

    with ThreadPoolExecutor(60) as hands:
        flooding = [hands.submit(flood, n) for n in range(60)]
        try:
            time.sleep(2)
            answers = [log_in(guarded, person.email, person.password, "203.0.113.61", Cookie=device).status_code
                       for _ in range(5)]
        finally:
            stop.set()
        for each in flooding:
            each.result()
    assert answers == [200] * 5


def test_a_line_cannot_be_multiplied_by_spelling(guarded):
    person = guarded.shop().operator
    spellings = [person.email.upper(), person.email, person.email.title(), person.email.swapcase()]
    with ThreadPoolExecutor(12) as hands:
        answers = list(hands.map(
            lambda n: log_in(guarded, spellings[n % 4], "wrong guess", "198.51.100.62").status_code, range(12)))
    assert 429 in answers


def test_empty_links_from_an_office_keep_no_colleague_from_a_good_one(guarded):
    shop, office = guarded.shop(), {"X-Forwarded-For": "198.51.100.63"}
    invited = shop.operator.post("/api/invitations", {"email": f"new-{uuid.uuid4().hex[:8]}@example.test", "role": "operator"})
    def accept(token: str) -> httpx.Response:
        return httpx.post(f"{guarded.url}/api/invitations/accept", trust_env=False, timeout=60, headers=office,
                          json={"token": token, "password": "a long password 12", "first_name": "Nina"})
    statuses = [accept(f"rxl_{'x' * 43}").status_code for _ in range(12)]
    assert statuses[0] == 410 and statuses[-1] == 429
    assert accept(invited.json()["url"].split("#invitation=")[1]).status_code == 201
