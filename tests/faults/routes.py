"""What the load asks the service for, and what it writes."""

from dataclasses import dataclass
from typing import Any

from faults.ledger import Row
from faults.service import Headers, Person, Service


@dataclass(frozen=True)
class Read:
    """A cached route: who asks, and which rows have to be in the answer."""

    path: str
    headers: Headers
    rows: list[Row]
    field: str = "last_name"

    def values_in(self, found: Any) -> dict[int, str]:
        """The field of each row that is in an answer, by the row's id."""
        if isinstance(found, dict):
            found = found.get("items", [found])
        return {row["id"]: row[self.field] for row in found}


def read_of(service: Service, row: Row) -> Read:
    """An admin's look at one user."""
    return Read(f"/users/?user_id={row.id}", service.admin, [row])


def reads(service: Service, person: Person) -> list[Read]:
    """Every cached route, for one person."""
    key = person.key.id
    return [
        Read("/users/me", person.bearer, [person.user]),
        Read("/users/me", person.api_key, [person.user]),
        read_of(service, person.user),
        Read("/users/?size=20", service.admin, [each.user for each in service.people]),
        Read("/users/keys", person.bearer, [person.key], "name"),
        Read(f"/users/keys/{key}", person.bearer, [person.key], "name"),
    ]


@dataclass(frozen=True)
class Write:
    """A change of one field of one row."""

    method: str
    path: str
    headers: Headers
    row: Row
    field: str
    others: dict[str, str]

    def content(self, text: str) -> dict[str, str]:
        return self.others | {self.field: text}


def user_write(row: Row, headers: Headers) -> Write:
    others = {"email": f"p{row.id}@example.com", "first_name": "Ann"}
    return Write("PUT", f"/users/{row.id}", headers, row, "last_name", others)


def key_write(person: Person) -> Write:
    key = person.key
    return Write("PATCH", f"/users/keys/{key.id}", person.bearer, key, "name", {})


def writes(person: Person) -> list[Write]:
    """Everything that is written for one person."""
    return [user_write(person.user, person.bearer), key_write(person)]
