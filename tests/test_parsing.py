"""What people type and paste behind the slash command."""

import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from time import process_time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import bot.cards.blocks
import bot.decisions.naming
import bot.mention_parsing
import bot.mrkdwn
import bot.parsing
import bot.text_search
from bot import cards
from bot.errors import InvalidId, UnreadableCommand
from bot.mention_parsing import Ask, AskForStatus, AskToHold, parse_mention
from bot.models import RemediationRef
from bot.parsing import (
    FILLERS,
    MAX_REASON,
    MAX_TEXT,
    RESERVED,
    Browse,
    Find,
    Help,
    ListWaiting,
    Order,
    parse,
)
from bot.text_search import MAX_SEARCHED, references

URL = "https://api.together.xyz/v1/compute/clusters/c1/instances/i1/remediations/r1"

READABLE = {
    "a group and all in the reason": (
        "c1 i1 r1 <!subteam^S1|@oncall>, <!subteam^S2>, <!here>, and <!channel|channel> know",
        "@oncall, @S2, @here, and @channel know",
    ),
    "a number in the reason": ("c1 i1 r1 Sam says so, <tel:+15551234|555-1234>", "Sam says so, 555-1234"),
    "a mention in the reason": ("c1 i1 r1 asked by <@U0BOB> in <#C0OPS|general>", "asked by @U0BOB in #general"),
    "a named mention in the reason": ("c1 i1 r1 asked by <@U0BOB|bob>", "asked by @bob"),
    "a lone dash": ("c1 i1 r1 -", ""),
    "a lone long dash": ("c1 i1 r1 —", ""),
    "three words": ("c1 i1 r1", ""),
    "slashes": ("c1/i1/r1", ""),
    "slashes around": ("/c1/i1/r1/", ""),
    "slashes and a reason": ("c1/i1/r1 flaky NVLink", "flaky NVLink"),
    "the end of a path": ("c1/i1/r1/cancel", ""),
    "commas": ("c1, i1, r1", ""),
    "commas and a reason": ("c1, i1, r1, job ends at 4", "job ends at 4"),
    "a reason that begins with a moment": ("c1 i1 r1 2026-11-29 03:14 Xid79 again", "2026-11-29 03:14 Xid79 again"),
    "line breaks": ("c1\ni1\r\nr1\nfalse alarm", "false alarm"),
    "tabs": ("\tc1\ti1\tr1", ""),
    "no-break spaces": ("c1\u00a0i1\u202fr1", ""),
    "zero-width spaces": ("\u200bc1\u200b i1\ufeff r1\u2060", ""),
    "backticks": ("`c1` `i1` `r1`", ""),
    "one code": ("`c1/i1/r1`", ""),
    "a code block": ("```\nc1 i1 r1\n``` rebooted", "rebooted"),
    "straight quotes": ('"c1" \'i1\' "r1"', ""),
    "smart quotes": ("“c1” ‘i1’ “r1” “by hand”", "by hand"),
    "a URL": (URL, ""),
    "a URL as Slack links it": (f"<{URL}>", ""),
    "a URL with a label": (f"<{URL}|the alert> done by hand", "done by hand"),
    "a URL with verb and query": (f"<{URL}/cancel?x=1> done", "done"),
    "a URL in code": (f"`{URL}` done", "done"),
    "a percent-encoded URL": (URL.replace("c1", "%63%31"), ""),
    "the new host": (URL.replace("xyz", "ai"), ""),
    "a path": ("/compute/clusters/c1/instances/i1/remediations/r1", ""),
    "key and value": ('cluster=c1 instance=i1 remediation=r1 reason="job is done, ok"', "job is done, ok"),
    "an option in a quoted reason": ('cluster=c1 instance=i1 remediation=r1 reason="GPU -fell off"', "GPU -fell off"),
    "no-break spaces between keys": ("cluster=c1\u00a0instance=i1\u202fremediation=r1", ""),
    "keys in any order": ("remediation=r1, cluster=c1, instance=i1", ""),
    "the API's names": ("cluster_id=c1 instance_id=i1 remediation_id=r1", ""),
    "spaces around =": ("cluster = c1 instance = i1 remediation = r1", ""),
    "a smart-quoted reason": ("cluster=c1 instance=i1 remediation=r1 reason=“by hand”", "by hand"),
    "an open reason": ("cluster=c1 instance=i1 reason=by hand remediation=r1", "by hand"),
    "a reason behind": ("cluster=c1 instance=i1 remediation=r1 by hand", "by hand"),
    "options": ("--cluster c1 --instance i1 --remediation r1 --reason by hand", "by hand"),
    "options with =": ("--cluster=c1 --instance=i1 --remediation=r1", ""),
    "options with the dash of macOS": ("—cluster c1 —instance i1 —remediation r1 —reason “by hand”", "by hand"),
    "options with another dash": ("–cluster-id c1 –instance-id i1 –remediation-id r1", ""),
    "words and reason=": ("c1 i1 r1 reason=by hand", "by hand"),
    "a reason that begins like a request": ("c1 i1 r1 reason=hold the line", "hold the line"),
    "an option whose reason begins like a request": (
        'cluster=c1 instance=i1 remediation=r1 reason="stop paging"',
        "stop paging",
    ),
    "words and --reason": ("c1 i1 r1 —reason “by hand”", "by hand"),
    "the foot of a card": ("cluster `c1`\ninstance `i1`\nremediation `r1`", ""),
    "the foot of a card, and why": ("cluster c1 · instance i1 · remediation r1 by hand", "by hand"),
    "a link to a ticket": ("c1 i1 r1 https://tickets.example.com/a/b/c", "https://tickets.example.com/a/b/c"),
    "a dash": ("c1 i1 r1 - by hand", "- by hand"),
    "an apostrophe": ("c1 i1 r1 don't repair, it's fine", "don't repair, it's fine"),
    "Slack's entities": ("c1 i1 r1 a &lt;b&gt; &amp;amp;", "a <b> &amp;"),
    "a long reason": (f"c1 i1 r1 {'x' * 900}", "x" * MAX_REASON),
}

UNREADABLE = {
    "a verb of the bot": ("approve c1 i1 r1", "/cancel-remediation can't approve."),
    "status of nothing": ("status", "Type /cancel-remediation status and a node name or an ID."),
    "two parts": ("c1 i1", "Missing remediation ID. Read “c1” as the cluster and “i1” as the instance."),
    "only separators": (" / , ", "Missing cluster, instance, and remediation IDs."),
    "an option is missing": ("--cluster c1 --remediation r1", "Missing instance ID."),
    "an option without value": ("cluster= instance=i1 remediation=r1", "Missing cluster ID."),
    "an option twice": ("cluster=c1 cluster=c2 instance=i1 remediation=r1", "“cluster” appears twice."),
    "an unknown option": ("--cluster c1 --instance i1 --remediation r1 --force", "Unknown option “--force”."),
    "words before options": ("kindly --cluster c1 --instance i1", "Unrecognized text before “--cluster”: “kindly”."),
    "a mention": ("<@U123> i1 r1", "The cluster ID contains “@”, which isn't allowed."),
    "an equals sign": ("c1 i=1 r1", "The instance ID contains “=”, which isn't allowed."),
    "a dot": ("c1 . r1", "The instance ID can't be “.”."),
    "any instance": ("c1 - r1", "The instance ID can't be “-”."),
    "two dots in a URL": (URL.replace("i1", "%2e%2e"), "The instance ID can't be “..”."),
    "a slash in a URL": (URL.replace("i1", "i%2F1"), "The instance ID contains “/”"),
    "too long": (f"c1 i1 {'x' * 201}", "The remediation ID is longer than 200 characters."),
    "four parts": ("org/c1/i1/r1", "Too many parts are joined"),
    "four parts with commas": ("c1,i1,r1,r2", "Too many parts are joined"),
    "an option behind": ("c1 i1 r1 --dry-run", "Unrecognized text after the IDs: “--dry-run”."),
    "an option behind a quoted reason": (
        'cluster=c1 instance=i1 remediation=r1 reason="by hand" --dry-run',
        "Unknown option “--dry-run”.",
    ),
    "help behind": ("c1 i1 r1 —help", "Unrecognized text after the IDs: “—help”."),
    "a verb behind": ("c1 i1 r1 /approve", "Unrecognized text after the IDs: “/approve”."),
    "a verb without a slash behind": ("c1 i1 r1 approve", "Unrecognized text after the IDs: “approve”."),
    "a request behind": (f"{URL} status", "Unrecognized text after the IDs: “status”."),
    "a question mark behind": ("c1/i1/r1 ?", "Unrecognized text after the IDs: “?”."),
    "a hold behind": ("c1 i1 r1 hold 1h", "Unrecognized text after the IDs: “hold 1h”. Put reason= before a reason."),
    "dashes behind": ("c1 i1 r1 -- dry-run", "Unrecognized text after the IDs: “-- dry-run”."),
    "a second reference behind another word": (
        "c-a i-a r-a then c-a i-b r-b",
        "Unrecognized text after the IDs: “then",
    ),
    "a second reference in brackets": ("c-a i-a r-a (and c-a i-b r-b)", "Unrecognized text after the IDs: “(and c-a"),
    "a second reference in a list": ("c-a i-a r-a\n- c-a i-b r-b", "Unrecognized text after the IDs: “- c-a i-b r-b”."),
    "three references in lines": (
        "c1 i1 r1\nc2 i2 r2\nc3 i3 r3",
        "Unrecognized text after the IDs: “c2 i2 r2 c3 i3",
    ),
    "a second reference and a reason": ("c1 i1 r1 c2 i2 r2 both broken", "Unrecognized text after the IDs: “c2 i2 r2"),
    "a second reference without digits": ("c i r c j q", "Unrecognized text after the IDs: “c j q”."),
    "a second reference": ("c1/i1/r1 c1/i1/r2", "Unrecognized text after the IDs: “c1/i1/r2”."),
    "a second URL": (f"{URL} {URL}2", "Unrecognized text after the IDs: “https://api.together.xyz"),
    "a URL that approves": (f"{URL}/approve", 'That URL ends in "/approve", but /cancel-remediation only cancels.'),
}


def why_unreadable(read: Callable[[str], object], text: str) -> str:
    with pytest.raises(UnreadableCommand) as caught:
        read(text)
    return caught.value.sentence


@pytest.mark.parametrize(("text", "reason"), READABLE.values(), ids=READABLE)
def test_reads_what_people_type(text: str, reason: str) -> None:
    assert parse(text) == Order(RemediationRef("c1", "i1", "r1"), reason)


@pytest.mark.parametrize(("text", "sentence"), UNREADABLE.values(), ids=UNREADABLE)
def test_names_the_part_that_is_missing_or_wrong(text: str, sentence: str) -> None:
    assert why_unreadable(parse, text).startswith(sentence)


ELSE = [
    "approve gpu-1",
    "hold",
    "stop",
    "resume gpu-1",
    "status",
    "status c1 i1",
    "history",
    "history a b",
    "list gpu-1",
]
UNCLEAR = ["approve c1 i1", "cancel c1 i1", "hold c1 i1", "hold 99h gpu-1", "hold an hour gpu-1", "approve list"]


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *(pytest.param(parse, text, id=f"command {text}") for text in ELSE),
        *(pytest.param(parse_mention, text, id=f"message {text}") for text in UNCLEAR),
    ],
)
def test_nobody_who_asks_for_something_else_is_told_how_to_cancel(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(UnreadableCommand) as caught:
        read(text)
    assert cards.private(caught.value).text.endswith("Nothing was sent.")


@pytest.mark.parametrize("text", ["help", "HELP", "`help`", "--help", "-h", "?"])
def test_help_asks_for_the_usage(text: str) -> None:
    assert parse(text) == Help()


@pytest.mark.parametrize("text", ["", "   ", "\u200b", "``", "cancel", "“Cancel”"])
def test_no_name_asks_to_choose(text: str) -> None:
    assert parse(text) == Browse()


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("list", ListWaiting()),
        ("gpu-node-07", Find("gpu-node-07")),
        ("`gpu-node-07`", Find("gpu-node-07")),
        ("cancel gpu-node-07", Find("gpu-node-07")),
        ("gpu-node-07 reason=approve", Find("gpu-node-07", reason="approve")),
        ("cancel gpu-node-07, --reason in a window", Find("gpu-node-07", reason="in a window")),
        ("status gpu-node-07", Find("gpu-node-07", only_shows=True)),
        ("status c1/i1/r1", Find("c1/i1/r1", only_shows=True)),
        ("cancel c1 i1 r1", Order(RemediationRef("c1", "i1", "r1"))),
    ],
)
def test_what_is_looked_up(text: str, asked: object) -> None:
    assert parse(text) == asked


ALERT = RemediationRef("c1", "i1", "r1")


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", Help()),
        ("help", Help()),
        ("thanks!", Help()),
        ("list please", ListWaiting()),
        ("list nodes", Help()),
        ("List", ListWaiting()),
        ("status", AskForStatus()),
        ("status gpu-node-07?", Find("gpu-node-07", only_shows=True)),
        ("status c1 i1 r1", Find("c1/i1/r1", only_shows=True)),
        (
            "status https://api.together.xyz/v1/compute/clusters/c1/instances/i1/remediations/r1",
            Find("c1/i1/r1", only_shows=True),
        ),
        ("cancel", Ask("cancel", None)),
        ("Cancel gpu-node-07.", Ask("cancel", Find("gpu-node-07"))),
        ("approve c1/i1/r1", Ask("approve", Order(ALERT))),
        ("hold", AskToHold(None, None)),
        ("hold 1h", AskToHold(3600.0, None)),
        ("hold for 90 minutes", AskToHold(5400.0, None)),
        ("hold 2 hours gpu-node-07", AskToHold(7200.0, Find("gpu-node-07"))),
        ("hold gpu-node-07", AskToHold(None, Find("gpu-node-07"))),
        ("hold 1h c1 i1 r1", AskToHold(3600.0, Order(ALERT))),
        ("hold gpu-node-07 for 2h", AskToHold(7200.0, Find("gpu-node-07"))),
        ("hold gpu-node-07 30 min", AskToHold(1800.0, Find("gpu-node-07"))),
        ("hold 3rd-node", AskToHold(None, Find("3rd-node"))),
        (
            "hold c1 i1 r1 2h because the job ends at 4",
            AskToHold(7200.0, Order(ALERT), "the job ends at 4"),
        ),
        ("hold 2h gpu-node-07 because of a job", AskToHold(7200.0, Find("gpu-node-07"), "of a job")),
        ("<@U0BOT> hold 1h because <@U0BOB> runs a job", AskToHold(3600.0, None, "@U0BOB runs a job")),
        ("<@U0BOB>, <@U0BOT> hold 1h", AskToHold(3600.0, None)),
        ("hold 1h please <@U0BOT>", AskToHold(3600.0, None)),
        ("<@U0BOT> hold 1h <@U0BOB>", AskToHold(3600.0, None)),
        ("<@U0BOT> hold <@U0BOB> gpu-node-07 1h", AskToHold(3600.0, Find("gpu-node-07"))),
        ("<@U0BOT> hold gpu-node-07 <@U0BOB> for 1h", AskToHold(3600.0, Find("gpu-node-07"), "@U0BOB")),
        ("<@U0BOT> hold gpu-node-07 <@U0BOB> runs it", AskToHold(None, Find("gpu-node-07"), "@U0BOB runs it")),
        ("<@U0BOT> approve gpu-node-07 <@U0BOB>", Ask("approve", Find("gpu-node-07"))),
        ("<@U0BOT> cancel, <@U0BOB|bob>", Ask("cancel", None)),
        ("<@U0BOT> list <@U0BOB>", ListWaiting()),
        ("<@U0BOT> status <@U0BOB>", AskForStatus()),
        ("hold gpu-node-07 1h 2 jobs left", AskToHold(3600.0, Find("gpu-node-07"), "2 jobs left", "2 jobs left")),
        ("hold 2h gpu-node-07 because it takes two days", AskToHold(7200.0, Find("gpu-node-07"), "it takes two days")),
        ("hold gpu-node-07 for 2h, job ends", AskToHold(7200.0, Find("gpu-node-07"), "job ends", "job ends")),
        ("hold c1 i1 r1 flaky link", AskToHold(None, Order(ALERT, "flaky link"), "flaky link", "flaky link")),
        ("hold because of a job", AskToHold(None, None, "of a job")),
        ("cancel gpu-node-8 please", Ask("cancel", Find("gpu-node-8"))),
        ("Please cancel gpu-node-8, thanks!", Ask("cancel", Find("gpu-node-8"))),
        ("approve now", Ask("approve", None)),
        ("hold a b", AskToHold(None, Find("a", reason="b"), "b", "b")),
        ("<@U0BOT> *hold gpu\u2011node\u201007* 1h", AskToHold(3600.0, Find("gpu-node-07"), "")),
        ("<@U0BOT>: *cancel* gpu-node-07", Ask("cancel", Find("gpu-node-07"))),
        ("<@U0BOT> hold *1h gpu-node-07*, because 2*3 run", AskToHold(3600.0, Find("gpu-node-07"), "2*3 run")),
    ],
)
def test_what_a_message_to_the_bot_asks_for(text: str, asked: object) -> None:
    assert parse_mention(text) == asked


@pytest.mark.parametrize("text", ["cancel a b", "approve approve x", "hold 1h help", "status a b", "cancel list"])
def test_message_that_names_no_remediation_is_answered_with_what_is_wrong(text: str) -> None:
    assert why_unreadable(parse_mention, text).endswith(".")


def test_second_request_in_a_message_is_no_reason() -> None:
    text = "hold 1h gpu-node-1\nhold 1h gpu-node-2"
    assert "Unrecognized text after the IDs: “hold 1h gpu-node-2”." in why_unreadable(parse_mention, text)


@pytest.mark.parametrize("length", ["0m", "9999h", "99999h", "25h", "1441 min"])
def test_hold_of_an_impossible_length_is_told_the_limits(length: str) -> None:
    for text in (f"hold {length}", f"hold {length} gpu-node-07", f"hold c1 i1 r1 {length} because I can"):
        assert why_unreadable(parse_mention, text) == "A hold lasts from 1 minute to 24 hours."


@pytest.mark.parametrize(
    "second", ["c1/i2/r2", "c1 i2 r2", "https://x/v1/compute/clusters/c1/instances/i2/remediations/r2"]
)
@pytest.mark.parametrize("word", ["and", "AND", "&amp;", "+", "or"])
def test_second_reference_behind_and_is_no_reason(word: str, second: str) -> None:
    assert why_unreadable(parse, f"c1/i1/r1 {word} {second}")
    assert parse(f"c1/i1/r1 {word} then some") == Order(ALERT, f"{'&' if 'amp' in word else word} then some")


@pytest.mark.parametrize("length", [
    "for two hours", "for an hour", "half an hour", "for 1.5h", "1,5 h", "for 1h30", "1h 30", "1h, 30m", "1 day", "2d",
    "for 1 day 2h", "a week", "until 5 pm", "till Monday", "for the weekend", "over the weekend", "for tonight",
    "for the night", "all night", "during the night", "for a while", "for a bit", "forever", "for 90", "for 1-2h",
])  # fmt: skip
def test_hold_of_a_length_in_other_words_is_not_a_shorter_one(length: str) -> None:
    for text in (f"hold {length}", f"hold gpu-node-07 {length}", f"hold c1 i1 r1 {length}"):
        assert "A hold needs one length, such as 30m or 2h." in why_unreadable(parse_mention, text)


@pytest.mark.parametrize("word", sorted(RESERVED))
def test_words_of_the_command_are_no_cluster(word: str) -> None:
    for text in (f"{word} {word} c1 i1 r1", f"cancel {word} c1 i1 r1", f"cancel, {word}, c1, i1, r1"):
        with suppress(UnreadableCommand):
            assert not isinstance(parse(text), Order)


@given(st.text() | st.text(alphabet="hold cancel status 1h/<@>|&;.\n"))
def test_any_message_is_a_request_or_a_sentence(text: str) -> None:
    with suppress(UnreadableCommand):
        assert parse_mention(text) is not None


def test_a_host_that_slack_linked_by_itself_is_what_was_typed() -> None:
    order = parse("<http://gpu-1.example.com|gpu-1.example.com> i1 r1")
    assert order == Order(RemediationRef("gpu-1.example.com", "i1", "r1"))


def test_a_long_text_is_read_in_no_time() -> None:
    assert why_unreadable(parse, "<http:" * 20_000)


def test_text_longer_than_anything_meant_is_refused_unread() -> None:
    for text in (f"c1 i1 r1 {'x' * MAX_TEXT}", f"cluster x{' ' * 40_000}y z", "cancel " * 6000):
        for why in (why_unreadable(parse, text), why_unreadable(parse_mention, f"cancel {text}")):
            assert why == "That's longer than 4,000 characters."


def test_repeated_cancel_is_no_reference() -> None:
    assert why_unreadable(parse, "cancel cancel c1 i1 r1")


def test_long_message_is_searched_up_to_a_space() -> None:
    cut = f"{'x' * (MAX_SEARCHED - 80)} {URL}{'1' * 40}"
    assert list(references(f"{URL} {cut}")) == [ALERT]


PATTERNS = {
    f"{module.__name__} {name}": pattern
    for module in (
        bot.parsing,
        bot.mention_parsing,
        bot.text_search,
        bot.decisions.naming,
        bot.mrkdwn,
        bot.cards.blocks,
    )
    for name, pattern in vars(module).items()
    if isinstance(pattern, re.Pattern)
}
PIECES = (
    " ", "a", "a ", "1", ",", "/", "`", "`a` / ", '"', "“", "-", "=", "<", "<@A|", "<@A", "<http:a|", "<http:", "&",
    "cluster ", "cluster=", "--cluster ", "--reason ", "instance ", "compute/clusters/",
    ">", "compute/clusters/a/instances/", " for ", " 1", " 1 ", ". ", "? ", "?", "https://",
)  # fmt: skip
STARTS = (
    "", "cluster ", "cluster x", "cluster x instance y", "cluster x instance y remediation ", "cluster", "--cluster",
    "for", "1", " for 1", "`", "<@A", "<@A|", "<http://a", "<http://a|", "compute/clusters/", '"', "reason",
    "compute/clusters/a/instances/b/remediations/",
)  # fmt: skip


def seconds_to_search(pattern: re.Pattern[str], text: str) -> float:
    began = process_time()
    pattern.match(text), pattern.fullmatch(text), pattern.sub("", text)
    return process_time() - began


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_every_pattern_takes_time_in_proportion_to_the_text(pattern: re.Pattern[str]) -> None:
    for start in STARTS:
        for piece in PIECES:
            half, whole = (f"{start}{piece * (size // len(piece))}\x00" for size in (6_000, 12_000))
            if seconds_to_search(pattern, whole) > 0.05:
                taken, expected = (min(seconds_to_search(pattern, text) for _ in range(2)) for text in (whole, half))
                assert taken < 3 * expected, f"{start!r} and many {piece!r}"


def test_ids_that_look_like_words_of_the_command_are_ids() -> None:
    assert parse("cluster help reason") == Order(RemediationRef("cluster", "help", "reason"))


@given(st.text() | st.text(alphabet='ab /,-—="“”`<>|&;@.%\n\u200bclusterinstanceremediationreasonhttp:'))
def test_any_text_gives_a_reference_or_a_sentence(text: str) -> None:
    try:
        found = parse(text)
    except UnreadableCommand:
        assert why_unreadable(parse, text).endswith((".", "…"))
    else:
        assert isinstance(found, (Order, Help, Browse, Find, ListWaiting))
        assert not isinstance(found, Order) or len(found.reason) <= MAX_REASON


ids = st.text(min_size=1, max_size=200).filter(
    lambda text: (
        text not in {".", ".."}
        and not set(text) & set("/\\?#%<>|@,=\"'`")
        and not any(each.isspace() or unicodedata.category(each) in {"Cc", "Cf", "Cs"} for each in text)
    )
)


@given(ids, ids, ids)
def test_every_id_of_the_contract_is_read_as_it_is(cluster: str, instance: str, remediation: str) -> None:
    typed = f"{cluster} {instance} {remediation}"
    # Phones and Slack make these of other characters, or put them behind; what they mean is in the tables above.
    assume(
        not any(each in typed for each in "“”„‟‘’‚‛«»&—–‐‑‒―−") and "--" not in typed and remediation[-1] not in ".:;!"
    )
    # A node's name and a request, or a courtesy and a node: no IDs that anybody has. “-” is any instance.
    assume(cluster.lower() not in RESERVED | FILLERS and instance.lower() not in {*RESERVED, "-"})
    assert parse(typed) == Order(RemediationRef(cluster, instance, remediation))


@given(st.text(max_size=5))
def test_a_reference_refuses_every_text_that_is_no_id(text: str) -> None:
    bad = {each for each in text if each.isspace() or each in "/\\?#%<>|@,=\"'`"}
    invisible = any(unicodedata.category(each) in {"Cc", "Cf", "Cs"} for each in text)
    if text and text not in {".", ".."} and not bad and not invisible:
        assert RemediationRef(text, "i", "r").cluster_id == text
    else:
        with pytest.raises(InvalidId):
            RemediationRef("c", "i", text)


@pytest.mark.parametrize(
    "words",
    [
        "once the job is done", "as soon as the job ends", "in the morning", "at noon", "5pm", "17:00", "after lunch",
        "ask bob first", "after bob says ok", "pending bob's ok", "not needed yet", "keep the repair", "keep it",
        "not this one", "leave it alone", "let it run", "never", "no need", "not cancel", "dry-run", "scratch that",
        "undo", "abort", "forget it", "is it running", "noch nicht",
    ],
)  # fmt: skip
def test_cancel_that_says_not_now_is_not_sent(words: str) -> None:
    with pytest.raises(UnreadableCommand):
        parse(f"c1/i1/r1 {words}")


@pytest.mark.parametrize(
    "words",
    [
        "once more the fan failed", "fixed by hand at 17:00", "false alarm", "keeps flapping", "not needed",
        "the job is done", "duplicate of r-12", "replaced by hand", "bob says it recovered", "abort of the job helped",
        "undo of the change helped", "node is idle", "checked first, it's fine", "never broken", "kept failing",
        "let the vendor fix it", "no need for a reboot",
    ],
)  # fmt: skip
def test_reason_that_only_sounds_like_not_now_is_one(words: str) -> None:
    order = parse(f"c1/i1/r1 {words}")
    assert isinstance(order, Order)
    assert order.reason == words
