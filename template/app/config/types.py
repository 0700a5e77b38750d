"""Types of settings that are written in a special way."""

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [item.strip() for item in value.split(",") if item.strip()]


# a, b, c
CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
