"""What the code imports is declared, with its reason, and both locks know it."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")


def plain(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=~!;\[ ]", name)[0]).lower()


DECLARED = {plain(one) for one in msgspec.toml.decode(PROJECT)["project"]["dependencies"]}


def imported() -> set[str]:
    """The top of every absolute import in the package."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {one.name.partition(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


def test_every_package_that_is_imported_is_declared() -> None:
    known = packages_distributions()
    others = imported() - sys.stdlib_module_names - {"snacks"}
    assert len(others) > 10
    assert {name for name in others if not DECLARED & set(map(plain, known[name]))} == set()


def test_every_dependency_says_what_it_is_here_for() -> None:
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", PROJECT, re.DOTALL | re.MULTILINE)
    assert len(listed.splitlines()) == len(DECLARED)
    assert all(re.search(r'^ +"\S+", +# .{10}', line) for line in listed.splitlines())


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_are_those_of_what_is_declared(lock: str) -> None:
    entries = re.split(r"^(?=\w)", (ROOT / lock).read_text("utf-8"), flags=re.MULTILINE)
    ours = {plain(entry) for entry in entries if "snacks-unlimited (pyproject.toml)" in entry}
    assert ours == DECLARED
