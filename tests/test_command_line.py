"""`python -m bot` as a process."""

import asyncio
import fcntl
import gc
import json
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.__main__ import main
from tests.manual_clock import HANGS_AFTER
from tests.simulator.process import ROOT, free_port, ready, start_bot, stop_bot, variables
from tests.simulator.slack import Slack
from tests.simulator.together import Together
from tests.world import IDS, REF


def test_wrong_settings_end_with_status_2(tmp_path: Path) -> None:
    process = start_bot(tmp_path, {})
    printed, told = process.communicate(timeout=30)
    assert (process.returncode, printed) == (2, "")
    assert told.startswith("The bot can't start: 4 variables are missing or invalid.")


def test_output_that_a_full_disk_takes_no_more_of_is_said_not_to_be_whole() -> None:
    with Path("/dev/full").open("wb") as full:
        words = [sys.executable, "-m", "bot", "manifest"]
        ended = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False, text=True)  # noqa: S603 - our own program
    assert ended.returncode == 1
    assert ended.stderr == "Can't write all of the output: No space left on device.\n"


def test_help_lists_the_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert {"serve", "manifest"} <= set(capsys.readouterr().out.split())


async def test_the_process_serves_and_a_signal_ends_it_with_status_0(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        together.add()
        port = free_port()
        with start_bot(tmp_path, variables(slack, together), port=port) as process:
            await ready(slack, port)
            assert (await slack.command(REF)).status == 200
            await slack.until(slack.visible)
            assert together.state(IDS) == "CANCELLED"
            process.send_signal(signal.SIGTERM)
            _, logged = process.communicate(timeout=30)
        assert process.returncode == 0
        assert json.loads(logged.splitlines()[-1])["message"] == "Stopped"
        assert json.loads(logged.splitlines()[-2])["message"].startswith("Audit head ")


async def test_garbage_is_looked_for_seldom(tmp_path: Path) -> None:
    assert gc.isenabled(), "after the import of `main`"
    async with Slack() as slack, Together(slack.now) as together:
        several = [together.add((*IDS[:2], f"r{number}")) for number in range(60)]
        port = free_port()
        with start_bot(tmp_path, variables(slack, together), port=port) as process:
            await ready(slack, port)
            before = await _collections(port)
            for ids in several:
                await slack.command(" ".join(ids))
            await slack.until(lambda: len(slack.visible()) == len(several))
            looks = await _collections(port) - before
            process.terminate()
    assert looks <= 2


async def _collections(port: int) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        samples = text_string_to_metric_families(await response.text())
        return sum(sample.value for of in samples if of.name == "python_gc_collections" for sample in of.samples)


async def test_log_that_nobody_reads_keeps_no_ack_waiting_and_no_stop(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        several = [together.add((*IDS[:2], f"r{number}")) for number in range(30)]
        port = free_port()
        with start_bot(tmp_path, variables(slack, together), port=port) as process:
            assert process.stderr
            fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
            await ready(slack, port)
            async with asyncio.timeout(HANGS_AFTER):
                for ids in several:
                    assert (await slack.command(" ".join(ids))).status == 200
            await slack.until(lambda: len(slack.visible()) == len(several))
            await stop_bot(process)
        assert process.returncode == 0


async def test_hangup_of_a_terminal_ends_it_like_any_stop(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        port = free_port()
        ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` may run the tests
        process = start_bot(tmp_path, variables(slack, together), port=port)
        signal.signal(signal.SIGHUP, ours)
        await ready(slack, port)
        process.send_signal(signal.SIGHUP)
        _, logged = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0
        assert json.loads(logged.splitlines()[-1])["message"] == "Stopped"


async def test_strange_setting_is_a_line_in_the_log(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        slack.token_error = "invalid_auth"
        process = start_bot(tmp_path, variables(slack, together) | {"BOT_GREETING": "1"})
        _, logged = await asyncio.to_thread(process.communicate)
    assert "BOT_GREETING isn't a setting of this version, so it does nothing" in logged


async def test_a_refused_token_ends_with_status_1(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        slack.token_error = "invalid_auth"
        with start_bot(tmp_path, variables(slack, together)) as process:
            await slack.until(lambda: slack.calls)
            _, logged = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Slack rejects SLACK_BOT_TOKEN: invalid_auth." in logged
    assert "Traceback" not in logged


@pytest.mark.parametrize("host", ["a" * 70, "bad..host"])
async def test_host_that_is_none_ends_with_a_sentence(tmp_path: Path, host: str) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        process = start_bot(tmp_path, {**variables(slack, together), "HOST": host}, "serve")
        _, logged = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"Cannot listen on {host}:" in logged
    assert "Traceback" not in logged


async def test_a_taken_port_ends_with_status_1(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        taken = int(slack.url.rpartition(":")[2])
        process = start_bot(tmp_path, variables(slack, together), "serve", port=taken)
        _, logged = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{taken}" in logged
