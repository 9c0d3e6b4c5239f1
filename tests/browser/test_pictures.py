"""The pictures in docs/cards are of what the code says now."""

import json
import struct

from tests.browser.pictures import FOLDER, INDEX, SOURCES, index, sources


def test_no_picture_is_of_something_else() -> None:
    known = json.loads(SOURCES.read_text("utf-8"))
    stale = sorted(name for name, made_from in sources().items() if known.get(name) != made_from)
    assert stale == [], "look at what has changed: run `make cards`, then commit docs/cards"
    assert {picture.stem for picture in FOLDER.glob("*.png")} == set(sources())
    assert INDEX.read_text("utf-8") == index(), "run `make cards`"


def test_every_picture_shows_something() -> None:
    for picture in FOLDER.glob("*.png"):
        signature, width, height = struct.unpack(">8s8xII", picture.read_bytes()[:24])
        assert signature == b"\x89PNG\r\n\x1a\n"
        assert width > 300, picture.name
        assert height > 50, picture.name
