"""Field types that several schemas share."""

import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
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
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("The time is out of range.") from None


def _to_come(moment: datetime) -> datetime:
    if moment <= datetime.now(UTC):
        raise ValueError("The time is in the past.")
    return moment


def _storable_lines(text: str) -> str:
    """Like `_storable`, but a text may have lines and tabs."""
    _storable(text.translate(dict.fromkeys(map(ord, "\n\r\t"))))
    return text


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
"""The user manager asks for more: see `require_good_password`."""
Password = Annotated[
    str, StringConstraints(min_length=1, max_length=128), AfterValidator(_storable)
]
LongText = Annotated[
    str, StringConstraints(max_length=10_000), AfterValidator(_storable_lines)
]
Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
"""What an INTEGER column of PostgreSQL can hold."""
Amount = Annotated[Decimal, Field(max_digits=17, decimal_places=2)]
"""What a column of `Hundredths` can hold."""
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A point in time. It has to name its offset: a naive time is nobody's time."""
Expiry = Annotated[Moment, AfterValidator(_to_come)]
"""A moment to come."""

UserId = Annotated[int, Path(ge=1, le=MAX_ID, description="The user's id")]
SessionId = Annotated[
    str, Path(pattern="^[0-9a-f]{32}$", description="The session's id")
]
KeyId = Annotated[int, Path(ge=1, le=MAX_ID, description="The API key's id")]
