"""What is made, and what is done to it: data, which Hypothesis draws and shrinks."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.oracle.source import Route, choices, code, mend, title

# What a request may vary in; the first value is the default.
ASPECTS: dict[str, list[Any]] = {
    "query": [
        "",
        *("page=1", "page=01", "page=2&size=5", "page=1&page=2", "size=10&page=1"),
        *("page=x", "term=a", "term=a%3Ab", "term=a:b", "term=%C3%A9", "term=a+b"),
        *("terms=a&terms=b", "terms=a,b", "terms=b&terms=a", "category=a:b"),
        *("category=a", "category=%2A", "raw=1", "raw=2", "user_id=2", "user_id=02"),
        *("user_id=3", "kind=b", "unknown=1", "user_id=99"),
    ],
    "item": ["1", "a:b", "a%3Ab", "%2A", "%25", "%C3%A9", "a%20b", "n:r0", "A", "a"],
    "who": ["ann", None, "bob", "ada", "key", "eve"],
    "tenant": [None, "acme", "globex"],
    "language": [None, "de", "en"],
    "theme": [None, "dark", "light"],
    "member": [None, "kim", "lee"],
    "host": ["service", "evil.example"],
    "control": [None, "no-cache", "no-store", "max-age=0", "max-age=60"],
    "condition": [None, "last", "list"],
    "method": ["GET", "HEAD"],
    "encoding": [None, "gzip"],
    "prefix": ["", "/v1"],
    "app": [0, 1],
}
# Which aspects and switches matter to what a route is made of: drawn more often.
MATTERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("header", "raw header", "state", "context"), ("tenant",)),
    **dict.fromkeys(("raw db", "reads header", "cached function"), ("tenant",)),
    **dict.fromkeys(("cookie", "raw cookie"), ("theme",)),
    **dict.fromkeys(("language", "state of a dependency"), ("language",)),
    **dict.fromkeys(("url", "host"), ("host",)),
    **dict.fromkeys(("denies", "security"), ("denied",)),
    **dict.fromkeys(("principal", "scopes", "admin"), ("who",)),
    "tenant db": ("tenant", "overrides"),
    "counts": ("overrides",),
    "scope user": ("member",),
    "requires": ("member", "expelled"),
    **dict.fromkeys(("rule", "edited rule"), ("who", "ruled out")),
    "application": ("app", "prefix"),
    "gzip": ("encoding",),
}
OWN_READS = [
    *("/users/me", "/users/", "/users/?page=1&size=2", "/users/?user_id=2"),
    *("/users/keys", "/users/keys/1", "/users/keys/by-user/2"),
    "/users/search?field=first_name&term=a",
]
SWITCHES = ["denied", "expelled", "ruled out", "overrides"]
# Requests to the service's own routes: who, method, path, data.
OWN_WRITES: dict[str, tuple[str, str, str, Any]] = {
    "rename": (
        *("ann", "PUT", "/users/{ann}"),
        {"email": "ann@example.com", "first_name": "Ann{n}", "last_name": "Lee"},
    ),
    "bad rename": (
        *("ann", "PUT", "/users/{ann}"),
        {"email": "bob@example.com", "first_name": "Taken", "last_name": "Lee"},
    ),
    "ban": ("ada", "POST", "/users/{bob}/ban", None),
    "unban": ("ada", "POST", "/users/{bob}/unban", None),
    "promote": ("ada", "POST", "/users/{bob}/make-admin", None),
    "make key": ("ann", "POST", "/users/keys", {"name": "k{n}"}),
    "narrow key": ("ann", "PATCH", "/users/keys/1", {"scopes": ["keys:read"]}),
    "switch key off": ("ann", "PATCH", "/users/keys/1", {"active": False}),
    "delete key": ("ann", "DELETE", "/users/keys/1", None),
    "delete bob": ("ada", "DELETE", "/users/{bob}", None),
    "logout": ("bob", "POST", "/logout/", None),
    "register": (
        *("anonymous", "POST", "/register/"),
        {
            "email": "eve@example.com",
            "password": "correct horse battery staple",
            "first_name": "Eve",
            "last_name": "Lee",
        },
    ),
}


@dataclass(frozen=True)
class Step:
    """An event; then a change of the request, which is sent some times."""

    event: tuple[str, str, int] | None = None  # kind, name, number
    change: tuple[str, Any] | None = None  # aspect, value
    times: int = 1
    together: bool = False
    race: tuple[str, int] | None = None  # a write while the first read is under way


@dataclass(frozen=True)
class Scenario:
    routes: list[Route] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    first: str = ""  # the path that the steps begin with
    around: list[str] = field(default_factory=list)  # middleware, an edited rule
    mounted: bool = False
    apps: int = 1
    without: list[str] = field(default_factory=list)  # routes that the start refused

    def named(self) -> list[tuple[str, Route]]:
        """The routes under their functions' names."""
        named = [(f"r{i}", route) for i, route in enumerate(self.routes)]
        return [(name, route) for name, route in named if name not in self.without]

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> "Scenario":
        def tuples(values: dict[str, Any]) -> dict[str, Any]:
            return {k: _tuple(v) for k, v in values.items()}

        routes = [Route(**tuples(each)) for each in data["routes"]]
        steps = [Step(**tuples(each)) for each in data["steps"]]
        return cls(**data | {"routes": routes, "steps": steps})

    def source(self) -> str:
        return "\n".join(code(name, route) for name, route in self.named())

    def choices(self) -> set[tuple[str, str]]:
        made = {choice for _, route in self.named() for choice in route.choices()}
        made |= {("around", name) for name in self.around}
        made |= {("mounted", "True")} if self.mounted else set()
        return made | {("apps", str(self.apps))}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(v) for v in value) if isinstance(value, list | tuple) else value


def _often(default: Any, others: list[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(default), st.just(default), st.sampled_from(others))


def routes(fixed: dict[str, Any], without: Collection[str]) -> st.SearchStrategy[Route]:
    """Routes, of which some fields may be fixed, and some choices left out."""
    drawn: dict[str, st.SearchStrategy[Any]] = {}
    for name, every in choices().items():
        values = [v for v in every if not any(word in title(v) for word in without)]
        if name in ("sees", "sets", "depends"):
            several = st.lists(st.sampled_from(values), max_size=2, unique=True)
            none = st.just(()) if name == "sets" else several.map(tuple)  # most forbid
            drawn[name] = st.one_of(none, none, several.map(tuple))
        else:
            drawn[name] = _often(values[0], values)
    drawn |= {name: st.just(value) for name, value in fixed.items()}
    return st.builds(Route, **drawn).map(mend)


@st.composite
def scenarios(
    draw: st.DrawFn,
    writes: list[str],
    reads: list[str],
    fixed: dict[str, Any],
    without: Collection[str] = (),
) -> Scenario:
    """Scenarios; `fixed` has fields of routes or of the scenario that do not vary."""
    of_routes = {k: v for k, v in fixed.items() if k in Route.__dataclass_fields__}
    made = draw(st.lists(routes(of_routes, without), min_size=1, max_size=2))
    needed = {"requires": "members", "scope user": "members", "state": "tenant"}
    used = {name for route in made for name in (route.above, *route.sees)}
    extra = draw(
        st.lists(st.sampled_from(["tenant", "edited rule", "gzip"]), max_size=1)
    )
    around = {needed[n] for n in used if n in needed} | {*fixed.get("around", extra)}
    drawn = {
        "around": sorted(a for a in around if not any(word in a for word in without)),
        "mounted": draw(_often(False, ["mounted" not in without])),
        "apps": draw(_often(1, [1 if "apps" in without else 2])),
    }
    drawn |= {name: fixed[name] for name in ("mounted", "apps") if name in fixed}
    scenario = Scenario(made, **drawn)
    reads = [path for path in reads if not any(word in path for word in without)]
    own = [p for i, route in enumerate(made) for p in route.paths(f"r{i}")]
    paths = st.one_of(st.sampled_from(own), st.sampled_from(own + reads))
    if named := fixed.get("paths"):
        paths = st.sampled_from(own if named == "own" else named)
    spaces = sorted({route.namespace for route in made if route.namespace})
    step = _steps(scenario, paths, writes, spaces)
    steps = [draw(step) for _ in range(draw(st.integers(1, 24)))]
    return replace(scenario, first=draw(paths), steps=steps)


def _steps(
    scenario: Scenario,
    paths: st.SearchStrategy[str],
    writes: list[str],
    spaces: list[str],
) -> st.SearchStrategy[Step]:
    names = {choice for _, choice in scenario.choices()}
    matter = {each for name in names for each in MATTERS.get(name, ())}
    drop = {"prefix"} if not scenario.mounted else set()
    drop |= {"app"} if scenario.apps == 1 else set()
    drop |= {"item"} if not any(route.item for route in scenario.routes) else set()
    aspects = {name: values for name, values in ASPECTS.items() if name not in drop}
    matter |= {"prefix", "app", "item"} | ({"method"} if scenario.mounted else set())
    words = [name.rpartition("raw ")[2] for name in names]
    fitting = [q for q in ASPECTS["query"] if q and q.partition("=")[0] in words]
    pairs = [(name, value) for name in aspects for value in aspects[name]]
    likely = [pair for pair in pairs if pair[0] in matter]
    likely += [("query", query) for query in fitting]
    number = st.integers(0, 9)
    change = st.one_of(
        st.tuples(st.just("path"), paths),
        st.sampled_from(likely or pairs),
        st.sampled_from(pairs),
    )
    kinds = {"switch": SWITCHES, "write": writes, "write later": writes}
    kinds |= {"own": [*OWN_WRITES], "restock": spaces or ["n"]}
    if scenario.apps == 2:
        kinds["stop"] = ["second"]
    events = [(kind, name) for kind in kinds for name in kinds[kind]]
    soon = [("switch", name) for name in SWITCHES if name in matter]
    soon += [("restock", name) for name in spaces if "stock" in names]
    event = st.one_of(st.sampled_from(soon or events), st.sampled_from(events))
    numbered = st.tuples(event, number).map(lambda drawn: (*drawn[0], drawn[1]))
    race = st.tuples(st.sampled_from(writes), number)
    return st.builds(
        Step,
        event=st.one_of(st.none(), st.none(), numbered),
        change=st.one_of(st.none(), change, change),
        times=st.sampled_from([1, 2, 2, 3, 5, 60]),
        together=_often(False, [True]),
        race=st.one_of(st.none(), st.none(), st.none(), race),
    )
