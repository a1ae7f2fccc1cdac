"""Tokens made by hand with the known secret, to present what the server would never hand out."""

import base64
import hashlib
import hmac
import json

from harness.server import SECRET


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def is_jwt(token: str) -> bool:
    return token.count(".") == 2


def claims(token: str) -> dict:
    return json.loads(_decoded(token.split(".")[1]))


def signed(payload: dict, header: dict | None = None, secret: str = SECRET) -> str:
    head = _encoded(json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode())
    body = _encoded(json.dumps(payload).encode())
    signature = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{_encoded(signature)}"


def changed(token: str, secret: str = SECRET, **claims_to_set: object) -> str:
    """The same token with other claims, under a signature that is valid (if the secret is ours)."""
    header = json.loads(_decoded(token.split(".")[0]))
    return signed({**claims(token), **claims_to_set}, header, secret)


def unsigned(token: str) -> str:
    """The classic forgery: `alg: none`."""
    return f'{_encoded(json.dumps({"alg": "none", "typ": "JWT"}).encode())}.{token.split(".")[1]}.'


def tampered(token: str) -> str:
    """One character in the middle of the signature is another one. (The last one may carry unused bits.)"""
    place = len(token) - 10
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1:]
