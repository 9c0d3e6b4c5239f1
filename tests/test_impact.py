"""Who is affected: on the card, from a service that may answer anything, or nothing."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from bot import cards
from bot.errors import DirectoryUnavailable
from bot.formats import impact as impact_url
from bot.models import Impact
from bot.outward import ImpactReader
from tests.manual_clock import ON_THE_WAY, START, ManualClock
from tests.samples import remediation
from tests.simulator.listener import Listener
from tests.simulator.process import ROOT
from tests.watch import card, enforce_slacks_limits, poll, until, watching
from tests.world import APPROVE, IDS

SAID = {"summary": "Slurm job 48213, llama-70b, 31 h in", "owner": "U0BOB", "url": "https://jobs.example/48213"}


class Jobs(Listener):
    """The team's own service."""

    name = "jobs"

    def __init__(self) -> None:
        super().__init__()
        self.status, self.said = 200, json.dumps(SAID)
        self.asked: list[tuple[str, str]] = []
        self.routes = [web.get("/{rest:.*}", self.answer)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.raw_path, request.headers.get("Authorization", "")))
        await self.gate("ask")
        return web.Response(status=self.status, text=self.said, headers={"Location": f"{self.url}/again"})


async def name_of(some_id: str) -> str:
    if some_id == "U0AWAY":
        raise DirectoryUnavailable
    return {"U0BOB": "bob", "S0TEAM": "team-llama"}.get(some_id, some_id)


@asynccontextmanager
async def reading(token: str = "") -> AsyncIterator[tuple[Jobs, ImpactReader, ManualClock]]:
    time = ManualClock(ON_THE_WAY)
    async with Jobs() as jobs, httpx.AsyncClient(trust_env=False) as http:
        address = f"{jobs.url}/{{cluster_id}}/{{node}}"
        yield (
            jobs,
            ImpactReader(http, lambda remediation: cards.link(address, remediation), token, time.clock, name_of),
            time,
        )


async def test_what_runs_there_is_asked_with_the_token_and_at_most_once_a_minute() -> None:
    async with reading("hush") as (jobs, reader, time):
        one = remediation(instance_name="gpu/7")
        expected = Impact(SAID["summary"], "@bob", SAID["url"], START)
        assert [await reader.of(one), await reader.of(one)] == [expected, expected]
        assert jobs.asked == [("/c-7f2/gpu%2F7", "Bearer hush")]
        await time.advance(61)
        await reader.of(one)
        assert len(jobs.asked) == 2


@pytest.mark.parametrize(
    "said",
    ["", "[]", "{", '{"owner": "x"}', '{"summary": " "}', "[" * 50_000, json.dumps({"summary": "x" * 70_000}), "null"],
    ids=["empty", "list", "cut", "no summary", "blank", "deep", "long", "null"],
)
async def test_answer_that_says_nothing_usable_is_unknown(said: str) -> None:
    async with reading() as (jobs, reader, _):
        jobs.said = said
        assert await reader.of(remediation()) is None


@pytest.mark.parametrize("status", [204, 302, 404, 500])
async def test_anything_but_an_answer_is_unknown_and_no_redirect_is_followed(status: int) -> None:
    async with reading() as (jobs, reader, _):
        jobs.status = status
        assert await reader.of(remediation()) is None
        assert len(jobs.asked) == 1


async def test_silent_service_is_given_up_after_two_seconds() -> None:
    async with reading() as (jobs, reader, time):
        with jobs.paused("ask"):
            asking = asyncio.create_task(reader.of(remediation()))
            await jobs.until(lambda: jobs.is_waiting("ask"))
            await time.advance(1.9)
            assert not asking.done()
            await time.advance(0.2)
            assert await asking is None


@pytest.mark.parametrize(
    ("owner", "shown"),
    [("S0TEAM", "@team-llama"), ("U0AWAY", "U0AWAY"), ("team llama", "team llama"), (None, ""), ("<!here>", "<!here>")],
)
async def test_owner_is_named_by_slack_where_it_is_an_id(owner: str | None, shown: str) -> None:
    async with reading() as (jobs, reader, _):
        jobs.said = json.dumps(SAID | {"owner": owner, "url": "javascript:alert(1)"})
        found = await reader.of(remediation())
        assert found
        assert (found.owner, found.url) == (shown, "")


async def test_card_says_who_is_affected_and_mentions_nobody() -> None:
    async with Jobs() as jobs:
        jobs.said = json.dumps(SAID | {"summary": "<!channel> *job* <@U0CAROL>", "owner": "S0ONCALL"})
        async with watching(BOT_IMPACT_URL=f"{jobs.url}/{{node}}", BOT_IMPACT_TOKEN="hush") as bot:
            enforce_slacks_limits(bot)
            bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
            bot.together.add(instance_name="gpu-node-7")
            alert = await card(bot)
            assert jobs.asked == [("/gpu-node-7", "Bearer hush")]
            assert "Affects: <https://jobs.example/48213|" in alert.text
            assert "&lt;!channel&gt; *job* &lt;@U0CAROL&gt;>, owner @s0oncall (as of <!date^" in alert.text
            assert '"user_id"' not in json.dumps(alert.blocks)
            assert "usergroup_id" not in json.dumps(alert.blocks)
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="Approved, queued")
            await poll(bot)
            assert "Affects" not in alert.text  # it's decided


async def test_silent_service_keeps_no_card_waiting() -> None:
    async with Jobs() as jobs, watching(BOT_IMPACT_URL=f"{jobs.url}/{{node}}") as bot:
        with jobs.paused("ask"):
            bot.together.add()
            alert = await card(bot)
            assert "Affects" not in alert.text


async def test_it_is_kept_over_a_restart(database_url: str) -> None:
    async with Jobs() as jobs, watching(database=database_url, BOT_IMPACT_URL=f"{jobs.url}/{{node}}") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.settle()
        jobs.said = "{}"
        async with bot.another():
            bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
            await until(bot, lambda: "reprovision" in alert.text, 600)
            assert "Slurm job 48213" in alert.text


@pytest.mark.parametrize(
    ("service", "command", "printed", "expected"),
    [
        ("slurm", "squeue", "48213|alice|1-07:00:00|llama|70b\n48214|bob|5:00|eval\n",
         {"summary": "Slurm job 48213 (llama|70b, 1-07:00:00 in), and 1 more", "owner": "alice"}),
        ("slurm", "squeue", "", {}),
        ("kubernetes", "kubectl", json.dumps({"items": [
            {"metadata": {"name": "kube-proxy", "namespace": "kube-system", "ownerReferences": [{"kind": "Node"}]}},
            {"metadata": {"name": "llama-0", "namespace": "train", "labels": {"owner": "team-llama"}}},
            {"metadata": {"name": "dns", "namespace": "kube-system", "ownerReferences": [{"kind": "DaemonSet"}]}},
        ]}), {"summary": "Pod train/llama-0", "owner": "team-llama"}),
    ],
)  # fmt: skip
async def test_example_services_say_what_runs_on_a_node(
    tmp_path: Path, service: str, command: str, printed: str, expected: dict[str, Any]
) -> None:
    """They run as they are, beside a command that prints what the real one does."""
    fake = tmp_path / command
    checks = "import sys\nassert 'gpu-7' in ' '.join(sys.argv)\n"
    fake.write_text(f"#!{sys.executable}\n{checks}sys.stdout.write({printed!r})\n")
    fake.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        sys.executable, f"{ROOT}/deploy/impact.py", service, "0",
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout
        port = int((await process.stdout.readline()).split()[-1])
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"http://127.0.0.1:{port}/nodes/gpu-7")
            assert (await http.get(f"http://127.0.0.1:{port}/nodes/-h%20x")).status_code == 404
        assert answer.json() == expected if expected else answer.status_code == 404
    finally:
        process.kill()
        await process.wait()


async def test_half_an_emoji_from_the_impact_service_leaves_the_card_alive() -> None:
    async with Jobs() as jobs:
        jobs.said = '{"summary": "job of \\ud83d"}'  # as JavaScript's slice() cuts an emoji
        async with watching(BOT_IMPACT_URL=f"{jobs.url}/{{node}}") as bot:
            bot.together.add()
            alert = await card(bot)
            bot.together.resolve(IDS)
            await card(bot, words="recovered on its own")
            assert APPROVE not in alert.buttons


async def test_silent_service_is_not_asked_for_one_card_after_the_other() -> None:
    async with Jobs() as jobs, watching(BOT_IMPACT_URL=f"{jobs.url}/{{node}}") as bot, AsyncExitStack() as stack:
        bot.together.add()
        await card(bot)
        asked = len(jobs.asked)
        stack.enter_context(jobs.paused("ask"))
        for number in range(4):
            bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), instance_name=f"gpu-{number}")
        await until(bot, lambda: all(bot.slack.cards(f"r-{number}") for number in range(4)))
        assert len(jobs.asked) == asked + 1


@pytest.mark.parametrize(
    "url", ["https://jobs.example/a|b", "https://jobs.example/<x>", f"https://x.example/?{'&' * 900}"]
)
async def test_link_that_would_not_be_drawn_as_it_is_is_left_out(url: str) -> None:
    async with reading() as (jobs, reader, _):
        jobs.said = json.dumps(SAID | {"url": url})
        found = await reader.of(remediation())
        assert found
        assert (found.summary, found.url) == (SAID["summary"], "")


async def test_summary_without_visible_characters_is_unknown() -> None:
    async with reading() as (jobs, reader, _):
        jobs.said = json.dumps({"summary": "\u200b"})
        assert await reader.of(remediation()) is None


def test_https_on_loopback_is_an_address() -> None:
    assert impact_url("https://127.0.0.1/nodes/{node}")


async def test_null_summary_affects_nobody() -> None:
    async with reading() as (jobs, reader, _):
        jobs.said = json.dumps({"summary": None})
        found = await reader.of(remediation())
        assert found is None, found
