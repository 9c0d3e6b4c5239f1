"""When Together can't be read: no other cluster waits, and the channel is told once."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from sqlalchemy import update

from bot.errors import LeaseLost
from bot.models import ClusterNames, LinkedAlert, Message
from bot.models import Fault as FiringAlert
from bot.store import Database, Lease, LeasedDatabase, clusters
from bot.store.tables import leases
from bot.watcher.fault_teller import FaultTeller
from bot.watcher.faults import FaultReports
from bot.watcher.outages import OutageTeller
from bot.watcher.workqueue import Lane
from tests.deaths import free_the_lease, kill_the_watch
from tests.manual_clock import POLL, ManualClock
from tests.rows import execute
from tests.samples import WATCH
from tests.simulator.slack.workspace import Posted, SlackFault
from tests.simulator.together import Fault
from tests.storms import began, digest, storm
from tests.watch import card, pass_time, poll, quiet, until, watching
from tests.world import IDS, OTHER, World

pytestmark = pytest.mark.bot(watching=True)


async def test_failing_cluster_delays_no_other_and_is_reported_once_each_way(bot: World) -> None:
    bot.together.add(OTHER)
    bot.together.add(("cluster-1", "instance-3", "remediation-3"))
    await card(bot, OTHER)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
    bot.together.add()
    await card(bot)
    await pass_time(bot, 200)
    assert len(bot.slack.visible()) == 3
    await pass_time(bot, 150)
    told = [message.text for message in bot.slack.visible() if "from Together since" in message.text]
    assert len(told) == 1
    assert told[0].startswith("Couldn't read cluster cluster-2 (H100) from Together since ")
    await pass_time(bot, 400)
    bot.together.faults.clear()
    await until(
        bot, lambda: [message for message in bot.slack.visible() if "can be read from Together again" in message.text]
    )
    await pass_time(bot, 600)
    told = [message.text for message in bot.slack.visible()]
    assert len([each for each in told if re.search(r"luster cluster-2 \(H100\) (from|can)", each)]) == 2


async def test_card_that_cannot_be_confirmed_says_as_of_when_it_is_true(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.review(IDS, "cancel")
    bot.together.faults.append(Fault("rpc", verb="get", code=13, times=-1))
    await until(bot, lambda: "Last confirmed" in alert.text, 2 * POLL + 80)
    assert "Approve reboot?" in alert.text
    await pass_time(bot, 400)
    assert bot.slack.visible() == [alert], "its cluster is read: no new alert is missing"
    bot.together.faults.clear()
    await card(bot, words="Cancelled: reboot")
    assert "Last confirmed" not in alert.text


@pytest.mark.parametrize("state", ["PENDING_APPROVAL", "RUNNING"])
async def test_digest_that_cannot_be_confirmed_says_as_of_when_it_is_true(bot: World, state: str) -> None:
    await began(bot)
    for ids in storm(bot, 6):
        bot.together.remediations[ids]["state"] = state
    message = await digest(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1))
    await digest(bot, "Last confirmed")
    bot.together.faults.clear()
    await until(bot, lambda: "Last confirmed" not in message.everything)


async def test_digest_counts_what_was_cancelled_alone_as_that_while_it_cannot_be_confirmed(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 6)
    message = await digest(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await bot.slack.command("/".join(ids[0]))
    await until(bot, lambda: "Others: 1 cancelled." in message.text)


async def test_cluster_that_is_listed_again_is_not_announced_as_gone(bot: World) -> None:
    bot.together.add(OTHER)
    alert = await card(bot, OTHER)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
    await until(bot, lambda: [message for message in bot.slack.visible() if "from Together since" in message.text], 600)
    kept = bot.together.clusters.pop("cluster-2")
    bot.slack.faults.append(SlackFault("chat.postMessage", "not_in_channel", times=-1))
    bot.together.faults.clear()
    bot.together.remediations.clear()
    await pass_time(bot, 700)
    bot.together.clusters["cluster-2"] = kept
    await pass_time(bot, 700)
    bot.slack.faults.clear()
    await pass_time(bot, 60)
    assert "No longer listed" in alert.text
    assert [message for message in bot.slack.visible() if "no longer monitored" in message.text] == []


async def test_hanging_cluster_delays_no_other() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,cluster-2") as bot:
        bot.together.add(OTHER)
        await card(bot, OTHER)
        bot.together.faults.append(Fault("hang", verb="list", times=-1, cluster="cluster-2"))
        await poll(bot)
        bot.together.add()
        await card(bot)


async def test_polling_honors_retry_after(bot: World) -> None:
    bot.together.add()
    await card(bot)
    await quiet(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=8, headers={"Retry-After": "120"}))
    before = len([call for call in bot.together.calls if call.verb == "list"])
    await pass_time(bot, 100)
    assert len([call for call in bot.together.calls if call.verb == "list"]) == before + 1
    await pass_time(bot, 60)
    assert len([call for call in bot.together.calls if call.verb == "list"]) > before + 2


async def test_outage_is_posted_once_although_slack_answers_unclearly(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=-1, after=True))
    await pass_time(bot, 600)
    assert len([message for message in bot.slack.visible() if "from Together since" in message.text]) == 1


def lists(bot: World) -> int:
    return sum(call.verb == "list" for call in bot.together.calls)


@pytest.mark.bot(BOT_POLL_SECONDS="5")
async def test_outage_that_ends_while_its_message_is_on_its_way_is_told_to_be_over(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await pass_time(bot, 280)
    with bot.slack.paused("chat.postMessage"):
        await until(bot, lambda: bot.slack.is_waiting("chat.postMessage"), 150)
        bot.together.faults.clear()
        before = lists(bot)
        await until(bot, lambda: lists(bot) > before, 9)  # the client gives up after 10 s
        await quiet(bot)
    await until(
        bot, lambda: [message for message in bot.slack.visible() if "can be read from Together again" in message.text]
    )
    await pass_time(bot, 600)
    assert [message.text for message in bot.slack.visible() if "from Together since" in message.text] == []


async def died_as_it_told(bot: World, look: Callable[[], list[Posted]]) -> Posted:
    """Let the process die as Slack takes its message about an outage."""
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await pass_time(bot, 250)
    bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=True))
    (message,) = await until(bot, look, 200)
    await kill_the_watch(bot)
    return message


@pytest.mark.parametrize("is_over", [True, False])
async def test_outage_whose_process_died_as_its_message_arrived_is_told_once(*, is_over: bool) -> None:
    async with watching(drain_seconds=0.05) as bot:

        def look() -> list[Posted]:
            return [message for message in bot.slack.visible() if "from Together since" in message.text]

        message = await died_as_it_told(bot, look)
        if is_over:
            bot.together.faults.clear()
        async with bot.another():
            await pass_time(bot, 600)
            if not is_over:
                assert look() == [message]
                bot.together.faults.clear()
            await until(
                bot,
                lambda: [
                    message for message in bot.slack.visible() if "can be read from Together again" in message.text
                ],
                600,
            )
            assert " to <!date" in message.text


async def test_outage_is_told_once_though_its_cluster_has_another_channel_by_the_next_start() -> None:
    async with watching(drain_seconds=0.05) as bot:

        def look() -> list[Posted]:
            return [message for message in bot.slack.messages if "from Together since" in message.text]

        message = await died_as_it_told(bot, look)
        async with bot.another(bot.settings.model_copy(update={"bot_routes": {"cluster-1": ("C0OTHER", "")}})):
            await pass_time(bot, 600)
            assert look() == [message]
            bot.together.faults.clear()
            await until(bot, lambda: [message for message in bot.slack.messages if "again after" in message.text], 600)
            assert look() == []


@pytest.mark.parametrize("goes_on", [False, True])
async def test_end_of_an_outage_whose_process_died_as_it_was_told_is_told_once(*, goes_on: bool) -> None:
    def said(what: str) -> list[Posted]:
        return [message for message in bot.slack.visible() if what in message.text]

    async with watching(drain_seconds=0.05) as bot:
        await poll(bot)
        outage = Fault("rpc", verb="list", code=14, times=-1)
        bot.together.faults.append(outage)
        await until(bot, lambda: said("from Together since"), 600)
        bot.slack.faults.append(SlackFault("chat.postMessage", "hang", after=True))
        bot.together.faults.clear()
        await until(bot, lambda: said("from Together again"), 200)
        await kill_the_watch(bot)
        if goes_on:
            bot.together.faults.append(outage)
        async with bot.another():
            await pass_time(bot, 700)
            assert len(said("from Together again")) == 1
            assert len(said("from Together since")) == goes_on, "the one before says how long it lasted"


@pytest.mark.bot(BOT_POLL_SECONDS="5")
@pytest.mark.parametrize("result", ["arrives", "internal_error"])
async def test_outage_that_continues_while_its_message_is_being_ended_is_told_again(bot: World, result: str) -> None:
    bot.together.add()
    await card(bot)
    outage = Fault("rpc", verb="list", code=14, times=-1)
    bot.together.faults.append(outage)
    (message,) = await until(
        bot, lambda: [message for message in bot.slack.visible() if "from Together since" in message.text], 600
    )
    await pass_time(bot, 60)
    if result != "arrives":
        bot.slack.faults.append(SlackFault("chat.update", result, after=True))
    with bot.slack.paused("chat.update"):
        bot.together.faults.clear()
        await until(bot, lambda: bot.slack.is_waiting("chat.update"))
        bot.together.faults.append(outage)
        before = lists(bot)
        await until(bot, lambda: lists(bot) > before, 9)  # the client gives up after 10 s
        await quiet(bot)
    await pass_time(bot, 1800)
    assert " to <!date" in message.text
    (again,) = [message for message in bot.slack.visible() if "from Together since" in message.text]
    _, ended = re.findall(r"<!date\^(\d+)", message.text)
    assert int(re.findall(r"<!date\^(\d+)", again.text)[0]) >= int(ended)
    bot.together.faults.clear()
    await until(
        bot,
        lambda: [message for message in bot.slack.visible() if "can be read from Together again" in message.text],
        1800,
    )
    assert " to <!date" in again.text


@pytest.mark.bot(BOT_POLL_SECONDS="5")
async def test_outage_is_told_though_it_was_unclear_whether_slack_took_the_last_one(bot: World) -> None:
    bot.slack.faults.append(SlackFault("conversations.history", "missing_scope", times=-1))

    async def told_unclearly() -> None:
        lost = SlackFault("chat.postMessage", "internal_error")
        bot.slack.faults.append(lost)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await until(bot, lambda: not lost.times, 600)

    def told() -> list[Posted]:
        return [message for message in bot.slack.visible() if "from Together since" in message.text]

    await told_unclearly()
    bot.together.faults.clear()
    await pass_time(bot, 1800)
    assert told() == []
    await told_unclearly()
    await until(bot, told, 300)


async def test_outage_is_told_though_it_was_unclear_whether_slack_took_the_end_of_the_last_one(bot: World) -> None:
    def told() -> list[Posted]:
        return [message for message in bot.slack.visible() if "from Together since" in message.text]

    outage = Fault("rpc", verb="list", code=14, times=-1)
    bot.together.faults.append(outage)
    await until(bot, told, 600)
    bot.slack.faults.append(SlackFault("conversations.history", "missing_scope", times=-1))
    lost = SlackFault("chat.postMessage", "internal_error")
    bot.slack.faults.append(lost)
    bot.together.faults.clear()
    await until(bot, lambda: not lost.times, 1800)
    assert told() == []
    lost.times = 1
    bot.together.faults.append(outage)
    await until(bot, lambda: not lost.times, 1800)
    await until(bot, told, 300)


async def test_end_of_an_outage_is_told_though_its_message_takes_no_edit_and_it_came_back_before(bot: World) -> None:
    outage = Fault("rpc", verb="list", code=14, times=-1)
    bot.together.faults.append(outage)
    await until(bot, lambda: [message for message in bot.slack.visible() if "from Together since" in message.text], 600)
    bot.slack.faults.append(SlackFault("chat.update", "edit_window_closed", times=-1))
    refused = SlackFault("chat.postMessage", "no_permission", times=-1)
    bot.slack.faults.append(refused)
    bot.together.faults.clear()
    await until(bot, lambda: "chat.update" in [method for method, _ in bot.slack.calls], 600)
    await quiet(bot)
    bot.together.faults.append(outage)
    await pass_time(bot, 60)
    bot.together.faults.clear()
    bot.slack.faults.remove(refused)
    await until(
        bot, lambda: [message for message in bot.slack.visible() if "from Together again" in message.text], 1800
    )


async def test_unreadable_list_of_clusters_is_reported_and_known_clusters_are_read_on(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="clusters", code=14, times=-1))
    await pass_time(bot, 920)
    told = [
        message.text
        for message in bot.slack.visible()
        if "Couldn't read the list of clusters from Together since" in message.text
    ]
    assert len(told) == 1
    assert told[0].startswith("Couldn't read the list of clusters from Together since")
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")
    bot.together.faults.clear()
    await until(
        bot,
        lambda: [
            message
            for message in bot.slack.visible()
            if "The list of clusters can be read from Together again" in message.text
        ],
    )


async def test_chosen_cluster_that_does_not_exist_is_reported() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,misspelt") as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 400)
        told = [message.text for message in bot.slack.visible() if "from Together since" in message.text]
        assert len(told) == 1
        assert told[0].startswith("Couldn't read cluster misspelt")


async def test_deleted_cluster_is_not_an_outage(bot: World) -> None:
    bot.together.add()
    bot.together.clusters["cluster-2"] = "H100"
    await card(bot)
    del bot.together.clusters["cluster-2"]
    await pass_time(bot, 900)
    assert [message.text for message in bot.slack.visible() if "from Together since" in message.text] == []


async def test_outage_of_a_cluster_that_is_no_longer_listed_ends(bot: World) -> None:
    bot.together.add()
    bot.together.clusters["cluster-2"] = "two"
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"))
    await pass_time(bot, 400)
    del bot.together.clusters["cluster-2"]
    await pass_time(bot, 700)
    told = [message.text for message in bot.slack.visible() if "luster two " in message.text]
    assert len(told) == 2
    assert "no longer monitored: Together or the bot's settings no longer list it" in told[1]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-2"), "Cluster two is no longer monitored"),
        (Fault("rpc", verb="clusters", code=7, times=-1), "The list of clusters isn't needed any more"),
    ],
)
async def test_outage_of_what_the_settings_no_longer_need_ends(bot: World, fault: Fault, said: str) -> None:
    await began(bot)
    bot.together.clusters["cluster-2"] = "two"
    await pass_time(bot, 700)
    bot.together.faults.append(fault)
    outage = await until(
        bot, lambda: [message for message in bot.slack.visible() if "Couldn't read" in message.text], 1200
    )
    await bot.settle()
    await free_the_lease(bot.settings.database_url)
    async with bot.another(bot.settings.model_copy(update={"bot_clusters": ("cluster-1",)})):
        await until(bot, lambda: [message for message in bot.slack.visible() if message.text.startswith(said)])
        assert not outage[0].buttons
        await bot.slack.command("tonight")
        assert "Couldn't read" not in (await bot.reply_privately()).text


async def test_outages_that_began_apart_are_not_said_to_have_lasted_alike(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "two"
    await began(bot)
    bot.slack.faults.append(SlackFault("chat.postMessage", "internal_error", times=-1))
    for cluster in ("cluster-2", "cluster-1"):
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster=cluster))
        await pass_time(bot, 3600)
    bot.slack.faults.clear()
    (told,) = await until(
        bot, lambda: [message for message in bot.slack.visible() if "Couldn't read" in message.text], 600
    )
    assert "clusters cluster-1 (H100), two from Together since <!date^" in told.text
    assert "(the first of them)" in told.text


async def test_hanging_list_of_clusters_delays_no_cluster() -> None:
    async with watching(BOT_CLUSTERS="cluster-1") as bot:
        bot.together.faults.append(Fault("hang", verb="clusters", times=-1))
        bot.together.add()
        await card(bot)


async def test_misspelled_cluster_does_not_cause_more_listing() -> None:
    async with watching(BOT_CLUSTERS="cluster-1,misspelt") as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 500)
        assert [call.verb for call in bot.together.calls].count("clusters") == 1


async def test_clusters_whose_changes_could_not_be_written_are_read_again(bot: World) -> None:
    for number in range(10):
        bot.together.clusters[f"c-{number}"] = "H100"
    ids = [bot.together.add((f"c-{number}", "instance", f"r-{number}")) for number in range(10)]
    await until(bot, bot.slack.digests)
    await quiet(bot)
    database = Database(bot.settings.database_url, bot.time.clock)
    thief = Lease(database, "watch", 600, bot.time.clock)
    await execute(database, update(leases).values(until=0.0))
    assert await thief.acquire()
    for each in ids:
        bot.together.review(each, "cancel")
    await poll(bot)
    await thief.release()
    await database.close()
    await until(bot, lambda: "Nothing left to decide" in bot.slack.digests()[0].text, 200)


async def test_card_says_as_of_no_longer_after_a_restart() -> None:
    async with watching(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults += [Fault("rpc", verb=verb, code=14, times=-1) for verb in ("list", "get")]
        await until(bot, lambda: "Last confirmed" in alert.text, 200)
        await bot.settle()
        bot.together.faults.clear()
        async with bot.another():
            await until(bot, lambda: "Last confirmed" not in alert.text, 300)


async def test_time_without_a_bot_is_not_called_an_outage() -> None:
    async with watching() as bot:
        bot.together.add()
        await card(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await poll(bot)
        await bot.settle()
        await bot.time.advance(2 * 86_400)
        came_back = int(bot.time.now())
        async with bot.another():
            await pass_time(bot, 120)
            assert not [message for message in bot.slack.visible() if "Couldn't read" in message.text]
            await pass_time(bot, 300)
            (told,) = [message for message in bot.slack.visible() if "Couldn't read" in message.text]
            assert f"from Together since <!date^{came_back}^" in told.text


@pytest.mark.parametrize("more_watches", [0, 1])
async def test_outage_is_not_said_to_have_lasted_as_long_as_no_bot_ran(more_watches: int) -> None:
    async with watching() as bot:
        bot.together.add()
        await card(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await until(bot, lambda: [message for message in bot.slack.visible() if "Couldn't read" in message.text], 900)
        await bot.settle()
        await bot.time.advance(2 * 86_400)
        for _ in range(more_watches):
            async with bot.another():
                await pass_time(bot, 90)
        bot.together.faults.clear()
        async with bot.another():
            await until(bot, lambda: [message for message in bot.slack.visible() if "can be read" in message.text])
            said = "\n".join(message.text for message in bot.slack.visible())
            assert re.search(r"Couldn't read cluster .* between <.*> and <.*> \(up to 48 h\)", said)
            assert "can be read from Together again after up to 48 h" in said


async def test_outage_is_not_said_to_continue_before_the_next_watch_has_read(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await poll(bot)
    await bot.settle()
    await bot.time.advance(400)
    bot.together.faults.clear()
    with bot.together.paused("list"):
        async with bot.another():
            await pass_time(bot, 9)
            assert not [message for message in bot.slack.visible() if "Couldn't read" in message.text]


async def test_end_of_an_outage_is_told_though_the_clock_was_set_back_meanwhile(bot: World) -> None:
    def said(words: str) -> list[str]:
        return [message.text for message in bot.slack.visible() if words in message.text]

    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await until(bot, lambda: said("from Together since"), 600)
    bot.slack.faults.append(SlackFault("chat.postMessage", "ratelimited", times=-1))
    bot.slack.faults.append(SlackFault("chat.update", "ratelimited", times=-1))
    bot.together.faults.clear()
    await pass_time(bot, 60)
    bot.time.set_back = 3600.0
    await pass_time(bot, 60)
    bot.slack.faults.clear()
    await pass_time(bot, 1200)
    assert said("can be read from Together again")


async def test_key_that_is_refused_is_not_called_no_answer(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.keys.clear()
    told = await until(
        bot, lambda: [message for message in bot.slack.visible() if "from Together since" in message.text], 600
    )
    assert told[0].text.startswith("Couldn't read cluster cluster-1 (H100) from Together since ")
    assert "Can't read it from Together now." in (await card(bot, words="Last confirmed")).text
    assert "reach" not in alert.text + told[0].text


class SlowDatabase(LeasedDatabase):
    """Holds each transaction back until the test lets it go."""

    def __init__(self) -> None:
        self.held: list[asyncio.Event] = []
        self.is_asked = asyncio.Event()

    async def run(self, *_: object, **__: object) -> Any:
        if self.held:
            self.is_asked.set()
            await self.held.pop(0).wait()

    async def read(self, *asked: object, **_: object) -> Any:
        await self.run()
        return ClusterNames() if asked[0] is clusters.names else 0.0

    def ensure_held(self) -> None:
        """It always is."""


async def test_clusters_that_leave_the_list_as_one_of_them_is_read_stop_no_watch() -> None:
    database = SlowDatabase()
    unused: Any = None
    outages = OutageTeller(database, unused, unused, WATCH, ManualClock().clock, unused)
    await outages.failed("cluster-2")
    await outages.failed("cluster-3")
    first, second = asyncio.Event(), asyncio.Event()
    database.held += first, second
    is_read = asyncio.create_task(outages.succeeded("cluster-3"))
    await asyncio.sleep(0)
    kept = asyncio.create_task(outages.keep({"cluster-1"}))
    await asyncio.sleep(0)
    first.set()
    await is_read
    second.set()
    await kept


async def test_cluster_that_is_read_as_its_outage_is_about_to_be_told_keeps_no_other_from_being_told() -> None:
    posted: list[str] = []

    class Channels:
        async def post(self, message: Message, **_: object) -> str:
            posted.append(message.text)
            return "1.0"

    time, database, unused = ManualClock(), SlowDatabase(), cast("Any", None)
    outages = OutageTeller(database, cast("Any", Channels()), unused, WATCH, time.clock, unused)
    await outages.failed("cluster-2")
    await outages.failed("cluster-3")
    await time.advance(300)
    named = asyncio.Event()
    database.held.append(named)
    is_told = asyncio.create_task(outages.tell("C0OPS", Lane.REPLY))
    await database.is_asked.wait()
    await outages.succeeded("cluster-3")
    named.set()
    await is_told
    assert ["cluster-2" in message for message in posted] == [True]


@pytest.mark.parametrize("refusal", ["no_permission", "html", "ratelimited"])
async def test_end_of_an_outage_is_told_although_slack_takes_no_edit_of_its_message(bot: World, refusal: str) -> None:
    await poll(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    (message,) = await until(
        bot, lambda: [message for message in bot.slack.visible() if "from Together since" in message.text], 600
    )
    bot.slack.faults.append(SlackFault("chat.update", refusal, times=-1))
    bot.together.faults.clear()
    await until(bot, lambda: [message for message in bot.slack.visible() if "from Together again" in message.text], 300)
    assert message.buttons
    bot.slack.faults.clear()
    await until(bot, lambda: not message.buttons, 300)
    assert " to <!date" in message.text


async def test_message_about_an_outage_loses_its_button_although_the_process_that_saw_its_end_is_gone() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await poll(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))

        def look(what: str) -> list[Posted]:
            return [message for message in bot.slack.visible() if what in message.text]

        (message,) = await until(bot, lambda: look("from Together since"), 600)
        bot.slack.faults.append(SlackFault("chat.update", "no_permission", times=-1))
        bot.together.faults.clear()
        await until(bot, lambda: look("from Together again"), 300)
        await bot.settle()
        await free_the_lease(bot.settings.database_url)
        bot.slack.faults.clear()
        assert message.buttons
        async with bot.another():
            await until(bot, lambda: not message.buttons, 300)
            assert " to <!date" in message.text


@pytest.mark.parametrize("refusal", ["fatal_error", "ratelimited", "internal_error"])
async def test_outage_that_goes_on_stays_told_where_its_message_is_shared(refusal: str) -> None:
    async with watching() as bot:
        await began(bot)
        bot.together.clusters["cluster-2"] = "cluster-2 (H100)"
        await pass_time(bot, 1300)
        bot.together.unreadable |= {"cluster-1": 14, "cluster-2": 14}
        (message,) = await until(
            bot, lambda: [post for post in bot.slack.visible() if "from Together since" in post.text], 900
        )
        assert "cluster-1" in message.text
        assert "cluster-2" in message.text
        del bot.together.unreadable["cluster-1"]
        refused = SlackFault("chat.postMessage", refusal, times=-1)
        bot.slack.faults.append(refused)
        await until(bot, lambda: refused.times < -1, 200)
        bot.together.unreadable["cluster-1"] = 14
        await pass_time(bot, 60)
        refused.times = 0
        await pass_time(bot, 120)
        del bot.together.unreadable["cluster-2"]
        await pass_time(bot, 3600)
        said = [post.text for post in bot.slack.visible()]
        still = [text for text in said if "cluster-1" in text and "since" in text]
        assert still, f"cluster-1 can't be read, and nothing says so: {said}"


async def restarted(bot: World) -> None:
    await bot.settle()
    await free_the_lease(bot.settings.database_url)


async def test_outage_is_not_said_to_be_of_a_cluster_that_is_gone_by_one_list_after_a_restart() -> None:
    async with watching() as bot:
        bot.together.clusters["cluster-2"] = "two"
        await began(bot)
        await pass_time(bot, 700)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1, cluster="cluster-1"))
        await until(bot, lambda: [one for one in bot.slack.visible() if "from Together since" in one.text], 900)
        await restarted(bot)
        bot.together.lists_lack.append("cluster-1")
        async with bot.another():
            await pass_time(bot, 300)
            assert not [one for one in bot.slack.visible() if "no longer monitored" in one.text]


@pytest.mark.parametrize("ends", ["stop", "death"])
async def test_outage_that_goes_on_is_told_though_its_message_said_that_it_was_over(ends: str) -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        outage = Fault("rpc", verb="list", code=14, times=-1)
        bot.together.faults.append(outage)

        def said(what: str) -> list[Posted]:
            return [message for message in bot.slack.visible() if what in message.text]

        await until(bot, lambda: said("from Together since"), 900)
        bot.together.faults.clear()
        with bot.slack.paused("chat.update"):
            await until(bot, lambda: bot.slack.is_waiting("chat.update"), 300)
            if ends == "death":
                await kill_the_watch(bot)
            else:
                await restarted(bot)
        bot.together.faults.append(outage)
        async with bot.another():
            await pass_time(bot, 3600)
            assert said("from Together since")


async def test_message_about_an_outage_that_was_not_edited_before_a_death_says_once_that_it_is_over() -> None:
    async with watching(drain_seconds=0.05) as bot:
        await began(bot)
        outage = Fault("rpc", verb="list", code=14, times=-1)
        bot.together.faults.append(outage)

        def said(what: str) -> list[Posted]:
            return [message for message in bot.slack.visible() if what in message.text]

        await until(bot, lambda: said("from Together since"), 900)
        before = len([call for call in bot.slack.calls if call[0] == "chat.update"])
        bot.slack.faults.append(SlackFault("chat.update", "internal_error", times=-1))
        bot.together.faults.clear()
        await until(bot, lambda: len([call for call in bot.slack.calls if call[0] == "chat.update"]) > before, 300)
        await kill_the_watch(bot)
        bot.slack.faults.clear()
        bot.together.faults.append(outage)
        async with bot.another():
            await pass_time(bot, 1200)
            during = len(said("from Together since"))
            bot.together.faults.clear()
            await pass_time(bot, 7200)
            assert not said("from Together since")
            assert during == 1, "the outage is told twice"


async def test_cluster_that_is_deleted_in_its_outage_is_not_said_to_be_readable_though_it_has_a_card(
    bot: World,
) -> None:
    bot.together.add()
    bot.together.add(OTHER)
    bot.together.clusters[OTHER[0]] = "two"
    await card(bot)
    await card(bot, OTHER, seconds=900)
    fault = Fault("rpc", verb="list", code=14, times=-1, cluster=OTHER[0])
    bot.together.faults.append(fault)
    await pass_time(bot, 400)
    del bot.together.clusters[OTHER[0]]
    del bot.together.remediations[OTHER]
    bot.together.faults.remove(fault)  # what is gone answers "not found"
    for _ in range(60):
        await pass_time(bot, 30)
    told = [message.text for message in bot.slack.visible() if "luster two " in message.text]
    assert not [text for text in told if "can be read" in text]
    assert "no longer monitored" in told[1]


async def test_cluster_that_is_read_once_an_hour_is_retried_sooner_where_that_failed() -> None:
    async with watching(BOT_POLL_SECONDS="3600") as bot:
        await began(bot)
        await pass_time(bot, 4000)
        fault = Fault("html", verb="list", status=500, times=3)  # one reading, with its attempts
        bot.together.faults.append(fault)
        await until(bot, lambda: fault.times == 0, seconds=8000)
        await pass_time(bot, 1800, longest=60)
        assert [message.text for message in bot.slack.messages if "Couldn't read" in message.text] == []


class FreezingDatabase(LeasedDatabase):
    """Its process freezes once something is written, for longer than it has the watch."""

    def __init__(self, database: Database, time: ManualClock) -> None:
        super().__init__(database, "watch", 15, time.clock)
        self.time = time

    async def run(self, *asked: Any, **more: Any) -> Any:
        written = await super().run(*asked, **more)
        self.time.seconds += 60.0
        return written


@pytest.mark.parametrize("what", ["outage", "faults"])
async def test_process_that_froze_as_it_noted_a_post_about_a_cluster_does_not_post(
    what: str, database_url: str, time: ManualClock
) -> None:
    posted: list[str] = []

    class Channels:
        async def post(self, message: Message, **_: object) -> str:
            posted.append(message.text)
            return "1.0"

    database, unused = Database(database_url, time.clock), cast("Any", None)
    await database.open()
    watch, channels = FreezingDatabase(database, time), cast("Any", Channels())
    await watch.acquire()
    teller: OutageTeller | FaultTeller
    if what == "outage":
        teller = OutageTeller(watch, channels, unused, WATCH, time.clock, unused)
        await teller.failed("c")
        time.seconds += 300.0
    else:
        reports = FaultReports(watch, time.clock, 180.0)
        await reports.load()
        teller = FaultTeller(watch, channels, unused, WATCH, time.clock, reports, unused)
        teller.begin()
        alert = LinkedAlert(alert_id="a-1", instance_id="gpu-1")
        await reports.change(
            "c", lambda report: report.noting("c", [FiringAlert(alert, time.now() - 1000.0)], time.now())
        )
        reports.read_at["c"] = time.seconds, time.now()
    await watch.acquire()
    with suppress(LeaseLost):
        await teller.tell("C0OPS" if what == "outage" else "c", Lane.REPLY)
    await database.close()
    assert posted == []
