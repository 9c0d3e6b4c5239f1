"""Lines to PostgreSQL that are cut at random moments, beside all else that goes wrong."""

from collections.abc import Awaitable

from tests.chaos.harness import Chaos, Report
from tests.proxy import Line, line_to


class CutLines(Chaos):
    """Reach the database through a line that is cut now and then, mostly for a moment, sometimes for long."""

    _line: Line

    async def _run(self) -> Report:
        async with line_to(self._url) as self._line:
            return await super()._run()

    def settings(self) -> dict[str, str]:
        """Reach the database through the line."""
        return super().settings() | {"DATABASE_URL": self._line.url}

    def troubles(self) -> list[Awaitable[None]]:
        """Cut the lines too."""
        return [*super().troubles(), self._cut_lines()]

    async def _cut_lines(self) -> None:
        while self.goes_on:
            await self.sleep(0.3, 2)
            self._line.is_down = True
            self._line.cut()
            self.counts["cut lines"] += 1
            await self.sleep(0, 1.5 if self.random.random() < 0.9 else 12)
            self._line.is_down = False
