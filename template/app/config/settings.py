from importlib import metadata
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from app.config.auth import OF_TESTS, AuthSettings
from app.config.logging import LogSettings
from app.config.parts import DESCRIPTION, PACKAGE, TITLE, PartSettings
from app.config.server import AppSettings, ServerSettings


class Settings(
    AppSettings,
    ServerSettings,
    AuthSettings,
    LogSettings,
    PartSettings,
):
    """All settings; each is read from the variable of its name in upper case.

    Add yours as fields, or as one more class like those of the other modules.
    """

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True
    )

    api_title: str = Field(
        default=TITLE,
        min_length=1,
        description="Name of the service in its documentation",
    )
    api_description: str = Field(
        default=DESCRIPTION,
        description="What the service does, in its documentation",
    )

    @property
    def version(self) -> str:
        """The version in pyproject.toml, or 0 where the package is not installed."""
        try:
            return metadata.version(PACKAGE)
        except metadata.PackageNotFoundError:
            return "0"

    @model_validator(mode="after")
    def _has_a_key_of_its_own(self) -> Self:
        key = self.secret_key.get_secret_value()
        if self.environment != "test" and OF_TESTS in key.lower():
            raise ValueError(
                "SECRET_KEY is that of the tests, which everybody knows: make another"
                " one with: openssl rand -hex 32"
            )
        return self
