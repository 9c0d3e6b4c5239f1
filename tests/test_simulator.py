"""The simulators themselves: driven by the vendors' own clients, and held against the published contract."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from openapi_schema_validator import OAS30Validator
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from together import APIStatusError, AsyncTogether

from tests.simulator.slack import Slack
from tests.simulator.slack.workspace import BOT_TOKEN
from tests.simulator.together import API_KEY, MODES, Ids, Together
from tests.world import IDS

CONTRACT = yaml.safe_load((Path(__file__).parent / "data" / "remediation-cancel.openapi.yaml").read_text("utf-8"))
CLUSTER, INSTANCE, REMEDIATION = IDS
# What the service has added since, as the vendor's own SDK lists it.
ADDED = {
    "v1RemediationMode": [
        "REMEDIATION_MODE_EVICT_WITHOUT_REPLACEMENT",
        "REMEDIATION_MODE_REBOOT_VM",
        "REMEDIATION_MODE_HOST_POWER_CYCLE",
    ],
    "v1RemediationState": ["QUARANTINING", "QUARANTINED"],
}


def validator(schema: str) -> OAS30Validator:
    """A validator for one schema of the published contract, with the enums as they have grown."""
    components = json.loads(json.dumps(CONTRACT["components"]))
    for name, values in ADDED.items():
        components["schemas"][name]["enum"] += values
    return OAS30Validator({"$ref": f"#/components/schemas/{schema}", "components": components})


def problems(schema: str, answer: Any) -> list[str]:
    return [error.message for error in validator(schema).iter_errors(answer)]


@pytest.fixture
async def api() -> AsyncIterator[Together]:
    async with Together(lambda: 1_795_489_200.0) as together:
        together.add(
            linked_alerts=[
                {
                    "alert_name": "DmesgXidError",
                    "severity": "PHC_SEVERITY_CRITICAL",
                    "started_at": "2026-11-24T02:58:00Z",
                    "target_vm": "gpu-node-7",
                    "cluster_id": CLUSTER,
                    "passive_health_check_alert_id": "a1",
                    "annotations": {},
                    "annotation": {
                        "title": "GPU has fallen off the bus",
                        "summary_line": "",
                        "description": "",
                        "xid": {"events": [{"xid_code": "79", "mnemonic": "GPU_LOST", "count": 3}]},
                    },
                }
            ]
        )
        yield together


@pytest.fixture
async def sdk(api: Together) -> AsyncIterator[AsyncTogether]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield AsyncTogether(api_key=API_KEY, base_url=api.url, http_client=http, max_retries=0)


async def test_the_vendors_sdk_drives_every_verb(api: Together, sdk: AsyncTogether) -> None:
    calls = sdk.clusters.remediations
    read = await calls.retrieve(REMEDIATION, cluster_id=CLUSTER, instance_id=INSTANCE)
    assert (read.state, read.mode) == ("PENDING_APPROVAL", "REMEDIATION_MODE_REBOOT_VM")
    assert read.linked_alerts
    assert read.linked_alerts[0].annotation.xid
    approved = await calls.approve(
        REMEDIATION,
        cluster_id=CLUSTER,
        instance_id=INSTANCE,
        comment="checkpointed",
        mode="REMEDIATION_MODE_VM_ONLY",
    )
    assert (approved.state, approved.mode) == ("PENDING", "REMEDIATION_MODE_VM_ONLY")
    assert approved.review_comment == "checkpointed"
    assert (await calls.cancel(REMEDIATION, cluster_id=CLUSTER, instance_id=INSTANCE)).state == "CANCELLED"
    made = await calls.create(INSTANCE, cluster_id=CLUSTER, mode="REMEDIATION_MODE_REBOOT_VM", reason="x")
    assert (made.state, made.trigger) == ("PENDING", "REMEDIATION_TRIGGER_MANUAL")
    api.add((CLUSTER, INSTANCE, "second"))
    assert (await calls.reject("second", cluster_id=CLUSTER, instance_id=INSTANCE, comment="no")).state == "CANCELLED"
    listed = await calls.list("-", cluster_id=CLUSTER, state=["CANCELLED"], page_size=1)
    assert [remediation.state for remediation in listed.remediations] == ["CANCELLED"]
    assert listed.has_next
    clusters = await sdk.clusters.list()
    assert [cluster.cluster_id for cluster in clusters.clusters] == [CLUSTER]


@pytest.mark.parametrize(("verb", "status", "code"), [("cancel", 400, 9), ("approve", 400, 9), ("retrieve", 404, 5)])
async def test_the_vendors_sdk_sees_the_refusals(
    api: Together, sdk: AsyncTogether, verb: str, status: int, code: int
) -> None:
    api.remediations[IDS]["state"] = "RUNNING"
    name = "gone" if verb == "retrieve" else REMEDIATION
    with pytest.raises(APIStatusError) as caught:
        await getattr(sdk.clusters.remediations, verb)(name, cluster_id=CLUSTER, instance_id=INSTANCE)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["code"] == code
    assert problems("rpcStatus", caught.value.body) == []


async def answers(api: Together, *paths: str, key: str = API_KEY) -> list[Any]:
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {key}"}) as http:
        return [(await http.post(f"{api.base_url}{path}")).json() for path in paths]


def path_of(ids: Ids, verb: str) -> str:
    return "/compute/clusters/{}/instances/{}/remediations/{}/{}".format(*ids, verb)


@pytest.mark.parametrize("mode", sorted(MODES))
async def test_answers_are_valid_under_the_published_contract(api: Together, mode: str) -> None:
    api.escalate(IDS, mode)
    assert problems("v1Remediation", api.remediations[IDS]) == []
    api.review(IDS, "approve", "ok")
    states = [api.state(IDS)]
    while api.state(IDS) != "SUCCEEDED":
        assert problems("v1Remediation", api.remediations[IDS]) == []
        api.advance(IDS)
        states.append(api.state(IDS))
    assert states == ["PENDING", "QUARANTINING", "QUARANTINED", "RUNNING", "SUCCEEDED"]
    (refused,) = await answers(api, path_of(IDS, "cancel"))
    assert problems("rpcStatus", refused) == []
    (wrong_key,) = await answers(api, path_of(IDS, "cancel"), key="another")
    assert (problems("rpcStatus", wrong_key), wrong_key["code"]) == ([], 16)
    other = api.add((CLUSTER, INSTANCE, "other"))
    (cancelled,) = await answers(api, path_of(other, "cancel"))
    assert (problems("v1Remediation", cancelled), cancelled["state"]) == ([], "CANCELLED")


async def test_the_other_ends_are_valid_too(api: Together) -> None:
    api.resolve(IDS)
    assert problems("v1Remediation", api.remediations[IDS]) == []
    failed = api.add((CLUSTER, INSTANCE, "failed"), "RUNNING")
    api.fail(failed, "no power")
    assert problems("v1Remediation", api.remediations[failed]) == []


def test_the_validator_can_fail() -> None:
    assert problems("v1Remediation", {"id": "x"})
    assert problems("rpcStatus", {"code": "nine", "message": "", "details": []})


@pytest.fixture
async def slack() -> AsyncIterator[tuple[Slack, AsyncWebClient]]:
    async with Slack() as workspace:
        client = AsyncWebClient(BOT_TOKEN, base_url=workspace.api_url)
        client.proxy = None
        yield workspace, client


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def button(**extra: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "x"}, **extra}


REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "51 blocks": ([section("x")] * 51, "invalid_blocks"),
    "a long section": ([section("x" * 3001)], "invalid_blocks"),
    "an empty section": ([section("")], "invalid_blocks"),
    "a long header": (
        [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}],
        "invalid_blocks",
    ),
    "markup in a header": ([{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}], "invalid_blocks"),
    "11 fields": ([{"type": "section", "fields": [section("x")["text"]] * 11}], "invalid_blocks"),
    "a long value": ([{"type": "actions", "elements": [button(value="x" * 2001)]}], "invalid_blocks"),
    "one action_id twice": ([{"type": "actions", "elements": [button(), button()]}], "invalid_blocks"),
    "an unknown style": ([{"type": "actions", "elements": [button(style="red")]}], "invalid_blocks"),
    "a long dialog": (
        [
            {
                "type": "actions",
                "elements": [
                    button(
                        confirm={
                            "title": {"type": "plain_text", "text": "x"},
                            "text": {"type": "plain_text", "text": "x" * 301},
                            "confirm": {"type": "plain_text", "text": "x"},
                            "deny": {"type": "plain_text", "text": "x"},
                        }
                    )
                ],
            }
        ],
        "invalid_blocks",
    ),
    "an unknown block": ([{"type": "hologram"}], "invalid_blocks"),
}


@pytest.mark.parametrize(("blocks", "error"), REFUSED.values(), ids=REFUSED)
async def test_slack_refuses_what_slack_refuses(
    slack: tuple[Slack, AsyncWebClient], blocks: list[dict[str, Any]], error: str
) -> None:
    _, client = slack
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C0OPS", text="x", blocks=blocks)
    assert caught.value.response["error"] == error


async def test_slack_updates_by_its_own_rules(slack: tuple[Slack, AsyncWebClient]) -> None:
    workspace, client = slack
    posted = await client.chat_postMessage(channel="C0OPS", text="x", blocks=[section("y")])
    message = workspace.messages[0]
    await client.chat_update(channel="C0OPS", ts=posted["ts"], text="text without blocks removes them")
    assert message.blocks == []
    for change, error in (
        ({"ts": posted["ts"], "text": "x" * 4001}, "msg_too_long"),
        ({"ts": "0.0", "text": "x"}, "message_not_found"),
    ):
        with pytest.raises(SlackApiError) as caught:
            await client.chat_update(channel="C0OPS", **change)
        assert caught.value.response["error"] == error
    whispered = await client.chat_postEphemeral(channel="C0OPS", user="U0ALICE", text="psst")
    with pytest.raises(SlackApiError):
        await client.chat_update(channel="C0OPS", ts=whispered["message_ts"], text="x")


async def test_a_response_url_has_five_uses_and_30_minutes(slack: tuple[Slack, AsyncWebClient]) -> None:
    workspace, _ = slack
    async with httpx.AsyncClient(trust_env=False) as http:
        url = workspace.response_url("C0OPS", "U0ALICE", None)
        statuses = [(await http.post(url, json={"text": "x"})).status_code for _ in range(6)]
        assert statuses == [200] * 5 + [404]
        old = workspace.response_url("C0OPS", "U0ALICE", None)
        started = workspace.now()
        workspace.now = lambda: started + 30 * 60 + 1
        assert (await http.post(old, json={"text": "x"})).status_code == 404
