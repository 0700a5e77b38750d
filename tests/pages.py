"""Carries out what a page of the documentation says, block by block.

A block with a file name is that file, which must not be there yet. A `diff` with a file
name adds and removes lines of a file that is there. A `bash` block is run. There is no
other kind on such a page.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import Project

BLOCK = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```$',
    flags=re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    language: str
    file: str | None
    text: str

    def carry_out(self, project: Project, **environment: str) -> None:
        if self.file is None:
            assert self.language == "bash", f"nobody can run this:\n{self.text}"
            project.run("bash", "-euc", self.text, **environment)
            return
        path = project.path / self.file
        if self.language == "diff":
            path.write_text(_edited(path.read_text("utf-8"), self.text), "utf-8")
        else:
            assert not path.exists(), f"{self.file} is there already"
            path.write_text(self.text, "utf-8")


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    found = [match.span() for match in BLOCK.finditer(text)]
    fences = len(re.findall(r"^```", text, flags=re.MULTILINE))
    assert fences == 2 * len(found), f"{page.name} has a block that is not understood"
    for match in BLOCK.finditer(text):
        yield Block(match["language"], match["file"], match["text"])


def _edited(text: str, diff: str) -> str:
    """Put the new lines of a diff in place of its old ones, which are there once."""
    lines = diff.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(old) == 1, (
        f"these lines are there {text.count(old)} times:\n{old}"
    )
    return text.replace(old, new)
