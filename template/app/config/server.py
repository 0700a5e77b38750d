from pydantic import Field
from pydantic_settings import BaseSettings


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
