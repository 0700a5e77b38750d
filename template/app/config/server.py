import re
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

ORIGIN = re.compile(r"\*|https?://[^/?#\s]+")
HOST_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_.-]+")


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [item.strip() for item in value.split(",") if item.strip()]


# a, b, c
CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


class AppSettings(BaseSettings):
    environment: Literal["development", "production", "test"] = Field(
        default="development", description="Where the service runs"
    )
    api_docs: Annotated[bool | None, BeforeValidator(_empty_is_none)] = Field(
        default=None,
        description="Whether /docs, /redoc and /openapi.json are served, true or false;"
        " empty: unless ENVIRONMENT is production",
    )
    hsts_max_age: int = Field(
        default=0,
        ge=0,
        le=63072000,
        description="How long browsers use https only, once they came by it, in"
        " seconds, 0 to 63072000; 0: as they like",
    )
    cors_credentials: bool = Field(
        default=False,
        description="Whether pages of CORS_ORIGINS may send cookies, true or false;"
        " tokens and API keys need no such right",
    )
    cors_origins: CommaList = Field(
        default=(),
        description="Web origins whose pages may call the service, separated by commas,"
        " such as https://app.example.com; empty: none; *: all",
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(
        cls, value: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        if "*" in value and info.data.get("cors_credentials"):
            raise ValueError(
                "would let every page act as its visitor: name the origins, or leave"
                " out CORS_CREDENTIALS"
            )
        for origin in value:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"has {origin!r}, which should be https:// and a host")
        return value

    @property
    def serves_docs(self) -> bool:
        if self.api_docs is None:
            return self.environment != "production"
        return self.api_docs


class ServerSettings(BaseSettings):
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 listens on all networks",
    )
    port: int = Field(
        default=8000, ge=1, le=65535, description="TCP port to listen on, 1 to 65535"
    )
    workers: int = Field(
        default=1, ge=1, le=1024, description="Number of server processes, 1 to 1024"
    )
    shutdown_timeout: int = Field(
        default=20,
        ge=1,
        le=3600,
        description="How long running requests may go on after SIGTERM, in seconds,"
        " 1 to 3600; then they are cut off",
    )
    max_connections: int = Field(
        default=500,
        ge=1,
        le=1000000,
        description="Connections that a process holds open, 1 to 1000000; more need a"
        " higher limit of open files",
    )
    read_timeout: float = Field(
        default=20.0,
        gt=0,
        le=3600,
        description="Longest time for a request's head, and between two parts of its"
        " body, in seconds, more than 0 to 3600",
    )
    forwarded_allow_ips: CommaList = Field(
        default=("127.0.0.1",),
        description="Proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Request-ID"
        " are believed: addresses and networks, separated by commas; *: anybody's",
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[^/?#\s]+)*$",
        description="Path under which a proxy offers the service, such as /api",
    )
    allowed_hosts: CommaList = Field(
        default=(),
        description="Host names that requests may be for, separated by commas, such as"
        " api.example.com or *.example.com; empty: any",
    )

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                if proxy != "*":
                    ip_network(proxy)
            except ValueError as error:
                message = f"has {proxy!r}, which is no IP address or network"
                raise ValueError(message) from error
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not HOST_NAME.fullmatch(name):
                message = "should be a name in lower case, without scheme and port"
                raise ValueError(f"has {name!r}, which {message}")
        return value
