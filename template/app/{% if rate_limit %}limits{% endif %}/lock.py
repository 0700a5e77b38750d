"""What guessing a password costs, without locking its owner out.

Wrong passwords are counted in two places. For the account at one address, `FREE` of
them cost nothing; then each next attempt has to wait, a minute at first, twice as long
each time, an hour at most. An attacker with many addresses meets the account's second
count, that of all addresses from which nobody has logged in to it: after `FREE_OF_ALL`
these wait together in the same way, so that a day has some 50 guesses (NIST SP 800-63B
5.2.2 allows 100 in a row).

Such a wait of a whole account would let anybody lock its owner out (OWASP's objection
to account lockout). So an address from which the right password came in the last
`REMEMBERED` seconds is not part of it: it has its own count only. What an attacker can
still do is to have the owner wait at an address that is new, until the attack is over
or `api-admin user unlock` ends the wait; and, from the same address, there. The counts
are the same whether the account exists or not. They are made before a password is
hashed, so those who come at the same time are not let through together.
"""

from asyncio import gather
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from app.errors import AppError
from app.limits.counting import Limits, too_many
from app.limits.storage import Storage
from app.logs import AUTH

FREE, FREE_OF_ALL = 5, 20  # wrong passwords
FIRST_WAIT, LONGEST_WAIT = 60, 3600  # seconds
COUNTED, REMEMBERED = 86_400, 2_592_000  # seconds: a day, 30 days
WRONG = {"invalid_credentials", "wrong_password"}  # codes of errors


class Lock:
    """The counts of an account that concern one address.

    `crowd` says who is counted together: an address that is known, or all others.
    """

    def __init__(
        self, storage: Storage, pair: str, crowd: str, unlocks: int = 0
    ) -> None:
        self.crowd = crowd
        self._storage = storage
        self._known = f"known/{pair}"
        self._own = _Count(storage, f"{pair}/{unlocks}", FREE)
        self._all = [self._own]
        if crowd != pair:
            self._all.append(_Count(storage, f"{crowd}/{unlocks}", FREE_OF_ALL))

    @classmethod
    async def of(cls, limits: Limits, account: str, address: str) -> Self:
        whole = limits.digest(account)
        pair = f"{whole}/{limits.digest(address)}"
        known, unlocks = await gather(
            limits.storage.get(f"known/{pair}"), limits.storage.unlocks(whole)
        )
        # An address that the server does not know is everybody's.
        crowd = pair if address and known > 0 else whole
        return cls(limits.storage, pair, crowd, unlocks)

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Let a password be checked, inside; the error that it raises says if wrong."""
        await gather(*(count.check() for count in self._all))
        begun: list[_Count] = []
        try:
            for count in self._all:
                begun.append(count)
                await count.begin()
            yield
            await self._succeed()
            begun.remove(self._own)
        except AppError as error:
            if error.code in WRONG:
                begun.clear()
            raise
        finally:
            for count in begun:
                await count.take_back()

    async def _succeed(self) -> None:
        """Remember the address, and forget what went wrong at it."""
        await self._storage.clear(self._known)
        await self._storage.incr(self._known, REMEMBERED)
        await self._own.forget()


class _Count:
    """Wrong passwords that are counted together, `free` of which cost nothing."""

    def __init__(self, storage: Storage, key: str, free: int) -> None:
        self._storage = storage
        self._wrong, self._wait = f"wrong/{key}", f"wait/{key}"
        self._free = free

    async def check(self) -> None:
        """Raise TooManyRequests as long as there is something to wait for."""
        waiting, end = await gather(
            self._storage.get(self._wait), self._storage.get_expiry(self._wait)
        )
        if waiting > 0:
            raise too_many("Too many wrong passwords", end)

    async def begin(self) -> None:
        """Count one before it is known to be wrong."""
        count = await self._storage.incr(self._wrong, COUNTED)
        if count < self._free:
            return
        seconds = min(FIRST_WAIT * 2 ** min(count - self._free, 30), LONGEST_WAIT)
        if await self._storage.incr(self._wait, seconds) > 1:  # one has come first
            end = await self._storage.get_expiry(self._wait)
            raise too_many("Too many wrong passwords", end)
        AUTH.warning("an account waits %s s after %s wrong passwords", seconds, count)

    async def take_back(self) -> None:
        await self._storage.incr(self._wrong, COUNTED, -1)

    async def forget(self) -> None:
        await self._storage.clear(self._wrong)
        await self._storage.clear(self._wait)
