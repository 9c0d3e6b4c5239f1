"""`make demo` as a newcomer starts it: a process that prints one address, and ends with Ctrl-C."""

import asyncio
import json
import re
import signal
import sys
from typing import Any

import aiohttp

from tests.simulator.console import Console, Scenes
from tests.simulator.process import ROOT
from tests.simulator.slack import Slack
from tests.simulator.together import Together


async def test_make_demo_prints_one_address_serves_the_page_and_ends_with_ctrl_c() -> None:
    async with asyncio.timeout(60):
        demo = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.simulator", cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert demo.stdout
        said = [(await demo.stdout.readline()).decode() for _ in range(2)]
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", "".join(said))
        async with aiohttp.ClientSession() as session:
            async with session.get(address) as page:
                assert "script-src" not in page.headers["Content-Security-Policy"]
                assert "default-src 'self'" in page.headers["Content-Security-Policy"]
                assert "<main>" in await page.text()
            shown: dict[str, Any] = {}
            async with session.get(f"{address}news") as news:
                while not any("Approval needed: reboot gpu-node-7" in str(value) for value in shown.values()):
                    line = await news.content.readline()
                    assert line, "the stream of news ended"
                    if line.startswith(b"data: "):
                        shown |= json.loads(line[6:])
        demo.send_signal(signal.SIGINT)
        rest, _ = await demo.communicate()
        assert demo.returncode == 0
        assert "Stopping" in rest.decode()


async def test_page_under_another_name_is_refused() -> None:
    """A site whose name is made to lead to this machine (DNS rebinding) is at another host than the page."""
    async with (
        Slack() as slack,
        Together(slack.now) as together,
        Console(slack, together, Scenes(together, slack.now), set()) as console,
        aiohttp.ClientSession() as web,
    ):
        for host, status in (("evil.example", 421), ("127.0.0.1", 200), ("localhost:80", 200)):
            async with web.get(console.url, headers={"Host": host}) as response:
                assert response.status == status
