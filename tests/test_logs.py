"""Logs: for people and machines, and never with a secret."""

import json
import logging
import re
from collections.abc import Iterator

import pytest

from bot.logs import configure_logs
from tests.simulator.slack import SlackFault
from tests.simulator.slack.workspace import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET
from tests.simulator.together import API_KEY, Fault
from tests.watch import card, pass_time, quiet, watching
from tests.world import APPROVE, REF, REFRESH, world

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
    assert record["time"].endswith("+00:00")


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", [])
    logging.getLogger("x").info("to https://hooks.slack.com/actions/T1/2/3 with xoxb-1-abc")
    assert capsys.readouterr().err.endswith("INFO    x: to https://hooks.slack.com/[secret] with [secret]\n")


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
    decision = {
        "text": r"\[[0-9a-f]{8} cluster-1/instance-1/remediation-1\] cancel by U0ALICE: ",
        "json": r'"cancel by U0ALICE: .*"decision": "[0-9a-f]{8}", "remediation": "cluster-1/instance-1/remediation-1"',
    }
    assert re.search(decision[style], logged)
    for secret in (*SECRETS, "/response/secret", "ticket-1", "private"):
        assert secret not in logged


def test_socket_ticket_is_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "text", [])
    logging.getLogger("x").warning("connecting to wss://wss-primary.slack.com/link/?ticket=abc-123&app_id=def")
    assert "abc-123" not in capsys.readouterr().err


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
    assert "refresh by U0ALICE: read" in logged
