"""What "equal" means: of two runs of a scenario, without and with the cache."""

from collections import defaultdict
from typing import Any

# What the cache may add, and what differs between any two answers.
ADDED = {"x-fastapi-cache", "cache-status"}
DIFFERENT = {"date", "x-request-id"}
# What it may add only where the service itself sets none.
UNLESS_OWN = ("age", "etag", "cache-control")

Answer = dict[str, Any]
NONE: Answer = {"headers": []}
Pairs = list[tuple[str, str]]


class Comparison:
    """Compares step by step; remembers which body each entity tag stands for."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)

    def step(
        self, off: dict[str, Any], on: dict[str, Any], *, together: bool
    ) -> list[str]:
        found = []
        for part in ("event", "raced", "race"):
            if off[part]:
                found += [f"{part}: {text}" for text in self._pair(off[part], on[part])]
        reads = (off["reads"], on["reads"])
        if together:  # they may come in another order
            reads = (_sorted(off["reads"]), _sorted(on["reads"]))
        for a, b in zip(*reads, strict=True):
            found += self._pair(a, b)
        if off["ran"] != on["ran"]:
            names = sorted({*off["ran"], *on["ran"]})
            counted = [(n, off["ran"].get(n, 0), on["ran"].get(n, 0)) for n in names]
            found += [f"{n} ran {a} times: {b}" for n, a, b in counted if a != b]
        return list(dict.fromkeys(found))

    def _pair(self, off: Answer, on: Answer) -> list[str]:
        if on["status"] == 304 and off["status"] == 200:
            return self._not_modified(off, on)
        found = [
            f"{part} {_short(off[part])}: {_short(on[part])}"
            for part in ("broken", "status", "body")
            if off[part] != on[part] and (part, on["method"]) != ("body", "HEAD")
        ]
        expected, got = own_headers(off, off), own_headers(on, off)
        missing = [each for each in expected if each not in got]
        extra = [each for each in got if each not in expected]
        if on["method"] == "HEAD" and not (missing and extra):  # it may be left out
            missing = [each for each in missing if each[0] != "content-length"]
            extra = [each for each in extra if each[0] != "content-length"]
        if off["status"] != on["status"]:
            missing = extra = []  # another answer: enough is said
        if missing or extra:
            found.append(f"headers {missing}: {extra}")
        if not _vary(off) <= _vary(on):
            found.append(f"Vary {_vary(off)}: {_vary(on)}")
        tag = _tag(on)
        if tag and on["status"] == off["status"] == 200 and not _tag(off):
            encoding = dict(on["headers"]).get("content-encoding", "identity")
            bodies = self.bodies[on["path"], tag]
            bodies.add((encoding, off["body"]))
            if len(bodies) > 1 and not tag.startswith("W/"):
                found.append(f"{tag} is the strong tag of two bodies: {len(bodies)}")
        return found

    def _not_modified(self, off: Answer, on: Answer) -> list[str]:
        found = []
        bodies = {body for _, body in self.bodies[on["path"], _last(on["sent"])]}
        if not _tag(off) and off["body"] not in bodies:
            found.append(f"body {_short(off['body'])}: 304, not modified")
        expected, got = own_headers(off, off), own_headers(on, off)
        if extra := [each for each in got if each not in expected]:
            found.append(f"headers of 304: {extra}")
        return found


def own_headers(answer: Answer, off: Answer) -> Pairs:
    """The headers that the cache does not answer for."""
    theirs = {name for name, _ in off["headers"]}
    ignored = ADDED | DIFFERENT | {"vary"} | {n for n in UNLESS_OWN if n not in theirs}
    return [(n, value) for n, value in answer["headers"] if n not in ignored]


def is_hit(answer: Answer) -> bool:
    return dict(answer["headers"]).get("x-fastapi-cache") == "HIT"


def _sorted(answers: list[Answer]) -> list[Answer]:
    return sorted(answers, key=lambda a: (a["status"], a["body"], own_headers(a, NONE)))


def _tag(answer: Answer) -> str | None:
    return dict(answer["headers"]).get("etag")


def _last(sent: str | None) -> str:
    return (sent or "").rpartition(", ")[2]


def _vary(answer: Answer) -> set[str]:
    named = [value for name, value in answer["headers"] if name == "vary"]
    return {each.strip().lower() for value in named for each in value.split(",")}


def _short(value: Any) -> str:
    text = str(value) or "none"
    return text if len(text) < 300 else text[:300] + "…"
