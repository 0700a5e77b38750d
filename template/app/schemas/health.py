from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["ok", "degraded", "down"]


class Live(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Literal["ok"] = "ok"


class PartHealth(BaseModel):
    status: Status
    latency_ms: float | None = Field(
        default=None, description="How long the part took to answer, in milliseconds"
    )
    detail: dict[str, str | float] | None = Field(
        default=None, description="What else is known of the part, by name"
    )


class Readiness(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ok",
                    "parts": {"database": {"status": "ok", "latency_ms": 0.4}},
                }
            ]
        }
    )

    status: Status
    parts: dict[str, PartHealth]


class Home(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "My Service", "version": "0.1.0", "docs": "/docs"}]
        }
    )

    name: str
    version: str
    docs: str | None
