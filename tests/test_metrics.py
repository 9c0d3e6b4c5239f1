"""`/metrics`: every metric is served, and moves when what it counts happens."""

import json
import re
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select, update

from bot import cards
from bot.models import OPEN
from bot.store.tables import audit, leases
from tests.rows import execute_beside
from tests.simulator.process import ROOT
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault
from tests.sqlite import locked
from tests.storms import began, digest, storm
from tests.watch import HOLD, card, pass_time, pause, poll, quiet, watching
from tests.world import APPROVE, CANCEL, IDS, REF, World, both_transports, settings_for

pytestmark = pytest.mark.bot(watching=True)
SAYING = ("chat.postMessage", "chat.postEphemeral", "chat.update", "response_url")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def metrics(bot: World) -> Samples:
    """What is served now, by name and labels."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{bot.app.port}/metrics") as response,
    ):
        assert response.status == 200
        families = text_string_to_metric_families(await response.text())
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }


class Counted:
    """The difference that something makes."""

    def __init__(self, before: Samples, after: Samples) -> None:
        self._before = before
        self._after = after

    def of(self, name: str, **labels: str) -> float:
        key = f"remediation_bot_{name}", tuple(sorted(labels.items()))
        return self._after[key] - self._before.get(key, 0.0)

    def now(self, name: str, **labels: str) -> float:
        return self._after[f"remediation_bot_{name}", tuple(sorted(labels.items()))]


@both_transports
async def test_decision_is_counted_on_its_whole_way(bot: World, transport: str) -> None:
    before = await metrics(bot)
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    counted = Counted(before, await metrics(bot))
    assert counted.of("acks_total", kind="block_actions", status="200") == 1
    assert counted.of("ack_seconds_count", kind="block_actions") == 1
    assert counted.of("decisions_total", verb="approve", outcome="approved") == 1
    assert counted.of("decision_seconds_count", verb="approve") == 1
    assert counted.of("time_to_decision_seconds_count", verb="approve") == 1
    assert counted.of("together_calls_total", call="approve", status="200") == 1
    assert counted.of("together_calls_total", call="list", status="200") > 0
    assert counted.of("together_seconds_count", call="get") > 0
    assert counted.of("slack_calls_total", method="chat.postMessage", status="ok") == 1
    assert counted.of("slack_seconds_count", method="chat.update") > 0
    assert counted.of("database_seconds_count", kind="write") > 0
    assert counted.of("database_seconds_count", kind="read") > 0
    assert counted.now("ready") == 1
    assert counted.now("database_up") == 1
    assert counted.now("watch_leader") == 1
    if transport == "socket":
        assert counted.now("slack_sockets") == counted.now("slack_app_sockets") == 2


async def test_what_went_wrong_is_counted_by_its_reason(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    before = await metrics(bot)
    bot.together.escalate(IDS, "REMEDIATION_MODE_VM_ONLY")
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="wasn't sent")
    await bot.slack.press(alert, CANCEL, user="U0CAROL")
    await bot.reply_privately("U0CAROL")
    await bot.slack.command("two words")
    await bot.together.until(lambda: True)
    bot.together.faults.append(Fault("html", verb="get", status=503))
    bot.slack.faults.append(SlackFault("chat.update", "internal_error"))
    await bot.slack.press(alert, CANCEL)
    await card(bot, words="Cancelled")
    await bot.slack.post_signed(b"payload={}", x_slack_signature="v0=forged")
    counted = Counted(before, await metrics(bot))
    assert counted.of("decisions_total", verb="approve", outcome="changed") == 1
    assert counted.of("decisions_total", verb="cancel", outcome="not_allowed") == 1
    assert counted.of("refusals_total", reason="unreadable_command") == 1
    assert counted.of("together_calls_total", call="get", status="503") == 1
    assert counted.of("slack_calls_total", method="chat.update", status="internal_error") == 1
    assert counted.of("acks_total", kind="other", status="401") == 1


async def test_database_is_not_asked_for_each_request_of_whoever_asks_for_metrics(bot: World) -> None:
    await quiet(bot)
    before = await metrics(bot)
    for _ in range(50):
        after = await metrics(bot)
    assert Counted(before, after).of("database_seconds_count", kind="read") < 10
    await bot.time.advance(1)
    bot.together.add()
    await card(bot)
    await pass_time(bot, 1)
    assert Counted({}, await metrics(bot)).now("open_alerts", state="PENDING_APPROVAL") == 1


async def test_unreachable_services_are_counted(bot: World) -> None:
    before = await metrics(bot)
    bot.together.add()
    bot.together.faults += [Fault("cut", verb="cancel", times=1)]
    await bot.slack.command(REF)
    await bot.answer()
    assert bot.app.database is not None
    assert Counted(before, await metrics(bot)).of("together_calls_total", call="cancel", status="no answer") == 1


async def test_gauges_say_what_is_open_waits_and_is_not_delivered(bot: World) -> None:
    bot.together.add()
    await card(bot)
    await bot.time.advance(60)
    counted = Counted({}, await metrics(bot))
    assert counted.now("open_alerts", state="PENDING_APPROVAL") == 1
    assert counted.now("oldest_waiting_seconds") >= 60
    assert counted.now("watch_lag_seconds") >= 60
    assert counted.now("undelivered_answers") == 0
    assert counted.now("set_aside") == 0
    bot.slack.faults += [SlackFault(method, "internal_error", times=60) for method in ("*", "response_url")]
    await bot.slack.command(REF)
    await quiet(bot)
    await bot.time.advance(4)
    counted = Counted({}, await metrics(bot))
    assert counted.now("undelivered_answers") == 1
    assert counted.now("undelivered_oldest_seconds") >= 4


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
async def test_result_of_a_pause_that_slack_does_not_take_is_not_delivered(bot: World) -> None:
    await began(bot)
    storm(bot, 8)
    message = await digest(bot)
    bot.slack.faults += [SlackFault(method, "internal_error", times=60) for method in SAYING]
    await pause(bot, message)
    await quiet(bot)
    await bot.time.advance(30)
    counted = Counted({}, await metrics(bot))
    assert counted.now("undelivered_answers") == 1
    assert counted.now("undelivered_oldest_seconds") >= 30
    bot.slack.faults.clear()  # or the end waits for what can't be said
    await bot.time.advance(30)


async def test_gauges_are_there_while_nothing_is_open(bot: World) -> None:
    counted = Counted({}, await metrics(bot))
    assert {counted.now("open_alerts", state=state) for state in OPEN} == {0}
    assert counted.now("watch_interval_seconds") == bot.settings.bot_poll_seconds


async def test_alerts_that_nobody_follows_any_more_are_not_open(bot: World) -> None:
    bot.together.add()
    await card(bot)
    await bot.settle()
    unwatched = settings_for(bot.slack, bot.together, DATABASE_URL=bot.settings.database_url)
    async with bot.another(unwatched) as app:
        await bot.time.advance(7200)
        counted = Counted({}, await metrics(replace(bot, app=app)))
    assert counted.now("oldest_waiting_seconds") == 0
    assert counted.now("open_alerts", state="PENDING_APPROVAL") == 0


async def test_what_is_on_hold_is_not_what_nobody_decides(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.time.advance(60)
    await bot.slack.press(alert, HOLD)
    await card(bot, words="On hold")
    assert Counted({}, await metrics(bot)).now("oldest_waiting_seconds") == 0
    other = bot.together.add(("cluster-1", "instance-2", "remediation-2"))
    await card(bot, other)
    assert Counted({}, await metrics(bot)).now("oldest_waiting_seconds") < 60


@pytest.mark.bot(watching=True, BOT_STUCK_MINUTES="30", BOT_WAIT_MINUTES="*=0")
async def test_repair_that_does_not_end_is_counted_once(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    await bot.slack.press(alert, APPROVE)
    await card(bot, words="Approved")
    before = await metrics(bot)
    await pass_time(bot, 7200)
    assert Counted(before, await metrics(bot)).of("stuck_repairs_total") == 1


@pytest.mark.bot(watching=True, BOT_VERIFY_HOURS="1")
async def test_repair_that_lasts_is_counted_by_its_mode(bot: World) -> None:
    bot.together.add(linked_alerts=[{"alert_name": "DmesgXidError"}])
    await card(bot)
    before = await metrics(bot)
    bot.together.remediations[IDS] |= {"state": "SUCCEEDED", "end_time": bot.together._time()}
    await pass_time(bot, 7200)
    labels = {"mode": "REMEDIATION_MODE_REBOOT_VM", "result": "lasted"}
    assert Counted(before, await metrics(bot)).of("repairs_verified_total", **labels) == 1


@pytest.mark.bot(watching=True)
async def test_faults_without_a_repair_are_counted(bot: World) -> None:
    bot.together.fire("a-1", "cluster-1", "gpu-1")
    for number in (2, 3):
        bot.together.fire(f"a-{number}", "cluster-1", "gpu-1", severity="PHC_SEVERITY_WARNING")
    await pass_time(bot, 60)
    counted = Counted({}, await metrics(bot))
    assert [counted.now("unrepaired_faults", severity=each) for each in ("critical", "other")] == [1, 2]


@pytest.mark.bot(watching=True, BOT_STORM_BRAKE="3")
async def test_storm_brake_is_counted_while_it_holds(bot: World) -> None:
    await began(bot)
    ids = storm(bot, 3)
    await card(bot, ids[2])
    await pass_time(bot, 30)
    assert Counted({}, await metrics(bot)).now("storm_brakes") == 1
    for each in ids:
        bot.together.resolve(each)
    await pass_time(bot, 2000, longest=60)
    assert Counted({}, await metrics(bot)).now("storm_brakes") == 0


async def test_what_waits_again_has_not_waited_since_it_was_first_seen(bot: World) -> None:
    bot.together.add()
    await card(bot)
    kept = bot.together.remediations.pop(IDS)
    await card(bot, words="No longer listed: reboot")
    await pass_time(bot, 7200)
    bot.together.remediations[IDS] = kept
    await card(bot, words="Approve reboot?")
    await bot.time.advance(60)
    assert 0 < Counted({}, await metrics(bot)).now("oldest_waiting_seconds") < 3600


async def test_gauges_say_what_is_under_way_and_what_waits(bot: World) -> None:
    bot.together.add()
    alert = await card(bot)
    with bot.together.paused("approve"):
        await bot.slack.press(alert, APPROVE)
        await bot.together.until(lambda: bot.together.posts)
        assert Counted({}, await metrics(bot)).now("in_progress") == 1
    with bot.slack.paused("chat.postMessage"):
        for number in (2, 3, 4):
            bot.together.add(("cluster-1", f"instance-{number}", f"remediation-{number}"))
        await poll(bot)
        assert Counted({}, await metrics(bot)).now("watch_queue", lane="post") == 2


async def test_process_that_lost_the_watch_has_no_queue(bot: World) -> None:
    await began(bot)
    for number in (2, 3, 4):
        bot.together.add(("cluster-1", f"instance-{number}", f"remediation-{number}"))
    with bot.slack.paused("chat.postMessage"):
        await poll(bot)
        another = update(leases).where(leases.c.name == "watch").values(owner="another", until=bot.time.now() + 800)
        await execute_beside(bot, another)
        await pass_time(bot, 120)
    await quiet(bot)
    counted = Counted({}, await metrics(bot))
    assert (counted.now("watch_leader"), counted.now("watch_queue", lane="post")) == (0, 0)


@pytest.mark.bot(busy_seconds=0.1)
async def test_database_that_is_away_is_seen(bot: World) -> None:
    before = await metrics(bot)
    assert bot.app.database is not None
    async with locked(Path(bot.settings.database_url.removeprefix("sqlite:///"))):
        await bot.slack.command(REF)
    await bot.app.database.close()
    await bot.time.advance(1)
    counted = Counted(before, await metrics(bot))
    assert counted.now("database_up") == 0
    assert counted.of("database_failures_total") > 0


async def test_label_is_never_what_a_stranger_sends(bot: World) -> None:
    body = json.dumps({"type": "x" * 50, "team_id": "T0HOME"}).encode()
    await bot.slack.post_signed(body, content_type="application/json")
    served = await metrics(bot)
    assert not [labels for _, labels in served if any("xxx" in value for _, value in labels)]


@pytest.mark.bot(BOT_BREAK_GLASS="U0ALICE", BOT_TWO_PEOPLE_MODES="REBOOT_VM")
async def test_approval_over_the_rules_is_counted(bot: World) -> None:
    bot.together.add()
    before, alert = await metrics(bot), await card(bot)
    await bot.slack.press(alert, cards.MORE, choice=cards.ALONE)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    await bot.slack.submit(view, reason="bob is away")
    await card(bot, words="Approved alone")
    assert Counted(before, await metrics(bot)).of("overrides_total") == 1


@pytest.mark.bot(BOT_BREAK_GLASS="U0ALICE", BOT_TWO_PEOPLE_MODES="REBOOT_VM")
async def test_approval_over_the_rules_that_together_refuses_is_not_counted(bot: World) -> None:
    bot.together.add()
    before, alert = await metrics(bot), await card(bot)
    await bot.slack.press(alert, cards.MORE, choice=cards.ALONE)
    (view,) = await bot.slack.until(lambda: list(bot.slack.views))
    bot.together.faults.append(Fault("rpc", verb="approve", times=-1, code=7))
    await bot.slack.submit(view, reason="bob is away")
    await pass_time(bot, 60)
    assert Counted(before, await metrics(bot)).of("overrides_total") == 0


async def test_no_secret_is_in_metrics_or_the_audit_trail(bot: World) -> None:
    bot.together.add()
    await bot.slack.command(f"{REF} {' '.join(bot.settings.secrets)}")
    await bot.answer()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{bot.app.port}/metrics") as response,
    ):
        served = await response.text()
    rows = await execute_beside(bot, select(audit.c.outcome, audit.c.state, audit.c.request_id))
    assert not [secret for secret in bot.settings.secrets if secret in served or secret in str(rows)]


def test_every_metric_is_in_a_test_and_in_the_docs_and_every_rule_names_one_that_exists() -> None:
    from bot import metrics as defined  # noqa: PLC0415 - the module, not the fixture of the same name

    names = {
        value._name
        for value in vars(defined).values()
        if hasattr(value, "_name") and str(value._name).startswith("remed")
    }
    tests = "".join(path.read_text("utf-8") for path in (Path(__file__), Path(__file__).with_name("test_outward.py")))
    assert {name for name in names if name.removeprefix("remediation_bot_") not in tests} == set()
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert {name for name in names if f"| `{name.removeprefix('remediation_bot_')}" not in page} == set()
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text("utf-8"))
    board = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text("utf-8"))
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    used = {word for text in expressions for word in re.findall(r"remediation_bot_\w+", text)}
    suffixes = ("_total", "_bucket", "_count", "_sum")
    assert {next((w.removesuffix(s) for s in suffixes if w.endswith(s)), w) for w in used} <= names


@pytest.mark.parametrize("verb", ["list", None])
async def test_what_was_cancelled_is_not_what_nobody_decides(verb: str | None) -> None:
    """The rule RemediationBotNobodyDecides: remediation_bot_oldest_waiting_seconds > 3600."""
    async with watching() as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled by <@U0ALICE>")
        if verb is None:
            bot.together.faults.append(Fault("rpc", code=14, times=-1))
        await pass_time(bot, 2 * 3600)
        counted = Counted({}, await metrics(bot))
        assert counted.now("oldest_waiting_seconds") == 0
        assert counted.now("open_alerts", state="PENDING_APPROVAL") == 0
