"""A new table and its fields: what can be typed, and what the templates get of it."""

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.commands.refusals import Misused

LONGEST = 30  # characters: names of constraints and lines of code have a limit, too


@dataclass(frozen=True)
class Kind:
    """A type of fields. `first` and `second` are values as JSON, in their order."""

    means: str
    python: str
    column: str  # of the model; empty where the Python type says it
    migrated: str
    taken: str  # the type in the schema of what a client sends
    first: str
    second: str
    filters: bool = True
    sorts: bool = True


KINDS = {
    "str": Kind(
        "text of 1 to 100 characters",
        *("str", "String(100)", "sa.String(100)", "Name"),
        *('"A {words}"', '"B {words}"'),
    ),
    "text": Kind(
        "text of up to 10,000 characters, with lines",
        *("str", "Text", "sa.Text()", "LongText"),
        *('"A {words}.\\nIn two lines."', '"B {words}"'),
        filters=False,
        sorts=False,
    ),
    "int": Kind(
        "whole number of 32 bits",
        *("int", "", "sa.Integer()", "Int32", "1", "2"),
    ),
    "float": Kind(
        "number, not exact",
        *("float", "", "sa.Double()", "FiniteFloat", "0.5", "1.5"),
        filters=False,
    ),
    "decimal": Kind(
        "exact number with two places, such as a price",
        *("Decimal", "Hundredths", "sa.BigInteger()", "Amount", '"9.90"', '"19.90"'),
    ),
    "bool": Kind(
        "true or false",
        *("bool", "", "sa.Boolean()", "bool", "False", "True"),
    ),
    "date": Kind(
        "day",
        *("date", "", "sa.Date()", "date", '"2026-01-31"', '"2026-02-01"'),
    ),
    "datetime": Kind(
        "point in time, in UTC",
        *("datetime", "UTCDateTime", "sa.DateTime(timezone=True)", "Moment"),
        *('"2026-01-31T23:00:00Z"', '"2026-02-01T01:00:00Z"'),
    ),
    "uuid": Kind(
        "UUID",
        *("UUID", "", "sa.Uuid()", "UUID"),
        '"1b6f2a0c-8d0e-4f57-9a63-2f1c7d5e4b90"',
        '"2c7a3b1d-9e1f-4a68-8b74-3a2d8e6f5ca1"',
        sorts=False,
    ),
}


@dataclass(frozen=True)
class Field:
    """A field of the table, and the lines about it in the files."""

    name: str
    kind: Kind
    optional: bool = False
    unique: bool = False

    @property
    def words(self) -> str:
        return self.name.replace("_", " ")

    @property
    def column(self) -> str:
        arguments = [self.kind.column] if self.kind.column else []
        arguments += ["unique=True"] if self.unique else []
        value = f" = mapped_column({', '.join(arguments)})" if arguments else ""
        return f"{self.name}: Mapped[{self._of(self.kind.python)}]{value}"

    @property
    def migrated(self) -> str:
        kind = self.kind.migrated
        return f'sa.Column("{self.name}", {kind}, nullable={self.optional}),'

    @property
    def taken(self) -> str:
        default = " = None" if self.optional else ""
        return f"{self.name}: {self._of(self.kind.taken)}{default}"

    @property
    def shown(self) -> str:
        return f"{self.name}: {self._of(self.kind.python)}"

    @property
    def filtered(self) -> str:
        return f"{self.name}: {self.kind.taken} | None = None"

    @property
    def first(self) -> str:
        return f'"{self.name}": {self.kind.first.format(words=self.words)},'

    @property
    def second(self) -> str:
        return f'"{self.name}": {self.kind.second.format(words=self.words)},'

    def _of(self, kind: str) -> str:
        return f"{kind} | None" if self.optional else kind


def parse_field(text: str) -> Field:
    """Return the field that somebody typed, as in `note:text?`; raises Misused."""
    form = r"(?P<name>[a-z][a-z0-9_]*):(?P<kind>\w+)(?P<optional>\?)?(?P<unique>!)?"
    typed = re.fullmatch(form, text)
    if typed is None or typed["kind"] not in KINDS:
        raise Misused(
            f"{text} is no field: write name:type, in lower case, with one of the types"
            f" {', '.join(KINDS)}"
        )
    unique = typed["unique"] is not None
    if unique and typed["kind"] in ("bool", "text"):
        raise Misused(f"{text} cannot be unique: leave out the !")
    kind = KINDS[typed["kind"]]
    return Field(typed["name"], kind, typed["optional"] is not None, unique)


def parse_fields(texts: list[str]) -> tuple[Field, ...]:
    """Return the fields; without any, a name. Raises Misused."""
    fields = tuple(parse_field(text) for text in texts or ["name:str"])
    names = [field.name for field in fields]
    if twice := [name for name in names if names.count(name) > 1]:
        raise Misused(f"{twice[0]} is there twice")
    return fields


@dataclass(frozen=True)
class Table:
    """A table that is to be added: `order_item`, several of which are `order_items`."""

    name: str
    names: str
    fields: tuple[Field, ...]
    admin: bool = False

    @property
    def model(self) -> str:
        return self.name.title().replace("_", "")

    @property
    def models(self) -> str:
        return self.names.title().replace("_", "")

    @property
    def path(self) -> str:
        return self.names.replace("_", "-")

    @property
    def scopes(self) -> tuple[str, str]:
        return f"{self.names}:read", f"{self.names}:write"

    def values(self) -> dict[str, Any]:
        """What stands for the `$placeholders` of the templates, and for the `#if`s.

        Lists are lines where the placeholder has a line of its own.
        """
        word, words = self.name.replace("_", " "), self.names.replace("_", " ")
        article = "an" if word[0] in "aeiou" else "a"
        fields = self.fields
        unique = [field for field in fields if field.unique]
        texts = sum(field.kind.taken == "LongText" for field in fields)
        sorted_by = [
            *("id", *(field.name for field in fields if field.kind.sorts)),
            *("created_at", "updated_at"),
        ]
        return {
            "name": self.name,
            "names": self.names,
            "Model": self.model,
            "Models": self.models,
            "path": self.path,
            "word": word,
            "words": words,
            "Words": words.capitalize(),
            "a_word": f"{article} {word}",
            "admin": self.admin,
            "person": "admin" if self.admin else "user",
            "columns": [field.column for field in fields],
            "migrated": [field.migrated for field in fields],
            "constraints": [
                f'sa.UniqueConstraint("{field.name}",'
                f' name="uq_{self.names}_{field.name}"),'
                for field in unique
            ],
            "inputs": [field.taken for field in fields],
            "outputs": [field.shown for field in fields],
            "filters": [field.filtered for field in fields if field.kind.filters],
            # Bytes: a text of 10,000 characters may have four times as many.
            "room": [f"max_body_size={texts * 65_536:_},"] if texts else [],
            "sorts": [f'"{name}", "-{name}",' for name in sorted_by],
            "example": [field.first for field in fields],
            "first": [field.first for field in fields],
            "second": [field.second for field in fields],
            "filtered": quoted(field for field in fields if field.kind.filters),
            "sorted": quoted(field for field in fields if field.kind.sorts),
            "required": quoted(field for field in fields if not field.optional),
            "optional": quoted(field for field in fields if field.optional),
            "unique": quoted(unique),
            "unique_fields": " or ".join(field.words for field in unique),
        }


def quoted(fields: Iterable[Field]) -> str:
    return ", ".join(f'"{field.name}"' for field in fields)


def make_table(
    name: str, plural: str | None, fields: tuple[Field, ...], *, admin: bool
) -> Table:
    """Return the table that somebody typed a name for; raises Misused.

    The name may be written like OrderItem, order-item or order_item.
    """
    name = _snake_case(name)
    if plural is None and re.search(r"[^siu]s$", name):
        raise Misused(
            f"Name one of them, such as {name[:-1]}; if {name} is one, say what several"
            " are called: --plural …"
        )
    names = _snake_case(plural or plural_of(name))
    if name == names:
        raise Misused(f"One and several are both called {name}: use another --plural")
    return Table(name, names, fields, admin)


def plural_of(name: str) -> str:
    if re.search(r"[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}es" if re.search(r"(s|x|z|ch|sh)$", name) else f"{name}s"


def _snake_case(text: str) -> str:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).replace("-", "_").lower()
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise Misused(f"{text} is no name: use letters, digits and _, as in order_item")
    if len(name) > LONGEST:
        raise Misused(f"{text} is too long: use at most {LONGEST} characters")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise Misused(f"{text} is a word of Python's own: use another name")
    return name
