"""The docs name files and pages that exist."""

import re
from pathlib import Path

import pytest

from bot import cards
from handlers.socket import AT_ONCE
from tests.file_map import ROOT, TARGET, file_map
from tests.simulation.faults import EVERY

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").glob("*/README.md")]


def test_map_of_files_is_current() -> None:
    assert TARGET.read_text("utf-8") == file_map(), "run: make map"


def test_every_module_says_in_its_first_line_what_it_is() -> None:
    assert "|  |" not in file_map()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text("utf-8")):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if heading:
            assert heading in headings(target), link


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    found = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}


def test_simulation_has_as_many_kinds_of_faults_as_its_page_says() -> None:
    (page,) = (ROOT / "docs" / "decisions").glob("0009-*.md")
    assert f"{len(EVERY)} kinds of faults" in page.read_text("utf-8")


def test_as_many_processes_are_named_as_have_room_in_slacks_ten_connections() -> None:
    number = {5: "five"}[10 // AT_ONCE]
    assert f"In Socket Mode you can run up to {number}" in (ROOT / "docs" / "operations.md").read_text("utf-8")


@pytest.mark.parametrize("words", ["remediations are in this thread.", "has expired, or is someone else's."])
def test_troubleshooting_has_the_bots_own_words(words: str) -> None:
    code = " ".join(path.read_text() for path in Path("bot/errors").glob("*.py"))
    assert words in code
    assert words in Path("docs/troubleshooting.md").read_text()


def test_help_does_not_say_that_a_hold_holds_the_approval() -> None:
    assert "A hold doesn't block approvals." in Path("docs/alerts.md").read_text()
    assert "puts its approval on hold" not in cards.mentions().text
