"""How the clusters are read: no answer is believed beyond what it says, and nothing that hangs delays the rest."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from bot.cards.labels import clusters
from bot.store import Database, Lease, moments
from bot.store.tables import leases
from bot.watcher.poller import LONGEST_RETRY_AFTER
from tests.deaths import free_the_lease
from tests.fetch import get
from tests.manual_clock import POLL
from tests.rows import execute
from tests.simulator.slack import Posted
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.storms import began, digest, storm
from tests.test_metrics import Counted, metrics
from tests.watch import CALM, card, pass_time, poll, until, watching
from tests.watcher.test_verification import firing
from tests.world import APPROVE, IDS, OTHER, World, both_databases

pytestmark = pytest.mark.bot(watching=True)


async def lists_without(bot: World, *clusters: str) -> None:
    """Let one list of the clusters lack some."""
    kept = {cluster: bot.together.clusters.pop(cluster) for cluster in clusters}
    lists = [call.verb for call in bot.together.calls].count("clusters")
    await until(bot, lambda: [call.verb for call in bot.together.calls].count("clusters") > lists, 700)
    bot.together.clusters.update(kept)


@pytest.mark.parametrize("clusters", [["cluster-1", "cluster-2"], ["cluster-2"]])
async def test_cluster_is_read_although_one_list_of_clusters_lacked_it(bot: World, clusters: list[str]) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    await lists_without(bot, *clusters)
    bot.together.add(OTHER)
    await until(bot, lambda: bot.slack.cards(OTHER[2]), 3 * POLL)


async def test_first_list_of_clusters_that_is_empty_is_asked_for_again_soon() -> None:
    async with watching() as bot:
        bot.together.clusters.clear()
        await poll(bot)
        bot.together.clusters["cluster-1"] = "cluster-1"
        storm(bot, 8)
        await until(bot, bot.slack.digests, 60)
        assert "open before monitoring started" in bot.slack.digests()[0].text


async def test_lag_forgets_a_cluster_that_is_no_longer_read(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    del bot.together.clusters["cluster-2"]
    await pass_time(bot, 900)
    assert Counted({}, await metrics(bot)).now("watch_lag_seconds") < 2 * POLL


@pytest.mark.parametrize("chosen", ["", "cluster-1"])
async def test_lag_grows_where_nothing_was_read_since_the_start(chosen: str) -> None:
    async with watching(BOT_CLUSTERS=chosen) as bot:
        await bot.settle()
        bot.together.keys = {"another"}
        async with bot.another() as app:
            await pass_time(bot, 900)
            assert Counted({}, await metrics(replace(bot, app=app))).now("watch_lag_seconds") > 800


async def test_watch_that_has_read_nothing_for_long_notes_that_no_more_often_than_another() -> None:
    async with watching() as bot:
        await pass_time(bot, 60)
        await bot.settle()
        bot.together.keys = {"another"}
        async with bot.another() as app:
            await pass_time(bot, 900)
            assert app.database is not None
            noted = []
            for _ in range(12):
                await pass_time(bot, 10)
                noted.append(await app.database.read(moments.noted, moments.ALIVE))
    assert len(set(noted)) <= 3, noted  # in two minutes


@pytest.mark.parametrize("is_known", [False, True])
async def test_lag_grows_while_the_start_waits_for_slack(*, is_known: bool) -> None:
    async with watching() as bot:
        if is_known:
            await pass_time(bot, 120)
        await bot.settle()
        with bot.slack.paused("conversations.history"):
            async with bot.another() as app:
                await bot.slack.until(lambda: bot.slack.is_waiting("conversations.history"))
                await bot.time.advance(300)
                lag = Counted({}, await metrics(replace(bot, app=app))).now("watch_lag_seconds")
    assert lag >= 300


@pytest.mark.parametrize("has_card", [False, True])
async def test_lag_goes_on_over_a_restart(bot: World, *, has_card: bool) -> None:
    if has_card:
        await began(bot)
    bot.together.faults += [Fault("rpc", verb="list", code=13) for _ in range(9999)]
    await pass_time(bot, 900)
    await bot.settle()
    async with bot.another() as app:
        await poll(bot)
        assert Counted({}, await metrics(replace(bot, app=app))).now("watch_lag_seconds") > 800
        bot.together.faults.clear()
        await pass_time(bot, 60)
        assert Counted({}, await metrics(replace(bot, app=app))).now("watch_lag_seconds") < 2 * POLL


async def test_key_that_sees_no_cluster_has_no_lag() -> None:
    async with watching() as bot:
        bot.together.clusters.clear()
        await bot.settle()
        async with bot.another() as app:
            await pass_time(bot, 900)
            assert Counted({}, await metrics(replace(bot, app=app))).now("watch_lag_seconds") < 3 * POLL


async def test_cluster_is_read_again_soon_whatever_wait_together_asks_for(bot: World) -> None:
    await began(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=8, headers={"Retry-After": "86400"}))
    await poll(bot)
    bot.together.add()
    await until(bot, lambda: bot.slack.cards(IDS[2]), LONGEST_RETRY_AFTER + 3 * POLL)


@pytest.mark.parametrize("cluster", ["cluster-1", "cluster-2"])
async def test_single_reads_that_hang_delay_no_alert(bot: World, cluster: str) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    ids = storm(bot, 40)
    other = storm(bot, 1, cluster="cluster-2")[0]
    await digest(bot)
    await until(bot, lambda: bot.slack.cards(other[2]))
    bot.together.faults.append(Fault("hang", verb="get", cluster="cluster-1", times=-1))
    for each in (*ids, other):
        bot.together.resolve(each)
    await until(bot, lambda: "recovered on its own" in bot.slack.cards(other[2])[0].text, 30)
    await pass_time(bot, 70)
    storm(bot, 1, start=90, cluster=cluster)
    await until(bot, lambda: bot.slack.cards(f"{cluster}-r0090-"), 30)


async def test_one_remediation_that_cannot_be_read_is_no_outage(bot: World) -> None:
    bot.together.add()
    bot.together.add(("cluster-1", "instance-2", "remediation-2"))
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="get", code=7, times=-1, instance=IDS[1]))
    bot.together.resolve(IDS)
    await pass_time(bot, 900)
    assert "Last confirmed" in alert.text
    assert [message.text for message in bot.slack.visible() if "from Together since" in message.text] == []
    bot.together.review(("cluster-1", "instance-2", "remediation-2"), "cancel")
    await card(bot, ("cluster-1", "instance-2", "remediation-2"), "Cancelled")


async def test_cluster_that_comes_and_goes_is_told_once(bot: World) -> None:
    await began(bot)
    failing = Fault("rpc", verb="list", code=14, times=0, cluster="cluster-1")
    bot.together.faults.append(failing)
    for _ in range(8):
        failing.times = -1
        await pass_time(bot, 420)
        failing.times = 0
        await poll(bot)
    assert len(bot.slack.visible()) <= 4
    await pass_time(bot, 1800)
    assert "can be read from Together again" in bot.slack.visible()[-1].text


async def test_message_about_an_outage_offers_nothing_once_it_is_over(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    faults = [Fault("rpc", verb="list", code=14, times=-1, cluster=f"cluster-{number}") for number in (1, 2)]
    bot.together.faults += faults
    told = await until(
        bot, lambda: [message for message in bot.slack.visible() if "from Together since" in message.text], 400
    )
    assert told[0].buttons
    faults[0].times = 0
    await until(bot, lambda: len(bot.slack.visible()) == 2)
    assert told[0].buttons, "the other one can't be read still"
    faults[1].times = 0
    await until(bot, lambda: not told[0].buttons)
    assert told[0].text.startswith("Couldn't read clusters") or "cluster-2" in told[0].text
    await until(bot, lambda: len(bot.slack.visible()) == 3)


async def test_clusters_of_one_name_are_told_apart_wherever_they_are_named(bot: World) -> None:
    bot.together.clusters |= {"cluster-1": "llama-train", "cluster-2": " Llama-train\u200b"}
    await pass_time(bot, 700)
    bot.together.add(instance_name="gpu-1")
    bot.together.add(OTHER, instance_name="gpu-1")
    first, second = await card(bot), await card(bot, OTHER)
    assert first.text.startswith("gpu-1 (llama-train cluster-1): ")
    assert second.text.startswith("gpu-1 (Llama-train cluster-2): ")


async def test_card_says_which_cluster_it_is_as_soon_as_another_has_its_name(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "llama-train"
    await pass_time(bot, 700)
    bot.together.add()
    alert = await card(bot)
    assert alert.text.startswith("instance-1 (llama-train): ")
    bot.together.clusters["cluster-2"] = "llama-train"
    await until(bot, lambda: alert.text.startswith("instance-1 (llama-train cluster-1): "), 700)


async def test_digest_of_clusters_of_one_name_says_which_node_is_in_which() -> None:
    async with watching() as bot:
        bot.together.clusters |= {"cluster-1": "llama-train", "cluster-2": "llama-train"}
        for number in range(4):
            bot.together.add((f"cluster-{number % 2 + 1}", f"i-{number}", f"r-{number}"), instance_name=f"gpu-{number}")
        storm(bot, 3)
        (message,) = await until(bot, bot.slack.digests)
        assert "gpu-0 in llama-train cluster-1" in message.text
        assert "gpu-1 in llama-train cluster-2" in message.text


async def test_digest_says_which_cluster_it_is_as_soon_as_another_has_its_name(bot: World) -> None:
    bot.together.clusters["cluster-1"] = "llama-train"
    await pass_time(bot, 700)
    storm(bot, 6)
    (message,) = await until(bot, bot.slack.digests)
    assert message.text.startswith("6 nodes in llama-train need a decision.")
    bot.together.clusters["cluster-2"] = "llama-train"
    await until(bot, lambda: "of llama-train cluster-1 need a decision." in message.text, 700)
    edits = message.edits
    await pass_time(bot, 120)
    assert message.edits == edits


@pytest.mark.parametrize(
    ("listed", "called"),
    [
        ({"c-1": "train", "c-2": "infer"}, {"c-1": "train", "c-2": "infer"}),
        ({"c-1": "train", "c-2": "train"}, {"c-1": "train c-1", "c-2": "train c-2"}),
        (
            {"0b1f2c3d-aaaa": "train", "0b1f2c3d-abbb": "train", "e-1": "train"},
            {"0b1f2c3d-aaaa": "train 0b1f2c3d-aa…", "0b1f2c3d-abbb": "train 0b1f2c3d-ab…", "e-1": "train e-1"},
        ),
        (
            {"c-1": "n" * 70 + "1", "c-2": "n" * 70 + "2"},
            {"c-1": "n" * 49 + "… c-1", "c-2": "n" * 49 + "… c-2"},
        ),
    ],
)
def test_name_of_a_cluster_has_as_much_of_its_id_as_tells_it_apart(
    listed: dict[str, str], called: dict[str, str]
) -> None:
    assert clusters(listed) == called


async def test_key_that_together_rejects_is_named_until_it_works(bot: World) -> None:
    bot.together.keys, key = set(), bot.together.keys
    await pass_time(bot, 60)
    rejected = "Together rejected the bot's API key (HTTP 401). Check TOGETHER_API_KEY."
    assert await get(bot.app, "/readyz") == (200, f"ready\n{rejected}\n")
    bot.together.keys = key
    await pass_time(bot, 60)
    assert await get(bot.app, "/readyz") == (200, "ready\n")


async def read_without_the_database(
    bot: World, verb: str, change: Callable[[], object], seconds: float = 0.0
) -> Posted:
    """The card of a repair under way, once a change was read that couldn't be written down for so long."""
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    with ExitStack() as answers:
        answers.enter_context(bot.together.paused(f"{verb} answered"))
        change()
        await until(bot, lambda: bot.together.is_waiting(f"{verb} answered"))
        bot.together.faults.append(Fault("rpc", times=-1))  # nothing can be read after that
        async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///"))):
            answers.close()
            await pass_time(bot, seconds)
    return alert


@pytest.mark.bot(busy_seconds=0.1)
@pytest.mark.parametrize(("verb", "steps", "words"), [("list", 1, "Cordoning the host"), ("get", 4, "Rebooted")])
async def test_what_was_read_as_the_database_failed_counts_once_it_works(
    bot: World, verb: str, steps: int, words: str
) -> None:
    def change() -> None:
        for _ in range(steps):
            bot.together.advance(IDS)

    alert = await read_without_the_database(bot, verb, change)
    await until(bot, lambda: words in alert.text, 300)


@pytest.mark.bot(busy_seconds=0.1)
async def test_what_was_read_long_before_the_database_works_counts_no_more(bot: World) -> None:
    alert = await read_without_the_database(bot, "list", lambda: bot.together.advance(IDS), 40.0)
    await pass_time(bot, 300)
    assert "Approved, queued" in alert.text


@pytest.mark.bot(busy_seconds=0.1)
async def test_what_was_read_before_the_machine_slept_counts_no_more(bot: World) -> None:
    alert = await read_without_the_database(bot, "list", lambda: bot.together.advance(IDS))
    bot.time.set_back = -400
    await pass_time(bot, 25)
    assert "Approved, queued" in alert.text


@pytest.mark.bot(busy_seconds=0.1)
async def test_what_was_read_before_another_process_watched_counts_no_more(bot: World) -> None:
    alert = await read_without_the_database(bot, "list", lambda: bot.together.advance(IDS))
    database = Database(bot.settings.database_url, bot.time.clock)
    other = Lease(database, "watch", 600, bot.time.clock)
    await execute(database, update(leases).values(until=0.0))
    assert await other.acquire()
    await other.release()
    await database.close()
    await pass_time(bot, 25)
    assert "Approved, queued" in alert.text


@pytest.mark.bot(busy_seconds=0.05, BOT_LEASE_SECONDS="15")
async def test_card_stays_confirmed_while_the_database_fails_again_and_again(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 150, longest=15.0)
    path = Path(bot.settings.database_url.removeprefix("sqlite:///"))
    for _ in range(8):
        with bot.together.paused("list answered"):  # Together takes six seconds
            async with locked(path):
                await pass_time(bot, 6)
            await pass_time(bot, 6)
        assert "Last confirmed" not in alert.text
        await pass_time(bot, 30, longest=15.0)


@pytest.mark.bot(busy_seconds=5.0, BOT_POLL_SECONDS="10", BOT_LEASE_SECONDS="90")
async def test_card_follows_the_load_though_the_next_list_was_read_before_it_was_written_down(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 64
    await poll(bot)

    async def listed() -> None:
        await bot.time.advance(11.0)
        for _ in range(CALM):  # `quiet` would wait for the writer
            await bot.together.until(lambda: not bot.together.busy)
            await asyncio.sleep(0)

    async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///")), "IMMEDIATE"):
        bot.together.add()
        await listed()
        bot.together.add(("cluster-1", "i-2", "r-2"), state="RUNNING")
        await listed()
    await card(bot, words="1 of 64 nodes in repair", seconds=700)


async def restarted(bot: World) -> None:
    await bot.settle()
    await free_the_lease(bot.settings.database_url)


async def test_cluster_that_one_list_lacks_after_a_restart_is_watched_still() -> None:
    async with watching(BOT_ONCALL="S0ONCALL") as bot:
        bot.together.clusters["cluster-2"] = "two"
        await began(bot)
        await pass_time(bot, 700)
        await restarted(bot)
        bot.together.lists_lack.append("cluster-1")
        async with bot.another():
            bot.together.add(linked_alerts=firing("79"))
            await pass_time(bot, 300)
            assert bot.slack.cards(IDS[2])


@pytest.mark.parametrize("severity", [["PHC_SEVERITY_WARNING"], {"name": "PHC_SEVERITY_WARNING"}])
async def test_odd_severity_of_one_alert_does_not_blind_the_bot_to_its_cluster(bot: World, severity: object) -> None:
    await began(bot)
    bot.together.add(linked_alerts=[{"alert_name": "DmesgXidError", "severity": severity}])
    bot.together.add(("cluster-1", "instance-2", "remediation-2"))
    await card(bot, ("cluster-1", "instance-2", "remediation-2"))
    await card(bot)


async def test_cluster_that_cannot_be_taken_in_is_told_as_one_that_cannot_be_read(
    bot: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await began(bot)

    def odd(_: object, item: object) -> None:
        raise TypeError(item)

    monkeypatch.setattr("bot.watcher.listings.UnderRepair.add", odd)  # a defect in how an item is read
    bot.together.add()
    await until(bot, lambda: [message for message in bot.slack.visible() if "Couldn't read" in message.text], 1200)


@both_databases
@pytest.mark.parametrize("odd", ["", "a b", "x\0y", "a/b", "c" * 300])
async def test_cluster_whose_id_is_none_neither_stops_the_watch_nor_lags(database: str, odd: str) -> None:
    async with watching(database) as bot:
        await began(bot)
        bot.together.clusters[odd] = "being made"
        await pass_time(bot, 700)
        bot.together.add()
        await card(bot)
        await pass_time(bot, 600)
        assert (await metrics(bot))["remediation_bot_watch_lag_seconds", ()] < 120
