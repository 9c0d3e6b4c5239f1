"""`make cards`: every card, every error and every dialog as a picture in `docs/cards`, drawn by the console's page."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.async_api import FloatRect, Locator, Page, ViewportSize

from bot import cards
from bot.cards import thread
from bot.errors import AmbiguousResponse, MayBeDone, NotAllowed, NotAttempted, NotShown, RequestExpired
from bot.models import (
    Brake,
    CameBack,
    CardContext,
    DecidedBy,
    Fault,
    FaultReport,
    History,
    Message,
    Mode,
    Pause,
    Pauser,
    RepairLimit,
    SeenState,
    State,
    Verb,
    waiting,
)
from tests.browser.chromium import chromium
from tests.manual_clock import START
from tests.samples import (
    ABOUT,
    ALERTS,
    APPROVED,
    BY_STATE,
    CONFIG,
    DIGEST,
    ERRORS,
    PAST,
    REF,
    TWO_CONFIG,
    alerts,
    automatic,
    batch,
    begun,
    decidable,
    digest,
    overview,
    remediation,
    request,
    reviewed,
)
from tests.simulator.console import Console, Scenes
from tests.simulator.console.console import PAGE
from tests.simulator.demo import demo
from tests.simulator.process import ROOT
from tests.simulator.render import plain
from tests.simulator.slack import Channel, Slack
from tests.simulator.together import Together

FOLDER = ROOT / "docs" / "cards"
SOURCES, ICON = FOLDER / "sources.json", ROOT / "docs" / "icon.svg"
DARK = ("alert", "digest", "card-failed", "thread-reminder")  # drawn for both color schemes
ALICE, CHANNEL = "U0ALICE", "C0OPS"
SIZE: ViewportSize = {"width": 1400, "height": 900}
PHONE: ViewportSize = {"width": 400, "height": 2400}  # as wide as a phone, and high enough for all of a message
INDEX = FOLDER / "README.md"
LATER = 240.0  # seconds after a card was posted; that is when the pictures are taken
AFTER = {
    "card-pending_approval": LATER,
    "card-succeeded": 1500.0,
    "card-failed": 1500.0,
    "came-back": 1400.0,
    "stuck": 7200.0,
    "held": 87_000.0,
}  # else ten minutes for such a card
HOME_LATER = 720.0

GROUPS = {"digest": "Digests", "thread-": "Lines in a thread", "error-": "Errors"}


def states() -> Iterator[tuple[str, Message]]:
    """The card in each state."""
    fresh = CardContext(followed=True, share=ABOUT.share, mentioned=ALICE, history=History(0))
    for state, one in BY_STATE.items():
        about = fresh if state is State.PENDING_APPROVAL else CardContext(share=ABOUT.share)
        decided = APPROVED if one.is_reviewed else None
        yield f"card-{state.lower()}", cards.card(one, decided=decided, about=about, config=CONFIG)


def messages() -> Iterator[tuple[str, Message, bool]]:
    """What is drawn: a name, the message, and whether one person alone sees it."""
    yield from ((name, message, False) for name, message in states())
    notice = "Approved, but the repair is now “Quick reprovision”. You approved “Reboot”."
    decided = DecidedBy(Verb.APPROVE, ALICE, START, "the job has checkpointed")
    approved = reviewed(State.PENDING, mode=Mode.VM_ONLY)
    yield "card-decided", cards.card(approved, decided=decided, notice=notice, config=CONFIG), False
    yield "alert", cards.card(remediation(), about=ABOUT, config=TWO_CONFIG), False
    stuck = cards.card(
        begun(State.RUNNING),
        about=CardContext(now=START + 7200),
        config=replace(CONFIG, waits={"*": 0}, stuck_minutes=1),
    )
    yield "stuck", stuck, False
    ended = remediation(state=State.SUCCEEDED, end_time=datetime.fromtimestamp(START, UTC))
    back = CameBack("Xid 79", START + 1320)
    yield "came-back", cards.card(ended, about=CardContext(came_back=back, now=START + 1400), config=CONFIG), False
    yield (
        "held",
        cards.card(ended, about=CardContext(has_lasted=True), config=replace(CONFIG, verify_seconds=86_400)),
        False,
    )
    called = CardContext(is_automatic=True, mentioned=ALICE)
    yield "automatic", cards.card(begun(), about=called, config=replace(CONFIG, waits={"*": 120})), False
    fault = Fault(remediation().linked_alerts[0].model_copy(update={"target_vm": "gpu-node-07"}), START)
    report = FaultReport("llama-train", (fault,), 1, 1)
    yield "unrepaired", cards.faults.unrepaired("c-7f2", report, [fault], ALICE, 0), False
    brake = Brake(14, 13, 64, START, ("Xid 74", 12), peak=14)
    yield "brake", cards.faults.unrepaired("c-7f2", replace(report, brake=brake), [], ALICE, 0), False
    for name, error in ERRORS.items():
        if isinstance(error, AmbiguousResponse):
            continue  # nobody sees one alone: it becomes OutcomeUnknown after a POST, and ReadFailed before one
        is_private = isinstance(error, NotAttempted | NotShown | MayBeDone | RequestExpired)
        of = request(Verb.APPROVE if "approval" in error.sentence else Verb.CANCEL)
        said = cards.private(error) if is_private else cards.failure(error, of, "gpu-node-07")
        yield f"error-{name}", said, is_private
    yield "in-progress-command", cards.in_progress(request(), START), False
    yield (
        "in-progress-click",
        cards.in_progress(request(Verb.APPROVE, cards.card(remediation(), config=CONFIG)), START),
        False,
    )
    yield "usage", cards.usage(), True
    yield "mentions", cards.mentions(), True
    asked = (
        f"<@{ALICE}> asked to approve this. Nothing has been sent yet: to decide, open this app's Home. "
        "This message isn't updated."
    )
    yield "asked-in-a-message", cards.unfollowed(remediation(), ABOUT, TWO_CONFIG, asked), False
    yield "history", cards.history("gpu-node-07", PAST), True
    ended = BY_STATE[State.SUCCEEDED]
    yield "timeline", cards.timeline(ended, CardContext(came_back=CameBack("Xid 79", START + 4000)), PAST), True
    yield "summary", cards.handover.shift(alerts(12), [], [], START - 9 * 3600), False
    yield "copy-ids", cards.copyable(REF), True
    yield "paused", cards.paused("c-7f2", Pause((Pauser("U0BOB", START + 3600, "c-7f2"),))), True
    line = f"gpu-node-07: cancelled by <@{ALICE}>. <https://x.slack.com/|See the card>"
    yield "typed-cancel", cards.line(line), False
    failed = cards.failed(request(Verb.APPROVE), ERRORS["NotReached"], START)
    yield "card-after-error", cards.card(remediation(), about=ABOUT, notice=failed, config=TWO_CONFIG), False
    alert = Message("alert", [{"type": "section", "text": {"type": "mrkdwn", "text": "*gpu-node-07* has lost a GPU."}}])
    yield (
        "another-tools-alert",
        cards.decision_beneath(
            alert, cards.card(reviewed(State.PENDING), decided=APPROVED, is_beneath=True, config=CONFIG), REF
        ),
        False,
    )
    yield "digest", digest(DIGEST, alerts(12), []), False
    yield "digest-automatic", digest(replace(DIGEST, is_started=True), automatic(8), []), False
    yield "digest-running", digest(DIGEST, alerts(12), [batch(3, is_running=True)]), False
    yield "digest-done", digest(DIGEST, alerts(12), [batch(8)]), False
    yield from (("thread-running", _running(), False), ("thread-failed", _failed(), False))
    yield "thread-reminder", thread.reminder(remediation(), ABOUT.share, ALICE, 900), False


def _running() -> Message:
    running = reviewed(State.RUNNING, start_time="2026-11-24T03:08:00Z")
    return cards.listing.message(thread.transition(remediation(), running, APPROVED, START + 1200))


def _failed() -> Message:
    ended = "2026-11-24T03:19:00Z"
    failed = reviewed(State.FAILED, error_message="host did not come back within 20 min", end_time=ended)
    return thread.failure(failed, None, APPROVED, "", START + 1200)


def dialogs() -> Iterator[tuple[str, Message, str]]:
    """The questions before a click counts: a name, the card, and the button to press."""
    for mode in Mode:
        card = cards.card(remediation(mode=mode), config=CONFIG)
        yield f"dialog-approve-{mode.removeprefix('REMEDIATION_MODE_').lower()}", card, Verb.APPROVE.action_id
    yield "dialog-cancel", cards.card(remediation(), config=CONFIG), Verb.CANCEL.action_id


def view() -> dict[str, Any]:
    """The dialog before a selection is carried out."""
    open_ones = waiting(alerts(20))
    called, config = cards.listing.names(open_ones), cards.CardConfig(limit=RepairLimit(nodes=4))
    return cards.review.confirmation(batch(0), decidable(open_ones, {}, ABOUT.share), called, config)


def review() -> dict[str, Any]:
    """The dialog that reviews a digest."""
    open_ones, config = waiting(alerts(40)), cards.CardConfig(limit=RepairLimit(nodes=4))
    return cards.review.dialog(
        cards.review.Review(DIGEST.id, "C0OPS"), decidable(open_ones, {}, ABOUT.share, 16), config
    )


def reason() -> dict[str, Any]:
    """The dialog that asks for a reason."""
    asked = replace(request(Verb.CANCEL), shown=SeenState(Mode.REBOOT_VM, State.PENDING_APPROVAL))
    return cards.reason_dialog(asked, "gpu-node-07")


def other_mode() -> dict[str, Any]:
    """The dialog that approves another mode than the suggested one."""
    asked = replace(request(Verb.APPROVE), shown=SeenState(Mode.HOST_AWARE, State.PENDING_APPROVAL))
    return cards.reason_dialog(asked, "gpu-node-07", cards.CardConfig().other_modes(Mode.HOST_AWARE))


def views() -> dict[str, dict[str, Any]]:
    """The dialogs by name."""
    hold = cards.hold_dialog(request(Verb.HOLD), "gpu-node-07")
    return {
        "digest-review": review(), "digest-dialog": view(), "reason-dialog": reason(),
        "other-mode-dialog": other_mode(), "hold-dialog": hold,
    }  # fmt: skip


def homes() -> dict[str, dict[str, Any]]:
    """The app's home by name: of an operator, and of somebody who isn't allowed to decide."""
    refused = ERRORS["NotAllowed"]
    assert isinstance(refused, NotAllowed)
    one = overview()
    modes = (Mode.REBOOT_VM, Mode.HOST_AWARE, Mode.VM_ONLY)
    more = [
        remediation(
            id=f"r-{number}", instance_name=f"gpu-node-{number}", mode=modes[number % 3], linked_alerts=ALERTS[:1]
        )
        for number in range(12, 20)
    ]
    about = {remediation.ref: CardContext(share=ABOUT.share) for remediation in more} | dict(one.about)
    waiting = [*one.waiting, *more]
    ten = overview(waiting=waiting, count=10, about=about, digests=[(DIGEST.id, 8, "c-7f2")])
    shown = {
        "home": (ten, cards.home.Filter()),
        "home-opened": (one, cards.home.Filter(opened=one.waiting[0].ref.key)),
        "home-without-buttons": (overview(refused=refused, mine=[]), cards.home.Filter()),
    }
    return {name: cards.home.home(*item, TWO_CONFIG, START + HOME_LATER) for name, item in shown.items()}


def index() -> str:
    """The pictures with what a push notification says of each."""
    about = "Drawn 400 px wide by `make cards`. *Push* is what a phone's lock screen shows."
    groups: dict[str, list[str]] = {}
    for name, message, is_private in messages():
        group = next((title for begin, title in GROUPS.items() if name.startswith(begin)), "")
        push = plain(message.text).split("\n")[0]
        group = group or ("For one person alone" if is_private else "Cards and lines")
        groups.setdefault(group, []).extend((f"### {name}", "", f"Push: {push}", "", f"![{name}]({name}.png)", ""))
    for name in [*(name for name, _, _ in dialogs()), *views()]:
        groups.setdefault("Dialogs", []).extend((f"### {name}", "", f"![{name}]({name}.png)", ""))
    for name in DARK:
        groups.setdefault("In the dark", []).extend((f"### dark-{name}", "", f"![{name}](dark-{name}.png)", ""))
    for name in homes():
        groups.setdefault("Home", []).extend((f"### {name}", "", f"![{name}]({name}.png)", ""))
    contents = [f"- [{title}](#{title.lower().replace(' ', '-')})" for title in groups]
    lines = ["# Cards, errors, and dialogs", "", about, "", *contents, ""]
    return "\n".join(lines + [line for title, found in groups.items() for line in (f"## {title}", "", *found)])


def sources() -> dict[str, str]:
    """What each picture was made from, as a hash: pictures that are not of what the code says now can be told."""
    page = "".join(path.read_text("utf-8") for path in sorted(PAGE.iterdir()))
    made = {"console": page}
    made |= {name: json.dumps([message.text, message.blocks]) for name, message, _ in messages()}
    made |= {f"dark-{name}": made[name] for name in DARK} | {"icon": ICON.read_text("utf-8")}
    made |= {name: json.dumps([message.blocks, action]) for name, message, action in dialogs()}
    made |= {name: json.dumps(shown) for name, shown in (views() | homes()).items()}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in made.items()}


async def take(folder: Path) -> None:
    """Take all pictures but the console's: the same messages under the same page give the same pictures."""

    def clock() -> float:
        return START

    async with chromium() as browser, Slack(clock) as slack, Together(clock) as together:
        slack.channels = {CHANNEL: Channel("gpu-oncall")}
        async with Console(slack, together, Scenes(together, clock), set()) as console:
            page = await browser.new_page(viewport=PHONE, timezone_id="UTC", reduced_motion="reduce")
            await page.clock.set_fixed_time(datetime.fromtimestamp(START + LATER, UTC))
            await page.goto(f"{console.url}/?as={ALICE}")
            for name, message, is_private in messages():
                later = AFTER.get(name, 600.0 if name.startswith("card-") else LATER)
                await page.clock.set_fixed_time(datetime.fromtimestamp(START + later, UTC))
                article = await _post(slack, page, message, only_for=ALICE if is_private else None)
                await article.screenshot(path=folder / f"{name}.png")
                if name in DARK:
                    await page.emulate_media(color_scheme="dark")
                    await article.screenshot(path=folder / f"dark-{name}.png")
                    await page.emulate_media(color_scheme="light")
            for name, message, action in dialogs():
                article = await _post(slack, page, message)
                await article.locator(f'[data-key="{action}"]').click()
                await page.get_by_role("dialog").screenshot(path=folder / f"{name}.png")
                await page.keyboard.press("Escape")
            client = await page.evaluate("import('/page/server.js').then((server) => server.client)")
            for name, shown in views().items():
                slack.views.clear()
                slack.open_view(shown, ALICE, client)
                slack.changed()
                await page.get_by_role("heading", name=shown["title"]["text"]).wait_for()
                await page.evaluate("document.activeElement.blur()")  # Slack has no frame around a dialog's words
                await page.get_by_role("dialog").screenshot(path=folder / f"{name}.png")
            slack.views.clear()
            slack.changed()
            await page.clock.set_fixed_time(datetime.fromtimestamp(START + HOME_LATER, UTC))
            await page.locator('[data-room="home"]').click()
            for name, shown in homes().items():
                slack.publish(ALICE, shown)
                home = page.locator("#home")
                await home.get_by_text("Refresh", exact=True).wait_for()
                buttons = sum(
                    json.dumps(shown).count(f'"{action_id}"')
                    for action_id in (Verb.APPROVE.action_id, Verb.CANCEL.action_id, cards.LOOKING)
                )
                await home.locator("[data-key^='remediation:']:not(select)").nth(buttons).wait_for(state="detached")
                whole, last = await home.bounding_box(), await home.get_by_text("Updated at").bounding_box()
                assert whole
                assert last
                clip: FloatRect = {**whole, "height": last["y"] + last["height"] + 12 - whole["y"]}
                await page.screenshot(path=folder / f"{name}.png", clip=clip)
            page = await browser.new_page(viewport={"width": 512, "height": 512})
            await page.goto(ICON.as_uri())
            await page.screenshot(path=folder / "icon.png", omit_background=True)


async def _post(slack: Slack, page: Page, message: Message, only_for: str | None = None) -> Locator:
    posted = slack.add(CHANNEL, {"text": message.text, "blocks": message.blocks}, only_for=only_for)
    article = page.locator(f'article[data-ts="{posted.ts}"]')
    await article.wait_for()
    return article


async def take_console(path: Path) -> None:
    """Take the whole page with the bot at work. Its clocks run, so that no two such pictures are the same."""
    async with chromium() as browser, demo() as running:
        page = await browser.new_page(viewport=SIZE)
        await page.goto(running.console.url)
        running.scenes.begin()
        card = page.locator("#messages > li > article").last
        await card.get_by_role("button", name="Approve reboot", exact=True).click()
        await page.get_by_role("dialog").get_by_role("button", name="Approve reboot").click()
        await card.filter(has_text="Rebooting").wait_for()
        running.scenes.advances = False
        running.scenes.break_node()
        await card.get_by_role("button", name="Approve quick reprovision", exact=True).wait_for()
        await page.screenshot(path=path, animations="disabled")


def main() -> None:
    """Take what is not there as the code says it now, and throw away what is of nothing."""
    made, console = sources(), FOLDER / "console.png"
    known = json.loads(SOURCES.read_text("utf-8")) if SOURCES.exists() else {}
    for picture in FOLDER.glob("*.png"):
        if picture.stem not in made:
            picture.unlink()
    FOLDER.mkdir(parents=True, exist_ok=True)
    is_redrawn = known.get("console") != made["console"]  # the page that all of them are of
    with TemporaryDirectory() as taken:
        asyncio.run(take(Path(taken)))
        for picture in Path(taken).iterdir():  # no two of one message are the same to the last bit
            there, name = FOLDER / picture.name, picture.stem
            if is_redrawn or known.get(name) != made[name] or not there.exists():
                shutil.copy(picture, there)
    if is_redrawn or not console.exists():
        asyncio.run(take_console(console))
    INDEX.write_text(index(), encoding="utf-8")
    SOURCES.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"{len(made)} pictures in {FOLDER.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
