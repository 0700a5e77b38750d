"""What is counted, for whom, and what a client is told of it.

Requests are counted by the limits of their route. Wrong passwords are counted so that
guessing costs time, and locks no owner out: see `Lock`.
"""

import math
import time
from asyncio import gather
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Self

from limits import RateLimitItem, parse_many
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from app.config import Settings
from app.errors import AppError, TooManyRequests
from app.limits.storage import Storage, storage_for
from app.logs import AUTH, SERVER
from app.managers.tokens import keyed_digest

_FIELDS = ("RateLimit-Policy", "RateLimit")

parsed = lru_cache(maxsize=256)(parse_many)


class Limits:
    """The counters of one application: `request.app.state.limits`.

    Fixed windows, which begin with the first request: one number for each caller, and
    what a client is told (so many left, for so many seconds) is exact.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.storage: Storage = storage_for(settings)
        self._windows = FixedWindowRateLimiter(self.storage)
        self._warned = False

    def digest(self, who: str) -> str:
        return digest(self.settings, who)

    def address_of(self, request: Request) -> str:
        """Return who is counted as one address; empty where the server knows none."""
        host = request.client.host if request.client else ""
        named = request.headers.get("x-forwarded-for")
        if named and not self._warned and _is_private(host) and host not in named:
            self._warned = True
            SERVER.warning(
                "X-Forwarded-For of %s is not believed, so limits count all who come"
                " through it as one: if it is your proxy, add it to"
                " FORWARDED_ALLOW_IPS",
                host,
            )
        return _network_of(host)

    async def count(
        self, limits: str, name: str, what: str, who: str, headers: MutableHeaders
    ) -> None:
        """Count for `who`; raise TooManyRequests if that is more than `limits` allow.

        `what` is counted together. `headers` are given the fields of the policy `name`.
        """
        items = parsed(limits)
        for item in items:
            key = (what, self.digest(who))
            place = item.key_for(*key)
            allowed, used, end = await gather(  # in one round trip
                self._windows.hit(item, *key),
                self.storage.get(place),
                self.storage.get_expiry(place),
            )
            policy = name if len(items) == 1 else f"{name}-{item.GRANULARITY.name}"
            _describe(headers, policy, item, max(0, item.amount - used), end)
            if not allowed:
                fields = {field: headers[field] for field in _FIELDS}
                raise too_many("Too many requests", end, fields)


def digest(settings: Settings, who: str) -> str:
    """Return what keys hold in place of an address or an account."""
    return keyed_digest(settings, "limits", who)[:32]


def _network_of(host: str) -> str:
    """Return who is counted as one address: of IPv6 the /64, which one customer has."""
    try:
        ip = ip_address(host)
    except ValueError:
        return host
    if not isinstance(ip, IPv6Address):
        return host
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return f"{IPv6Address(int(ip) >> 64 << 64)}/64"


def _is_private(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return False


def too_many(
    what: str, end: float, fields: Mapping[str, str] | None = None
) -> TooManyRequests:
    """Return the refusal of what may be tried again at `end`, in Unix time."""
    seconds = _seconds_to(end)
    return TooManyRequests(
        f"{what}: try again in {seconds} seconds.",
        headers={"Retry-After": str(seconds), **(fields or {})},
    )


def _describe(
    headers: MutableHeaders, name: str, item: RateLimitItem, left: int, end: float
) -> None:
    """Add to the fields of draft-ietf-httpapi-ratelimit-headers-10."""
    policy = f'"{name}";q={item.amount};w={item.get_expiry()}'
    now = f'"{name}";r={left};t={_seconds_to(end)}'
    for field, value in zip(_FIELDS, (policy, now), strict=True):
        before = headers.get(field)
        headers[field] = f"{before}, {value}" if before else value


def _seconds_to(end: float) -> int:
    return max(1, math.ceil(end - time.time()))


FREE, FREE_OF_ALL = 5, 20  # wrong passwords
FIRST_WAIT, LONGEST_WAIT = 60, 3600  # seconds
COUNTED, REMEMBERED = 86_400, 2_592_000  # seconds: a day, 30 days
WRONG = {"invalid_credentials", "wrong_password"}  # codes of errors


class Lock:
    """What guessing the password of an account costs at one address.

    Wrong passwords are counted in two places. For the account at one address, `FREE` of
    them cost nothing; then each next attempt has to wait, a minute at first, twice as
    long each time, an hour at most. An attacker with many addresses meets the account's
    second count, that of all addresses from which nobody has logged in to it: after
    `FREE_OF_ALL` these wait together in the same way, so that a day has some 50 guesses
    (NIST SP 800-63B 5.2.2 allows 100 in a row).

    Such a wait of a whole account would let anybody lock its owner out (OWASP's
    objection to account lockout). So an address from which the right password came in
    the last `REMEMBERED` seconds is not part of it: it has its own count only. What an
    attacker can still do is to have the owner wait at an address that is new, until the
    attack is over or `api-admin user unlock` ends the wait; and, from the same address,
    there. The counts are the same whether the account exists or not. They are made
    before a password is hashed, so those who come at the same time are not let through
    together.

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
