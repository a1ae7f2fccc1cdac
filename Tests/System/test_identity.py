"""A visitor whom the customer's site vouches for: shown to operators as verified, and nothing more than that."""

from __future__ import annotations

import time

import pytest

from harness import tokens
from harness.access import REQUEST_REFUSED
from harness.credentials import forged
from harness.people import Shop, Visitor, assert_problem
from harness.waiting import eventually


@pytest.fixture
def shop(server) -> Shop:
    return server.shop()


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


@pytest.mark.parametrize("claims, name", [({}, None), ({"name": "Vera Иванова"}, "Vera Иванова"), ({"sub": "x" * 200}, None), ({"exp": 86_000}, None),
                                          ({"email": "x@example.test", "role": "owner"}, None)], ids=str)
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
    claimed = {"visitor": {"verified": True, "external_id": "customer-7"}, "sub": "customer-7"}
    visitor.dialog_id = shop.server.http.post(visitor.base, params=visitor.query, json=claimed).json()["id"]
    seen = seen_by_operator(shop, visitor)
    assert seen["verified"] is False and not seen.get("external_id")


def bad_identities(shop: Shop, secret: str, others_secret: str) -> dict[str, str]:
    good, now = identity(secret), int(time.time())
    header, payload, _ = good.split(".")
    return {
        "expired": identity(secret, exp=now - 5),
        "too far ahead": identity(secret, exp=now + 86_400 + 300),
        "no end": tokens.signed({"sub": "customer-7"}, secret=secret),
        "an end of another kind": identity(secret, exp=str(now + 60)),
        "an end beyond numbers": identity(secret, exp=10**30),
        "another secret": identity("x" * 40),
        "another assistant's secret": identity(others_secret),
        "the server's secret": identity(tokens.SECRET),
        "an empty secret": identity(""),
        "alg none": tokens.unsigned(good),
        "alg None": forged(good, "None", key=secret),
        "HS512": forged(good, "HS512", "sha512", secret),
        "RS256 in name": forged(good, "RS256", key=secret),
        "tampered": tokens.tampered(good),
        "no signature": f"{header}.{payload}.",
        "no subject": tokens.signed({"exp": now + 60}, secret=secret),
        "an empty subject": identity(secret, sub=""),
        "a long subject": identity(secret, sub="x" * 201),
        "a subject of another kind": identity(secret, sub=7),
        "a name of another kind": identity(secret, name=["x"]),
        "rubbish": "rubbish", "dots": "..", "four parts": f"{good}.x",
        "an access token": shop.operator.token, "a site token": shop.site_token,
    }


def test_an_identity_that_is_not_signed_and_in_time_is_refused_and_marks_nothing(server, shop):
    secret, others = identity_secret(shop), server.shop()
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
