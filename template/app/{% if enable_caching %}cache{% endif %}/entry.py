"""What the cache stores under one key, and its form as bytes.

An entry is a final HTTP response, or the encoded value of a function that is no
route. The form is ours (a header, a JSON description, the body), holds no code and
is checked when it is read: whatever is garbled, truncated, foreign or of another
format version is no entry, so it is a miss.
"""

import json
import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

_MAGIC = b"fastcache\x01"
_END_OF_TIME = 1e11
_Pairs = tuple[tuple[str, str], ...]
_Head = tuple[tuple[str, ...], str, float, float, int, _Pairs, _Pairs]
_dump = json.JSONEncoder(separators=(",", ":")).encode
_FRAME = struct.Struct(f">{len(_MAGIC)}sIII")


class Entry(NamedTuple):
    """A stored response (or value, with status 0).

    `tokens` are the versions that the entry's namespaces had before its handler ran;
    `stored_at` and `expires_at` are seconds since the epoch; `varies` holds the
    request headers that the response's `Vary` names, with digests of their values.
    """

    tokens: tuple[str, ...]
    fingerprint: str
    stored_at: float
    expires_at: float
    status: int
    headers: _Pairs
    varies: _Pairs
    body: bytes

    def encode(self) -> bytes:
        """Return the entry as bytes."""
        about = _dump(self[:-1]).encode()
        check = zlib.crc32(self.body, zlib.crc32(about))
        frame = _FRAME.pack(_MAGIC, check, len(about), len(self.body))
        return _Encoded(b"".join((frame, about, self.body)))


class _Encoded(bytes):
    """Bytes that this process made, and that have not left it: there is no damage."""

    __slots__ = ()


def decode(data: bytes | None) -> Entry | None:
    """Return the entry that `data` holds, or None when it holds none."""
    if data is None or len(data) < _FRAME.size:
        return None
    magic, check, about_size, body_size = _FRAME.unpack_from(data)
    if magic != _MAGIC or len(data) != _FRAME.size + about_size + body_size:
        return None
    about = data[_FRAME.size : _FRAME.size + about_size]
    body = data[_FRAME.size + about_size :]
    if type(data) is not _Encoded and zlib.crc32(body, zlib.crc32(about)) != check:
        return None
    head = _head(about)
    return None if head is None else Entry(*head, body)


@lru_cache(maxsize=1024)
def _head(about: bytes) -> _Head | None:
    """Return all fields but the body, or None; kept for the next hit."""
    try:
        tokens, fingerprint, stored, expires, status, headers, varies = json.loads(
            about
        )
        # The checksum keeps damage out, not a stranger's own idea of an entry.
        "".join(text for pair in headers for text in pair).encode("latin-1")
        if not 0 <= stored < expires < _END_OF_TIME:
            return None
        return (
            tuple(tokens),
            fingerprint,
            float(stored),
            float(expires),
            int(status),
            tuple((name, value) for name, value in headers),
            tuple((name, value) for name, value in varies),
        )
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return None
