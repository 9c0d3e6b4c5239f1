"""One card for each waiting remediation, posted once and kept true to the end."""

import asyncio
import json
import re
from typing import Any

import pytest

from bot.models import FINAL
from bot.store import messages
from tests.deaths import kill_the_watch
from tests.manual_clock import HANGS_AFTER, POLL
from tests.rows import column
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.watch import HOLD, LOOKING, card, pass_time, poll, quiet, thread, until, updates, watching
from tests.world import APPROVE, CANCEL, IDS, OTHER, REFRESH, World

pytestmark = pytest.mark.bot(watching=True)


VM_ONLY = "REMEDIATION_MODE_VM_ONLY"


async def test_waiting_remediation_is_posted_once_with_buttons_and_metadata(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    assert (alert.channel, alert.thread_ts) == ("C0OPS", None)
    assert list(alert.buttons) == [APPROVE, CANCEL, HOLD, LOOKING]
    ids = dict(zip(("cluster_id", "instance_id", "remediation_id"), IDS, strict=True))
    assert alert.metadata == {"event_type": "remediation_alert", "event_payload": ids}
    for _ in range(3):
        await poll(bot)
    assert bot.slack.visible() == [alert]
    assert alert.edits == 0


async def test_decided_card_is_left_alone_until_together_is_read(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    assert bot.app.database
    database = bot.app.database
    assert await database.read(messages.due) == []
    with bot.together.paused("list"):
        await pass_time(bot, 70)
        assert await database.read(messages.due) == []
    await card(bot, words="Approved, queued")


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "QUARANTINING", "SUCCEEDED", "CANCELLED"])
async def test_remediation_that_was_already_started_gets_no_card(bot: World, state: str) -> None:
    bot.together.add(state=state)
    await poll(bot)
    await poll(bot)
    assert bot.slack.cards(IDS[2]) == []
    assert len(bot.slack.visible()) == (0 if state in FINAL else 1)  # what is under way, in one message


async def test_card_follows_every_state_of_a_repair_approved_elsewhere(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 100)
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued")
    assert list(alert.buttons) == [CANCEL]
    told = []
    for seconds, words in ((60, "Cordoning"), (30, "Host cordoned"), (90, "Rebooting"), (660, "Rebooted")):
        await pass_time(bot, seconds)
        bot.together.advance(IDS)
        await card(bot, words=words)
        told.append(words)
    await until(bot, lambda: len(thread(bot, alert)) == 5)
    assert alert.buttons == {}
    lines = thread(bot, alert)
    assert lines[0].startswith("instance-1: Reboot approved by web-user@example.com in Together, ")
    assert lines[3].startswith("instance-1: Reboot started 3 min after approval.")
    assert lines[4].startswith("instance-1: Reboot succeeded 14 min after approval.")
    assert bot.slack.cards(IDS[2]) == [alert]


async def test_finished_card_gets_no_further_calls(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.review(IDS, "cancel")
    alert = await card(bot, words="Cancelled: reboot")
    await until(bot, lambda: thread(bot, alert))
    assert thread(bot, alert)[0].startswith("instance-1: Reboot cancelled in Together after ")
    slack_calls, reads = len(bot.slack.calls), [call.verb for call in bot.together.calls].count("get")
    await pass_time(bot, 7200)
    assert [method for method, _ in bot.slack.calls[slack_calls:] if method.startswith("chat.")] == []
    assert [call.verb for call in bot.together.calls].count("get") == reads


async def test_click_is_answered_on_the_card_with_one_edit(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "Approved by <@U0ALICE>" in alert.text
    await poll(bot)
    await poll(bot)
    assert updates(bot) == 1
    assert thread(bot, alert) == [
        line for line in thread(bot, alert) if line.startswith("instance-1: Reboot approved by <@U0ALICE>")
    ]
    assert len(thread(bot, alert)) == 1
    bot.together.advance(IDS)
    await card(bot, words="Cordoning the host")
    assert "Approved by <@U0ALICE>" in alert.text
    assert updates(bot) == 2


async def test_typed_cancel_is_shown_on_the_card_too(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.command(f"{' '.join(IDS)} rebooted by hand")
    await card(bot, words="Cancelled: reboot")
    assert "Cancelled by <@U0ALICE>" in alert.text
    await until(bot, lambda: thread(bot, alert))
    assert thread(bot, alert)[0].startswith("instance-1: Reboot cancelled by <@U0ALICE>")


async def test_escalated_mode_is_shown_on_the_card_and_in_the_thread(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.escalate(IDS, VM_ONLY)
    await card(bot, words="Approve quick reprovision?")
    assert VM_ONLY in alert.buttons[APPROVE]["value"]
    await until(bot, lambda: thread(bot, alert))
    assert thread(bot, alert) == [
        "instance-1: repair changed from “Reboot” to “Quick reprovision”. Review it before approving."
    ]


async def test_suggestion_that_changed_just_before_its_approval_is_not_called_overridden(bot: World) -> None:
    bot.together.add(instance_name="gpu-7")
    alert = await card(bot)
    bot.together.escalate(IDS, VM_ONLY)
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: "Review it and approve again" in alert.text, 5)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    await poll(bot)
    said = thread(bot, alert)[0]
    assert said == "gpu-7: <@U0ALICE> approved “Quick reprovision”. Before, it was “Reboot”."


async def test_auto_resolved_card_is_never_called_denied(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 290)
    bot.together.resolve(IDS)
    await card(bot, words="recovered on its own")
    await until(bot, lambda: thread(bot, alert))
    assert alert.buttons == {}
    assert thread(bot, alert)[0].startswith("instance-1: resolved on its own after 5 min. The alert cleared.")
    everything = alert.everything + " ".join(thread(bot, alert))
    assert not [word for word in ("denied", "rejected", "cancelled") if word in everything.lower()]


async def test_failure_mentions_the_approver_and_quotes_the_error(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE, user="U0BOB")
    await bot.edited(alert)
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    await pass_time(bot, 600)
    bot.together.fail(IDS, "host <!channel> did not come back")
    await card(bot, words="Failed: reboot")
    failed = await until(bot, lambda: [line for line in thread(bot, alert) if "failed on" in line])
    assert failed[0].startswith("<@U0BOB>, Reboot failed on instance-1 (cluster-1 (H100)), 1")
    assert "“host &lt;!channel&gt; did not come back”" in failed[0]


async def test_failure_mentions_both_approvers() -> None:
    async with watching(BOT_TWO_PEOPLE_MODES="REBOOT_VM") as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        await bot.slack.press(alert, APPROVE, user="U0BOB")
        await bot.edited(alert, 2)
        bot.together.remediations[IDS]["state"] = "RUNNING"
        await card(bot, words="Rebooting")
        bot.together.fail(IDS, "no host left")
        await until(bot, lambda: [reply for reply in bot.slack.replies(alert) if "failed on" in reply.text])
        told = bot.slack.replies(alert)[-1].text
        assert "<@U0ALICE> and <@U0BOB>, Reboot failed on instance-1" in told


async def test_late_approval_is_still_credited_to_the_person(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "your approval hadn't taken effect" in alert.text
    bot.together.review(IDS, "approve", bot.together.posts[-1].body["comment"], by="owner-of-the-key@example.com")
    await card(bot, words="Approved by <@U0ALICE>")
    lines = await until(bot, lambda: bot.slack.replies(alert))
    assert lines[0].text.startswith("instance-1: Reboot approved by <@U0ALICE>")
    bot.together.remediations[IDS]["state"] = "RUNNING"
    await card(bot, words="Rebooting")
    bot.together.fail(IDS, "no host left")
    await until(
        bot, lambda: [reply for reply in bot.slack.replies(alert) if "<@U0ALICE>, Reboot failed on" in reply.text]
    )


async def test_notice_stays_on_the_card_until_something_changes(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.escalate(IDS, VM_ONLY)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert "the repair changed from “Reboot” to “Quick reprovision”." in alert.text
    await poll(bot)
    await poll(bot)
    assert "approval wasn't sent: the repair changed" in alert.text
    bot.together.review(IDS, "approve")
    await card(bot, words="Approved, queued")
    assert "Not approved" not in alert.text


async def test_doubtful_answer_stays_for_a_minute_before_buttons_return(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="approve", code=14))
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    assert list(alert.buttons) == [REFRESH]
    await poll(bot)
    assert list(alert.buttons) == [REFRESH]
    await until(bot, lambda: APPROVE in alert.buttons)
    assert "not in effect" not in alert.text


async def test_reading_from_before_a_decision_does_not_undo_its_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.remediations[IDS]["reason"] = "something else"
    with bot.together.paused("list answered"):
        await until(bot, lambda: bot.together.is_waiting("list answered"))
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
    await quiet(bot)
    assert "Approved by <@U0ALICE>" in alert.text
    assert APPROVE not in alert.buttons


async def test_restored_card_does_not_cover_a_finished_remediation(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    before = alert.buttons
    bot.together.faults.append(Fault("rpc", verb="get", code=13, times=-1))
    with bot.together.paused("get"):
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: "is approving this" in alert.everything, 5)
        bot.together.review(IDS, "cancel")
        await pass_time(bot, 30)
    await until(bot, lambda: list(alert.buttons) == list(before))
    bot.together.faults.clear()
    await card(bot, words="Cancelled: reboot")
    assert alert.buttons == {}


async def test_progress_whose_answer_was_lost_is_replaced() -> None:
    async with watching(BOT_MAX_IN_REPAIR="1") as bot:
        bot.together.add(("cluster-1", "busy", "busy"), "RUNNING")
        bot.together.add()
        alert = await card(bot)
        with bot.together.paused("list"):
            await bot.slack.press(alert, APPROVE)
            bot.slack.faults.append(SlackFault("chat.update", "drop", after=True))
            await until(bot, lambda: "is approving this" in alert.everything, 5)
        await bot.reply_privately()
        await until(bot, lambda: APPROVE in alert.buttons)


async def test_card_shows_node_history_and_cluster_load(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 32
    ended = {"end_time": "2026-11-23T01:00:00Z", "mode": "REMEDIATION_MODE_REBOOT_VM"}
    old = {"end_time": "2026-11-10T01:00:00Z"}
    bot.together.add(("cluster-1", "instance-1", "r-a"), "SUCCEEDED", **ended)
    bot.together.add(("cluster-1", "instance-1", "r-b"), "FAILED", end_time="2026-11-20T01:00:00Z")
    bot.together.add(("cluster-1", "instance-1", "r-c"), "AUTO_RESOLVED", **ended)
    bot.together.add(("cluster-1", "instance-1", "r-d"), "SUCCEEDED", **old)
    for number in range(3):
        bot.together.add(("cluster-1", f"instance-{number + 5}", f"r-{number}"), "RUNNING")
    bot.together.add()
    alert = await card(bot)
    assert "3rd repair in 7 days" in alert.everything
    assert "Last repair: reboot, succeeded <!date^1795395600^{ago}|" in alert.text
    assert "<!date^1795395600^{ago}|" in json.dumps(alert.blocks[-1])
    assert "3 of 32 nodes in repair" in alert.everything
    assert "opened <!date^" in alert.everything
    lists = [call for call in bot.together.calls if call.verb == "list" and call.instance == "instance-1"]
    assert len(lists) == 1
    await pass_time(bot, 1190)
    assert len([call for call in bot.together.calls if call.verb == "clusters"]) == 2
    assert [call for call in bot.together.calls if call.verb == "cluster"] == []


def xid(*codes: str) -> list[dict[str, Any]]:
    events = [{"xid_code": code} for code in codes]
    return [{"alert_name": "DmesgXidError", "annotation": {"title": "Xid", "xid": {"events": events}}}]


@pytest.mark.parametrize(("before", "ended", "words"), [
    ("79", "2026-11-23T20:00:00Z", "3rd reboot within 24 h for Xid 79. Together's next step: quick reprovision"),
    ("31", "2026-11-23T20:00:00Z", "3rd repair in 7 days"),
    ("79", "2026-11-23T02:00:00Z", "3rd repair in 7 days"),
])  # fmt: skip
async def test_card_says_that_the_same_repair_was_tried_for_the_same_fault(
    bot: World, before: str, ended: str, words: str
) -> None:
    for number in range(2):
        ids = ("cluster-1", "instance-1", f"r-{number}")
        bot.together.add(ids, "SUCCEEDED", end_time=ended, linked_alerts=xid(before))
    bot.together.add(linked_alerts=[{"alert_name": "HostUnreachable"}, *xid("48", "79")])
    alert = await card(bot)
    assert words in alert.everything


async def test_card_is_posted_without_a_history_that_cannot_be_read(bot: World) -> None:
    bot.together.add()
    bot.together.faults.append(Fault("rpc", verb="list", code=13, times=-1, instance="instance-1"))
    alert = await card(bot)
    assert " repair in 7 days" not in alert.everything


async def test_state_that_is_not_text_hides_no_other_remediation(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.add(("cluster-1", "instance-2", "remediation-2"), state={"odd": 1})  # type: ignore[arg-type] # that is the point
    bot.together.review(IDS, "cancel")
    await card(bot, words="Cancelled: reboot")


async def test_items_without_valid_ids_hide_no_other(bot: World) -> None:
    bot.together.add()
    one = bot.together.remediations[IDS]
    bot.together.remediations["cluster-1", "odd", "1"] = {**one, "instance_id": "a b"}
    bot.together.remediations["cluster-1", "odd", "2"] = {**one, "id": "a/b"}
    bot.together.remediations["cluster-1", "odd", "3"] = {**one, "id": None}
    await card(bot)
    assert len(bot.slack.visible()) == 1


async def test_unreadable_item_hides_no_other(bot: World) -> None:
    bot.together.add(OTHER)
    bot.together.add(("cluster-2", "instance-8", "remediation-8"))
    bot.together.remediations["cluster-2", "instance-8", "remediation-8"]["id"] = True
    await card(bot, OTHER)
    assert len(bot.slack.visible()) == 1


@pytest.mark.parametrize("lack", [{"mode": None}, {"trigger": None}, {"mode": {"odd": 1}, "trigger": ["odd"]}])
async def test_what_waits_is_told_of_with_what_can_be_read_of_it(bot: World, lack: dict[str, Any]) -> None:
    bot.together.add(**lack)
    alert = await card(bot)
    assert (APPROVE in alert.buttons) == ("mode" not in lack)
    assert ("Together doesn't say which repair this is" in alert.text) == ("mode" in lack)
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    assert bot.together.state(IDS) == "CANCELLED"


async def test_thread_says_when_together_names_a_repair_that_it_did_not_name(bot: World) -> None:
    bot.together.add(mode=None)
    alert = await card(bot, words="Together doesn't say which repair this is. Approve it there.")
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    await card(bot, words="quick reprovision")
    await quiet(bot)
    assert [line.partition(": ")[2] for line in thread(bot, alert)] == [
        "Together now says which repair this is: “Quick reprovision”. Review it before approving."
    ]


async def test_thread_says_when_together_does_not_name_the_next_repair_of_an_id(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, 600)
    bot.together.add(mode=None)  # the first one ended between two polls
    await card(bot, words="Together doesn't say which repair this is. Approve it there.")
    await quiet(bot)
    assert "instance-1: Together no longer says which repair this is. It was “Reboot”." in thread(bot, alert)


@pytest.mark.bot(watching=True, BOT_TWO_PEOPLE_MODES="REBOOT_VM")
async def test_list_that_leaves_out_the_mode_of_a_known_repair_changes_nothing(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="1 of 2 approvals: <@U0ALICE>")
    mode, bot.together.remediations[IDS]["mode"] = bot.together.remediations[IDS]["mode"], None
    await pass_time(bot, 60)
    bot.together.remediations[IDS]["mode"] = mode
    await pass_time(bot, 60)
    assert "1 of 2 approvals: <@U0ALICE>" in alert.text
    assert not any("repair changed" in line for line in thread(bot, alert))


async def test_answer_that_is_delivered_late_does_not_stay_over_a_newer_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    for method in ("chat.update", "chat.postMessage", "chat.postEphemeral"):
        bot.slack.faults.append(SlackFault(method, "html", times=-1))
    bot.slack.faults.append(SlackFault("response_url", "down", times=-1))
    await bot.slack.press(alert, APPROVE)
    async with asyncio.timeout(HANGS_AFTER):
        while await column(bot, "deliveries") < 1:
            pass
    bot.together.remediations[IDS]["state"] = "RUNNING"
    bot.slack.faults.clear()
    await pass_time(bot, 200)
    assert "Rebooting" in alert.text
    assert await column(bot, "status") == "done"


async def test_clock_that_goes_back_freezes_no_card(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await bot.edited(alert)
    bot.time.set_back += 3600
    bot.together.advance(IDS)
    await card(bot, words="Cordoning the host: reboot")


async def test_alert_with_half_a_character_is_posted() -> None:
    async with watching() as bot:
        bot.together.add(instance_name="gpu\ud83d-node", reason="half \udc00 of an emoji")
        assert "gpu\ufffd-node" in (await card(bot)).text


@pytest.mark.parametrize(
    "before", [{}, {"reviewed_by": "sam", "review_time": "2026-11-23T03:00:00Z", "review_comment": "ok"}]
)
async def test_approved_card_says_when_it_was_last_confirmed(bot: World, before: dict[str, Any]) -> None:
    bot.together.add(**before)  # a review is of the node's last incident
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved, queued")
    bot.together.faults += [Fault("rpc", verb=verb, code=14, times=-1) for verb in ("list", "get")]
    approved_at = int(bot.time.now())
    await pass_time(bot, 600)
    assert "Approved, queued" in alert.text
    assert "Approved by <@U0ALICE>" in alert.text
    assert "Review comment" not in alert.text
    assert f"Last confirmed <!date^{approved_at}^" in alert.text
    assert list(alert.buttons) == [CANCEL]
    bot.together.faults.clear()
    await until(bot, lambda: "Last confirmed" not in alert.text)
    assert "Approved, queued" in alert.text


async def test_list_that_is_not_believed_until_it_is_read_confirms_nothing(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        bot.together.remediations[IDS]["linked_alerts"] = [{"alert_name": "X"}]
        bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
        await pass_time(bot, 40)
    await card(bot, words="Not confirmed")
    answered = bot.time.now()
    bot.together.advance(IDS)
    found = await until(bot, lambda: re.search(r"Last confirmed <!date\^(\d+)", alert.text), 300)
    assert int(found[1]) <= answered


@pytest.mark.parametrize("watched", [30.0, 1800.0])
async def test_next_watch_does_not_call_confirmed_what_it_could_not_read(bot: World, watched: float) -> None:
    bot.together.add()
    alert = await card(bot)
    await pass_time(bot, watched)
    await kill_the_watch(bot)
    stopped = bot.time.now()
    await pass_time(bot, 4 * 3600)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    async with bot.another():
        found = await until(bot, lambda: re.search(r"Last confirmed <!date\^(\d+)", alert.text), 900)
    assert stopped - 120 < int(found[1]) <= stopped


async def test_card_says_when_it_was_read_for_an_answer_though_its_cluster_cannot_be_read(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await pass_time(bot, 900)
    held_at = bot.time.now()

    def confirmed_at() -> int:
        found = re.search(r"Last confirmed <!date\^(\d+)", alert.text)
        return int(found[1]) if found else 0

    assert 0 < confirmed_at() < held_at - 600
    await bot.slack.press(alert, HOLD)
    await until(bot, lambda: "On hold until" in alert.text and confirmed_at() >= int(held_at))
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved, queued")
    assert "Last confirmed" not in alert.text
    await bot.slack.command(f"status {IDS[1]}")
    assert "Last confirmed" not in (await bot.reply_privately()).text


async def test_status_says_of_when_a_load_is_that_nothing_confirms(bot: World) -> None:
    bot.together.add()
    await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await pass_time(bot, 900)
    await bot.slack.command(f"status {IDS[1]}")
    told = (await bot.reply_privately()).text
    assert "0 of 1 node in repair (as of <!date^" in told
    assert "Last confirmed" not in told, "it was just read"


async def test_card_that_waits_follows_how_much_of_the_cluster_is_in_repair(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 64
    bot.together.add()
    alert = await card(bot)
    await until(bot, lambda: "0 of 64 nodes in repair" in alert.text, 700)
    for number in range(32):
        bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"), state="PENDING")
    await until(bot, lambda: "32 of 64 nodes in repair" in alert.text, 180)
    for number in (32, 33):
        bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"))
    bot.together.add(("cluster-1", "i-1", "r-34"))  # this node is in repair
    await until(bot, lambda: "32 of 64 nodes in repair, 2 more waiting" in alert.text, 180)
    assert thread(bot, alert) == []
    edits = alert.edits
    await pass_time(bot, 600, longest=15)
    assert alert.edits == edits


async def test_card_follows_the_load_also_where_an_answer_on_it_was_not_confirmed_when_that_changed(bot: World) -> None:
    bot.together.nodes["cluster-1"] = 64
    bot.together.add()
    alert = await card(bot)
    await until(bot, lambda: "0 of 64 nodes in repair" in alert.text, 700)
    bot.together.remediations[IDS].pop("mode")
    await bot.slack.press(alert, APPROVE)
    await until(bot, lambda: "your approval wasn't sent" in alert.text)
    bot.together.add(("cluster-1", "i-2", "r-2"), state="RUNNING")
    bot.together.faults.append(Fault("rpc", verb="get", code=14, times=-1))
    await pass_time(bot, 2 * POLL)
    bot.together.faults.clear()
    await until(bot, lambda: "1 of 64 nodes in repair" in alert.text, 600)


async def test_card_says_that_its_own_node_is_in_repair(bot: World) -> None:
    bot.together.add()
    await card(bot, words="0 of 1 node in repair")
    bot.together.add((*IDS[:2], "another"), state="RUNNING")
    await card(bot, words="1 of 1 node in repair")


async def test_card_says_what_was_decided_elsewhere_though_together_cannot_be_listed(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
    await bot.slack.command(" ".join(IDS), channel="C0OTHER")
    await until(bot, lambda: bot.together.state(IDS) == "CANCELLED")
    await pass_time(bot, 200)
    assert "Cancelled: reboot" in alert.text
    assert "Cancelled by <@U0ALICE>" in alert.text
    assert alert.buttons == {}


async def test_card_names_its_cluster_as_it_is_called_now(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    bot.together.clusters["cluster-1"] = "train-a"
    await until(bot, lambda: "instance-1 (train-a)" in alert.text, 900)


async def test_mode_that_says_nothing_is_no_mode_to_approve(bot: World) -> None:
    """Protobuf's zero of an enum is the same as none: to approve it would approve what is suggested by then."""
    bot.together.add(mode="REMEDIATION_MODE_UNSPECIFIED")
    alert = await card(bot)
    assert list(alert.buttons) == [CANCEL, HOLD, LOOKING]
    assert "UNSPECIFIED" not in alert.everything
