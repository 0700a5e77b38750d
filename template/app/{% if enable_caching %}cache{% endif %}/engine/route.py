"""How a cached route is answered, between FastAPI's dependencies and its handler.

While the application runs, what FastAPI calls as the handler is a `CachedRoute`. So all
that stands before it has run, and only the handler and its providers are left out.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from inspect import isawaitable, iscoroutinefunction
from itertools import zip_longest
from types import MethodType
from typing import Any

from fastapi import BackgroundTasks, Request, Response, routing
from fastapi.concurrency import run_in_threadpool
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import solve_dependencies
from fastapi.routing import APIRoute, RouteContext, request_response
from pydantic import PydanticSchemaGenerationError, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from starlette.responses import FileResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.cache.engine.cache import Found, Wanted, outside
from app.cache.engine.entry import (
    RETURNED,
    Entry,
    Fields,
    Pairs,
    RawHeaders,
    age_of,
    answer_to,
    directives_of,
    named_in,
)
from app.cache.engine.exchange import (
    SCOPE_KEY,
    Exchange,
    RecordedState,
    Run,
    Serving,
    exchange_of,
    identity_of,
    looked_at,
    put_by_run,
    raw_request,
    read_by_name,
)
from app.cache.engine.middleware import Recorder
from app.cache.engine.policy import (
    CachePolicy,
    KeyFailed,
    Unstable,
    digest,
    outline,
    stable,
    stable_items,
)
from app.cache.engine.providers import (
    deferred,
    is_check,
    is_provider,
    names_of,
    nodes_of,
    params_of,
    sight_of,
)
from app.cache.engine.ticket import admit

_CONNECTION, _RESPONSE, _TASKS = "cache_connection", "cache_response", "cache_tasks"
_MOST_LEARNED = 16  # headers and states that a route's answers may depend on
# What of a route's declaration changes the bytes of its answers.
_FORM = (
    *("path", "status_code", "response_class", "response_model_include"),
    *("response_model_exclude", "response_model_by_alias"),
    *("response_model_exclude_unset", "response_model_exclude_defaults"),
    "response_model_exclude_none",
)


class CachedRoute:
    """One cached route of an application, from `begin` to `end`.

    Where a coder or another decorator stands between, or the route has a class or an
    application of its own, what the handler returns is cached in place of the response.
    """

    def __init__(
        self, policy: CachePolicy, route: RouteContext, *, by_host: bool
    ) -> None:
        self.policy = policy
        self._by_host = by_host
        self.route = route
        # There is no public way to these. AttributeError: it is another FastAPI.
        private: Any = routing
        self._in_context = private._effective_route_context_var
        self._limited = private.wrap_app_with_body_limit
        self._target: Any = route._effective_route
        self._dependant: Dependant = route.dependant
        self._endpoint = self._dependant.call or policy.function
        function = getattr(self._endpoint, "__func__", self._endpoint)
        # A class of the owner's, or what is put around the route's application, may
        # work on the response: it is made anew each time.
        app = getattr(self._target, "app", None)
        around = not app.__module__.startswith("fastapi.")
        plain = type(route.original_route) is APIRoute and not around
        self._direct = plain and policy.coder is None and function is policy.wrapper
        self.sight = sight_of(self._dependant)
        self._told_who = self.sight.told
        headers = names_of(self._dependant.header_params, self.sight)
        self._waiting = deferred(self._dependant) if self._direct else []
        early = [d for d in self._dependant.dependencies if d not in self._waiting]
        # Whether what runs before the handler is no more than a check.
        self._only_checks = not self._told_who and all(
            is_check(each.call) for each in early
        )
        self._early = False  # whether the key builder needs the providers, too
        self._declared = {p.name for p in params_of(self._dependant)}
        self._calls = {node.call for node in nodes_of(self._dependant)}
        # What makes a response by the request is not known by its bytes.
        made_by = getattr(route.response_class, "value", route.response_class)
        self._own_response = made_by is not None and not _is_plain(made_by)
        self._found = {
            child.name
            for child in self._dependant.dependencies
            if child.name and not is_provider(child.call) and not is_check(child.call)
        }
        vary = {name.lower() for name in policy.vary or ()}
        self._named = self.sight.headers | {n.lower() for n in headers} | vary
        self._learned: set[str] = set()  # names of headers, and of states of middleware
        self._undo: list[tuple[object, str, object]] = []

    @cached_property
    def _about(self) -> list[Any]:
        """What is part of each key: the function, and the form of its answers."""
        form = [_written(getattr(self.route, name)) for name in _FORM]
        return [self.policy.name, self.policy.code, *form, _schema(self.route)]

    def begin(self) -> None:
        """Take the handler's place."""
        dependant, function = self._dependant, self.policy.function
        self._connection = dependant.http_connection_param_name or _CONNECTION
        self._response = dependant.response_param_name or _RESPONSE
        self._tasks = dependant.background_tasks_param_name or _TASKS
        self._set(dependant, "http_connection_param_name", self._connection)
        self._set(dependant, "response_param_name", self._response)
        self._set(dependant, "background_tasks_param_name", self._tasks)
        self._set(dependant, "call", self._answer if self._direct else self._enter)
        needed = [d for d in dependant.dependencies if d not in self._waiting]
        self._set(dependant, "dependencies", needed)
        app: ASGIApp = self._target.app
        if self._direct and not iscoroutinefunction(function):
            app = self._awaited()
        watched = self.sight.raw and self.policy.vary is None
        self._set(self._target, "app", _recorded(app, watched=watched))

    def end(self) -> None:
        """Give it back."""
        while self._undo:
            setattr(*self._undo.pop())

    def _set(self, thing: object, name: str, value: object) -> None:
        self._undo.append((thing, name, getattr(thing, name)))
        setattr(thing, name, value)

    def _awaited(self) -> ASGIApp:
        """Return the route's application anew: FastAPI calls a `def` in a thread.

        There each request that waits would keep one.
        """
        original: Any = self.route.original_route
        context = None if self._target is original else self._target
        token = self._in_context.set(context)
        try:
            handler = original.get_route_handler()
        finally:
            self._in_context.reset(token)
        app: ASGIApp = self._limited(
            request_response(handler), self._target.max_body_size
        )
        return app

    def _enter(self, /, **values: Any) -> Any:
        """Call the handler through what stands above `@cached`."""
        request, response, exchange = self._taken(values)
        if exchange is not None and not self._bypasses(exchange, request, response):
            self._learned |= looked_at(exchange)
            exchange.serving = Serving(
                exchange,
                self.policy,
                request,
                partial(self._variant_of, exchange, request, values),
            )
        return self._endpoint(**values)

    async def _answer(self, /, **values: Any) -> Any:
        """Return what the cache has, or run the handler."""
        request, response, exchange = self._taken(values)
        if exchange is None or self._bypasses(exchange, request, response):
            return await self._run(request, values)
        if self._only_checks:
            exchange.reading.use_nothing()
        if self._early:
            values |= await self._made(request)
        cache = exchange.cache
        try:
            key = await self._key(request, values)
            self._learned |= looked_at(exchange)
            told = self._told(exchange, request, values)
            self._variant(exchange, told)
        except (KeyFailed, Unstable) as error:
            exchange.bypass_unkeyed(self.policy, error)
            return await self._run(request, values)

        def place() -> str:
            return cache.place(key, self._variant(exchange, told))

        directives, fresh = directives_of(exchange.headers), response.headers.raw
        set_now = {name.decode("latin-1").lower() for name, _ in fresh}

        begun = [work for work in outside.get() if not work.ended]
        works = [*exchange.reading.under_way, *begun]
        own = set[str]().union(*(work.changes() for work in works))

        def accepts(entry: Entry) -> bool:
            if not own.isdisjoint(entry.versions):
                return False  # it lacks what this request has changed
            # A header that a dependency set now could be one that the handler changed.
            return directives.accepts(entry) and (
                entry.status == RETURNED
                or (
                    entry.status == 200
                    and set_now.isdisjoint(name for name, _ in entry.headers)
                )
            )

        wanted = Wanted(
            key,
            place,
            self.policy.expire or cache.settings.cache_default_ttl,
            exchange.reading,
            self.policy.tables,
            accepts,
            fresh=directives.no_cache,
            # What a middleware has begun may read what was there before the versions.
            storable=False if begun else None,
        )
        try:
            known = await cache.find(wanted)
            found = (
                known if isinstance(known, Found) else await admit(cache, wanted, known)
            )
        except Unstable as error:  # a run that it waited for told what counts, too
            exchange.bypass_unkeyed(self.policy, error)
            return await self._run(request, values)
        exchange.found(found, fresh=wanted.fresh)
        if isinstance(found, Found):
            return _replay(exchange, found, fresh)
        if directives.only_if_cached:
            return await exchange.refuse_to_run(found)
        told_who = self._told_who or self.policy.names_who_asks
        exchange.run = Run(
            self.policy,
            found,
            partial(self._place_of, exchange, place),
            list(fresh),
            shared=not told_who or identity_of(request) == "public",
            varies={
                name
                for name in self._named | self._learned
                if name != "*" and not name.startswith("state.")
            },
        )
        exchange.reading.forget()
        return await self._run(request, values, exchange.run)

    def _taken(
        self, values: dict[str, Any]
    ) -> tuple[Request, Response, Exchange | None]:
        """Return what FastAPI hands us beside the handler's own parameters."""
        take = {True: values.pop, False: values.__getitem__}
        request: Request = take[self._connection == _CONNECTION](self._connection)
        response: Response = take[self._response == _RESPONSE](self._response)
        tasks: BackgroundTasks = take[self._tasks == _TASKS](self._tasks)
        exchange = exchange_of(request)
        if exchange is not None:
            exchange.response, exchange.tasks = response, tasks
            # A middleware further in may have changed them.
            exchange.headers = Fields(request.scope)
        return request, response, exchange

    def _bypasses(
        self, exchange: Exchange, request: Request, response: Response
    ) -> bool:
        """Tell whether the cache has to be left out for this request; say why."""
        if request.method != "GET":
            return True
        headers = exchange.headers
        has_body = (
            exchange.received
            or "transfer-encoding" in headers
            or headers.get("content-length", "0") != "0"
        )
        if directives_of(headers).no_store or "range" in headers or has_body:
            exchange.settle("BYPASS", "fwd=bypass")
            return True
        overridden = self._target.dependency_overrides_provider
        replaced = getattr(overridden, "dependency_overrides", {})
        if not self._calls.isdisjoint(replaced):
            exchange.bypass(self.policy, "override", "a dependency is overridden")
            return True
        if response.status_code is not None:
            exchange.bypass(self.policy, "status", "a dependency sets the status")
            return True
        return False

    async def _key(self, request: Request, values: dict[str, Any]) -> str:
        try:
            return await self.policy.key(request, (), values)
        except KeyFailed:
            if self._early or not self._waiting:
                raise
            self._early = True  # an own builder may ask for what a provider makes
            values |= await self._made(request)
            return await self.policy.key(request, (), values)

    def _told(
        self, exchange: Exchange, request: Request, values: Mapping[str, Any]
    ) -> str:
        """Return what tells a request from others that have the same key.

        Raises Unstable where nothing does.
        """
        sight, headers = self.sight, exchange.headers
        scope, own = request.scope, stable_items(values)
        told: list[Any] = [self._about, scope.get("root_path", ""), own]
        names = self._named | ({"host"} if self._by_host else set())
        told.append([[name, headers.getlist(name)] for name in sorted(names)])
        if sight.cookies:
            told.append([[n, request.cookies.get(n)] for n in sorted(sight.cookies)])
        if sight.query:
            told.append(scope["query_string"].decode("latin-1"))
        told.append({n: str(v) for n, v in request.path_params.items()})
        told.append({n: outline(values[n]) for n in self._found if n not in own})
        if any(n in values and n not in own for n in self._declared):
            told.append(raw_request(request, exchange))
        if self._told_who:
            told.append(identity_of(request))
        if sight.raw:
            all_of_them = self.policy.vary is None
            told.append(raw_request(request, exchange, headers_too=all_of_them))
        return digest(told, exchange.cache.secret)

    def _variant_of(
        self,
        exchange: Exchange,
        request: Request,
        values: Mapping[str, Any],
        given: Mapping[str, Any],
    ) -> str:
        """Return what tells a call from others, once decorators have done theirs."""
        told = self._told(exchange, request, {**values, **given})
        exchange.state.begin()
        return self._variant(exchange, told)

    def _variant(self, exchange: Exchange, told: str) -> str:
        """Return that, and what the answers were found to depend on besides."""
        if not self._learned:
            return told
        if len(self._learned) > _MOST_LEARNED:
            raise Unstable("too many headers")
        more = read_by_name(self._learned, exchange)
        return digest([told, more], exchange.cache.secret)

    def _place_of(
        self, exchange: Exchange, place: Callable[[], str], headers: Pairs
    ) -> str | None:
        """Return where an answer belongs, now that its run told what it depends on."""
        varies = ", ".join(value for name, value in headers if name == "vary")
        self._learned |= looked_at(exchange)
        self._learned |= {name.lower() for name in named_in(varies)}
        try:
            return place()
        except Unstable as error:
            exchange.unstored(self.policy, f"it depends on {error}")
            return None

    async def _made(self, request: Request) -> dict[str, Any]:
        """Make what the handler's providers make."""
        solved = await solve_dependencies(
            request=request,
            dependant=Dependant(dependencies=self._waiting, path=self._dependant.path),
            dependency_overrides_provider=self._target.dependency_overrides_provider,
            async_exit_stack=request.scope["fastapi_inner_astack"],
            embed_body_fields=False,
        )
        return solved.values

    async def _run(
        self, request: Request, values: dict[str, Any], run: Run | None = None
    ) -> Any:
        """Run the handler; say whether sending the same bytes again does all it did."""
        if self._waiting and not self._early:
            values |= await self._made(request)
        function: Callable[..., Any] = self.policy.function
        if isinstance(self._endpoint, MethodType):
            function = MethodType(function, self._endpoint.__self__)
        exchange = exchange_of(request) if run is not None else None
        put: list[Any] = []
        if exchange is not None:
            exchange.state.begin()
            put = put_by_run(request.scope, exchange)
        if iscoroutinefunction(self.policy.function):
            result = await function(**values)
        else:
            result = await run_in_threadpool(function, **values)
        if isawaitable(result):  # of a wrapper that is no coroutine function itself
            result = await result
        again = exchange is None or put_by_run(request.scope, exchange) == put
        if run is not None:
            run.status = 200
            request.scope["fastapi_inner_astack"].push(run.end)
        if isinstance(result, Response):
            once = isinstance(result, FileResponse | StreamingResponse)
            again = again and not once and result.background is None
            again = again and _is_plain(type(result))
            if run is not None:  # FastAPI sends it without what dependencies set
                run.status, run.fresh = RETURNED, []
        elif self._own_response:
            again = False
        elif exchange is not None and run is not None and not _keeps(exchange, run):
            run.ticket.why_not = "its handler and a dependency both set a header"
        if run is not None and not again:
            run.ticket.why_not = (
                "it does more than to answer: a task, a file, a stream, a response of "
                "its own kind, or it changes the session or the request's state"
            )
        return result


def _written(value: Any) -> Any:
    """Return a part of a route's declaration as it is in every process."""
    value = getattr(value, "value", value)  # of a default
    return repr(value) if isinstance(value, type) else stable(value)


def _is_plain(kind: Any) -> bool:
    """Tell whether responses of a kind are sent as they are, whoever asks."""
    own: Any = getattr(kind, "__call__", None)  # noqa: B004 - that of its class
    return getattr(own, "__module__", "").partition(".")[0] in ("starlette", "fastapi")


def _keeps(exchange: Exchange, run: Run) -> bool:
    """Tell whether the handler has left alone the headers that dependencies set."""
    fresh, now = run.fresh, exchange.response.headers.raw
    own = {name for name, _ in now[len(fresh) :]}
    same = zip_longest(now[: len(fresh)], fresh)  # an equal one may be another tomorrow
    return all(a is b for a, b in same) and own.isdisjoint(name for name, _ in fresh)


def is_served(route: RouteContext) -> bool:
    """Tell whether another application that runs has this very route."""
    return isinstance(getattr(route.dependant.call, "__self__", None), CachedRoute)


class _Replay(Response):
    """A response that is complete: nothing is rendered, nothing worked out."""

    def __init__(self, status: int, headers: RawHeaders, body: bytes) -> None:
        self.status_code = status
        self.raw_headers = headers
        self.body = body
        self.background = None


def _replay(exchange: Exchange, found: Found, fresh: RawHeaders) -> Response:
    """Return the response that an entry holds, as an answer to this request."""
    status, headers = answer_to(exchange.headers, found.entry.headers, exchange.tags)
    body = found.entry.body if status == 200 else b""
    if status != 304:
        headers.append((b"content-length", b"%d" % len(body)))
    if not found.collapsed:
        headers.append((b"age", b"%d" % age_of(found.entry)))
    if found.entry.status != RETURNED:
        headers += fresh
    return _Replay(status, headers, body)


def _recorded(app: ASGIApp, *, watched: bool) -> ASGIApp:
    async def recorded(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = scope.get(SCOPE_KEY)
        if not isinstance(exchange, Exchange):
            await app(scope, receive, send)
            return
        recorder = Recorder(exchange, send)
        if watched:
            exchange.watch_headers(scope)
        first = scope.setdefault("state", {})
        exchange.state = scope["state"] = RecordedState(first)
        try:
            await app(scope, exchange.watch_body(receive), recorder.send)
        finally:
            if scope.get("state") is exchange.state:
                scope["state"] = first
            await recorder.close()

    return recorded


def _schema(route: RouteContext) -> str:
    field = route.response_field
    if field is None:
        return ""
    try:
        schema = TypeAdapter(field.field_info.annotation).json_schema(
            mode="serialization"
        )
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema):
        return repr(field.field_info.annotation)
    return repr(schema)
