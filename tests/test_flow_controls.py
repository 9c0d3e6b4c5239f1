"""What a control is about: others may be named on the message, and it may be drawn again while a menu is open."""

import pytest

from bot import cards
from tests.test_flow_chooser import shown_in
from tests.test_flow_shortcuts import used
from tests.watch import HOLD, card, pass_time, thread, until
from tests.world import APPROVE, CANCEL, IDS, World, as_alert

MORE = cards.MORE
OTHER_URL = "https://api.together.xyz/v1/compute/clusters/cluster-1/instances/i-9/remediations/r-9"


async def test_copy_ids_of_the_second_of_two_beneath_another_tools_alert(bot: World) -> None:
    second = ("cluster-1", "instance-2", "remediation-2")
    bot.together.add()
    bot.together.add(second)
    words, *rows = as_alert(bot.together.remediations[IDS])
    alert = bot.slack.post_as_tool([words, *rows, *as_alert(bot.together.remediations[second])[1:]])
    controls = [control for block in alert.blocks for control in block.get("elements", ()) if "value" in control]
    cancel = next(c for c in controls if c["action_id"] == CANCEL and second[2] in c["value"])
    await bot.slack.press(alert, CANCEL, button=cancel)
    await bot.edited(alert)
    assert "Cancelled: reboot instance-2" in alert.everything
    await bot.slack.press(alert, MORE, choice=cards.COPY_IDS)
    told = await bot.reply_privately()
    assert "instance-2" in told.text
    assert "remediation-1" not in told.text


@pytest.mark.bot(watching=True)
async def test_copy_ids_of_a_card_whose_reason_names_another_one(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    bot.slack.views.clear()
    await bot.slack.press(alert, MORE, choice=cards.REJECT)
    view = dict((await bot.slack.until(lambda: bot.slack.views))[0])
    await bot.slack.submit(view, reason=f"same as {OTHER_URL}")
    await card(bot, words="Rejected by <@U0ALICE>")
    await bot.slack.press(alert, MORE, choice=cards.COPY_IDS)
    told = await bot.reply_privately()
    assert "r-9" not in told.text, told.text


@pytest.mark.bot(watching=True)
@pytest.mark.parametrize("control", ["hold", "reject"])
async def test_choice_in_a_menu_that_was_open_while_the_card_was_redrawn(bot: World, control: str) -> None:
    """The payload names the row as it was, and has the message as it is now."""
    bot.together.add(instance_name="gpu-7")
    alert = await card(bot)
    action, choice = (HOLD, "3600") if control == "hold" else (MORE, cards.REJECT)
    seen_row = alert.row_of(action)
    await bot.slack.press(alert, HOLD, choice="1800", user="U0BOB")
    await until(bot, lambda: "by <@U0BOB>" in alert.text)
    payload = bot.slack.click(alert, action, choice=choice)
    assert payload["actions"][0]["block_id"] != seen_row
    payload["actions"][0]["block_id"] = seen_row
    await bot.slack.deliver("interactive", payload)
    await pass_time(bot, 5)
    assert [m.text for m in bot.slack.visible("U0ALICE")] == []


@pytest.mark.bot(watching=True)
async def test_shortcut_on_a_card_that_is_over_offers_no_other_node_that_a_reason_names(bot: World) -> None:
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    other = bot.together.add(("cluster-1", "i-9", "r-9"), instance_name="gpu-node-9")
    await card(bot, other)
    bot.slack.views.clear()
    await bot.slack.press(alert, MORE, choice=cards.REJECT)
    view = dict((await bot.slack.until(lambda: bot.slack.views))[0])
    await bot.slack.submit(view, reason=f"same as {OTHER_URL}")
    await card(bot, words="Rejected by <@U0ALICE>")
    view = await used(bot, alert, "U0BOB")
    said = shown_in(view)
    assert "Too late to cancel: it's already “Cancelled”." in said
    assert "gpu-node-9" not in said


@pytest.mark.bot(watching=True, BOT_OPERATORS="*")
async def test_release_with_eight_holders_releases_what_was_shown_only(bot: World) -> None:
    people = [bot.slack.add_user(f"U0HOLD{n}", f"holder{n}") for n in range(9)]
    bot.together.add()
    alert = await card(bot)
    for user in people[:8]:
        await bot.slack.press(alert, HOLD, choice="1800", user=user)
        await pass_time(bot, 1)
    seen = dict(alert.controls[HOLD])
    await bot.slack.press(alert, HOLD, choice="14400", user=people[8])
    await until(bot, lambda: f"<@{people[8]}>" in alert.text)
    await bot.slack.press(alert, HOLD, choice="release", user=people[0], button=seen)
    await pass_time(bot, 5)
    assert "nothing was released: the hold has changed since you saw it." in alert.text, thread(bot, alert)[-2:]


@pytest.mark.bot(watching=True)
async def test_two_nodes_with_long_names_are_told_apart_before_a_decision(bot: World) -> None:
    pool = "llama-train-prod-us-central-8-gpu-worker-h100-sxm-pool-a-rack"
    texts = []
    for n in (1, 2):
        ids = bot.together.add(("cluster-1", f"i-{n}", f"r-{n}"), instance_name=f"{pool}-{n:02d}")
        alert = await card(bot, ids)
        button = alert.buttons[APPROVE]
        texts.append(button["confirm"]["title"]["text"])
    assert texts[0] != texts[1], texts[0]
