"""Secrets in files: read at the start, and again when they change."""

import asyncio
import json
import os
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import insert

from bot.app import App
from bot.clock import WaitReason
from bot.environment import SECRETS, SettingsError, read_variables, secret_files
from bot.models import Target
from bot.settings import Settings, read_settings
from bot.store.tables import outbox
from tests.fetch import get
from tests.manual_clock import HANGS_AFTER, ON_THE_WAY, START, ManualClock
from tests.rows import execute
from tests.simulator.process import variables
from tests.simulator.receivers import ROUTING_KEY, SECRET, PagerDuty, WebhookReceiver
from tests.simulator.slack import Slack
from tests.simulator.slack.workspace import SIGNING_SECRET
from tests.simulator.together import Together
from tests.sqlite import fill_sqlite
from tests.world import IDS, REF, running

FILES = ("SLACK_BOT_TOKEN", "TOGETHER_API_KEY")


def in_files(folder: Path, environ: dict[str, str], *names: str) -> dict[str, str]:
    """The same settings with some secrets in files."""
    for name in names:
        (folder / name).write_text(f"{environ[name]}\n")
    kept = {name: value for name, value in environ.items() if name not in names}
    return kept | {f"{name}_FILE": str(folder / name) for name in names}


async def settings_in_files(folder: Path) -> dict[str, str]:
    async with Slack() as slack, Together(slack.now) as together:
        return in_files(folder, variables(slack, together), *FILES)


async def test_every_secret_can_be_in_a_file(tmp_path: Path) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        environ = variables(slack, together) | {
            "SLACK_APP_TOKEN": "xapp-1", "BOT_WEBHOOK_URL": "https://x.example", "BOT_WEBHOOK_SECRET": SECRET,
            "BOT_PAGERDUTY_KEY": ROUTING_KEY, "BOT_AUDIT_KEY": "k" * 32, "DATABASE_URL": "sqlite:///x.db",
            "BOT_IMPACT_TOKEN": "t",
        }  # fmt: skip
        direct = read_settings(environ)
        filed = in_files(tmp_path, environ, *SECRETS)
        assert read_settings(filed) == direct
        assert set(secret_files(filed)) == set(SECRETS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"TOGETHER_API_KEY": "x"}, "TOGETHER_API_KEY and TOGETHER_API_KEY_FILE are both set; keep one"),
        ({"TOGETHER_API_KEY_FILE": "/none"}, "TOGETHER_API_KEY can't be read from TOGETHER_API_KEY_FILE"),
        ({"TOGETHER_API_KEY_FILE": "empty"}, "TOGETHER_API_KEY is empty or too long"),
        ({"TOGETHER_API_KEY_FILE": "long"}, "TOGETHER_API_KEY is empty or too long"),
        ({"TOGETHER_API_KEY_FILE": "odd"}, "TOGETHER_API_KEY can't be read"),
        ({"TOGETHER_API_KEY_FILE": "endless"}, "TOGETHER_API_KEY is empty or too long"),
    ],
)
async def test_files_that_cannot_be_used_are_named(tmp_path: Path, change: dict[str, str], words: str) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "long").write_text("x" * 70_000)
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    change = {name: str(tmp_path / value) if name.endswith("FILE") else value for name, value in change.items()}
    with pytest.raises(SettingsError, match=words):
        read_settings({**await settings_in_files(tmp_path), **change})


async def looked(time: ManualClock, pause: WaitReason = WaitReason.SECRETS) -> None:
    """Let the bot look once."""
    await time.end_pause(pause)
    await time.until_sleeping(pause)


async def test_renewed_keys_are_used_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    time = ManualClock(ON_THE_WAY)
    async with Slack(time.now) as slack, Together(time.now) as together:
        slack.ack_seconds = 60
        environ = {**variables(slack, together), "PORT": "0", "DATABASE_URL": f"sqlite:///{tmp_path}/bot.db"}
        await fill_sqlite(environ["DATABASE_URL"])
        environ = in_files(tmp_path, environ, *FILES, "SLACK_SIGNING_SECRET")
        reread = partial(read_settings, environ)
        app = App(reread(), clock=time.clock, reread=reread)
        caplog.set_level("INFO")
        async with running(app, slack):
            together.add()
            together.keys = {"a-new-key-of-together"}
            (tmp_path / "TOGETHER_API_KEY").write_text("")
            await looked(time)
            assert "New secrets can't be used, the old ones stay" in caplog.text
            await slack.command(REF)
            await slack.until(lambda: len(slack.visible()) == 1)
            assert together.state(IDS) == "PENDING_APPROVAL"
            (tmp_path / "TOGETHER_API_KEY").write_text("a-new-key-of-together")
            await looked(time)
            assert "TOGETHER_API_KEY is new" in caplog.text
            await slack.command(REF)
            await together.until(lambda: together.state(IDS) == "CANCELLED")
            (tmp_path / "SLACK_SIGNING_SECRET").write_text("another-signing-secret")
            await looked(time)
            assert (await slack.command("help")).status == 401
            assert SIGNING_SECRET not in caplog.text
            assert "a-new-key-of-together" not in caplog.text
            slack.token = "xoxb-renewed"
            (tmp_path / "SLACK_BOT_TOKEN").write_text("xoxb-renewed")
            await looked(time)
            await looked(time, WaitReason.SLACK_CHECK)
            assert app._problems() == []


async def test_key_that_comes_later_sends_what_waits_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    time, url = ManualClock(ON_THE_WAY), f"sqlite:///{tmp_path}/bot.db"
    async with (
        Slack(time.now) as slack,
        Together(time.now) as together,
        WebhookReceiver() as webhook,
        PagerDuty() as pagerduty,
    ):
        environ = {**variables(slack, together), "PORT": "0", "DATABASE_URL": url, "BOT_PAGERDUTY_URL": pagerduty.url}
        environ |= webhook.settings
        await fill_sqlite(url)
        environ = in_files(tmp_path, environ, *FILES)
        app = App(read_settings(environ), clock=time.clock, reread=lambda: read_settings(environ))
        body = json.dumps({"id": "e", "kind": "failed", "subject": REF, "at": START, "data": {}})
        waits = {"target": "pagerduty", "subject": REF, "body": body, "attempts": 0}
        async with running(app, slack):
            assert app.database is not None
            await execute(app.database, insert(outbox).values(**waits, created_at=START, next_at=START))
            environ["BOT_PAGERDUTY_KEY"] = ROUTING_KEY
            await looked(time)
            assert "BOT_PAGERDUTY_KEY is different now; restart the bot to use it" in caplog.text  # for what is to come
            async with asyncio.timeout(HANGS_AFTER):
                while pagerduty.incidents != {f"{REF} repair": "triggered"}:
                    await time.end_pause(WaitReason.OUTBOX)


async def test_renewed_key_sends_at_once_what_was_refused_with_the_old_one(tmp_path: Path) -> None:
    time, url = ManualClock(ON_THE_WAY), f"sqlite:///{tmp_path}/bot.db"
    async with Slack(time.now) as slack, Together(time.now) as together, PagerDuty() as pagerduty:
        environ = {**variables(slack, together), "PORT": "0", "DATABASE_URL": url, "BOT_PAGERDUTY_URL": pagerduty.url}
        await fill_sqlite(url)
        environ = in_files(tmp_path, {**environ, "BOT_PAGERDUTY_KEY": "0" * 32}, "BOT_PAGERDUTY_KEY")
        reread = partial(read_settings, environ)
        app = App(reread(), clock=time.clock, reread=reread)
        body = json.dumps({"id": "e", "kind": "failed", "subject": REF, "at": START, "data": {}})
        refused = {"target": "pagerduty", "subject": REF, "body": body, "attempts": 9, "next_at": START + 3600}
        async with running(app, slack):
            assert app.database is not None
            await looked(time, WaitReason.LEASE)
            await execute(app.database, insert(outbox).values(**refused, created_at=START))
            (tmp_path / "BOT_PAGERDUTY_KEY").write_text(ROUTING_KEY)
            await looked(time)
            await looked(time, WaitReason.LEASE)
            async with asyncio.timeout(HANGS_AFTER):
                while pagerduty.incidents != {f"{REF} repair": "triggered"}:
                    await time.end_pauses(WaitReason.OUTBOX, len(Target))
                    await time.until_sleeping(WaitReason.OUTBOX, len(Target))  # none is in the middle of sending
            assert time.now() < START + 60


async def test_key_that_is_removed_keeps_no_warning(tmp_path: Path) -> None:
    time, url = ManualClock(ON_THE_WAY), f"sqlite:///{tmp_path}/bot.db"
    async with Slack(time.now) as slack, Together(time.now) as together, PagerDuty() as pagerduty:
        environ = {**variables(slack, together), "PORT": "0", "DATABASE_URL": url, "BOT_PAGERDUTY_URL": pagerduty.url}
        await fill_sqlite(url)
        environ = in_files(tmp_path, environ, *FILES) | {"BOT_PAGERDUTY_KEY": "0" * 32}
        app = App(read_settings(environ), clock=time.clock, reread=lambda: read_settings(environ))
        body = json.dumps({"id": "e", "kind": "failed", "subject": REF, "at": START, "data": {}})
        refused = {"target": "pagerduty", "subject": REF, "body": body, "attempts": 1}
        async with running(app, slack):
            assert app.database is not None
            await looked(time, WaitReason.LEASE)
            await execute(app.database, insert(outbox).values(**refused, created_at=START, next_at=START))
            async with asyncio.timeout(HANGS_AFTER):
                while "PagerDuty isn't taking events" not in str(app._warnings()):
                    await time.end_pauses(WaitReason.OUTBOX, len(Target))
                    await time.until_sleeping(WaitReason.OUTBOX, len(Target))  # none is in the middle of sending
            del environ["BOT_PAGERDUTY_KEY"]
            await looked(time)
            await looked(time, WaitReason.LEASE)
            assert app._warnings() == []


async def test_dotenv_file_that_becomes_unreadable_leaves_the_secrets_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    time = ManualClock(ON_THE_WAY)
    async with Slack(time.now) as slack, Together(time.now) as together:
        environ = {**variables(slack, together), "PORT": "0", "DATABASE_URL": f"sqlite:///{tmp_path}/bot.db"}
        filed = in_files(tmp_path, environ, *FILES)

        def reread() -> Settings:
            return read_settings(read_variables(filed, tmp_path / ".env"))

        app = App(reread(), clock=time.clock, reread=reread)
        async with running(app, slack):
            (tmp_path / ".env").write_bytes("BOT_REASON=ü".encode("latin-1"))
            await looked(time)
            assert f"New secrets can't be used, the old ones stay: {tmp_path}/.env can't be read" in caplog.text
            assert (await get(app, "/readyz"))[0] == 200


async def test_file_on_a_mount_that_hangs_delays_nothing(tmp_path: Path) -> None:
    """A pipe that nobody writes to."""
    time = ManualClock(ON_THE_WAY)
    async with Slack(time.now) as slack, Together(time.now) as together:
        environ = {**variables(slack, together), "PORT": "0", "DATABASE_URL": f"sqlite:///{tmp_path}/bot.db"}
        reread = partial(read_settings, in_files(tmp_path, environ, *FILES))
        app = App(reread(), clock=time.clock, reread=reread)
        async with running(app, slack):
            (tmp_path / "TOGETHER_API_KEY").unlink()
            os.mkfifo(tmp_path / "TOGETHER_API_KEY")
            await time.end_pause(WaitReason.SECRETS)
            assert (await get(app, "/healthz"))[0] == 200
