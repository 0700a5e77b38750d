"""Versioned namespaces: how an entry is dropped without being looked for.

A key is made of segments joined by ":". Each prefix of whole segments is a
namespace, and so is the empty one, the root. Every namespace has a version, a random
token that is stored in the cache like an entry. A lookup reads the entry together
with the tokens of all its namespaces; the entry is served only when it holds the same
tokens. Writing a new token therefore invalidates everything below a namespace at
once, at a cost that does not depend on what is stored.

Tokens are random and never count up, so one that was evicted cannot come back.
"""

import re
import secrets
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import quote

ROOT = ""
MAX_DEPTH = 16
_MAX_LENGTH = 256
_QUOTED_AS_IT_IS = re.compile(r"[A-Za-z0-9_.~@+ -]*")


def new_token() -> str:
    """Return a new version, 96 random bits as text."""
    return secrets.token_urlsafe(12)


def namespaces_of(key: str) -> tuple[str, ...]:
    """Return the namespaces above `key`, the root first and `key` itself last.

    Below MAX_DEPTH segments, namespaces share the token of their ancestor at that
    depth, so that a key from outside cannot ask for thousands of tokens.
    """
    found = [ROOT]
    position = -1
    while len(found) < MAX_DEPTH:
        position = key.find(":", position + 1)
        if position < 0:
            break
        found.append(key[:position])
    else:
        return tuple(found)
    found.append(key)
    return tuple(found)


def owner_of(namespace: str) -> str:
    """Return the namespace whose token a renewal of `namespace` has to replace."""
    return namespaces_of(namespace)[-1]


def segment(value: object) -> str:
    """Return a value as one segment of a key, whatever characters it has."""
    text = value if type(value) is str else str(value)
    return text if _QUOTED_AS_IT_IS.fullmatch(text) else _quoted(text)


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    return quote(text, safe="@+ ")


def storage_key(prefix: str, kind: str, name: str) -> str:
    """Return the key in the backend: readable, and of bounded length."""
    if len(name) > _MAX_LENGTH:
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16)
        name = f"{name[:64]}#{digest.hexdigest()}"
    return f"{prefix}:{kind}:{name}"
