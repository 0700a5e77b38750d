"""The addresses of the documentation are those that a service tests."""

import ast
import re

import pytest

from harness import ROOT

PAGE = (ROOT / "docs/deploying.md").read_text()
TESTS = (ROOT / "tests/service/config/test_address.py").read_text()


@pytest.mark.fast
def test_every_address_of_the_table_is_tested() -> None:
    shown = re.findall(r"^\| `(postgres\S+://\S+|postgres://\S+)` \|", PAGE, re.M)
    tested = [
        node.value
        for node in ast.walk(ast.parse(TESTS))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert len(shown) == 20
    assert not set(shown) - set(tested)
