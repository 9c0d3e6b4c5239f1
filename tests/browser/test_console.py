"""What a newcomer does on the page of `make demo`, in a real browser, with the unchanged bot behind it."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.page import OpenPage, answer, button, ill_node, menu, newest, write
from tests.simulator.console.scenes import CONDITIONS
from tests.simulator.demo import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_typed_command_becomes_a_card_for_everybody(open_page: OpenPage, running: Stage) -> None:
    alice, bob = await open_page(), await open_page("U0BOB")
    running.scenes.advances = False
    ids = running.together.add(("c-train", "i-0300", "r-0300"), "PENDING", instance_name="gpu-node-300")
    await write(alice, "/cancel-remediation c-train i-0300 r-0300 rebooted by hand & checked")
    for page in (alice, bob):
        await expect(newest(page).get_by_role("link").first).to_have_text("Cancelled: reboot gpu-node-300 🚫")
        await expect(newest(page)).to_contain_text("rebooted by hand & checked")
        await expect(newest(page).locator(".mention").first).to_have_text("@alice")
    assert running.together.state(ids) == "CANCELLED"


async def test_what_is_mistyped_is_said_to_the_person_alone(open_page: OpenPage) -> None:
    alice, bob = await open_page(), await open_page("U0BOB")
    await write(alice, "/cancel-remediation c-train i-0007")
    await expect(newest(alice)).to_contain_text("Only visible to you")
    await expect(newest(alice)).to_contain_text("Missing remediation ID.")
    await write(alice, "/cancel-remediatoin c-train")
    await expect(alice.locator("#typed")).to_contain_text("/cancel-remediatoin is not a valid command")
    await write(alice, "hello @bob & <b>all</b>")
    await expect(newest(bob)).to_contain_text("hello @bob & <b>all</b>")
    await write(alice, "@remediation-bot help")
    await expect(newest(alice)).to_contain_text("Mention the bot, or send it a direct message")
    await expect(newest(alice)).to_contain_text("Only visible to you")
    await expect(alice.get_by_label("Message or command")).to_have_value("")
    assert "Missing remediation" not in await bob.locator("#messages").inner_text()


async def test_approve_confirm_and_see_it_run_and_succeed(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    ids = await ill_node(page, running)
    card = newest(page)
    await button(card, "Approve reboot").click()
    await expect(page.get_by_role("dialog")).to_contain_text("jobs then lose work since their last checkpoint")
    await answer(page, "Go back")
    assert running.together.state(ids) == "PENDING_APPROVAL"
    await button(card, "Approve reboot").click()
    await answer(page, "Approve reboot")
    await expect(card).to_contain_text("Approved by @alice")
    await expect(card).to_have_class(re.compile("flash"))
    for state in ("Rebooting", "Rebooted"):
        await button(page, "Next state").click()
        await expect(card.get_by_role("link").first).to_contain_text(state)
    await expect(card.get_by_role("button")).to_have_text(["↩", "⋮"])
    thread = page.locator("#messages > li").last.locator("details:not(.folded)")
    await thread.locator("> summary").click()
    await expect(thread.locator("article").last).to_contain_text("succeeded")
    await expect(thread.locator("> summary")).to_have_text(re.compile(r"^\d+ replies$"))


async def test_automatic_repair_runs_and_its_fault_comes_back(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    await page.get_by_label("Advance repairs automatically").uncheck()
    await button(page, "Start an automatic repair").click()
    card = newest(page)
    await expect(card.get_by_role("link").first).to_contain_text("Started automatically: reprovision")
    ids = list(running.together.remediations)[-1]
    row = page.locator(f"[data-remediation='{ids[2]}']")
    await button(row, "Hang").click()
    await expect(button(row, "Hang")).to_have_count(0)
    for _ in range(2):
        await button(row, "Next state").click()
    await expect(page.locator("#messages article").filter(has_text="Reprovisioned gpu-node")).to_have_count(1)
    await button(row, "Fault comes back").click()
    await expect(page.locator("#messages article").filter(has_text="Fault came back after")).to_have_count(1)


async def test_switch_that_fails_pauses_approvals_and_alerts_without_a_repair_are_in_the_home(
    open_page: OpenPage, running: Stage
) -> None:
    page = await open_page()
    await button(page, "Fail a switch").click()
    brake = page.locator("#messages article").filter(has_text="Approvals are paused automatically")
    await expect(brake).to_contain_text("64 of 64 nodes broken at once")
    await button(brake, "Resume approvals…").click()
    await page.get_by_role("dialog").get_by_label("Reason").fill("the switch is back")
    await answer(page, "Resume approvals")
    await expect(page.locator("#messages")).to_contain_text("storm brake released by @alice")
    await button(page, "Fire an alert without a repair").click()
    await running.together.until(lambda: running.together.alerts)
    # They are read each minute, and at once when a repair of the same cluster begins: some rounds later, that is done.
    running.scenes.start_automatically()
    listed = sum(call.verb == "list" for call in running.together.calls)
    await running.together.until(lambda: sum(call.verb == "list" for call in running.together.calls) > listed + 20)
    await running.slack.open_home()
    await running.slack.until(lambda: "Faults without a repair: 1" in str(running.slack.homes.get("U0ALICE")))
    await button(page, "Clear those alerts").click()
    await running.together.until(lambda: not running.together.alerts)


async def test_hold_is_shown_to_all(open_page: OpenPage, running: Stage) -> None:
    alice, bob = await open_page(), await open_page("U0BOB")
    await ill_node(alice, running)
    await menu(newest(alice), "Hold").select_option("30 min")
    await expect(newest(bob)).to_contain_text("On hold until")


async def test_key_on_a_closed_menu_opens_it_and_chooses_nothing(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    await ill_node(page, running)
    for key in ("ArrowDown", "3"):
        await menu(newest(page), "Hold").focus()
        await page.keyboard.press(key)
        await page.keyboard.press("Escape")
    await button(newest(page), "I'm looking").click()
    await expect(page.locator("#messages")).to_contain_text("Looking into it")
    await expect(page.locator("#messages")).not_to_contain_text("On hold")


async def test_somebody_who_may_not_decide_is_told_so_alone(open_page: OpenPage, running: Stage) -> None:
    carol, dana = await open_page("U0CAROL"), await open_page("U0DANA")
    ids = await ill_node(carol, running)
    for page, words in ((carol, "Only operators can do this"), (dana, "Only members of this workspace can do this")):
        card = page.locator("#messages article").filter(has_text="Approval needed")
        await button(card, "Cancel remediation").click()
        await answer(page, "Cancel remediation")
        await expect(newest(page)).to_contain_text("Only visible to you")
        await expect(newest(page)).to_contain_text(words)
    await write(dana, "/cancel-remediation c-train i-0007 r-0007")
    await expect(dana.locator("#typed")).to_contain_text("dana is a guest")
    await dana.get_by_role("radio", name="alice").check()
    await expect(dana.locator("#typed")).to_be_empty()
    assert running.together.state(ids) == "PENDING_APPROVAL"
    assert running.together.posts == []


async def test_two_people_at_once_cause_one_call(open_page: OpenPage, running: Stage) -> None:
    alice, bob = await open_page(), await open_page("U0BOB")
    ids = await ill_node(alice, running)
    await expect(newest(bob)).to_contain_text("Approval needed")
    for page in (alice, bob):
        await button(newest(page), "Approve reboot").click()
    with running.together.paused("approve"):
        await answer(alice, "Approve reboot")
        await running.together.until(lambda: running.together.is_waiting("approve"))
        await answer(bob, "Approve reboot")
        await expect(newest(bob)).to_contain_text("Only visible to you")
        await expect(newest(bob)).to_contain_text("@alice is already approving this")
    await expect(newest(alice)).to_contain_text("Approved by @alice")
    assert [call.ids for call in running.together.posts] == [ids]


async def test_a_storm_is_reviewed_with_boxes_and_a_search(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    await page.get_by_label("Advance repairs automatically").uncheck()
    await button(page, "Break 40 nodes").click()
    digest = newest(page)
    await expect(digest.get_by_role("heading")).to_contain_text("40 of 64 nodes of chat-infer")
    await button(digest, "Review 40…").click()
    dialogs = page.get_by_role("dialog")
    every = dialogs.get_by_role("checkbox", name="All 35")
    await expect(every).to_be_checked()
    search = dialogs.get_by_role("combobox")
    await search.fill("node-19")
    await expect(dialogs.get_by_role("option")).to_have_text(["infer-node-19"])
    await dialogs.get_by_role("option").click()
    await search.press("Escape")
    await answer(page, "Next")
    await expect(dialogs).to_contain_text("All 35")  # both all and some: the dialog stays
    await every.uncheck()
    await answer(page, "Next")
    await expect(dialogs.last).to_contain_text("(1 node)")
    await expect(dialogs.last.locator("code")).to_have_text(["infer-node-19", "infer-node-8, 16, 24, 32, 40"])
    await button(dialogs.last, "Go back").click()
    await expect(dialogs).to_have_count(1)
    await expect(every).not_to_be_checked()
    await button(dialogs, "Remove infer-node-19").click()
    await every.check()
    await dialogs.get_by_role("radio", name="Cancel these instead").check()
    with running.together.paused("cancel"):
        await answer(page, "Next")
        await button(dialogs.last, "Cancel 40 remediations").click()
        await expect(digest).to_contain_text("0 cancelled, 40 to go")
    await expect(dialogs).to_have_count(0)
    await expect(digest).to_contain_text("40 of 40 cancelled")
    await expect(digest.get_by_role("heading")).to_contain_text("Nothing left to decide")
    assert len(running.together.posts) == 40
    assert running.slack.refused_for_limits == []


async def test_what_happens_at_together_shows_on_the_card(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    await ill_node(page, running)
    card = newest(page)
    for press, shown in (
        ("Escalate repair", "all local data of the node is deleted"),
        ("Approve in Together", "in Together"),
        ("Next state", "Reprovisioning gpu-node-7"),
        ("Fail", "host did not come back within 20 min"),
    ):
        await button(page, press).click()
        await expect(card).to_contain_text(shown)
    await ill_node(page, running)
    await button(page, "Auto-resolve").click()
    await expect(card.get_by_role("link").first).to_contain_text("recovered on its own")


async def test_a_click_on_what_has_changed_is_answered(open_page: OpenPage, running: Stage) -> None:
    """Two people read the same dialog. When the second one confirms, the button is gone, and the bot says why."""
    alice, bob = await open_page(), await open_page("U0BOB")
    await ill_node(alice, running)
    for page in (alice, bob):
        await button(newest(page), "Approve reboot").click()
    await answer(alice, "Approve reboot")
    await expect(newest(bob)).to_contain_text("Approved by @alice")
    await answer(bob, "Approve reboot")
    await expect(newest(bob)).to_contain_text("Already approved by @alice")
    assert await bob.evaluate("document.activeElement.tagName") == "ARTICLE"
    assert len(running.together.posts) == 1


async def test_a_dialog_opens_in_the_page_that_asked_for_it_alone(open_page: OpenPage, running: Stage) -> None:
    one, other = await open_page(), await open_page()
    running.scenes.break_many()
    await button(newest(one), "Review 40…").click()
    await expect(one.get_by_role("dialog")).to_contain_text("Review 40 repairs")
    # What happens at Together can be tried without closing it.
    await button(one, "Break a node").click()
    await expect(newest(other)).to_contain_text("gpu-node-7")
    await expect(other.get_by_role("dialog")).to_have_count(0)
    await one.keyboard.press("Escape")
    await newest(one).get_by_text("opened").first.click()


async def test_nobody_approves_what_they_have_not_seen(open_page: OpenPage, running: Stage) -> None:
    """The dialog was opened over a reboot; when it is confirmed, the button beneath it offers something else."""
    page = await open_page()
    ids = await ill_node(page, running)
    await button(newest(page), "Approve reboot").click()
    running.scenes.escalate(ids)
    await expect(newest(page)).to_contain_text("Approval needed: reprovision")
    await answer(page, "Approve reboot")
    await expect(newest(page)).to_contain_text("your approval wasn't sent")
    assert running.together.state(ids) == "PENDING_APPROVAL"


async def choose_condition(page: Page, running: Stage, name: str) -> None:
    await page.get_by_role("radio", name=name).check()
    await running.console.until(lambda: running.scenes.condition == name)


TOLD = {
    "down": "Nothing was sent",
    "slow": "Approved by @alice",
    "rate limited": "rate-limiting the bot",
    "drops responses": "Approved by @alice",
    "hangs after decisions": "The approval may have gone through.",
}


@pytest.mark.parametrize(("condition", "words"), TOLD.items(), ids=TOLD)
async def test_every_condition_of_the_api_is_answered_in_words(
    open_page: OpenPage, running: Stage, condition: str, words: str
) -> None:
    assert set(TOLD) | {"healthy"} == set(CONDITIONS)
    page = await open_page()
    await ill_node(page, running)
    card = newest(page)
    await choose_condition(page, running, condition)
    await button(card, "Approve reboot").click()
    await answer(page, "Approve reboot")
    await expect(page.locator("#messages > li").last).to_contain_text(words)
    if condition == "hangs after decisions":
        thread = page.locator("#messages > li").last.locator("details:not(.folded)")
        await expect(button(thread, "Check again")).to_be_visible()
    await choose_condition(page, running, "healthy")
    await expect(card.locator(".said")).to_be_empty()


async def test_the_log_shows_both_ways_and_a_forged_click_refused(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    await ill_node(page, running)
    log = page.locator("#log li:visible")
    await expect(log.filter(has_text="chat.postMessage").first).to_contain_text("bot → Slack 200")
    await menu(newest(page), "Hold").select_option("30 min")
    await expect(log.filter(has_text="block_actions remediation:hold").first).to_contain_text("signature ✓")
    await button(page, "Send a forged click").click()
    await expect(log.filter(has_text="Slack → bot 401").first).to_contain_text("signature ✗")
    await expect(log.filter(has_text="/-/remediations")).to_have_count(0)
    await page.get_by_label("Show polling").check()
    await expect(log.filter(has_text="/-/remediations").first).to_contain_text("API key ✓")
    await log.filter(has_text="chat.postMessage").first.locator("summary").click()
    await expect(page.locator("#log pre:visible")).to_contain_text('"channel": "C0OPS"')
    await expect(page.locator("#log pre:visible")).to_contain_text('"value": "1800"')


async def test_it_can_be_used_by_keyboard_alone(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    await _tab_to(page, "Skip to message box")
    await page.keyboard.press("Enter")
    await page.keyboard.type("typed at once")
    await expect(page.get_by_label("Message or command")).to_have_value("typed at once")
    ids = running.scenes.break_node()
    await expect(button(newest(page), "Approve reboot")).to_be_visible()
    await _tab_to(page, "Approve reboot")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await _focused(page) == "Go back"
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await _tab_to(page, "Approve reboot")
    await page.keyboard.press("Enter")
    await _tab_to(page, "Approve reboot")
    await page.keyboard.press("Enter")
    await expect(newest(page)).to_contain_text("Approved by @alice")
    assert running.together.state(ids) != "PENDING_APPROVAL"
    # The card was drawn again, and the focus is still there.
    assert await page.evaluate("document.activeElement.tagName") == "ARTICLE"
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement !== document.body")


async def _focused(page: Page) -> str:
    return str(await page.evaluate("document.activeElement.textContent"))


async def _tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await _focused(page) == name:
            return
    raise AssertionError(f"{name} is not within reach of the tab key")


async def test_a_reload_shows_the_same_and_the_end_is_said(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    await ill_node(page, running)
    await page.reload()
    await expect(newest(page)).to_contain_text("Approval needed")
    await page.get_by_role("radio", name="bob").check()
    assert page.url.endswith("as=U0BOB")
    await running.console.stop()
    await expect(page.get_by_role("alert")).to_contain_text("The demo has ended")
    assert await page.evaluate(
        "[...document.querySelectorAll('body > *')].every((each) => each.inert || each.id === 'ended')"
    )


async def test_a_node_is_found_chosen_and_cancelled_without_ids(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    ids = await ill_node(page, running)
    await write(page, "/cancel-remediation")
    dialog = page.get_by_role("dialog")
    menu = dialog.get_by_role("combobox", name="Remediation")
    await menu.click()
    await expect(dialog.get_by_role("option")).to_contain_text(["gpu-node-7 · Reboot"])
    await menu.press("Enter")
    await expect(dialog).to_contain_text("Approval needed: reboot gpu-node-7")
    await dialog.get_by_role("textbox", name="Reason").fill("rebooted by hand")
    await button(dialog, "Cancel remediation").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(newest(page)).to_contain_text("gpu-node-7: cancelled by @alice.")
    await expect(page.locator("#messages article").first).to_contain_text("“rebooted by hand”")
    assert running.together.state(ids) == "CANCELLED"


async def test_what_matches_nothing_is_said_in_the_dialog(open_page: OpenPage) -> None:
    page = await open_page()
    await write(page, "/cancel-remediation gpu-node-99")
    await expect(page.get_by_role("dialog")).to_contain_text("No open remediation matches “gpu-node-99”")
    await button(page.get_by_role("dialog"), "Close").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_shortcut_on_a_message_opens_the_dialog_filled_in(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    ids = await ill_node(page, running)
    await button(newest(page), "Message shortcut: Cancel remediation…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Approval needed: reboot gpu-node-7")
    await button(dialog, "Cancel remediation").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(newest(page)).to_contain_text("Cancelled: reboot gpu-node-7")
    assert running.together.state(ids) == "CANCELLED"


async def test_menu_rejects_with_a_comment_and_shows_history(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    ids = await ill_node(page, running)
    card = page.locator("#messages article").first
    await menu(card, "More actions").select_option("Reject with a comment…")
    dialog = page.get_by_role("dialog")
    await button(dialog, "Reject remediation").click()
    await expect(dialog).to_contain_text("Fill in this field, then submit again.")
    await dialog.get_by_role("textbox", name="Reason").fill("false alarm")
    await button(dialog, "Reject remediation").click()
    await expect(dialog).to_have_count(0)
    await expect(card).to_contain_text("Rejected by @alice")
    assert running.together.state(ids) == "CANCELLED"
    await menu(card, "More actions").select_option("Show history")
    await expect(newest(page)).to_contain_text("rejected: “false alarm”")
    await expect(newest(page)).to_contain_text("Only visible to you")
    await menu(card, "More actions").select_option("Copy IDs")
    await expect(newest(page)).to_contain_text(f"/cancel-remediation {' '.join(ids)}")


async def test_another_mode_is_chosen_in_a_dialog(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    ids = await ill_node(page, running)
    card = newest(page)
    await menu(card, "More actions").select_option("Approve another repair…")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("gpu-node-7: Together suggests “Reboot”.")
    await dialog.get_by_role("combobox", name="Repair").select_option("Quick reprovision")
    await dialog.get_by_role("textbox").fill("the host is faulty")
    await button(dialog, "Approve").click()
    await expect(dialog).to_have_count(0)
    await expect(card).to_contain_text("Approved “Quick reprovision” instead of the suggested “Reboot”.")
    assert running.together.remediations[ids]["mode"] == "REMEDIATION_MODE_VM_ONLY"


async def test_home_shows_what_waits_and_decides(open_page: OpenPage, running: Stage) -> None:
    page, carol = await open_page(), await open_page("U0CAROL")
    ids = await ill_node(page, running)
    name = running.together.clusters[ids[0]]
    await button(page, "Home").click()
    home = page.get_by_role("group", name="Home of the app")
    await expect(home).to_contain_text("Waiting for approval: 1")
    await home.get_by_role("combobox", name="Cluster").click()
    await home.get_by_role("option").filter(has_text=re.compile(f"^{name}$")).click()
    await expect(home.get_by_role("heading").first).to_have_text(f"Remediations in {name}")
    await button(home, "Approve reboot").click()
    await answer(page, "Approve reboot")
    await expect(home).to_contain_text("Nothing is waiting for approval")
    await expect(home).to_contain_text("Your last decisions")
    assert running.together.state(ids) == "PENDING"
    await button(carol, "Home").click()
    other = carol.get_by_role("group", name="Home of the app")
    await expect(other).to_contain_text("View only.")
    await expect(other.get_by_role("button")).to_have_text(["×", "Refresh", "Tonight"])
    await page.locator('[data-room="C0OPS"]').click()
    await expect(newest(page)).to_contain_text("gpu-node-7: approved by @alice.")


async def test_mention_in_the_thread_of_an_alert_and_a_direct_message(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    ids = await ill_node(page, running)
    alert = page.locator("#messages > li > article").first
    await button(alert, "Reply in thread").click()
    await expect(page.get_by_label("Message or command")).to_be_focused()
    await write(page, "@remediation-bot cancel")
    thread = page.locator("#messages > li").last.locator("details:not(.folded)")
    answered = thread.locator("article").nth(1)
    await expect(answered).to_contain_text("@alice asked to cancel this.")
    assert running.together.state(ids) == "PENDING_APPROVAL"
    await expect(answered).to_contain_text("Nothing has been sent yet: decide on its card.")
    await expect(button(answered, "Cancel remediation")).to_have_count(0)
    await button(alert, "Cancel remediation").click()
    await answer(page, "Cancel remediation")
    await expect(alert).to_contain_text("Cancelled by @alice")
    await button(page, "Direct message").click()
    await write(page, "list")
    await expect(newest(page)).to_contain_text("Nothing can be cancelled right now")
    await write(page, "status gpu-node-8")  # gpu-node-7 may be shown as cancelled until Together is read again
    await expect(newest(page)).to_contain_text("No open remediation matches “gpu-node-8”")
