"""`make map`: writes docs/files.md, the first line of every module of the product, so that no list is kept by hand."""

import ast
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "files.md"
HEAD = """# Files

Each module and its first line, written by `make map`. [Architecture](architecture.md) shows how they work together.
"""


def file_map() -> str:
    """Return the page."""
    modules = [
        path.relative_to(ROOT)
        for package in ("bot", "handlers")
        for path in sorted((ROOT / package).rglob("*.py"))
        if "versions" not in path.parts
    ]
    parts = [HEAD]
    modules.sort(key=lambda each: (each.parent, each.name))
    for folder, paths in groupby(modules, key=lambda each: each.parent):
        listed = [(path.name, first_line(ROOT / path)) for path in paths]
        about = "".join(line for name, line in listed if name == "__init__.py")
        rows = "".join(f"| `{name}` | {line} |\n" for name, line in listed if name != "__init__.py")
        parts.append(f"\n## {folder}/\n\n{about}\n\n| | |\n|---|---|\n{rows}")
    return "".join(parts)


def first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(file_map(), "utf-8")
