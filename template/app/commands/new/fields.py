"""The fields of a new table: what can be typed, and what the templates get of it."""

import re
from dataclasses import dataclass

from app.commands.refusals import Misused


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
