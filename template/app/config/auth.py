from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

PLACEHOLDERS = ("change", "replace", "example", "placeholder", "insecure", "your-")


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
        # A string that repeats a part of itself is found inside its own double.
        if len(set(key)) < 10 or key in (key + key)[1:-1]:
            raise ValueError("is too regular: should be random")
        return value
