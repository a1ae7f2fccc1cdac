"""Who may in where: one rule for every route of the router's own list."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from harness.credentials import Credential, World

Body = Callable[["World", "Credential"], dict]

ADMINS = frozenset({"owner", "admin", "cookie"})
OPERATORS = ADMINS | {"operator"}
SITE, WIDGET, BRIDGE = frozenset({"site"}), frozenset({"widget"}), frozenset({"bridge"})
VISITOR_TOKEN, OPERATOR_TOKEN, ACCOUNT_TOKEN = "visitor's stream token", "operator's stream token", "account's stream token"


@dataclass(frozen=True)
class Rule:
    """The kinds of credentials that are let in; None: no credential is asked for."""

    admits: frozenset[str] | None
    #: What `{id}` names.
    of: str = ""
    #: A body that is accepted and, if it were let in, would change something.
    body: Body | None = None
    #: Kinds about which the contract is silent: they are the same person at another door, or read what is no secret.
    unsaid: frozenset[str] = frozenset()
    #: Whoever is let in takes the target, or their own session, away; another one is made for it.
    spends_target: bool = False
    spends_session: bool = False

    @property
    def is_guarded(self) -> bool:
        return self.admits is not None


def fields(**given: object) -> Body:
    return lambda world, credential: dict(given)


def text(world: World, credential: Credential) -> dict:
    return {"text": f"said by {credential.name}", "client_message_id": str(uuid.uuid4())}


PUBLIC = Rule(None)
#: Public, and only content decides: nothing is granted to an empty body, whoever sends it.
CONTENT = Rule(None, body=fields())

RULES: dict[str, Rule] = {
    "GET /livez": PUBLIC, "GET /readyz": PUBLIC, "GET /health": PUBLIC, "GET /api/sse/health": PUBLIC, "GET /openapi.yaml": PUBLIC,

    "POST /api/register": CONTENT, "POST /api/login": CONTENT, "POST /api/refresh-token": CONTENT,
    "POST /api/invitations/accept": CONTENT, "POST /api/auth/reset-password": CONTENT, "POST /api/widget-config": CONTENT,

    "POST /api/logout": Rule(OPERATORS, spends_session=True, body=fields()),
    "POST /api/auth/change-password": Rule(OPERATORS, spends_session=True, body=lambda world, credential: {
        "old_password": credential.password or world.shop.operator.password, "new_password": "quite another password"}),
    "GET /api/me": Rule(OPERATORS),
    "GET /api/operators": Rule(OPERATORS),
    "PATCH /api/operators/{}": Rule(ADMINS, of="colleague", spends_target=True, body=fields(is_active=False)),
    "DELETE /api/operators/{}": Rule(ADMINS, of="colleague", spends_target=True),
    "POST /api/invitations": Rule(ADMINS, body=lambda world, credential: {"email": f"{uuid.uuid4().hex}@example.test", "role": "operator"}),

    "GET /api/assistants": Rule(OPERATORS),
    "POST /api/assistants": Rule(ADMINS, body=fields(name="Made by the table", answerer="none")),
    "GET /api/assistants/{}": Rule(OPERATORS, of="assistant"),
    "PATCH /api/assistants/{}": Rule(ADMINS, of="assistant", spends_target=True, body=fields(allowed_domains=["evil.example"])),
    "DELETE /api/assistants/{}": Rule(ADMINS, of="assistant", spends_target=True),
    "GET /api/assistants/{}/embed-code": Rule(OPERATORS, of="assistant"),
    "POST /api/assistants/{}/revoke-tokens": Rule(ADMINS, of="assistant", spends_target=True, body=fields()),
    "POST /api/assistants/{}/identity-secret": Rule(ADMINS, of="assistant", spends_target=True, body=fields()),

    "GET /api/dialogs": Rule(OPERATORS),
    "GET /api/dialogs/{}": Rule(OPERATORS, of="dialog"),
    "GET /api/dialogs/{}/messages": Rule(OPERATORS, of="dialog"),
    "POST /api/dialogs/{}/messages": Rule(OPERATORS, of="dialog", body=text),
    "POST /api/dialogs/{}/typing": Rule(OPERATORS, of="dialog", body=fields(typing=True)),
    "GET /api/dialogs/{}/events": Rule(OPERATORS | SITE | WIDGET | {VISITOR_TOKEN, OPERATOR_TOKEN}, of="dialog"),
    "POST /api/dialogs/{}/block": Rule(OPERATORS, of="dialog", spends_target=True, body=fields()),
    "DELETE /api/dialogs/{}/block": Rule(OPERATORS, of="dialog", spends_target=True),
    "GET /api/admin/events": Rule(OPERATORS | {ACCOUNT_TOKEN}),
    "POST /api/stream-tokens": Rule(OPERATORS, body=fields()),

    "GET /api/api-keys": Rule(ADMINS, unsaid=frozenset({"operator"})),
    "POST /api/api-keys": Rule(ADMINS, body=lambda world, credential: {"name": "By the table", "bot_ids": [world.bot.id]}),
    "DELETE /api/api-keys/{}": Rule(ADMINS, of="api key", spends_target=True),
    "GET /api/bot-instances": Rule(ADMINS, unsaid=frozenset({"operator"})),
    "POST /api/bot-instances": Rule(ADMINS, body=lambda world, credential: {
        "assistant_id": world.shop.assistant_id, "name": "By the table", "platform": "telegram", "platform_token": "1234567:by-the-table"}),
    "PATCH /api/bot-instances/{}": Rule(ADMINS, of="bot", spends_target=True, body=fields(is_active=False)),
    "DELETE /api/bot-instances/{}": Rule(ADMINS, of="bot", spends_target=True),
    "GET /api/security-events": Rule(ADMINS, unsaid=frozenset({"operator"})),
    "GET /api/bot/bots": Rule(BRIDGE),
    "PUT /api/bot/bots/{}/lease": Rule(BRIDGE, of="bot", body=fields(holder="the table", ttl_seconds=5)),
}

for door, kind, other in (("site", SITE, WIDGET), ("widget", WIDGET, SITE)):
    RULES |= {
        f"GET /api/{door}/dialogs": Rule(kind),
        f"POST /api/{door}/dialogs": Rule(kind, body=fields()),
        f"GET /api/{door}/dialogs/{{}}/messages": Rule(kind, of="dialog"),
        f"POST /api/{door}/dialogs/{{}}/messages": Rule(kind, of="dialog", body=text),
        f"POST /api/{door}/dialogs/{{}}/typing": Rule(kind, of="dialog", body=fields(typing=True)),
        # A stream token names the dialog, and the dialog's public events are the same at every door.
        f"GET /api/{door}/dialogs/{{}}/events": Rule(kind | ({VISITOR_TOKEN} if door == "site" else frozenset()), of="dialog",
                                                     unsaid=frozenset({VISITOR_TOKEN, OPERATOR_TOKEN})),
    }


@dataclass(frozen=True)
class Route:
    method: str
    path: str

    @property
    def key(self) -> str:
        """Without the parameters' names."""
        return f"{self.method} {re.sub(r'{[^}]*}|:[A-Za-z_]+', '{}', self.path)}"

    @property
    def rule(self) -> Rule:
        return RULES[self.key]

    @property
    def is_stream(self) -> bool:
        return self.path.endswith("/events")

    def at(self, target: object) -> str:
        return re.sub(r"{[^}]*}|:[A-Za-z_]+", str(target), self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def served_routes(listing: str) -> list[Route]:
    """Of what `replyx routes` prints. A preflight has no credential by nature; it is tested with the browser's rules."""
    lines = [line.split(maxsplit=1) for line in listing.splitlines() if line.strip()]
    return [Route(method, path) for method, path in lines if method != "OPTIONS"]
