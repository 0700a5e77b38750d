"""Keys derived from `SECRET_KEY`, one per purpose.

What is signed for one purpose says nothing about another: a stored HMAC of an API key
is of no use as its name in the cache, and neither signs a token.
"""

import hmac
from functools import lru_cache
from hashlib import sha256

from app.config import Settings


def derive_key(settings: Settings, purpose: str) -> bytes:
    """32 bytes that only `SECRET_KEY` and the purpose determine."""
    return _derive(settings.secret_key.get_secret_value(), purpose)


def keyed_digest(settings: Settings, purpose: str, text: str) -> str:
    """The text's HMAC-SHA256 for this purpose, as 64 hexadecimal digits."""
    return hmac.digest(derive_key(settings, purpose), text.encode(), sha256).hex()


@lru_cache(maxsize=16)
def _derive(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), f"app/{purpose}".encode(), sha256)
