from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.state import Checkpoint
from services.cli.account import OUTCOMES, Account, Found, account, expected, stage_totals
from services.cli.positions import totals
from services.cli.terminal import account_lines

COUNT = st.integers(0, 1000)
Stages = dict[str, dict[str, int]]


@st.composite
def balanced(draw: st.DrawFn) -> tuple[Stages, dict[str, int]]:
    """Totals of a pipeline that has worked off everything."""
    n = {name: draw(COUNT) for name in (
        "duplicates", "bad_events", "bad_labels", "rekeyed", "unscorable", "labelled", "expired", "pending", "repeats",
        "corrected", "duplicate", "superseded", "orphan", "waiting", "default", "summaries",
    )}  # fmt: skip
    predictions = n["labelled"] + n["expired"] + n["pending"] + n["repeats"]
    events = predictions + n["unscorable"]
    labels = sum(n[name] for name in ("labelled", "corrected", "duplicate", "superseded", "orphan", "waiting"))
    examples = n["labelled"] + n["default"]
    stages = {
        "clean": {"events": events, "labels": labels, "duplicates": n["duplicates"], "rekeyed_events": n["rekeyed"],
                  "rekeyed_labels": 0, "rekeyed_in": n["rekeyed"], "deadletter.events.x": n["bad_events"],
                  "deadletter.labels.x": n["bad_labels"]},
        "score": {"in": events, "predictions": predictions, "deadletter.unscorable": n["unscorable"]},
        "join": {name: n[name] for name in (*OUTCOMES, "pending", "waiting", "repeats")}
        | {"predictions": predictions, "labels": labels, "expired_default": n["default"]},
        "train": {"examples": examples, "corrections": n["corrected"], "controls": 1},
        "summarise": {"predictions": predictions, "examples": examples + n["corrected"], "summaries": n["summaries"]},
        "detect": {"summaries": n["summaries"]},
    }  # fmt: skip
    return stages, {"events": events + n["duplicates"] + n["bad_events"], "labels": labels + n["bad_labels"]}


@given(balanced())
@settings(max_examples=50)
def test_a_pipeline_that_lost_nothing_balances(case: tuple[Stages, dict[str, int]]) -> None:
    """Totals in which every record went somewhere balance, and agree with topics that hold what they say."""
    stages, produced = case
    drawn = account("p", stages, produced, Found(expected(stages)))
    assert drawn.balanced, account_lines(drawn)


@given(balanced(), st.data())
@settings(max_examples=100)
def test_one_record_too_many_or_too_few_anywhere_is_seen(
    case: tuple[Stages, dict[str, int]], data: st.DataObject
) -> None:
    """Changing any one count that the account rests on by one makes it not balance."""
    stages, produced = case
    found = expected(stages)
    stage = data.draw(st.sampled_from([name for name in stages if name != "detect"]))
    name = data.draw(st.sampled_from(sorted(stages[stage])))
    changed = {**stages, stage: {**stages[stage], name: stages[stage][name] + data.draw(st.sampled_from((1, -1)))}}
    ignored = {("join", "predictions"), ("join", "labels")}  # what it read follows from what it decided
    assert account("p", changed, produced, Found(found)).balanced is ((stage, name) in ignored)


@given(balanced(), st.data())
@settings(max_examples=50)
def test_a_topic_that_holds_something_else_is_seen(case: tuple[Stages, dict[str, int]], data: st.DataObject) -> None:
    """A topic with one record more than the checkpoints say, or with records nobody speaks of, is told."""
    stages, produced = case
    found = expected(stages)
    name = data.draw(st.sampled_from([*found, "deadletter/unknown"]))
    drawn = account("p", stages, produced, Found({**found, name: found.get(name, 0) + 1}))
    assert not drawn.balanced
    assert [check.what for check in drawn.checks if not check.agrees] == [name]
    assert any(name in line for line in account_lines(drawn))


@given(balanced())
@settings(max_examples=20)
def test_what_retention_has_removed_is_not_held_against_the_account(case: tuple[Stages, dict[str, int]]) -> None:
    """A topic cut by retention is not checked, and said to be unchecked."""
    stages, produced = case
    drawn = account("p", stages, produced, Found({**expected(stages), "predictions": -1}, frozenset({"predictions"})))
    assert drawn.balanced
    assert any("retention" in line for line in account_lines(drawn))


def test_lanes_are_added_up_and_the_account_is_json() -> None:
    """The totals of a stage are the sums over its lanes, and an account survives a round trip through JSON."""
    lanes = [
        Checkpoint("clean", lane, {}, {}, datetime(2013, 1, 1, tzinfo=UTC), {"events": 2, "x": lane}, None,
                   msgspec.Raw(b"null"))
        for lane in range(3)
    ]  # fmt: skip
    assert totals(lanes, "clean") == {"events": 6, "x": 3}
    drawn = account("p", stage_totals(lanes), {"events": 6, "labels": 0})
    assert msgspec.json.decode(msgspec.json.encode(drawn), type=Account) == drawn
    assert [each.name for each in drawn.equations if each.difference] == ["clean events"]
