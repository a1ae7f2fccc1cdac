"""Those who use the server: a shop, its operator, its visitors. They know the contract on the wire and nothing else."""

from __future__ import annotations

import secrets
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Callable

import httpx

from harness.streams import Follower
from harness.waiting import PATIENCE

if TYPE_CHECKING:
    from harness.server import Server


def assert_problem(response: httpx.Response, status: int | tuple[int, ...], code: str | tuple[str, ...] | None = None) -> dict:
    """The only format of errors, with the code that programs may rely on."""
    statuses = (status,) if isinstance(status, int) else status
    assert response.status_code in statuses, f"{response.status_code} instead of {status}: {response.text[:400]}"
    assert response.headers["content-type"].startswith("application/problem+json"), response.headers["content-type"]
    body = response.json()
    assert body["status"] == response.status_code
    assert isinstance(body["code"], str) and body["code"]
    assert isinstance(body["title"], str) and isinstance(body["type"], str)
    assert body["request_id"] == response.headers["x-request-id"]
    if code is not None:
        codes = (code,) if isinstance(code, str) else code
        assert body["code"] in codes, f"code {body['code']} instead of {code}: {body}"
    return body


def persistently(send: Callable[[], httpx.Response], within: float = 30) -> httpx.Response:
    """What a good client does with a request that may be repeated: again, until the server has answered it."""
    deadline = time.monotonic() + within
    while True:
        try:
            response = send()
            if response.status_code < 500:
                return response
            last: object = f"{response.status_code} {response.text[:200]}"
        except httpx.TransportError as error:
            last = error
        assert time.monotonic() < deadline, f"no answer within {within} s; last: {last!r}"
        time.sleep(0.1)


class Operator:
    def __init__(self, server: Server, email: str, password: str):
        self.server, self.email, self.password = server, email, password
        self.token = ""

    @property
    def credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def log_in(self) -> None:
        response = self.server.http.post("/api/login", data={"username": self.email, "password": self.password})
        assert response.status_code == 200, response.text
        assert response.json()["token_type"].lower() == "bearer"
        self.token = response.json()["access_token"]

    def get(self, path: str, **options: object) -> httpx.Response:
        return self.server.http.get(path, headers=self.credentials, **options)

    def post(self, path: str, body: object) -> httpx.Response:
        return self.server.http.post(path, headers=self.credentials, json=body)

    def answer(self, dialog_id: int, text: str, client_message_id: str | None = None) -> dict:
        body = {"text": text, "client_message_id": client_message_id or str(uuid.uuid4())}
        response = self.post(f"/api/dialogs/{dialog_id}/messages", body)
        assert response.status_code == 200, response.text
        return response.json()

    def follow(self, dialog_id: int | None = None, **options: object) -> Follower:
        """The account's stream, or one dialog's."""
        path = "/api/admin/events" if dialog_id is None else f"/api/dialogs/{dialog_id}/events"
        return Follower(self.server.url + path, headers=self.credentials, **options)


class Visitor:
    """Somebody on a customer's page. `through` is `site` (with the site token) or `widget` (with the assistant's id)."""

    def __init__(self, shop: Shop, guest_id: str | None = None, through: str = "site"):
        self.shop, self.server, self.through = shop, shop.server, through
        self.guest_id = guest_id or secrets.token_urlsafe(24)
        self.dialog_id = 0
        self.opened: dict = {}

    @property
    def query(self) -> dict[str, str]:
        proof = {"site_token": self.shop.site_token} if self.through == "site" else {"assistant_id": str(self.shop.assistant_id)}
        return {**proof, "guest_id": self.guest_id}

    @property
    def base(self) -> str:
        return f"/api/{self.through}/dialogs"

    @property
    def path(self) -> str:
        return f"{self.base}/{self.dialog_id}"

    def open(self) -> Visitor:
        response = self.server.http.post(self.base, params=self.query, json={})
        assert response.status_code == 200, response.text
        self.opened = response.json()
        self.dialog_id = self.opened["id"]
        return self

    def post(self, body: object) -> httpx.Response:
        return self.server.http.post(f"{self.path}/messages", params=self.query, json=body)

    def say(self, text: str, client_message_id: str | None = None) -> dict:
        response = self.post({"text": text, "client_message_id": client_message_id or str(uuid.uuid4())})
        assert response.status_code == 200, response.text
        return response.json()["user_message"]

    def say_persistently(self, text: str) -> dict:
        """One message, whatever happens to the server on the way."""
        key = str(uuid.uuid4())
        response = persistently(lambda: self.post({"text": text, "client_message_id": key}))
        assert response.status_code == 200, response.text
        return response.json()["user_message"]

    def say_many(self, texts: list[str], at_once: int = 8) -> list[dict]:
        """Many messages by several hands, so that the server's batches fill; in no particular order."""
        with ThreadPoolExecutor(at_once) as hands:
            return list(hands.map(self.say, texts))

    def messages(self, **query: object) -> dict:
        response = self.server.http.get(f"{self.path}/messages", params={**self.query, **query})
        assert response.status_code == 200, response.text
        return response.json()

    def follow(self, **options: object) -> Follower:
        params = {**self.query, **options.pop("params", {})}
        return Follower(self.server.url + f"{self.path}/events", params=params, **options)

    def page(self, after: str | None, **query: object) -> dict:
        """The stream's other transport: JSON."""
        asked = {**self.query, **({"after": after} if after is not None else {}), **query}
        response = self.server.http.get(f"{self.path}/events", params=asked, headers={"Accept": "application/json"},
                                        timeout=PATIENCE + 30)
        assert response.status_code == 200, response.text
        return response.json()


class Shop:
    """An account with one assistant."""

    def __init__(self, server: Server, account_id: int, operator_id: int, operator: Operator, assistant_id: int, site_token: str):
        self.server, self.account_id, self.operator_id = server, account_id, operator_id
        self.operator, self.assistant_id, self.site_token = operator, assistant_id, site_token

    def visitor(self, guest_id: str | None = None, through: str = "site") -> Visitor:
        """Somebody new, with an open dialog."""
        return Visitor(self, guest_id, through).open()

    def visitors(self, count: int) -> list[Visitor]:
        with ThreadPoolExecutor(8) as hands:
            return list(hands.map(lambda _: self.visitor(), range(count)))


# Roles, and the panel's way in

#: What the panel's own scripts send with every write.
PANEL = {"X-Replyx": "1", "Sec-Fetch-Site": "same-origin"}


def colleague(shop: Shop, role: str = "operator", first_name: str = "Ivan") -> Operator:
    """Somebody of that role who was invited by the shop's owner, has joined and logged in."""
    email, password = f"{role}-{uuid.uuid4().hex[:10]}@example.test", f"a long password {uuid.uuid4().hex[:6]}"
    invited = shop.operator.post("/api/invitations", {"email": email, "role": role})
    assert invited.status_code == 201, invited.text
    joined = shop.server.http.post("/api/invitations/accept", json={
        "token": invited.json()["url"].split("#invitation=")[1], "password": password, "first_name": first_name})
    assert joined.status_code == 201, joined.text
    person = Operator(shop.server, email, password)
    person.log_in()
    return person


def panel_cookie(operator: Operator) -> dict[str, str]:
    """The header of a new session of the panel. Asked outside the server's client, which would keep the cookie."""
    answer = httpx.post(f"{operator.server.url}/api/login", trust_env=False, timeout=PATIENCE, headers=PANEL,
                        json={"username": operator.email, "password": operator.password, "session": True})
    assert answer.status_code == 200, answer.text
    session = [said.split(";")[0] for said in answer.headers.get_list("Set-Cookie") if "replyx=" in said.split(";")[0]]
    assert len(session) == 1, answer.headers.get_list("Set-Cookie")
    return {"Cookie": session[0]}
