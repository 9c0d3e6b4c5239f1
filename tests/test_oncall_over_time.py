"""Looking, escalation, observing, and handover, over time: orders of events and inputs that a review has found."""

import asyncio
from typing import Any

import pytest

from bot.cards import handover, home
from bot.models import Alert, CameBack, DecidedBy, Message, Verb
from tests.deaths import died_while, left_behind
from tests.manual_clock import START
from tests.samples import remediation
from tests.simulator.receivers import PagerDuty
from tests.simulator.slack.limits import check_message
from tests.simulator.slack.workspace import BOT_USER, SlackFault
from tests.simulator.together import Fault
from tests.storms import choose, digest, storm
from tests.test_doctor import found
from tests.watch import LOOKING, card, pass_time, poll, quiet, thread, until, watching
from tests.world import APPROVE, IDS, OTHER, World, as_alert, world

watched = pytest.mark.bot(watching=True)


async def asked(bot: World, text: str, user: str = "U0ALICE") -> str:
    count = len(bot.slack.visible(user))
    await bot.slack.command(text, user=user)
    return (await bot.reply_privately(user, count + 1)).text


async def test_post_in_doubt_is_not_sent_again_to_a_cluster_that_is_observed_now(postgresql: str) -> None:
    async with world(database=postgresql, drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await left_behind(bot, APPROVE)
        observing = bot.settings.model_copy(update={"bot_observe": ("*",)})
        async with died_while(bot, at="sent"), bot.another(observing):
            await bot.edited(alert)
        assert bot.together.posts == []


@watched
async def test_shift_has_what_waits_for_more_than_a_week(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 7.6 * 86400)
    assert "Approval needed" in alert.everything
    told = await asked(bot, "tonight")
    assert "Waiting for approval: 1" in told


@watched
async def test_shift_has_what_was_withdrawn(bot: World) -> None:
    bot.together.add()
    await card(bot)
    await pass_time(bot, 13 * 3600)
    del bot.together.remediations[IDS]
    await card(bot, words="No longer listed")
    told = await asked(bot, "tonight")
    assert "1 no longer listed" in told


@watched
async def test_shift_calls_nothing_waiting_that_was_just_approved(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await bot.slack.until(lambda: "Approved" in alert.text)
    told = await asked(bot, "tonight")
    assert "Waiting for approval: 1" not in told


async def test_shift_calls_nothing_new_that_the_bot_only_saw_first() -> None:
    async with watching() as bot:
        bot.together.add(create_time="2020-01-01T00:00:00Z")
        await card(bot)
        told = await asked(bot, "tonight")
        assert "no new remediations" in told


@watched
async def test_history_names_the_cluster_where_two_nodes_have_one_name(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "two"
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    bot.together.add(("cluster-2", "instance-9", "remediation-9"), instance_name="gpu-node-7")
    await pass_time(bot, 700)
    assert " · two · " in await asked(bot, "history gpu-node-7")


@watched
async def test_history_of_more_than_one_word_is_not_read_as_a_name(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    told = await asked(bot, "history of gpu-node-7")
    assert "has no record of a node" not in told


@watched
async def test_looking_at_what_was_just_approved_is_answered(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    seen = alert.controls[LOOKING]
    await bot.slack.press(alert, APPROVE)
    await bot.slack.until(lambda: "Approved" in alert.text)
    await bot.slack.press(alert, LOOKING, user="U0BOB", button=seen)
    await quiet(bot)
    assert "U0BOB" in alert.everything or bot.slack.visible("U0BOB")


@watched
async def test_nobody_looks_into_what_waits_again(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, LOOKING)
    await until(bot, lambda: "Looking into it" in alert.text)
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled")
    bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
    await pass_time(bot, 60)
    assert "Approval needed" in alert.everything
    assert "Looking into it" not in alert.text


LEADS = "<!subteam^S0LEADS>"
WARN = [{"alert_name": "X", "severity": "PHC_SEVERITY_WARNING"}]
CRIT = [{"alert_name": "Y", "severity": "PHC_SEVERITY_CRITICAL"}]


async def test_shift_does_not_say_that_nothing_waits_while_together_cannot_be_read() -> None:

    async with watching() as bot:
        await poll(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1))
        bot.together.add()
        await pass_time(bot, 3600)
        told = await asked(bot, "tonight")
        assert "Nothing is waiting for approval." not in told


async def test_two_nodes_of_one_name_are_not_one_that_came_twice() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        await poll(bot)
        bot.together.add(instance_name="gpu-node-7")
        bot.together.add(("cluster-2", "instance-9", "remediation-9"), instance_name="gpu-node-7")
        await pass_time(bot, 700)
        told = await asked(bot, "tonight")
        assert "More than once" not in told


async def test_warning_that_somebody_looked_into_is_not_escalated_in_quiet_hours() -> None:
    quiet_: Any = {"BOT_QUIET_HOURS": "03:20-05:00 UTC", "BOT_REMIND_MINUTES": "0"}
    async with watching(BOT_ESCALATE="S0LEADS/10", **quiet_) as bot:
        bot.together.add(linked_alerts=WARN)
        alert = await card(bot)
        await pass_time(bot, 8 * 60)
        await bot.slack.press(alert, LOOKING)
        await until(bot, lambda: "Looking into it" in alert.text)
        await pass_time(bot, 40 * 60)
        assert [x for x in thread(bot, alert) if LEADS in x] == []


async def test_hold_that_ends_beside_quiet_warnings_is_escalated_after_its_own_minutes() -> None:
    quiet_: Any = {"BOT_QUIET_HOURS": "00:00-08:00 UTC", "BOT_REMIND_MINUTES": "0"}
    async with watching(BOT_ESCALATE="S0LEADS/40", **quiet_) as bot:
        await poll(bot)
        for n in range(8):
            bot.together.add(("cluster-1", f"i-{n}", f"r-{n}"), linked_alerts=WARN if n else CRIT)
        message = await digest(bot)
        await bot.slack.say(f"<@{BOT_USER}> hold 1h i-0", user="U0ALICE")
        await until(bot, lambda: "on hold by" in message.text)
        await pass_time(bot, 59 * 60)
        assert [x for x in thread(bot, message) if LEADS in x] == [], "warnings are in their quiet hours"
        await pass_time(bot, 5 * 60)
        assert [x for x in thread(bot, message) if LEADS in x] == [], "the hold is over for 4 minutes of 40"


async def test_message_that_moves_after_an_escalation_is_reminded_as_a_new_one() -> None:
    async with watching(BOT_ESCALATE="S0LEADS/20") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 21 * 60)
        assert [x for x in thread(bot, alert) if LEADS in x]
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": "C0OTHER"})):
            new = await until(bot, lambda: [message for message in bot.slack.visible() if message.channel == "C0OTHER"])
            await pass_time(bot, 25 * 60)
            assert [x for x in thread(bot, new[0]) if "waiting" in x]


async def test_reminder_mentions_a_group_once() -> None:
    async with watching(BOT_ESCALATE="S0LEADS/20", BOT_ONCALL="S0LEADS") as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 21 * 60)
        assert not [x for x in thread(bot, alert) if x.count(LEADS) > 1]


@watched
async def test_looking_at_a_message_that_cannot_be_edited_is_answered(bot: World) -> None:

    bot.together.add()
    alert = await card(bot)
    bot.slack.faults.append(SlackFault("chat.update", "edit_window_closed", times=-1))
    await bot.slack.press(alert, LOOKING, user="U0BOB")
    await pass_time(bot, 60)
    assert "U0BOB" in alert.everything or bot.slack.visible("U0BOB") or any("U0BOB" in x for x in thread(bot, alert))


async def test_looking_at_one_node_of_a_digest_acknowledges_no_other() -> None:

    async with PagerDuty() as pagerduty:
        paging: Any = pagerduty.settings
        async with watching(**paging) as bot:
            await poll(bot)
            storm(bot, 8)
            await digest(bot)
            await until(bot, lambda: list(pagerduty.incidents.values()).count("triggered") == 8, 1200)
            await bot.slack.open_home()
            await bot.slack.until(lambda: home.OPEN in str(bot.slack.homes.get("U0ALICE")))
            await bot.slack.press_home(home.OPEN, about="gpu-node-0003")
            await bot.slack.until(lambda: APPROVE in str(bot.slack.homes["U0ALICE"]))
            view = bot.slack.homes["U0ALICE"]
            assert LOOKING not in str(view)
            row = next(block for block in view["blocks"] if APPROVE in str(block))
            older = {**row["elements"][0], "action_id": LOOKING}  # of release 0.1
            await bot.slack.act_in_home(view, row["block_id"], older, user="U0ALICE", choice="")
            told = (await bot.slack.until(lambda: bot.slack.direct("U0ALICE")))[-1].text
            assert told == "This node is in a message about several: press “I'm looking” there."
            await pass_time(bot, 30)
            assert list(pagerduty.incidents.values()).count("acknowledged") <= 1


@watched
async def test_doctor_finds_a_misspelled_observed_cluster(bot: World) -> None:

    bot.together.clusters["cluster-1"] = "one"
    findings = await found(bot, bot_observe=("cluster-l",))
    assert "cluster-l" in getattr(findings.get("clusters"), "detail", "")


async def test_digest_of_two_clusters_says_which_one_is_observed() -> None:
    async with world(
        environ={
            "BOT_ALERT_CHANNEL": "C0OPS",
            "BOT_POLL_SECONDS": "15",
            "BOT_LEASE_SECONDS": "300",
            "BOT_OBSERVE": "cluster-2",
        },
        clusters=["cluster-1", "cluster-2"],
    ) as bot:
        storm(bot, 4)
        storm(bot, 4, cluster="cluster-2")
        message = await digest(bot)
        view = await choose(bot, message)
        assert "observes" in message.everything or "observes" in str(view)


def test_worst_shift_and_history_fit_into_slack_and_mention_nobody() -> None:

    now = START
    many = []
    for n in range(10_000):
        one = remediation(
            id=f"r-{n}",
            instance_id=f"i-{n}",
            instance_name="<!channel>" + "&" * 190,
            cluster_id="&" * 200,
            state=["FAILED", "PENDING_APPROVAL", "SUCCEEDED", f"STRANGE<{n}"][n % 4],
            error_message="<!channel>" * 50,
            mode="REMEDIATION_MODE_" + "X" * 300,
            reviewed_by="<!here>" * 30,
            end_time="2026-11-24T02:59:00Z",
            linked_alerts=[{"alert_name": "<!channel>" * 30}],
        )
        decided = DecidedBy(Verb.APPROVE, f"U{n % 40:09}", now - 10)
        back = CameBack("<!channel>" * 40, now - 5) if n % 4 == 2 else None
        many.append(Alert(one, "", seen_at=now - 100, decided=decided, came_back=back))
    told = handover.shift(many, [], [], now - 3600)
    assert "<!channel" not in told.text
    check_message({"text": told.text, "blocks": told.blocks}, is_update=True)
    told = handover.repairs_of("<!channel>" * 400, many)
    check_message({"text": told.text, "blocks": told.blocks}, is_update=True)


@pytest.mark.bot(watching=True, BOT_OBSERVE="cluster-1")
async def test_mention_about_an_observed_node_says_so(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    await bot.slack.say(f"<@{BOT_USER}> approve gpu-node-7", user="U0ALICE")
    await quiet(bot)
    assert "decide on its card" not in bot.slack.messages[-1].text


@pytest.mark.bot(watching=True, BOT_OBSERVE="cluster-1")
async def test_dialog_about_an_observed_node_says_so(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    await bot.slack.command("gpu-node-7")
    await until(bot, lambda: "The bot only observes this cluster" in str(bot.slack.views))
    assert "Approval needed" not in str(bot.slack.views)


@pytest.mark.bot(watching=True, BOT_OBSERVE="cluster-1")
async def test_status_of_an_observed_node_says_so(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    await bot.slack.command("status gpu-node-7")
    told = await bot.reply_privately()
    assert "observes" in told.everything


@watched
async def test_looking_at_what_the_bot_does_not_track_says_so(bot: World) -> None:

    bot.together.add(OTHER)  # a cluster that isn't watched
    blocks = as_alert(bot.together.remediations[OTHER])
    blocks[1]["elements"][0]["action_id"] = LOOKING
    tool = bot.slack.post_as_tool(blocks)
    await bot.slack.press(tool, LOOKING)
    told = (await bot.reply_privately()).text
    assert bot.together.state(OTHER) == "PENDING_APPROVAL"
    assert "Nothing here needs a decision any more" not in told


@watched
async def test_approval_in_slack_stays_that_once_the_alert_clears(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved")
    await poll(bot)
    bot.together.remediations[IDS]["state"] = (
        "REMEDIATION_STATE_AUTO_RESOLVED"
        if bot.together.state(IDS).startswith("REMEDIATION_STATE")
        else "AUTO_RESOLVED"
    )
    await pass_time(bot, 120)
    told = await asked(bot, "tonight")
    assert "<@U0ALICE> 1" in told
    assert "in Together" not in told


@watched
async def test_shift_counts_a_cancellation_in_together(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled")
    told = await asked(bot, "tonight")
    assert "Decided by" in told


@watched
async def test_shift_does_not_count_what_waits_again_as_decided_in_together(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved")
    await poll(bot)
    bot.together.remediations[IDS]["state"] = "PENDING_APPROVAL"
    await pass_time(bot, 120)
    told = await asked(bot, "tonight")
    assert "in Together" not in told


async def test_selection_that_a_dead_process_left_sends_nothing_to_an_observed_cluster(database_url: str) -> None:
    async with watching(database=database_url, drain_seconds=0.2) as bot:
        await poll(bot)
        storm(bot, 8)
        message = await digest(bot)
        view = await choose(bot, message)
        with bot.together.paused("get"):
            bot.together.calls.clear()
            await bot.slack.submit(view)
            async with asyncio.timeout(10):
                await bot.together.until(lambda: any(call.verb == "get" for call in bot.together.calls))
            await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_observe": ("*",)})):
            await pass_time(bot, 120)
        assert bot.together.posts == []


def sent(message: Message) -> dict[str, Any]:
    return {"text": message.text, "blocks": message.blocks}


def test_summary_that_names_people_fits() -> None:
    alerts = []
    for number in range(10):
        one = remediation(
            id=f"r-{number}", instance_name=f"gpu-{number}" + "n" * 90, state="FAILED", error_message="e" * 400,
            cluster_id="c" * 64, mode="REMEDIATION_MODE_" + "M" * 60, end_time="2026-11-24T03:00:00Z",
        )  # fmt: skip
        alerts.append(Alert(one, "", "m", START, decided=DecidedBy(Verb.APPROVE, f"U{number}", START)))
    told = handover.shift(alerts, [], [], START - 3600)
    check_message(sent(told), is_update=False)
    names = {f"U{number}": "n" * 80 for number in range(10)}
    check_message(sent(handover.shift(alerts, [], [], START - 3600, names=names)), is_update=False)
