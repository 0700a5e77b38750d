"""What is counted, for whom, and what a client is told of it."""

import math
import time
from asyncio import gather
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItem, parse_many
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from app.config import Settings
from app.errors import TooManyRequests
from app.limits.storage import Storage, storage_for
from app.logs import SERVER
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
