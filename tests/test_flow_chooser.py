"""`/cancel-remediation` without three IDs: looked up, listed, chosen in a dialog."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import select

from bot.cards import chooser
from bot.clock import WaitReason
from bot.decisions.lookup import FRESH_SECONDS, MENU_SECONDS
from bot.models import ClusterNames
from bot.store.tables import audit
from tests.manual_clock import ON_THE_WAY
from tests.rows import execute_beside, outcomes_by_user
from tests.samples import remediation
from tests.simulator.slack.limits import check_option_groups, check_view
from tests.simulator.slack.workspace import BOT_USER, SlackFault
from tests.simulator.together import Fault, Ids
from tests.storms import XID
from tests.watch import HOLD, card, pass_time, poll, quiet, watching
from tests.world import IDS, OTHER, REF, World, both_transports, world

THERE = ("cluster-2", "instance-7", "remediation-7")

SECOND = ("cluster-1", "instance-2", "remediation-2")

NAMES: dict[str, Any] = {"instance_name": "gpu-node-7"}


async def opened(bot: World, text: str = "", user: str = "U0ALICE", **where: str) -> dict[str, Any]:
    """Type the command, and return the dialog once it is filled."""
    bot.slack.views.clear()
    await bot.slack.command(text, user=user, **where)
    return await filled(bot)


async def filled(bot: World, version: int = 1) -> dict[str, Any]:
    views = await bot.slack.until(lambda: [view for view in bot.slack.views if view.get("version", 0) >= version])
    return dict(views[0])


def shown_in(view: dict[str, Any]) -> str:
    return json.dumps(view["blocks"], ensure_ascii=False)


async def choose(bot: World, view: dict[str, Any], query: str = "") -> dict[str, Any]:
    """Search in the menu, take the first, and return the dialog after that."""
    (option, *_) = await bot.slack.ask_in_view(view, chooser.REMEDIATION, query)
    await bot.slack.pick(view, chooser.REMEDIATION, option)
    return await filled(bot, view.get("version", 0) + 1)


async def offered(bot: World, view: dict[str, Any], query: str = "") -> list[str]:
    return [each["text"]["text"] for each in await bot.slack.ask_in_view(view, chooser.REMEDIATION, query)]


@both_transports
async def test_nothing_typed_opens_a_dialog_that_finds_shows_the_card_and_cancels(bot: World) -> None:
    bot.together.clusters |= {"cluster-1": "one", "cluster-2": "two"}
    bot.together.add(linked_alerts=XID, **NAMES)
    bot.together.add(("cluster-1", "instance-2", "remediation-2"), instance_name="gpu-node-8")
    bot.together.add(OTHER, instance_name="gpu-node-9")
    view = await opened(bot)
    assert view["title"]["text"] == "Cancel remediation"
    assert await offered(bot, view) == [
        "gpu-node-7 · Reboot · Xid 79 · cluster-1",
        "gpu-node-8 · Reboot · cluster-1",
        "gpu-node-9 · Reboot · cluster-2",
    ]
    assert len(await offered(bot, view, "cluster-1")) == 2
    assert await offered(bot, view, "CLUSTER-1 reboot xid") == ["gpu-node-7 · Reboot · Xid 79 · cluster-1"]
    assert await offered(bot, view, "node-7 cluster-2") == []
    view = await choose(bot, view, "node-7")
    assert "Approval needed: reboot gpu-node-7" in shown_in(view)
    assert "Xid 79" in shown_in(view)
    assert bot.together.posts == []
    ack = await bot.slack.submit(view, **{chooser.WHY: "by hand"})
    assert (ack.status, ack.body) == (200, "")
    posted = await bot.answer()
    assert "Cancelled by <@U0ALICE>" in posted.text
    assert "“by hand”" in posted.everything
    assert bot.together.state(IDS) == "CANCELLED"
    assert await outcomes_by_user(bot) == [("U0ALICE", "cancelled")]


@pytest.mark.parametrize(
    "text", ["gpu-node-7", "GPU-NODE-7", "gpu-node", "instance-1", "remediation-1", "cancel gpu-node-7"]
)
async def test_one_word_finds_it_and_fills_the_dialog_in(text: str) -> None:
    async with watching() as bot:
        bot.together.add(**NAMES)
        alert = await card(bot)
        view = await opened(bot, text)
        assert "Approval needed: reboot gpu-node-7" in shown_in(view)
        await bot.slack.submit(view)
        await card(bot, words="Cancelled: reboot")
        await quiet(bot)
        assert [message.text.partition(". ")[0] for message in bot.slack.visible() if message.thread_ts is None][
            1:
        ] == ["gpu-node-7: cancelled by <@U0ALICE>"]
        assert alert.buttons == {}


async def test_dialog_says_what_cancelling_does_and_who_is_on_it() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.add(**NAMES)
        alert = await card(bot)
        await bot.slack.press(alert, HOLD, user="U0BOB", choice="3600")
        await card(bot, words="On hold until")
        shown = shown_in(await opened(bot, "gpu-node-7"))
        assert "On hold: reboot gpu-node-7" in shown
        assert "U0BOB" in shown
        assert "S0ONCALL" not in shown
        assert "The node is left as it is. Together won't suggest another repair for about 30 minutes." in shown


async def test_what_together_has_just_listed_is_not_called_unlisted() -> None:
    async with watching() as bot:
        bot.together.add(**NAMES)
        await card(bot)
        kept = bot.together.remediations.pop(IDS)
        await card(bot, words="No longer listed", seconds=900)
        bot.together.remediations[IDS] = kept
        await bot.slack.command("status gpu-node-7")
        assert "No longer listed" not in (await bot.reply_privately()).everything
        shown = shown_in(await opened(bot, "gpu-node-7"))
        assert "Approval needed: reboot gpu-node-7" in shown
        assert "No longer listed" not in shown


async def test_what_was_just_read_alone_is_shown_as_confirmed_though_no_list_has_it() -> None:
    async with watching() as bot:
        bot.together.add(**NAMES)
        await card(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await card(bot, words="Can't read it from Together now.", seconds=900)
        await bot.slack.command(f"status {REF}")
        status = (await bot.reply_privately()).everything
        assert "Approval needed: reboot gpu-node-7" in status
        assert "Can't read it from Together now." not in status


async def test_several_matches_that_run_are_called_neither_late_nor_early() -> None:
    async with watching() as bot:
        for number, state in enumerate(("RUNNING", "VERIFYING_WHAT_WAS_DONE")):
            ids = bot.together.add(
                ("cluster-1", f"instance-{number}", f"r-{number}"), instance_name=f"gpu-node-{number}"
            )
            await card(bot, ids)
            bot.together.remediations[ids]["state"] = state
        await poll(bot)
        view = await opened(bot, "gpu-node")
        assert "2 remediations match. None waits for approval or start." in shown_in(view)


async def test_several_matches_are_offered() -> None:
    async with watching() as bot:
        for number in (1, 2):
            bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}"), instance_name=f"gpu-node-{number}")
            await card(bot, ("cluster-1", f"instance-{number}", f"r-{number}"))
        await card(bot, bot.together.add(("cluster-1", "instance-3", "r-3"), instance_name="cpu-node-3"))
        view = await opened(bot, "gpu-node")
        assert "2 remediations match. Choose one." in shown_in(view)
        assert len(await offered(bot, view)) == 2
        assert len(await offered(bot, view, "node")) == 3
        view = await choose(bot, view, "node-2")
        assert "reboot gpu-node-2" in shown_in(view)


async def test_exact_name_wins_over_a_longer_one() -> None:
    async with watching() as bot:
        for number in (1, 11):
            bot.together.add(("cluster-1", f"instance-{number}", f"r-{number}"), instance_name=f"gpu-node-{number}")
            await card(bot, ("cluster-1", f"instance-{number}", f"r-{number}"))
        assert "reboot gpu-node-1 " in shown_in(await opened(bot, "gpu-node-1"))


async def test_no_match_says_what_was_looked_for_and_where(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add()
    view = await opened(bot, "gpu-node-99")
    assert "No open remediation matches “gpu-node-99”" in shown_in(view)
    assert "submit" not in view


async def test_cluster_that_cannot_be_read_is_named(bot: World) -> None:
    bot.together.clusters |= {"cluster-1": "one", "cluster-2": "two"}
    bot.together.add()
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
    assert "Couldn't read cluster-2 from Together" in shown_in(await opened(bot, "gpu-node-99"))
    await bot.slack.command("list")
    assert "Couldn't read cluster-2 from Together" in (await bot.reply_privately()).text


async def test_nothing_to_cancel_says_so(bot: World) -> None:
    view = await opened(bot)
    assert "Nothing can be cancelled right now." in shown_in(view)
    await bot.slack.command("list")
    assert "Nothing can be cancelled right now." in (await bot.reply_privately()).text


async def test_list_shows_privately_what_waits_the_oldest_first_then_what_is_approved() -> None:
    async with watching() as bot:
        for number in (1, 2):
            created = f"2026-11-24T0{3 - number}:00:00Z"
            ids = bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), create_time=created, linked_alerts=XID)
            await card(bot, ids)
        approved = bot.together.add(("cluster-1", "i-3", "r-3"), create_time="2026-11-24T00:00:00Z", state="PENDING")
        await card(bot, approved)
        await bot.slack.command("list", user="U0CAROL")
        lines = (await bot.reply_privately("U0CAROL")).text.splitlines()
        assert lines[0] == "3 remediations are waiting for approval or start, approvals first."
        assert [line.split()[0] for line in lines[1:]] == ["i-2", "i-1", "i-3"]
        assert "cluster-1 (H100) · Reboot · Xid 79 · waiting for approval · opened <!date^" in lines[1]


@pytest.mark.parametrize("text", ["status gpu-node-7", f"status {REF}", "status remediation-1"])
async def test_status_shows_the_card_privately_without_buttons(text: str) -> None:
    async with watching() as bot:
        bot.together.add(**NAMES)
        await card(bot)
        await bot.slack.command(text)
        shown = await bot.reply_privately()
        assert "Approval needed: reboot gpu-node-7" in shown.everything
        assert shown.buttons == {}


async def test_status_of_what_cannot_be_read_is_told_privately(bot: World) -> None:
    bot.together.faults.append(Fault("rpc", verb="get", code=5))
    await bot.slack.command(f"status {REF}")
    assert "Together has no such remediation on that cluster and instance." in (await bot.reply_privately()).text


async def test_state_that_changed_between_open_and_submit_sends_nothing() -> None:
    async with watching() as bot:
        bot.together.add(**NAMES)
        await card(bot)
        view = await opened(bot, "gpu-node-7")
        bot.together.review(IDS, "approve")
        await bot.slack.submit(view)
        told = await bot.answer(2)
        assert "your cancellation wasn't sent: the state changed from “Waiting for approval” to “Queued”" in told.text
        assert bot.together.state(IDS) == "PENDING"


async def test_remediation_that_is_gone_when_it_is_chosen_is_told_in_the_dialog() -> None:
    async with watching() as bot:
        bot.together.add(**NAMES)
        await card(bot)
        view = await opened(bot)
        bot.together.remediations[IDS]["state"] = "RUNNING"
        view = await choose(bot, view)
        assert "Too late to cancel: it's already “Running”." in shown_in(view)


async def test_choice_that_cannot_be_looked_up_is_not_said_to_be_over() -> None:
    async with world() as bot:
        bot.together.add(**NAMES)
        view = await opened(bot)
        (option,) = await bot.slack.ask_in_view(view, chooser.REMEDIATION, "")
        await bot.time.advance(60)
        bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1))
        await bot.slack.pick(view, chooser.REMEDIATION, option)
        said = shown_in(await filled(bot, view.get("version", 0) + 1))
        assert "Couldn't read cluster-1 from Together, so some may be missing or out of date. Choose again." in said
        assert "can no longer be cancelled" not in said


async def test_submission_before_the_card_is_shown_is_refused_at_its_field() -> None:
    async with watching() as bot:
        bot.together.add(**NAMES)
        await card(bot)
        view = await opened(bot)
        (option,) = await bot.slack.ask_in_view(view, chooser.REMEDIATION)
        for block in view["blocks"]:
            if block["type"] == "input" and block["element"]["type"] == "external_select":
                block["element"]["initial_option"] = option
        ack = await bot.slack.submit(view)
        assert json.loads(ack.body)["response_action"] == "errors"
        assert bot.slack.views == [view]
        assert bot.together.posts == []


async def test_closed_dialog_and_expired_trigger_do_no_harm(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add()
    with bot.together.paused("list"):
        await bot.slack.command("gpu-node-7")
        await bot.slack.until(lambda: bot.slack.views)
        bot.slack.close_view(bot.slack.views[0])
    bot.slack.faults.append(SlackFault("views.open", "expired_trigger_id"))
    await bot.slack.command("")
    assert "Nothing was sent. Try again" in (await bot.reply_privately()).text


async def test_dialog_opens_before_together_has_answered(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add()
    with bot.together.paused("list"):
        await bot.slack.command("")
        await bot.slack.until(lambda: bot.slack.views)
        assert "Looking for what can be cancelled" in shown_in(bot.slack.views[0])
    assert "Type a node, fault, or cluster" in shown_in(await filled(bot))


async def test_two_people_in_two_dialogs_cancel_once() -> None:
    async with watching() as bot:
        bot.together.add(**NAMES)
        await card(bot)
        mine = await opened(bot, "gpu-node-7")
        theirs = await opened(bot, "gpu-node-7", user="U0BOB")
        bot.slack.views[:] = [mine, theirs]
        await bot.slack.submit(mine)
        await card(bot, words="Cancelled: reboot")
        await bot.slack.submit(theirs, user="U0BOB")
        await quiet(bot)
        assert len(bot.together.posts) == 1
        assert "Already cancelled by <@U0ALICE>" in str([message.text for message in bot.slack.visible()])


async def test_who_may_not_decide_and_other_channels_are_refused_at_once() -> None:
    async with watching(BOT_CHANNELS="C0OPS") as bot:
        bot.together.add(**NAMES)
        await card(bot)
        view = await opened(bot, "gpu-node-7", user="U0CAROL")
        assert "Only operators can do this." in shown_in(view)
        assert "submit" not in view
        view = await opened(bot, "gpu-node-7", channel="C0OTHER")
        assert "The bot isn't enabled here." in shown_in(view)
        await bot.settle()
        refused = select(audit.c.user_id, audit.c.outcome).order_by(audit.c.seq)
        assert [tuple(row.values()) for row in await execute_beside(bot, refused)] == [
            ("U0CAROL", "not_allowed"),
            ("U0ALICE", "not_allowed"),
        ]


async def test_menu_shows_nothing_to_who_may_not_decide(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add(**NAMES)
    view = await opened(bot)
    assert await bot.slack.ask_in_view(view, chooser.REMEDIATION, user="U0CAROL") == []
    assert len(await bot.slack.ask_in_view(view, chooser.REMEDIATION)) == 1


async def test_what_has_opened_a_moment_ago_is_found(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    assert "Nothing can be cancelled right now." in shown_in(await opened(bot))
    assert "No open remediation matches" in shown_in(await opened(bot, "gpu-node-7"))
    await bot.time.advance(1)
    bot.together.add(**NAMES)
    assert "reboot gpu-node-7" in shown_in(await opened(bot, "gpu-node-7"))
    await bot.time.advance(1)
    bot.together.add(OTHER, instance_name="gpu-node-9")
    bot.together.clusters["cluster-2"] = "two"
    assert "reboot gpu-node-9" in shown_in(await opened(bot, "gpu-node-9"))


async def test_nothing_is_called_certain_while_together_cannot_be_read(bot: World) -> None:
    bot.together.add(**NAMES)
    bot.together.faults.append(Fault("cut", verb="clusters", times=50))
    view = await opened(bot)
    assert "Nothing to cancel was found. Couldn't read the list of clusters from Together" in shown_in(view)
    await bot.slack.command("list")
    told = (await bot.reply_privately()).text
    assert told.startswith("Nothing to cancel was found.")
    assert "Couldn't read the list of clusters from Together" in told


@pytest.mark.parametrize("count", [0, 1, 100, 101, 10_000])
def test_any_number_of_choices_with_any_name_fits(count: int) -> None:
    odd = ["<!channel> *b* `c` :fire:", "名前" * 60, "\u202eabc", "\U0001f4a5" * 90, ""]
    many = [
        remediation(
            id=f"r-{number}", instance_id=f"i-{number}", cluster_id=f"c-{number % 7}", instance_name=odd[number % 5]
        )
        for number in range(count)
    ]
    assert len(check_option_groups(chooser.option_groups(many, "", ClusterNames(), ()))) == min(count, 100)
    check_view(chooser.chooser(chooser.Choice("C1"), ""))
    if many:
        check_view(chooser.chooser(chooser.Choice("C1", ids=("c-0", "i-0", "r-0")), "", shown=many[0]))


async def test_without_the_watch_the_list_comes_from_together() -> None:
    async with world() as bot:
        bot.together.clusters["cluster-1"] = "one"
        bot.together.add(**NAMES)
        await bot.slack.command("list")
        assert "gpu-node-7" in (await bot.reply_privately()).text


async def test_verb_is_never_read_as_a_cluster(bot: World) -> None:
    await bot.slack.command("approve c i r")
    assert (
        "/cancel-remediation can't approve. Use the buttons on its card, if it has one, or this app's Home."
        in (await bot.reply_privately()).text
    )
    assert bot.together.calls == []


async def test_choices_that_take_too_long_are_empty_and_there_when_they_are_asked_for_again(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "one"
    bot.together.add(**NAMES)
    view = await opened(bot)
    await bot.time.advance(FRESH_SECONDS)
    with bot.together.paused("list"):
        asking = asyncio.create_task(bot.slack.ask_in_view(view, chooser.REMEDIATION))
        await bot.together.until(lambda: [call.verb for call in bot.together.calls].count("list") == 2)
        await bot.time.advance(MENU_SECONDS)
        assert await asking == []
    again = await bot.slack.ask_in_view(view, chooser.REMEDIATION)
    assert [each["text"]["text"] for each in again] == ["gpu-node-7 · Reboot · cluster-1"]
    assert [call.verb for call in bot.together.calls].count("list") == 2


@pytest.mark.parametrize("times", [2, -1], ids=["for a moment", "for long"])
@pytest.mark.parametrize("kind", ["ratelimited", "internal_error"])
async def test_dialog_that_slack_is_too_busy_to_fill_is_filled_later_or_said_so(
    bot: World, kind: str, times: int
) -> None:
    bot.together.add(instance_name="gpu-node-7")
    bot.slack.faults.append(SlackFault("views.update", kind, times=times, retry_after=1))
    await bot.slack.command("gpu-node-7")
    if times > 0:
        await bot.slack.until(lambda: bot.slack.views and "gpu-node-7" in json.dumps(bot.slack.views[-1]))
    else:
        assert "Slack couldn't show the dialog. Nothing was sent." in (await bot.reply_privately()).text


async def two_to_choose_from(bot: World) -> tuple[dict[str, Any], list[dict[str, Any]], Ids]:
    """A dialog, its two choices, and the IDs of the second."""
    bot.together.add(**NAMES)
    second = bot.together.add(("cluster-1", "instance-2", "remediation-2"), instance_name="gpu-node-8")
    view = await opened(bot)
    return view, await bot.slack.ask_in_view(view, chooser.REMEDIATION, ""), second


async def test_dialog_shows_the_last_choice_though_slack_took_the_first_one_late(bot: World) -> None:
    view, (seven, eight), second = await two_to_choose_from(bot)
    bot.time.passing = ON_THE_WAY - {WaitReason.SLACK_LIMIT}
    bot.slack.faults.append(SlackFault("views.update", "ratelimited", retry_after=20))
    await bot.slack.pick(view, chooser.REMEDIATION, seven)
    await bot.time.until_sleeping(WaitReason.SLACK_LIMIT)
    await bot.slack.pick(view, chooser.REMEDIATION, eight)
    assert "gpu-node-8" in shown_in(await filled(bot, view.get("version", 0) + 1))
    await bot.time.end_pause(WaitReason.SLACK_LIMIT)
    await quiet(bot)
    await bot.slack.submit(dict(bot.slack.views[0]))
    await bot.settle()
    assert [ids for ids in bot.together.remediations if bot.together.state(ids) == "CANCELLED"] == [second]


@pytest.mark.parametrize("processes", [1, 2])
async def test_dialog_shows_the_last_choice_though_together_answered_the_first_one_late(
    postgresql: str, processes: int
) -> None:
    async with world(database=postgresql) as bot, AsyncExitStack() as stack:
        view, (seven, eight), second = await two_to_choose_from(bot)
        with bot.together.paused("get"):
            await bot.slack.pick(view, chooser.REMEDIATION, seven)
            await bot.together.until(lambda: bot.together.is_waiting("get"))
            if processes == 2:
                await stack.enter_async_context(bot.another())
            with bot.together.open_for_others("get"):
                await bot.slack.pick(view, chooser.REMEDIATION, eight)
                assert "gpu-node-8" in shown_in(await filled(bot, view.get("version", 0) + 1))
        await quiet(bot)
        await bot.slack.submit(dict(bot.slack.views[0]))
        await bot.together.until(lambda: bot.together.posts)
        await quiet(bot)
        assert [ids for ids in bot.together.remediations if bot.together.state(ids) == "CANCELLED"] == [second]


async def test_dialog_shows_the_last_choice_though_both_are_on_their_way(bot: World) -> None:
    view, (seven, eight), _ = await two_to_choose_from(bot)
    known = len([1 for method, _ in bot.slack.calls if method == "views.update"])

    def sent() -> int:
        return len([1 for method, _ in bot.slack.calls if method == "views.update"]) - known

    with bot.slack.paused("views.update"):
        await bot.slack.pick(view, chooser.REMEDIATION, seven)
        await bot.slack.until(lambda: sent() == 1)
        looked = len(bot.together.calls)
        await bot.slack.pick(view, chooser.REMEDIATION, eight)
        await bot.together.until(lambda: any(call.verb == "get" for call in bot.together.calls[looked:]))
    await quiet(bot)
    assert "gpu-node-8" in shown_in(bot.slack.views[0]), shown_in(bot.slack.views[0])


async def test_dialog_and_answer_to_a_mention_say_the_wait_that_is_set() -> None:
    async with world(BOT_WAIT_MINUTES="*=0") as bot:
        bot.together.add(**NAMES)
        said = await bot.slack.say(f"<@{BOT_USER}> approve gpu-node-7", user="U0ALICE")
        (answer,) = await bot.slack.until(lambda: [reply for reply in bot.slack.replies(said) if reply.by == BOT_USER])
        for shown in (answer.text, shown_in(await opened(bot, "gpu-node-7"))):
            assert "Once approved, it is drained at once" in shown
            assert "unless set" not in shown


def told(bot: World, user: str = "U0ALICE") -> list[str]:
    return [message.text for message in (*bot.slack.visible(), *bot.slack.visible(user), *bot.slack.direct(user))]


async def test_other_remediation_chosen_in_a_dialog_that_stayed_open_is_cancelled_or_answered() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07")
        bot.together.add(SECOND, instance_name="gpu-node-08")
        await card(bot)
        await card(bot, SECOND)
        view = await choose(bot, await opened(bot), "gpu-node-07")
        bot.slack.acks_late = 1
        assert (await bot.slack.submit(view)).status == 0
        assert [each["id"] for each in bot.slack.views] == [view["id"]], "Slack leaves it open"
        await pass_time(bot, 5)
        view = await choose(bot, view, "gpu-node-08")
        assert "Cancel remediation for gpu-node-08?" in str(view["blocks"])
        before = len(told(bot))
        ack = await bot.slack.submit(view, **{chooser.WHY: "by hand"})
        await pass_time(bot, 60)
        is_answered = bool(ack.body) or any("gpu-node-08" in text for text in told(bot)[before:])
        assert bot.together.state(SECOND) == "CANCELLED" or is_answered, "acked, closed, and nothing done or said"


async def test_command_with_the_whole_name_of_a_node_opens_no_other_whose_name_begins_so() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        bot.together.add(instance_name="gpu-node-07")
        await card(bot)
        bot.together.add(THERE, instance_name="gpu-node-07.infer.example")
        await card(bot, THERE, seconds=900)
        bot.together.review(IDS, "approve")
        while bot.together.state(IDS) != "RUNNING":
            bot.together.advance(IDS)
        await pass_time(bot, 60)
        assert bot.together.state(IDS) == "RUNNING"
        shown = shown_in(await opened(bot, "gpu-node-07"))
        assert "gpu-node-07.infer.example" not in shown, "its dialog cancels the repair of another cluster's node"
