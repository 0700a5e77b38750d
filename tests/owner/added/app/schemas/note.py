from datetime import datetime
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from app.schemas.fields import MAX_ID, Text

EXAMPLE: JsonDict = {
    "id": 1,
    "text": "Buy milk",
    "created_at": "2026-01-02T14:23:45Z",
    "code": "data:image/svg+xml;charset=utf-8,…",
}

NoteId = Annotated[int, Path(ge=1, le=MAX_ID, description="The note's id")]


class NoteOut(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: int
    text: str
    created_at: datetime
    code: str = Field(description="The text as a QR code, for an <img>")


class NoteCreate(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"text": "Buy milk"}]}
    )

    text: Annotated[Text, Field(min_length=1, max_length=500)]
