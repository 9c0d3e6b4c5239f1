"""Approvals that somebody has paused: shown on every card, refused with who and until when, over on their own."""

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy import delete, select

from bot import cards, mrkdwn
from bot.cards import MORE
from bot.decisions import guardrails
from bot.models import Actor, Braked, Pause, Pauser, ReplyTarget
from bot.store import Database, pauses, purge, tables
from bot.store.connection import Connection
from tests import test_flow_home as home
from tests.deaths import free_the_lease
from tests.manual_clock import START, ManualClock
from tests.postgres import until_one_waits
from tests.rows import execute, execute_beside, outcomes_by_user
from tests.simulator.slack import Posted
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.store.examples import open_store
from tests.storms import began, choose, digest, review, storm
from tests.watch import (
    PAUSE_DIALOG,
    RESUME_DIALOG,
    card,
    ends,
    pass_time,
    pause,
    quiet,
    resume,
    submit_pause,
    until,
    watching,
)
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
    assert "Approvals are paused in cluster-1 (H100) until " in (await bot.reply_privately()).text
    await until(bot, lambda: "Approvals are paused in" in alert.text)
    await digest(bot, "Approvals are paused in")
    assert "paused" not in elsewhere.text
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    told = (await bot.reply_privately("U0BOB")).text
    assert told.startswith("Not approved: <@U0ALICE> paused approvals until")
    assert "ask them, or press Resume approvals…" in told
    before = len(bot.slack.visible("U0ALICE"))
    await bot.slack.press(alert, APPROVE)
    told = (await bot.reply_privately(count=before + 1)).text
    assert told.endswith("To approve now, press Resume approvals… in this app's Home.")
    assert bot.together.posts == []
    assert await outcomes_by_user(bot) == [("U0BOB", "paused"), ("U0ALICE", "paused")]
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
    await until(bot, lambda: RESUME_DIALOG in message.buttons)
    await bot.slack.submit(view)
    await digest(bot, "Stopped: approvals were paused. 5 not attempted.")
    await resume(bot, message, user="U0BOB")
    assert "Approvals resumed in cluster-1 (H100)." in (await bot.reply_privately("U0BOB")).text
    await until(bot, lambda: RESUME_DIALOG not in message.buttons)
    assert "are paused" not in message.everything
    rows = select(tables.audit.c.event, tables.audit.c.user_id, tables.audit.c.cluster_id).where(
        tables.audit.c.event.in_(["paused", "resumed"])
    )
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
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
    assert "Approvals are paused" not in message.everything


async def test_outage_of_several_clusters_offers_to_pause_all(bot: World) -> None:
    ids = [bot.together.add((f"cluster-{number}", "instance-1", f"r-{number}")) for number in (1, 2)]
    alerts = [await card(bot, ids) for ids in ids]
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    told = await until(
        bot, lambda: [message for message in bot.slack.visible() if "Couldn't read clusters" in message.text], 400
    )
    await pause(bot, told[0])
    assert "Approvals are paused in all clusters" in (await bot.reply_privately()).text
    await until(bot, lambda: all("Approvals are paused in all clusters until" in message.text for message in alerts))
    bot.together.faults.clear()
    await resume(bot, await bot.reply_privately())
    await until(bot, lambda: not any("Approvals are paused" in message.text for message in alerts))


async def test_digest_resumes_a_pause_of_all_clusters(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    told = await until(
        bot, lambda: [message for message in bot.slack.visible() if "Couldn't read clusters" in message.text], 400
    )
    await pause(bot, told[0])
    bot.together.faults.clear()
    await until(bot, lambda: RESUME_DIALOG in message.buttons)
    await resume(bot, message, user="U0BOB")
    assert "Approvals resumed in all clusters." in (await bot.reply_privately("U0BOB")).text


async def test_backlog_shows_a_pause_of_one_of_its_clusters(bot: World) -> None:
    storm(bot, 6)
    backlog = await digest(bot)
    storm(bot, 6, start=10)
    await pause(bot, await digest(bot, number=1))
    await until(bot, lambda: "Approvals are paused in cluster-1 (H100) until" in backlog.everything)


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
    assert ": “the *switch* is being replaced”. You can still cancel." in refused
    rows = select(tables.audit.c.event, tables.audit.c.reason).where(tables.audit.c.event == "paused")
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
        await resume(bot, message)
        await until(bot, lambda: RESUME_DIALOG not in message.buttons)
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


async def two_pauses(bot: World) -> Posted:
    """Let Alice pause for an hour, and Bob for half of one, and return a digest of the cluster."""
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await pause(bot, message, **{PAUSE_DIALOG: "the switch is replaced"})
    await digest(bot, "by @U0ALICE")
    await pause(bot, message, user="U0BOB", seconds="1800")
    return await digest(bot, "by @U0BOB")


async def test_several_people_pause_and_it_ends_with_the_last_of_them(bot: World) -> None:
    message = await two_pauses(bot)
    assert "by @U0ALICE (“the switch is replaced”), and in cluster-1 (H100) until" in message.everything
    await pass_time(bot, 1900)
    assert "U0BOB" not in message.everything
    assert "by @U0ALICE" in message.everything
    await pass_time(bot, 1900)
    assert "Approvals are paused" not in message.everything


async def test_person_ends_their_own_pause_and_the_others_stays(bot: World) -> None:
    message = await two_pauses(bot)
    await bot.slack.press(message, RESUME_DIALOG, user="U0BOB")
    view = await until(bot, lambda: [view for view in bot.slack.views if view["callback_id"] == RESUME_DIALOG])
    (boxes,) = [
        block["element"] for block in view[0]["blocks"] if block["type"] == "input" and "options" in block["element"]
    ]
    assert [option["text"]["text"].split()[0] for option in boxes["options"]] == ["<@U0ALICE>", "<@U0BOB>"]
    assert boxes["initial_options"] == boxes["options"][1:]
    await bot.slack.submit(view[0], user="U0BOB")
    assert (
        "Not all of it is over. Approvals are paused in cluster-1 (H100) until"
        in (await bot.reply_privately("U0BOB", count=2)).text
    )
    await until(bot, lambda: "by @U0BOB" not in message.everything)
    assert "by @U0ALICE" in message.everything
    assert bot.slack.direct("U0ALICE") == []


async def test_person_whose_pause_another_ends_is_told(bot: World) -> None:
    message = await two_pauses(bot)
    await resume(bot, message, user="U0BOB", whose=["U0ALICE"], reason="the switch is back")
    await until(bot, lambda: bot.slack.direct("U0ALICE"))
    told = bot.slack.direct("U0ALICE")[0].text
    assert told == "<@U0ALICE>, <@U0BOB> ended your pause of approvals in cluster-1 (H100): “the switch is back”"
    await until(bot, lambda: "by @U0ALICE" not in message.everything)
    assert "by @U0BOB" in message.everything


async def test_late_submission_does_not_end_a_pause_that_began_since(bot: World) -> None:
    message = await two_pauses(bot)
    bot.slack.views.clear()
    await bot.slack.press(message, RESUME_DIALOG, user="U0BOB")
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    await pass_time(bot, 60)
    await pause(bot, message, seconds="14400", **{PAUSE_DIALOG: "it takes longer"})
    await digest(bot, "it takes longer")
    await bot.slack.submit(view, user="U0BOB", **ends(view))
    await until(bot, lambda: "by @U0BOB" not in message.everything)
    assert "by @U0ALICE (“it takes longer”)" in message.everything


async def test_nothing_ticked_ends_nothing(bot: World) -> None:
    message = await two_pauses(bot)
    ack = await resume(bot, message, user="U0BOB", whose=[])
    assert "Tick at least one pause." in ack.body
    assert "by @U0ALICE" in message.everything


async def test_two_who_pause_at_once_in_two_processes_both_hold(database_url: str, time: ManualClock) -> None:
    async with open_store(database_url, time) as store:
        people = [Actor(f"U{number}", "", None) for number in range(6)]
        others = [Database(database_url, time.clock) for _ in people] if database_url.startswith("postgres") else []
        homes = others or [store.database] * len(people)
        begun = [home.run(pauses.begin, "c", 3600.0, who, None) for home, who in zip(homes, people, strict=True)]
        await asyncio.gather(*begun)
        held = await store.database.read(pauses.active, ["c"])
        assert held is not None
        assert sorted(pauser.user_id for pauser in held.people) == [actor.user_id for actor in people]
        for database in others:
            await database.close()


async def test_pause_that_begins_as_another_one_ends_holds(postgresql: str, time: ManualClock) -> None:
    alice, bob = Actor("U0ALICE", "", None), Actor("U0BOB", "", None)
    written, may_commit = threading.Event(), threading.Event()

    def begin(connection: Connection) -> None:
        pauses.begin(connection, "c", 3600.0, bob, None)
        written.set()
        assert may_commit.wait(5)

    async with open_store(postgresql, time) as store:
        await store.database.run(pauses.begin, "c", 7200.0, alice, None)
        await purge(store.database, 400)  # as each process does at its start
        beginning = asyncio.ensure_future(store.database.run(begin))
        assert await asyncio.to_thread(written.wait, 5)
        ending = asyncio.ensure_future(store.database.run(pauses.end, "c", alice, None, [alice.user_id], ""))
        await until_one_waits(postgresql)
        may_commit.set()
        await asyncio.gather(beginning, ending)
        held = await store.database.read(pauses.active, ["c"])
    assert held is not None
    assert [pauser.user_id for pauser in held.people] == ["U0BOB"]


async def test_pause_that_has_ended_is_forgotten_after_a_day_and_one_that_holds_is_not(
    database_url: str, time: ManualClock
) -> None:
    async with open_store(database_url, time) as store:
        who = Actor("U0ALICE", "", None)
        await store.database.run(pauses.begin, "short", -2 * 86_400.0, who, None, "why")
        await store.database.run(pauses.begin, "long", 3600.0, who, None, "why")
        await purge(store.database, 400)
        rows = await store.database.read(
            lambda connection: connection.execute(select(tables.pauses.c.cluster_id)).scalars()
        )
        assert rows == ["long"]
        await store.database.run(pauses.begin, "short", 3600.0, who, None, "again")
        assert await store.database.read(pauses.active, ["short"]) is not None


async def test_card_pauses_approvals_of_its_cluster_from_its_menu(bot: World) -> None:
    await began(bot)
    (ids,) = storm(bot, 1)
    alert = await card(bot, ids)
    await bot.slack.press(alert, MORE, choice="pause", user="U0CAROL")
    assert "Only operators can do this." in (await bot.reply_privately("U0CAROL")).text
    assert bot.slack.views == []
    await bot.slack.press(alert, MORE, choice="pause")
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.submit(view, **{PAUSE_DIALOG: "the switch is replaced"})
    await card(bot, ids, "by <@U0ALICE> (“the switch is replaced”)")
    bot.slack.views.clear()
    await bot.slack.press(alert, MORE, choice="resume", user="U0BOB")
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.submit(view, user="U0BOB", **{RESUME_DIALOG: "it is back"}, **ends(view))
    await until(bot, lambda: "Approvals are paused" not in alert.everything)


async def two_clusters(bot: World) -> tuple[Posted, Posted]:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    (ids,) = storm(bot, 1)
    (other,) = storm(bot, 1, cluster="cluster-2")
    return await card(bot, ids), await card(bot, other)


async def pause_from(bot: World, alert: Posted | None, user: str, seconds: str) -> None:
    """Pause approvals of a card's cluster, or of all in the home."""
    bot.slack.views.clear()
    if alert is None:
        await home.opened(bot, user)
        await bot.slack.press_home(PAUSE_DIALOG, user=user)
    else:
        await bot.slack.press(alert, MORE, choice="pause", user=user)
    await submit_pause(bot, user=user, seconds=seconds)


async def resume_dialog(bot: World, alert: Posted | None, user: str = "U0ALICE") -> dict[str, Any]:
    bot.slack.views.clear()
    if alert is None:
        await bot.slack.press_home(RESUME_DIALOG, user=user)
    else:
        await bot.slack.press(alert, MORE, choice="resume", user=user)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    return dict(view)


async def test_pause_of_all_that_is_ended_from_a_cluster_resumes_all_and_says_so(bot: World) -> None:
    first, second = await two_clusters(bot)
    await pause_from(bot, None, "U0BOB", "43200")
    await until(bot, lambda: "paused in all clusters" in first.text and "paused in all clusters" in second.text)
    view = await resume_dialog(bot, first)
    before = len(bot.slack.direct("U0BOB"))
    await bot.slack.submit(view, **{RESUME_DIALOG: "switch is back"}, **ends(view))
    await until(bot, lambda: "paused" not in first.text and "paused" not in second.text)
    assert "Approvals resumed in all clusters." in (await bot.reply_privately()).text
    await until(bot, lambda: len(bot.slack.direct("U0BOB")) > before)
    told = bot.slack.direct("U0BOB")[-1].text
    assert told == "<@U0BOB>, <@U0ALICE> ended your pause of approvals in all clusters: “switch is back”"


async def test_home_of_all_clusters_tells_of_the_pause_of_one_and_ends_it(bot: World) -> None:
    first, second = await two_clusters(bot)
    await pause_from(bot, second, "U0BOB", "43200")
    await until(bot, lambda: "paused in cluster-2" in second.text)
    assert "Approvals are paused in cluster-2" in home.said(await home.opened(bot))
    await pause_from(bot, None, "U0ALICE", "1800")
    await until(bot, lambda: "paused in all clusters" in first.text)
    view = await resume_dialog(bot, None)
    before = len(bot.slack.direct("U0ALICE"))
    await bot.slack.submit(view)  # her own pause is ticked
    told = await bot.slack.until(lambda: bot.slack.direct("U0ALICE")[before:])
    assert told[-1].text.startswith("Not all of it is over. Approvals are paused in cluster-2 until")
    await until(bot, lambda: "paused" not in first.text and "paused in cluster-2" in second.text)
    await home.opened(bot)
    view = await resume_dialog(bot, None)
    assert '"cluster-2"' in home.said(view)
    await bot.slack.submit(view, **ends(view))
    await until(bot, lambda: "paused" not in second.text)


@pytest.mark.bot(drain_seconds=0.1, endless=())  # what Bob did is never answered, for longer than its lease
async def test_whose_pause_ended_is_told_once_whatever_becomes_of_who_ended_it(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await pause(bot, message, seconds="43200")
    await digest(bot, "by @U0ALICE")
    # Nothing reaches Bob any more, and for a while nothing reaches Alice.
    down = SlackFault("chat.postMessage", "service_unavailable", times=-1, channel="U0ALICE")
    bot.slack.faults += [
        SlackFault("chat.postEphemeral", "user_not_in_channel", times=-1, user="U0BOB"),
        SlackFault("chat.postMessage", "user_disabled", times=-1, channel="U0BOB"),
        down,
    ]
    await resume(bot, message, user="U0BOB", whose=["U0ALICE"], reason="the switch is back")
    await until(bot, lambda: "Approvals are paused" not in message.everything)
    await pass_time(bot, 900)
    assert bot.slack.direct("U0ALICE") == []
    bot.slack.faults.remove(down)
    await pass_time(bot, 3600)
    assert len(bot.slack.direct("U0ALICE")) == 1


@pytest.mark.bot(BOT_STORM_BRAKE="4")
async def test_resume_in_a_home_that_is_older_than_the_brake_is_about_the_brake(bot: World) -> None:
    await began(bot)
    (ids,) = storm(bot, 1)
    alert = await card(bot, ids)
    await pause_from(bot, None, "U0BOB", "1800")
    await until(bot, lambda: "paused in all clusters" in alert.text)
    assert RESUME_DIALOG in home.said(await home.opened(bot))
    await pass_time(bot, 1900)
    storm(bot, 4, start=1)
    await until(bot, lambda: any("paused automatically" in message.text for message in bot.slack.visible()))
    view = await resume_dialog(bot, None)
    assert "The storm brake: 4 or more nodes were broken" in home.said(view)
    await bot.slack.submit(view, **{RESUME_DIALOG: "a false alarm"})
    await until(bot, lambda: "Approvals resumed in cluster-1 (H100)." in [x.text for x in bot.slack.direct("U0ALICE")])


@pytest.mark.bot(BOT_STORM_BRAKE="4")
async def test_home_names_each_cluster_whose_brake_is_latched(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "cluster-2"
    await began(bot)
    storm(bot, 4)
    storm(bot, 4, cluster="cluster-2")
    await until(bot, lambda: sum("paused automatically" in x.text for x in bot.slack.visible() if not x.thread_ts) > 1)
    said = home.said(await home.opened(bot))
    assert "paused in cluster-1 (H100) automatically" in said
    assert "in cluster-2 automatically" in said
    view = await resume_dialog(bot, None)
    assert "Approvals in cluster-1 (H100) resume once no pause is left." in home.said(view)
    assert "The storm brake keeps others paused: cluster-2." in home.said(view)
    assert view["blocks"][1]["element"]["options"][0]["description"]["text"] == "cluster-1 (H100)"


async def test_process_of_release_0_1_that_ends_the_longest_pause_ends_no_other(
    database_url: str, time: ManualClock
) -> None:
    async with open_store(database_url, time) as store:
        await store.database.run(pauses.begin, "c", 3600.0, Actor("U0ALICE", "alice", "T0HOME"), None)
        await store.database.run(pauses.begin, "c", 1800.0, Actor("U0BOB", "bob", "T0HOME"), None, "the switch")
        longest = delete(tables.pauses).where(tables.pauses.c.cluster_id == "c", tables.pauses.c.user_id == "U0ALICE")
        await execute(store.database, longest)  # what that release runs
        held = await store.database.read(pauses.active, ["c"])
        assert held is not None
        assert [(pauser.user_id, pauser.reason) for pauser in held.people] == [("U0BOB", "the switch")]


def test_refusal_names_the_brake_and_who_paused_beside_it() -> None:
    held = Pause((Pauser("U0BOB", START + 3600),), (Braked("cluster-1", "4 of 8 nodes"),))
    why = "approvals are paused automatically, because 4 of 8 nodes were broken at once, and by <@U0BOB> until"
    assert guardrails.paused_error(held, "U0ALICE").sentence.startswith(f"Not approved: {why}")


@pytest.mark.parametrize(("reason", "because"), [("", ""), ("the switch", " (“the switch”)")])
def test_refusal_names_all_who_paused_and_why_the_first_did(reason: str, because: str) -> None:
    held = Pause((Pauser("U0BOB", START + 3600, reason=reason), Pauser("U0CAROL", START + 60, reason="a drill")))
    until = [mrkdwn.when(pauser.until) for pauser in held.people]
    said = f"<@U0BOB> paused approvals until {until[0]}{because}, and <@U0CAROL> until {until[1]}."
    assert guardrails.paused_error(held, "U0ALICE").sentence == f"Not approved: {said}"


def test_ones_own_pause_is_among_those_to_choose_from() -> None:
    others = [Pauser(f"U{number}", START + 7200 - number) for number in range(12)]
    held = Pause((*others, Pauser("U0ALICE", START + 60)))
    view = cards.resume_dialog("", "", ReplyTarget("C0OPS", "U0ALICE"), held, "", "U0ALICE")
    field = next(block["element"] for block in view["blocks"] if block.get("block_id") == cards.ENDS)
    assert len(field["options"]) == 9
    assert [each["value"] for each in field["initial_options"]] == [Pauser("U0ALICE", START + 60).key]


async def test_refusal_of_a_selection_says_where_approvals_resume(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    view = await review(bot, message)
    await pause(bot, message, user="U0BOB")
    await until(bot, lambda: "Approvals are paused" in message.everything)
    ack = await bot.slack.submit(view, **{"review:verb": "approve"})
    assert "in this app's Home." in ack.body
    assert "menu" not in ack.body


async def test_longer_pause_from_a_dialog_that_stayed_open_is_kept_or_answered() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-07")
        alert = await card(bot)
        await bot.slack.press(alert, MORE, choice="pause")
        (view,) = await bot.slack.until(lambda: list(bot.slack.views))
        bot.slack.acks_late = 1
        assert (await bot.slack.submit(view, seconds="1800")).status == 0
        assert [each["id"] for each in bot.slack.views] == [view["id"]], "Slack leaves it open"
        await until(bot, lambda: "Approvals are paused" in alert.text)
        ack = await bot.slack.submit(view, seconds="43200")
        await pass_time(bot, 3600)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await quiet(bot)
        assert ack.body or bot.together.posts == [], "approved, an hour into a pause of 12 h that was acked"


async def test_longer_pause_is_not_shortened_by_an_earlier_one_that_comes_later(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        bot.together.add()
        alert = await card(bot)
        first = bot.slack.bot_url
        async with bot.another():
            second = bot.slack.bot_url
            await pass_time(bot, 30)
            bot.slack.bot_url = first
            with bot.slack.paused("users.info"):
                await bot.slack.deliver("interactive", bot.slack.click(alert, MORE, choice="pause"))
                await pass_time(bot, 1)
                (short,) = await bot.slack.until(lambda: [*bot.slack.views])
                await bot.slack.submit(short, seconds="1800")
                await bot.slack.until(lambda: bot.slack.is_waiting("users.info"))
                with bot.slack.open_for_others("users.info"):
                    bot.slack.bot_url = second
                    await pass_time(bot, 1)
                    bot.slack.views.clear()
                    await bot.slack.deliver("interactive", bot.slack.click(alert, MORE, choice="pause"))
                    (long,) = await bot.slack.until(lambda: [*bot.slack.views])
                    await bot.slack.submit(long, seconds="43200")
                    await until(bot, lambda: bot.slack.visible("U0ALICE"), 3)
            await pass_time(bot, 3600)
            assert "Approvals are paused" in alert.text


def test_cluster_whose_name_looks_like_a_mention_is_not_one_among_what_stays_paused() -> None:
    held = Pause((Pauser("U0ALICE", START + 3600),), (Braked("cluster-1", "4 or more nodes", "<@U0BOB>"),))
    view = cards.resume_dialog("", "", ReplyTarget("C0OPS", "U0ALICE"), held, "", "U0ALICE")
    assert "keeps others paused: <@U0BOB>. Resume" in str(view)
    assert {"type": "user", "user_id": "U0BOB"} not in view["blocks"][0]["elements"][0]["elements"]
