"""The documentation holds together: its links lead somewhere, its index has every page."""

import re
from pathlib import Path

import pytest
import typer

from snacks.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("redpanda/**/*.md")])


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


WITHOUT = {"./snacks", "--help"}


def missing(typed: str) -> list[str]:
    """The commands and options of a line that `./snacks` does not know."""
    words = [
        word for word in re.sub(r"--(port-offset|db|engine) \S+", "", typed).split() if word not in WITHOUT
    ]
    command, unknown = typer.main.get_command(cli), []
    for word in words:
        known = getattr(command, "commands", None)
        if known is not None and not word.startswith("-"):
            if word not in known:
                return [word]
            command = known[word]
        elif command.context_settings.get("ignore_unknown_options"):
            break  # the rest is another program's
        elif word.startswith("--") and not any(word in (*p.opts, *p.secondary_opts) for p in command.params):
            unknown.append(word)
    return unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_of_the_pages_exists(page: Path) -> None:
    for typed in re.findall(r"\./snacks [a-z-][^`\n#|&;(]*", page.read_text("utf-8")):
        assert not missing(typed), typed


def test_a_command_or_an_option_that_is_not_there_is_found() -> None:
    assert missing("./snacks connector stop") == ["stop"]
    assert missing("./snacks rebuild --check") == ["--check"]
    assert missing("./snacks --db mariadb demo --once") == []
