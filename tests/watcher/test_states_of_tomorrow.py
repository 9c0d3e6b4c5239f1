"""Repairs in states that this version of the bot does not know: they are repairs, or ends, all the same."""

import pytest

from tests.storms import began, choose, digest, storm
from tests.watch import card, pass_time, quiet, thread, until, watching
from tests.watcher.test_faults import XID as FIRES
from tests.watcher.test_verification import AGAIN, firing, moment, repaired
from tests.world import APPROVE, IDS, World

OTHER_NODE = ("cluster-1", "i-2", "r-2")


def said(bot: World) -> str:
    return "\n".join(message.text for message in bot.slack.messages)


async def in_a_state_of_tomorrow(bot: World, *nodes: int) -> None:
    """Nodes whose alerts name no instance (it may be missing) are being repaired, in a state that no list has."""
    for node in nodes:
        ids, name, alert = ("cluster-1", f"i-{node}", f"r-{node}"), f"gpu-{node}", f"a-{node}"
        linked = {"alert_name": "DmesgXidError", "severity": "PHC_SEVERITY_CRITICAL", "started_at": moment(bot)}
        linked |= {"passive_health_check_alert_id": alert, "target_vm": name}
        bot.together.add(ids, instance_name=name, linked_alerts=[linked])
        bot.together.fire(alert, "cluster-1", None, **{**FIRES, "target_vm": name})
        message = await card(bot, ids)
        await bot.slack.press(message, APPROVE)
        await card(bot, ids, words="Approved")
    await pass_time(bot, 120)
    for node in nodes:
        bot.together.remediations["cluster-1", f"i-{node}", f"r-{node}"] |= {
            "state": "SCHEDULED", "update_time": moment(bot)
        }  # fmt: skip


async def test_repair_in_a_state_of_tomorrow_is_open_for_an_alert_that_names_no_instance() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        await in_a_state_of_tomorrow(bot, 1)
        await pass_time(bot, 1200)
        assert "no repair is open" not in said(bot), said(bot)


async def test_brake_counts_a_node_in_a_state_of_tomorrow_once() -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_STORM_BRAKE="3") as bot:
        await began(bot)
        await in_a_state_of_tomorrow(bot, 1, 2)
        await pass_time(bot, 300)
        assert "4 nodes broken" not in said(bot), said(bot)
        assert "paused automatically" not in said(bot)


async def test_end_in_a_state_of_tomorrow_does_not_keep_others_from_being_approved_for_ever() -> None:
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        await began(bot)
        bot.together.add()
        await card(bot)
        await pass_time(bot, 100)
        bot.together.remediations[IDS] |= {
            "state": "EXPIRED", "end_time": moment(bot), "update_time": moment(bot)
        }  # fmt: skip
        await pass_time(bot, 2 * 86_400)
        bot.together.add(OTHER_NODE)
        other = await card(bot, OTHER_NODE)
        assert "1 of 1 node in repair" not in other.text, other.text
        await bot.slack.press(other, APPROVE)
        await quiet(bot)
        assert "already in repair" not in said(bot), "two days after it ended, and nobody had ever approved it"


@pytest.mark.parametrize("state", ["VERIFYING", "TIMED_OUT"])
async def test_approved_repair_that_hangs_or_ends_in_a_state_of_tomorrow_calls_somebody(state: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        await card(bot, words="Rebooting")
        ended = {"end_time": moment(bot), "error_message": "host did not come back"} if state == "TIMED_OUT" else {}
        bot.together.remediations[IDS] |= {"state": state, "update_time": moment(bot), **ended}
        await card(bot, words=state)
        await pass_time(bot, 4 * 3600, longest=240)
        called = [line for line in thread(bot, alert)[2:] if "U0ALICE" in line or "S0ONCALL" in line]
        assert called, f"4 h later nobody was called: {thread(bot, alert)}"


async def test_two_of_a_digest_that_hang_in_a_state_of_tomorrow_are_told() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        nodes = storm(bot, 6)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message))
        await until(bot, lambda: {bot.together.state(ids) for ids in nodes} == {"PENDING"})
        for ids in nodes:
            bot.together.advance(ids, "RUNNING")
        await pass_time(bot, 60)
        for ids in nodes[2:]:
            bot.together.advance(ids)
        for ids in nodes[:2]:
            bot.together.remediations[ids] |= {"state": "VERIFYING", "update_time": moment(bot)}
        await pass_time(bot, 4 * 3600, longest=240)
        said = thread(bot, message)
        assert any("stuck" in line for line in said), said


async def test_digest_says_that_what_was_approved_has_ended_in_a_state_of_tomorrow() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        await began(bot)
        nodes = storm(bot, 6)
        message = await digest(bot)
        await bot.slack.submit(await choose(bot, message))
        await until(bot, lambda: {bot.together.state(ids) for ids in nodes} == {"PENDING"})
        for ids in nodes:
            bot.together.advance(ids, "RUNNING")
        await pass_time(bot, 60)
        for ids in nodes:
            bot.together.remediations[ids] |= {
                "state": "TIMED_OUT", "end_time": moment(bot), "update_time": moment(bot), "error_message": "no host"
            }  # fmt: skip
        await pass_time(bot, 7200, longest=240)
        assert any("TIMED" in line or "no host" in line for line in thread(bot, message)), (
            f"{thread(bot, message)}\n{message.everything[-1500:]}"
        )


async def test_repair_of_the_next_incident_in_a_state_of_tomorrow_counts_for_the_limit() -> None:
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        await began(bot)
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        for _ in range(4):
            bot.together.advance(IDS)
            await pass_time(bot, 60)
        assert bot.together.state(IDS) == "SUCCEEDED"
        await pass_time(bot, 3600)
        # The next incident is approved automatically; its record keeps the end of the one before until it ends.
        bot.together.remediations[IDS] |= {
            "state": "PENDING", "reviewed_by": "Auto-Approved", "review_comment": "auto-approved: approved",
            "review_time": None, "start_time": None, "update_time": moment(bot),
        }  # fmt: skip
        await pass_time(bot, 60)
        bot.together.remediations[IDS] |= {"state": "WAITING_FOR_IDLE", "update_time": moment(bot)}
        await pass_time(bot, 60)
        other = ("cluster-1", "i-2", "r-2")
        bot.together.add(other)
        asks = await card(bot, other)
        before = len(bot.together.posts)
        await bot.slack.press(asks, APPROVE)
        await pass_time(bot, 15)
        assert len(bot.together.posts) == before, f"{alert.text}\n{thread(bot, alert)}\n{asks.text}"


@pytest.mark.parametrize("later", ["ARCHIVED", "VERIFIED"])
async def test_state_of_tomorrow_after_a_success_wakes_nobody_and_ends_no_watch(later: str) -> None:
    async with watching(BOT_ONCALL="S0ONCALL", BOT_MAX_IN_REPAIR="1") as bot:
        alert = await repaired(bot)
        await pass_time(bot, 3600)
        bot.together.remediations[IDS] |= {"state": later, "update_time": moment(bot)}
        await pass_time(bot, 4 * 3600)
        assert [line for line in thread(bot, alert) if "again" in line or "stuck" in line] == []
        bot.together.add(AGAIN, linked_alerts=firing("79", moment(bot)), create_time=moment(bot))
        await until(bot, lambda: [line for line in thread(bot, alert) if "back" in line])
