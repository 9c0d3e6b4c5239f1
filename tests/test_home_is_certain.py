"""That home says nothing that isn't certain, and shows nothing older than what it has shown."""

import pytest
from sqlalchemy import update

from bot.cards import home
from bot.decisions.lookup import FRESH_SECONDS, MENU_SECONDS
from bot.store import Database
from bot.store.tables import leases
from tests.rows import execute
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.storms import began, storm
from tests.test_flow_handover import asked
from tests.test_flow_home import opened, said, several, shown
from tests.watch import card, pass_time, poll, quiet, watching
from tests.world import APPROVE, CANCEL, IDS, World

pytestmark = pytest.mark.bot(watching=True)


async def searched(bot: World) -> Posted:
    """A card of what waits, where somebody has searched for it a moment ago."""
    await began(bot)
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await poll(bot)
    await bot.slack.command("waiting")
    await pass_time(bot, 0.1)
    return alert


async def test_home_that_slack_draws_late_brings_back_nothing(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    view = await opened(bot)
    bot.slack.faults.append(SlackFault("views.publish", "internal_error", late=True))
    await bot.slack.press_home(home.UPDATE)
    await shown(bot, version=view["version"] + 1)
    await bot.slack.press_home(APPROVE)
    await bot.slack.until(lambda: "Nothing is waiting for approval" in said(bot.slack.homes["U0ALICE"]))
    bot.slack.execute_late()
    assert "Nothing is waiting for approval" in said(bot.slack.homes["U0ALICE"])


async def test_home_that_another_process_has_drawn_is_read_again_and_drawn(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        await began(bot)
        storm(bot, 2)
        await poll(bot)
        first, address = await opened(bot), bot.slack.bot_url
        async with bot.another():
            await bot.slack.press_home(home.OPEN, about="gpu-node-0000")
            second = await shown(bot, version=first["version"] + 1)
            bot.slack.bot_url = address
            await bot.slack.press_home(home.UPDATE)
            third = await shown(bot, version=second["version"] + 1)
        assert CANCEL in said(second)
        assert CANCEL in said(third)


async def test_home_does_not_say_that_nothing_waits_before_the_watch_has_seen_it(bot: World) -> None:
    await began(bot)
    bot.together.add(instance_name="gpu-node-7")
    assert "Approval needed: reboot gpu-node-7" in said(await opened(bot))


async def test_lists_say_when_what_no_watch_reads_any_more_was_last_confirmed(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    await pass_time(bot, 120)
    database = Database(bot.settings.database_url, bot.time.clock)
    await execute(database, update(leases).values(owner="a process that hangs", until=bot.time.now() + 800))
    await database.close()
    bot.together.resolve(IDS)
    await pass_time(bot, 700)
    assert "last confirmed" in said(await opened(bot)).lower()
    for words in ("list", "history gpu-node-7", "tonight"):
        assert "last confirmed" in (await asked(bot, words)).lower(), words


async def test_home_says_how_little_is_known_where_together_is_slow(bot: World) -> None:
    await began(bot)
    bot.together.faults.append(Fault("hang", verb="list"))
    await bot.slack.open_home()
    await bot.together.until(lambda: not bot.together.faults[0].times)
    await bot.time.advance(MENU_SECONDS)
    assert "Nothing is waiting, as far as Together could be read" in said(await shown(bot, version=2))


async def test_home_says_of_when_a_load_is_that_nothing_confirms(bot: World) -> None:
    await began(bot)
    storm(bot, 2)
    await poll(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await pass_time(bot, 1300)
    assert "0 nodes in repair, 1 more waiting (as of " in bot.slack.visible()[0].text
    assert "0 nodes in repair (as of " in said(await opened(bot))


async def test_home_shows_nothing_as_waiting_that_the_watch_has_seen_approved(bot: World) -> None:
    alert = await searched(bot)
    began_at = bot.time.seconds
    bot.together.review(IDS, "approve")
    while APPROVE in alert.buttons:
        await pass_time(bot, 1)
    assert bot.time.seconds < began_at + FRESH_SECONDS
    assert "Approval needed" not in said(await opened(bot))


@pytest.mark.parametrize(("control", "words"), [(APPROVE, "Approved"), (CANCEL, "Cancelled")])
async def test_home_shows_nothing_as_waiting_that_was_just_decided_on_its_card(
    bot: World, control: str, words: str
) -> None:
    alert = await searched(bot)
    began_at = bot.time.seconds
    await bot.slack.press(alert, control)
    await card(bot, words=words)
    while bot.time.seconds < began_at + FRESH_SECONDS - 1.5:
        await pass_time(bot, 1)
    assert "Approval needed" not in said(await opened(bot))


async def test_home_names_the_list_of_clusters_once_among_what_cannot_be_read(bot: World) -> None:
    await began(bot)
    await pass_time(bot, 601)  # the list of clusters is read again
    bot.together.faults += [Fault("rpc", verb=verb, code=14, times=-1) for verb in ("clusters", "list")]
    await pass_time(bot, 601)
    bot.together.faults[:] = [Fault("hang", verb=verb, times=-1) for verb in ("clusters", "list")]
    await bot.slack.open_home()
    await quiet(bot)
    await bot.time.advance(MENU_SECONDS)
    text = said(await shown(bot, version=2))
    assert "Couldn't read cluster-1 (H100) or the list of clusters from Together" in text, text


async def test_home_of_a_cluster_does_not_say_that_nothing_waits_there_before_the_watch_has_seen_it() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "cluster-2"
        await began(bot)
        bot.together.add(("cluster-2", "instance-2", "remediation-2"), instance_name="gpu-node-8")
        await card(bot, ("cluster-2", "instance-2", "remediation-2"))
        await poll(bot)
        view = await opened(bot)
        await bot.slack.press_home(home.CLUSTER, choice="cluster-1")
        view = await shown(bot, version=view["version"] + 1)
        await pass_time(bot, 0.1)
        bot.together.add(instance_name="gpu-node-7")
        await bot.slack.press_home(home.UPDATE)
        view = await shown(bot, version=view["version"] + 1)
        assert "Remediations in cluster-1" in said(view)
        assert "Nothing is waiting for approval" not in said(view)


async def test_home_says_that_nothing_waits_from_no_copy(bot: World) -> None:
    await began(bot)
    assert "Nothing is waiting" in said(await opened(bot))
    await pass_time(bot, 0.1)
    bot.together.add(instance_name="gpu-node-7")
    view = await opened(bot)
    assert "Nothing is waiting for approval" not in said(view)


@pytest.mark.parametrize(("lost", "words"), [("cancel", "it still might"), ("get", "Cancelled by <@U0ALICE>")])
async def test_home_does_not_simply_call_running_what_somebody_has_cancelled(bot: World, lost: str, words: str) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    await poll(bot)
    if lost == "cancel":
        bot.together.faults.append(Fault("rpc", verb=lost, code=14))
    await bot.slack.press(alert, CANCEL)
    await card(bot, words=words)
    if lost == "get":
        bot.together.faults.append(Fault("rpc", verb=lost, code=14, times=-1))
    (line,) = (block for block in (await opened(bot, "U0BOB"))["blocks"] if "approved, queued" in str(block))
    assert "a decision isn't confirmed" in str(line)


async def test_lists_say_when_was_last_confirmed_what_alone_cannot_be_read(bot: World) -> None:
    waits, runs, _, _ = await several(bot, 4)
    bot.together.review(runs, "approve")
    await poll(bot)
    bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
    for ids in (waits, runs):
        del bot.together.remediations[ids]  # no list has it
    await pass_time(bot, 1200)
    blocks = (await opened(bot))["blocks"]
    row, line = (str(block) for block in blocks if "gpu-node-0" in str(block) or "gpu-node-1" in str(block))
    assert "last confirmed 20 min ago" in row
    assert "last confirmed" in line
    listed = [line for line in (await asked(bot, "list")).splitlines() if "last confirmed" in line]
    assert [line.partition(" ")[0] for line in listed] == ["gpu-node-0", "gpu-node-1"]
    told = [line for line in (await asked(bot, "tonight", "U0BOB")).splitlines() if "last confirmed" in line]
    assert [line.partition(" ")[0] for line in told] == ["gpu-node-0"]
