"""Mentions of the bot and direct messages to it."""

import pytest
from sqlalchemy import select

from bot.store.tables import audit
from tests.rows import execute_beside, outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER, SlackFault, im_of
from tests.simulator.together import Fault
from tests.storms import began, digest, storm
from tests.watch import HOLD, card, pass_time, quiet, thread, until, watching
from tests.world import APPROVE, CANCEL, IDS, REF, World, both_transports, world

SECOND = ("cluster-1", "instance-8", "remediation-8")

pytestmark = pytest.mark.bot(watching=True)
BOT = f"<@{BOT_USER}>"
ALICE = im_of("U0ALICE")


async def confirmation(bot: World, said: Posted) -> Posted:
    """The card that answers in the thread."""
    replies = await bot.slack.until(lambda: [reply for reply in bot.slack.replies(said) if reply.by == BOT_USER])
    return replies[0]


@both_transports
async def test_cancel_by_name_points_at_the_card_and_sends_nothing_before_a_button_is_pressed(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    said = await bot.slack.say(f"{BOT} cancel gpu-node-7", user="U0ALICE")
    answer = await confirmation(bot, said)
    told = "gpu-node-7: <@U0ALICE> asked to cancel this. Nothing has been sent yet: decide on its card. <https://"
    assert answer.text.startswith(told)
    assert answer.buttons == {}, "a copy would show live buttons after the card says that it's decided"
    assert bot.together.posts == []
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled by <@U0ALICE>")
    assert await outcomes_by_user(bot) == [("U0ALICE", "cancelled")]


async def test_without_a_card_the_answer_says_where_to_decide_and_offers_nothing_that_outlives_it() -> None:
    async with world() as bot:
        bot.together.add()
        for verb, typed in (("cancel", f", or type `/cancel-remediation {REF}`"), ("approve", "")):
            said = await bot.slack.say(f"{BOT} {verb} {REF}", user="U0ALICE")
            answer = await confirmation(bot, said)
            assert f"Nothing has been sent yet: to decide, open this app's Home{typed}." in answer.text
            assert "Approve reboot?" in answer.text
            assert answer.buttons == {}


async def test_cancel_of_what_is_queued_is_not_sent_to_home_which_cannot_cancel_it() -> None:
    async with world() as bot:
        bot.together.add(state="PENDING")
        said = await bot.slack.say(f"{BOT} cancel {REF}", user="U0ALICE")
        told = (await confirmation(bot, said)).text
        assert f"Nothing has been sent yet: to decide, type `/cancel-remediation {REF}`." in told


async def test_thread_of_an_alert_needs_no_name(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.say(f"{BOT} hold 1h", user="U0ALICE", thread=alert)
    await until(bot, lambda: "On hold until" in alert.text)
    lines = [reply.text for reply in bot.slack.replies(alert) if reply.by == BOT_USER]
    assert lines == []
    await bot.slack.say(f"{BOT} status", user="U0BOB", thread=alert)
    shown = await bot.reply_privately("U0BOB")
    assert "On hold: reboot gpu-node-7" in shown.everything
    assert shown.buttons == {}
    assert shown.thread_ts == alert.ts
    await bot.slack.say(f"{BOT} approve", user="U0ALICE", thread=alert)
    answer = await bot.slack.until(
        lambda: [reply for reply in bot.slack.replies(alert) if "asked to approve this" in reply.text]
    )
    assert answer[0].buttons == {}
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved by <@U0ALICE>")
    assert [outcome for _, outcome in await outcomes_by_user(bot)] == ["held", "approved"]


async def test_thread_of_another_tools_alert_is_read_for_what_it_names() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.say(f"{BOT} cancel", user="U0ALICE", thread=alert)
        answer = await confirmation(bot, alert)
        assert "asked to cancel this" in answer.text
        silent = bot.slack.post_as_tool([], text="something else")
        await bot.slack.say(f"{BOT} cancel", user="U0ALICE", thread=silent)
        assert "This thread isn't about a remediation. Nothing was sent." in (await bot.reply_privately()).text
        bot.slack.may_read_history = False
        await bot.slack.say(f"{BOT} cancel", user="U0ALICE", thread=alert)
        assert "Which remediation? Nothing was sent." in (await bot.reply_privately(count=2)).text


@pytest.mark.parametrize("written", ["Broken: <{}>.", "Look at <{}>, please", "*<{}>*", "_<{}|this>_: {}!"])
async def test_url_in_a_sentence_names_one_remediation(written: str) -> None:
    url = f"https://api.together.xyz/v1/compute/clusters/{IDS[0]}/instances/{IDS[1]}/remediations/{IDS[2]}"
    link = {"type": "rich_text_section", "elements": [{"type": "link", "url": url}, {"type": "text", "text": "."}]}
    async with world() as bot:
        bot.together.add()
        for blocks in ([], [{"type": "rich_text", "elements": [link]}]):
            message = bot.slack.post_as_tool(blocks, text=written.replace("{}", url))
            await bot.slack.say(f"{BOT} cancel", user="U0ALICE", thread=message)
            assert "asked to cancel this" in (await confirmation(bot, message)).text


async def test_thread_of_a_digest_asks_which(bot: World) -> None:
    for number in range(12):
        bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"))
    digest = (await until(bot, bot.slack.digests))[0]
    await bot.slack.say(f"{BOT} cancel", user="U0ALICE", thread=digest)
    assert "12 remediations are in this thread." in (await bot.reply_privately()).text
    await bot.slack.say(f"{BOT} cancel i-3", user="U0ALICE", thread=digest)
    answer = await bot.slack.until(lambda: [reply for reply in bot.slack.replies(digest) if "asked to" in reply.text])
    assert answer[0].text.startswith("i-3 (cluster-1 (H100)): Approve reboot?")
    assert "This message isn't updated." in answer[0].text


async def test_outside_a_thread_a_name_is_needed_and_several_matches_are_listed(bot: World) -> None:
    for number in (1, 2):
        ids = bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), instance_name=f"gpu-node-{number}")
        await card(bot, ids)
    await bot.slack.say(f"{BOT} cancel", user="U0ALICE")
    assert "Which remediation? Nothing was sent." in (await bot.reply_privately()).text
    for number, verb in enumerate(("cancel", "hold"), 2):
        await bot.slack.say(f"{BOT} {verb} gpu-node", user="U0ALICE")
        told = (await bot.reply_privately(count=number)).text
        assert told.startswith("2 open remediations match. Type the full node name, or its IDs.")
        assert "IDs:" not in told, "their names tell them apart"
    await bot.slack.say(f"{BOT} cancel gpu-node-9", user="U0ALICE")
    assert "No open remediation matches “gpu-node-9”" in (await bot.reply_privately(count=4)).text
    assert bot.together.posts == []


async def test_nodes_that_are_called_the_same_are_listed_with_the_ids_by_which_one_is_put_on_hold(bot: World) -> None:
    for number in (1, 2):
        ids = bot.together.add((f"cluster-{number}", f"i-{number}", f"r-{number}"), instance_name="gpu-node-7")
        alert = await card(bot, ids, seconds=900)
    for number, asked in enumerate(("status", "hold 1h"), 1):
        await bot.slack.say(f"{BOT} {asked} gpu-node-7", user="U0ALICE")
        told = (await bot.reply_privately(count=number)).text
        assert told.startswith("2 open remediations match. Type the full node name, or its IDs.")
        assert told.endswith("IDs: cluster-2/i-2/r-2")
    await bot.slack.say(f"{BOT} hold 1h cluster-2/i-2/r-2", user="U0ALICE")
    await until(bot, lambda: "On hold until" in alert.text)


async def test_what_is_over_is_found_by_the_command_that_the_answer_names(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await bot.slack.press(await card(bot), APPROVE)
    await card(bot, words="Approved")
    bot.together.advance(IDS, "SUCCEEDED")
    await card(bot, words="Rebooted")
    await bot.slack.say(f"{BOT} status gpu-node-7", user="U0ALICE")
    told = (await bot.reply_privately()).text
    assert told.endswith("If it's over, type /cancel-remediation history gpu-node-7.")
    await bot.slack.command(told.removesuffix(".").rpartition("/cancel-remediation ")[2])
    assert "succeeded" in (await bot.reply_privately(count=2)).text


def told_by_bot(bot: World) -> list[Posted]:
    """What the bot has told Alice directly."""
    return [message for message in bot.slack.direct("U0ALICE") if message.by == BOT_USER]


async def answered_directly(bot: World, count: int) -> Posted:
    await bot.slack.until(lambda: len(told_by_bot(bot)) == count)
    return told_by_bot(bot)[-1]


async def test_direct_messages_are_answered_there(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    for number, (text, words) in enumerate(
        [
            ("cancle gpu-node-7", "Nothing was sent. Mention the bot, or send it a direct message:"),
            ("list", "1 remediation is waiting for approval or start."),
            ("status gpu-node-7", "Approve reboot?"),
            (f"{BOT} cancel gpu-node-7", "<@U0ALICE> asked to cancel this."),
        ],
        1,
    ):
        await bot.slack.say(text, user="U0ALICE", channel=ALICE)
        told = await answered_directly(bot, number)
        assert words in told.text
        assert told.only_for is None
    assert told.buttons == {}


async def test_who_may_not_decide_is_told_privately(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    for number, text in enumerate(("cancel", "approve"), 1):
        await bot.slack.say(f"{BOT} {text}", user="U0CAROL", thread=alert)
        assert "Only operators can do this." in (await bot.reply_privately("U0CAROL", number)).text
    await bot.slack.say(f"{BOT} hold 1h", user="U0CAROL", thread=alert)
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL", 3)).text
    assert [reply for reply in bot.slack.replies(alert) if reply.by == BOT_USER] == []


async def test_member_of_another_workspace_in_a_shared_channel_sees_nothing(bot: World) -> None:
    bot.slack.add_user("U0PARTNER", "partner", team_id="T0PARTNER")
    bot.together.add()
    alert = await card(bot)
    for number, extra in enumerate(({"user_team": "T0PARTNER"}, {}), 1):
        await bot.slack.say(f"{BOT} status", user="U0PARTNER", thread=alert, **extra)
        assert "Only members of this workspace can do this." in (await bot.reply_privately("U0PARTNER", number)).text


async def test_channel_in_which_the_bot_is_not_enabled() -> None:
    async with watching(BOT_CHANNELS="C0OPS") as bot:
        bot.together.add()
        await card(bot)
        for number, text in enumerate(("list", f"cancel {REF}", "status instance-1"), 1):
            await bot.slack.say(f"{BOT} {text}", user="U0ALICE", channel="C0OTHER")
            told = (await bot.reply_privately(count=number)).text
            assert "The bot isn't enabled here. Nothing changed. Use <#C0OPS>." in told


async def test_guest_is_shown_nothing_of_channels_that_they_are_not_in() -> None:
    async with watching(BOT_CHANNELS="C0OPS,C0TRAIN", BOT_ROUTES="c-train=C0TRAIN") as bot:
        bot.slack.add_user("U0GUEST", "guest", is_restricted=True)
        bot.together.clusters["c-train"] = "train"
        bot.together.add(("c-train", "i-9", "r-9"), instance_name="gpu-node-9")
        for number, text in enumerate(("list", "status gpu-node-9", "tonight", "history gpu-node-9")):
            await bot.slack.command(text, user="U0GUEST")
            told = (await bot.reply_privately("U0GUEST", 2 * number + 1)).text
            await bot.slack.say(f"{BOT} {text}", user="U0GUEST")
            said = (await bot.reply_privately("U0GUEST", 2 * number + 2)).text
            assert "Guests can't see what's in other channels." in told
            assert "Guests can't see what's in other channels." in said
        await bot.slack.command("list", user="U0CAROL")
        assert "gpu-node-9" in (await bot.reply_privately("U0CAROL")).text


async def test_retried_event_is_answered_once(bot: World) -> None:
    event = {"type": "app_mention", "user": "U0ALICE", "text": f"{BOT} help", "ts": "1.2", "channel": "C0OPS"}
    for _ in range(3):
        assert (await bot.slack.tell(event, event_id="Ev0SAME")).status == 200
    await bot.reply_privately()
    await bot.slack.tell({**event, "user": "U0BOB"}, event_id="Ev0OTHER")
    await bot.reply_privately("U0BOB")
    assert len(bot.slack.visible("U0ALICE")) == 1


async def test_bots_and_edits_are_not_answered(bot: World) -> None:
    event = {"type": "message", "channel_type": "im", "user": "U0ALICE", "text": "help", "ts": "1.2", "channel": ALICE}
    for extra in ({"bot_id": "B0OTHER"}, {"subtype": "message_changed"}, {"user": None}, {"user": ""}):
        assert (await bot.slack.tell({**event, **extra})).status == 200
    await bot.slack.tell(event)
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
    assert len(bot.slack.direct("U0ALICE")) == 1


async def test_message_of_a_channel_is_none_to_the_bot(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    event = {"type": "message", "user": "U0ALICE", "ts": "1.2", "channel": "C0OPS"}
    for kind in ("channel", "group", "mpim", None):
        for text in ("lunch?", "hold gpu-node-7"):
            assert (await bot.slack.tell({**event, "channel_type": kind, "text": text})).status == 200
    await bot.slack.say("help", user="U0BOB", channel=im_of("U0BOB"))
    await bot.slack.until(lambda: bot.slack.direct("U0BOB"))
    await quiet(bot)
    assert bot.slack.visible("U0ALICE") == []
    assert "On hold" not in alert.text


async def test_together_down_is_said(bot: World) -> None:
    bot.together.faults.append(Fault("cut", verb="get", times=50))
    await bot.slack.say(f"{BOT} cancel {REF}", user="U0ALICE")
    assert "Together" in (await bot.reply_privately()).text
    assert bot.together.posts == []


async def test_mention_without_room_is_repeated_by_slack(bot: World) -> None:
    bot.app.tasks.limit = 0
    event = {"type": "app_mention", "user": "U0ALICE", "text": f"{BOT} help", "ts": "1.2", "channel": "C0OPS"}
    assert (await bot.slack.tell(event, event_id="Ev0LATER")).status == 503
    bot.app.tasks.limit = 200
    assert (await bot.slack.tell(event, event_id="Ev0LATER")).status == 200
    assert "Mention the bot" in (await bot.reply_privately()).text


async def test_unreadable_request_says_what_is_wrong(bot: World) -> None:
    await bot.slack.say(f"{BOT} cancel gpu node", user="U0ALICE")
    assert "Missing remediation ID." in (await bot.reply_privately()).text


async def test_answer_that_slack_refuses_in_the_thread_reaches_the_person(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "not_in_channel"))
    await bot.slack.say(f"{BOT} cancel", user="U0ALICE", thread=alert)
    await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
    assert "asked to cancel this" in bot.slack.direct("U0ALICE")[0].text


async def test_older_installation_works_without_the_new_ways_in_and_says_what_it_lacks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as bot:
        bot.slack.scopes -= {"app_mentions:read", "im:history"}
        await bot.settle()
        async with bot.another() as app:
            assert "The Slack app lacks app_mentions:read (answer when it's mentioned), im:history" in caplog.text
            assert app._warnings()[0].endswith("(python -m bot manifest) and reinstall it.")
            assert app._problems() == []
            await bot.slack.say(f"{BOT} help", user="U0ALICE")
            bot.together.add()
            await bot.slack.command(REF)
            await bot.answer(2)
            assert bot.together.state(IDS) == "CANCELLED"
            assert bot.slack.visible("U0ALICE") == []


async def test_hold_from_elsewhere_is_answered_with_a_line_that_links_to_the_card(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.say(f"{BOT} hold 2h gpu-node-7", user="U0ALICE")
    await until(bot, lambda: "On hold until" in alert.text)
    line = next(message.text for message in bot.slack.visible() if message.text.startswith("gpu-node-7: put on hold"))
    assert "by <@U0ALICE>. <https://home.slack.com/archives/C0OPS/" in line


async def test_hold_lasts_as_long_as_asked_and_its_reason_is_in_the_audit_trail(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.say(f"{BOT} hold {REF} 2h because the job ends at 5", user="U0ALICE", thread=alert)
    await until(bot, lambda: "On hold until" in alert.text)
    assert f"<!date^{int(bot.time.now()) + 7200}" in alert.everything
    (row,) = await execute_beside(bot, select(audit.c.reason).where(audit.c.verb == "hold"))
    assert row["reason"] == "the job ends at 5"


SECOND_NODE = [
    "hold gpu-node-1 and gpu-node-2 for 1h",
    "hold gpu-node-1 1h and gpu-node-2, please",
    "hold 1h gpu-node-1 and gpu-node-2",
    f"hold {REF} 1h and gpu-node-2",
    f"hold {REF} 1h and cluster-1/instance-2/remediation-2",
    "hold gpu-node-1 1h gpu-node-2 2h",
    "hold gpu-node-1 1h, gpu-node-2 for 30 min.",
    "hold gpu-node-1 1h, gpu-node-2 2h, and gpu-node-3 for 30 min.",
    f"hold {REF} 1h gpu-node-2 2h",
    "hold 2h gpu-node-1 to gpu-node-2",
    "hold 2h gpu-node-1 through gpu-node-2",
    "hold 2h gpu-node-1 with gpu-node-2",
    "hold gpu-node-1 for 2h as well as gpu-node-2",
    f"hold 1h gpu-node-1\n{BOT} gpu-node-2",
    "hold gpu-node-1 for 2h, also gpu-node-2",
    "hold gpu-node-1 for 2h, then gpu-node-2",
    "hold gpu-node-1 for 2h, same for gpu-node-2",
    "hold gpu-node-1 for 2h, gpu-node-2, gpu-node-2",
    "cancel gpu-node-1 and gpu-node-2",
    "approve gpu-node-1 and gpu-node-2",
]


@pytest.mark.parametrize("text", SECOND_NODE)
async def test_second_node_is_not_left_out_without_a_word(bot: World, text: str) -> None:
    for number in (1, 2):
        ids = bot.together.add(
            ("cluster-1", f"instance-{number}", f"remediation-{number}"), instance_name=f"gpu-node-{number}"
        )
        await card(bot, ids)
    await bot.slack.say(f"{BOT} {text}", user="U0ALICE")
    named = "cluster-1/instance-2/remediation-2" if "/remediation-2" in text else "gpu-node-2"
    said = (await bot.reply_privately()).text
    assert said.startswith(f"“{named}” is another node. Name one node at a time.")
    await quiet(bot)
    assert not [
        message for message in bot.slack.messages if "On hold" in message.everything or "asked to" in message.text
    ]


async def test_reason_may_be_about_another_node(bot: World) -> None:
    for number in (1, 2):
        ids = bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), instance_name=f"gpu-node-{number}")
        alert = await card(bot, ids)
    await bot.slack.say(f"{BOT} hold gpu-node-2 1h because gpu-node-1 is drained", user="U0ALICE")
    await until(bot, lambda: "On hold until" in alert.text)


async def test_reason_behind_a_node_is_written_down_once(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.say(f"{BOT} hold gpu-node-7 jobs are running 2h still", user="U0ALICE")
    await until(bot, lambda: "On hold until" in alert.text)
    (row,) = await execute_beside(bot, select(audit.c.reason).where(audit.c.verb == "hold"))
    assert row["reason"] == "jobs are running still"


async def test_hold_takes_only_what_is_named_in_full(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-12")
    alert = await card(bot)
    await bot.slack.say(f"{BOT} hold gpu-node-1", user="U0ALICE")
    assert (await bot.reply_privately()).text.startswith("1 open remediation matches. Type the full node name")
    await bot.slack.say(f"{BOT} hold gpu-node-12 for 2h", user="U0ALICE")
    await until(bot, lambda: "On hold until" in alert.text)


async def test_who_may_not_hold_learns_of_no_nodes(bot: World) -> None:
    bot.slack.add_user("U0PARTNER", "partner", team_id="T0PARTNER")
    for number in (1, 2):
        ids = bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), instance_name=f"gpu-node-{number}")
        await card(bot, ids)
    for user in ("U0PARTNER", "U0CAROL"):
        await bot.slack.say(f"{BOT} hold gpu-node", user=user)
        assert "gpu-node-1" not in (await bot.reply_privately(user)).everything


async def test_request_that_is_too_late_offers_no_button(bot: World) -> None:
    bot.together.add(state="RUNNING")
    said = await bot.slack.say(f"{BOT} cancel {REF}", user="U0ALICE")
    answer = await confirmation(bot, said)
    assert "Too late to cancel: it's already “Running”." in answer.text
    assert answer.buttons == {}


async def test_name_of_a_node_with_two_repairs_means_the_one_that_can_be_decided(bot: World) -> None:
    ids = [("cluster-1", "i-1", f"r-{number}") for number in (1, 2)]
    first, second = [await card(bot, bot.together.add(ids, instance_name="gpu-node-7")) for ids in ids]
    await bot.slack.say(f"{BOT} hold i-1", user="U0ALICE")
    told = (await bot.reply_privately()).text
    assert told.startswith("2 open remediations match. Type the three IDs of one.")
    assert "IDs: cluster-1/i-1/r-1" in told
    bot.together.remediations[ids[0]]["state"] = "RUNNING"
    await card(bot, ids[0], words="Rebooting")
    await bot.slack.say(f"{BOT} hold gpu-node-7 1h", user="U0ALICE")
    await until(bot, lambda: "On hold" in second.text)
    assert "On hold" not in first.text


async def test_node_with_two_repairs_in_a_storm_is_asked_for_by_their_ids_since_neither_has_a_card(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 8)[0]
    second = bot.together.add((*ids[:2], "second"), instance_name="gpu-node-0000")
    message = await digest(bot, "9 remediations")
    for number, asked in enumerate(("status", "hold 1h"), 1):
        await bot.slack.say(f"{BOT} {asked} gpu-node-0000", user="U0ALICE")
        told = (await bot.reply_privately(count=number)).text
        assert told.startswith("2 open remediations match. Type the three IDs of one.")
    await bot.slack.say(f"{BOT} hold 1h {'/'.join(second)}", user="U0ALICE")
    await until(bot, lambda: "on hold by <@U0ALICE>" in message.text)


async def test_hold_of_which_slack_tells_hours_later_is_not_made(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.say(f"{BOT} hold gpu-node-7 30m", user="U0ALICE", ts=f"{bot.time.now() - 3600:.6f}")
    told = await bot.reply_privately()
    assert told.text.startswith("Your request to put a repair on hold wasn't carried out")
    await quiet(bot)
    assert "On hold" not in alert.text


async def test_hold_that_comes_too_late_is_answered_in_the_thread_where_it_was_asked_for(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await card(bot, words="Approved by <@U0BOB>")
    await bot.slack.say(f"{BOT} hold 1h", user="U0ALICE", thread=alert)
    await until(bot, lambda: "Too late to hold" in alert.text)
    told = [line for line in thread(bot, alert) if line.startswith("gpu-node-7: Too late to hold: it's already")]
    assert len(told) == 1
    assert "See the card" in told[0]


async def edit(bot: World, said: Posted, text: str) -> None:
    """Let Slack tell of a message again that was edited: by the same `ts`, in another event."""
    event = {"type": "app_mention", "user": "U0ALICE", "text": text, "ts": said.ts, "channel": said.channel}
    await bot.slack.tell({**event, "edited": {"user": "U0ALICE", "ts": f"{bot.time.now():.6f}"}})


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("seconds", [120, 900])
async def test_edited_hold_is_not_carried_out_again(bot: World, seconds: float) -> None:
    bot.together.add()
    alert = await card(bot)
    said = await bot.slack.say(f"{BOT} hold 4h instance-1 because of a chekpoint", user="U0ALICE")
    await until(bot, lambda: "On hold until" in alert.text)
    await bot.slack.press(alert, HOLD, choice="release", user="U0BOB")
    await until(bot, lambda: "On hold until" not in alert.text)
    await pass_time(bot, seconds)
    await edit(bot, said, f"{BOT} hold 4h instance-1 because of a checkpoint")
    told = (await bot.reply_privately()).text
    assert told == "An edited message isn't carried out again. Nothing was sent. Write a new one."
    await quiet(bot)
    assert "On hold until" not in alert.text


@pytest.mark.bot(watching=True)
async def test_hold_of_an_edited_message_that_could_not_be_read_is_carried_out(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    said = await bot.slack.say(f"{BOT} hodl 4h instance-1", user="U0ALICE")
    assert "Nothing was sent" in (await bot.reply_privately()).text
    await edit(bot, said, f"{BOT} hold 4h instance-1")
    await until(bot, lambda: "On hold until" in alert.text)


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("verb", ["approve", "cancel"])
async def test_mention_of_a_name_that_nothing_open_has_is_about_no_other_node(bot: World, verb: str) -> None:
    bot.together.add(instance_name="gpu-node-10")
    await card(bot)
    said = await bot.slack.say(f"{BOT} {verb} gpu-node-1", user="U0ALICE")
    told = (await bot.reply_privately()).text
    assert "1 open remediation matches. Type the full node name, or its IDs" in told
    assert not bot.slack.replies(said)


@pytest.mark.bot(watching=True)
async def test_reason_for_ones_own_hold_does_not_shorten_it(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, HOLD, choice="14400")
    await card(bot, words="On hold until")
    await bot.slack.say(f"{BOT} hold because it's still checkpointing", user="U0ALICE", thread=alert)
    await card(bot, words="still checkpointing")
    await pass_time(bot, 3600)
    assert "On hold until" in alert.text


@pytest.mark.bot(watching=True)
async def test_confirmation_names_who_put_it_on_hold_by_a_message(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.say(f"{BOT} hold 1h instance-1", user="U0BOB")
    await card(bot, words="On hold")
    assert "bob asked to wait" in alert.buttons[APPROVE]["confirm"]["text"]["text"]


@pytest.mark.parametrize("length", ["`2h`", "*2h*", "_2h_", "(2h)", "~2h"])
async def test_length_of_a_hold_with_slack_s_marks_around_it_is_read_or_refused(length: str) -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07")
        alert = await card(bot)
        await bot.slack.say(f"{BOT} hold gpu-node-07 for {length}", user="U0ALICE")
        await pass_time(bot, 20)
        if "On hold until" in alert.text:
            await pass_time(bot, 3600)
            assert "On hold until" in alert.text, "held for 30 min, and the length is shown as the reason"


@pytest.mark.parametrize("said", ["hold gpu-node-08 flaky nic", "hold 2h gpu-node-08 flaky nic"])
async def test_hold_of_a_node_that_is_over_in_the_thread_of_another(said: str) -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07")
        alert = await card(bot)
        bot.together.add(SECOND, instance_name="gpu-node-08")
        await card(bot, SECOND)
        bot.together.resolve(SECOND)
        await card(bot, SECOND, words="recovered on its own")
        await bot.slack.say(f"{BOT} {said}", user="U0ALICE", thread=alert)
        await pass_time(bot, 20)
        assert "On hold until" not in alert.text, "gpu-node-07 is on hold because of “gpu-node-08 flaky nic”"


async def test_hold_of_a_node_in_a_cluster_that_cannot_be_read_in_the_thread_of_another() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07")
        alert = await card(bot)
        bot.together.clusters["cluster-2"] = "two"
        await pass_time(bot, 700)
        bot.together.unreadable["cluster-2"] = 14
        bot.together.add(("cluster-2", "instance-8", "remediation-8"), instance_name="gpu-node-08")
        await bot.slack.say(f"{BOT} hold gpu-node-08 flaky nic", user="U0ALICE", thread=alert)
        await pass_time(bot, 20)
        assert "On hold until" not in alert.text, "gpu-node-07 is on hold because of “gpu-node-08 flaky nic”"


@pytest.mark.parametrize("said", ["hold gpu-node-08 flaky nic", "hold 2h gpu-node-08 flaky nic"])
@pytest.mark.parametrize("is_over", [False, True])
async def test_hold_of_a_node_by_its_name_without_its_domain_in_the_thread_of_another(
    said: str, *, is_over: bool
) -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07.train.example")
        alert = await card(bot)
        bot.together.add(SECOND, instance_name="gpu-node-08.train.example")
        await card(bot, SECOND)
        if is_over:
            bot.together.resolve(SECOND)
            await card(bot, SECOND, words="recovered on its own")
        await bot.slack.say(f"{BOT} {said}", user="U0ALICE", thread=alert)
        await pass_time(bot, 20)
        assert "On hold until" not in alert.text, "gpu-node-07 is on hold because of “gpu-node-08 flaky nic”"


@pytest.mark.parametrize("said", ["hold because on cluster-2 we still drain"])
async def test_reason_of_a_hold_in_the_thread_may_begin_with_another_cluster(said: str) -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        bot.together.add(instance_name="gpu-node-07")
        alert = await card(bot)
        await pass_time(bot, 700)
        await bot.slack.say(f"{BOT} {said}", user="U0ALICE", thread=alert)
        await pass_time(bot, 20)
        assert "On hold until" in alert.text, [m.text for m in bot.slack.visible("U0ALICE")][-1]


@pytest.mark.parametrize(
    "said", ["hold gpu-node-07 from cluster-1", "hold gpu-node-07 in *cluster-1*", "hold gpu-node-07 in `cluster-1`"]
)
async def test_hold_of_a_node_of_a_named_cluster_in_other_words_holds_not_its_namesake(said: str) -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        bot.together.add(instance_name="gpu-node-07")
        await card(bot)
        there = bot.together.add(("cluster-2", "instance-7", "remediation-7"), instance_name="gpu-node-07")
        other = await card(bot, there, seconds=900)
        bot.together.resolve(IDS)
        await card(bot, words="recovered on its own")
        await bot.slack.say(f"{BOT} {said}", user="U0ALICE")
        await pass_time(bot, 20)
        assert "On hold until" not in other.text, "the node of that name in cluster-2 is on hold"


@pytest.mark.parametrize("said", ["hold gpu-node-07 2h", "hold gpu-node-07 flaky nic"])
async def test_hold_by_a_short_name_holds_not_the_node_of_that_short_name_in_another_cluster(said: str) -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        bot.together.add(instance_name="gpu-node-07.train.example")
        await card(bot)
        there = bot.together.add(
            ("cluster-2", "instance-7", "remediation-7"), instance_name="gpu-node-07.infer.example"
        )
        other = await card(bot, there, seconds=900)
        bot.together.resolve(IDS)
        await card(bot, words="recovered on its own")
        await bot.slack.say(f"{BOT} {said}", user="U0ALICE")
        await pass_time(bot, 20)
        assert "On hold until" not in other.text, "held without being asked for the full name"


async def test_second_node_that_is_called_like_the_first_one_without_its_domain_is_not_left_out() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        bot.together.add(instance_name="gpu-node-07.train.example")
        alert = await card(bot)
        there = bot.together.add(("cluster-2", "instance-7", "remediation-7"), instance_name="gpu-node-07")
        other = await card(bot, there, seconds=900)
        await bot.slack.say(f"{BOT} hold gpu-node-07.train.example and gpu-node-07", user="U0ALICE")
        await pass_time(bot, 20)
        held = "On hold until" in alert.text, "On hold until" in other.text
        assert held in {(False, False), (True, True)}, held
