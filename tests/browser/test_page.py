"""The page itself: what it makes of mrkdwn and dates, how it looks and whom it shuts out."""

from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.page import OpenPage, button, ill_node, menu, newest
from tests.manual_clock import START
from tests.simulator.demo import Stage
from tests.simulator.slack import Posted

pytestmark = pytest.mark.asyncio(loop_scope="session")
WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 400, "height": 800}


async def inside(page: Page, module: str, call: str) -> Any:
    """Call a function of one of the page's modules, and return the HTML of what it drew."""
    return await page.evaluate(
        """async ([module, call]) => {
            const found = await import(`/page/${module}.js`);
            const host = document.createElement("div");
            host.append(...[new Function("m", `return m.${call}`)(found)].flat());
            return host.innerHTML;
        }""",
        [module, call],
    )


DRAWN = {
    "*bold* and _italic_ and ~gone~": "<strong>bold</strong> and <em>italic</em> and <s>gone</s>",
    "*bold with <@U0BOB>*": '<strong>bold with <span class="mention">@bob</span></strong>',
    "2*3*4, snake_case_name": "2*3*4, snake_case_name",
    "`*not bold* &lt;b&gt;`": "<code>*not bold* &lt;b&gt;</code>",
    "```a\n*b*```": "<pre>a\n*b*</pre>",
    "&gt; one\n&gt; two\nthree": "<blockquote>one<br>two</blockquote>three",
    "> quoted": "<blockquote>quoted</blockquote>",
    "&amp;lt; &lt;script&gt;": "&amp;lt; &lt;script&gt;",
    "<script>alert(1)</script>": '<a rel="noreferrer">script</a>alert(1)<a rel="noreferrer">/script</a>',
    "<javascript:alert(1)|click>": '<a rel="noreferrer">click</a>',
    "<https://a.example/?b&amp;c|d>": '<a href="https://a.example/?b&amp;c" rel="noreferrer">d</a>',
    "<!subteam^S1|oncall> <!here> <#C1|ops>": (
        '<span class="mention">@oncall</span> <span class="mention">@here</span> <span class="mention">#ops</span>'
    ),
    "\ue000 is nobody's element": "\ufffd is nobody's element",
}


async def test_mrkdwn_is_drawn_as_slack_draws_it(open_page: OpenPage) -> None:
    page = await open_page(bypass_csp=True)
    assert {text: await inside(page, "mrkdwn", f"drawMrkdwn({text!r})") for text in DRAWN} == DRAWN


async def test_moments_are_in_the_viewers_zone_and_words(open_page: OpenPage) -> None:
    page = await open_page(bypass_csp=True, timezone_id="Asia/Tokyo")
    await page.clock.set_fixed_time(datetime.fromtimestamp(int(START) + 3600, UTC))
    for seconds, form, words in (
        (int(START), "{date_short_pretty} at {time}", "today at 12:00 PM"),
        (int(START) - 86_400, "{date_short_pretty} at {time}", "yesterday at 12:00 PM"),
        (int(START) - 40 * 3600, "{date_short_pretty}", "Nov 22, 2026"),
        (int(START), "{ago}", "1 hour ago"),
        (int(START), "{date} {time_secs}", "November 24, 2026 12:00:00 PM"),
        (int(START), "{nonsense}", "{nonsense}"),
    ):
        drawn = await inside(page, "mrkdwn", f'drawMrkdwn("<!date^{seconds}^{form}|03:00 UTC>")')
        assert f">{words}</time>" in drawn
        assert 'title="03:00 UTC"' in drawn


async def test_what_comes_from_outside_is_never_markup(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    nasty = "<img src=x onerror=alert(1)>"
    running.together.add(("c-train", "i-0900", "r-0900"), instance_name=nasty, reason=nasty)
    await expect(newest(page)).to_contain_text(nasty)
    assert await page.locator("article img, article script").count() == 0


async def test_what_the_page_cannot_draw_it_says(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    running.slack.post_as_tool([{"type": "video"}, {"type": "actions", "elements": [{"type": "datepicker"}]}])
    await expect(newest(page)).to_contain_text("This page cannot draw the block “video” yet.")
    await expect(newest(page)).to_contain_text("This page cannot draw the element “datepicker” yet.")


async def everything(open_page: OpenPage, running: Stage, **context: object) -> Page:
    """The page with all that may stand on it: cards, a thread, a private word, a digest, calls."""
    page = await open_page(**context)
    running.scenes.advances = False
    running.scenes.begin()
    await expect(newest(page)).to_contain_text("Approval needed")
    running.scenes.happen("approve elsewhere", list(running.together.remediations)[-1])
    await expect(page.locator("#messages details:not(.folded) > summary")).to_have_text("1 reply")
    running.scenes.break_many()
    await expect(newest(page).get_by_role("heading")).to_contain_text("40 of 64 nodes of chat-infer")
    await running.slack.command("two words")
    await expect(newest(page)).to_contain_text("Only visible to you")
    return page


async def pane(page: Page, name: str) -> None:
    if await button(page, name).is_visible():
        await button(page, name).click()


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
async def test_axe_finds_nothing(open_page: OpenPage, running: Stage, axe: str, size: dict[str, int]) -> None:
    """All rules of axe-core that need no person to judge, contrast by day and at night among them."""
    page = await everything(open_page, running, viewport=size, reduced_motion="reduce")
    await page.evaluate(axe)
    found: list[str] = []

    async def judge(where: str) -> None:
        of_color = "{runOnly: ['color-contrast', 'link-in-text-block']}"  # the other rules would find the same
        for scheme in ("light", "dark"):
            rules = "{}" if scheme == "light" else of_color
            await page.emulate_media(color_scheme=scheme)
            violations, passed = await page.evaluate(f"axe.run({rules}).then((r) => [r.violations, r.passes.length])")
            assert passed > (10 if scheme == "light" else 0)
            found.extend(
                f"{where}, {scheme}: {violation['id']}: {node['html']} {node['failureSummary']}"
                for violation in violations
                for node in violation["nodes"]
            )

    for name in ("Together", "Calls", "Slack"):
        await pane(page, name)
        await judge(name)
    await page.locator("#messages details:not(.folded) > summary").click()
    await button(page.locator("article").filter(has_text="Review 40…"), "Review 40…").click()
    dialogs = page.get_by_role("dialog")
    await dialogs.get_by_role("combobox").click()
    await expect(dialogs.get_by_role("option").first).to_be_visible()
    await judge("an open menu")
    await dialogs.get_by_role("combobox").press("Escape")
    await button(dialogs, "Next").click()
    await expect(dialogs).to_have_count(2)
    await judge("a dialog over another")
    await button(dialogs.last, "Go back").click()
    await button(dialogs, "Close").click()
    running.scenes.break_node()
    await menu(newest(page), "More actions").select_option("Approve another repair…")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await judge("the dialog for another mode")
    await button(page.get_by_role("dialog"), "Go back").click()
    await button(page, "Home").click()
    await expect(page.get_by_role("group", name="Home of the app")).to_contain_text("Waiting for approval: 41")
    await judge("the home")
    await button(page, "Direct message").click()
    await judge("direct messages")
    assert "\n".join(found) == ""


async def test_axe_finds_what_is_wrong(open_page: OpenPage, axe: str) -> None:
    page = await open_page()
    await page.evaluate("document.getElementById('channel-name').style.color = '#eee'")
    await page.evaluate(axe)
    result = await page.evaluate("axe.run({resultTypes: ['violations']})")
    assert "color-contrast" in [violation["id"] for violation in result["violations"]]


async def test_nothing_scrolls_sideways_on_a_phone(open_page: OpenPage, running: Stage) -> None:
    page = await everything(open_page, running, viewport=PHONE)
    running.together.add(("c-train", "i-" + "9" * 190, "r-" + "9" * 190), instance_name="n" * 190, reason="x" * 400)
    await expect(page.locator("article").filter(has_text="9" * 190).first).to_be_attached()
    for name in ("Together", "Calls", "Slack"):
        await pane(page, name)
        assert await wider_than_the_screen(page) == []
    await button(page.locator("article").filter(has_text="Review 40…"), "Review 40…").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await wider_than_the_screen(page) == []


async def test_on_a_phone_the_newest_card_is_in_sight_when_the_channel_is_shown_again(
    open_page: OpenPage, running: Stage
) -> None:
    page = await open_page(viewport=PHONE)
    for _ in range(3):
        ids = running.scenes.break_node()
        await expect(newest(page)).to_contain_text(ids[2])
    await button(page, "Together").click()
    last = running.scenes.break_node()
    await expect(page.get_by_role("button", name="Slack: something new")).to_be_visible()
    await page.get_by_role("button", name="Slack: something new").click()
    await expect(newest(page)).to_contain_text(last[2])
    await expect(newest(page).get_by_role("link").first).to_be_in_viewport()
    await expect(button(newest(page), "Cancel remediation")).to_be_in_viewport()
    await expect(button(page, "Slack")).to_be_visible()


async def wider_than_the_screen(page: Page) -> list[str]:
    """What reaches beyond the right edge, and is not cut by its own scroller."""
    found: list[str] = await page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 0.5)
            .map((each) => each.outerHTML.slice(0, 200))"""
    )
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    return found


async def test_an_edit_flashes_and_a_new_message_does_not(open_page: OpenPage, running: Stage) -> None:
    page = await open_page()
    await ill_node(page, running)
    assert "flash" not in (await newest(page).get_attribute("class") or "")
    card: Posted = running.slack.messages[-1]
    await menu(newest(page), "Hold").select_option("30 min")
    await expect(newest(page)).to_have_class("flash")
    assert card.edits


async def test_other_pages_may_not_act(open_page: OpenPage, running: Stage) -> None:
    """A form of another origin can send text, but no JSON without being asked first."""
    page = await open_page()
    address = f"{running.console.url}/do/scene"
    refused = await page.request.post(
        address, data='{"name":"a node falls ill"}', headers={"Content-Type": "text/plain"}
    )
    assert refused.status == 415
    for path in ("/page/../state.py", "/page/%2e%2e%2fstate.py", "/do/nothing"):
        assert (await page.request.get(f"{running.console.url}{path}")).status in {404, 405}
    assert running.together.remediations == {}
