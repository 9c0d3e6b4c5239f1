"""Records what Slack sends for every way in, as test data for later releases.

`python -m tests.recording > tests/data/payloads-X.Y.json`, before the release X.Y.
"""

import asyncio
import json
import sys
from typing import Any

from bot import cards
from bot.cards import chooser, home
from handlers.shortcuts import SHORTCUT
from tests.simulator.slack.workspace import BOT_USER, im_of
from tests.watch import card, quiet, watching
from tests.world import CANCEL, IDS, REF, REFRESH, World


async def every_way_in(bot: World) -> None:
    """Use each control once; nothing of it decides, so that each finds the remediation as it was."""
    slack, bot_name = bot.slack, f"<@{BOT_USER}>"
    bot.together.add(instance_name="gpu-node-7")
    alert = await card(bot)
    foreign = bot.alert()
    for text in ("help", "list", "status gpu-node-7", "gpu-node-7", "two words"):
        await slack.command(text)
        await quiet(bot)
    await slack.press(alert, REFRESH, button={**alert.buttons[CANCEL], "action_id": REFRESH})
    await slack.press(foreign, REFRESH)
    await slack.press(alert, "remediation:hold", choice="1800")
    await slack.press(alert, "remediation:hold", choice="3600")
    for choice in (cards.REJECT, cards.OTHER_MODE, cards.COPY_IDS, cards.HISTORY):
        await slack.press(alert, cards.MORE, choice=choice)
        await quiet(bot)
    await slack.use_shortcut(alert, SHORTCUT)
    await quiet(bot)
    dialog = dict(slack.views[-1])
    for menu in (chooser.CLUSTER, chooser.NODE):
        (option, *_) = await slack.ask_in_view(dialog, menu)
        await slack.pick(dialog, menu, option)
    await slack.open_home()
    await quiet(bot)
    await slack.press_home(home.UPDATE)
    await slack.ask_in_home(home.CLUSTER)
    await slack.press_home(cards.PAUSE)
    await quiet(bot)
    await slack.press_home(cards.RESUME)
    for text in (f"{bot_name} help", f"{bot_name} status {REF}", f"{bot_name} cancel {REF}"):
        await slack.say(text, user="U0ALICE")
        await quiet(bot)
    await slack.say("list", user="U0ALICE", channel=im_of("U0ALICE"))
    # What decides: refused, since it isn't what is there any more, so that the order does not matter.
    bot.together.review(IDS, "cancel")
    dialogs = {each["callback_id"]: each for each in slack.views}
    await slack.submit(dialogs[cards.REASON], reason="why")
    await slack.submit(dialogs[cards.OTHER_MODE_DIALOG], reason="why", mode="REMEDIATION_MODE_VM_ONLY")
    await quiet(bot)


async def record() -> list[dict[str, Any]]:
    """Return every payload with its kind."""
    async with watching() as bot:
        await every_way_in(bot)
        return [{"kind": kind, "payload": payload} for kind, payload in bot.slack.delivered]


if __name__ == "__main__":
    json.dump(asyncio.run(record()), sys.stdout, separators=(",", ":"))
