"""The dimensions of a route, and the Python code of a scenario's routes.

Each choice is a line of a table: a new situation is a new line.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

PREAMBLE = """\
from collections.abc import AsyncIterable, Iterable
from functools import partial
from typing import Annotated, Any
from fastapi import (
    APIRouter, BackgroundTasks, Cookie, Depends, Header, HTTPException, Query, Request,
    Response, Security,
)
from fastapi.responses import (
    JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse,
)
from starlette.authentication import requires
from app.cache import (
    api_keys_list_key_builder, cached, paginated_key_builder, shared_key_builder,
    user_scoped_key_builder, users_list_key_builder,
)
from app.managers.auth import AuthManager, CurrentUser
from tests.oracle.parts import *

"""

# What the handler looks at: its parameter, and what it answers of it.
SEES = {
    "page": ("page: int = 1, size: int = 10", "[page, size]"),
    "term": ('term: str = ""', "term"),
    "terms": ("terms: Annotated[list[str], Query()] = []", "terms"),
    "user_id": ("user_id: int | None = None", "user_id"),
    "header": ('x_tenant: Annotated[str, Header()] = "-"', "x_tenant"),
    "cookie": ('theme: Annotated[str, Cookie()] = "-"', "theme"),
    "raw query": ("request: Request", 'request.query_params.get("raw")'),
    "raw header": ("request: Request", 'request.headers.get("x-tenant")'),
    "raw cookie": ("request: Request", 'request.cookies.get("theme")'),
    "language": ("request: Request", 'request.headers.get("accept-language")'),
    "state": ("request: Request", 'getattr(request.state, "tenant", None)'),
    "state of a dependency": (
        "request: Request",
        'getattr(request.state, "language", None)',
    ),
    "context": ("", "tenant_now.get()"),
    "scope user": (
        "request: Request",
        'str(getattr(request.scope.get("user"), "username", None))',
    ),
    "url": ("request: Request", 'str(request.url_for("me"))'),
    "host": ("request: Request", "request.url.hostname"),
    "application": ("request: Request", "[request.app.title, request.app.state.site]"),
    "principal": ("user: CurrentUser", "[user.email, user.first_name, user.last_name]"),
    "tenant db": ("db: Annotated[Db, Depends(tenant_db)]", "db.schema"),
    "raw db": ("db: Annotated[Db, Depends(raw_db)]", "db.schema"),
    "stock": ("", "stock[{namespace}]"),
}

# How it answers: for the route's decorator, the annotation, the result.
ANSWERS = {
    "dict": ("", "", "{data}"),
    "any": ("", " -> Any", "{data}"),
    "filtering model": (", response_model=Public", " -> Any", "{data}"),
    "filtering annotation": ("", " -> Public", "Full(**{data})"),
    "unannotated filter": (", response_model=list[Public]", "", "[{data}]"),
    "alias": (", response_model=Aliased", "", "{data}"),
    "model": ("", " -> Full", "Full(**{data})"),
    "list": ("", " -> list[Full]", "[Full(**{data})]"),
    "none": ("", " -> None", "None"),
    "text": ("", " -> str", "repr({data})"),
    "status code": (", status_code=202", " -> Any", "{data}"),
    "JSONResponse": (
        "",
        " -> Any",
        'JSONResponse({data}, headers={{"X-Own": "1"}})',
    ),
    "created": ("", " -> Any", "JSONResponse({data}, 201)"),
    "missing": ("", " -> Any", "JSONResponse({data}, 404)"),
    "PlainTextResponse": ("", " -> Response", "PlainTextResponse(repr({data}))"),
    "redirect": ("", " -> Response", 'RedirectResponse("/elsewhere")'),
    "stream": ("", " -> Response", "StreamingResponse(iter([repr({data})]))"),
    "yield": ("", " -> {iterable}[Full]", "yield Full(**{data})"),
}

# What it does to the response, or beside it.
SETS = {
    "header": ("response: Response", 'response.headers["X-Name"] = "own"'),
    "status": ("response: Response", "response.status_code = 203"),
    "cookie": ("response: Response", 'response.set_cookie("c", "1")'),
    "private": ("response: Response", 'response.headers["Cache-Control"] = "private"'),
    "no-store": (
        "response: Response",
        'response.headers["Cache-Control"] = "no-store"',
    ),
    "max-age": (
        "response: Response",
        'response.headers["Cache-Control"] = "max-age=0, must-revalidate"',
    ),
    "etag": ("response: Response", 'response.headers["ETag"] = \'"own"\''),
    "vary": ("response: Response", 'response.headers["Vary"] = "X-Tenant"'),
    "task": (
        "tasks: BackgroundTasks",
        'tasks.add_task(ran, "handler\'s background")',
    ),
    "fails": ("", 'raise HTTPException(404, "gone")'),
}

KEYS = {
    "default": "",
    "shared": ", key_builder=shared_key_builder",
    "paginated": ", key_builder=paginated_key_builder",
    "user": ", key_builder=user_scoped_key_builder",
    "users list": ", key_builder=users_list_key_builder",
    "api keys": ", key_builder=api_keys_list_key_builder",
    "by category": ", key_builder=by_category",
    "by page": ", key_builder=by_page",
}

# What the handler of a route with a builder of the owner's may look at.
OWN_KEYS: dict[str, tuple[str, ...]] = {"by category": (), "by page": ("page",)}

ABOVE = {
    "quota": '@quota("{name}", 4)',
    "adds": "@adds",
    "requires": '@requires("member")',
}

DEPENDS = {
    "counts": "Depends(counts)",
    "denies": "Depends(denies)",
    "sets header": "Depends(sets_header)",
    "sets cookie": "Depends(sets_cookie)",
    "reads header": "Depends(reads_header)",
    "yields": "Depends(yields)",
    "background": "Depends(background)",
    "context": "Depends(context_tenant)",
    "sets state": "Depends(sets_state)",
    "cached function": "Depends(uses_function)",
    "rule": "Depends(Rule())",
    "scopes": 'Security(AuthManager("profile:read"))',
    "security": 'Security(scoped, scopes=["a", "b"])',
    "admin": "Depends(AuthManager(admin=True))",
}
# A sight that is made by a dependency.
NEEDS = {"context": "context", "state of a dependency": "sets state"}
PLACES = ["route", "router", "application"]

# How the handler is made; all but the first two have a second path.
FORMS = ["async", "sync", "two models", "same name", "method", "partial", "called"]


@dataclass(frozen=True)
class Route:
    form: str = "async"
    answer: str = "dict"
    key: str = "default"
    namespace: str | None = "n"
    sees: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    above: str | None = None
    depends: tuple[tuple[str, str], ...] = ()  # place, dependency
    route_class: bool = False
    item: bool = False  # has a path parameter

    def paths(self, name: str) -> list[str]:
        second = [] if self.form in ("async", "sync") else [f"/{name}b"]
        return [f"/{name}", *second]

    def choices(self) -> list[tuple[str, str]]:
        """What it is made of, other than the defaults."""
        made = []
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                made += [(field.name, title(each)) for each in value]
            elif value != field.default:
                made.append((field.name, title(value)))
        return made


def title(choice: Any) -> str:
    return str(choice[1] if isinstance(choice, tuple) else choice)


def mend(route: Route) -> Route:
    """Leave out what an owner could not mean, and add what it needs."""
    sees, sets, form, answer = route.sees, route.sets, route.form, route.answer
    depends = route.depends
    for sight, needed in NEEDS.items():
        if sight in sees and needed not in [name for _, name in depends]:
            depends = (*depends, ("route", needed))
    if route.key in ("user", "api keys") and "principal" not in sees:
        sees = (*sees, "principal")
    item = route.item
    if route.key in OWN_KEYS:  # whoever writes a builder names all that matters
        sees, item = OWN_KEYS[route.key], False
        form = "async" if form in ("partial", "called") else form
    if route.namespace is None:  # what could be invalidated?
        sees = tuple(name for name in sees if name != "stock")
    if route.above and form == "called":
        form = "async"
    if form == "called" or answer == "yield":
        sets = tuple(name for name in sets if name == "fails")
        sees = tuple(name for name in sees if "request" not in SEES[name][0])
        if form == "called":
            sees = tuple(n for n in sees if SEES[n][0].count("Annotated") == 0)
            sees = tuple(name for name in sees if name != "principal")
            if route.key in ("user", "api keys"):
                form = "async"
                sees = (*sees, "principal")
            answer = "dict" if answer == "yield" else answer
    return replace(
        route,
        sees=sees,
        sets=sets,
        form=form,
        answer=answer,
        depends=depends,
        item=item,
    )


def code(name: str, route: Route) -> str:
    """The route as its owner would have written it."""
    decorator, annotation, result = ANSWERS[route.answer]
    places = {place: _dependencies(route, place) for place in PLACES}
    path, *second = route.paths(name)
    if route.item:
        path, second = f"{path}/{{item}}", [f"{p}/{{item}}" for p in second]
    parameters = [SEES[s][0] for s in route.sees] + [SETS[s][0] for s in route.sets]
    seen = ", ".join(SEES[s][1] for s in route.sees)
    seen = seen.replace("{namespace}", repr(route.namespace))
    if route.item:
        parameters.insert(0, "item: str")
        seen = f"item, {seen}"
    if route.above == "requires" or (route.key == "by category"):
        parameters.append("request: Request")
    if route.key == "by category":
        parameters.append('category: str = "all"')
        seen = "category"
    if route.form == "partial":
        parameters.append('kind: str = ""')
        seen = f"kind, {seen}"
    title = "self.title" if route.form == "method" else repr(name)
    asynchronous = "" if route.form == "sync" else "async "
    data = f"answer({title}, {seen})"
    result = result.format(data=data)
    annotation = annotation.format(
        iterable="AsyncIterable" if asynchronous else "Iterable"
    )
    arguments = f"namespace={route.namespace!r}{KEYS[route.key]}"
    decorators = [f"@cached({arguments.removeprefix('namespace=None').lstrip(', ')})"]
    if route.above:
        decorators.insert(0, ABOVE[route.above].format(name=name))
    parameters.sort(key=lambda parameter: " = " in parameter)
    signature = ", ".join(dict.fromkeys(p for p in parameters if p))
    body = [
        f'ran("handler {name}")',
        "await pause()" if asynchronous else "wait()",  # so that others come meanwhile
        *(SETS[s][1] for s in route.sets),
        result if route.answer == "yield" else f"return {result}",
    ]

    def function(called: str, lines: list[str]) -> list[str]:
        opening = f"{asynchronous}def {called}({signature}){annotation}:"
        return [*decorators, opening, *("    " + line for line in lines)]

    def routed(at: str, models: str = decorator) -> str:
        return f'@router_{name}.get("{at}"{models}{places["route"]})'

    handler = name if route.form != "method" else "show"
    lines = function(handler, body)
    route_class = ", route_class=Counted" if route.route_class else ""
    made = [
        f"router_{name} = APIRouter({_arguments(places['router'], route_class)})",
        f"include(router_{name}{places['application']})",
    ]
    match route.form:
        case "async" | "sync":
            made += [routed(path), *lines]
        case "two models":
            other = ", response_model=None"
            if "response_model=list" in decorator:
                other = ", response_model=list[Full]"
            elif route.answer in ("dict", "any", "filtering model", "status code"):
                other = ", response_model=Full"
                decorator = ", response_model=Public"
            made += [routed(second[0], other), routed(path, decorator), *lines]
        case "same name":
            other = f"answer('{name}b'"
            again = [line.replace(f"answer('{name}'", other) for line in lines]
            made += [routed(path), *lines, routed(second[0]), *again]
        case "partial":
            for at, kind in ((path, "a"), (second[0], "b")):
                added = f'"{at}", partial({name}, kind="{kind}"){decorator}'
                lines.append(f"router_{name}.add_api_route({added}{places['route']})")
            made += lines
        case "called":
            names = [p.split(":")[0] for p in signature.split(", ") if p]
            call = f"await {name}({', '.join(f'{n}={n}' for n in names)})"
            outer = f'return {{"outer": {call}}}'
            if "Response" in annotation or "Response" in result:
                outer = f"return {call}"
            opening = f"async def {name}_outer({signature}) -> Any:"
            made += [routed(path), *lines, routed(second[0], ""), opening]
            made += [f"    {outer}"]
        case "method":
            signature = f"self, {signature}".rstrip(", ")
            lines = ["    " + line for line in function("show", body)]
            added = f"path, self.show{decorator}{places['route']}"
            made += [f"class Shop_{name}:", "    def __init__(self, title, path):"]
            made += ["        self.title = title"]
            made += [f"        router_{name}.add_api_route({added})", *lines]
            made += [f'Shop_{name}("a", "{path}"); Shop_{name}("b", "{second[0]}")']
    return "\n".join(made) + "\n"


def _dependencies(route: Route, place: str) -> str:
    found = [DEPENDS[name] for where, name in route.depends if where == place]
    return f", dependencies=[{', '.join(found)}]" if found else ""


def _arguments(*texts: str) -> str:
    return "".join(texts).removeprefix(", ")


def choices() -> dict[str, list[Any]]:
    """For each field of a Route what it may hold, the default first."""
    return {
        "form": FORMS,
        "answer": [*ANSWERS],
        "key": [*KEYS],
        "namespace": ["n", None, "n:1", "user", "o'b:é *"],
        "sees": [*SEES],
        "sets": [*SETS],
        "above": [None, *ABOVE],
        "depends": [(place, name) for name in DEPENDS for place in PLACES],
        "route_class": [False, True],
        "item": [False, True],
    }
