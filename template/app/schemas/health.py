from typing import Literal

from pydantic import BaseModel, Field

Status = Literal["ok", "degraded", "down"]


class Live(BaseModel):
    status: Literal["ok"] = "ok"


class PartHealth(BaseModel):
    status: Status
    latency_ms: float | None = Field(
        default=None, description="How long the part took to answer, in milliseconds"
    )


class Readiness(BaseModel):
    status: Status
    parts: dict[str, PartHealth]
