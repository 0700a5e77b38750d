"""Field types that several schemas share."""

import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, EmailStr, Field, StringConstraints

MAX_ID = 2**63 - 1


def _storable(text: str) -> str:
    """Refuse what PostgreSQL cannot store or a terminal would obey."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("Control characters and surrogates are not allowed.")
    return text


def _lower(email: str) -> str:
    lowered = email.lower()
    if len(lowered) > 254:
        raise ValueError("The address is too long.")
    return lowered


def _in_utc(moment: datetime) -> datetime:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("The time is out of range.") from None
    if moment <= datetime.now(UTC):
        raise ValueError("The time is in the past.")
    return moment


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_storable),
]
Email = Annotated[EmailStr, Field(max_length=254), AfterValidator(_lower)]
NewPassword = Annotated[
    str, StringConstraints(min_length=8, max_length=128), AfterValidator(_storable)
]
"""`PASSWORD_MIN_LENGTH`, which the user manager enforces, may ask for more than 8."""
Password = Annotated[
    str, StringConstraints(min_length=1, max_length=128), AfterValidator(_storable)
]
Expiry = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment to come. It has to name its offset: a naive time is nobody's time."""

UserId = Annotated[int, Path(ge=1, le=MAX_ID, description="The user's id")]
KeyId = Annotated[int, Path(ge=1, le=MAX_ID, description="The API key's id")]
