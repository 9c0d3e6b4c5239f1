"""Acked requests that are no decisions: made once, also after a crash, and never said to be what isn't certain."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from bot.clock import WaitReason
from bot.errors import LeaseLost, RequestExpired
from bot.models import Actor, Entry, ReplyTarget
from bot.store import Database, InboxStore, pauses
from bot.store.tables import audit, inbox
from handlers.payloads import SHORTCUT
from tests.proxy import COMMIT, line_to
from tests.rows import execute, execute_beside, outcomes
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import BOT_USER, SlackFault
from tests.sqlite import locked
from tests.storms import began, choose, digest, storm
from tests.test_slack_outages import fail
from tests.watch import HOLD, PAUSE_DIALOG, card, pass_time, quiet, until, watching
from tests.world import REF, World, both_databases, button_row, world

pytestmark = pytest.mark.bot(drain_seconds=0.05)
BOT = f"<@{BOT_USER}>"
PAUSE, RESUME, STOP = "approvals:pause", "approvals:resume", "digest:stop"
ENTRY = Entry("Tr1", "press", "pause approvals", Actor("U0ALICE", "alice", "T0HOME"), ReplyTarget("C0OPS", "U0ALICE"))


def with_button(bot: World, action_id: str) -> Posted:
    return bot.slack.post_as_tool([button_row(action_id, value="cluster-1")])


async def events(bot: World) -> list[str]:
    rows = await execute_beside(bot, select(audit.c.event, audit.c.seq).order_by(audit.c.seq))
    return [row["event"] for row in rows]


async def left_behind(bot: World, action_id: str) -> None:
    """Press, and let the process stop before it knows who the person is."""
    message = with_button(bot, action_id)
    with bot.slack.paused("users.info"):
        assert (await bot.slack.press(message, action_id)).status == 200
        await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
        await bot.settle()


@both_databases
async def test_acked_pause_is_made_by_the_next_process(bot: World) -> None:
    await left_behind(bot, PAUSE)
    assert await events(bot) == []
    async with bot.another():
        assert "Approvals are paused in cluster-1 until" in (await bot.reply_privately()).text
    assert await events(bot) == ["paused"]


@both_databases
async def test_acked_resume_is_made_by_the_next_process(bot: World) -> None:
    await bot.slack.press(with_button(bot, PAUSE), PAUSE, user="U0BOB")
    await bot.reply_privately("U0BOB")
    await left_behind(bot, RESUME)
    async with bot.another():
        assert "Approvals resumed in cluster-1." in (await bot.reply_privately()).text
    assert await events(bot) == ["paused", "resumed"]


@both_databases
@pytest.mark.parametrize("asked", ["command", "mention", "dialog"])
async def test_person_whose_question_was_acked_and_not_answered_is_told_by_the_next_process(
    bot: World, asked: str
) -> None:
    bot.together.add(instance_name="gpu-node-7")
    with bot.slack.paused("users.info"):
        if asked == "mention":
            await bot.slack.say(f"{BOT} list", user="U0ALICE")
        elif asked == "dialog":
            await bot.slack.press(with_button(bot, PAUSE_DIALOG), PAUSE_DIALOG)
        else:
            assert (await bot.slack.command("gpu-node-7")).status == 200
        await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
        await bot.settle()
    assert bot.slack.visible("U0ALICE") == []
    async with bot.another():
        told = (await bot.reply_privately()).text
        assert "you may not have seen what you asked for. Ask again" in told


@both_databases
async def test_pause_that_lay_for_too_long_is_not_made_and_the_person_learns_it(bot: World) -> None:
    await left_behind(bot, PAUSE)
    await execute_beside(bot, update(inbox).values(received_at=inbox.c.received_at - 601))
    async with bot.another():
        told = (await bot.reply_privately()).text
        assert "wasn't carried out: the bot couldn't act on it for more than 10 min. Ask again" in told
    assert await events(bot) == []


@pytest.mark.bot(watching=True)
async def test_acked_hold_by_mention_is_made_by_the_next_process(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    with bot.slack.paused("users.info"):
        await bot.slack.say(f"{BOT} hold 1h", user="U0ALICE", thread=alert)
        await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
        await bot.settle()
    async with bot.another():
        await until(bot, lambda: "On hold until" in alert.text)


@pytest.mark.bot(watching=True)
async def test_acked_stop_of_a_selection_is_made_by_the_next_process(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    with bot.together.paused("approve"):
        await bot.slack.submit(await choose(bot, message))
        await until(bot, lambda: STOP in message.buttons)
        with bot.slack.paused("users.info"):
            assert (await bot.slack.press(message, STOP, user="U0BOB")).status == 200
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await bot.settle()
        async with bot.another():
            await until(bot, lambda: "Stopped: @U0BOB stopped it." in message.everything)
    assert "stopped" in await events(bot)


async def take_over_while_it_asks_who_pauses(bot: World, url: str) -> None:
    """Let another process take over a request to pause, before the bot learns who has asked."""
    await bot.slack.press(with_button(bot, PAUSE), PAUSE)
    await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
    await quiet(bot)  # the first heartbeat is over
    database = Database(url)
    await execute(database, update(inbox).values(lease_until=0.0))
    assert await InboxStore(database, 15).take_over([], at_start=False)
    await database.close()


async def test_process_whose_request_was_taken_over_changes_nothing(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        with bot.slack.paused("users.info"):
            await take_over_while_it_asks_who_pauses(bot, postgresql)
        await bot.settle()
        assert (await events(bot), bot.slack.visible("U0ALICE")) == ([], [])


async def test_process_whose_request_was_taken_over_refuses_nothing(postgresql: str) -> None:
    async with world(database=postgresql) as bot:
        with bot.slack.paused("users.info"):
            await take_over_while_it_asks_who_pauses(bot, postgresql)
            bot.slack.users["U0ALICE"]["is_restricted"] = True
        await bot.settle()
        assert bot.slack.visible("U0ALICE") == [], "the other process may carry it out"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[InboxStore]:
    database = Database(database_url)
    await database.open()
    yield InboxStore(database, 15)
    await database.close()


async def test_change_is_made_once_and_its_result_kept(store: InboxStore) -> None:
    assert await store.receive(ENTRY, "a")
    assert not await store.receive(ENTRY, "b")
    change = ("cluster-1", 3600.0, ENTRY.actor, "C0OPS")
    until_then = await store.act(ENTRY.key, "a", pauses.begin, *change)
    assert await store.act(ENTRY.key, "a", pauses.begin, *change) == until_then
    await store.release(ENTRY.key, "a")
    taken = await store.take_over([], at_start=False)
    assert taken is not None
    assert (taken.entry, taken.is_acted) == (ENTRY, True)
    assert await store.act(ENTRY.key, taken.owner, pauses.begin, *change) == until_then
    with pytest.raises(LeaseLost):
        await store.act(ENTRY.key, "a", pauses.begin, *change)
    rows = await execute(store.database, select(audit.c.event))
    assert [row["event"] for row in rows] == ["paused"]
    await store.finish(ENTRY.key, taken.owner)
    assert await store.take_over([], at_start=False) is None
    (row,) = await execute(store.database, select(inbox.c.body))
    assert row["body"] is None


async def test_change_that_was_asked_for_long_ago_is_not_made(store: InboxStore) -> None:
    await store.receive(ENTRY, "a")
    await execute(store.database, update(inbox).values(received_at=inbox.c.received_at - 601))
    with pytest.raises(RequestExpired):
        await store.act(ENTRY.key, "a", pauses.begin, "cluster-1", 3600.0, ENTRY.actor, "C0OPS")


async def test_void_keeps_out_what_lands_later_and_leaves_what_another_has(store: InboxStore) -> None:
    assert await store.void(ENTRY, "a")
    assert await store.void(ENTRY, "a")
    assert not await store.receive(ENTRY, "a")
    assert not await store.void(ENTRY, "b")
    assert await store.take_over([], at_start=True) is None


@pytest.mark.bot(busy_seconds=0.1)
async def test_pause_that_cannot_be_stored_is_refused_for_good(bot: World, tmp_path: Path) -> None:
    message = with_button(bot, PAUSE)
    async with locked(tmp_path / "bot.db"):
        assert (await bot.slack.press(message, PAUSE)).status == 503
        assert "The bot can't reach its database, so nothing was sent." in (await bot.reply_privately()).text
        await bot.slack.say(f"{BOT} help", user="U0BOB")
        assert "The bot can't reach its database, so nothing was sent." in (await bot.reply_privately("U0BOB")).text
        assert "so nothing was sent" in (await bot.slack.command("list")).body
    await bot.settle()
    assert await events(bot) == []


async def test_pause_whose_receipt_is_in_doubt_is_voided_before_the_person_is_told(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        message = with_button(bot, PAUSE)
        await quiet(bot)
        line.cut_after = COMMIT
        assert (await bot.slack.press(message, PAUSE)).status == 503
        assert bot.slack.visible("U0ALICE") == []
        line.is_down = False
        assert "can't reach its database, so nothing was sent" in (await bot.reply_privately()).text
        await pass_time(bot, 60)
        assert await events(bot) == []


async def test_question_whose_receipt_is_in_doubt_is_not_said_to_have_met_a_restart(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        await quiet(bot)
        line.cut_after = COMMIT
        await bot.slack.say(f"{BOT} help", user="U0ALICE")
        line.is_down = False
        assert "can't reach its database, so nothing was sent" in (await bot.reply_privately()).text
        await lie(bot, 60)
        await pass_time(bot, 60)
        told = (await bot.reply_privately(count=2)).text
        assert "you may not have seen what you asked for" in told
        assert "restarted" not in told


async def test_dialog_whose_pause_is_in_doubt_is_not_headed_as_if_nothing_was_sent(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        await bot.slack.press(with_button(bot, PAUSE_DIALOG), PAUSE_DIALOG)
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        await quiet(bot)
        line.cut_after = COMMIT
        shown = json.loads((await bot.slack.submit(view)).body)["view"]
        line.is_down = False
        assert "Your request to pause approvals may have been carried out" in str(shown["blocks"])
        assert shown["title"]["text"] == "Result unknown"


@pytest.mark.parametrize("action_id", [PAUSE, RESUME])
async def test_change_in_doubt_is_told_as_that_and_then_for_certain(postgresql: str, action_id: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        if action_id == RESUME:
            await bot.slack.press(with_button(bot, PAUSE), PAUSE, user="U0BOB")
            await bot.reply_privately("U0BOB")
        message = with_button(bot, action_id)
        with bot.slack.paused("users.info"):
            await bot.slack.press(message, action_id)
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await quiet(bot)
            line.cut_after = COMMIT
        verb = "pause" if action_id == PAUSE else "resume"
        told = (await bot.reply_privately()).text
        assert f"Your request to {verb} approvals may have been carried out, or may still be" in told
        line.is_down = False
        database = Database(postgresql)
        await execute(database, update(inbox).values(lease_until=0.0))
        await database.close()
        await bot.time.end_pause(WaitReason.HEARTBEAT)
        words = "Approvals are paused in cluster-1" if action_id == PAUSE else "Approvals resumed in cluster-1"
        assert words in (await bot.reply_privately(count=2)).text
        await bot.settle()
        assert (await events(bot)).count(f"{verb}d") == 1


async def test_whose_pause_ended_hears_of_nothing_else_though_the_database_goes_away(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        await bot.slack.press(with_button(bot, PAUSE), PAUSE, user="U0BOB")
        await bot.reply_privately("U0BOB")
        await bot.slack.press(with_button(bot, RESUME), RESUME)
        assert "Approvals resumed in cluster-1" in (await bot.reply_privately()).text
        await quiet(bot)
        line.cut_after = b"FROM clusters"
        await bot.time.end_pause(WaitReason.RECOVERY)
        told = (await bot.slack.until(lambda: bot.slack.direct("U0BOB")))[0].text
        line.is_down = False
        assert told == "<@U0BOB>, <@U0ALICE> ended your pause of approvals in cluster-1."


async def test_hold_by_mention_in_doubt_is_told_as_that(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        bot.together.add()
        with bot.slack.paused("users.info"):
            await bot.slack.say(f"{BOT} hold {REF}", user="U0ALICE")
            await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
            await quiet(bot)
            line.cut_after = COMMIT
        told = (await bot.reply_privately()).text
        assert "Your request to put a repair on hold may have been carried out, or may still be" in told
        line.is_down = False


async def test_one_mention_at_two_replicas_is_answered_once(postgresql: str) -> None:
    async with world(database=postgresql) as bot, bot.another() as second:
        bot.together.add()
        event = {
            "type": "app_mention",
            "user": "U0ALICE",
            "text": f"{BOT} cancel {REF}",
            "ts": "1.2",
            "channel": "C0OPS",
        }
        for app in (bot.app, second):
            bot.slack.bot_url = f"http://127.0.0.1:{app.port}"
            assert (await bot.slack.tell({**event, "channel": "C0OPS"}, event_id="Ev0SAME")).status == 200
        await bot.answer()
        await quiet(bot)
        assert len(bot.slack.visible()) == 1


@pytest.mark.parametrize("transport", ["socket"])
async def test_redelivered_lookups_and_menu_choices_are_answered_once(bot: World) -> None:
    bot.together.add()
    alert = bot.alert()
    await bot.slack.command("list")
    await bot.slack.press(bot.slack.post_as_tool([button_row("remediation:explode")]), "remediation:explode")
    await bot.slack.use_shortcut(alert, SHORTCUT)
    await bot.slack.until(lambda: bot.slack.views)
    await bot.reply_privately(count=2)
    for kind, payload in list(bot.slack.delivered):
        assert (await bot.slack.deliver(kind, payload)).status == 200
    await bot.settle()
    assert len(bot.slack.visible("U0ALICE")) == 2
    assert len([call for call in bot.slack.calls if call[0] == "views.open"]) == 1


@pytest.mark.bot(watching=True)
async def test_rows_by_which_redeliveries_are_known_are_deleted_after_two_days(bot: World) -> None:
    await bot.slack.command("list")
    await bot.reply_privately()
    await pass_time(bot, 4 * 86_400)
    assert await execute_beside(bot, select(inbox.c.key)) == []


async def lie(bot: World, seconds: float) -> None:
    """Let what was asked be so old, and nobody's."""
    await execute_beside(bot, update(inbox).values(received_at=inbox.c.received_at - seconds, lease_until=0.0))


async def test_resume_that_was_made_is_told_later_and_not_called_expired(bot: World) -> None:
    await bot.slack.press(with_button(bot, PAUSE), PAUSE, user="U0BOB")
    await bot.reply_privately("U0BOB")
    message = with_button(bot, RESUME)
    for method in ("response_url", "chat.postEphemeral", "chat.postMessage"):
        bot.slack.faults.append(SlackFault(method, "internal_error", times=-1))
    await bot.slack.press(message, RESUME)
    await quiet(bot)
    await bot.settle()
    bot.slack.faults.clear()
    assert await events(bot) == ["paused", "resumed"]
    await lie(bot, 3700)
    before = len(bot.slack.visible("U0ALICE"))
    async with bot.another():
        told = (await bot.reply_privately(count=before + 1)).text
    assert told == "Approvals resumed in cluster-1."


async def test_list_that_may_have_been_shown_is_not_called_expired(bot: World) -> None:
    """The process stops before it knows that Slack took the list, and the next one comes late."""
    bot.slack.faults += [
        SlackFault("response_url", "html", times=-1),
        SlackFault("chat.postEphemeral", "hang", after=True),
    ]
    await bot.slack.command("list")
    await bot.reply_privately()
    await bot.settle()
    bot.slack.faults.clear()
    await lie(bot, 660)
    async with bot.another():
        assert "you may not have seen what you asked for" in (await bot.reply_privately(count=2)).text


@pytest.mark.bot(watching=True)
async def test_hold_that_was_made_is_not_called_expired(bot: World) -> None:
    """The process stops while it tells of the hold, and the next one comes late."""
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    with bot.slack.paused("chat.update"):
        await bot.slack.say(f"{BOT} hold 1h", user="U0ALICE", thread=alert)
        await bot.slack.until(lambda: bot.slack.is_waiting("chat.update"))
        await bot.settle()
    assert await outcomes(bot) == ["held"]
    await lie(bot, 660)
    async with bot.another():
        await until(bot, lambda: "On hold until" in alert.text)
        await quiet(bot)
    assert "wasn't carried out" not in str([message.text for message in bot.slack.visible("U0ALICE")])


async def test_acked_pause_is_answered_after_forty_minutes_without_slack() -> None:
    async with watching() as bot:
        message = bot.slack.post_as_tool([button_row(PAUSE, value="cluster-1")])
        await quiet(bot)
        fail(bot)
        assert (await bot.slack.press(message, PAUSE, user="U0BOB")).status == 200
        await pass_time(bot, 2400)
        bot.slack.faults.clear()
        await pass_time(bot, 3600)
        assert bot.slack.visible("U0BOB")


async def test_pause_that_ended_before_its_answer_arrives_is_not_said_to_hold() -> None:
    async with watching(endless=()) as bot:  # the heartbeat keeps what is told again and again
        message, other = with_button(bot, PAUSE), with_button(bot, RESUME)
        for method in ("response_url", "chat.postEphemeral", "chat.postMessage"):
            bot.slack.faults.append(SlackFault(method, "internal_error", times=-1))
        await bot.slack.press(message, PAUSE, user="U0BOB")
        await pass_time(bot, 60)
        await bot.slack.press(other, RESUME)
        await pass_time(bot, 600)
        bot.slack.faults.clear()
        await pass_time(bot, 600)
        told = [each.text for each in bot.slack.messages if each.only_for == "U0BOB" or each.channel == "D0BOB"]
        assert sorted(told) == [
            "<@U0BOB>, <@U0ALICE> ended your pause of approvals in cluster-1 (H100).",
            "Your pause of approvals in cluster-1 (H100) is over.",
        ]


@pytest.mark.parametrize("asked", ["help", "list", "approve gpu-node-7"])
async def test_acked_question_is_answered_after_forty_minutes_without_slack(asked: str) -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        await bot.slack.command("list", user="U0BOB")  # from now on he is known
        await bot.reply_privately("U0BOB")
        fail(bot)
        await bot.slack.say(f"{BOT} {asked}", user="U0BOB")
        await pass_time(bot, 2400)
        bot.slack.faults.clear()
        await pass_time(bot, 600)
        assert "Ask again if you didn't" in bot.slack.visible("U0BOB")[1].text


@pytest.mark.bot(watching=True, endless=())  # the tidying drops it
@both_databases
async def test_request_that_slack_takes_no_answer_to_keeps_no_response_url(bot: World) -> None:
    message = with_button(bot, PAUSE)
    fail(bot)
    await bot.slack.press(message, PAUSE)
    await quiet(bot)
    assert "/response/" in str(await execute_beside(bot, select(inbox.c.body)))
    await pass_time(bot, 1900)
    (row,) = await execute_beside(bot, select(inbox.c.body, inbox.c.done_at))
    assert row["done_at"] is None
    assert '"response_url": null' in row["body"]


@pytest.mark.bot(drain_seconds=0.05)
@pytest.mark.parametrize("action_id", [PAUSE, RESUME])
async def test_request_that_was_refused_is_not_carried_out_by_the_next_process(bot: World, action_id: str) -> None:
    """The person reads "Nothing changed", and the process is stopped before Slack has said that it took it."""
    if action_id == RESUME:
        await bot.slack.press(with_button(bot, PAUSE), PAUSE, user="U0BOB")
        await bot.reply_privately("U0BOB")
    message = with_button(bot, action_id)
    bot.slack.faults += [
        SlackFault("users.info", "internal_error", times=-1),
        SlackFault("response_url", "html", times=-1),
        SlackFault("chat.postEphemeral", "hang", after=True),
    ]
    await bot.slack.press(message, action_id)
    assert "Couldn't check your permissions with Slack. Nothing changed." in (await bot.reply_privately()).text
    await bot.settle()
    bot.slack.faults.clear()
    before = await events(bot)
    async with bot.another():
        await quiet(bot)
    assert await events(bot) == before


async def test_refusal_that_is_recorded_is_in_the_audit_trail_though_the_process_dies_then(postgresql: str) -> None:
    async with line_to(postgresql) as line, world(database=line.url, drain_seconds=0.05) as bot:
        message = with_button(bot, PAUSE)
        bot.slack.faults.append(SlackFault("users.info", "internal_error", times=-1))
        line.cut_after = b"Nothing changed"
        await bot.slack.press(message, PAUSE)
        await bot.slack.until(lambda: line.is_down)
        await bot.settle()
        line.is_down = False
        await execute_beside(bot, update(inbox).values(lease_until=0.0))
        async with bot.another():
            await bot.slack.until(lambda: "Nothing changed" in bot.slack.visible("U0ALICE")[-1].text)
        assert await events(bot) == ["refused"]


@pytest.mark.parametrize("is_slow", [False, True])
async def test_person_reads_that_something_was_refused_once_that_is_in_the_audit_trail(
    postgresql: str, *, is_slow: bool
) -> None:
    async with line_to(postgresql) as line, world(database=line.url) as bot:
        await quiet(bot)
        line.freeze()
        said = asyncio.create_task(bot.slack.command("a b"))
        while not (bot.transactions() or said.done()):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        assert not said.done()
        if is_slow:
            await bot.time.advance(0.9)  # Slack waits for 3 s, and the refused write may have taken 2
        else:
            line.thaw()
        assert "Missing remediation ID" in (await asyncio.wait_for(said, 5)).body  # the database's own limit is longer
        assert is_slow or await events(bot) == ["refused"]


@pytest.mark.bot(drain_seconds=0.05)
async def test_request_that_this_version_cannot_read_is_left_for_one_that_can(bot: World) -> None:
    """A newer version has written it, and only older ones run since."""
    await left_behind(bot, PAUSE)
    (row,) = await execute_beside(bot, select(inbox.c.body))
    odd = row["body"].replace('"value": "cluster-1"', '"value": ["cluster-1"]')
    await execute_beside(bot, update(inbox).values(body=odd))
    async with bot.another():
        await pass_time(bot, 900)
        (left,) = await execute_beside(bot, select(inbox.c.body, inbox.c.done_at))
        assert (left["body"], left["done_at"]) == (odd, None)
        await execute_beside(bot, update(inbox).values(body=row["body"], lease_until=0.0))
        await until(bot, lambda: bot.slack.visible("U0ALICE"))


@pytest.mark.bot(drain_seconds=0.05)
@pytest.mark.parametrize("is_back", [True, False])
async def test_press_that_only_a_newer_version_knows_is_left_for_it_or_said_not_to_be_done(
    bot: World, *, is_back: bool
) -> None:
    await left_behind(bot, PAUSE)
    (row,) = await execute_beside(bot, select(inbox.c.body))
    odd = row["body"].replace(f'"{PAUSE}"', '"approvals:newer"')
    assert odd != row["body"]
    await execute_beside(bot, update(inbox).values(body=odd))
    async with bot.another():
        await pass_time(bot, 300)
        assert bot.slack.visible("U0ALICE") == []
        if is_back:
            await execute_beside(bot, update(inbox).values(body=row["body"], lease_until=0.0))
        await pass_time(bot, 400)
        told = (await bot.reply_privately()).text
        assert told.startswith(
            "Approvals are paused" if is_back else "Your request to pause approvals wasn't carried out"
        )


@pytest.mark.parametrize("action_id", [PAUSE, RESUME])
async def test_press_that_names_no_cluster_is_not_about_all(bot: World, action_id: str) -> None:
    await bot.slack.press(with_button(bot, PAUSE), PAUSE, user="U0BOB")
    await bot.reply_privately("U0BOB")
    message = bot.slack.post_as_tool([button_row(action_id)])
    payload = bot.slack.click(message, action_id)
    payload["actions"][0].pop("value", None)
    await bot.slack.deliver("interactive", payload)
    told = (await bot.reply_privately()).text
    assert "doesn't recognize a button that names no cluster" in told
    assert await events(bot) == ["paused", "refused"]


@pytest.mark.parametrize("is_released", [True, False])
async def test_hold_that_is_over_by_the_time_of_its_answer_is_not_said_to_hold(*, is_released: bool) -> None:
    async with watching(endless=()) as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=-1))
        await bot.slack.say(f"{BOT} hold {'1h' if is_released else '5m'} gpu-node-7", user="U0ALICE")
        await until(bot, lambda: "On hold until" in alert.text)
        if is_released:
            await bot.slack.press(alert, HOLD, choice="release", user="U0BOB")
        await until(bot, lambda: "On hold" not in alert.text, 400)
        await pass_time(bot, 300)
        bot.slack.faults.clear()
        await pass_time(bot, 1200)
        (told,) = [
            each.text for each in bot.slack.visible() if each.text.startswith("gpu-node-7: ") and not each.thread_ts
        ]
        assert told.startswith("gpu-node-7: put on hold until")  # which happened, and is true of any time


async def test_acked_mention_is_answered_after_ten_minutes_without_database_and_slack(postgresql: str) -> None:
    async with line_to(postgresql) as line, watching(database=line.url, endless=()) as bot:
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        fail(bot)
        bot.time.follower = None  # its clock can't be told the time either
        line.is_down = True
        line.cut()
        await bot.slack.say(f"{BOT} hold 1h gpu-node-7", user="U0BOB")
        await pass_time(bot, 600)
        line.is_down = False
        bot.slack.faults.clear()
        await pass_time(bot, 120)
        (told,) = bot.slack.visible("U0BOB")
        assert "The bot can't reach its database, so nothing was sent." in told.text
