"""The environment: defaults, the two files it comes from, and one message for all that is wrong."""

import re
from pathlib import Path

import pytest

from bot.cards import CardConfig
from bot.environment import EXAMPLES, SECRETS, SettingsError, read_variables, unknown_names
from bot.formats import is_loopback
from bot.settings import Settings, read_settings
from bot.watcher import Route
from bot.wiring import plain_client, watch_config

GOOD = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": "shh",
    "TOGETHER_API_KEY": "key",
    "BOT_OPERATORS": "U012ABCDEF, S0GROUP01,*",
}


def test_defaults() -> None:
    settings = read_settings(GOOD)
    assert settings.slack_api_url == "https://slack.com/api"
    assert settings.together_base_url == "https://api.together.xyz/v1"
    assert settings.bot_operators == ("U012ABCDEF", "S0GROUP01", "*")
    assert (settings.bot_channels, settings.bot_clusters, settings.bot_alert_channel) == ((), (), None)
    assert (settings.bot_poll_seconds, settings.bot_lease_seconds) == (15, 15)
    assert settings.database_url == "sqlite:///remediation-bot.db"
    assert (settings.host, settings.port) == ("0.0.0.0", 3000)  # noqa: S104 - the documented default
    assert (settings.log_level, settings.log_format) == ("INFO", None)


def test_modes_are_taken_with_and_without_their_prefix() -> None:
    settings = read_settings({**GOOD, "BOT_TWO_PEOPLE_MODES": "VM_ONLY, REMEDIATION_MODE_HOST_POWER_CYCLE"})
    assert settings.bot_two_people_modes == ("REMEDIATION_MODE_VM_ONLY", "REMEDIATION_MODE_HOST_POWER_CYCLE")


def test_routes_have_a_channel_and_an_oncall_of_their_own_or_the_default() -> None:
    given = {**GOOD, "BOT_ALERT_CHANNEL": "C1", "BOT_ONCALL": "S1", "BOT_ROUTES": "c-train=C2/S2, c-infer=C3"}
    assert read_settings(given).bot_routes == {"c-train": ("C2", "S2"), "c-infer": ("C3", "")}
    assert read_settings(GOOD).bot_routes == {}
    config = watch_config(read_settings(given), "C1", CardConfig())
    assert config.routes == {"c-train": Route("C2", "S2"), "c-infer": Route("C3", "S1")}


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ("c-train", "contains “c-train”, which isn't cluster=channel or cluster=channel/oncall"),
        ("c-train=C2/", "contains “c-train=C2/”, which isn't"),
        ("c-train=ops", "isn't a channel ID"),
        ("c-train=C2/alice", "isn't a user ID or user group ID"),
        ("c train=C2", "contains a space"),
        ("c-train=C2,c-train=C3", "contains c-train twice"),
    ],
)
def test_wrong_routes_stop_the_start(routes: str, words: str) -> None:
    with pytest.raises(SettingsError, match="BOT_ROUTES") as error:
        read_settings({**GOOD, "BOT_ALERT_CHANNEL": "C1", "BOT_ROUTES": routes})
    assert words in str(error.value)


def test_waits_are_minutes_of_clusters() -> None:
    assert read_settings({**GOOD, "BOT_WAIT_MINUTES": "c-train=120, *=0"}).bot_wait_minutes == {"c-train": 120, "*": 0}
    assert read_settings({**GOOD, "BOT_WAIT_MINUTES": "120"}).bot_wait_minutes == {"*": 120}
    assert read_settings(GOOD).bot_wait_minutes == {}


@pytest.mark.parametrize(("brake", "nodes", "limit"), [
    ("20%", 64, 13), ("20%", 4, 2), ("100%", 5, 5), ("20%", None, None), ("3", None, 3), ("3", 64, 3),
])  # fmt: skip
def test_storm_brake_is_a_share_or_a_number(brake: str, nodes: int | None, limit: int | None) -> None:
    settings = read_settings({**GOOD, "BOT_ALERT_CHANNEL": "C0OPS", "BOT_STORM_BRAKE": brake})
    setting = watch_config(settings, "C0OPS", CardConfig()).storm_brake
    assert setting is not None
    assert setting.limit(nodes) == limit


@pytest.mark.parametrize("brake", ["0", "1", "0%", "101%", "20 %", "20.5%", "a"])
def test_storm_brake_that_is_none_stops_the_start(brake: str) -> None:
    with pytest.raises(SettingsError, match="BOT_STORM_BRAKE"):
        read_settings({**GOOD, "BOT_STORM_BRAKE": brake})


@pytest.mark.parametrize("waits", ["1441", "c=", "c=-1", "c=1441", "c=1.5", "c d=1", "*=1,*=2", "c=1,c=2", "c=٣"])
def test_wrong_waits_stop_the_start(waits: str) -> None:
    with pytest.raises(SettingsError, match="BOT_WAIT_MINUTES contains"):
        read_settings({**GOOD, "BOT_WAIT_MINUTES": waits})


@pytest.mark.parametrize("word", ["all", "True", "1", "none", "off", "*", "c-1;c-2", "c-*", "“*”", "‘c-1’", "c–1"])
def test_word_that_is_no_cluster_stops_the_start(word: str) -> None:
    given = {
        "BOT_CLUSTERS": word,
        "BOT_ROUTES": f"{word}=C2",
        "BOT_OBSERVE": f"c-1,{word}",
        "BOT_WAIT_MINUTES": f"{word}=30",
    }
    for name, value in given.items():
        if word == "*" and name in {"BOT_OBSERVE", "BOT_WAIT_MINUTES"}:
            continue
        with pytest.raises(SettingsError, match=rf"{name} contains “{re.escape(word)}”, which isn't a cluster ID"):
            read_settings({**GOOD, "BOT_ALERT_CHANNEL": "C1", name: value})


@pytest.mark.parametrize(
    "name", ["BOT_OPERATORS", "BOT_CHANNELS", "BOT_OBSERVE", "BOT_CLUSTERS", "BOT_TWO_PEOPLE_MODES"]
)
def test_list_of_nothing_stops_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} lists nothing"):
        read_settings({**GOOD, name: " , "})


def test_routes_need_a_default_and_channels_in_which_the_bot_acts() -> None:
    with pytest.raises(SettingsError, match="BOT_ROUTES must come with BOT_ALERT_CHANNEL"):
        read_settings({**GOOD, "BOT_ROUTES": "c-train=C2"})
    with pytest.raises(SettingsError, match="BOT_ROUTES must use channels of BOT_CHANNELS"):
        read_settings({**GOOD, "BOT_ALERT_CHANNEL": "C1", "BOT_CHANNELS": "C1", "BOT_ROUTES": "c-train=C2"})


def test_the_bot_must_be_allowed_to_act_in_its_alert_channel() -> None:
    with pytest.raises(SettingsError, match="BOT_ALERT_CHANNEL must be one of BOT_CHANNELS"):
        read_settings({**GOOD, "BOT_CHANNELS": "C1,C2", "BOT_ALERT_CHANNEL": "C3"})
    assert read_settings({**GOOD, "BOT_CHANNELS": "C1, C3", "BOT_ALERT_CHANNEL": "C3"}).bot_alert_channel == "C3"


def test_every_setting_has_an_example() -> None:
    assert {name.upper() for name in Settings.model_fields} == set(EXAMPLES)


@pytest.mark.parametrize("url", ["https://api.together.ai", "https://api.together.ai/", "https://api.together.ai/v1/"])
def test_the_base_url_is_taken_with_and_without_v1(url: str) -> None:
    assert read_settings({**GOOD, "TOGETHER_BASE_URL": url}).together_base_url == "https://api.together.ai/v1"


def test_nothing_is_set_and_everything_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({})
    assert str(caught.value).splitlines()[0] == "The bot can't start: 4 variables are missing or invalid."
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "TOGETHER_API_KEY", "BOT_OPERATORS"):
        assert f"  {name} is missing" in str(caught.value)
    assert "set SLACK_SIGNING_SECRET for HTTP mode" in str(caught.value)


WRONG = {
    "SLACK_BOT_TOKEN": ("xoxp-secret", "must start with xoxb-"),
    "SLACK_SIGNING_SECRET": ("sécret", "contains a character not allowed in a token"),
    "SLACK_APP_TOKEN": ("secret", "must start with xapp-"),
    "SLACK_API_URL": ("http://slack.com/api/", "must start with https:// (http:// only on loopback)"),
    "TOGETHER_API_KEY": ("two words", "contains a character not allowed in a token"),
    "TOGETHER_BASE_URL": ("api.together.xyz", "isn't a plain URL"),
    "BOT_OPERATORS": ("U1,alice", "contains “alice”, which isn't a user ID, user group ID, or *"),
    "BOT_RETENTION_DAYS": ("never", "must be a whole number from 1 to 36500."),
    "BOT_CHANNELS": ("#ops", "contains “#ops”, which isn't a channel ID"),
    "BOT_ALERT_CHANNEL": ("ops", "isn't a channel ID"),
    "BOT_CLUSTERS": ("a,b/c", "contains “/”, which isn't allowed."),
    "BOT_POLL_SECONDS": ("0", "must be a whole number from 1 to 3600."),
    "BOT_REMIND_MINUTES": ("-1", "must be a whole number from 0 to 10080."),
    "BOT_ONCALL": ("@oncall", "isn't a user ID or user group ID"),
    "BOT_OBSERVE": ("a,b/c", "contains “/”, which isn't allowed."),
    "BOT_ESCALATE": ("S0LEADS", "isn't an ID and 1 to 1440 minutes"),
    "BOT_CONSOLE_URL": ("http://x.example/", "must be a link that starts with https:// and a host"),
    "BOT_RUNBOOK_URL": ("https://x.example/{host}", "contains {host}, which isn't one of {cluster_id}, {instance_id}"),
    "BOT_IMPACT_URL": ("http://jobs.example/{node}", "must be a link that starts with https:// and a host"),
    "BOT_IMPACT_TOKEN": ("two words", "contains a character not allowed in a token"),
    "BOT_QUIET_HOURS": ("22:00-07:00 Berlin", "contains “Berlin”, which isn't a time zone"),
    "BOT_SUMMARY": ("08:00 Berlin", "contains “Berlin”, which isn't a time zone"),
    "BOT_BREAK_GLASS": ("U1,bob", "contains “bob”, which isn't a user ID, user group ID, or *"),
    "BOT_REASON": ("sometimes", "must be never, cancel or always."),
    "BOT_MAX_IN_REPAIR": ("0", "must be a whole number of at least 1."),
    "BOT_MAX_IN_REPAIR_PERCENT": ("101", "must be a whole number from 1 to 100."),
    "BOT_TWO_PEOPLE_MODES": ("REBOOT_VM,reboot", "contains “reboot”, which isn't a mode"),
    "BOT_PAGERDUTY_WHEN": ("always", "must be opened or reminder"),
    "BOT_STORM_BRAKE": ("120%", "isn't a percentage such as 20%, or a number of nodes, 2 at least"),
    "BOT_UNREPAIRED_MINUTES": ("-1", "must be a whole number from 0 to 10080"),
    "BOT_MAX_REPAIRS_PER_NODE": ("3 a day", "isn't repairs/hours, such as 3/24h"),
    "BOT_LEASE_SECONDS": ("301", "must be a whole number from 2 to 300."),
    "DATABASE_URL": ("mysql://x", "must start with sqlite:///, postgres://, or postgresql://"),
    "PORT": ("http", "must be a whole number from 0 to 65535."),
    "LOG_LEVEL": ("loud", "must be DEBUG, INFO, WARNING or ERROR."),
    "LOG_FORMAT": ("xml", "must be text or json."),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_told_with_what_is_wrong_and_an_example(name: str) -> None:
    value, problem = WRONG[name]
    with pytest.raises(SettingsError) as caught:
        read_settings({**GOOD, name: value})
    lines = str(caught.value).splitlines()
    assert lines[0] == "The bot can't start: One variable is missing or invalid."
    assert lines[1].startswith(f"  {name} {problem}")
    assert lines[1].endswith(f"Example: {EXAMPLES[name]}")


@pytest.mark.parametrize(("name", "value", "problem"), [
    ("TOGETHER_BASE_URL", "https://api.together.xyz:port", "isn't a plain URL"),
    ("BOT_WEBHOOK_URL", "https://[::1", "isn't a plain URL"),
    ("BOT_CONSOLE_URL", "https://x.example/{cluster_id", "has a brace without the one that belongs to it"),
    ("BOT_RUNBOOK_URL", "https://x.example/{xid}}", "has a brace without the one that belongs to it"),
    ("BOT_CONSOLE_URL", "https://x.example/a|b", "contains “|”, which ends a link in Slack. Write it as %7C"),
    ("BOT_RUNBOOK_URL", "https://x.example/?of=>{xid}", "contains “>”, which ends a link in Slack. Write it as %3E"),
    ("BOT_RUNBOOK_URL", "https://[x.example/{xid}", "must be a link that starts with https:// and a host"),
    ("BOT_IMPACT_URL", "http://[::1/{node}", "must be a link that starts with https:// and a host"),
    ("BOT_ROUTES", "c-train=C1,c-infer=#ops", "contains “c-infer=#ops”, part of which isn't a channel ID"),
    ("BOT_ROUTES", "a=C1/U1,b=C1/@bob", "contains “b=C1/@bob”, part of which isn't a user ID or user group ID"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_the_bots_own_words_and_of_one_of_many(name: str, value: str, problem: str) -> None:
    given = {**GOOD, "BOT_ALERT_CHANNEL": "C1", "BOT_WEBHOOK_SECRET": "whsec_" + "A" * 32, name: value}
    if name != "BOT_WEBHOOK_URL":
        del given["BOT_WEBHOOK_SECRET"]
    with pytest.raises(SettingsError) as caught:
        read_settings(given)
    assert str(caught.value).splitlines()[1].startswith(f"  {name} {problem}.")


def test_no_secret_is_told_or_shown() -> None:
    wrong = {**GOOD, "SLACK_BOT_TOKEN": "xoxp-hush", "TOGETHER_API_KEY": "hu sh", "SLACK_APP_TOKEN": "hush"}
    with pytest.raises(SettingsError) as caught:
        read_settings(wrong)
    assert "hush" not in str(caught.value)
    assert "hu sh" not in str(caught.value)
    shown = repr(read_settings({**GOOD, "DATABASE_URL": "postgres://u:hush@h/d", "TOGETHER_API_KEY": "hush"}))
    assert "hush" not in shown


@pytest.mark.parametrize(("name", "value"), [("BOT_OPERATORS", " , "), ("SLACK_BOT_TOKEN", "xoxb-")])
def test_a_placeholder_is_no_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({**GOOD, name: value})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SettingsError, match="36 variables are"):
        read_settings({name: value for name, (value, _) in WRONG.items()})


@pytest.mark.parametrize("url", ["https://x.example:abc", "https://x.example:99999", "https://x ample", "https://"])
def test_a_url_that_cannot_be_called_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="TOGETHER_BASE_URL"):
        read_settings({**GOOD, "TOGETHER_BASE_URL": url})


def test_a_token_in_the_wrong_line_is_not_printed() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({**GOOD, "BOT_OPERATORS": "xoxb-hush"})
    assert "hush" not in str(caught.value)


def test_a_dotenv_file_is_read_and_real_variables_win(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PORT=4000\nLOG_LEVEL=debug\nSLACK_APP_TOKEN=xapp-1\n", encoding="utf-8")
    settings = read_settings(read_variables({**GOOD, "PORT": "5000", "SLACK_APP_TOKEN": ""}, dotenv))
    assert (settings.port, settings.log_level, settings.slack_app_token) == (5000, "DEBUG", None)
    assert read_settings(read_variables(GOOD, tmp_path / "none")).port == 3000


def test_secret_in_a_dotenv_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOGETHER_API_KEY=abc${NOPE}def$HOME\n", encoding="utf-8")
    kept = {name: value for name, value in GOOD.items() if name != "TOGETHER_API_KEY"}
    assert (
        read_settings(read_variables(kept, tmp_path / ".env")).together_api_key.get_secret_value()
        == "abc${NOPE}def$HOME"
    )


@pytest.mark.parametrize("content", ["BOT_REASON=ü".encode("latin-1"), "BOT_REASON=x".encode("utf-16")])
def test_dotenv_file_that_is_not_utf_8_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_settings(read_variables(GOOD, tmp_path / ".env"))
    assert str(caught.value).startswith(f"The bot can't start: {tmp_path}/.env can't be read: byte 0x")
    assert str(caught.value).endswith("isn't UTF-8. Save the file as UTF-8.")


@pytest.mark.parametrize(
    "line",
    [
        "BOT_OBSERVE: *", "SET BOT_OBSERVE=*", 'BOT_OBSERVE="*', "BOT_OBSERVE='*'x", "BOT_OBSERVE", "c-train",
        "c-train=C2/S2", "*=30",
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["# who decides\nBOT_OPERATORS=U1\n", "BOT_OBSERVE=c-infer,\n\n", "\n \n"])
def test_line_of_a_dotenv_file_that_is_no_setting_stops_the_start_and_is_not_printed(
    tmp_path: Path, before: str, line: str
) -> None:
    (tmp_path / ".env").write_text(f"{before}{line}\nPORT=4000\n")
    with pytest.raises(SettingsError) as caught:
        read_settings(read_variables(GOOD, tmp_path / ".env"))
    why = "line 3 isn't NAME=value. Correct it, or begin it with #."
    assert str(caught.value) == f"The bot can't start: {tmp_path}/.env can't be read: {why}"


@pytest.mark.parametrize("lines", ["BOT_OBSERVE=*\nBOT_OBSERVE=\n", "BOT_OBSERVE=\nBOT_OBSERVE=*\n"])
def test_empty_line_of_the_example_takes_back_no_guard_rail(tmp_path: Path, lines: str) -> None:
    (tmp_path / ".env").write_text(lines)
    assert read_settings(read_variables(GOOD, tmp_path / ".env")).bot_observe == ("*",)


@pytest.mark.parametrize("lines", ["BOT_OBSERVE=*\n\nBOT_OBSERVE=c-1\n", "BOT_OBSERVE=c-1\n\nBOT_OBSERVE='c-2'\n"])
def test_two_lines_that_contradict_each_other_stop_the_start(tmp_path: Path, lines: str) -> None:
    """A list of guard rails that continues on a second line looks as if both count."""
    (tmp_path / ".env").write_text(lines)
    with pytest.raises(SettingsError) as caught:
        read_settings(read_variables(GOOD, tmp_path / ".env"))
    why = "line 3 sets BOT_OBSERVE to something else than an earlier line. Keep one."
    assert str(caught.value) == f"The bot can't start: {tmp_path}/.env can't be read: {why}"
    (tmp_path / ".env").write_text("BOT_OBSERVE=c-1\nBOT_OBSERVE='c-1'\n")
    assert read_settings(read_variables(GOOD, tmp_path / ".env")).bot_observe == ("c-1",)


def test_dotenv_file_of_a_windows_editor_is_read_from_its_first_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfBOT_CHANNELS=C1\r\n\r\nexport PORT=4000 # free\r\n")
    settings = read_settings(read_variables(GOOD, tmp_path / ".env"))
    assert (settings.bot_channels, settings.port) == (("C1",), 4000)
    assert read_settings(read_variables(GOOD, tmp_path)).port == 3000


def test_dotenv_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to("/proc/self/mem")  # as root too
    with pytest.raises(SettingsError) as caught:
        read_settings(read_variables(GOOD, tmp_path / ".env"))
    assert str(caught.value).startswith(f"The bot can't start: {tmp_path}/.env can't be read: Input/output error.")


@pytest.mark.parametrize(("name", "meant"), [
    ("BOT_TWO_PEOPLE_MODE", "BOT_TWO_PEOPLE_MODES"), ("BOT_TWO_PERSON_MODES", "BOT_TWO_PEOPLE_MODES"),
    ("BOT_MAX_IN_REPAIRS", "BOT_MAX_IN_REPAIR"), ("BOT_CHANNEL", "BOT_CHANNELS"), ("BOT_POLL", "BOT_POLL_SECONDS"),
    ("BOT_AUDIT_KEYFILE", "BOT_AUDIT_KEY_FILE"),
])  # fmt: skip
def test_misspelled_setting_stops_the_start_with_a_suggestion(name: str, meant: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"{name} isn't a setting \(did you mean {meant}\?\)\."):
        read_settings(GOOD | {name: "1"})
    (tmp_path / ".env").write_text(f"{name}=1\n")
    with pytest.raises(SettingsError, match=name):
        read_settings(read_variables(GOOD, tmp_path / ".env"))
    assert read_settings(GOOD | {name: ""})


def test_setting_that_no_version_resembles_is_a_warning() -> None:
    """Kubernetes itself sets the last two for a Service named bot."""
    strange = {"BOT_GREETING": "1", "BOT_SERVICE_HOST": "10.0.0.1", "BOT_PORT_3000_TCP": "tcp://10.0.0.1:3000"}
    assert read_settings(GOOD | strange) == read_settings(GOOD)
    assert unknown_names(GOOD | strange, GOOD | strange) == sorted(strange)
    given = GOOD | {"BOT_AUDIT_KEY_FILE": "/x", "BOT_GREETING": ""}
    assert unknown_names(given, given) == []


def test_name_in_dotenv_that_does_nothing_there_is_a_warning(tmp_path: Path) -> None:
    """The file holds settings alone, and what it says of a proxy reaches no other program."""
    path = tmp_path / ".env"
    path.write_text("DATABASE_URI=postgresql://u@h/d\nHTTPS_PROXY=http://proxy:3128\nPORT=3001\nDATABASE_URL_FILE=/x\n")
    environ = GOOD | {"HTTP_PROXY": "http://proxy:3128"}
    assert unknown_names(read_variables(environ, path), environ) == ["DATABASE_URI", "HTTPS_PROXY"]


def test_socket_mode_needs_no_signing_secret() -> None:
    settings = read_settings({**GOOD, "SLACK_SIGNING_SECRET": "", "SLACK_APP_TOKEN": "xapp-1"})
    assert settings.slack_signing_secret is None
    assert set(settings.secrets) == {"xoxb-1", "xapp-1", "key"}


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_is_kept_out_of_logs(name: str) -> None:
    value = {
        "SLACK_BOT_TOKEN": "xoxb-hidden", "SLACK_APP_TOKEN": "xapp-hidden", "BOT_PAGERDUTY_KEY": "h" * 32,
        "BOT_WEBHOOK_SECRET": f"whsec_{'hidd' * 8}", "DATABASE_URL": "postgresql://bot:hidden@db/bot",
    }.get(name, "hidden-hidden-hidden-hidden-hidden")  # fmt: skip
    others = {"BOT_WEBHOOK_URL": "https://example.com"} if name == "BOT_WEBHOOK_SECRET" else {}
    settings = read_settings(GOOD | others | {name: value})
    assert (value if name != "DATABASE_URL" else "hidden") in settings.secrets


def test_bolts_oauth_mode_is_not_turned_on_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_CLIENT_ID", "1")
    monkeypatch.setenv("SLACK_CLIENT_SECRET", "2")
    with pytest.raises(SettingsError, match="SLACK_CLIENT_ID and SLACK_CLIENT_SECRET"):
        read_settings(GOOD)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_socks_proxy_is_refused_unless_all_is_on_loopback(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "socks5://proxy:1080")
    with pytest.raises(SettingsError, match=f"{name} must be an HTTP proxy"):
        read_settings(GOOD)
    read_settings({**GOOD, "SLACK_API_URL": "http://localhost:1/api", "TOGETHER_BASE_URL": "http://localhost:2"})
    for usable in ("http://proxy:3128", "proxy:3128", ""):
        monkeypatch.setenv(name, usable)
        read_settings(GOOD)


@pytest.mark.parametrize("others", [
    {"HTTPS_PROXY": "HTTP://proxy:3128"},
    {"NO_PROXY": "*"},
    {"NO_PROXY": "slack.com,api.together.xyz"},
])  # fmt: skip
async def test_socks_proxy_that_nothing_goes_through_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, others: dict[str, str]
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    await plain_client(read_settings(GOOD).slack_api_url).aclose()


@pytest.mark.parametrize("told", [
    {"BOT_PAGERDUTY_KEY": "r" * 32},
    {"BOT_WEBHOOK_URL": "https://hooks.example.com/x", "BOT_WEBHOOK_SECRET": f"whsec_{'A' * 32}"},
])  # fmt: skip
def test_socks_proxy_that_only_another_tool_goes_through_is_refused(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, str]
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    monkeypatch.setenv("NO_PROXY", "slack.com,api.together.xyz,hooks.example.com")
    with pytest.raises(SettingsError, match="ALL_PROXY must be an HTTP proxy"):
        read_settings({**GOOD, **told})


@pytest.mark.parametrize(("url", "local"), [
    ("http://localhost:1/x", True),
    ("http://127.8.8.8", True),
    ("http://[::1]:80", True),
    ("https://slack.com", False),
    ("http://10.0.0.1", False),
    ("nonsense", False),
])  # fmt: skip
def test_loopback(url: str, local: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_loopback(url) is local


@pytest.mark.parametrize(("value", "meant"), [
    ("POWERCYCLE_HOST", "HOST_POWER_CYCLE"), ("POWER_CYCLE_HOST", "HOST_POWER_CYCLE"), ("REBOOTVM", "REBOOT_VM"),
    ("REMEDIATION_MODE_VM_ONYL", "VM_ONLY"), ("EVICT", "EVICT_WITHOUT_REPLACEMENT"), ("REBOOT", "REBOOT_VM"),
])  # fmt: skip
def test_mode_in_other_words_stops_the_start_with_a_suggestion(value: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=rf"\(did you mean {meant}\?\)\. "):
        read_settings(GOOD | {"BOT_TWO_PEOPLE_MODES": value})


@pytest.mark.parametrize("value", ["ALL", "REBOOT_VM,ANY", "TRUE", "REMEDIATION_MODE_ALL"])
def test_word_for_all_modes_is_none(value: str) -> None:
    with pytest.raises(SettingsError, match=r"BOT_TWO_PEOPLE_MODES contains “[A-Z_]*”, which isn't a mode"):
        read_settings(GOOD | {"BOT_TWO_PEOPLE_MODES": value})


def test_mode_that_is_not_known_yet_is_taken_and_told() -> None:
    settings = read_settings(GOOD | {"BOT_TWO_PEOPLE_MODES": "QUANTUM_RESET,REBOOT_VM"})
    assert settings.unknown_modes == ("REMEDIATION_MODE_QUANTUM_RESET",)


@pytest.mark.parametrize("password", ["100%sure", "very@sure", "very/sure"])
def test_database_url_with_an_odd_password_is_not_quoted(password: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(GOOD | {"DATABASE_URL": f"postgresql://bot:{password}@host/db"})
    assert "sure" not in str(caught.value)
    assert "percent-encode" in str(caught.value)


def test_database_url_with_a_percent_encoded_password_is_taken() -> None:
    kept = read_settings(GOOD | {"DATABASE_URL": "postgresql://bot:p%40ssword@host/db"})
    assert {"p%40ssword", "p@ssword"} <= set(kept.secrets)


@pytest.mark.parametrize(
    "url", ["https://{cluster_id}.example/", "https://x.example/{xid", "https://x.example/{xid!r}", "x"]
)
def test_link_template_has_a_fixed_host_and_whole_placeholders(url: str) -> None:
    with pytest.raises(SettingsError, match="BOT_RUNBOOK_URL"):
        read_settings({**GOOD, "BOT_RUNBOOK_URL": url})


@pytest.mark.parametrize(
    "hours", ["22-7 UTC", "25:00-07:00 UTC", "22:00-24:00 UTC", "07:00-07:00 UTC", "22:00-07:00", "22:00-07:00 ../etc"]
)
def test_quiet_hours_are_two_times_and_a_zone(hours: str) -> None:
    with pytest.raises(SettingsError, match="BOT_QUIET_HOURS"):
        read_settings({**GOOD, "BOT_QUIET_HOURS": hours})


@pytest.mark.parametrize("at", ["8 UTC", "25:00 UTC", "24:00 UTC", "08:00", "08:00 ../etc"])
def test_summary_is_a_time_and_a_zone(at: str) -> None:
    with pytest.raises(SettingsError, match="BOT_SUMMARY"):
        read_settings({**GOOD, "BOT_SUMMARY": at})


def test_console_has_a_default_and_can_be_switched_off() -> None:
    assert read_settings(GOOD).bot_console_url == "https://api.together.ai/clusters"
    assert read_settings({**GOOD, "BOT_CONSOLE_URL": "Off"}).bot_console_url == ""


def test_quiet_hours_are_read() -> None:
    hours = read_settings({**GOOD, "BOT_QUIET_HOURS": "22:00-07:00 Europe/Berlin"}).bot_quiet_hours
    assert hours is not None
    assert (hours.begin.hour, hours.end.hour, hours.zone.key) == (22, 7, "Europe/Berlin")


def test_proxy_that_is_no_url_is_a_wrong_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://[::1")
    good = {
        "SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "a", "TOGETHER_API_KEY": "k", "BOT_OPERATORS": "U0ALICE",
    }  # fmt: skip
    with pytest.raises(SettingsError, match="HTTPS_PROXY"):
        read_settings(good)


NOT_SECRET = [
    "BOT_TWO_PEOPLE_MODES", "BOT_ROUTES", "BOT_WAIT_MINUTES", "BOT_CLUSTERS", "BOT_CHANNELS", "BOT_QUIET_HOURS",
    "BOT_OBSERVE",
]  # fmt: skip


@pytest.mark.parametrize("name", NOT_SECRET)
@pytest.mark.parametrize("secret", ["xoxb-1-hush-hush-hush", "tgp_v1_hush-hush-hush"])
def test_secret_in_the_wrong_line_is_neither_printed_nor_used(name: str, secret: str) -> None:
    given = {**GOOD, "TOGETHER_API_KEY": "tgp_v1_hush-hush-hush", name: secret}
    with pytest.raises(SettingsError, match=f"{name} contains") as caught:
        read_settings(given)
    assert "hush" not in str(caught.value)


def test_copy_of_the_audit_trail_is_not_written_into_the_database(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    with pytest.raises(SettingsError, match="BOT_AUDIT_FILE must be another file than the database"):
        read_settings({**GOOD, "DATABASE_URL": f"sqlite:///{path}", "BOT_AUDIT_FILE": str(path)})
