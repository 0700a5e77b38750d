"""The rules of HTTP that a cache has to follow.

RFC 9110 (conditional requests, section 13), RFC 9111 (request directives, section
5.2.1) and RFC 9211 (Cache-Status).
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from starlette.datastructures import Headers
from starlette.types import Scope

from app.cache.entry import Entry

CLIENT_POLICY = "private, no-cache"  # browsers keep it, and ask each time: a cheap 304
CREDENTIALS = ("authorization", "cookie", "x-api-key")

_DIRECTIVE = re.compile(r'([^\s,;="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s,;"]*))?')
_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
# RFC 9110 15.4.5: what a 304 repeats of the 200 that it stands for.
_IN_304 = {"cache-control", "content-location", "date", "etag", "expires", "vary"}


class Fields(Headers):
    """A request's headers, found by name: a cache asks for many that are not there."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self.lines: dict[str, list[bytes]] = {}
        for name, value in scope["headers"]:
            self.lines.setdefault(name.decode("latin-1"), []).append(value)

    def getlist(self, key: str) -> list[str]:
        """Return the lines of a field, whose name has to be in lower case."""
        lines = self.lines.get(key)
        return [line.decode("latin-1") for line in lines] if lines else []

    def __contains__(self, key: object) -> bool:
        return key in self.lines


@dataclass(frozen=True, slots=True)
class Directives:
    """What a request's Cache-Control asks of the cache; ages are in seconds."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None
    min_fresh: int | None = None

    def accepts(self, entry: Entry) -> bool:
        """Tell whether the request may be answered from this entry."""
        if self is _NONE:
            return True
        now = time.time()
        if self.no_cache:
            return False
        if self.max_age is not None and now - entry.stored_at >= self.max_age:
            return False
        return self.min_fresh is None or entry.expires_at - now >= self.min_fresh


_NONE = Directives()


def combined(headers: Headers, name: str) -> str | None:
    """Return a field whole, however many lines it came in (RFC 9110 5.3)."""
    lines = headers.getlist(name)
    return ", ".join(lines) if lines else None


def directives_of(headers: Headers) -> Directives:
    """Read the request's Cache-Control, or the older Pragma where there is none."""
    text = combined(headers, "cache-control")
    if text is None:
        pragma = combined(headers, "pragma")
        return _NONE if pragma is None else _pragma(pragma)
    found = {name.lower(): value.strip('"') for name, value in _DIRECTIVE.findall(text)}
    return Directives(
        no_cache="no-cache" in found,
        no_store="no-store" in found,
        only_if_cached="only-if-cached" in found,
        max_age=_seconds(found.get("max-age")),
        min_fresh=_seconds(found.get("min-fresh")),
    )


def entity_tag(body: bytes) -> str:
    """Return a strong entity tag, the same for the same bytes in every process."""
    return f'"{blake2b(body, digest_size=16).hexdigest()}"'


def condition_status(headers: Headers, tag: str) -> int:
    """Return the status that the request's conditions give: 200, 304 or 412."""
    match = combined(headers, "if-match")
    if match is not None and not _matches(match, tag, weak=False):
        return 412
    none_match = combined(headers, "if-none-match")
    if none_match is not None and _matches(none_match, tag, weak=True):
        return 304
    return 200


def not_modified_headers(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those of a response's headers that its 304 carries."""
    return [(name, value) for name, value in headers if name in _IN_304]


def with_vary(value: str | None) -> str:
    """Return a Vary that names the credentials besides what it names already."""
    names = [name.strip() for name in (value or "").split(",") if name.strip()]
    have = {name.lower() for name in names}
    names += [name.title() for name in CREDENTIALS if name not in have]
    return ", ".join(names)


def cache_status(*parameters: str) -> str:
    """Return a Cache-Status field (RFC 9211) of this cache."""
    return "; ".join(("fastapi", *parameters))


def _pragma(text: str) -> Directives:
    return Directives(no_cache="no-cache" in text.lower())


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    # RFC 9111 4.2.1: a value that cannot be read counts as stale.
    return int(text[:10]) if text.isascii() and text.isdigit() else 0


def _matches(field: str, tag: str, *, weak: bool) -> bool:
    if field.strip() == "*":
        return True
    own_weak, own = tag.startswith("W/"), tag.removeprefix("W/").strip('"')
    return any(
        value == own and (weak or not (prefix or own_weak))
        for prefix, value in _ENTITY_TAG.findall(field)
    )
