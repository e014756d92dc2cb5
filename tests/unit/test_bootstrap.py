"""The script `./snacks`, in a checkout that is already set up and in one that cannot be."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose .venv is in place: its `python` only tells how it was called."""
    root = tmp_path / "a checkout"
    (root / ".venv/bin").mkdir(parents=True)
    shutil.copy(Path(__file__).parents[2] / "snacks", root)
    for folder in (root, root / ".venv"):
        (folder / "requirements.lock").write_text("one==1\n")
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


def test_snacks_says_when_there_is_no_python(checkout: Path, tmp_path: Path) -> None:
    (checkout / "requirements.lock").write_text("one==2\n")
    (checkout / ".venv/bin/python").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "cmp", "df", "awk", "mkdir", "rm", "cp", "mv"):
        (tools / tool).symlink_to(shutil.which(tool) or "/nothing")
    answer = bootstrap(checkout, "up", path=str(tools))
    assert answer.returncode == 1
    assert "Python 3.11 or newer is missing" in answer.stderr
    assert "apt-get install" in answer.stderr
