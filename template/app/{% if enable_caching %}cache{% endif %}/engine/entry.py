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
"""

import hmac
import json
import secrets
from functools import lru_cache
from hashlib import blake2b
from string import Formatter
from typing import NamedTuple

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
