"""Approvals that somebody has paused: shown on every card, refused with who and until when, over on their own."""

from typing import Any

import pytest
from sqlalchemy import select

from bot.store.tables import audit
from tests.deaths import free_the_lease
from tests.manual_clock import START
from tests.rows import execute_beside, outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.storms import began, choose, digest, storm
from tests.watch import PAUSE_DIALOG, card, pass_time, pause, until, watching
from tests.world import APPROVE, CANCEL, World

pytestmark = pytest.mark.bot(watching=True)
RESUME = "approvals:resume"


async def test_paused_approvals_are_refused_and_shown_on_every_card_of_the_cluster(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    (ids,) = storm(bot, 1)
    (other,) = storm(bot, 1, cluster="cluster-2")
    alert, elsewhere = await card(bot, ids), await card(bot, other)
    storm(bot, 8, start=1)
    message = await digest(bot)
    await pause(bot, message)
    assert "Approvals are paused in cluster-1 until " in (await bot.reply_privately()).text
    await until(bot, lambda: "Approvals are paused in" in alert.text)
    await digest(bot, "Approvals are paused in")
    assert "paused" not in elsewhere.text
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    told = (await bot.reply_privately("U0BOB")).text
    assert told.startswith("Not approved: <@U0ALICE> paused approvals until")
    assert bot.together.posts == []
    assert await outcomes_by_user(bot) == [("U0BOB", "paused")]
    await bot.slack.press(elsewhere, APPROVE, user="U0BOB")
    await until(bot, lambda: "Approved by <@U0BOB>" in elsewhere.text)
    await bot.slack.press(alert, CANCEL, user="U0BOB")
    await until(bot, lambda: "Cancelled by <@U0BOB>" in alert.text)
    await pass_time(bot, 3600)
    assert "Approvals are paused" not in message.everything
    await bot.slack.submit(await choose(bot, message))
    await digest(bot, "8 of 8 approved")


async def test_resume_ends_a_pause_at_once_and_both_are_in_the_audit_trail(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await choose(bot, message)
    await pause(bot, message)
    await until(bot, lambda: RESUME in message.buttons)
    await bot.slack.submit(view)
    await digest(bot, "Stopped: approvals are paused. 5 not attempted.")
    await bot.slack.press(message, RESUME, user="U0BOB")
    assert "Approvals resumed in cluster-1." in (await bot.reply_privately("U0BOB")).text
    await until(bot, lambda: PAUSE_DIALOG in message.buttons)
    rows = select(audit.c.event, audit.c.user_id, audit.c.cluster_id).where(audit.c.event.in_(["paused", "resumed"]))
    assert await execute_beside(bot, rows) == [
        {"event": "paused", "user_id": "U0ALICE", "cluster_id": "cluster-1"},
        {"event": "resumed", "user_id": "U0BOB", "cluster_id": "cluster-1"},
    ]
    payload = bot.slack.click(message, PAUSE_DIALOG)
    payload["actions"][0]["action_id"] = RESUME
    await bot.slack.deliver("interactive", payload)
    assert "Approvals aren't paused." in (await bot.reply_privately(count=2)).text


async def test_person_who_may_not_approve_cannot_pause(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await bot.slack.press(message, PAUSE_DIALOG, user="U0CAROL")
    assert "Only operators can approve remediations." in (await bot.reply_privately("U0CAROL")).text
    assert "Approvals are paused" not in message.everything


async def test_outage_of_several_clusters_offers_to_pause_all(bot: World) -> None:
    ids = [bot.together.add((f"cluster-{number}", "instance-1", f"r-{number}")) for number in (1, 2)]
    alerts = [await card(bot, each) for each in ids]
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    told = await until(
        bot, lambda: [each for each in bot.slack.visible() if "Can't reach Together for clusters" in each.text], 400
    )
    await pause(bot, told[0])
    assert "Approvals are paused in all clusters" in (await bot.reply_privately()).text
    await until(bot, lambda: all("Approvals are paused in all clusters until" in each.text for each in alerts))
    bot.together.faults.clear()
    await bot.slack.press(await bot.reply_privately(), RESUME)
    await until(bot, lambda: not any("Approvals are paused" in each.text for each in alerts))


async def test_digest_resumes_a_pause_of_all_clusters(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    told = await until(
        bot, lambda: [each for each in bot.slack.visible() if "Can't reach Together for clusters" in each.text], 400
    )
    await pause(bot, told[0])
    bot.together.faults.clear()
    await until(bot, lambda: RESUME in message.buttons)
    await bot.slack.press(message, RESUME, user="U0BOB")
    assert "Approvals resumed in all clusters." in (await bot.reply_privately("U0BOB")).text


async def test_backlog_shows_a_pause_of_one_of_its_clusters(bot: World) -> None:
    storm(bot, 6)
    backlog = await digest(bot)
    storm(bot, 6, start=10)
    await pause(bot, await digest(bot, number=1))
    await until(bot, lambda: "Approvals are paused in cluster-1 until" in backlog.everything)


async def test_pause_has_a_length_and_a_reason_that_everybody_sees(bot: World) -> None:
    await began(bot)
    (ids,) = storm(bot, 1)
    alert = await card(bot, ids)
    storm(bot, 8, start=1)
    message = await digest(bot)
    await pause(bot, message, seconds="14400", **{"approvals:pause-for": "the *switch* is being replaced"})
    told = (await bot.reply_privately()).text
    assert f"until <!date^{int(START + bot.time.seconds) + 14400}^" in told
    await until(bot, lambda: "by <@U0ALICE> (“the *switch* is being replaced”)" in alert.text)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    refused = (await bot.reply_privately("U0BOB")).text
    assert "paused approvals until" in refused
    assert "“the *switch* is being replaced”" in refused
    rows = select(audit.c.event, audit.c.reason).where(audit.c.event == "paused")
    assert await execute_beside(bot, rows) == [{"event": "paused", "reason": "the *switch* is being replaced"}]
    await pass_time(bot, 14400)
    assert "Approvals are paused" not in message.everything


async def test_pause_that_an_older_button_asks_for_lasts_an_hour(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    payload = bot.slack.click(message, PAUSE_DIALOG)
    payload["actions"][0]["action_id"] = "approvals:pause"
    await bot.slack.deliver("interactive", payload)
    assert f"until <!date^{int(START + bot.time.seconds) + 3600}^" in (await bot.reply_privately()).text


async def pause_dialog(bot: World, message: Posted, *, user: str = "U0ALICE") -> dict[str, Any]:
    """Press the button that pauses, and return the dialog that opens."""
    bot.slack.views.clear()
    await bot.slack.press(message, PAUSE_DIALOG, user=user)
    return dict((await bot.slack.until(lambda: bot.slack.views))[0])


async def test_acked_pause_of_a_dialog_is_made_by_the_next_process(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.2) as bot:
        await began(bot)
        storm(bot, 6)
        message = await digest(bot)
        await bot.slack.press(message, PAUSE_DIALOG)
        await bot.slack.until(lambda: bot.slack.views)
        await bot.slack.submit(bot.slack.views[0])  # who that is, is known from now on, but for five minutes only
        await digest(bot, "Approvals are paused")
        await bot.slack.press(message, RESUME)
        await until(bot, lambda: PAUSE_DIALOG in message.buttons)
        view = await pause_dialog(bot, message)
        await bot.time.advance(4000)
        with bot.slack.paused("users.info"):
            await bot.slack.submit(view, seconds="1800", **{"approvals:pause-for": "maintenance"})
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        await free_the_lease(database_url)
        async with bot.another():
            await until(bot, lambda: "(“maintenance”)" in message.everything)


async def test_later_pause_does_not_shorten_one_that_somebody_else_made(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    bobs = await pause_dialog(bot, message, user="U0BOB")
    alices = await pause_dialog(bot, message)
    await bot.slack.submit(alices, seconds="43200", **{PAUSE_DIALOG: "the switch is replaced"})
    await digest(bot, "the switch is replaced")
    await bot.slack.submit(bobs, user="U0BOB", seconds="1800")
    await pass_time(bot, 1900)
    assert "Approvals are paused" in message.everything


async def test_reply_does_not_say_that_a_longer_pause_ends_earlier(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    bobs = await pause_dialog(bot, message, user="U0BOB")
    await bot.slack.open_home("U0ALICE")
    await pass_time(bot, 5)
    bot.slack.views.clear()
    await bot.slack.press_home(PAUSE_DIALOG)
    (alices,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.submit(alices, seconds="43200")
    await digest(bot, "paused in all clusters")
    await bot.slack.submit(bobs, user="U0BOB", seconds="1800")
    told = (await bot.reply_privately("U0BOB")).text
    assert "all clusters" in told, told
