"""Bots of messengers, the keys of the bridges that serve them, and a bridge."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import httpx

from harness.people import Shop
from harness.server import Server


def platform_token() -> str:
    """In Telegram's form."""
    return f"{secrets.randbelow(10**9) + 10**9}:AA{secrets.token_urlsafe(25)}"


@dataclass(frozen=True)
class Bot:
    id: int
    name: str
    platform_token: str


class Bridge:
    """A program that serves some bots with one key."""

    def __init__(self, server: Server, id: int, key: str):
        self.server, self.id, self.key = server, id, key

    @property
    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def bots(self) -> httpx.Response:
        return self.server.http.get("/api/bot/bots", headers=self.credentials)

    def lease(self, bot_id: int, holder: str, seconds: int = 30) -> httpx.Response:
        return self.server.http.put(f"/api/bot/bots/{bot_id}/lease", headers=self.credentials, json={"holder": holder, "ttl_seconds": seconds})


def make_bot(shop: Shop, name: str = "Shop bot", assistant_id: int | None = None) -> Bot:
    token = platform_token()
    made = shop.operator.post("/api/bot-instances", {
        "assistant_id": assistant_id or shop.assistant_id, "name": name, "platform": "telegram", "platform_token": token})
    assert made.status_code == 201, made.text
    return Bot(made.json()["id"], name, token)


def make_bridge(shop: Shop, *bots: Bot, name: str = "Bridge") -> Bridge:
    made = shop.operator.post("/api/api-keys", {"name": name, "bot_ids": [bot.id for bot in bots]})
    assert made.status_code == 201, made.text
    assert made.json()["key"].startswith("rxk_")
    return Bridge(shop.server, made.json()["id"], made.json()["key"])


def revoke(shop: Shop, bridge: Bridge) -> None:
    gone = shop.server.http.delete(f"/api/api-keys/{bridge.id}", headers=shop.operator.credentials)
    assert gone.status_code == 204, gone.text
