from collections import Counter
from hashlib import sha256
from itertools import pairwise
from math import log2

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

PLACEHOLDERS = (
    *("change", "replace", "example", "placeholder", "insecure", "your-"),
    *("password", "passphrase", "secret", "default", "sample"),
)
# Anybody can read it in pyproject.toml, and in every other service of this template.
OF_TESTS = "only-for-tests"
# SHA-256 of keys that documentation shows, such as FastAPI's, and many copy.
PUBLISHED = {
    "570dad43de1af4c925f92c16a68a50936da42b7dd6fdeb24850507a1199aac89",
}


class AuthSettings(BaseSettings):
    secret_key: SecretStr = Field(
        description="32 or more random characters, the same in all processes;"
        " make them with: openssl rand -hex 32",
    )
    access_token_ttl: int = Field(
        default=900,
        ge=1,
        le=86400,
        description="Life of an access token, 1 to 86400 seconds",
    )
    refresh_token_ttl: int = Field(
        default=2592000,
        ge=1,
        le=31536000,
        description="Life of a refresh token, 1 to 31536000 seconds",
    )
    password_min_length: int = Field(
        default=8, ge=8, le=128, description="Shortest password, 8 to 128 characters"
    )

    @field_validator("secret_key")
    @classmethod
    def _strong(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if len(key) < 32:
            raise ValueError("is too short: should have 32 or more characters")
        if any(word in key.lower() for word in PLACEHOLDERS):
            raise ValueError("is a placeholder: should be random")
        if sha256(key.strip().encode()).hexdigest() in PUBLISHED:
            raise ValueError("is known from documentation: should be your own")
        # A string that repeats a part of itself is found inside its own double.
        if len(set(key)) < 10 or key in (key + key)[1:-1] or _entropy(key) < 40:
            raise ValueError("is too regular: should be random")
        return value


def _entropy(key: str) -> float:
    """Bits of a text whose characters come as often as in this one, in any order.

    Neighbours count once: a b c, 3 2 1 and x x x are no surprise.
    """
    pairs = pairwise(key)
    rest = key[:1] + "".join(b for a, b in pairs if abs(ord(a) - ord(b)) > 1)
    shares = [count / len(rest) for count in Counter(rest).values()]
    return -len(rest) * sum(share * log2(share) for share in shares)
