"""What generated clients rely on."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

# Names of functions in generated clients: to change one breaks its callers. These are
# the template's. Yours need not be here; those that are have to be as well described.
OPERATIONS = {
    "health_home": "GET /",
    "health_livez": "GET /livez",
    "health_readyz": "GET /readyz",
    "auth_register": "POST /register/",
    "auth_login": "POST /login/",
    "auth_refresh": "POST /refresh/",
    "auth_logout": "POST /logout/",
    "keys_list_keys": "GET /users/keys",
    "auth_list_sessions": "GET /users/me/sessions",
    "auth_end_other_sessions": "DELETE /users/me/sessions",
    "auth_end_session": "DELETE /users/me/sessions/{session_id}",
    "keys_create_key": "POST /users/keys",
    "keys_get_key": "GET /users/keys/{key_id}",
    "keys_update_key": "PATCH /users/keys/{key_id}",
    "keys_delete_key": "DELETE /users/keys/{key_id}",
    "keys_list_user_keys": "GET /users/keys/by-user/{user_id}",
    "keys_create_user_key": "POST /users/keys/by-user/{user_id}",
    "keys_get_user_key": "GET /users/keys/by-user/{user_id}/{key_id}",
    "keys_update_user_key": "PATCH /users/keys/by-user/{user_id}/{key_id}",
    "keys_delete_user_key": "DELETE /users/keys/by-user/{user_id}/{key_id}",
    "users_me": "GET /users/me",
    "users_list_users": "GET /users/",
    "users_search": "GET /users/search",
    "users_update": "PUT /users/{user_id}",
    "users_delete": "DELETE /users/{user_id}",
    "users_ban": "POST /users/{user_id}/ban",
    "users_unban": "POST /users/{user_id}/unban",
    "users_demote": "POST /users/{user_id}/demote",
    "users_make_admin": "POST /users/{user_id}/make-admin",
    "users_change_password": "POST /users/{user_id}/password",
}


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


async def test_operation_ids_are_unique_and_stable(document: dict[str, Any]) -> None:
    ids = [(operation["operationId"], name) for name, operation in operations(document)]
    assert len(dict(ids)) == len(ids), ids
    assert OPERATIONS.items() <= dict(ids).items()


async def test_every_operation_documents_its_refusals(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        needed = set()
        if "security" in operation:
            needed |= {"401", "403"}
        if "requestBody" in operation:
            needed |= {"400"}  # what is no JSON
        if "requestBody" in operation or operation.get("parameters"):
            needed |= {"422"}
        if is_shipped(operation) and "{" in name:
            needed |= {"404"}
        assert needed <= set(operation["responses"]), name


async def test_every_refusal_is_documented_as_a_problem(
    document: dict[str, Any],
) -> None:
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert answer["description"], (name, status)
            if is_shipped(operation) and status.startswith("4"):
                problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
                expected = {"application/problem+json": problem}
                assert answer["content"] == expected, (name, status)


async def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        if is_shipped(operation):
            assert operation["tags"], name


async def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [operation["responses"].get(status, {}) for status in ("200", "201")]
        for body in bodies:
            content = body.get("content", {}).get("application/json", {})
            if "example" in content or "examples" in content:
                continue
            for reference in references(content.get("schema", {})):
                schema = schemas[reference]
                assert "enum" in schema or schema.get("examples"), (
                    f"{name}: {reference} has no example for those who read /docs."
                    " Write model_config = ConfigDict(json_schema_extra="
                    '{"examples": [{"name": "…"}]}) into the class.'
                )


def is_shipped(operation: dict[str, Any]) -> bool:
    """Tell whether it is in the table, as all of the template's are."""
    return operation["operationId"] in OPERATIONS


def references(schema: Any) -> Iterator[str]:
    """Yield the names of the objects that a body consists of."""
    for each in [schema, *schema.get("anyOf", []), schema.get("items", {})]:
        name = each.get("$ref", "").rpartition("/")[2]
        if name and not name.startswith("Page_"):
            yield name


async def test_secrets_are_never_in_an_answer(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("UserOut", "ApiKeyOut"):
        properties = set(schemas[name]["properties"])
        assert not properties & {"password", "password_hash", "key", "key_hash"}
