"""The limit within FastAPI: same routes, same dependencies, a `Response` made once."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Response
from pydantic import TypeAdapter

from benchmarks.apps import work

any_value: TypeAdapter[Any] = TypeAdapter(Any)


class Prebuilt(work.Cache):
    def cached(self, group: str, *parameters: str) -> Callable[[Any], Any]:
        def decorate(handler: Callable[..., Any]) -> Any:
            made: dict[str, Response] = {}
            key = work.key_of(handler, group, *parameters)

            async def prebuilt(**given: Any) -> Response:
                name = key(given)
                if name not in made:
                    body = any_value.dump_json(await handler(**given))
                    made[name] = Response(body, media_type="application/json")
                return made[name]

            return work.with_request(handler, prebuilt)

        return decorate


def create_app() -> FastAPI:
    return work.create_app(Prebuilt())
