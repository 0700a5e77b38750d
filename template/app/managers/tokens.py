"""What callers show, and the keys that it is signed with.

A token is a JWT (RFC 7519) that names a session, and only a claim. Whether the session
still exists is asked on every request, so logout, a ban or a new password end it at
once.

An API key is `ak_{user}_{prefix}_{secret}{crc32}`. The user and the prefix find the
row, the secret proves it, and the checksum tells a mistyped or cut off key without
asking the database.

There is one key for each purpose, derived from `SECRET_KEY`. What is signed for one
says nothing about another: a stored HMAC of an API key is of no use as its name in the
cache, and neither signs a token.
"""

import hmac
import re
import secrets
import time
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal
from uuid import uuid4

import jwt

from app.config import Settings
from app.database.base import utc_now
from app.errors import NotAuthenticated
from app.models.auth_session import AuthSession
from app.schemas.auth import TokenPair
from app.schemas.fields import MAX_ID

ALGORITHM = "HS256"
REQUIRED_CLAIMS = ["sub", "sid", "jti", "type", "iat", "exp"]
# What the claims look like that are looked up: no driver takes every number and text.
USER_ID = re.compile(r"[1-9][0-9]{0,18}")
HEX_ID = re.compile(r"[0-9a-f]{32}")

TokenType = Literal["access", "refresh"]


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a valid token says: `session_id` is its `sid`, `token_id` its `jti`.

    `expires_at` is in Unix time.
    """

    user_id: int
    session_id: str
    token_id: str
    expires_at: int


def issue_tokens(session: AuthSession, settings: Settings) -> TokenPair:
    """The session's tokens as of now. Neither outlives the session."""
    now = utc_now()
    expires_at = min(
        now + timedelta(seconds=settings.access_token_ttl), session.expires_at
    )
    return TokenPair(
        token=_encode(session, "access", uuid4().hex, now, expires_at, settings),
        refresh=_encode(
            session, "refresh", session.refresh_jti, now, session.expires_at, settings
        ),
        expires_in=int((expires_at - now).total_seconds()),
    )


def read_token(token: str, token_type: TokenType, settings: Settings) -> TokenClaims:
    """The claims of a token of this type; raises `NotAuthenticated` for any other."""
    try:
        claims = _signed_claims(token, signing_key(settings))
    except (jwt.InvalidTokenError, ValueError):
        raise NotAuthenticated(f"This is not a valid {token_type} token.") from None
    if claims["exp"] <= time.time():
        raise NotAuthenticated(f"The {token_type} token has expired.")
    user_id, session_id, token_id = (str(claims[it]) for it in ("sub", "sid", "jti"))
    if (
        claims["type"] != token_type
        or not USER_ID.fullmatch(user_id)
        or int(user_id) > MAX_ID
        or not HEX_ID.fullmatch(session_id)
        or not HEX_ID.fullmatch(token_id)
    ):
        raise NotAuthenticated(f"This is not a valid {token_type} token.")
    return TokenClaims(int(user_id), session_id, token_id, claims["exp"])


@lru_cache(maxsize=1024)
def _signed_claims(token: str, key: bytes) -> dict[str, Any]:
    """What a token says that was signed with this key, whether or not it has expired.

    That never changes, so it is remembered of the last tokens that were not refused.
    """
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[ALGORITHM],
        # Another machine's clock may be ahead: `iat` is there, but proves nothing.
        options={"require": REQUIRED_CLAIMS, "verify_iat": False, "verify_exp": False},
    )
    if type(claims["exp"]) is not int:
        raise jwt.DecodeError("exp is no number of seconds")
    return claims


def signing_key(settings: Settings) -> bytes:
    """The key that tokens are signed with."""
    return derive_key(settings, "token")


def _encode(
    session: AuthSession,
    token_type: TokenType,
    token_id: str,
    issued_at: datetime,
    expires_at: datetime,
    settings: Settings,
) -> str:
    claims = {
        "sub": str(session.user_id),
        "sid": session.id,
        "jti": token_id,
        "type": token_type,
        "iat": issued_at,
        "exp": expires_at,
    }
    return jwt.encode(claims, signing_key(settings), algorithm=ALGORITHM)


LOWER = "0123456789abcdefghijklmnopqrstuvwxyz"
LETTERS = LOWER + LOWER[10:].upper()
PATTERN = re.compile(
    r"(?P<body>ak_(?P<user_id>[1-9][0-9]{0,18})_(?P<prefix>[0-9a-z]{10})"
    r"_[0-9A-Za-z]{43})(?P<checksum>[0-9a-f]{8})"
)


@dataclass(frozen=True, slots=True)
class KeyText:
    """A whole key, as its owner sends it."""

    user_id: int
    prefix: str
    text: str

    def __repr__(self) -> str:
        return f"KeyText({self.user_id}, {self.prefix!r}, …)"


def new_key_text(user_id: int) -> KeyText:
    """A new key, with 256 random bits."""
    prefix = "".join(secrets.choice(LOWER) for _ in range(10))
    secret = "".join(secrets.choice(LETTERS) for _ in range(43))
    body = f"ak_{user_id}_{prefix}_{secret}"
    return KeyText(user_id, prefix, body + _checksum(body))


def parse_key_text(text: str) -> KeyText | None:
    """The parts of a key; None if it is none, mistyped or cut off."""
    match = PATTERN.fullmatch(text)
    if match is None or _checksum(match["body"]) != match["checksum"]:
        return None
    user_id = int(match["user_id"])
    return KeyText(user_id, match["prefix"], text) if user_id < 2**63 else None


def key_hash(key: KeyText, settings: Settings) -> str:
    """What the database holds of a key."""
    return keyed_digest(settings, "api-key", key.text)


def cache_digest(key: KeyText, settings: Settings) -> str:
    """What the cache may know a key by; not what the database holds."""
    return keyed_digest(settings, "api-key-in-cache", key.text)


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def derive_key(settings: Settings, purpose: str) -> bytes:
    """32 bytes that only `SECRET_KEY` and the purpose determine."""
    return _derive(settings.secret_key.get_secret_value(), purpose)


def keyed_digest(settings: Settings, purpose: str, text: str) -> str:
    """The text's HMAC-SHA256 for this purpose, as 64 hexadecimal digits."""
    return hmac.digest(derive_key(settings, purpose), text.encode(), sha256).hex()


@lru_cache(maxsize=16)
def _derive(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), f"app/{purpose}".encode(), sha256)
