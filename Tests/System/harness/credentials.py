"""Everybody who might ask, with every proof they might show: what is right, what is somebody else's, what is none at all."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field

from harness import bridges, tokens
from harness.people import PANEL, Operator, Shop, Visitor, colleague, panel_cookie
from harness.routes_table import ACCOUNT_TOKEN, OPERATOR_TOKEN, VISITOR_TOKEN, Route
from harness.server import SECRET, Server


@dataclass(frozen=True)
class Credential:
    """`kind` is what a route's rule may admit; None is admitted nowhere."""

    name: str
    kind: str | None
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    #: Good, but for other dialogs, assistants and people than those of the table.
    is_foreign: bool = False
    #: Given out by the server and over by now: a stream may say so with 200 and `bye expired`.
    was_ours: bool = False
    password: str = ""


def bearer(name: str, kind: str | None, token: str, **more: object) -> Credential:
    return Credential(name, kind, {"Authorization": f"Bearer {token}"}, **more)


def forged(token: str, algorithm: str, digest: str = "sha256", key: str = SECRET, **header: object) -> str:
    """The same claims under another head; the signature is made by HMAC, whatever the head says."""
    head = tokens._encoded(json.dumps({"typ": "JWT", "alg": algorithm, **header}).encode())
    signature = hmac.new(key.encode(), f"{head}.{token.split('.')[1]}".encode(), getattr(hashlib, digest)).digest()
    return f"{head}.{token.split('.')[1]}.{tokens._encoded(signature)}"


class World:
    """Two accounts: `shop`, whose things the table is about, and `other`. Texts and names of `shop` carry `mark`."""

    def __init__(self, server: Server):
        self.server, self.mark = server, f"mark{uuid.uuid4().hex[:12]}"
        self.shop: Shop = server.shop(name=f"Assistant {self.mark}")
        self.other: Shop = server.shop()
        self.visitor: Visitor = self.shop.visitor()
        self.visitor.say(f"{self.mark} said by the visitor")
        self.shop.operator.answer(self.visitor.dialog_id, f"{self.mark} said by the operator")
        self.second = self.another_assistant()
        self.neighbours = {"same assistant": self.shop.visitor(), "another assistant": self.second.visitor(), "another account": self.other.visitor()}
        self.colleague = colleague(self.shop, first_name=self.mark)
        self.colleague_id = self.id_of(self.colleague)
        self.bot = bridges.make_bot(self.shop, f"Bot {self.mark}")
        self.bridge = bridges.make_bridge(self.shop, self.bot, name=f"Bridge {self.mark}")

    def another_assistant(self) -> Shop:
        """Of the same account, as a shop of its own."""
        made = self.shop.operator.post("/api/assistants", {"name": "Second", "answerer": "none", "guest_access": True}).json()["id"]
        token = self.shop.operator.get(f"/api/assistants/{made}/embed-code").json()["token"]
        return Shop(self.server, self.shop.account_id, self.shop.operator_id, self.shop.operator, made, token)

    @property
    def hidden(self) -> list[str]:
        """What nobody but the visitor and their operators may ever be shown."""
        return [self.mark, self.visitor.guest_id, self.shop.operator.email, self.colleague.email]

    # What `{id}` is

    def target(self, of: str) -> int | str:
        match of:
            case "": return ""
            case "dialog": return self.visitor.dialog_id
            case "assistant": return self.shop.assistant_id
            case "colleague": return self.colleague_id
            case "bot": return self.bot.id
            case "api key": return self.bridge.id
        raise AssertionError(f"nothing is known of {of!r}")

    def fresh_target(self, of: str) -> int | str:
        match of:
            case "dialog": return self.shop.visitor().dialog_id
            case "assistant": return self.another_assistant().assistant_id
            case "colleague": return self.id_of(colleague(self.shop))
            case "bot": return bridges.make_bot(self.shop).id
            case "api key": return bridges.make_bridge(self.shop, self.bot).id
        raise AssertionError(f"no other {of!r} can be made")

    def id_of(self, person: Operator) -> int:
        return next(each["id"] for each in self.shop.operator.get("/api/operators").json()["items"] if each["email"] == person.email)

    # Who is let in somewhere

    def right(self, kind: str) -> Credential:
        """A session of its own each time, so that it may be spent."""
        match kind:
            case "owner" | "admin" | "operator":
                person = colleague(self.shop, kind)
                return bearer(kind, kind, person.token, password=person.password)
            case "cookie":
                person = colleague(self.shop, "owner")
                return Credential(kind, kind, {**panel_cookie(person), **PANEL}, password=person.password)
            case "site" | "widget":
                return self.as_visitor(kind, self.visitor)
            case "bridge":
                return bearer(kind, kind, self.bridge.key)
        stream_token = {
            VISITOR_TOKEN: lambda: self.visitor.messages()["stream_token"],
            OPERATOR_TOKEN: lambda: self.stream_token(self.shop, self.visitor.dialog_id), ACCOUNT_TOKEN: lambda: self.stream_token(self.shop)}[kind]()
        return Credential(kind, kind, params={"stream_token": stream_token})

    @staticmethod
    def stream_token(shop: Shop, dialog_id: int | None = None) -> str:
        made = shop.operator.post("/api/stream-tokens", {} if dialog_id is None else {"dialog_id": dialog_id})
        assert made.status_code == 201, made.text
        return made.json()["stream_token"]

    @staticmethod
    def as_visitor(door: str, visitor: Visitor, **more: object) -> Credential:
        proof = {"site_token": visitor.shop.site_token} if door == "site" else {"assistant_id": str(visitor.shop.assistant_id)}
        return Credential(more.pop("name", door), door, params={**proof, "guest_id": visitor.guest_id}, **more)

    # Who is let in nowhere

    def wrong(self) -> dict[str, Credential]:
        # Of somebody of their own: what gets through by mistake shall not end the session that the table itself needs.
        victim, guest = colleague(self.shop, "owner"), self.visitor.guest_id
        owner = victim.token
        now, site = int(time.time()), self.shop.site_token
        login = self.server.http.post("/api/login", json={"username": victim.email, "password": victim.password}).json()
        stream_token, account_token = self.right(VISITOR_TOKEN).params["stream_token"], self.stream_token(self.shop)
        by_site = lambda token: {"site_token": token, "guest_id": guest}  # noqa: E731
        made = [
            Credential("nobody", None),
            Credential("a cookie of rubbish", None, {"Cookie": "replyx=rubbish; __Host-replyx=rubbish", **PANEL}),
            Credential("site token of rubbish", None, params=by_site("rubbish")),
            Credential("site token signed by another", None, params=by_site(tokens.changed(site, secret="x" * 40))),
            Credential("site token of alg none", None, params=by_site(tokens.unsigned(site))),
            Credential("site token of HS512", None, params=by_site(forged(site, "HS512", "sha512"))),
            Credential("access token as site token", None, params=by_site(owner)),
            Credential("stream token as site token", None, params=by_site(stream_token)),
            Credential("a guest without a site token", None, {"X-Guest-Id": guest}),
            Credential("a widget's guest of an assistant that is none", None, params={"assistant_id": "999999999", "guest_id": guest}),
            Credential("stream token of rubbish", None, params={"stream_token": "rubbish"}),
            Credential("access token as stream token", None, params={"stream_token": owner}),
            Credential("site token as stream token", None, params={"stream_token": site, "guest_id": guest}),
            Credential("stream token signed by another", None, params={"stream_token": tokens.changed(stream_token, secret="x" * 40)}),
            Credential("stream token of another dialog", None, params={"stream_token": self.neighbours["same assistant"].messages()["stream_token"]}),
            Credential("stream token of another account", VISITOR_TOKEN, is_foreign=True,
                       params={"stream_token": self.neighbours["another account"].messages()["stream_token"]}),
            Credential("account's stream token of another account", ACCOUNT_TOKEN, params={"stream_token": self.stream_token(self.other)}, is_foreign=True),
            bearer("rubbish", None, "rubbish"),
            bearer("expired", None, tokens.changed(owner, iat=now - 1000, exp=now - 100), was_ours=True),
            bearer("logged out", None, self.logged_out(), was_ours=True),
            bearer("switched off", None, self.switched_off(), was_ours=True),
            bearer("refresh token as access token", None, login["refresh_token"]),
            bearer("stream token as access token", None, account_token),
            bearer("visitor's stream token as access token", None, stream_token),
            bearer("site token as access token", None, site),
            bearer("alg none", None, tokens.unsigned(owner)),
            bearer("HS512", None, forged(owner, "HS512", "sha512")),
            bearer("RS256 in name", None, forged(owner, "RS256")),
            bearer("RS256 by a key of its own", None, forged(owner, "RS256", jwk={"kty": "oct", "k": "eHh4"}, kid="../../dev/null", key="x" * 40)),
            bearer("signed by another", None, tokens.changed(owner, secret="x" * 40)),
            bearer("tampered", None, tokens.tampered(owner)),
            bearer("an access token without a session", None, tokens.changed(owner, sid=str(uuid.uuid4()))),
            bearer("operator of another account", "owner", self.other.operator.token, is_foreign=True),
            Credential("cookie of another account", "cookie", {**panel_cookie(self.other.operator), **PANEL}, is_foreign=True),
            bearer("key of rubbish", None, f"rxk_{secrets.token_urlsafe(32)}"),
        ]
        for whose, visitor in self.neighbours.items():
            made += [self.as_visitor(door, visitor, name=f"visitor of {whose} by {door}", is_foreign=True) for door in ("site", "widget")]
        made.append(Credential("our guest with another account's site token", "site", is_foreign=True, params=by_site(self.other.site_token)))
        return {each.name: each for each in made}

    def wrong_keys(self) -> dict[str, Credential]:
        gone = bridges.make_bridge(self.shop, self.bot)
        bridges.revoke(self.shop, gone)
        of_another_bot = bridges.make_bridge(self.shop, bridges.make_bot(self.shop, "Another"))
        of_another_account = bridges.make_bridge(self.other, bridges.make_bot(self.other))
        made = [bearer("revoked key", None, gone.key, was_ours=True), bearer("key of another bot", "bridge", of_another_bot.key, is_foreign=True),
                bearer("key of another account", "bridge", of_another_account.key, is_foreign=True),
                Credential("key in the address", None, params={"api_key": self.bridge.key, "token": self.bridge.key}),
                bearer("half a key", None, self.bridge.key[:-1])]
        return {each.name: each for each in made}

    def logged_out(self) -> str:
        person = colleague(self.shop)
        assert self.server.http.post("/api/logout", headers=person.credentials).status_code == 204
        return person.token

    def switched_off(self) -> str:
        person = colleague(self.shop)
        gone = self.server.http.delete(f"/api/operators/{self.id_of(person)}", headers=self.shop.operator.credentials)
        assert gone.status_code == 204, gone.text
        return person.token

    # Asking

    def ask(self, route: Route, credential: Credential, target: int | str, accept: str = "application/json"):
        body = {"json": route.rule.body(self, credential)} if route.rule.body else {}
        return self.server.http.request(route.method, route.at(target), params=credential.params,
                                        headers={"Accept": accept, **credential.headers}, **body)

    def state(self) -> str:
        """A digest of all that the account has, but for when a session or a key was last used and what was noted about access."""
        own = f"SELECT id FROM {{}} WHERE account_id = {self.shop.account_id}"
        tables = self.server.database.rows("SELECT table_name, string_agg(column_name, ',') FROM information_schema.columns"
                                           " WHERE table_schema = 'public' GROUP BY 1 ORDER BY 1")
        owners = {"account_id": f"= {self.shop.account_id}", "operator_id": f"IN ({own.format('operators')})",
                  "assistant_id": f"IN ({own.format('assistants')})", "bot_id": f"IN ({own.format('bot_instances')})"}
        digests = []
        for name, columns in tables:
            owner = next((f"{column} {whose}" for column, whose in owners.items() if column in columns.split(",")), None)
            if name == "accounts":
                owner = f"id = {self.shop.account_id}"
            if owner and name not in ("security_events", "answer_counts"):
                digests.append(f"SELECT '{name}', md5(string_agg(kept, '' ORDER BY kept)) FROM (SELECT (to_jsonb(t)"
                               f" - 'used_at' - 'last_used_at' - 'expires_at' - 'rotated_at')::text AS kept FROM {name} t WHERE {owner}) rows")
        return "\n".join(f"{name} {digest}" for name, digest in self.server.database.rows(" UNION ALL ".join(digests)))
