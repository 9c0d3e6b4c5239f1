"""The words that no text for people may have: they read as translated."""

import io
import re
import tokenize
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.card_text import SNAPSHOTS
from tests.simulator.console.console import PAGE
from tests.simulator.process import ROOT

BANNED = re.compile(
    r"\b(anew|whoever|whatever|stands|goes on|by itself|for ever|meanwhile|what has come of|is no more|gives? back"
    r"|sees? to|asks? back|takes hold|lets \w+ be|so many|may not decide|organisation|licence|likewise"
    r"|of (?:its|their) own|(?:is|are) (?-i:none)|(?:is|are) to be)\b",
    re.IGNORECASE,
)
FILES = [
    *sorted(SNAPSHOTS.glob("*.txt")),
    *sorted(ROOT.glob("[A-Z]*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / ".github").rglob("*.*")),
    ROOT / "manifest.yaml",
    ROOT / ".env.example",
    ROOT / "Makefile",
]


def found(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if BANNED.search(line)]


@pytest.mark.parametrize("name", [str(path.relative_to(ROOT)) for path in FILES])
def test_no_text_has_words_that_read_as_translated(name: str) -> None:
    assert found((ROOT / name).read_text("utf-8")) == []


def test_docstrings_and_comments_have_none_either() -> None:
    said = [
        f"{path.relative_to(ROOT)}: {line}"
        for folder in ("bot", "handlers", "tests", "bench")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "node_modules" not in path.parts and path.name != Path(__file__).name
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        if token.type in {tokenize.COMMENT, tokenize.STRING}
        for line in found(token.string)
    ]
    assert said == []


def test_page_has_none_either() -> None:
    sources = [path.read_text("utf-8") for path in sorted(PAGE.iterdir()) if path.suffix in {".html", ".js"}]
    said = re.sub(r"^\s*//.*$|\s// .*$", "", "\n".join(sources), flags=re.MULTILINE)
    assert "No messages yet" in said
    assert found(said) == []


@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--help"], ["audit", "verify", "-h"], ["manifest", "-h"]])
def test_command_line_has_none_either(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert found(capsys.readouterr().out) == []


def test_the_words_are_found() -> None:
    assert found("The bot goes on trying.\nStill retrying.") == ["The bot goes on trying."]


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text("utf-8")))
    files = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    there = {name for text in files for name in re.findall(r"def (test_\w+)", text)}
    assert len(named) > 40
    assert named - there == set()
