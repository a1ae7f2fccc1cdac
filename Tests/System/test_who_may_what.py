"""Every route × every credential. The routes are the router's own list: one without a rule in harness/routes_table.py fails here."""

from __future__ import annotations

import pytest

from harness.credentials import Credential, World
from harness.people import assert_problem
from harness.routes_table import ACCOUNT_TOKEN, ADMINS, OPERATOR_TOKEN, OPERATORS, RULES, VISITOR_TOKEN, Route, served_routes
from harness.streams import Follower

KINDS = sorted(OPERATORS | {"site", "widget", "bridge", VISITOR_TOKEN, OPERATOR_TOKEN, ACCOUNT_TOKEN})


@pytest.fixture(scope="module")
def world(server) -> World:
    return World(server)


@pytest.fixture(scope="module")
def wrong(world) -> dict[str, Credential]:
    return world.wrong()


@pytest.fixture(scope="module")
def routes(server) -> list[Route]:
    """Those that have a rule, so that one forgotten route fails one test and not all."""
    served = [route for route in served_routes(server.command("routes").stdout) if route.key in RULES]
    assert len([route for route in served if route.rule.is_guarded]) >= 20
    return served


def test_every_route_has_a_rule_and_every_rule_a_route(server):
    served = {route.key for route in served_routes(server.command("routes").stdout)}
    ungoverned, pointless = sorted(served - RULES.keys()), sorted(RULES.keys() - served)
    assert not ungoverned, f"served, and nobody has said who may: {ungoverned}"
    assert not pointless, f"rules about nothing: {pointless}"


# Who is kept out

def fault_of(world: World, route: Route, credential: Credential, accept: str = "application/json") -> str | None:
    """Why this answer is none of those that somebody gets who may not."""
    answer = world.ask(route, credential, world.target(route.rule.of), accept)
    seen = f"{route} for {credential.name}: {answer.status_code} {answer.text[:160]!r}"
    if answer.status_code not in (401, 403, 404):
        return seen
    try:
        assert_problem(answer, answer.status_code)
    except (AssertionError, KeyError, ValueError) as reason:
        return f"{seen}: no problem+json, {reason}"
    leaks = [hidden for hidden in world.hidden if hidden in answer.text]
    return f"{seen} tells {leaks}" if leaks else None


def stream_fault_of(world: World, route: Route, credential: Credential) -> str | None:
    path = world.server.url + route.at(world.target(route.rule.of))
    with Follower(path, headers=credential.headers, params=credential.params) as stream:
        if stream.status in (401, 403, 404):
            return None
        try:
            assert credential.was_ours and stream.status == 200, "opened"
            stream.wait_for_end(within=10)
            assert [frame.name for frame in stream.frames] == ["bye"] and stream.frames[0].data["reason"] == "expired"
        except AssertionError as reason:
            return f"{route} as a stream for {credential.name}: {stream.status}, {reason}"
    return None


def is_let_in(route: Route, credential: Credential) -> bool:
    """To the table's own things, or, without any named, to its own."""
    rule = route.rule
    if not rule.is_guarded:
        return True
    if credential.kind is None or credential.kind not in rule.admits:
        return False
    return not (credential.is_foreign and rule.of)


def assert_kept_out(world: World, routes: list[Route], credential: Credential) -> None:
    closed = [route for route in routes if not is_let_in(route, credential) and credential.kind not in route.rule.unsaid]
    assert closed, f"{credential.name} may go everywhere?"
    before = world.state()
    faults = [fault for route in closed if (fault := fault_of(world, route, credential))]
    faults += [fault for route in closed if route.is_stream and (fault := stream_fault_of(world, route, credential))]
    assert not faults, "\n".join(faults)
    assert world.state() == before, f"{credential.name} was refused, and something changed"


WRONG = ["nobody", "a cookie of rubbish", "site token of rubbish", "site token signed by another", "site token of alg none", "site token of HS512",
         "access token as site token", "stream token as site token", "a guest without a site token", "a widget's guest of an assistant that is none",
         "stream token of rubbish", "access token as stream token", "site token as stream token", "stream token signed by another",
         "stream token of another dialog", "stream token of another account", "account's stream token of another account", "rubbish", "expired",
         "logged out", "switched off", "refresh token as access token", "stream token as access token", "visitor's stream token as access token",
         "site token as access token", "alg none", "HS512", "RS256 in name", "RS256 by a key of its own", "signed by another", "tampered",
         "an access token without a session", "operator of another account", "cookie of another account", "key of rubbish",
         "visitor of same assistant by site", "visitor of same assistant by widget", "visitor of another assistant by site",
         "visitor of another assistant by widget", "visitor of another account by site", "visitor of another account by widget",
         "our guest with another account's site token"]


@pytest.mark.parametrize("name", WRONG)
def test_who_has_no_right_is_kept_out_everywhere_and_changes_nothing(world, wrong, routes, name):
    assert_kept_out(world, routes, wrong[name])


def test_every_wrong_credential_is_tried(wrong):
    assert sorted(wrong) == sorted(WRONG)


@pytest.mark.parametrize("name", ["revoked key", "key of another bot", "key of another account", "key in the address", "half a key"])
def test_a_wrong_key_is_kept_out_everywhere_and_changes_nothing(world, routes, name):
    assert_kept_out(world, routes, world.wrong_keys()[name])


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_let_in_somewhere_is_kept_out_elsewhere(world, routes, kind):
    """A lower role, a visitor at the operators' door, a bridge at the visitors', a stream's token anywhere but at its stream."""
    if kind in ("owner", "admin", "cookie"):
        assert kind in ADMINS
    assert_kept_out(world, routes, world.right(kind))


# Who is let in

@pytest.mark.parametrize("kind", KINDS)
def test_who_has_the_right_is_let_in(world, routes, kind):
    open_to = [route for route in routes if route.rule.is_guarded and kind in route.rule.admits]
    assert open_to, f"nothing is open to {kind}"
    faults, usual = [], world.right(kind)
    for route in open_to:
        rule = route.rule
        credential = world.right(kind) if rule.spends_session else usual
        target = world.fresh_target(rule.of) if rule.spends_target else world.target(rule.of)
        answer = world.ask(route, credential, target)
        if not answer.is_success:
            faults.append(f"{route} for {kind}: {answer.status_code} {answer.text[:160]}")
    assert not faults, "\n".join(faults)


FOREIGN_AT_HOME = ["operator of another account", "cookie of another account", "account's stream token of another account",
                   "visitor of same assistant by site", "visitor of same assistant by widget", "visitor of another assistant by site",
                   "visitor of another assistant by widget", "visitor of another account by site", "visitor of another account by widget",
                   "our guest with another account's site token"]


@pytest.mark.parametrize("name", FOREIGN_AT_HOME)
def test_what_names_nothing_shows_everybody_their_own(world, wrong, routes, name):
    credential, hidden = wrong[name], world.hidden
    # Colleagues are no secret to one another, nor is an assistant to its account; the visitor's words are to their neighbours.
    if credential.kind in ("site", "widget"):
        hidden = [world.visitor.guest_id, f"{world.mark} said"]
        if "our guest" in name:
            hidden = hidden[1:]
    lists = [route for route in routes if route.method == "GET" and route.rule.is_guarded and not route.rule.of and credential.kind in route.rule.admits]
    assert lists
    for route in lists:
        answer = world.ask(route, credential, "")
        assert answer.status_code == 200, f"{route} for {name}: {answer.status_code} {answer.text[:160]}"
        assert not [text for text in hidden if text in answer.text], f"{route} for {name} shows another's: {answer.text[:400]}"


def test_to_the_public_nothing_is_granted_without_content(world, wrong, routes):
    """An empty body is refused whoever sends it, and every public page is there for everybody."""
    for route in routes:
        if route.rule.is_guarded:
            continue
        for credential in (wrong["nobody"], wrong["rubbish"], wrong["operator of another account"], world.right("cookie")):
            answer = world.ask(route, credential, "", "*/*")
            fits = 400 <= answer.status_code < 500 if route.method == "POST" else answer.is_success or answer.is_redirect
            assert fits, f"{route} for {credential.name}: {answer.status_code}"
