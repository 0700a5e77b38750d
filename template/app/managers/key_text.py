"""The text of an API key: `ak_{user}_{prefix}_{secret}{crc32}`.

The user and the prefix find the key, the secret proves it, and the checksum tells a
mistyped or cut off key without asking the database.
"""

import re
import secrets
import zlib
from dataclasses import dataclass

from app.config import Settings
from app.managers.keyring import keyed_digest

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
