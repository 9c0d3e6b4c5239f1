"""`make manifest`: writes manifest.yaml from the code, so that it is written once."""

import yaml

from handlers.manifest import SCOPES, manifest
from tests.simulator.process import ROOT

TARGET = ROOT / "manifest.yaml"
HEAD = """# Paste this at https://api.slack.com/apps → "Create New App" → "From a manifest". Written by `make manifest`.
# It uses Socket Mode, so no public URL is needed. For HTTP mode: python -m bot manifest --url https://your.host
"""


def manifest_file() -> str:
    """Return the file, with what each scope is for beside it."""
    dumped = yaml.safe_dump(manifest(), sort_keys=False, allow_unicode=True, width=120)
    lines = [f"{line} # {use}" if (use := SCOPES.get(line.strip(" -"))) else line for line in dumped.split("\n")]
    return HEAD + "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(manifest_file(), "utf-8")
