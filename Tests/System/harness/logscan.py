"""What must never stand in a log: every secret and every message that passes through the tests' clients is noted, and
at the end all that the servers wrote is searched for it."""

import json
import pathlib
import re
import threading
from urllib.parse import parse_qs, unquote_plus

import httpx

#: Where secrets and people's words stand in bodies, whichever way they go.
FIELDS = {"password", "old_password", "new_password", "access_token", "refresh_token", "stream_token", "token", "key",
          "guest_id", "identity_secret", "platform_token", "setup_code", "text"}
PARAMETERS = {"guest_id", "stream_token", "site_token"}
HEADERS = ("authorization", "cookie", "x-guest-id", "x-site-token", "x-identity")
#: Shorter ones would be found by accident.
SHORTEST = 16

_noted: set[str] = set()
_lock = threading.Lock()


def note(*secrets: str) -> None:
    with _lock:
        _noted.update(secret for secret in secrets if isinstance(secret, str) and len(secret) >= SHORTEST)


def count() -> int:
    return len(_noted)


def _note_json(value: object) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            note(inner) if name in FIELDS and isinstance(inner, str) else _note_json(inner)
    elif isinstance(value, list):
        for inner in value:
            _note_json(inner)


def _note_body(kind: str, body: bytes) -> None:
    if len(body) > 64 * 1024:
        return
    try:
        if kind.startswith("application/json"):
            _note_json(json.loads(body))
        elif kind.startswith("application/x-www-form-urlencoded"):
            for name, values in parse_qs(body.decode()).items():
                if name in FIELDS:
                    note(*values)
    except ValueError:
        pass


def _on_request(request: httpx.Request) -> None:
    for name in HEADERS:
        for value in request.headers.get_list(name):
            note(*(part for part in re.split(r"[\s;=,]+", value)))
    for name, value in request.url.params.multi_items():
        if name in PARAMETERS:
            note(value)
    try:
        _note_body(request.headers.get("content-type", ""), request.content)
    except httpx.RequestNotRead:
        pass


def _on_response(response: httpx.Response) -> None:
    for said in response.headers.get_list("set-cookie"):
        note(said.split(";")[0].partition("=")[2])
    if response.headers.get("content-type", "").startswith("application/json"):
        _note_body("application/json", response.read())


HOOKS = {"request": [_on_request], "response": [_on_response]}


def found_in(directory: pathlib.Path) -> list[str]:
    """The lines of logs that hold one. A secret is named by its length only: this goes to a terminal."""
    logs = [path for path in directory.rglob("*.log") if path.is_file() and "postgres" not in path.parts[-2]]
    # Words first: a set is asked a million times faster than a thousand strings are searched for.
    words = {secret for secret in _noted if re.fullmatch(r"[\w.~%+/=-]+", secret)}
    phrases = _noted - words
    found = []
    for log in logs:
        for number, line in enumerate(log.read_text(errors="replace").splitlines(), 1):
            plain = unquote_plus(line)
            candidates = {part for text in (line, plain) for part in re.findall(r"[\w.~%+/=-]{16,}", text)}
            candidates |= {part for word in candidates for part in re.split(r"[=/&?]", word) if len(part) >= SHORTEST}
            hits = candidates & words
            hits |= {phrase for phrase in phrases if phrase in line}
            found += [f"{log.name}:{number}: a secret of {len(hit)} characters in a line of {len(line)}" for hit in hits]
    return found
