"""What a newer version has left behind: selections under way, and a verb that is new."""

from pathlib import Path

import pytest
from sqlalchemy import update

from bot.store import Database, audit
from bot.store.tables import alerts, batches, decisions
from tests.rows import execute_beside, outcomes
from tests.storms import began, choose, digest, storm
from tests.watch import card, pass_time, quiet, thread, until, watching
from tests.watcher.test_faults import XID
from tests.watcher.test_verification import firing, moment
from tests.world import APPROVE, CANCEL, IDS, World

# An outcome row as a newer version may write it: a verb that this one doesn't know, and an outcome that it does.
NEWER = {
    "at": 1_795_489_200.0, "event": "outcome", "decision_id": "d" * 32, "team_id": "T0HOME", "channel_id": "C0OPS",
    "user_id": "U0BOB", "verb": "drain", "cluster_id": IDS[0], "instance_id": IDS[1], "remediation_id": IDS[2],
    "shown_mode": None, "shown_state": None, "reason": None, "outcome": "outcome_unknown", "state": None,
    "http_status": None, "request_id": None,
}  # fmt: skip


async def append_as_newer(bot: World) -> None:
    database = Database(bot.settings.database_url, bot.time.clock)
    await database.run(lambda connection: audit.append(connection, NEWER, audit.lock_trail(connection)))
    await database.close()


async def test_row_of_a_newer_verb_in_the_trail_does_not_leave_a_card_with_live_buttons(database_url: str) -> None:
    async with watching(database=database_url) as bot:
        bot.together.add()
        alert = await card(bot)
        await append_as_newer(bot)
        bot.together.review(IDS, "approve")
        await pass_time(bot, 300)
        assert APPROVE not in alert.buttons, f"it was approved 5 minutes ago, and its card says: {alert.text[:60]}"


async def test_row_of_a_newer_verb_in_the_trail_breaks_no_answer(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await append_as_newer(bot)
    bot.together.review(IDS, "approve")
    await bot.slack.press(alert, CANCEL)
    await bot.edited(alert)
    await quiet(bot)
    said = "\n".join([alert.text, *(message.text for message in bot.slack.visible())])
    assert "Something went wrong in the bot" not in said


async def test_selection_whose_rows_this_version_cannot_read_does_not_keep_the_bot_from_starting() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        await pass_time(bot, 700)
        ids = storm(bot, 6)
        message = await digest(bot)
        view = await choose(bot, message)
        with bot.together.paused("get"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            await bot.settle()
        newer = update(decisions).where(decisions.c.batch_number < 2).values(request='{"verb": "drain"}')
        await execute_beside(bot, newer)
        try:
            async with bot.another():
                await digest(bot, "4 of 6 approved")
        except ValueError as error:
            pytest.fail(f"the process has ended with {type(error).__name__}: {str(error).splitlines()[0]}")
        assert [call.ids for call in bot.together.posts] == ids[2:]


async def test_outcome_in_a_selection_is_recorded_although_the_next_row_cannot_be_read() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        view = await choose(bot, message)
        with bot.together.paused("approve"):
            await bot.slack.submit(view)
            await bot.together.until(lambda: bot.together.is_waiting("approve"))
            newer = update(decisions).where(decisions.c.batch_number == 1).values(request='{"verb": "drain"}')
            await execute_beside(bot, newer)
        for _ in range(30):  # five minutes
            await quiet(bot)
            await bot.time.advance(10)
        await quiet(bot)
        assert len(bot.together.posts) >= 1
        assert "approved" in await outcomes(bot)


async def test_selection_that_a_newer_version_stopped_for_a_new_reason_leaves_its_digest_true(tmp_path: Path) -> None:
    async with watching(database=f"sqlite:///{tmp_path}/bot.db") as bot:
        await began(bot)
        ids = storm(bot, 8)
        message = await digest(bot)
        view = await choose(bot, message, "gpu-node-0000", "gpu-node-0001")
        await bot.slack.submit(view)
        await digest(bot, "2 of 2 approved")
        await execute_beside(bot, update(batches).values(stopped="quota"))
        before = message.text
        for each in ids[2:]:
            bot.together.review(each, "cancel")
        await pass_time(bot, 300)
        assert message.text != before


@pytest.mark.parametrize("is_readable", [True, False])
async def test_new_alert_is_posted_though_another_version_wrote_an_earlier_one_of_its_node(
    *, is_readable: bool
) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        bot.together.add(linked_alerts=firing("79"))
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "SUCCEEDED")
        await until(bot, lambda: "Watched until" in alert.text)
        if not is_readable:
            await execute_beside(bot, update(alerts).values(body='{"of": "a newer release"}'))
        await pass_time(bot, 7200)
        again = ("cluster-1", "instance-1", "remediation-2")
        bot.together.add(again, linked_alerts=[{"alert_name": "GpuEccDoubleBitError", **XID}])
        await pass_time(bot, 3600)
        assert bot.slack.cards(again[2]), [post.text for post in bot.slack.visible()]


async def test_card_that_waits_again_is_drawn_though_another_version_wrote_an_alert_of_its_node() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        await began(bot)
        other = ("cluster-1", "instance-1", "remediation-2")
        bot.together.add(linked_alerts=firing("79"))
        bot.together.add(other, linked_alerts=firing("48"))
        alert = await card(bot)
        await card(bot, other)
        bot.together.review(IDS, "cancel")
        bot.together.review(other, "cancel")
        await card(bot, words="Cancelled")
        await card(bot, other, "Cancelled")
        await execute_beside(
            bot, update(alerts).where(alerts.c.remediation_id == other[2]).values(body='{"of": "a newer release"}')
        )
        await pass_time(bot, 3600)
        bot.together.add(linked_alerts=firing("79", moment(bot)), create_time=moment(bot))
        await pass_time(bot, 3600)
        assert "Approve reboot?" in alert.text, (alert.text, thread(bot, alert))
        assert alert.buttons
