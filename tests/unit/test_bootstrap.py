"""The script `./snacks`, in a checkout that is already set up and in one that cannot be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from snacks import cli


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose .venv is in place: its `python` only tells how it was called."""
    root = tmp_path / "a checkout"
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copy(Path(__file__).parents[2] / "snacks", root)
    for folder in (root, root / ".venv"):
        (folder / "requirements.lock").write_text("one==1\n")
    (root / "requirements-dev.lock").write_text("one==1\ntwo==1\n")
    python = root / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "$PWD $SNACKS_STATE $PYTHONPATH $*"\n')
    python.chmod(0o755)
    return root


def bootstrap(
    root: Path, *arguments: str, path: str = os.environ["PATH"]
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": path, "HOME": str(root)}
    command: list[str | Path] = [root / "snacks", *arguments]
    return subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False)


def test_snacks_works_from_any_folder_and_installs_nothing_twice(checkout: Path) -> None:
    answer = bootstrap(checkout, "up", "--port-offset", "5")
    assert answer.stdout == f"/ {checkout}/.snacks {checkout}/src -m snacks up --port-offset 5\n"
    assert not answer.stderr


@pytest.mark.parametrize(
    ("typed", "lock"),
    [
        ("test", "requirements-dev.lock"),
        ("--port-offset 1000 test -k fold", "requirements-dev.lock"),
        ("--db=mariadb --engine flink chaos", "requirements-dev.lock"),
        ("--port-offset 1000 up", "requirements.lock"),
        ("explain test", "requirements.lock"),  # an order may be called so
        ("--help", "requirements.lock"),
        ("", "requirements.lock"),
    ],
)
def test_the_development_tools_are_installed_for_the_commands_that_need_them(
    checkout: Path, typed: str, lock: str
) -> None:
    (checkout / "requirements.lock").write_text("one==2\n")
    answer = bootstrap(checkout, *typed.split())
    assert answer.returncode == 0
    assert f"installing {lock} (" in answer.stderr
    assert answer.stdout.endswith(f" -m snacks {typed}".rstrip() + "\n")


@pytest.fixture
def tools(checkout: Path, tmp_path: Path) -> Path:
    """A PATH without any Python; the checkout has none either."""
    (checkout / "requirements.lock").write_text("one==2\n")
    (checkout / ".venv/bin/python").unlink()
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in ("sh", "dirname", "cmp", "df", "awk", "mkdir", "rm", "cp", "mv"):
        (folder / tool).symlink_to(shutil.which(tool) or "/nothing")
    return folder


def make_python(folder: Path, name: str, *, venv: bool = True, old: bool = False) -> None:
    """A Python that tells its name, and makes a .venv whose `python` is itself."""
    python = folder / name
    python.write_text(
        f"""#!/bin/sh
case "$*" in
    *version_info*) exit {int(old)} ;;
    *ensurepip*) exit {int(not venv)} ;;
    "-m venv --clear "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && exit ;;
esac
echo {name}
"""
    )
    python.chmod(0o755)


def test_a_python_that_is_complete_is_taken_before_a_newer_one_without_its_venv_module(
    checkout: Path, tools: Path
) -> None:
    make_python(tools, "python3.13", venv=False)
    make_python(tools, "python3.11", old=True)
    make_python(tools, "python3")
    answer = bootstrap(checkout, "up", path=str(tools))
    assert (answer.returncode, answer.stdout) == (0, "python3\n"), answer.stderr
    assert "making .venv with python3\n" in answer.stderr


def test_snacks_says_which_python_has_no_venv_module_if_none_has(checkout: Path, tools: Path) -> None:
    make_python(tools, "python3.12", venv=False)
    make_python(tools, "python3", venv=False)
    answer = bootstrap(checkout, "up", path=str(tools))
    assert answer.returncode == 1
    assert f"{tools}/python3.12 has no venv module." in answer.stderr
    assert "apt-get install python3-venv" in answer.stderr


def test_snacks_says_when_there_is_no_python(checkout: Path, tools: Path) -> None:
    make_python(tools, "python3", old=True)
    answer = bootstrap(checkout, "up", path=str(tools))
    assert answer.returncode == 1
    assert "Python 3.11 or newer is missing" in answer.stderr
    assert "apt-get install" in answer.stderr


# A checkout that was moved: scripts in .venv/bin name the Python of the old place.


def test_the_tools_of_test_are_run_by_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(list(map(str, argv)))
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.setattr(subprocess, "run", run)
    typer.testing.CliRunner().invoke(cli.cli, ["test"])
    typer.testing.CliRunner().invoke(cli.cli, ["test", "-k", "fold"])
    assert len(ran) == 6
    assert {argv[0] for argv in ran} == {sys.executable}
    assert ran[-1][1:] == ["-m", "pytest", "-k", "fold"]


@pytest.mark.parametrize(("imports", "code"), [("import low.high", 1), ("", 0)])
def test_the_linter_of_imports_lints_when_it_is_run_by_this_python(
    tmp_path: Path, imports: str, code: int
) -> None:
    (tmp_path / "low").mkdir()
    (tmp_path / "low/__init__.py").touch()
    (tmp_path / "low/high.py").touch()
    (tmp_path / "low/deep.py").write_text(imports)
    (tmp_path / "pyproject.toml").write_text(
        """[tool.importlinter]
root_package = "low"
[[tool.importlinter.contracts]]
name = "Layers"
type = "layers"
containers = ["low"]
layers = ["high", "deep"]
"""
    )
    done = subprocess.run(
        [sys.executable, *cli.TOOLS["lint-imports"]],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout
