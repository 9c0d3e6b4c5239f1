"""Events for other tools: a webhook that takes CloudEvents, and PagerDuty."""

import asyncio
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from aiohttp import web
from sqlalchemy import insert, select

from bot.clock import WaitReason
from bot.environment import SettingsError
from bot.metrics import OUTWARD
from bot.models import Event, EventKind, Target
from bot.outward.formats import cloud_event
from bot.outward.sender import GIVE_UP_AFTER, TICK
from bot.store.tables import outbox
from bot.wiring import plain_client, tool_clients
from tests.fetch import get
from tests.manual_clock import HANGS_AFTER, START
from tests.rows import execute_beside
from tests.simulator.process import free_port, ready, start_bot, variables
from tests.simulator.receivers import ROUTING_KEY, SECRET, PagerDuty, WebhookReceiver
from tests.simulator.slack import Posted, Slack
from tests.simulator.slack.workspace import SlackFault
from tests.simulator.together import Fault, Together
from tests.storms import began
from tests.test_flow_reasons import opened
from tests.watch import CHANNEL, HOLD, card, pass_time, poll, thread, until, watching
from tests.world import APPROVE, CANCEL, IDS, REF, settings_for, world

COUNTER = "remediation_bot_outward_events_total"
OTHER = ("cluster-1", "i-2", "r-2")
REASONS = {0: "ReadError"}
CLOUD_EVENT = {
    "type": "object",
    "required": ["id", "source", "specversion", "type"],
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "format": "uri-reference", "minLength": 1},
        "specversion": {"const": "1.0"},
        "type": {"type": "string", "minLength": 1},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
    },
    "additionalProperties": {"type": "object"},
}  # from the CloudEvents specification's JSON schema: what it requires, and the attributes that the bot uses


async def test_life_of_a_remediation_is_told_in_order_and_signed(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add(instance_name="gpu-node-7")
        alert = await card(bot)
        await pass_time(bot, 960)
        await bot.slack.press(alert, HOLD, user="U0BOB")
        await until(bot, lambda: "On hold" in alert.text)
        await bot.slack.press(alert, HOLD, choice="release", user="U0ALICE")
        await until(bot, lambda: "On hold" not in alert.text)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        for _ in range(4):
            bot.together.advance(IDS)
            await poll(bot)
        kinds = ["opened", "reminded", "held", "released", "decided", "running", "succeeded"]
        await until(bot, lambda: webhook.of(IDS[2]) == kinds)
        assert webhook.refused == []
        for event in webhook.events:
            jsonschema.validate(event, CLOUD_EVENT, format_checker=jsonschema.FormatChecker())
            assert event["subject"] == REF
        data = {event["type"].rpartition(".")[2]: event["data"] for event in webhook.events}
        assert data["opened"]["node"] == "gpu-node-7"
        times = [event["time"] for event in webhook.events]
        assert times == sorted(times)
        assert times[0].startswith("2026-11-24T03:00:")
        assert [data[each]["by"] for each in ("held", "released", "decided")] == ["U0BOB", "U0ALICE", "U0ALICE"]
        assert data["decided"]["decision"] == "approved"


@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ("fails", ["opened", "decided", "running", "failed"]),
        ("clears", ["opened", "resolved"]),
        ("is cancelled", ["opened", "decided", "resolved"]),
        ("is withdrawn", ["opened", "resolved"]),
    ],
)
async def test_every_end_is_told(webhook: WebhookReceiver, what: str, kinds: list[str]) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        if what == "clears":
            bot.together.resolve(IDS)
        elif what == "is withdrawn":
            del bot.together.remediations[IDS]
        elif what == "is cancelled":
            await bot.slack.press(alert, CANCEL)
            await card(bot, words="Cancelled")
        else:
            await bot.slack.press(alert, APPROVE)
            await card(bot, words="Approved")
            for _ in range(3):
                bot.together.advance(IDS)
                await poll(bot)
            bot.together.fail(IDS, "host did not come back")
        await poll(bot)
        await until(bot, lambda: webhook.of(IDS[2]) == kinds)


async def test_storm_and_outage_are_told(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        for number in range(12):
            bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"))
        await until(bot, bot.slack.digests)
        await until(bot, lambda: len(webhook.events) == 12)
        assert {event["type"].rpartition(".")[2] for event in webhook.events} == {"opened"}
        bot.together.faults.append(Fault("html", verb="list", status=500, times=-1))

        def outages() -> list[dict[str, Any]]:
            return [event for event in webhook.events if event["type"].endswith("outage")]

        await until(bot, outages, seconds=900)
        bot.together.faults.clear()
        await until(bot, lambda: len(outages()) == 2, seconds=900)
        assert [each["data"]["is_over"] for each in outages()] == [False, True]


@pytest.mark.parametrize("kind", ["outage", "unrepaired"])
async def test_what_is_wrong_in_a_cluster_is_told_once_although_slack_takes_no_message(
    webhook: WebhookReceiver, kind: str
) -> None:
    async with watching(**webhook.settings) as bot:
        await began(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", "html", times=-1))
        broken = Fault("html", verb="list", status=500, times=-1)
        if kind == "outage":
            bot.together.faults.append(broken)
        else:
            bot.together.fire("a-1", "cluster-1", "gpu-1")
        await pass_time(bot, 3600)

        def is_over() -> list[bool]:
            return [event["data"]["is_over"] for event in webhook.events if event["type"].endswith(kind)]

        assert is_over() == [False]
        bot.together.faults.clear()
        bot.together.alerts.clear()
        await until(bot, lambda: is_over() == [False, True], seconds=1200)
        await pass_time(bot, 1800)
        assert is_over() == [False, True]
        assert bot.slack.visible() == []


async def test_end_of_an_outage_waits_for_no_message_that_slack_refuses(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        await began(bot)

        def is_over() -> list[bool]:
            return [event["data"]["is_over"] for event in webhook.events if event["type"].endswith("outage")]

        def said(words: str) -> list[Posted]:
            return [message for message in bot.slack.visible() if words in message.text]

        unreadable = Fault("html", verb="list", status=500, times=-1, cluster="cluster-1")
        bot.together.faults.append(unreadable)
        await until(bot, lambda: is_over() == [False] and said("Couldn't read cluster"), seconds=900)
        bot.slack.faults.append(SlackFault("*", "not_in_channel", times=-1, channel=CHANNEL))
        bot.together.faults.clear()
        await until(bot, lambda: is_over() == [False, True], seconds=60)
        await bot.slack.command("list")
        assert "Couldn't read" not in (await bot.reply_privately()).everything
        bot.together.faults.append(unreadable)
        await until(bot, lambda: is_over() == [False, True, False], seconds=60)
        await bot.settle()
        async with bot.another():
            bot.together.faults.clear()
            await until(bot, lambda: is_over() == [False, True, False, True], seconds=900)
        async with bot.another():
            await pass_time(bot, 60)
            bot.slack.faults.clear()
            await until(bot, lambda: said("can be read from Together again"), seconds=900)
            await pass_time(bot, 1800)
        assert is_over() == [False, True, False, True]


@pytest.mark.parametrize("refusal", ["html", "not_in_channel"])
async def test_outage_of_a_cluster_that_is_gone_is_not_called_over_although_slack_takes_no_message(
    webhook: WebhookReceiver, refusal: str
) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.clusters["cluster-2"] = "two"
        await began(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", refusal, times=-1))
        bot.together.faults.append(Fault("html", verb="list", status=500, times=-1, cluster="cluster-2"))

        def outages() -> list[tuple[bool, bool]]:
            told = [event["data"] for event in webhook.events if event["type"].endswith("outage")]
            return [(each["is_over"], each["is_watched"]) for each in told]

        await until(bot, outages, seconds=900)
        del bot.together.clusters["cluster-2"]
        await until(bot, lambda: len(outages()) == 2, seconds=1800)
        assert outages() == [(False, True), (True, False)]


async def test_bot_that_does_not_watch_tells_what_is_decided(webhook: WebhookReceiver) -> None:
    async with world(**webhook.settings) as bot:
        bot.together.add()
        await bot.slack.command(f"{REF} by hand")
        await bot.answer()
        await until(bot, lambda: webhook.of(IDS[2]) == ["decided"])
        assert webhook.events[0]["data"]["reason"] == "by hand"


async def test_decision_in_doubt_that_took_effect_is_told(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        unreadable = Fault("rpc", verb="get", code=14, times=-1)
        bot.together.on_call["approve"] = lambda: bot.together.faults.append(unreadable)
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        await bot.slack.press(alert, APPROVE)
        await until(bot, lambda: thread(bot, alert))
        bot.together.faults.clear()
        await until(bot, lambda: "Reboot approved by <@U0ALICE>" in " ".join(thread(bot, alert)), seconds=300)
        await pass_time(bot, 120)
        assert webhook.of(IDS[2]) == ["opened", "decided"]
        data = webhook.events[-1]["data"]
        assert (data["decision"], data["by"], data["state"]) == ("approved", "U0ALICE", "PENDING")


async def test_approval_in_together_is_told_without_a_name(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        await card(bot)
        bot.together.review(IDS, "approve", "by hand")
        await card(bot, words="Approved")
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened", "decided"])
        data = webhook.events[-1]["data"]
        assert (data["decision"], data.get("by"), data["state"]) == ("approved", None, "PENDING")


async def test_cancellation_that_was_only_read_back_is_not_told_as_certain(webhook: WebhookReceiver) -> None:
    async with world(**webhook.settings) as bot:
        bot.together.add()
        bot.together.faults.append(Fault("html", verb="cancel", after=True))
        await bot.slack.command(REF)
        assert "Cancelled, apparently by <@U0ALICE>" in (await bot.answer()).everything
        await until(bot, lambda: webhook.of(IDS[2]) == ["decided"])
        assert (webhook.events[0]["data"]["by"], webhook.events[0]["data"]["is_sure"]) == ("U0ALICE", False)


@pytest.mark.parametrize("status", [0, 302, 404, 429, 500])
async def test_what_is_not_taken_is_told_again_in_order_and_holds_up_no_other(
    webhook: WebhookReceiver, status: int
) -> None:
    async with watching(**webhook.settings) as bot:
        webhook.statuses = [status] * 2
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, CANCEL)
        await card(bot, words="Cancelled")
        other = bot.together.add(("cluster-1", "i-2", "r-2"))
        await card(bot, other)
        await until(bot, lambda: webhook.of("r-2") == ["opened"])
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened", "decided", "resolved"], seconds=600)
        counted = {
            sample.labels["result"]
            for family in OUTWARD.collect()
            for sample in family.samples
            if sample.name == COUNTER and sample.labels["target"] == "webhook"
        }
        assert counted >= {"taken", REASONS.get(status, str(status))}


async def test_events_that_were_taken_are_counted_from_zero(webhook: WebhookReceiver) -> None:
    """Prometheus takes no increase from a series that begins with 1, so the rule about refused events would page."""
    OUTWARD.clear()
    async with watching(**webhook.settings) as bot:
        assert f'{COUNTER}{{result="taken",target="webhook"}} 0.0' in (await get(bot.app, "/metrics"))[1]


async def test_webhook_that_hangs_keeps_no_decision_waiting_and_is_given_up_after_a_day(
    webhook: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(**webhook.settings) as bot:
        with webhook.paused("receive"):
            bot.together.add()
            alert = await card(bot)
            await bot.slack.press(alert, CANCEL)
            await card(bot, words="Cancelled")
        webhook.statuses = [500] * 1000
        await pass_time(bot, GIVE_UP_AFTER - TICK)
        assert "giving up" not in caplog.text
        await pass_time(bot, GIVE_UP_AFTER)  # in leaps, which lose the lease, and with it every other attempt
        assert "giving up" in caplog.text
        assert "The webhook isn't taking events (500)." in (await get(bot.app, "/readyz"))[1]
        assert SECRET not in caplog.text


@pytest.mark.parametrize("days", [1, 3])
async def test_event_that_waited_while_no_bot_ran_is_tried_more_than_once(
    webhook: WebhookReceiver, database_url: str, days: int
) -> None:
    async with watching(database_url, **webhook.settings) as bot:
        with webhook.paused("receive"):
            bot.together.add()
            await card(bot)
            await bot.settle()
        webhook.events.clear()
        await bot.time.advance(days * GIVE_UP_AFTER + 60)
        webhook.statuses = [503]
        async with bot.another():
            await until(bot, lambda: "opened" in webhook.of(IDS[2]))


async def test_event_for_a_target_that_is_no_longer_set_is_deleted_after_two_days(
    webhook: WebhookReceiver, database_url: str
) -> None:
    async with watching(database_url, **webhook.settings) as bot:
        await bot.settle()
        rows = [
            {"target": "pagerduty", "subject": REF, "body": "{}", "created_at": at, "next_at": at, "attempts": 0}
            for at in (START, START - 2 * GIVE_UP_AFTER - 1)
        ]
        await execute_beside(bot, *(insert(outbox).values(row) for row in rows))
        async with bot.another():
            await pass_time(bot, TICK)
        assert await execute_beside(bot, select(outbox.c.created_at)) == [{"created_at": START}]


async def test_reminder_is_told_before_a_decision_that_comes_while_it_is_unclear_whether_slack_took_it(
    webhook: WebhookReceiver,
) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        await pass_time(bot, 880)
        fault = SlackFault("chat.postMessage", "drop", after=True)
        bot.slack.faults.append(fault)
        await until(bot, lambda: fault.times == 0)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        await pass_time(bot, 180)
        assert webhook.of(IDS[2])[:3] == ["opened", "reminded", "decided"]


async def test_remediation_whose_events_are_refused_is_a_problem_while_others_are_taken(
    webhook: WebhookReceiver,
) -> None:
    webhook.unwanted = b"/remediation-1"
    problem = "The webhook isn't taking events (422)."
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        await card(bot)
        await pass_time(bot, 30)
        assert problem in (await get(bot.app, "/readyz"))[1]
        bot.together.add(OTHER)
        await until(bot, lambda: webhook.of(OTHER[2]) == ["opened"])
        assert problem in (await get(bot.app, "/readyz"))[1]
        webhook.unwanted = b""
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened"])
        assert await get(bot.app, "/readyz") == (200, "ready\n")


async def test_huge_answer_is_neither_unpacked_nor_read_to_its_end(webhook: WebhookReceiver) -> None:
    packer = zlib.compressobj(wbits=31)
    webhook.body = b"".join([*(packer.compress(bytes(1_000_000)) for _ in range(200)), packer.flush()])
    webhook.headers = {"Content-Encoding": "gzip"}
    async with watching(**webhook.settings) as bot:
        tracemalloc.start()
        bot.together.add()
        await card(bot)
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened"])
        await pass_time(bot, 2 * TICK)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50_000_000


async def test_answer_that_never_ends_is_one_delivery(webhook: WebhookReceiver) -> None:
    webhook.body, webhook.is_endless = bytes(65_536), True
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened"])
        await bot.slack.press(alert, CANCEL)
        await until(bot, lambda: len(webhook.events) == 3)
        assert webhook.of(IDS[2]) == ["opened", "decided", "resolved"]


async def test_events_of_a_tool_that_is_no_longer_told_are_deleted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    away: Any = {"BOT_WEBHOOK_URL": f"http://127.0.0.1:{free_port()}/events", "BOT_WEBHOOK_SECRET": SECRET}
    async with watching(url, **away) as bot:
        bot.together.add()
        await card(bot)
        await bot.settle()
        assert await execute_beside(bot, select(outbox.c.id))
        async with bot.another(settings_for(bot.slack, bot.together, DATABASE_URL=url)):
            await bot.time.advance(2.5 * 86_400)
            async with asyncio.timeout(HANGS_AFTER):
                while await execute_beside(bot, select(outbox.c.id)):
                    await bot.time.end_pause(WaitReason.DAILY)


async def test_event_that_cannot_be_read_is_dropped_and_stops_no_other(
    webhook: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(**webhook.settings) as bot:
        body = json.dumps({"id": "e", "kind": "of tomorrow", "subject": REF, "at": START, "data": {}})
        newer = insert(outbox).values(
            target="webhook", subject=REF, body=body, created_at=START, next_at=START, attempts=0
        )
        await execute_beside(bot, newer)
        bot.together.add()
        await card(bot)
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened"])
        assert f"An event about {REF} can't be read and is dropped" in caplog.text


async def test_half_an_emoji_in_a_reason_keeps_no_event_from_other_tools(
    webhook: WebhookReceiver, pagerduty: PagerDuty
) -> None:
    async with watching(BOT_REASON="cancel", **webhook.settings, **pagerduty.settings) as bot:
        bot.together.add()
        view = await opened(bot, await card(bot), CANCEL)
        await bot.slack.submit(view, reason="not now \ud83d")  # as a client that cuts an emoji sends it
        await card(bot, words="Cancelled")
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened", "decided", "resolved"])
        assert webhook.events[1]["data"]["reason"] == "not now ?"


async def test_event_that_cannot_be_sent_waits_like_one_that_is_refused(
    webhook: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(**webhook.settings) as bot:
        event = {"id": "e", "kind": "decided", "subject": REF, "at": START, "data": {"reason": "\ud83d"}}
        older = insert(outbox).values(
            target="webhook", subject=REF, body=json.dumps(event), created_at=START, next_at=START, attempts=0
        )
        await execute_beside(bot, older)
        bot.together.add(OTHER)
        await card(bot, OTHER)
        await until(bot, lambda: webhook.of(OTHER[2]) == ["opened"])
        await pass_time(bot, 60)
        assert caplog.text.count(f"Couldn't send an event about {REF}") == 3
        assert "The webhook isn't taking events (UnicodeEncodeError)." in (await get(bot.app, "/readyz"))[1]


async def test_event_of_a_clock_that_was_ahead_is_told_once_it_is_right(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        bot.time.set_back = -30 * 86_400.0
        webhook.statuses = [500] * 2
        bot.together.add()
        await card(bot)
        await until(bot, lambda: not webhook.statuses)
        assert webhook.events == []
        bot.time.set_back = 0.0
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened"])


@pytest.mark.parametrize("key", [ROUTING_KEY, ""])  # which may come only with renewed secrets
async def test_webhook_on_loopback_leaves_pagerduty_on_its_proxy(
    webhook: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        writer.close()

    async with (
        await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy,
        Slack() as slack,
        Together(slack.now) as together,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        clients = tool_clients(settings_for(slack, together, **webhook.settings, BOT_PAGERDUTY_KEY=key))
        async with clients[Target.PAGERDUTY] as client:
            with pytest.raises(httpx.ProxyError):
                await client.post("https://events.pagerduty.com/v2/enqueue")
        async with clients[Target.WEBHOOK] as client:
            assert (await client.post(f"{webhook.url}/events")).status_code == 415
    assert asked == [b"CONNECT events.pagerduty.com:443 HTTP/1.1\r\n"]


async def test_tool_may_take_as_long_as_a_whole_request_may(webhook: WebhookReceiver) -> None:
    async with plain_client(webhook.url) as client:  # whose own limit would be 5 s (httpx 0.28)
        assert client.timeout == httpx.Timeout(None)


async def test_target_that_is_no_longer_set_is_forgotten(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        with webhook.paused("receive"):
            bot.together.add()
            await card(bot)
            await bot.settle()
        quiet = settings_for(bot.slack, bot.together, DATABASE_URL=bot.settings.database_url)
        async with bot.another(quiet):
            await bot.slack.command(REF)
            await bot.answer()
        assert webhook.events == []


async def test_sending_is_taken_over_from_a_process_that_ended(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        webhook.statuses = [500] * 100
        bot.together.add()
        await card(bot)
        await until(bot, lambda: len(webhook.statuses) < 100)
        await bot.settle()
        webhook.statuses.clear()
        async with bot.another():
            await until(bot, lambda: webhook.of(IDS[2]) == ["opened"])


def test_outage_of_the_list_of_clusters_is_a_cloud_event_without_a_subject() -> None:
    event = json.loads(cloud_event(Event("e", EventKind.OUTAGE, "", START, {"is_over": False})))
    jsonschema.validate(event, CLOUD_EVENT)
    assert "subject" not in event


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"BOT_WEBHOOK_URL": "https://x.example"}, "BOT_WEBHOOK_SECRET is missing"),
        ({"BOT_WEBHOOK_SECRET": SECRET}, "BOT_WEBHOOK_URL is missing"),
        ({"BOT_WEBHOOK_URL": "http://x.example", "BOT_WEBHOOK_SECRET": SECRET}, "must start with https://"),
        ({"BOT_WEBHOOK_URL": "https://x.example", "BOT_WEBHOOK_SECRET": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ({"BOT_WEBHOOK_URL": "https://x.example", "BOT_WEBHOOK_SECRET": "secret"}, "24 to 64 bytes"),
        ({"BOT_PAGERDUTY_KEY": "short"}, "32 letters and digits"),
        ({"BOT_PAGERDUTY_KEY": ROUTING_KEY, "BOT_PAGERDUTY_URL": "http://10.0.0.1"}, "must start with https://"),
    ],
)
async def test_wrong_settings_are_named(environ: Any, words: str) -> None:
    async with Slack() as slack, Together(slack.now) as together:
        with pytest.raises(SettingsError, match=words):
            settings_for(slack, together, **environ)


async def card_of(slack: Slack, remediation_id: str) -> Posted:
    return (await slack.until(lambda: slack.cards(remediation_id)))[0]


async def is_cancelled(slack: Slack, alert: Posted) -> None:
    await slack.until(lambda: "Cancelled" in alert.text)


async def told_whole(webhook: WebhookReceiver, remediation_id: str) -> None:
    await webhook.until(lambda: webhook.of(remediation_id) == ["opened", "decided", "resolved"])


async def test_nothing_is_lost_or_out_of_order_over_kill_9(tmp_path: Path) -> None:
    async with (
        Slack() as slack,
        Together(slack.now) as together,
        WebhookReceiver(is_real_time=True) as webhook,
        PagerDuty() as pagerduty,
    ):
        together.clusters["cluster-1"] = "one"
        together.nodes["cluster-1"] = 8
        environ = {
            **variables(slack, together), **webhook.settings, **pagerduty.settings, "BOT_ALERT_CHANNEL": "C0OPS",
            "BOT_POLL_SECONDS": "1", "BOT_LEASE_SECONDS": "2",
        }  # fmt: skip
        made = []
        for life in range(4):
            port = free_port()
            log = tmp_path / f"{life}.log"
            bot = start_bot(tmp_path, environ, port=port, log=log)
            await ready(slack, port, started=life + 1)
            ids = ("cluster-1", f"i-{life}", f"r-{life}")
            made.append(together.add(ids))
            alert = await card_of(slack, ids[2])
            webhook.statuses = [500] if life % 2 else []
            await slack.press(alert, CANCEL)
            await is_cancelled(slack, alert)
            if life < 3:
                bot.kill()
                await asyncio.to_thread(bot.wait)
        for ids in made:
            await told_whole(webhook, ids[2])
        bot.terminate()
        assert await asyncio.to_thread(bot.wait, HANGS_AFTER) == 0
        assert webhook.refused == []
        assert pagerduty.refused == []


async def test_hanging_webhook_does_not_delay_pagerduty(webhook: WebhookReceiver, pagerduty: PagerDuty) -> None:
    async with watching(**webhook.settings, **pagerduty.settings) as bot:
        with webhook.paused("receive"):
            bot.together.add()
            await card(bot)
            await pass_time(bot, 17 * 60)
            assert pagerduty.incidents == {REF: "triggered"}


async def test_list_that_lags_behind_a_decision_is_no_event(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        await card(bot)
        bot.together.review(IDS, "cancel")
        await card(bot, words="Cancelled")
        bot.together.lists_as[IDS] = "PENDING_APPROVAL"
        await pass_time(bot, 60)
        bot.together.lists_as.clear()
        await pass_time(bot, 60)
        assert webhook.of(IDS[2]) == ["opened", "resolved"]


async def test_remediation_on_two_pages_of_a_list_is_opened_once(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        await began(bot)
        bot.together.max_page = 4
        bot.together.repeated = 2
        for number in range(9):
            bot.together.add(("cluster-1", f"i-{number}", f"r-{number}"))
        await until(bot, bot.slack.digests)
        await pass_time(bot, 30)
        assert sorted(event["subject"] for event in webhook.events) == sorted(
            f"cluster-1/i-{number}/r-{number}" for number in range(9)
        )


async def test_repair_that_is_listed_again_is_said_to_run_again(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        await until(bot, lambda: webhook.of(IDS[2])[-1:] == ["running"])
        bot.together.lost.add(IDS)
        await until(bot, lambda: webhook.of(IDS[2])[-1:] == ["resolved"])
        bot.together.lost.clear()
        await until(bot, lambda: webhook.of(IDS[2]) == ["opened", "decided", "running", "resolved", "running"])


async def test_hold_that_somebody_shortens_or_another_person_joins_is_told_with_its_present_end(
    webhook: WebhookReceiver,
) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        for user, choice in (("U0ALICE", "14400"), ("U0ALICE", "1800"), ("U0BOB", "3600"), ("U0ALICE", "1800")):
            await bot.slack.press(alert, HOLD, choice=choice, user=user)
            await pass_time(bot, 60)
        held = [event["data"] for event in webhook.events if event["type"].endswith(".held")]
        assert [each["by"] for each in held] == ["U0ALICE", "U0ALICE", "U0BOB", "U0ALICE"]
        lasts = [each["until"] - held[0]["until"] for each in held]
        assert lasts[1] < -14400 + 1800 + 300
        assert lasts[3] == lasts[2] > lasts[1]


async def test_resolved_is_no_surer_of_who_cancelled_than_decided(webhook: WebhookReceiver) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        bot.together.faults.append(Fault("cut", verb="cancel", after=True))
        await bot.slack.press(alert, CANCEL)
        await until(bot, lambda: webhook.of(IDS[2])[-1:] == ["resolved"], seconds=300)
        data = webhook.events[-1]["data"]
        assert (data["decided_by"], data["is_sure"]) == ("U0ALICE", False)


async def test_decision_in_doubt_on_the_next_incident_is_told_after_the_end_of_the_last(
    webhook: WebhookReceiver,
) -> None:
    async with watching(**webhook.settings) as bot:
        bot.together.add()
        alert = await card(bot)
        await bot.slack.press(alert, APPROVE)
        await card(bot, words="Approved")
        bot.together.advance(IDS, "RUNNING")
        await poll(bot)
        bot.together.fail(IDS, "x")
        await until(bot, lambda: webhook.of(IDS[2])[-1] == "failed")
        await pass_time(bot, 60)
        bot.together.add()
        other = bot.alert()
        unreadable = Fault("rpc", verb="get", code=14, times=-1)
        bot.together.on_call["approve"] = lambda: bot.together.faults.append(unreadable)
        bot.together.faults.append(Fault("cut", verb="approve", after=True))
        bot.together.faults.append(Fault("rpc", verb="list", code=14, times=-1))
        await bot.slack.press(other, APPROVE)
        await pass_time(bot, 20)
        bot.together.faults.clear()
        await pass_time(bot, 300)
        kinds = webhook.of(IDS[2])
        assert kinds[-2:] == ["resolved", "decided"]


async def test_address_that_ends_with_a_slash_is_called_as_it_stands() -> None:
    receiver = WebhookReceiver()

    async def elsewhere(_: web.Request) -> web.Response:  # as Django and FastAPI answer
        return web.Response(status=308, headers={"Location": "/events/"})

    receiver.routes = [web.post("/events/", receiver.answer), web.post("/events", elsewhere)]
    async with receiver, watching(**receiver.settings | {"BOT_WEBHOOK_URL": f"{receiver.url}/events/"}) as bot:
        await began(bot)
        bot.together.add()
        await until(bot, lambda: receiver.of(IDS[2]) == ["opened"])
