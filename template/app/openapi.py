"""What FastAPI does not say by itself in `/openapi.json`."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from app.errors import (
    PROBLEM_MEDIA_TYPE,
    AppError,
    BadRequest,
    BodyTooLarge,
    Forbidden,
    Invalid,
    NotAuthenticated,
)

REF_TEMPLATE = "#/components/schemas/{model}"


def operation_id(route: APIRoute) -> str:
    """The name that generated clients use: it changes only with tag and function."""
    tag = f"{route.tags[0]}_" if route.tags else ""
    return f"{tag}{route.name}"


def describe_problems(app: FastAPI) -> None:
    """Declare every refusal with the media type and the shape that it really has."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _declare(generate())
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def problems(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may raise these errors."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        int(error.status): {
            "description": error.status.phrase,
            "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}},
        }
        for error in errors
    }


def _declare(document: dict[str, Any]) -> None:
    """Add what follows from a route's credentials and parameters."""
    for path in document["paths"].values():
        for operation in path.values():
            declared = operation["responses"]
            if "security" in operation:
                for_all = _problems(BadRequest, NotAuthenticated, Forbidden)
                declared.update(for_all | declared)
            if "requestBody" in operation:  # which may be no JSON
                declared.update(_problems(BadRequest, BodyTooLarge) | declared)
            if "422" in declared:
                declared.update(_problems(Invalid))
    _, definitions = models_json_schema(
        [(Problem, "serialization")], ref_template=REF_TEMPLATE
    )
    schemas = document["components"]["schemas"]
    schemas.update(definitions["$defs"])
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)


def _problems(*errors: type[AppError]) -> dict[str, Any]:
    return {str(status): answer for status, answer in problems(*errors).items()}


class ProblemField(BaseModel):
    """One value that was refused."""

    loc: list[str | int] = Field(description="Where: body, query, path, then the name")
    msg: str
    type: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "There is no such user.",
                    "code": "user_not_found",
                }
            ]
        }
    )

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="For people")
    code: str = Field(description="For programs")
    errors: list[ProblemField] | None = None
