"""What an ID is, and the three that name a remediation."""

import hashlib
import json
import random
import re
import unicodedata
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated

from pydantic import Field

from bot.errors import InvalidId

MAX_ID_LENGTH = 200
_NOT_IN_AN_ID = re.compile(r"""[\s/\\?#%<>|@,="'`]""")
_DASHES = re.compile("[‐‑‒–—―−]")
_INVISIBLE = {"Cc", "Cf", "Cs"}  # control, format; and lone surrogates, which no URL can carry

# What `check_id` takes, for an answer of Together's.
_NOT_ALLOWED = r"""\s/\\?#%<>|@,="'`\p{Cc}\p{Cf}"""
ClusterId = Annotated[
    str, Field(max_length=MAX_ID_LENGTH, pattern=rf"\A[^{_NOT_ALLOWED}]*[^{_NOT_ALLOWED}.][^{_NOT_ALLOWED}]*\z")
]
# A name with a letter or digit among its first 31 characters. Hangul's fillers are blank, and `\w` includes joiners.
VisibleName = Annotated[str, Field(pattern=r"\A[\s\S]{0,30}[\p{L}\p{N}--[\u115f\u1160\u3164\uffa0]]")]


def new_id() -> str:
    """Return a new unique ID. It isn't a secret, so it comes from `random`, which a simulation can seed."""
    return uuid.UUID(int=random.getrandbits(128), version=4).hex


def check_id(part: str, value: str) -> str:
    r"""Return an ID when it is one.

    An ID is 1 to 200 characters without white space, control or format characters and without any of
    ``/ \ ? # % < > | @ , = " '`` and the backtick; ``.`` and ``..`` aren't allowed.

    Raises:
        InvalidId: it isn't one.
    """
    if not value:
        raise InvalidId(part, "is missing")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidId(part, f"is longer than {MAX_ID_LENGTH} characters")
    if value in {".", ".."}:
        raise InvalidId(part, f"can't be “{value}”")
    if bad := _NOT_IN_AN_ID.search(value):
        shown = "a space" if bad[0].isspace() else f"“{bad[0]}”"
        raise InvalidId(part, f"contains {shown}, which isn't allowed")
    if not value.isprintable() and any(unicodedata.category(character) in _INVISIBLE for character in value):
        raise InvalidId(part, "contains an invisible character, which isn't allowed")
    return value


@dataclass(frozen=True, slots=True)
class RemediationRef:
    """Which remediation: Together finds one only by all three IDs.

    Raises:
        InvalidId: a part is no ID.
    """

    cluster_id: str
    instance_id: str
    remediation_id: str

    def __post_init__(self) -> None:
        check_id("cluster", self.cluster_id)
        check_id("instance", self.instance_id)
        check_id("remediation", self.remediation_id)
        if self.instance_id == "-":  # any instance, to Together (docs.together.ai/reference)
            raise InvalidId("instance", "can't be “-”")

    def __str__(self) -> str:
        return f"{self.cluster_id}/{self.instance_id}/{self.remediation_id}"

    @property
    def key(self) -> str:
        """Its short name among the options of a menu, which may be 75 characters long."""
        return short_hash(str(self))


# As a tuple in their order, in a thirtieth of the time of `dataclasses.astuple`, which copies what it finds.
parts_of: Callable[[RemediationRef], tuple[str, str, str]] = attrgetter("cluster_id", "instance_id", "remediation_id")


def read_reference(text: str) -> RemediationRef | None:
    """Parse a reference as `str` writes it; None for anything else."""
    parts = text.split("/")
    try:
        return RemediationRef(*parts) if len(parts) == 3 else None  # noqa: PLR2004 - a reference has three parts
    except InvalidId:
        return None


def short_hash(value: object, characters: int = 16) -> str:
    """Return a short name of a value that JSON can hold: the same for the same."""
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=characters // 2).hexdigest()


def folded(name: str) -> str:
    """Return a name as it is compared: what phones and wikis make of letters and dashes is the same."""
    return name.casefold() if name.isascii() else _DASHES.sub("-", unicodedata.normalize("NFKC", name)).casefold()
