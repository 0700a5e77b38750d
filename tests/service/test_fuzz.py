"""Whatever a client sends, the service answers, and as its documentation says.

That is about the template's routes. `send_anything` is there for yours, too.
"""

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import update

from app.database import Database
from app.managers.scopes import ALL_SCOPES
from app.models import ApiKey
from tests.people import Headers, MakeKey, MakeUser, Person
from tests.test_openapi import OPERATIONS

Operation = APIOperation[Any, Any, Any, Any]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
async def admin_key(
    admin: Person, make_user: MakeUser, make_key: MakeKey, database: Database
) -> Headers:
    """Return a key whose id is not made up. No admin can ban or delete himself."""
    key = await make_key(admin, *ALL_SCOPES)
    async with database.session() as session:
        await session.execute(update(ApiKey).values(id=2**52 + 1))
    for _ in range(3):
        await make_key(await make_user())
    return key


def test_every_answer_is_a_documented_one(
    admin_key: Headers, run_service: Callable[..., str]
) -> None:
    schema = schemathesis.openapi.from_url(f"{run_service()}/openapi.json")
    schema.config.generation.modes = list(GenerationMode)
    operations = [
        result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)
    ]
    shipped = [
        operation
        for operation in operations
        if operation.definition.raw["operationId"] in OPERATIONS
    ]
    assert len(shipped) == len(OPERATIONS)
    for operation in shipped:
        guarded = "security" in operation.definition.raw
        send_anything(operation, admin_key if guarded else {})


def send_anything(operation: Operation, headers: Headers) -> None:
    """Send valid and invalid requests, always the same ones, and check the answers."""

    @given(case=operation.as_strategy())
    @settings(
        max_examples=6,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    check()
