from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from app.config.types import CommaList


class AppSettings(BaseSettings):
    environment: Literal["development", "production", "test"] = Field(
        default="development",
        description="Where the service runs: development, production or test",
    )
    cors_origins: CommaList = Field(
        default=(),
        description="Web origins whose pages may call the service, separated by commas"
        " (https://app.example.com); empty: none",
    )
