"""Who may do what, from where: asked of the real directory over a simulated Slack."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Collection

import pytest

from bot.decisions.preconditions import body_to_send
from bot.errors import NotAllowed
from bot.models import Actor, Job, Person, RemediationRef, ReplyTarget, Request, State, Verb
from bot.policy import Policy
from handlers.client import SlackClient
from handlers.directory import FAILED_SECONDS, FRESH_SECONDS, PATIENCE_SECONDS, USABLE_SECONDS, SlackDirectory
from tests.manual_clock import ManualClock
from tests.samples import reviewed
from tests.simulator.slack import Slack, SlackFault
from tests.simulator.slack.workspace import BOT_TOKEN, TEAM
from tests.simulator.together import Fault
from tests.watch import card, until, watching
from tests.world import APPROVE, CANCEL, IDS, REF, REFRESH, world


@pytest.fixture
async def slack(time: ManualClock) -> AsyncIterator[Slack]:
    async with Slack(time.now) as workspace:
        workspace.groups["S0ONCALL"] = ["U0ALICE", "U0GUEST", "U0ROBOT", "U0LEFT", "U0PARTNER", "U0STRANGER"]
        workspace.add_user("U0GUEST", "guest", is_restricted=True)
        workspace.add_user("U0SINGLE", "single-channel guest", is_ultra_restricted=True)
        workspace.add_user("U0ROBOT", "robot", is_bot=True)
        workspace.add_user("USLACKBOT", "slackbot")
        workspace.add_user("U0LEFT", "left", deleted=True)
        workspace.add_user("U0PARTNER", "partner", team_id="T0PARTNER")
        workspace.add_user("U0STRANGER", "stranger", is_stranger=True)
        yield workspace


def policy_for(slack: Slack, time: ManualClock, *operators: str, channels: Collection[str] = ()) -> Policy:
    client = SlackClient(BOT_TOKEN, base_url=slack.api_url)
    client.proxy = None
    return Policy(operators, channels, TEAM, SlackDirectory(client, time.clock), lambda _: False)


def clicker(user: str, team: str | None = TEAM, home: str | None = TEAM) -> Actor:
    return Actor(user, user.lower(), team, home_team_id=home)


def typist(user: str) -> Actor:
    return Actor(user, user.lower(), TEAM, is_member=True)


async def allowed(policy: Policy, actor: Actor, channel: str | None = "C0OPS", verb: Verb = Verb.APPROVE) -> bool:
    try:
        await policy.authorize(verb, actor, channel)
    except NotAllowed:
        return False
    return True


@pytest.mark.parametrize("actor", [clicker, typist])
async def test_listed_user_must_be_a_full_member_too(
    slack: Slack, time: ManualClock, actor: Callable[[str], Actor]
) -> None:
    nobody = ("U0GUEST", "U0SINGLE", "U0ROBOT", "USLACKBOT", "U0LEFT", "U0PARTNER", "U0STRANGER", "U0UNKNOWN")
    policy = policy_for(slack, time, "U0ALICE", *nobody)
    assert await allowed(policy, actor("U0ALICE"))
    for user in nobody:
        assert not await allowed(policy, actor(user)), user


@pytest.mark.parametrize("operators", [("*",), ("S0ONCALL",)])
@pytest.mark.parametrize("actor", [clicker, typist])
async def test_groups_and_everybody_are_full_members_of_this_workspace_only(
    slack: Slack, time: ManualClock, operators: tuple[str, ...], actor: Callable[[str], Actor]
) -> None:
    policy = policy_for(slack, time, *operators)
    assert await allowed(policy, actor("U0ALICE"))
    for user in ("U0GUEST", "U0SINGLE", "U0ROBOT", "USLACKBOT", "U0LEFT", "U0PARTNER", "U0STRANGER", "U0UNKNOWN"):
        assert not await allowed(policy, actor(user)), user


async def test_person_in_no_group_is_refused(slack: Slack, time: ManualClock) -> None:
    assert not await allowed(policy_for(slack, time, "S0ONCALL"), clicker("U0BOB"))


async def test_missing_group_allows_nobody(slack: Slack, time: ManualClock) -> None:
    assert not await allowed(policy_for(slack, time, "S0GONE"), clicker("U0ALICE"))


@pytest.mark.parametrize("actor", [
    clicker("U0ALICE", team="T0OTHER"),
    clicker("U0ALICE", team=None),
    clicker("U0ALICE", home="T0OTHER"),
], ids=["foreign", "organization", "connected"])  # fmt: skip
@pytest.mark.parametrize("verb", [Verb.APPROVE, Verb.REFRESH])
async def test_other_workspaces_are_refused_even_when_listed(
    slack: Slack, time: ManualClock, actor: Actor, verb: Verb
) -> None:
    assert not await allowed(policy_for(slack, time, "U0ALICE", "*"), actor, verb=verb)
    assert slack.calls == []


async def test_bot_acts_only_in_its_channels(slack: Slack, time: ManualClock) -> None:
    policy = policy_for(slack, time, "U0ALICE", channels=frozenset({"C0OPS"}))
    assert await allowed(policy, clicker("U0ALICE"), "C0OPS")
    assert not await allowed(policy, clicker("U0ALICE"), "C0OTHER")
    assert not await allowed(policy, clicker("U0ALICE"), None)
    assert not await allowed(policy, clicker("U0ALICE"), "C0OTHER", Verb.REFRESH)


async def test_refusal_names_a_channel_that_is_set_twice_once(slack: Slack, time: ManualClock) -> None:
    policy = policy_for(slack, time, "U0ALICE", channels=("C0OPS", "C0DEV", "C0OPS"))
    with pytest.raises(NotAllowed) as refused:
        await policy.authorize(Verb.APPROVE, clicker("U0ALICE"), "C0OTHER")
    assert refused.value.next_step == "Use <#C0DEV> or <#C0OPS>."


async def test_answers_are_remembered_for_five_minutes(slack: Slack, time: ManualClock) -> None:
    policy = policy_for(slack, time, "S0ONCALL")
    assert await allowed(policy, clicker("U0ALICE"))
    slack.groups["S0ONCALL"] = []
    await time.advance(FRESH_SECONDS - 1)
    assert await allowed(policy, clicker("U0ALICE"))
    assert len(slack.calls) == 2
    await time.advance(1)
    assert not await allowed(policy, clicker("U0ALICE"))


@pytest.mark.parametrize("kind", ["internal_error", "html", "drop", "missing_scope"])
async def test_last_answer_serves_for_an_hour_then_nobody_may(slack: Slack, time: ManualClock, kind: str) -> None:
    policy = policy_for(slack, time, "S0ONCALL")
    assert await allowed(policy, clicker("U0ALICE"))
    slack.faults.append(SlackFault("*", kind, times=-1))
    await time.advance(USABLE_SECONDS - 1)
    assert await allowed(policy, clicker("U0ALICE"))
    await time.advance(1)
    with pytest.raises(NotAllowed, match="Couldn't check your permissions with Slack"):
        await policy.authorize(Verb.APPROVE, clicker("U0ALICE"), "C0OPS")


async def test_people_who_asked_for_nothing_lately_are_forgotten(slack: Slack, time: ManualClock) -> None:
    policy = policy_for(slack, time, "*")
    for number in range(20):
        assert await allowed(policy, clicker(slack.add_user(f"U0NEW{number}", "one of many")))
    await time.advance(USABLE_SECONDS)
    assert await allowed(policy, clicker("U0ALICE"))
    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, Person) and each.name == "one of many"] == []


async def test_nobody_may_without_any_answer(slack: Slack, time: ManualClock) -> None:
    slack.faults.append(SlackFault("users.info", "internal_error", times=-1))
    assert not await allowed(policy_for(slack, time, "*"), clicker("U0ALICE"))


async def test_another_group_may_still_say_yes(slack: Slack, time: ManualClock) -> None:
    slack.groups["S0LEADS"] = ["U0BOB"]
    slack.faults.append(SlackFault("usergroups.users.list", "internal_error"))
    assert await allowed(policy_for(slack, time, "S0ONCALL", "S0LEADS"), clicker("U0BOB"))


@pytest.mark.parametrize(("operators", "who"), [
    (("*",), "Every full member of this workspace can decide."),
    (("U0BOB", "S0ONCALL"), "Ask <@U0BOB> or <!subteam^S0ONCALL>."),
    (tuple(f"U{number}" for number in range(12)), "<@U9> or 2 more."),
])  # fmt: skip
async def test_refusal_names_who_can(slack: Slack, time: ManualClock, operators: tuple[str, ...], who: str) -> None:
    with pytest.raises(NotAllowed) as refusal:
        await policy_for(slack, time, *operators).authorize(Verb.APPROVE, clicker("U0GUEST"), "C0OPS")
    assert refusal.value.next_step.endswith(who)


async def test_refused_click_is_private_and_leaves_the_message() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE, user="U0CAROL")
        refusal = await bot.reply_privately("U0CAROL")
        assert "Only operators can do this. Nothing changed. Ask <@U0ALICE> or <@U0BOB>." in refusal.text
        assert (alert.edits, bot.together.calls) == (0, [])
        await bot.slack.press(alert, APPROVE)
        await bot.edited(alert)
        assert bot.together.state(IDS) == "PENDING"


async def test_refused_command_calls_nothing() -> None:
    async with world(BOT_CHANNELS="C0OTHER") as bot:
        bot.together.add()
        await bot.slack.command(REF)
        assert "The bot isn't enabled here. Nothing changed. Use <#C0OTHER>." in (await bot.reply_privately()).text
        assert (bot.slack.visible(), bot.together.calls) == ([], [])


async def test_connected_workspace_may_neither_decide_nor_refresh() -> None:
    async with world(BOT_OPERATORS="*") as bot:
        bot.slack.add_user("U0PARTNER", "partner", team_id="T0PARTNER")
        bot.together.add()
        alert = bot.alert()
        for count, action in enumerate((APPROVE, CANCEL, REFRESH), 1):
            await bot.slack.press(alert, action, user="U0PARTNER")
            assert "this workspace" in (await bot.reply_privately("U0PARTNER", count)).text
        assert bot.together.calls == []


async def test_org_wide_payload_is_refused() -> None:
    async with world() as bot:
        bot.together.add()
        alert = bot.alert()
        await bot.slack.press(alert, APPROVE, team=None, enterprise={"id": "E1"}, is_enterprise_install=True)
        assert "different workspace" in (await bot.reply_privately()).text
        assert bot.together.calls == []


async def test_authorization_comes_after_the_ack() -> None:
    async with world(BOT_OPERATORS="S0ONCALL") as bot:
        bot.slack.groups["S0ONCALL"] = ["U0ALICE"]
        bot.together.add()
        with bot.slack.paused("usergroups.users.list"):
            ack = await bot.slack.command(REF)
            assert ack.status == 200
            assert bot.together.calls == []
        assert "Cancelled" in (await bot.answer()).text


async def test_hanging_directory_holds_up_nobody_who_was_known(slack: Slack, time: ManualClock) -> None:
    policy = policy_for(slack, time, "U0ALICE")
    assert await allowed(policy, clicker("U0ALICE"))
    await time.advance(FRESH_SECONDS + 1)
    with slack.paused("users.info"):
        deciding = [asyncio.create_task(allowed(policy, clicker("U0ALICE"))) for _ in range(6)]
        await slack.until(lambda: slack.is_waiting("users.info"))
        await time.advance(PATIENCE_SECONDS)
        assert await asyncio.gather(*deciding) == [True] * 6
    assert len([method for method, _ in slack.calls if method == "users.info"]) == 2


async def test_failed_lookup_is_not_repeated_for_half_a_minute(slack: Slack, time: ManualClock) -> None:
    policy = policy_for(slack, time, "U0ALICE")
    slack.faults.append(SlackFault("users.info", "internal_error", times=-1))
    assert not await allowed(policy, clicker("U0ALICE"))
    slack.faults.clear()
    calls = len(slack.calls)
    await time.advance(FAILED_SECONDS - 1)
    assert not await allowed(policy, clicker("U0ALICE"))
    assert len(slack.calls) == calls
    await time.advance(1)
    assert await allowed(policy, clicker("U0ALICE"))


async def test_takeover_authorizes_again_what_a_dead_process_had_claimed() -> None:
    async with world(drain_seconds=0.05) as bot:
        bot.together.add()
        alert = bot.alert()
        with bot.together.paused("get"):
            await bot.slack.press(alert, APPROVE)
            await bot.together.until(lambda: bot.together.calls)
            await bot.settle()
        bot.slack.users["U0ALICE"]["deleted"] = True
        async with bot.another():
            assert "deactivated users can't do this" in (await bot.reply_privately()).text
        assert bot.together.posts == []


async def test_who_is_told_alone_to_check_again_may_do_so_there() -> None:
    async with watching(BOT_CHANNELS="C0OPS") as bot:
        bot.together.add()
        await card(bot)
        bot.slack.channels["C0OPS"].bot_may_post = False
        await bot.slack.open_home()
        await until(bot, lambda: "instance-1" in str(bot.slack.homes.get("U0ALICE")))
        bot.together.faults.append(Fault("cut", verb="cancel"))
        bot.together.on_call["cancel"] = lambda: bot.together.faults.append(Fault("rpc", verb="get", code=13, times=-1))
        await bot.slack.press_home(CANCEL)
        (told,) = await until(bot, lambda: bot.slack.direct("U0ALICE"))
        assert "Press “Check again” before you decide anything else" in told.text
        bot.together.faults.clear()
        await bot.slack.press(told, REFRESH)
        await until(bot, lambda: "no change yet" in str([each.text for each in bot.slack.direct("U0ALICE")]))


def test_display_name_names_nobody_else_in_togethers_record() -> None:

    actor = Actor("U0ALICE", "alice (U0BOB): on call", "T0HOME")
    request = Request(Verb.REJECT, RemediationRef(*IDS), actor, ReplyTarget("C0OPS", "U0ALICE"))
    comment = body_to_send(Job("1a2b3c4d", request, fence=1, received_at=0.0))["comment"]
    assert reviewed(State.CANCELLED, review_comment=comment).slack_reviewer == "U0ALICE"
