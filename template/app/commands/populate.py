"""Made-up users, to see how lists and searches behave with many of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

CHUNK = 5_000

# 37 and 41 have no common divisor: all 1517 pairs come up before one returns.
_FIRST = """
    Ada Alan Amina Anders Barbara Carlos Chen Dorothy Edsger Elena Emil Farah Frances
    Grace Hana Hedy Ines Ivan Jamal Joan Karen Kenji Leila Linus Margaret Mateo Mei
    Nadia Niklaus Olga Priya Radia Rosa Samuel Sofia Tim Yusuf
"""
_LAST = """
    Adeyemi Allen Andersen Bartik Becker Bianchi Clarke Costa Dijkstra Dubois Eriksson
    Fernandez Fischer Garcia Goldberg Haddad Hamilton Hopper Ivanova Jensen Johnson Kahn
    Kim Kowalski Lamarr Liskov Lovelace Mbeki Moreau Nakamura Novak Okafor Perlman Rossi
    Santos Schmidt Silva Tanaka Turing Wirth Zhang
"""
FIRST_NAMES = _FIRST.split()
LAST_NAMES = _LAST.split()


async def add_users(
    session: AsyncSession,
    count: int,
    password: str,
    progress: Callable[[int], None],
) -> None:
    """Add `count` users in bulk; `progress` is called with the number added so far.

    All share one hash of `password`, because hashing is slow on purpose. Numbers in the
    addresses go on from the highest id, so that a second run finds no address taken.
    """
    from sqlalchemy import func, insert, select

    from app.managers.passwords import hash_password
    from app.models import User

    password_hash = await hash_password(password)
    start = (await session.scalar(select(func.max(User.id))) or 0) + 1
    for first in range(start, start + count, CHUNK):
        numbers = range(first, min(first + CHUNK, start + count))
        people = [
            person(number) | {"password_hash": password_hash} for number in numbers
        ]
        await session.execute(insert(User), people)
        progress(numbers.stop - start)


def person(number: int) -> dict[str, str]:
    """The name and address of made-up user `number`; the same each time."""
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = LAST_NAMES[number % len(LAST_NAMES)]
    return {
        "email": f"{first}.{last}.{number}@example.com".lower(),
        "first_name": first,
        "last_name": last,
    }
