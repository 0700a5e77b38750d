"""Which passwords nobody may take, and the one form in which each is hashed."""

import re
import unicodedata
from functools import cache
from pathlib import Path

from app.config import Settings
from app.errors import Invalid

COMMON = Path(__file__).with_name("common_passwords.txt")
# What people put around a word to make a password of it.
AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")


def normalized(password: str) -> str:
    """Return the form that is hashed, NFKC (NIST SP 800-63B-4 3.1.1.2).

    One keyboard sends é as one character, another one as e and an accent.
    """
    return unicodedata.normalize("NFKC", password)


def require_good_password(
    password: str, settings: Settings, *, email: str = ""
) -> None:
    """Raise `Invalid` for a password that is short or that attackers try first.

    It is compared as a whole with the common ones, and with the names of the service
    and of the user: to forbid a word within a long password would help nobody (NIST SP
    800-63B-4 3.1.1.2).
    """
    text = normalized(password)
    shortest = settings.password_min_length
    if len(text) < shortest:
        raise Invalid(
            f"A password has at least {shortest} characters.",
            code="password_too_short",
        )
    text = text.casefold()
    # A string that repeats a part of itself is found inside its own double.
    if text in _common_passwords() or text in (text + text)[1:-1]:
        raise Invalid(
            "This password is too common: it is among the first that attackers try.",
            code="password_too_common",
        )
    names = {settings.api_title, email, email.partition("@")[0]}
    if _bare(text) in {_bare(normalized(name).casefold()) for name in names} - {""}:
        raise Invalid(
            "This password is too easy to guess: it is the name of the service or of"
            " the user.",
            code="password_too_common",
        )


def _bare(text: str) -> str:
    """The text without spaces, and without the digits and signs around it."""
    return AROUND.sub("", text).replace(" ", "")


@cache
def _common_passwords() -> frozenset[str]:
    lines = COMMON.read_text("utf-8").splitlines()
    return frozenset(
        word.casefold()
        for line in lines
        if not line.startswith("# ")
        for word in line.split()
    )
