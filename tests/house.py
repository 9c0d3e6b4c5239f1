"""`make house`: how much there is to read, and how far one click goes."""

import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

from tests.simulation.steps import describe
from tests.simulator.process import ROOT

LONG = 400  # lines
_NO_WORDS = {
    tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENCODING,
    tokenize.ENDMARKER,
}  # fmt: skip
_FOR_TOOLS = re.compile(r"#\s*(noqa|type:|fmt:|pragma|mypy:)")


class Size(NamedTuple):
    """How large a module is; `reasons` are comments for people."""

    lines: int
    tokens: int
    reasons: int


def sizes() -> dict[Path, Size]:
    """Measure each module of the product."""
    modules = [path for package in ("bot", "handlers") for path in sorted((ROOT / package).rglob("*.py"))]
    return {path.relative_to(ROOT): _size(path.read_text("utf-8")) for path in modules}


def _size(text: str) -> Size:
    found = list(tokenize.generate_tokens(io.StringIO(text).readline))
    reasons = sum(each.type == tokenize.COMMENT and not _FOR_TOOLS.match(each.string) for each in found)
    return Size(text.count("\n"), sum(each.type not in _NO_WORDS for each in found), reasons)


def main() -> None:
    measured = sizes()
    lines, tokens, reasons = (sum(column) for column in zip(*measured.values(), strict=True))
    longest = max(measured, key=lambda path: measured[path].lines)
    count = sum(value.lines > LONG for value in measured.values())
    print(f"{len(measured)} files, {lines:,} lines, {tokens:,} tokens, {tokens / lines:.1f} tokens a line")
    print(f"{100 * reasons / lines:.1f} comments per 100 lines say why")
    print(f"longest: {longest} with {measured[longest].lines} lines; {count} files have more than {LONG}")
    print(describe())


if __name__ == "__main__":
    main()
