"""What lies in `deploy/`, as far as this machine can check it."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import kubernetes_validate
import pytest
import yaml

from bot import metrics
from bot.app import DRAIN_SECONDS, END_SECONDS
from bot.clock import WaitReason
from bot.environment import EXAMPLES, SECRETS
from bot.settings import read_settings
from handlers.alert_channels import CLOSED
from handlers.bolt import ACK_SECONDS
from handlers.server import SHUTDOWN_SECONDS
from tests.fetch import get
from tests.simulator.process import ROOT, free_port, ready, stop_bot, variables
from tests.simulator.slack import Slack, SlackFault
from tests.simulator.together import Together
from tests.watch import pass_time, poll, watching
from tests.world import world

DEPLOY = ROOT / "deploy"


def left_out(why: str) -> NoReturn:
    """Leave a check out where somebody tries the project, and refuse to where it is judged."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def run(command: Sequence[str], folder: Path) -> None:
    """Run a checker of the vendor's own."""
    if shutil.which(command[0]) is None:
        left_out(f"{command[0]} is not installed")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    assert done.returncode == 0, done.stdout + done.stderr


def test_alert_rules_are_valid_and_fire_when_their_promise_is_broken() -> None:
    run(["promtool", "check", "rules", "--lint=all", "rules.yaml"], DEPLOY / "prometheus")
    run(["promtool", "test", "rules", "rules.test.yaml"], DEPLOY / "prometheus")


async def test_channel_that_takes_no_alert_fires_a_rule() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text("utf-8"))["groups"][0]["rules"]
    (rule,) = (each["expr"] for each in rules if each["alert"] == "RemediationBotPostsRefused")
    statuses = re.search(r'status=~"(.*?)"', rule)
    assert statuses
    assert all(re.fullmatch(statuses[1], code) for code in CLOSED)
    async with watching() as bot:
        await poll(bot)
        bot.slack.faults.append(SlackFault("chat.postMessage", "is_archived", times=-1))
        bot.together.add()
        await poll(bot)
        before = refusals((await get(bot.app, "/metrics"))[1])
        await pass_time(bot, 300, longest=15)
        assert refusals((await get(bot.app, "/metrics"))[1]) - before > 15


def refusals(served: str) -> float:
    found = re.search(r'slack_calls_total{method="chat.postMessage",status="is_archived"} (\S+)', served)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    ("changed", "firing"),
    [
        ({}, []),
        ({"ready": 0}, ["RemediationBotNotReady"]),
        ({"watch_leader": 0}, ["RemediationBotNobodyWatches"]),
        ({"watch_leader": 0, "watch_interval_seconds": 0}, []),
        ({"watch_lag_seconds": 200}, ["RemediationBotWatchLag"]),
        ({"watch_lag_seconds": 3700, "watch_interval_seconds": 3600}, []),
        ({"watch_lag_seconds": 8000, "watch_interval_seconds": 3600}, ["RemediationBotWatchLag"]),
    ],
)
async def test_rules_work_on_what_an_idle_bot_serves(
    changed: dict[str, int], firing: list[str], tmp_path: Path
) -> None:
    metrics.APP_SOCKETS.set(0)  # what another test in this process was told
    async with watching() as bot:
        await poll(bot)
        served = (await get(bot.app, "/metrics"))[1]
    values = {}
    for line in served.splitlines():
        series, _, value = line.rpartition(" ")
        if series.startswith("remediation_bot_") and "_created" not in series:
            values[series] = float(value)
    assert {f"remediation_bot_{name}" for name in changed} <= values.keys()
    values |= {f"remediation_bot_{name}": value for name, value in changed.items()}
    fires = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing]
    test = {
        "rule_files": [str(DEPLOY / "prometheus" / "rules.yaml")],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [{"series": item, "values": f"{value}x30"} for item, value in values.items()],
            "promql_expr_test": [{
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "25m", "exp_samples": fires,
            }],
        }],
    }  # fmt: skip
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    await asyncio.to_thread(run, ["promtool", "test", "rules", "test.yaml"], tmp_path)


def manifests() -> dict[str, dict[str, Any]]:
    """The Kubernetes manifests by kind."""
    found = [yaml.safe_load(path.read_text("utf-8")) for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))]
    return {each["kind"]: each for each in found}


@pytest.mark.parametrize("kind", ["Deployment", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy", "Service"])
def test_kubernetes_takes_each_manifest(kind: str) -> None:
    for version in ("1.31", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(manifests()[kind], version, strict=True)
    broken = {**manifests()[kind], "spec": {"misspelt": 1}, "data": 1}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.31", strict=True)


def test_pod_meets_the_restricted_standard() -> None:
    """As kubernetes.io, "Pod Security Standards", lists it."""
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert all({"secret", "emptyDir"} & volume.keys() for volume in pod["volumes"])
    assert {"startupProbe", "livenessProbe", "readinessProbe", "resources"} <= container.keys()
    longest = ACK_SECONDS + DRAIN_SECONDS + 2 * END_SECONDS + SHUTDOWN_SECONDS
    assert pod["terminationGracePeriodSeconds"] == 35 > longest
    assert "Allow 35 s." in (ROOT / "docs" / "operations.md").read_text("utf-8")


def test_manifests_agree_with_each_other_and_with_the_settings() -> None:
    found = manifests()
    label = {"app.kubernetes.io/name": "remediation-bot"}
    assert found["Deployment"]["spec"]["replicas"] == 2
    selectors = {"PodDisruptionBudget": "selector", "ServiceMonitor": "selector", "NetworkPolicy": "podSelector"}
    for kind, path in selectors.items():
        assert found[kind]["spec"][path]["matchLabels"] == label
    assert found["Service"]["spec"]["selector"] == label
    assert found["ServiceMonitor"]["spec"]["endpoints"][0]["port"] == found["Service"]["spec"]["ports"][0]["name"]
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    names = {each["name"].removesuffix("_FILE") for each in container["env"]} | set(found["ConfigMap"]["data"])
    assert names <= set(EXAMPLES)
    assert {each["name"].removesuffix("_FILE") for each in container["env"] if "FILE" in each["name"]} <= set(SECRETS)


def test_compose_file_keeps_the_containers_small_and_knows_every_setting() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    bot = services["services"]["bot"]
    assert bot["read_only"] is True
    assert bot["cap_drop"] == ["ALL"]
    assert set(services["services"]["database"]["secrets"]) <= set(services["secrets"])
    assert {name.removesuffix("_FILE") for name in bot["environment"]} <= set(EXAMPLES)


SECRET_VALUES = {
    "SLACK_BOT_TOKEN_FILE": "xoxb-1", "SLACK_APP_TOKEN_FILE": "xapp-1", "TOGETHER_API_KEY_FILE": "key",
    "DATABASE_URL_FILE": "postgresql://bot:x@database/bot",
}  # fmt: skip


def image_environment() -> dict[str, str]:
    """What the image sets for each container made from it."""
    final = (DEPLOY / "Dockerfile").read_text("utf-8").rpartition("\nFROM ")[2]
    words = [word for line in re.findall(r"^ENV (.*)$", final, re.MULTILINE) for word in line.split()]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def of_compose() -> Any:
    bot = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]["bot"]
    return bot["environment"] | {"BOT_OPERATORS": "S0GROUP01", "BOT_ALERT_CHANNEL": "C012ABCDEF"}  # bot.env


def of_kubernetes() -> Any:
    container = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return manifests()["ConfigMap"]["data"] | {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("of_manifest", [of_compose, of_kubernetes])
def test_bot_in_the_image_starts_with_the_environment_of_each_manifest(
    of_manifest: Callable[[], dict[str, str]], tmp_path: Path
) -> None:
    environ = image_environment() | of_manifest()
    for name, value in SECRET_VALUES.items():
        (tmp_path / name).write_text(value)
        assert name in environ
        environ[name] = str(tmp_path / name)
    assert read_settings(environ).database_url == SECRET_VALUES["DATABASE_URL_FILE"]


def test_container_without_a_database_url_keeps_its_file_on_the_volume() -> None:
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    folder = next(line.split()[1] for line in lines if line.startswith("VOLUME "))
    needed = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "TOGETHER_API_KEY": "k", "BOT_OPERATORS": "*"}
    file = read_settings(image_environment() | needed).database_url.removeprefix("sqlite:///")
    working = [line.split()[1] for line in lines if line.startswith("WORKDIR ")][-1]
    assert str(Path(working) / file) == f"{folder}/remediation-bot.db"


def health_check() -> list[str]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    return list(json.loads(re.findall(r"HEALTHCHECK [^\n]*\n *CMD (\[.*\])", text)[0]))


@pytest.mark.parametrize("is_default", [False, True])
async def test_health_check_of_a_bot_that_waits_for_slack_asks_it_and_no_proxy(*, is_default: bool) -> None:
    async with world() as bot:
        bot.slack.token_error = "token_revoked"
        await bot.time.end_pause(WaitReason.SLACK_CHECK)
        await bot.slack.until(lambda: [method for method, _ in bot.slack.calls].count("auth.test") > 1)
        await bot.time.until_sleeping(WaitReason.SLACK_CHECK)
        assert (await get(bot.app, "/readyz"))[0] == 503
        here, code = str(bot.app.port), health_check()[2]
        environ = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1", "PORT": here}
        if is_default:  # an empty variable counts as not set
            code, environ["PORT"] = code.replace("3000", here), ""
        command = [sys.executable, "-c", code]
        done = await asyncio.to_thread(
            subprocess.run, command, env=environ, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr


def test_compose_mounts_the_folder_of_the_secrets_so_that_a_replaced_file_is_seen() -> None:
    bot = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]["bot"]
    assert "secrets" not in bot
    (mount,) = bot["volumes"]
    source, target, access = mount.split(":")
    assert (source, access) == ("./secrets", "ro")
    files = [value for name, value in bot["environment"].items() if name.endswith("_FILE")]
    assert {str(Path(value).parent) for value in files} == {target}


def test_dockerfile_runs_as_nobody_and_says_whether_it_is_healthy() -> None:
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    assert "USER 65534:65534" in lines
    assert 'CMD ["remediation-bot"]' in lines
    compile(health_check()[2], "HEALTHCHECK", "exec")
    copies = [line for line in lines if line.startswith("COPY ") and "--from" not in line]
    copied = {word for line in copies for word in line.split()[1:-1]}
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {f"!{each}" for each in copied} <= set(ignored)
    assert all((ROOT / each).exists() for each in copied)


def test_unit_is_valid_and_exposes_little(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd" / "remediation-bot.service").read_text("utf-8")
    here = unit.replace("/opt/remediation-bot/bin/remediation-bot", sys.executable)
    (tmp_path / "remediation-bot.service").write_text(here)
    run(["systemd-analyze", "verify", "./remediation-bot.service"], tmp_path)
    run(["systemd-analyze", "security", "--offline=true", "--threshold=15", "./remediation-bot.service"], tmp_path)


def test_workflows_pin_actions_and_call_the_same_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] <= 60
            for step in job["steps"]:
                if uses := step.get("uses"):
                    assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", uses), uses
                made = re.findall(r"^make ([a-z ]+?)(?: [A-Z]|$)", step.get("run", ""), re.MULTILINE)
                assert {word for words in made for word in words.split()} <= targets


def test_sbom_lists_what_the_bot_depends_on(tmp_path: Path) -> None:
    made = tmp_path / "sbom.json"
    command = [str(Path(sys.executable).parent / "cyclonedx-py"), "requirements", "--output-file", str(made)]
    subprocess.run([*command, "requirements.lock"], cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - fixed words
    listed = {each["name"] for each in json.loads(made.read_text())["components"]}
    pinned = re.findall(
        r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE
    )
    assert listed == set(pinned)


async def test_wheel_in_a_clean_environment_starts_and_stops(tmp_path: Path) -> None:
    uv, venv, source = str(Path(sys.executable).parent / "uv"), tmp_path / "venv", tmp_path / "source"

    def install() -> None:
        for folder in ("bot", "handlers"):  # without what an earlier build has left beside them
            shutil.copytree(ROOT / folder, source / folder)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        lock, into = str(ROOT / "requirements.lock"), ["pip", "install", "--quiet", "--python", str(venv)]
        for words in (
            ["build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(source)],
            ["venv", "--quiet", "--python", sys.executable, str(venv)],
            [*into, "--require-hashes", "-r", lock],
        ):
            subprocess.run([uv, *words], check=True, cwd=tmp_path)  # noqa: S603 - fixed words
        (wheel,) = tmp_path.glob("*.whl")
        subprocess.run([uv, *into, "--no-deps", str(wheel)], check=True, cwd=tmp_path)  # noqa: S603 - as above

    await asyncio.to_thread(install)
    async with Slack() as slack, Together(slack.now) as together:
        port = free_port()
        environ = {**variables(slack, together), "PORT": str(port), "PATH": os.environ["PATH"]}
        bot = subprocess.Popen([venv / "bin" / "remediation-bot"], cwd=tmp_path, env=environ, text=True)  # noqa: ASYNC220, S603 - it lasts
        await ready(slack, port)
        await stop_bot(bot)
        assert bot.returncode == 0
    told = subprocess.run([venv / "bin" / "remediation-bot", "--help"], capture_output=True, text=True, check=True)  # noqa: ASYNC221, S603 - at the end
    assert "doctor" in told.stdout
