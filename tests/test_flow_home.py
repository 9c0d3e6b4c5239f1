"""The app's home: what waits with its buttons, what runs, what failed, and the person's own decisions."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot import cards
from bot.cards import home, review
from bot.clock import WaitReason
from bot.models import ClusterNames, Remediation
from bot.store import tables
from handlers.dialogs import AGAIN
from tests.manual_clock import ON_THE_WAY
from tests.rows import execute_beside, outcomes_by_user
from tests.samples import remediation
from tests.simulator.slack.limits import check_home
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault, Ids
from tests.storms import XID, began, choose, digest, storm
from tests.watch import LOOKING, card, pass_time, poll, quiet, resume, submit_pause, thread, until, watching
from tests.watcher.test_verification import firing, moment, repaired
from tests.world import APPROVE, CANCEL, IDS, REFRESH, World, both_databases, both_transports, world

AUTOMATED = "REMEDIATION_TRIGGER_AUTOMATED"
pytestmark = pytest.mark.bot(watching=True)


async def shown(bot: World, user: str = "U0ALICE", version: int = 1) -> dict[str, Any]:
    """The home of a person once it was drawn so often."""
    await bot.slack.until(lambda: bot.slack.homes.get(user, {}).get("version", 0) >= version)
    return bot.slack.homes[user]


async def opened(bot: World, user: str = "U0ALICE") -> dict[str, Any]:
    """Open the home, and return it as soon as it is filled."""
    version = bot.slack.homes.get(user, {}).get("version", 0)
    await bot.slack.open_home(user)
    return await shown(bot, user, version + (1 if version else 2))


def said(view: dict[str, Any]) -> str:
    return json.dumps(view["blocks"], ensure_ascii=False)


async def several(bot: World, count: int) -> list[Ids]:
    """Let this many nodes wait, each with its card."""
    made = [bot.together.add(("cluster-1", f"i-{n}", f"r-{n}"), instance_name=f"gpu-node-{n}") for n in range(count)]
    await until(bot, lambda: len(bot.slack.cards(f"r-{count - 1}")) + len(bot.slack.digests()) > 0)
    await poll(bot)
    return made


@both_transports
async def test_home_shows_what_waits_runs_failed_and_was_decided_and_decides(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7", linked_alerts=XID)
    alert = await card(bot)
    running = bot.together.add(("cluster-1", "i-2", "r-2"), instance_name="gpu-node-8")
    await card(bot, running)
    bot.together.review(running, "approve")
    failed = bot.together.add(("cluster-1", "i-3", "r-3"), instance_name="gpu-node-9")
    await card(bot, failed)
    bot.together.review(failed, "approve")
    bot.together.advance(failed)
    bot.together.fail(failed, "host did not come back")
    await card(bot, failed, words="Failed")
    view = await opened(bot)
    text = said(view)
    assert "Waiting for approval: 1" in text
    assert "Approval needed: reboot gpu-node-7" in text
    assert "Xid 79" in text
    assert "In repair: 1" in text
    assert "Failed in the last 24 h: 1" in text
    assert "1 waiting · 1 in repair · 1 failed" in text
    assert "Your last decisions" not in text
    await bot.slack.press_home(APPROVE, about="remediation-1")
    await card(bot, words="Approved by <@U0ALICE>")
    view = await shown(bot, version=view["version"] + 1)
    assert "Nothing is waiting for approval" in said(view)
    assert "In repair: 2" in said(view)
    assert "gpu-node-7 · " in said(view)
    assert await outcomes_by_user(bot) == [("U0ALICE", "approved")]
    assert bot.together.state(IDS) == "PENDING"
    lines = [message.text for message in bot.slack.visible() if message.thread_ts is None and message.ts > alert.ts]
    assert lines[-1].startswith("gpu-node-7: approved by <@U0ALICE>.")


async def test_repair_that_is_queued_says_since_when_it_is_approved(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    await pass_time(bot, 3600)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved by <@U0ALICE>")
    await poll(bot)
    line = next(block for block in (await opened(bot))["blocks"] if "approved, queued" in str(block))
    approved_at = int(datetime.fromisoformat(bot.together.remediations[IDS]["review_time"]).timestamp())
    assert f"'timestamp': {approved_at}" in str(line)


async def test_decision_in_doubt_is_in_doubt_in_home_and_in_a_status_too(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="it still might")
    assert "Not confirmed: reboot gpu-node-7" in str(alert.blocks)
    view = await opened(bot, "U0BOB")
    await bot.slack.command("status gpu-node-7", user="U0BOB")
    status = await bot.reply_privately("U0BOB")
    for shown_there in (said(view), status.everything):
        assert "Not confirmed: reboot gpu-node-7" in shown_there
        assert "Somebody has decided; the result isn't confirmed yet." in shown_there
        assert APPROVE not in shown_there
        assert "Approval needed" not in shown_there
    asked = await bot.slack.say("<@U0BOT> approve gpu-node-7", user="U0BOB")
    (answer,) = await bot.slack.until(lambda: bot.slack.replies(asked))
    assert "Somebody has decided; the result isn't confirmed yet." in answer.text
    assert "Nothing has been sent" not in answer.text
    await pass_time(bot, 120)
    assert "Approval needed: reboot gpu-node-7" in said(await opened(bot, "U0BOB"))


async def test_doubt_is_over_once_it_is_read_though_nobody_watches_since_a_restart(tmp_path: Path) -> None:
    async with watching(f"sqlite:///{tmp_path}/bot.db") as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="approve", code=14))
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="it still might")
        await bot.settle()
        async with bot.another(bot.settings.model_copy(update={"bot_alert_channel": None})):
            assert "Not confirmed" in said(await opened(bot, "U0BOB"))
            await bot.time.advance(90)
            assert "Approval needed: reboot gpu-node-7" in said(await opened(bot, "U0CAROL"))
            await bot.slack.command("status gpu-node-7", user="U0BOB")
            assert "Approval needed: reboot gpu-node-7" in (await bot.reply_privately("U0BOB")).everything


@both_databases
async def test_node_of_a_storm_is_in_doubt_wherever_it_is_shown_as_its_digest_says(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    view = await choose(bot, message, "gpu-node-0000")
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.submit(view)
    await digest(bot, "it still might")
    row = next(block for block in (await opened(bot, "U0BOB"))["blocks"] if "gpu-node-0000" in str(block))
    assert "not confirmed" in row["text"]["text"]
    await bot.slack.press_home(home.OPEN, about=row["accessory"]["value"], user="U0BOB")
    await bot.slack.until(lambda: "Not confirmed: reboot gpu-node-0000" in said(bot.slack.homes["U0BOB"]))
    assert APPROVE not in said(bot.slack.homes["U0BOB"])
    await bot.slack.press_home(REFRESH, user="U0BOB")
    doubt = "gpu-node-0000 (cluster-1 (H100)): Not confirmed: reboot"
    await until(bot, lambda: [message for message in bot.slack.messages if message.text.startswith(doubt)])
    await bot.slack.command("status gpu-node-0000", user="U0BOB")
    status = await bot.reply_privately("U0BOB")
    asked = await bot.slack.say("<@U0BOT> approve gpu-node-0000", user="U0BOB")
    (answer,) = await bot.slack.until(lambda: bot.slack.replies(asked))
    for told in (status.text, answer.text):
        assert "Not confirmed: reboot" in told
        assert "Somebody has decided; the result isn't confirmed yet." in told
        assert "Approve reboot?" not in told
    assert "<@U0BOB> asked to approve this." in answer.text
    assert "This message isn't updated." in answer.text
    await pass_time(bot, 70)
    row = next(block for block in (await opened(bot, "U0BOB"))["blocks"] if "gpu-node-0000" in str(block))
    assert "not confirmed" not in row["text"]["text"]


async def test_button_whose_remediation_has_changed_decides_nothing_and_says_so_in_the_channel(bot: World) -> None:
    bot.together.add()
    await card(bot)
    view = await opened(bot)
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    await bot.slack.press_home(APPROVE)
    await card(bot, words="approval wasn't sent: the repair changed")
    view = await shown(bot, version=view["version"] + 1)
    assert "Approve quick reprovision" in said(view)
    assert bot.together.posts == []


async def test_who_may_not_decide_sees_no_buttons_and_who_can(bot: World) -> None:
    bot.together.add()
    await card(bot)
    view = await opened(bot, "U0CAROL")
    assert "View only. Ask " in said(view)
    assert "Approval needed: reboot instance-1" in said(view)
    assert not any(name in said(view) for name in ("remediation:", cards.PAUSE_DIALOG))


async def test_forged_button_of_who_may_not_decide_is_refused_in_a_direct_message(bot: World) -> None:
    bot.together.add()
    await card(bot)
    view = await opened(bot)
    (row, button) = next(
        (row, element)
        for row in view["blocks"]
        for element in row.get("elements", [])
        if element.get("action_id") == APPROVE
    )
    await opened(bot, "U0CAROL")
    await bot.slack.act_in_home(bot.slack.homes["U0CAROL"], row["block_id"], button, user="U0CAROL", choice="")
    await bot.slack.until(lambda: bot.slack.direct("U0CAROL"))
    assert "Only operators can do this." in bot.slack.direct("U0CAROL")[0].text
    assert bot.together.posts == []


@pytest.mark.parametrize("user", ["U0GONE", "U0PARTNER"])
async def test_stranger_sees_nothing(bot: World, user: str) -> None:
    bot.slack.add_user(user, "somebody", team_id="T0ELSE")
    view = await opened(bot, user)
    assert "Only members of this workspace can do this." in said(view)


async def test_pages_and_filter_by_cluster(bot: World) -> None:
    bot.together.clusters["cluster-2"] = "two"
    await pass_time(bot, 700)
    await several(bot, home.PER_PAGE + 3)
    other = bot.together.add(("cluster-2", "i-x", "r-x"), instance_name="gpu-node-x")
    await card(bot, other)
    view = await opened(bot)
    assert f"Waiting for approval: {home.PER_PAGE + 4}" in said(view)
    assert "Page 1 of 2" in said(view)
    assert said(view).count(home.OPEN) == home.PER_PAGE
    await bot.slack.press_home(home.NEXT)
    view = await shown(bot, version=view["version"] + 1)
    assert "Page 2 of 2" in said(view)
    assert said(view).count(home.OPEN) == 4
    assert CANCEL not in said(view)
    await bot.slack.press_home(home.OPEN, about="gpu-node-x")
    view = await shown(bot, version=view["version"] + 1)
    assert said(view).count(CANCEL) == 1
    await bot.slack.press_home(CANCEL, about="r-x")
    await card(bot, other, words="Cancelled")
    view = await shown(bot, version=view["version"] + 1)
    assert "Page 2 of 2" in said(view)
    await bot.slack.press_home(home.CLUSTER, choice="cluster-1")
    view = await shown(bot, version=view["version"] + 1)
    assert "Remediations in cluster-1" in said(view)
    assert "gpu-node-x" not in said(view).partition("Your last decisions")[0]
    await bot.slack.press_home(home.CLUSTER, choice="*")
    view = await shown(bot, version=view["version"] + 1)
    assert "Remediations in" not in said(view)


async def test_pause_and_resume(bot: World) -> None:
    bot.together.add()
    await card(bot)
    await opened(bot)
    await bot.slack.press_home(cards.PAUSE_DIALOG)
    await submit_pause(bot)
    paused = "Approvals are paused in all clusters until"
    await bot.slack.until(lambda: paused in said(bot.slack.homes["U0ALICE"]))
    await bot.slack.press_home(APPROVE)
    await bot.slack.until(lambda: len(bot.slack.direct("U0ALICE")) > 1)
    assert "paused approvals until" in bot.slack.direct("U0ALICE")[1].text
    bot.slack.views.clear()
    await bot.slack.press_home(cards.RESUME_DIALOG)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.submit(view)  # one's own is ticked
    await bot.slack.until(lambda: paused not in said(bot.slack.homes["U0ALICE"]))


async def test_pause_from_home_is_ended_where_its_answer_is() -> None:
    async with watching(BOT_CHANNELS="C0OPS") as bot:
        bot.together.add()
        alert = await card(bot)
        await opened(bot)
        await bot.slack.press_home(cards.PAUSE_DIALOG)
        await submit_pause(bot)
        (told,) = await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
        await until(bot, lambda: "Approvals are paused" in alert.text)
        await resume(bot, told)
        await until(bot, lambda: "paused" not in alert.text)
        await bot.slack.until(lambda: len(bot.slack.direct("U0ALICE")) == 2)
        assert "paused" not in said(bot.slack.homes["U0ALICE"])
        noted = select(tables.audit.c.channel_id).where(tables.audit.c.event.in_(["paused", "resumed"]))
        assert await execute_beside(bot, noted) == [{"channel_id": "C0OPS"}] * 2


async def test_menu_holds_and_opens_dialogs(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    view = await opened(bot)
    await bot.slack.press_home("remediation:hold", choice="3600")
    view = await shown(bot, version=view["version"] + 1)
    assert "On hold: reboot gpu-node-7" in said(view)
    await bot.slack.press_home(cards.MORE, choice=cards.REJECT)
    await bot.slack.until(lambda: bot.slack.views)
    await bot.slack.submit(bot.slack.views[0], reason="false alarm")
    await card(bot, words="Rejected by <@U0ALICE>")
    await until(bot, lambda: "Nothing is waiting" in said(bot.slack.homes["U0ALICE"]))
    assert "reject" in said(bot.slack.homes["U0ALICE"])


async def test_what_cannot_be_read_again_after_a_decision_offers_nothing_to_decide(bot: World) -> None:
    bot.together.add()
    await card(bot)
    view = await opened(bot)
    with bot.together.paused("approve"):
        await bot.slack.press_home(APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        bot.together.faults.append(Fault("cut", verb="get", times=50))
    view = await shown(bot, version=view["version"] + 1)
    assert "Somebody has decided; the result isn't confirmed yet." in said(view)
    assert REFRESH in said(view)
    assert not any(name in said(view) for name in (APPROVE, CANCEL, cards.MORE))


async def test_home_without_the_watch_reads_together_and_answers_in_a_direct_message() -> None:
    async with world() as bot:
        bot.together.clusters["cluster-1"] = "one"
        bot.together.add(instance_name="gpu-node-7")
        view = await opened(bot)
        assert "Approval needed: reboot gpu-node-7" in said(view)
        assert "Failed in" not in said(view)
        await bot.slack.press_home(CANCEL)
        await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
        assert "Cancelled by <@U0ALICE>" in bot.slack.direct("U0ALICE")[0].text
        view = await shown(bot, version=view["version"] + 1)
        assert "Nothing is waiting for approval" in said(view)


async def test_cluster_that_cannot_be_read_is_named() -> None:
    async with world() as bot:
        bot.together.clusters["cluster-1"] = "one"
        bot.together.faults.append(Fault("html", verb="list", status=500, times=50))
        view = await opened(bot)
        assert "Couldn't read cluster-1 from Together, so some may be missing or out of date." in said(view)


async def test_messages_tab_and_refused_views_do_no_harm(bot: World) -> None:
    assert (await bot.slack.open_home(tab="messages")).status == 200
    assert bot.slack.homes == {}
    bot.slack.faults.append(SlackFault("views.publish", "internal_error", times=2))
    await bot.slack.open_home()
    await bot.slack.until(lambda: [method for method, _ in bot.slack.calls].count("views.publish") == 2)
    assert "Nothing is waiting for approval" in said(await opened(bot))


def waits(cluster_id: str, node: str = "gpu-node-7") -> Remediation:
    return remediation(id=f"r-{cluster_id}", cluster_id=cluster_id, instance_name=node, state="PENDING_APPROVAL")


async def test_choices_of_clusters_and_nodes_are_narrowed_by_what_is_typed() -> None:
    def values(found: list[Remediation], query: str) -> list[str]:
        return [option["value"].partition(" ")[0] for option in home.options(found, query, ClusterNames())]

    assert values([waits("a-1"), waits("b-2")], "") == ["*", "a-1", "b-2", "node", "node"]
    assert values([waits("a-1"), waits("b-2"), waits("b" * 100)], "B-2") == ["b-2", "node"]
    assert values([waits("a-1", "gpu-node-7"), waits("a-1", "gpu-node-8")], "NODE-8") == ["node"]
    assert len(home.options([waits(f"c-{n}") for n in range(1000)], "c-", ClusterNames())) == 100
    async with watching() as bot:
        bot.together.add()
        await card(bot)
        await opened(bot)
        assert [each["value"] for each in await bot.slack.ask_in_home(home.CLUSTER)][:2] == ["*", "cluster-1"]


async def test_node_is_found_by_its_name_and_decided_on_alone(bot: World) -> None:
    await several(bot, 3)
    view = await opened(bot)
    assert said(view).count(home.OPEN) == 3
    (choice,) = await bot.slack.ask_in_home(home.CLUSTER, "node-1")
    await bot.slack.press_home(home.CLUSTER, choice=choice["value"])
    view = await shown(bot, version=view["version"] + 1)
    assert "3 waiting" in said(view)
    assert "Waiting for approval: 3" in said(view)
    assert [name for name in ("gpu-node-0", "gpu-node-1", "gpu-node-2") if name in said(view)] == ["gpu-node-1"]
    await bot.slack.press_home(CANCEL)
    await until(bot, lambda: bot.together.state(("cluster-1", "i-1", "r-1")) == "CANCELLED")
    view = await shown(bot, version=view["version"] + 1)
    assert said(view).count(home.OPEN) == 2, "what was looked at is over, so all is shown"


async def test_row_shows_its_controls_and_hides_them_again(bot: World) -> None:
    await several(bot, 2)
    view = await opened(bot)
    for count in (1, 0):
        await bot.slack.press_home(home.OPEN, about="gpu-node-1")
        view = await shown(bot, version=view["version"] + 1)
        assert said(view).count(APPROVE) == count


@pytest.mark.bot(BOT_OBSERVE="cluster-1")
async def test_what_is_only_observed_is_offered_neither_for_review_nor_to_be_decided(bot: World) -> None:
    storm(bot, 8)
    await digest(bot)
    home = said(await opened(bot))
    assert review.REVIEW not in home
    assert (home.count('"Show gpu-node-'), "Decide" in home) == (8, False)


async def test_storm_is_reviewed_from_home(bot: World) -> None:
    storm(bot, 8)
    message = await digest(bot)
    await opened(bot)
    await bot.slack.press_home(review.REVIEW)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    assert view["title"]["text"] == "Review 8 repairs"
    await bot.slack.submit(view)
    confirmation = await bot.slack.until(lambda: bot.slack.views[-1] if bot.slack.views[-1] != view else None)
    await bot.slack.submit(confirmation)
    await until(bot, lambda: "8 of 8" in message.everything or "All 8" in message.everything)
    await bot.slack.until(lambda: "Nothing is waiting" in said(bot.slack.homes["U0ALICE"]))


async def test_review_in_a_home_of_which_all_is_decided_is_not_sent_back_to_a_button_that_is_gone(bot: World) -> None:
    ids = storm(bot, 8)
    message = await digest(bot)
    await opened(bot)
    for each in ids:
        bot.together.resolve(each)
    await until(bot, lambda: review.REVIEW not in message.buttons)
    await bot.slack.press_home(review.REVIEW)
    (told,) = await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
    assert told.text == "Nothing here needs a decision any more. Nothing was sent."


def test_odd_metadata_is_all_clusters_from_the_beginning() -> None:
    for odd in ("", "[]", "{}", '{"cluster_id": 1}', '{"cluster_id": "c", "page": "x"}'):
        assert home.Filter.load(odd) == home.Filter()
    looks_at = home.Filter("c", 3, "one", "two")
    assert home.Filter.load(looks_at.dump()) == looks_at
    assert home.Filter.load('{"cluster_id": "c", "page": 3}') == home.Filter("c", 3), "as release 0.1 writes it"
    check_home(home.loading())


async def test_outage_of_together_is_told_and_nothing_is_called_certain(bot: World) -> None:
    bot.together.faults.append(Fault("html", verb="list", status=500, times=-1))
    await poll(bot)
    view = await opened(bot)
    assert "Nothing is waiting, as far as Together could be read" in said(view)
    assert "Couldn't read cluster-1 (H100) from Together, so some may be missing or out of date." in said(view)


async def test_button_drawn_under_other_settings_asks_for_a_reason_first() -> None:
    async with watching() as bot:
        bot.together.add()
        await card(bot)
        await opened(bot)
        for block in bot.slack.homes["U0ALICE"]["blocks"]:
            for element in block.get("elements", []):
                element.pop("confirm", None)  # as with BOT_REASON=always
        await bot.slack.press_home(APPROVE)
        await bot.slack.until(lambda: bot.slack.views)
        assert bot.together.posts == []


async def test_guest_sees_in_home_only_what_the_channels_would_show() -> None:
    async with watching(BOT_CHANNELS="C0OPS") as bot:
        bot.slack.add_user("U0GUEST", "guest", is_restricted=True)
        bot.together.add(instance_name="gpu-node-7")
        await card(bot)
        view = await opened(bot, "U0GUEST")
        assert "Guests can't see what's in other channels." in said(view)
        assert "gpu-node-7" not in said(view)
        assert "gpu-node-7" in said(await opened(bot, "U0CAROL"))
        bot.slack.homes["U0GUEST"] = bot.slack.homes["U0CAROL"]
        assert await bot.slack.ask_in_home(home.CLUSTER, user="U0GUEST") == []
        assert await bot.slack.ask_in_home(home.CLUSTER, user="U0CAROL") != []


async def test_click_in_home_that_came_too_late_is_answered_without_buttons_that_outlive_it() -> None:
    async with world() as bot:
        bot.together.clusters["cluster-1"] = "one"
        bot.together.add(instance_name="gpu-node-7")
        await opened(bot)
        bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
        await bot.slack.press_home(APPROVE)
        await bot.slack.until(lambda: bot.slack.direct("U0ALICE"))
        (told,) = bot.slack.direct("U0ALICE")
        assert "the repair changed from “Reboot” to “Quick reprovision”" in told.everything
        assert set(told.buttons) <= {REFRESH}
        assert bot.together.posts == []


@pytest.mark.bot(watching=True)
async def test_home_and_list_show_repairs_that_did_not_help(bot: World) -> None:
    fault = [{"alert_name": "DmesgXidError", "annotation": {"title": "GPU has fallen off the bus"}}]
    bot.together.add(instance_name="gpu-node-7", linked_alerts=fault)
    await card(bot)
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": bot.together._time()}
    await card(bot, words="Rebooted")
    await poll(bot)
    again = bot.together.add(
        ("cluster-1", "instance-1", "remediation-2"), instance_name="gpu-node-7", linked_alerts=fault
    )
    await card(bot, again)
    view = said(await opened(bot))
    assert "Didn't help, last 24 h: 1" in view
    assert "GPU has fallen off the bus came back after " in view
    await bot.slack.command("list")
    listed = (await bot.reply_privately()).text
    assert "Didn't help, last 24 h: 1." in listed
    assert "GPU has fallen off the bus came back after " in listed


async def test_shift_is_summed_up_for_who_asks_in_their_home(bot: World) -> None:
    bot.together.add()
    await card(bot)
    await opened(bot)
    await bot.slack.press_home("shift:tonight")
    told = await bot.slack.until(
        lambda: [message.text for message in bot.slack.messages if message.text.startswith("Since <")]
    )
    assert "1 new remediation." in told[0]
    (message,) = [message for message in bot.slack.messages if message.text == told[0]]
    assert message.channel.startswith("D")


@pytest.mark.bot(BOT_ALERT_CHANNEL="")
async def test_home_of_a_bot_that_does_not_watch_offers_no_shift(bot: World) -> None:
    assert "shift:tonight" not in str(await opened(bot))


@pytest.mark.bot(BOT_TWO_PEOPLE_MODES="REBOOT_VM", BOT_ONCALL="S0ONCALL", BOT_REMIND_MINUTES="0")
async def test_first_approval_of_a_node_of_a_storm_calls_on_call(bot: World) -> None:
    await began(bot)
    storm(bot, 6)
    message = await digest(bot)
    await opened(bot)
    await bot.slack.press_home(home.OPEN, about="gpu-node-0000")
    await bot.slack.until(lambda: APPROVE in said(bot.slack.homes["U0ALICE"]))
    assert LOOKING not in said(bot.slack.homes["U0ALICE"])  # that is for the message about all of them
    await bot.slack.press_home(APPROVE)
    told = "gpu-node-0000: 1 of 2 approvals for Reboot, by <@U0ALICE>. Someone else must approve too."
    await until(bot, lambda: f"{told} <!subteam^S0ONCALL>" in thread(bot, message))


@pytest.mark.parametrize("kind", ["ratelimited", "internal_error"])
async def test_home_is_drawn_though_slack_is_busy_for_a_moment(bot: World, kind: str) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    bot.slack.faults.append(SlackFault("views.publish", kind, times=3, retry_after=1))
    await bot.slack.open_home()
    await bot.slack.until(lambda: "gpu-node-7" in said(bot.slack.homes.get("U0ALICE", {"blocks": []})))
    bot.slack.faults.append(SlackFault("views.publish", kind, times=1, retry_after=1))
    await bot.slack.press_home(APPROVE)
    await bot.slack.until(lambda: APPROVE not in said(bot.slack.homes["U0ALICE"]))


async def test_home_stays_at_what_somebody_looks_at_with_two_processes(postgresql: str) -> None:
    async with watching(database=postgresql) as bot:
        bot.together.clusters["cluster-2"] = "cluster-2"
        await began(bot)
        storm(bot, 2)
        (other, *_) = storm(bot, 2, cluster="cluster-2")
        await card(bot, other)
        await opened(bot)
        await bot.slack.press_home(home.CLUSTER, choice="cluster-2")
        await bot.slack.until(lambda: "Remediations in cluster-2" in said(bot.slack.homes["U0ALICE"]))
        await bot.slack.press_home(home.OPEN, about="gpu-node-0000")
        await bot.slack.until(lambda: CANCEL in said(bot.slack.homes["U0ALICE"]))
        version = bot.slack.homes["U0ALICE"]["version"]
        async with bot.another():  # Slack sends to it from now on
            await bot.slack.press_home(CANCEL)
            assert "Remediations in cluster-2" in said(await shown(bot, version=version + 1))


async def test_home_that_slack_takes_late_shows_what_is_there_then_and_keeps_no_decision_out(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    other = bot.together.add(("cluster-1", "i-8", "r-8"), instance_name="gpu-node-8")
    alert, second = await card(bot), await card(bot, other)
    await opened(bot)
    bot.time.passing = ON_THE_WAY - {WaitReason.SLACK_LIMIT}
    bot.slack.faults.append(SlackFault("views.publish", "ratelimited", retry_after=20))
    for _ in range(25):
        await bot.slack.press_home(home.UPDATE)
    await bot.time.until_sleeping(WaitReason.SLACK_LIMIT)
    for message in (alert, second):
        await bot.slack.press(message, APPROVE)
        await until(bot, lambda message=message: "Approved by <@U0ALICE>" in message.text)  # type: ignore[misc] # a default
    await bot.time.end_pause(WaitReason.SLACK_LIMIT)
    await bot.slack.until(lambda: "Nothing is waiting for approval" in said(bot.slack.homes["U0ALICE"]))
    assert APPROVE not in said(bot.slack.homes["U0ALICE"])


async def test_home_that_is_asked_for_at_the_last_attempt_has_all_of_them_again(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    await card(bot)
    view = await opened(bot)
    bot.time.passing = ON_THE_WAY - {WaitReason.SLACK_LIMIT}
    bot.slack.faults.append(SlackFault("views.publish", "internal_error", times=len(AGAIN) + 1))
    await bot.slack.press_home(home.UPDATE)
    for _ in AGAIN[:-1]:
        await bot.time.end_pause(WaitReason.SLACK_LIMIT)
    await bot.time.until_sleeping(WaitReason.SLACK_LIMIT)
    await bot.slack.press_home(home.UPDATE)
    await bot.time.end_pause(WaitReason.SLACK_LIMIT)
    await shown(bot, version=view["version"] + 1)


@pytest.mark.bot(BOT_AUTOMATIC_REPAIRS="none")
async def test_repairs_that_nobody_is_told_of_run_in_no_home_whether_or_not_anything_waits(bot: World) -> None:
    bot.together.add(("cluster-1", "i-1", "r-1"), "RUNNING", instance_name="silent", trigger=AUTOMATED)
    await pass_time(bot, 700)
    assert "silent" not in said(await opened(bot))
    bot.together.add()
    await card(bot)
    view = await opened(bot)
    assert "1 waiting · 0 in repair" in said(view)
    assert "silent" not in said(view)


@pytest.mark.bot(watching=True, BOT_OPERATORS="*")
async def test_home_of_a_guest_says_who_can_do_what(bot: World) -> None:
    bot.slack.add_user("U0GUEST", "guest", is_restricted=True)
    bot.together.add()
    await card(bot)
    assert "View only. Every full member of this workspace can decide." in said(await opened(bot, "U0GUEST"))


@pytest.mark.parametrize("is_again", [False, True])
async def test_home_shows_what_failed_though_its_id_was_used_again(*, is_again: bool) -> None:
    async with watching() as bot:
        await began(bot)
        bot.together.add(linked_alerts=firing("79"), instance_name="gpu-7")
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        bot.together.fail(IDS, "no host left")
        await card(bot, words="Failed")
        await pass_time(bot, 2400, longest=60)
        if is_again:
            bot.together.add(create_time=moment(bot), linked_alerts=firing("79", moment(bot)), instance_name="gpu-7")
            await card(bot, words="Approve reboot?")
        await bot.slack.open_home()
        await quiet(bot)
        shown = json.dumps(bot.slack.homes["U0ALICE"])
        assert "Failed in the last 24 h: 1" in shown, shown


@pytest.mark.parametrize("ids", [IDS, ("cluster-1", "instance-1", "remediation-2")])
async def test_home_shows_what_came_back_whatever_id_the_next_incident_has(ids: tuple[str, str, str]) -> None:
    async with watching() as bot:
        alert = await repaired(bot)
        await pass_time(bot, 22 * 60)
        bot.together.add(ids, linked_alerts=firing("79", moment(bot)), create_time=moment(bot))
        await until(bot, lambda: "came back" in str(thread(bot, alert)))
        await bot.slack.open_home()
        await quiet(bot)
        shown = json.dumps(bot.slack.homes["U0ALICE"])
        assert "ame back" in shown, shown


async def test_home_shows_a_failure_without_the_optional_times_as_tonight_does() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        bot.together.review(IDS, "approve")
        bot.together.advance(IDS)
        await poll(bot)
        bot.together.fail(IDS, "boom")
        for name in ("end_time", "update_time"):
            bot.together.remediations[IDS].pop(name, None)
        await poll(bot)
        await poll(bot)
        assert "Failed: reboot" in alert.text
        assert "1 failed" in said(await opened(bot))
