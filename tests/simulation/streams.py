"""Everything random in a world: one named stream for each use, so that one use never shifts another."""

import random


class Streams:
    """Streams of random numbers that depend on the seed and their names alone.

    Args:
        seed: of the world.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made: dict[str, random.Random] = {}

    def __setitem__(self, name: str, stream: random.Random) -> None:
        self._made[name] = stream

    def __getitem__(self, name: str) -> random.Random:
        if name not in self._made:
            self._made[name] = random.Random(f"{self._seed} {name}")  # noqa: S311 - repeatable, not secret
        return self._made[name]
