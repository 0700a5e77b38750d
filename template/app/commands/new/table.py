"""What a new table and everything around it are called."""

import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.commands.new.fields import Field
from app.commands.refusals import Misused

LONGEST = 30  # characters: names of constraints and lines of code have a limit, too


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
