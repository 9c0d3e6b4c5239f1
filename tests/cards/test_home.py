"""The app's home as a view: its pages, and the worst that the outside may say."""

import json
from typing import Any

import pytest
from hypothesis import given

from bot import cards
from bot.cards import home
from bot.models import PastDecision, Remediation, State, Verb
from tests.card_text import MARKUP, NASTY, WORST, texts
from tests.manual_clock import START
from tests.samples import ABOUT, ALERTS, BY_STATE, REF, TWO_CONFIG, overview, remediation
from tests.simulator.slack.limits import check_home

LINKS = cards.CardConfig(
    "https://x.example/{cluster_id}/{instance_id}/{remediation_id}", "https://x.example/{xid}",
    two_people=TWO_CONFIG.two_people,
)  # fmt: skip


def drawn(looks_at: home.Filter = home.Filter(), **shown: Any) -> dict[str, Any]:  # noqa: B008 - it is frozen
    return home.home(overview(**shown), looks_at, LINKS, START)


@given(fields=WORST, words=NASTY)
def test_worst_home_fits_into_slack_and_mentions_nobody(fields: dict[str, Any], words: str) -> None:
    worst = Remediation.model_validate(fields)
    view = drawn(
        home.Filter(worst.cluster_id, 3),
        waiting=[worst] * home.PER_PAGE,
        count=5000,
        page=3,
        running=[worst] * 30,
        failed=[worst] * 30,
        mine=[PastDecision(worst.ref, Verb.CANCEL, "U0ALICE", START, words[:60], words[:500])] * 10,
        names={worst.ref: worst.node},
        about={worst.ref: ABOUT},
        unreadable=["c" * 200] * 9,
    )
    check_home(view)
    for text in texts(view["blocks"]):
        assert text["type"] != "mrkdwn" or not MARKUP.search(text["text"])


def test_page_of_long_names_keeps_its_buttons() -> None:
    long = [remediation(id=f"r-{number:0120}", instance_id="i" * 120, linked_alerts=ALERTS * 4) for number in range(15)]
    view = drawn(
        home.Filter(opened=long[3].ref.key),
        waiting=long,
        count=15,
        about={remediation.ref: ABOUT for remediation in long},
    )
    check_home(view)
    assert json.dumps(view).count(home.OPEN) == home.PER_PAGE
    assert json.dumps(view).count(Verb.CANCEL.action_id) == 1


def test_row_says_what_changes_the_decision_and_one_alone_has_its_controls() -> None:
    view = drawn()
    rows = [block["text"]["text"] for block in view["blocks"] if block["type"] == "section"]
    assert rows[0].splitlines() == [
        "gpu-node-07 · Reboot · Xid 79",
        "llama-train · waiting 0 s · on hold · 1 of 2 approvals",
    ]
    assert Verb.APPROVE.action_id not in json.dumps(view)
    alone = json.dumps(drawn(waiting=[remediation()], count=1))
    assert Verb.APPROVE.action_id in alone
    assert "Reboots the VM. It keeps /scratch and /tmp." in alone, "who decides here sees what it does, as on the card"


def test_several_digests_are_told_apart() -> None:
    said = json.dumps(drawn(digests=[("a", 40, "c-7f2"), ("b", 7, "")]))
    assert "Review 40 in llama-train\\u2026" in said
    assert "Review 7 in several clusters\\u2026" in said


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (15, 1), (16, 2), (10_000, 667)])
def test_pages_are_counted(count: int, pages: int) -> None:
    assert overview(count=count).pages == pages


@pytest.mark.parametrize(("page", "turns"), [(0, {home.NEXT}), (1, {home.PREVIOUS, home.NEXT}), (2, {home.PREVIOUS})])
def test_first_and_last_page_turn_one_way(page: int, turns: set[str]) -> None:
    said = json.dumps(drawn(count=40, page=page))
    assert {turn for turn in (home.PREVIOUS, home.NEXT) if turn in said} == turns


def test_many_that_are_in_repair_are_counted() -> None:
    said = json.dumps(drawn(running=[remediation(state="RUNNING")] * 20), ensure_ascii=False)
    assert "In repair: 20" in said
    assert "…and 5 more" in said


def test_what_is_queued_is_not_called_running() -> None:
    said = json.dumps(drawn(running=[BY_STATE[State.PENDING]]), ensure_ascii=False)
    assert "approved, queued" in said
    assert "Running" not in said


def test_decision_on_what_is_not_known_any_more_is_named_by_its_instance() -> None:
    assert REF.instance_id in json.dumps(drawn(names={}))
