import re
from ipaddress import ip_network

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from app.config.types import CommaList

HOST_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_.-]+")


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
        description="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed:"
        " addresses and networks, separated by commas; *: anybody's",
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
