"""An opened store on each database."""

from collections.abc import AsyncIterator

import pytest

from bot.store import DecisionStore
from tests.manual_clock import ManualClock
from tests.store.examples import open_store


@pytest.fixture
async def store(database_url: str, time: ManualClock) -> AsyncIterator[DecisionStore]:
    async with open_store(database_url, time) as opened:
        yield opened
