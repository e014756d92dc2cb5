"""`snacks explain` where no server answers: each is named, and nothing else is lost with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from snacks import config
from snacks.config import PREFIX

ROOT = Path(__file__).parents[2]
DEAD = {f"{PREFIX}{name.upper()}": "9" for name in config.PORTS}


def test_servers_that_do_not_answer_are_named_without_a_traceback() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    told = subprocess.run(
        [sys.executable, "-m", "snacks", "explain", "one", "--json"],
        env=clean | DEAD | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    found = json.loads(told.stdout)
    assert found["agree"] is None
    named = {problem.partition(":")[0] for problem in found["problems"]}
    assert named == {"MySQL", "MongoDB", "the topics", "the dead letters"}
