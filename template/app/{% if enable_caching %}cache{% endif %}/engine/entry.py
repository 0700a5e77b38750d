"""What the cache stores: entries, under places that keys and their namespaces name.

A key is made of segments joined by ":". Each prefix of whole segments is a namespace,
and so is the empty one, the root. Every namespace has a version, a random text that is
stored like an entry. An entry holds the versions that it was made under, and is served
only while these are the current ones. Writing a new version therefore invalidates
everything below a namespace at once, at a cost that does not depend on what is stored.
Versions are random and never count up, so one that was evicted cannot come back.

An entry is a final HTTP response, or the encoded value of a function (status 0). Its
bytes carry a keyed MAC over the place and the content. What is garbled, truncated, old,
copied from another place, or written by anybody without this service's key is no entry,
so it is a miss.

The second half has what HTTP says of storing a response and of answering with it: RFC
9110 (conditional requests, section 13), RFC 9111 (directives, section 5.2) and RFC 9211
(Cache-Status).
"""

import hmac
import json
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import blake2b
from string import Formatter
from typing import Literal, NamedTuple

from starlette.datastructures import Headers
from starlette.types import Scope

ROOT = ""
MAX_DEPTH = 16
_MAX_LENGTH = 256


class ConfigurationError(Exception):
    """The cache, or what is cached, cannot work as it is configured; one line."""


def new_version() -> str:
    """Return a new version, 96 random bits as text."""
    return secrets.token_urlsafe(12)


def segment(value: object) -> str:
    """Return a value as one segment of a key, whatever characters it has."""
    return str(value).replace("%", "%25").replace(":", "%3A")


def names_in(namespace: str) -> set[str]:
    """Return the names in the braces of a namespace, in each of which a segment goes.

    Raises ValueError for braces that hold anything else.
    """
    found = set()
    for _, name, form, conversion in Formatter().parse(namespace):
        if name is not None and (form or conversion or not name.isidentifier()):
            raise ValueError(f"{namespace!r}: braces hold a name, and nothing else")
        found.add(name or "")
    return found - {""}


def may_overlap(one: str, other: str) -> bool:
    """Tell whether a namespace may be in another; a name in braces may be any text."""
    pairs = zip(one.split(":"), other.split(":"), strict=False)
    return all(a == b or "{" in a or "{" in b for a, b in pairs)


@lru_cache(maxsize=4096)
def namespaces_of(key: str) -> tuple[str, ...]:
    """Return the namespaces above `key`, the root first and `key` itself last.

    Below MAX_DEPTH segments, namespaces share the version of their ancestor at that
    depth, so that a key from outside cannot ask for thousands of versions.
    """
    segments = key.split(":")
    found = (":".join(segments[:n]) for n in range(1, len(segments) + 1))
    return (ROOT, *found)[:MAX_DEPTH] if key else (ROOT,)


def owner_of(namespace: str) -> str:
    """Return the namespace whose version a renewal of `namespace` has to replace."""
    return namespaces_of(namespace)[-1]


def table_namespace(name: str) -> str:
    """Return the namespace of what was made from a table and has no rule for it."""
    return f"table={segment(name)}"


@lru_cache(maxsize=4096)
def version_place(prefix: str, namespace: str) -> str:
    """Return where the version of a namespace is stored."""
    return place(prefix, "token", namespace)  # its name since 0.1.0


def place(prefix: str, kind: str, name: str) -> str:
    """Return a key of the store: readable, and of bounded length."""
    if len(name) > _MAX_LENGTH:
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16)
        name = f"{name[:64]}#{digest.hexdigest()}"
    return f"{prefix}:{kind}:{name}"


_MAGIC = b"fastcache\x02"
_MAC = 16  # bytes
_START = len(_MAGIC) + _MAC
_dump = json.JSONEncoder(separators=(",", ":")).encode

Pairs = tuple[tuple[str, str], ...]
# The status of an entry that no header of a dependency belongs to.
RETURNED = -200


class Entry(NamedTuple):
    """A stored response, or value.

    `versions` are those of all namespaces that it depends on, read before it was made.
    `status` is 200, RETURNED for a 200 that its handler made itself, or 0 for a value.
    `stored_at` and `expires_at` are seconds since the epoch; `age` is how old it was
    when it was stored, in seconds.
    """

    versions: dict[str, str]
    stored_at: float
    expires_at: float
    age: int
    status: int
    headers: Pairs
    body: bytes


def seal(entry: Entry, place: str, key: bytes) -> bytes:
    """Return the entry as bytes that are valid in this place only."""
    about = _dump(entry[:-1]).encode("ascii")
    content = b"%d:%b%b" % (len(about), about, entry.body)
    return _MAGIC + _mac(content, place, key) + content


def unseal(data: bytes | None, place: str, key: bytes) -> Entry | None:
    """Return the entry that was sealed for this place with this key, else None."""
    if data is None or not data.startswith(_MAGIC):
        return None
    content = data[_START:]
    mac = _mac(content, place, key)
    if not hmac.compare_digest(data[len(_MAGIC) : _START], mac):
        return None
    size, _, rest = content.partition(b":")
    end = int(size)
    versions, stored_at, expires_at, age, status, headers = json.loads(rest[:end])
    pairs = tuple((name, value) for name, value in headers)
    return Entry(versions, stored_at, expires_at, age, status, pairs, rest[end:])


def _mac(content: bytes, place: str, key: bytes) -> bytes:
    mac = blake2b(place.encode("utf-8", "surrogatepass"), key=key, digest_size=_MAC)
    mac.update(b"\0")
    mac.update(content)
    return mac.digest()


RawHeaders = list[tuple[bytes, bytes]]
# What entity tags tell of bodies, after middleware: all, all but how they are encoded,
# or nothing, where somebody may make another body of one.
Tags = Literal["strong", "weak", "none"]

CLIENT_POLICY = "private, no-cache"  # browsers keep it, and ask each time: a cheap 304
CREDENTIALS = ("authorization", "cookie", "x-api-key")
# Headers that belong to one message or to the way it travels, not to the response.
MESSAGE_HEADERS = frozenset(
    {"age", "cache-status", "connection", "content-length", "date"}
)
# Request headers that count only where somebody looks for them: they are others in many
# requests, and seldom matter.
_RARE = {
    *("user-agent", "connection", "keep-alive", "te", "upgrade", "content-length"),
    *("priority", "cache-control", "pragma", "range", "if-range"),
    *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
    *("traceparent", "tracestate", "baggage", "b3", "x-request-id", "cf-ray"),
    *("x-correlation-id", "x-amzn-trace-id", "x-cloud-trace-context"),
}

_DIRECTIVE = re.compile(r'([^\s,;="]+)(?:=("(?:[^"\\]|\\.)*"|[^\s,;"]*))?')
_ENTITY_TAG = re.compile(r'"([\x21\x23-\x7e\x80-\xff]*)"')
# RFC 9110 15.4.5: what a 304 repeats of the 200 that it stands for.
_IN_304 = {"cache-control", "content-location", "date", "etag", "expires", "vary"}


class Fields(Headers):
    """A request's headers, found by name: a cache asks for many that are not there."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self.lines: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            # Not `name.decode`: it may tell who looks at it.
            lines = self.lines.setdefault(bytes.decode(name, "latin-1").lower(), [])
            lines.append(value.decode("latin-1"))

    def getlist(self, key: str) -> list[str]:
        """Return the lines of a field, whose name has to be in lower case."""
        return self.lines.get(key, [])

    def __contains__(self, key: object) -> bool:
        return key in self.lines


@dataclass(frozen=True, slots=True)
class Directives:
    """What a request's Cache-Control asks of the cache; ages are in seconds."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: int | None = None

    def accepts(self, entry: Entry) -> bool:
        """Tell whether the request may be answered from this entry."""
        young = self.max_age is None or age_of(entry) < self.max_age
        return young and not self.no_cache


def directives_of(headers: Fields) -> Directives:
    """Read the request's Cache-Control, or the older Pragma where there is none."""
    text = _combined(headers, "cache-control")
    if text is None:
        return Directives(no_cache="pragma" in headers)
    found = _directives(text)
    return Directives(
        no_cache="no-cache" in found,
        no_store="no-store" in found,
        only_if_cached="only-if-cached" in found,
        max_age=_seconds(found.get("max-age")),
    )


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a response may be stored, in seconds, and how old it is already.

    `why_not` says what forbids to store it, empty when nothing does.
    """

    ttl: int = 0
    age: int = 0
    why_not: str = ""


def lifetime_of(own: Pairs, ttl: int, *, shared: bool) -> Lifetime:
    """Read a response's own headers by RFC 9111 3, 4.2.1 and 5.2.2.

    `ttl` is the longest that it is stored, in seconds; `shared` tells whether others
    than who asks may be given it.
    """
    fields: dict[str, str] = {}
    for name, value in own:
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    found = _directives(fields.get("cache-control", ""))
    if "set-cookie" in fields:
        return Lifetime(why_not="it sets a cookie")
    if "*" in fields.get("vary", ""):
        return Lifetime(why_not="it varies by what nobody knows")
    for name in ("no-store", "no-cache"):
        if name in found:
            return Lifetime(why_not=f"its Cache-Control says {name}")
    if shared and "private" in found:
        return Lifetime(
            why_not="its Cache-Control says private, but users share its key"
        )
    age = _seconds(fields.get("age")) or 0
    limit = _seconds(found.get("s-maxage", found.get("max-age")))
    if limit is None and "expires" in fields:
        limit = _until(fields["expires"]) + age
    if limit is not None and limit - age < 1:
        return Lifetime(why_not="it is stale already, by its own headers")
    return Lifetime(ttl if limit is None else min(ttl, limit - age), age)


def entity_tag(body: bytes, *, weak: bool) -> str:
    """Return an entity tag, the same for the same bytes in every process."""
    return f'{"W/" if weak else ""}"{blake2b(body, digest_size=16).hexdigest()}"'


def answer_to(request: Fields, headers: Pairs, tags: Tags) -> tuple[int, RawHeaders]:
    """Return the status, 200 or 304, and headers with which a stored 200 answers."""
    known = _combined(request, "if-none-match") if tags != "none" else None
    has_it = known is not None and _names(known, dict(headers).get("etag", ""))
    kept = [h for h in headers if h[0] in _IN_304] if has_it else headers
    raw = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in kept]
    return 304 if has_it else 200, raw


def with_vary(value: str, more: Iterable[str] = ()) -> str:
    """Return a Vary that names these and the credentials besides what it names."""
    names = named_in(value)
    have = {name.lower() for name in names}
    wanted = dict.fromkeys([*sorted(more), *CREDENTIALS])
    return ", ".join([*names, *(n.title() for n in wanted if n not in have)])


def rarely_counts(header: str) -> bool:
    """Tell whether a request's header counts only where somebody looks for it."""
    return header in _RARE or header.startswith("x-b3-")


def named_in(value: str) -> list[str]:
    """Return the names in a field that lists some."""
    return [name.strip() for name in value.split(",") if name.strip()]


def pairs_of(headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Return raw headers as text, their names in lower case."""
    return tuple((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in headers)


def age_of(entry: Entry) -> int:
    """Return how old an entry is, in seconds."""
    return entry.age + max(0, int(time.time() - entry.stored_at))


def cache_status(parameters: Sequence[str]) -> bytes:
    """Return a Cache-Status field (RFC 9211) of this cache."""
    return "; ".join(("fastapi", *parameters)).encode("ascii", "replace")


def _combined(headers: Fields, name: str) -> str | None:
    """Return a field whole, however many lines it came in (RFC 9110 5.3)."""
    lines = headers.getlist(name)
    return ", ".join(lines) if lines else None


def _directives(text: str) -> dict[str, str]:
    return {name.lower(): value.strip('"') for name, value in _DIRECTIVE.findall(text)}


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    # RFC 9111 4.2.1: a value that cannot be read counts as stale.
    return int(text[:10]) if text.isascii() and text.isdigit() else 0


def _until(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date).timestamp() - time.time())
    except ValueError:  # RFC 9111 5.3: as if it had expired
        return 0


def _names(field: str, tag: str) -> bool:
    """Tell whether an If-None-Match has this tag, compared weakly (RFC 9110 8.8.3)."""
    own = tag.removeprefix("W/").strip('"')
    return field.strip() == "*" or own in _ENTITY_TAG.findall(field)
