"""Logs: for people and machines, and never with a secret."""

import asyncio
import fcntl
import itertools
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.logs import LOG_CONTEXT, LineWriter, configure_logs, lasting
from bot.store.tables import metadata
from bot.tasks import cancel
from handlers.socket import AT_ONCE
from tests.fetch import get
from tests.manual_clock import HANGS_AFTER
from tests.rows import execute_beside
from tests.simulator.receivers import SECRET, WebhookReceiver
from tests.simulator.slack import SlackFault
from tests.simulator.slack.workspace import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET
from tests.simulator.together import API_KEY, KUBE_CONFIG, Fault
from tests.test_app import connected_anew_soon
from tests.test_transport import serving
from tests.watch import CHANNEL, card, pass_time, quiet, until, watching
from tests.world import APPROVE, IDS, REF, REFRESH, world

PATH = "/compute/clusters/cluster-1/instances/instance-1/remediations/remediation-1"
SECRETS = (BOT_TOKEN, APP_TOKEN, SIGNING_SECRET, API_KEY)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_has_a_line_per_record(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json", ["hush-hush", "it"])
    error = RuntimeError("it was hush-hush")
    logging.getLogger("x").error("token %s\nand more", "hush-hush", exc_info=error)
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"], record["message"]) == ("ERROR", "x", "token [secret]\nand more")
    assert "RuntimeError: it was [secret]" in record["exception"]
    assert record["time"].endswith("Z")


def test_json_stays_json_around_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json", ['pä"ss\\wort'])
    logging.getLogger("x").info('POST "https://hooks.slack.com/actions/T/1/abc"\nfailed with pä"ss\\wort')
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == 'POST "https://hooks.slack.com/[secret]"\nfailed with [secret]'


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", [])
    logging.getLogger("x").info("to https://hooks.slack.com/actions/T1/2/3 with xoxb-1-abc")
    assert capsys.readouterr().err.endswith("[INFO     ] to https://hooks.slack.com/[secret] with [secret] [x]\n")


def test_no_words_draw_a_line_of_their_own_or_a_terminals_codes(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", [])
    forged = "x\n2026-11-24 [INFO] Approved by U0EVE\r\x1b[2K\x9b1A\u2028y"
    error = RuntimeError(forged)
    logging.getLogger("x").error("Slack says %s", forged, exc_info=error, extra={"outcome": forged})
    told = capsys.readouterr().err
    assert [line for line in told.split("\n") if line.startswith("2026-11-24 [INFO]")] == []
    assert not set(told) & set("\r\x1b\x9b\u2028")
    assert r"\x1b[2K" in told


def test_what_lasts_is_logged_once_an_hour(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", [])
    (handler,) = logging.getLogger().handlers

    def said(at: float, what: str, **decision: str) -> int:
        token = LOG_CONTEXT.set(decision)
        handler.handle(logging.makeLogRecord({"msg": "%s", "args": (at,), "created": at, **lasting(what)}))
        LOG_CONTEXT.reset(token)
        return len(capsys.readouterr().err.splitlines())

    assert [said(at, "c-1") for at in (1e9, 1e9 + 1800, 1e9 + 3600, 1e9 + 3601)] == [1, 0, 1, 0]
    assert (said(1e9 + 3602, "c-2"), said(1e9 + 3602, "c-1", decision="d-1")) == (1, 1)
    assert said(1e9, "c-1") == 1, "the clock was set back"
    assert sum(said(1e9, f"cluster {number}") for number in range(2000)) == 2000
    assert said(1e9, "c-1") == 1, "what is remembered is bounded"
    error = RuntimeError("another way to fail")
    handler.handle(
        logging.makeLogRecord({"msg": "%s", "created": 1e9, "exc_info": (type(error), error, None), **lasting("c-1")})
    )
    assert "another way to fail" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["cluster", "remediation", "channel"])
async def test_no_line_is_logged_with_each_poll_for_as_long_as_something_lasts(
    capfd: pytest.CaptureFixture[str], what: str
) -> None:
    configure_logs("INFO", "text", [])
    async with watching() as bot:
        bot.together.add()
        if what == "channel":
            del bot.slack.channels[CHANNEL]
        else:
            await card(bot)
        if what == "cluster":
            bot.together.unreadable["cluster-1"] = 14
        elif what == "remediation":
            bot.together.lists_as[IDS] = "SUCCEEDED"
            bot.together.faults.append(Fault("rpc", verb="get", code=7, times=-1))
        capfd.readouterr()
        await pass_time(bot, 1800)
        lines = capfd.readouterr().err.splitlines()
        assert 1 <= len(lines) <= 12, lines


async def test_no_line_is_logged_with_each_try_for_as_long_as_the_database_is_away(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    configure_logs("INFO", "text", [])
    hook = {"BOT_WEBHOOK_URL": "https://hook", "BOT_WEBHOOK_SECRET": SECRET}
    environ: Any = {**hook, "BOT_AUDIT_FILE": f"{tmp_path}/trail"}
    async with watching(f"sqlite:///{tmp_path}/bot.db", **environ) as bot:
        await pass_time(bot, 60)
        capfd.readouterr()
        moved = (tmp_path / "bot.db").rename(tmp_path / "moved")
        await pass_time(bot, 1200, longest=1)
        lines = capfd.readouterr().err.splitlines()
        moved.rename(tmp_path / "bot.db")
        assert 1 <= len(lines) <= 20, lines


@pytest.mark.parametrize("socket", [False, True], ids=["http", "socket"])
@pytest.mark.parametrize("style", ["text", "json"])
async def test_no_secret_is_logged_whatever_goes_wrong_at_debug(
    capfd: pytest.CaptureFixture[str], style: str, *, socket: bool
) -> None:
    configure_logs("DEBUG", style, SECRETS)
    async with world(socket=socket) as bot:
        bot.together.add()
        alert = bot.alert()
        bot.slack.faults += [SlackFault("chat.update", "drop"), SlackFault("response_url", "x", times=2)]
        bot.together.faults.append(Fault("cut", verb="get"))
        await bot.slack.press(alert, APPROVE)
        await bot.answer(2)
        await bot.slack.command(REF)
        await bot.answer(3)
        await bot.slack.post_signed(b"user=U0ALICE&text=private+words", x_slack_signature="v0=forged")
        await bot.settle()
    logged = capfd.readouterr().err
    assert "Recorded" in logged
    for secret in (*SECRETS, "/response/secret", "ticket-1", "private"):
        assert secret not in logged


async def test_credential_of_a_cluster_is_in_no_log_table_or_event(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("DEBUG", "json", SECRETS)
    async with WebhookReceiver() as webhook:
        environ: Any = webhook.settings
        async with watching(BOT_MAX_IN_REPAIR_PERCENT="100", **environ) as bot:
            bot.together.nodes["cluster-1"] = 2
            bot.together.node_status["instance-1"] = "NODE_PHASE_FAILED"
            bot.together.faults.append(Fault("truncated", "cluster", after=True))
            bot.together.add()
            alert = await card(bot)
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="Approved")
            bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": bot.together._time()}
            await until(bot, lambda: "wasn't running" in alert.text, seconds=1200)
            tables = [await execute_beside(bot, select(each)) for each in metadata.sorted_tables]
            told = [bot.slack.messages, webhook.events]
            assert [call.verb for call in bot.together.calls].count("cluster") >= 3
    everything = f"{capfd.readouterr().err} {tables} {told}"
    assert "not_back" in everything
    assert KUBE_CONFIG not in everything


async def test_each_step_of_a_decision_is_a_line_that_says_which(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json", SECRETS)
    async with world() as bot:
        bot.together.add()
        await bot.slack.press(bot.alert(), APPROVE)
        await bot.settle()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    steps = [line for line in lines if "decision" in line]
    assert [(line["logger"], line["message"]) for line in steps] == [
        ("bot.decisions.service", "Received"),
        ("bot.together.client", f"together POST {PATH}/approve: HTTP 200, request req-2"),
        ("bot.decisions.service", "Recorded"),
        ("bot.decisions.delivery", "Answered"),
    ]
    about = {(len(line["decision"]), line["remediation"], line["verb"], line["by"]) for line in steps}
    assert about == {(8, "cluster-1/instance-1/remediation-1", "approve", "U0ALICE")}
    assert steps[2]["outcome"] == "approved"


async def test_line_of_a_look_up_that_many_wait_for_names_no_decision(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json", SECRETS)
    async with world() as bot:
        bot.slack.faults.append(SlackFault("users.info", "internal_error"))
        await bot.slack.command(REF)
        await bot.settle()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (looked_up,) = [line for line in lines if "Could not look up" in line["message"]]
    assert "decision" not in looked_up


def test_lines_are_counted_that_were_dropped_while_nobody_read_them() -> None:
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(read_end) as reader, os.fdopen(write_end, "w") as full:
        full.write("x" * 4095 + "\n")
        full.flush()
        writer = LineWriter(full, waiting=3)
        configure_logs("INFO", "text", [], writer)
        for number in range(10):
            logging.getLogger("x").info("line %d", number)
        told = [reader.readline()]
        while "dropped" not in told[-1]:
            told.append(reader.readline())
        writer.close()
    written = sum("] line " in line for line in told)
    assert 3 <= written < 10
    assert f"{10 - written} lines of this log were dropped, since nobody read it" in told[-1]


def test_libraries_lines_look_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json", [])
    for name in ("bot.app", "sqlalchemy.pool"):
        logging.getLogger(name).warning("slow")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert ours.keys() == theirs.keys() == {"time", "level", "logger", "message"}


def test_socket_ticket_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", [])
    logging.getLogger("x").warning("connecting to wss://wss-primary.slack.com/link/?ticket=abc-123&app_id=def")
    assert "abc-123" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "hooks.slack.com/abc-123",
        "hooks.slack-gov.com/abc-123",
        "POST /response/abc-123",
        "/link/?ticket=abc-123",
        "/link/?x=1&app_id=abc-123",
        "/?token=abc-123",
        "xoxb-abc-123",
        "xoxe-abc-123",
        "xapp-abc-123",
        "https://somebody:abc-123@host/",
    ],
)
def test_every_kind_of_capability_is_redacted(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "json", [])
    logging.getLogger("x").warning(text)
    (line,) = capsys.readouterr().err.splitlines()
    assert "abc-123" not in line
    assert "[secret]" in line


def test_password_with_an_at_sign_in_a_url_is_redacted_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", [])
    logging.getLogger("x").info("via http://bot:h'u@sh@proxy:3128, 'https://a.example', for a@b.example")
    assert "via http://[secret]@proxy:3128, 'https://a.example', for a@b.example" in capsys.readouterr().err


async def test_password_of_a_proxy_that_refuses_is_redacted(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", SECRETS)
    connections, has_failed = itertools.count(), asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(connections):  # the one before is logged by now
            has_failed.set()
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

    async with world(socket=True) as bot, serving(refuse) as proxy:
        assert bot.app._socket
        client = bot.app._socket.handlers[0].client
        client.proxy, client.ping_interval = f"http://bot:hush-hush@{proxy}", 0.1
        client.wss_uri = "wss://wss-primary.slack.com/link/?ticket=abc-123"
        connecting = asyncio.create_task(client.connect())
        async with asyncio.timeout(HANGS_AFTER):
            await has_failed.wait()
        await cancel([connecting])
    logged = capfd.readouterr().err
    assert "hush-hush" not in logged
    assert f"http://[secret]@{proxy}" in logged


async def test_polls_and_reads_are_not_logged_at_info(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", [])
    async with watching() as bot:
        bot.together.add()
        await card(bot)
        capfd.readouterr()
        await pass_time(bot, 300)
        assert capfd.readouterr().err == ""
        await bot.slack.press(bot.alert(), REFRESH)
        await quiet(bot)
    logged = capfd.readouterr().err
    assert "HTTP 200" not in logged
    assert re.search(r"Recorded .*outcome=read .*verb=refresh", logged)


def failed_checks(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """Count the lines of each connection that found nobody to connect to."""
    return Counter(record.message for record in caplog.records if "message: ClientConnectorError" in record.message)


async def test_log_says_once_why_slack_is_not_reached_over_the_socket(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world(socket=True) as bot:
        await connected_anew_soon(bot)
        configure_logs("INFO", "text", [])
        logging.getLogger().addHandler(caplog.handler)
        await bot.slack.stop()
        async with asyncio.timeout(HANGS_AFTER):
            while len(of_each := failed_checks(caplog)) < AT_ONCE or min(of_each.values()) < 3:
                await get(bot.app, "/healthz")
        await bot.slack.start()
    said = capsys.readouterr().err
    assert "NoneType" not in said
    assert said.count("message: ClientConnectorError") == AT_ONCE
