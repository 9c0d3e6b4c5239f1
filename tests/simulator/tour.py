"""The tour: what is typed or pressed, what is in Slack afterward, and whether that is what was promised."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.simulator.render import confirmation, plain, render, render_view
from tests.simulator.slack import Posted, Slack
from tests.simulator.together import Ids, Together

APPROVE, CANCEL = "remediation:approve", "remediation:cancel"
REVIEW = "digest:review"
WATCHED, ALERT_CHANNEL = "cluster-2", "C0OTHER"


def alerts() -> list[dict[str, Any]]:
    """A GPU that fell off the bus two minutes ago."""
    return [
        {
            "alert_name": "DmesgXidError",
            "severity": "PHC_SEVERITY_CRITICAL",
            "started_at": (datetime.now(UTC) - timedelta(minutes=2)).isoformat(),
            "annotation": {
                "title": "GPU has fallen off the bus",
                "xid": {"events": [{"xid_code": "79", "mnemonic": "GPU_FALLEN_OFF_BUS", "count": 3}]},
            },
        }
    ]


class Tour:
    """One walk through the bot, printed as it goes."""

    def __init__(self, slack: Slack, together: Together) -> None:
        self._slack = slack
        self._together = together
        self._number = 0

    async def run(self) -> bool:
        """Walk. Returns whether a step failed."""
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("An engineer cancels a remediation by command", self._cancel),
            ("… mistypes, and is told in private what is missing", self._mistype),
            ("… approves from an alert that another tool posted", self._approve),
            ("The repair escalates before the click: nothing runs unseen", self._escalate),
            ("Someone who isn't an operator presses Approve", self._not_allowed),
            ("A colleague was faster, in the Together console", self._already),
            ("Together's API is down", self._down),
            ("A node breaks: the bot posts it, and keeps the card current until the repair ends", self._follow),
            ("40 nodes break: one message, one selection, each decision on its own", self._storm),
        ]
        failed = False
        for title, step in steps:
            self._number += 1
            print(f"\n{self._number}. {title}\n{'─' * 78}")
            try:
                await step()
            except (AssertionError, TimeoutError) as error:
                failed = True
                print(f"   ✗ FAILED: {error or type(error).__name__}")
            else:
                print("   ✓ OK")
        return failed

    async def _cancel(self) -> None:
        ids = self._new()
        await self._type(f"{' '.join(ids)} rebooted by hand")
        card = await self._next_message()
        expect(self._together.state(ids) == "CANCELLED", "the remediation is cancelled")
        expect("rebooted by hand" in card.everything, "the reason is on the card")

    async def _mistype(self) -> None:
        await self._type("cluster-1 gpu-node-2")
        private = await self._slack.until(lambda: self._slack.visible("U0ALICE"))
        self._show(private[-1], "only alice sees")
        expect("Missing remediation ID." in private[-1].text, "the missing part is named")

    async def _approve(self) -> None:
        ids = self._new()
        alert = await self._alert(ids)
        await self._press(alert, APPROVE)
        expect(self._together.state(ids) == "PENDING", "the remediation is approved")
        expect(list(alert.buttons) == [CANCEL], "only Cancel is left")

    async def _escalate(self) -> None:
        ids = self._new()
        alert = await self._alert(ids)
        self._together.escalate(ids, "REMEDIATION_MODE_HOST_AWARE")
        print("   (Together now suggests to migrate the node to a new host.)")
        await self._press(alert, APPROVE)
        expect(self._together.state(ids) == "PENDING_APPROVAL", "nothing was approved")
        await self._press(alert, APPROVE)
        expect(self._together.state(ids) == "PENDING", "the second look approves what it saw")

    async def _not_allowed(self) -> None:
        ids = self._new()
        alert = await self._alert(ids)
        print("   carol presses [ Approve ]")
        await self._slack.press(alert, APPROVE, user="U0CAROL")
        private = await self._slack.until(lambda: self._slack.visible("U0CAROL"))
        self._show(private[-1], "only carol sees")
        expect(self._together.state(ids) == "PENDING_APPROVAL" and alert.edits == 0, "nothing changed for the others")

    async def _already(self) -> None:
        ids = self._new()
        self._together.review(ids, "reject", "a false alarm")
        await self._type(" ".join(ids))
        card = await self._next_message()
        expect("gpu-node-6: already cancelled" in card.text, "one line says so")

    async def _down(self) -> None:
        ids = self._new()
        await self._together.stop()
        await self._type("/".join(ids))
        error = await self._next_message()
        await self._together.start()
        expect("Nothing was sent" in error.text, "the error says that nothing was sent")
        expect(self._together.state(ids) == "PENDING_APPROVAL", "nothing was changed")

    async def _follow(self) -> None:
        ids = self._break(1)
        print("   (gpu-node-1 of the watched cluster has lost a GPU.)")
        (alert,) = await self._slack.until(lambda: self._slack.cards(ids[2]))
        self._show(alert, "the bot posted in the alert channel")
        await self._press(alert, APPROVE)
        self._together.remediations[ids]["state"] = "RUNNING"
        await self._slack.until(lambda: "Rebooting" in alert.text)
        self._together.advance(ids)
        await self._slack.until(lambda: "Rebooted" in alert.text)
        self._show(alert, "the card is now")
        lines = await self._slack.until(lambda: told if "succeeded" in (told := self._thread(alert)) else None)
        print(f"   its thread:\n{lines}")
        expect(alert.buttons == {}, "no button is left")
        expect(self._slack.cards(ids[2]) == [alert], "there is one alert")

    async def _storm(self) -> None:
        all_of_them = [self._break(number) for number in range(100, 140)]
        print("   (40 nodes of the watched cluster report a fallen GPU at once.)")
        await self._slack.until(lambda: [message for message in self._slack.digests() if "40 nodes" in message.text])
        (message,) = self._slack.digests()
        await self._slack.press(message, REVIEW)
        await self._slack.until(lambda: self._slack.views)
        print("   alice presses [ Review 40… ], leaves all ticked, and chooses “Cancel these instead”")
        await self._slack.submit(self._slack.views[0], **{"review:verb": "cancel"})
        for line in render_view(self._slack.views[-1]).splitlines():
            print(f"   {line}")
        await self._slack.submit(self._slack.views[-1])
        await self._slack.until(lambda: "40 of 40" in message.everything and "Nothing left to decide" in message.text)
        self._show(message, "the channel sees")
        expect({self._together.state(ids) for ids in all_of_them} == {"CANCELLED"}, "all are cancelled")

    def _break(self, number: int) -> Ids:
        return self._together.add(
            (WATCHED, f"i-{number:04d}", f"r-{number:04d}"), instance_name=f"gpu-node-{number}", linked_alerts=alerts()
        )

    def _thread(self, message: Posted) -> str:
        told = [line for reply in self._slack.replies(message) for line in plain(reply.text).splitlines()]
        return "\n".join(f"      | {line}" for line in told)

    def _new(self) -> Ids:
        name = f"gpu-node-{self._number}"
        return self._together.add(
            ("cluster-1", name, f"rem-{self._number}"), instance_name=name, reason="Xid 79", linked_alerts=alerts()
        )

    async def _type(self, text: str) -> None:
        print(f"   alice types: /cancel-remediation {text}")
        self._seen = len(self._slack.visible())
        ack = await self._slack.command(text)
        expect(ack.status == 200, "Slack was told that it arrived")

    async def _next_message(self) -> Posted:
        await self._slack.until(lambda: len(self._slack.visible()) > self._seen)
        message = self._slack.visible()[-1]
        self._show(message, "the channel sees")
        return message

    async def _alert(self, ids: Ids) -> Posted:
        """Post an alert the way the README tells other tools to."""
        remediation = self._together.remediations[ids]
        value = (
            f'{{"cluster_id":"{ids[0]}","instance_id":"{ids[1]}","remediation_id":"{ids[2]}",'
            f'"mode":"{remediation["mode"]}","state":"{remediation["state"]}"}}'
        )
        blocks: list[dict[str, Any]] = [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{ids[1]}* has lost a GPU. Reboot the VM?"}},
            {"type": "actions", "elements": [_button("Approve", APPROVE, value), _button("Cancel", CANCEL, value)]},
        ]
        alert = self._slack.post_as_tool(blocks)
        self._show(alert, "another tool posted")
        return alert

    async def _press(self, message: Posted, action: str) -> None:
        button = message.buttons[action]
        print(f"   alice presses [ {button['text']['text']} ]")
        for line in confirmation(button).splitlines():
            print(f"      | {line}")
        await self._slack.press(message, action)
        await self._slack.until(lambda: message.buttons.get(action) is not button)
        await self._slack.until(lambda: "is approving this" not in message.text)
        self._show(message, "the channel sees")

    @staticmethod
    def _show(message: Posted, who: str) -> None:
        print(f"   {who}:")
        for line in render(message.text, message.blocks).splitlines():
            print(f"   {line}")


def expect(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Stop the step when a promise does not hold."""
    if not holds:
        raise AssertionError(what)


def _button(text: str, action: str, value: str) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": text}, "action_id": action, "value": value}
