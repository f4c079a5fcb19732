"""Log in with the keys, and a token that the SDK accepts; it ends by the clock, or on command."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from tests.clearml_server.endpoints import Api, Body, documented, endpoint
from tests.clearml_server.errors import error
from tests.clearml_server.state import COMPANY, USER, USER_NAME, Document

documented("401: no credentials, invalid credentials, a token that expired or is not one")

API_VERSION = "2.34"
_SECRET = b"of a server that holds nothing"


@endpoint("auth.login", "expiration_sec")
def login(api: Api, body: Body) -> Document:
    now = api.clock.now().timestamp()
    seconds = float(body.get("expiration_sec") or api.options.token_seconds)
    claims: Document = {"auth_type": "Bearer", "env": "<unknown>", "iat": int(now), "exp": int(now + seconds)}
    claims["identity"] = {"user": USER, "company": COMPANY, "role": "user", "user_name": USER_NAME}
    claims |= {"api_version": API_VERSION, "server_version": "2.3.0", "server_build": "1", "feature_set": "basic"}
    claims["generation"] = api.state.token_generation
    return {"token": _encode(claims)}


def authorize(api: Api, header: str | None, name: str) -> None:
    """Raises: 401 for anything but a good token, or for auth.login the keys or a token."""
    if not header:
        raise error(20, code=401)
    kind, _, value = header.partition(" ")
    if kind == "Bearer":
        _check(api, value)
    elif kind == "Basic" and name == "auth.login":
        _check_keys(api, value)
    else:
        raise error(20, code=401)


def _check_keys(api: Api, value: str) -> None:
    try:
        key, _, secret = base64.b64decode(value).decode("latin-1").partition(":")
    except (binascii.Error, ValueError):
        raise error(21, code=401) from None
    if (key, secret) != (api.options.access_key, api.options.secret_key):
        raise error(22, "failed to locate provided credentials", code=401)


def _check(api: Api, token: str) -> None:
    claims = _decode(token)
    if claims is None:
        raise error(30, "invalid jwt token", code=401, reason="Signature verification failed")
    if claims["exp"] <= api.clock.now().timestamp() or claims["generation"] != api.state.token_generation:
        raise error(30, "invalid jwt token", code=401, reason="Signature has expired")


def _encode(claims: Document) -> str:
    head = _b64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = head + b"." + _b64(json.dumps(claims).encode())
    return (signed + b"." + _b64(hmac.new(_SECRET, signed, hashlib.sha256).digest())).decode()


def _decode(token: str) -> Document | None:
    signed, _, signature = token.encode().rpartition(b".")
    if not hmac.compare_digest(_b64(hmac.new(_SECRET, signed, hashlib.sha256).digest()), signature):
        return None
    claims = signed.partition(b".")[2]
    found: Document = json.loads(base64.urlsafe_b64decode(claims + b"=" * (-len(claims) % 4)))
    return found


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
