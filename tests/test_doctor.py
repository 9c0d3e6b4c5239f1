"""`python -m bot doctor`, beside a running bot: what it finds, and what it says to do."""

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from bot.__main__ import main
from bot.doctor import examine
from bot.findings import Finding, Status, report
from bot.settings import Settings
from tests.simulator.process import ROOT, free_port, ready, start_bot, stop_bot, variables
from tests.simulator.receivers import ROUTING_KEY, SECRET, PagerDuty, WebhookReceiver
from tests.simulator.slack import Slack
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault, Together
from tests.sqlite import locked
from tests.world import World

pytestmark = pytest.mark.bot(environ={"BOT_ALERT_CHANNEL": "C0OPS"})


def settings_of(bot: World, **changed: object) -> Settings:
    return bot.settings.model_copy(update={"port": bot.app.port, **changed})


async def found(bot: World, *, posts: bool = False, **changed: object) -> dict[str, Finding]:
    findings = await examine(settings_of(bot, **changed), unknown=(), posts=posts, clock=bot.time.clock)
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize("transport", ["http", "socket"])
async def test_all_is_well_beside_a_running_bot(bot: World, transport: str) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add()
    await bot.slack.until(lambda: bot.slack.messages)
    bot.time.set_back = bot.time.now() - time.time()
    assert (await found(bot))["on-call"].detail == "alerts mention nobody"
    observing = await found(bot, bot_observe=("c-train", "c-infer"), bot_escalate=("U0BOB", 1800.0))
    assert observing["observing"].detail == "the bot decides nothing in c-train, c-infer"
    assert observing["escalation"].detail == "U0BOB"
    findings = await found(bot, bot_oncall="U0BOB")
    assert {finding.status for finding in findings.values()} == {Status.OK}, findings
    assert findings["on-call"].detail == "U0BOB"
    assert findings["alert channel C0OPS"].detail == "the bot is in #ops"
    assert findings["operators"].detail == "U0ALICE, U0BOB"
    assert findings["Together API key"].detail == "sees 1: cluster-1"
    assert findings["remediations"].detail == "can be read; 1 open"
    assert "SQLite can be read and written, and a bot is running on it" in findings["database"].detail
    assert findings["running bot"].detail == "ready"
    assert ("Slack app token" in findings) == (transport == "socket")
    assert transport == "http" or findings["sockets"].detail == "2 open, all of this process"
    assert len(bot.slack.messages) == 1
    assert bot.together.posts == []
    assert bot.slack.sockets.connected == (2 if transport == "socket" else 0)


@dataclass(frozen=True)
class Wrong:
    """Something that is wrong, and what is said of it."""

    check: str
    status: Status
    detail: str
    make: Callable[[World], object]


def set_token_error(bot: World, code: str) -> None:
    bot.slack.token_error = code


def install_org_wide(bot: World) -> None:
    bot.slack.auth_extra["is_enterprise_install"] = True


def set_clock_ahead(bot: World) -> None:
    bot.time.set_back = -1e9


def fail_slack(bot: World, method: str) -> None:
    bot.slack.faults.append(SlackFault(method, "internal_error", times=9))


def fail_together(bot: World, verb: str | None, status: int) -> None:
    bot.together.faults.append(Fault("html", verb=verb, status=status, times=9))


def in_channel(bot: World, **flags: bool) -> None:
    for name, value in flags.items():
        setattr(bot.slack.channels["C0OPS"], name, value)


CHANNEL = "alert channel C0OPS"
WRONG = [
    Wrong("Slack token", Status.PROBLEM, "token_revoked", lambda bot: set_token_error(bot, "token_revoked")),
    Wrong("Slack token", Status.PROBLEM, "org-wide", install_org_wide),
    Wrong(
        "Slack events",
        Status.WARNING,
        "org_deploy_enabled",
        lambda bot: bot.slack.auth_extra.update(enterprise_id="E1"),
    ),
    Wrong("Slack scopes", Status.WARNING, "im:history", lambda bot: bot.slack.scopes.discard("im:history")),
    Wrong("Slack scopes", Status.PROBLEM, "users:read", lambda bot: bot.slack.scopes.discard("users:read")),
    Wrong(CHANNEL, Status.PROBLEM, "channel_not_found", lambda bot: bot.slack.channels.pop("C0OPS")),
    Wrong(CHANNEL, Status.WARNING, "can't be checked", lambda bot: bot.slack.scopes.discard("channels:read")),
    Wrong(CHANNEL, Status.PROBLEM, "archived", lambda bot: in_channel(bot, is_archived=True)),
    Wrong(CHANNEL, Status.WARNING, "shared with other", lambda bot: in_channel(bot, is_shared=True)),
    Wrong(CHANNEL, Status.WARNING, "isn't in #ops", lambda bot: in_channel(bot, bot_may_post=False)),
    Wrong(CHANNEL, Status.PROBLEM, "isn't in #ops", lambda bot: in_channel(bot, bot_may_post=False, is_private=True)),
    Wrong(
        "operators", Status.WARNING, "U0BOB isn't an active", lambda bot: bot.slack.users["U0BOB"].update(deleted=True)
    ),
    Wrong("operators", Status.PROBLEM, "isn't an active full member", lambda bot: bot.slack.users.clear()),
    Wrong("operators", Status.PROBLEM, "can't be looked up", lambda bot: fail_slack(bot, "users.info")),
    Wrong("Together API key", Status.PROBLEM, "API key", lambda bot: fail_together(bot, None, 401)),
    Wrong("Together API key", Status.WARNING, "no clusters", lambda bot: bot.together.clusters.clear()),
    Wrong("remediations", Status.PROBLEM, "Together", lambda bot: fail_together(bot, "list", 500)),
    Wrong("clock against Slack", Status.WARNING, "s ahead", set_clock_ahead),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.check}: {wrong.detail}")
async def test_each_thing_that_is_wrong_is_found_with_its_fix(bot: World, wrong: Wrong) -> None:
    bot.together.clusters["cluster-1"] = "one"
    wrong.make(bot)
    finding = (await found(bot))[wrong.check]
    assert finding.status is wrong.status
    assert wrong.detail in finding.detail
    assert finding.fix.endswith(".")


async def test_clusters_that_together_does_not_list(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    findings = await found(bot, bot_clusters=("cluster-1", "cluster-9"), bot_wait_minutes={"*": 30, "cluster-8": 60})
    assert findings["clusters"].detail == "Together doesn't list cluster-8, cluster-9"
    assert findings["clusters"].fix == "Use cluster IDs in BOT_CLUSTERS, BOT_WAIT_MINUTES."


async def test_groups_and_everybody(bot: World) -> None:
    bot.slack.groups |= {"S0ONCALL": ["U0ALICE"], "S0EMPTY": []}
    findings = await found(bot, bot_operators=("*",), bot_oncall="S0ONCALL")
    assert findings["operators"].detail == "every full member of the workspace"
    assert findings["on-call"].detail == "S0ONCALL (1 active)"
    findings = await found(bot, bot_oncall="S0EMPTY")
    assert findings["on-call"].detail == "S0EMPTY has no active members"
    assert findings["on-call"].status is Status.WARNING


@pytest.mark.bot(BOT_OPERATORS="U0ALICE,*")
async def test_people_who_are_listed_beside_everybody_are_found_and_told_beside_a_bot_that_is_ready(bot: World) -> None:
    findings = await found(bot, bot_break_glass=("U0ALICE", "*"))
    for check in ("operators", "break glass"):
        assert findings[check].status is Status.WARNING
        assert findings[check].detail == "every full member of the workspace, not only U0ALICE"
    told = "BOT_OPERATORS lists * beside others, so every full member of this workspace can decide."
    assert findings["running bot"].detail == f"ready {told}"


async def test_clusters_whose_alerts_mention_nobody_are_found(bot: World) -> None:
    routes: Any = {"bot_routes": {"c-train": ("C0OPS", "U0BOB"), "c-infer": ("C0OPS", "")}}
    finding = (await found(bot, **routes))["on-call"]
    assert (finding.status, finding.detail) == (
        Status.WARNING,
        "alerts of clusters other than c-train mention nobody",
    )
    assert (await found(bot, **routes, bot_clusters=("c-train",)))["on-call"].status is Status.OK
    assert (await found(bot, **routes, bot_oncall="U0ALICE"))["on-call"].status is Status.OK


async def test_who_may_approve_alone_is_looked_up(bot: World) -> None:
    assert "break glass" not in await found(bot)
    assert (await found(bot, bot_break_glass=("*",)))["break glass"].status is Status.OK
    finding = (await found(bot, bot_break_glass=("U0BOB", "U0WRONG")))["break glass"]
    assert (finding.status, finding.detail) == (Status.WARNING, "U0WRONG isn't an active full member")


async def test_who_may_approve_alone_but_not_approve_is_found(bot: World) -> None:
    bot.slack.groups |= {"S0LEADS": ["U0BOB", "U0CAROL"], "S0OTHERS": ["U0CAROL"]}
    for operators, alone, outside in (
        (("U0ALICE", "U0BOB"), ("U0BOB", "U0CAROL"), "U0CAROL is not in BOT_OPERATORS"),
        (("U0ALICE", "U0BOB"), ("S0LEADS", "S0OTHERS"), "S0OTHERS has nobody in BOT_OPERATORS"),
        (("U0ALICE", "S0LEADS"), ("U0BOB", "U0CAROL", "S0OTHERS"), ""),
        (("*",), ("U0CAROL",), ""),
    ):
        finding = (await found(bot, bot_operators=operators, bot_break_glass=alone))["break glass"]
        assert finding.status is (Status.WARNING if outside else Status.OK)
        assert not outside or finding.detail == outside
        assert ("list them in BOT_OPERATORS too" in finding.fix) == bool(outside)


async def test_guest_can_be_on_call_and_no_bot_can(bot: World) -> None:
    bot.slack.users["U0BOB"]["is_restricted"] = True
    assert (await found(bot, bot_oncall="U0BOB"))["on-call"].status is Status.OK
    bot.slack.users["U0BOB"]["is_bot"] = True
    finding = (await found(bot, bot_oncall="U0BOB"))["on-call"]
    assert (finding.status, finding.detail) == (Status.WARNING, "U0BOB isn't a person with an active account")


async def test_test_card_is_posted_and_deleted_only_when_asked(bot: World) -> None:
    known = len(bot.slack.messages)
    assert (await found(bot, posts=True))["test card in C0OPS"].status is Status.OK
    assert len(bot.slack.messages) == known
    assert [method for method, _ in bot.slack.calls].count("chat.delete") == 1
    bot.slack.faults.append(SlackFault("chat.delete", "internal_error", times=1))
    finding = (await found(bot, posts=True))["test card in C0OPS"]
    assert (finding.status, finding.detail) == (Status.WARNING, "posted, but not deleted: internal_error")
    bot.slack.channels["C0OPS"].bot_may_post = False
    assert (await found(bot, posts=True))["test card in C0OPS"].detail == "not_in_channel"


async def test_databases_that_are_not_there_or_cannot_be_written(bot: World, postgresql: str, tmp_path: Path) -> None:
    for url in (postgresql, f"sqlite:///{tmp_path}/none.db"):
        finding = (await found(bot, database_url=url))["database"]
        assert (finding.status, finding.fix) == (Status.WARNING, "Start the bot once to create it.")
    finding = (await found(bot, database_url=f"sqlite:///{tmp_path}/none/bot.db"))["database"]
    assert finding.status is Status.PROBLEM
    assert finding.detail.endswith(f"there is no {tmp_path}/none/bot.db, and {tmp_path}/none can't be written.")
    for path, why in ((f"{tmp_path}/{'a' * 300}", "File name too long"), ("/dev/null/bot.db", "Not a directory")):
        finding = (await found(bot, database_url=f"sqlite:///{path}"))["database"]
        assert (finding.status, finding.detail) == (Status.PROBLEM, f"DATABASE_URL: {path} can't be read: {why}.")
    async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///"))):
        finding = (await found(bot))["database"]
        assert finding.detail == "SQLite can't be reached or written (OperationalError: database is locked)"
    finding = (await found(bot, database_url="postgresql://u:pass@127.0.0.1:1/x"))["database"]
    assert finding.status is Status.PROBLEM
    assert finding.detail == "PostgreSQL can't be reached or written (OperationalError: Connection refused)"
    assert finding.fix == "Check DATABASE_URL and the server."


async def test_bot_that_runs_but_is_not_ready_and_none_that_runs(bot: World) -> None:
    bot.app._lacks["start"] = "Can't reach the database."
    assert (await found(bot))["running bot"].detail == "Can't reach the database."
    port = free_port()
    assert (await found(bot, port=port))["running bot"].detail == f"none on port {port}"


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])  # noqa: S104 - as it is set
async def test_port_that_another_program_has_is_found(bot: World, host: str) -> None:
    port = int(bot.slack.url.rpartition(":")[2])
    finding = (await found(bot, host=host, port=port))["running bot"]
    assert finding.status is Status.PROBLEM
    assert finding.detail == f"none, and the bot can't listen on {host}:{port}: Address already in use"


async def test_address_that_this_machine_does_not_have_is_found(bot: World) -> None:
    finding = (await found(bot, host="192.0.2.1", port=free_port()))["running bot"]
    assert (finding.status, "can't listen on 192.0.2.1" in finding.detail) == (Status.PROBLEM, True)


@pytest.mark.bot(environ={"BOT_ALERT_CHANNEL": "C0OPS", "HOST": "127.0.0.2"})
async def test_bot_is_asked_where_it_listens(bot: World) -> None:
    assert (await found(bot))["running bot"].detail == "ready"


async def test_channel_that_slack_does_not_know_is_found(bot: World) -> None:
    assert (await found(bot, bot_channels=("C0OPS",)))["channels"].detail == "Slack knows all 1"
    finding = (await found(bot, bot_channels=("C0OPS", "C0WRONG")))["channels"]
    assert (finding.status, finding.detail) == (Status.WARNING, "Slack doesn't show the bot C0WRONG")
    bot.slack.scopes.discard("channels:read")
    finding = (await found(bot, bot_channels=("C0OPS",)))["channels"]
    assert (finding.status, finding.detail) == (Status.WARNING, "can't be checked")


async def test_tool_that_nobody_answers_for_is_found(bot: World) -> None:
    told: Any = {"bot_webhook_secret": SecretStr(SECRET), "bot_webhook_url": f"http://127.0.0.1:{free_port()}/x"}
    finding = (await found(bot, **told))["webhook"]
    assert (finding.status, finding.detail) == (Status.WARNING, "can't be reached (ConnectError: Connection refused)")
    async with WebhookReceiver() as webhook, PagerDuty() as pagerduty:
        told |= {"bot_webhook_url": f"{webhook.url}/events", "bot_pagerduty_key": SecretStr(ROUTING_KEY)}
        findings = await found(bot, **told, bot_pagerduty_url=pagerduty.url)
        assert (findings["webhook"].status, findings["PagerDuty"].status) == (Status.OK, Status.OK)
        assert webhook.events + webhook.refused + pagerduty.calls + pagerduty.refused == []


@pytest.mark.parametrize(
    ("changed", "is_found"),
    [
        ({}, False),
        ({"bot_alert_channel": None}, True),
        ({"bot_remind_minutes": 0}, True),
        ({"bot_remind_minutes": 0, "bot_escalate": ("U0BOB", 1800.0)}, False),
        ({"bot_remind_minutes": 0, "bot_pagerduty_when": "opened"}, False),
    ],
)
async def test_settings_under_which_nobody_is_paged_for_what_waits_are_found(
    bot: World, changed: Any, *, is_found: bool
) -> None:
    findings = await found(bot, bot_pagerduty_key=SecretStr(ROUTING_KEY), **changed)
    assert ("PagerDuty incidents" in findings) == is_found


@pytest.mark.bot(BOT_TWO_PEOPLE_MODES="MIGRATE,REBOOT_VM")
async def test_mode_that_nobody_knows_is_told_beside_a_bot_that_is_ready(bot: World) -> None:
    findings = await found(bot)
    assert findings["two people"].detail == "this version doesn't know REMEDIATION_MODE_MIGRATE"
    told = "BOT_TWO_PEOPLE_MODES names modes that this version doesn't know: REMEDIATION_MODE_MIGRATE."
    assert findings["running bot"].detail == f"ready {told}"


async def test_audit_file_that_cannot_be_written_is_found(bot: World, tmp_path: Path) -> None:
    finding = (await found(bot, bot_audit_file=str(tmp_path / "none" / "audit.jsonl")))["audit copy"]
    assert (finding.status, "there is no" in finding.detail) == (Status.PROBLEM, True)
    assert (await found(bot, bot_audit_file=str(tmp_path)))["audit copy"].status is Status.PROBLEM
    for path, why in (
        (tmp_path / ("a" * 300), "File name too long"),
        (Path("/dev/null/audit.jsonl"), "Not a directory"),
    ):
        finding = (await found(bot, bot_audit_file=str(path)))["audit copy"]
        assert (finding.status, why in finding.detail) == (Status.PROBLEM, True)
    assert (await found(bot, bot_audit_file=str(tmp_path / "audit.jsonl")))["audit copy"].status is Status.OK
    assert not (tmp_path / "audit.jsonl").exists()


@pytest.mark.parametrize(
    ("kind", "status", "detail"),
    [
        ("ratelimited", Status.WARNING, "can't be checked: ratelimited"),
        ("internal_error", Status.WARNING, "can't be checked: internal_error"),
        ("html", Status.PROBLEM, "can't reach Slack"),
    ],
)
async def test_trouble_of_slack_is_not_taken_for_a_wrong_token(
    bot: World, kind: str, status: Status, detail: str
) -> None:
    bot.slack.faults.append(SlackFault("auth.test", kind, times=9))
    finding = (await found(bot))["Slack token"]
    assert (finding.status, detail in finding.detail, "token" in finding.fix) == (status, True, False)


async def test_strange_settings_are_told(bot: World) -> None:
    (finding, *_) = await examine(settings_of(bot), unknown=["BOT_GREETING"], posts=False, clock=bot.time.clock)
    assert finding.status is Status.WARNING
    assert finding.detail == "BOT_GREETING is no setting of this version"


async def test_report_can_be_read_on_a_terminal_that_has_few_characters(tmp_path: Path) -> None:
    process = start_bot(tmp_path, {"PYTHONIOENCODING": "latin-1", "BOT_OPERATORS": "„alice“"}, "doctor")
    out, err = await asyncio.to_thread(process.communicate)
    assert (process.returncode, err) == (2, "")
    assert out.startswith("x settings")


def test_report_is_a_table_or_json_and_its_status_is_the_worst(capsys: pytest.CaptureFixture[str]) -> None:
    fine, odd = Finding("a", Status.OK, "well"), Finding("bcd", Status.WARNING, "odd", "Mend it.")
    assert report([fine, odd], as_json=False) == 1
    assert capsys.readouterr().out == "✓ a    well\n! bcd  odd\n       → Mend it.\n"
    assert report([odd, Finding("e", Status.PROBLEM, "broken", "Fix it.")], as_json=True) == 2
    assert json.loads(capsys.readouterr().out)[1]["status"] == "problem"
    assert report([fine], as_json=True) == 0


def test_wrong_settings_end_with_status_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SLACK_BOT_TOKEN", "TOGETHER_API_KEY", "BOT_OPERATORS"):
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor"]) == 2
    assert "✗ settings" in (told := capsys.readouterr().out)
    assert "SLACK_BOT_TOKEN" in told


async def test_command_line_runs_it_as_a_process_and_keeps_secrets(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        together.clusters["cluster-1"] = "one"
        together.faults.append(Fault("cut", times=50))
        process = start_bot(tmp_path, variables(slack, together), "doctor", "--json")
        out, err = await asyncio.to_thread(process.communicate)
        assert process.returncode == 2
        assert {each["check"] for each in json.loads(out)} >= {"Slack token", "operators", "database"}
        assert variables(slack, together)["TOGETHER_API_KEY"] not in out + err


@pytest.mark.parametrize(
    ("trusted", "why"), [(False, "self-signed certificate"), (True, "certificate has expired")], ids=["not", "trusted"]
)
async def test_what_keeps_a_connection_from_being_made_is_said(tmp_path: Path, why: str, *, trusted: bool) -> None:
    certificate = ROOT / "tests" / "data" / "expired.pem"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    async with Slack() as slack, Together(slack.now) as together:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls)
        async with server:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
            settings = {
                **variables(slack, together), "TOGETHER_BASE_URL": f"{url}/v1", "BOT_WEBHOOK_SECRET": SECRET,
                "BOT_WEBHOOK_URL": f"{url}/secret", **({"SSL_CERT_FILE": str(certificate)} if trusted else {}),
            }  # fmt: skip
            process = start_bot(tmp_path, settings, "doctor", "--json")
            out, _ = await asyncio.to_thread(process.communicate)
            findings = {each["check"]: each for each in json.loads(out)}
            assert findings["Together API key"]["detail"] == f"can't reach Together (ConnectError: {why})"
            assert "TOGETHER_BASE_URL" in findings["Together API key"]["fix"]
            assert findings["webhook"]["detail"] == f"can't be reached (ConnectError: {why})"
            port = free_port()
            with start_bot(tmp_path, settings, port=port, log=tmp_path / "log") as running:
                await ready(slack, port, started=2)  # the doctor has asked too
                await slack.command("cluster-1/instance-1/remediation-1")
                answers = await slack.until(slack.visible)
                await stop_bot(running)
    assert "Couldn't reach Together." in answers[0].text
    logged = (tmp_path / "log").read_text()
    assert f"remediation-1: ConnectError: {why}" in logged
    assert f"{url}/secret" not in logged


async def test_newcomer_sees_the_doctor_between_the_simulators() -> None:
    command = [sys.executable, "-m", "tests.simulator", "--doctor"]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert {line[0] for line in done.stdout.splitlines()} == {"✓"}


@pytest.mark.parametrize("transport", ["socket"])
async def test_connections_of_another_copy_are_told(bot: World) -> None:
    await bot.slack.until(lambda: len(bot.slack.sockets.open) == 2)
    url = bot.slack.sockets.new_ticket()
    async with aiohttp.ClientSession() as session, session.ws_connect(url):
        await bot.slack.sockets.ask_to_reconnect(1)
        await bot.slack.until(lambda: bot.slack.sockets.connected == 4)
    finding = (await found(bot))["sockets"]  # Slack doesn't say that the copy has gone
    assert (finding.status, finding.detail.partition(",")[0]) == (
        Status.WARNING,
        "Slack last counted 3 connections to this app",
    )


@pytest.mark.bot(environ={"BOT_ALERT_CHANNEL": "C0OPS"})
async def test_doctor_says_that_nothing_can_be_posted(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.slack.scopes.discard("chat:write.public")
    bot.slack.channels["C0OPS"].bot_may_post = False
    findings = await found(bot)
    assert Status.PROBLEM in {f.status for f in findings.values()}
