"""The lock files: what they must say so that every supported pip can install them."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^]]*)\])?==", re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_every_extra_that_a_locked_package_asks_for(lock: str) -> None:
    """Pips before 23.3 look up `coverage[toml]` apart from a pinned `coverage`, and refuse what has no hash."""
    pinned = {
        canonicalize_name(name): {each.strip() for each in extras.split(",") if each.strip()}
        for name, extras in _PIN.findall((ROOT / lock).read_text())
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {
        (canonicalize_name(own.name), extra)
        for own in map(Requirement, project["dependencies"])
        for extra in own.extras
    }
    asked |= {
        (canonicalize_name(wanted.name), extra)
        for distribution in distributions()
        if canonicalize_name(distribution.name) in pinned
        for wanted in map(Requirement, distribution.requires or [])
        if wanted.extras and (wanted.marker is None or _applies(wanted, pinned[canonicalize_name(distribution.name)]))
        for extra in wanted.extras
    }
    assert {(name, extra) for name, extra in asked if extra not in pinned.get(name, set())} == set()


def _applies(wanted: Requirement, extras: set[str]) -> bool:
    assert wanted.marker is not None
    return any(wanted.marker.evaluate({"extra": each}) for each in ("", *extras))


def test_lock_target_keeps_the_extras() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert makefile.count("uv pip compile") == makefile.count("--no-strip-extras") == len(LOCKS)
