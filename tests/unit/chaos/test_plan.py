"""Script and plan follow from their seed."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from chaos.__main__ import main, parser, replay
from chaos.adversary import FAULTS, HARMLESS, KILLS, Act, plan
from chaos.faults import Done, beside
from chaos.recovery import CALM_MS, Kill
from chaos.script import CLOSING, FILE, HORIZON, PARTITIONS, POISON, Script
from services.cleaning.core.clean import Clean, Inputs
from services.domain.murmur import partitions
from services.domain.spec import parse
from tests.unit.records import Rec


def test_the_script_does_not_depend_on_how_it_is_cut() -> None:
    """Taken in one piece or in many, a seed gives the same records in the same order, and another seed others."""
    whole, pieces = Script(1), Script(1)
    cut = [send for count in (1, 0, 399, 600) for send in pieces.take(count)]
    assert whole.take(1000) == cut
    assert whole.rest() == pieces.rest()
    assert Script(2).take(1000) != cut


def test_the_script_has_every_kind_of_label() -> None:
    """Labels come late, too late, twice, with another value, and for nobody; events come twice and badly keyed."""
    script = Script(3)
    sends = script.take(5000) + script.rest()
    events = [json.loads(it.value) for it in sends if it.kind == "events"]
    labels = [json.loads(it.value) for it in sends if it.kind == "labels"]
    times = Counter(str(it["id"]) for it in events)
    assert 0 < sum(count - 1 for count in times.values()) < 500
    assert any(it.key == b"elsewhere" for it in sends)
    values: dict[str, set[bool]] = {}
    for it in labels:
        values.setdefault(str(it["id"]), set()).add(it["late"])
    assert any(len(each) == 2 for each in values.values())
    assert any(name not in times for name in values)
    assert len({(it["id"], it["known_at"]) for it in labels}) == len(labels), "a label cannot be told from another"


def test_closing_events_pass_every_deadline_on_every_partition() -> None:
    """At least three closing events lie on each partition, all more than a horizon after the last event."""
    script = Script(4)
    last = max(json.loads(it.value)["at"] for it in script.take(500) if it.kind == "events")
    closing = script.closing()
    assert parse(FILE).label.horizon == f"{HORIZON.seconds // 60}m"
    assert min(Counter(partitions([it.key or b"" for it in closing], PARTITIONS)).values()) >= 3
    assert all(json.loads(it.value)["id"].startswith(CLOSING) for it in closing)
    assert min(json.loads(it.value)["at"] for it in closing) > last


NOW = 1_700_000_000_000


@pytest.mark.parametrize(("topic", "place"), [("events", 0), ("labels", 1)])
def test_every_poison_is_refused_by_the_rule_that_the_script_tells(topic: str, place: int) -> None:
    """Cleaning makes a dead letter of it, by that rule; a poisoned id belongs to the lane that reads it here."""
    inputs = Inputs(events="events", labels="labels", rekeyed="rekeyed")
    lane = int(partitions([b"poison"], PARTITIONS)[0])
    for value, rules in POISON.items():
        core = Clean(parse(FILE), lane, PARTITIONS, inputs)
        core.process([Rec(topic, 0, 0, NOW, None, value)], NOW)
        assert core.totals[f"deadletter.{topic}.{rules[place]}"] == 1, value


def test_a_plan_follows_from_its_seed() -> None:
    """One seed gives one plan; every fault is in it; the moments rise; it ends with the last kill that was asked for."""
    assert plan(1, kills=40) == plan(1, kills=40) != plan(2, kills=40)
    acts = plan(1, kills=40)
    assert sum(act.fault in KILLS for act in acts) == 40
    assert acts[-1].fault in KILLS
    assert {act.fault for act in acts} == set(FAULTS)
    assert [act.at for act in acts] == sorted(act.at for act in acts)
    assert all(act.target in FAULTS[act.fault].targets for act in acts)
    assert plan(1, duration_s=60)[-1].at < 60


def test_a_plan_is_the_one_that_its_seed_always_gave() -> None:
    """A command that was printed once gives the same acts with this version: what else can be wished for changes none."""
    first = [
        (round(act.at, 3), act.fault, act.target, round(act.seconds, 3), act.number) for act in plan(7, kills=9)[:4]
    ]
    assert first == [
        (2.0, "terminate", "registry", 0.0, 13819), (2.913, "outage", "broker", 30.0, 3626),
        (3.155, "registry", "registry", 4.749, 64562), (3.738, "reboot", "broker", 0.0, 58576),
    ]  # fmt: skip


SLOW_START_S = 6.9
"""Where every core is busy a process has its lanes again after two to seven seconds."""


def done(act: Act) -> Done:
    """An act as a busy machine carries it out."""
    seconds = 3 * act.seconds + SLOW_START_S if act.fault == "scale" else act.seconds
    over = act.at + seconds + (0.0 if act.fault in HARMLESS else SLOW_START_S)
    return Done(act, round(act.at * 1000), round(over * 1000))


@pytest.mark.parametrize("gap_s", [0.0, 4.0])
def test_apart_every_kill_is_alone(gap_s: float) -> None:
    """By the rule that a run goes by; without the wish few are. What one act did has its calm before the next begins."""

    def alone(acts: list[Act]) -> list[bool]:
        carried_out = [done(act) for act in acts]
        kills = [
            (act, Kill(round(act.at * 1000), "", KILLS[act.fault], frozenset(), frozenset()))
            for act in acts
            if act.fault in KILLS
        ]
        return [all(it.act.fault in HARMLESS for it in beside(act, kill, carried_out)) for act, kill in kills]

    assert alone(plan(1, kills=200, gap_s=gap_s, apart=True)) == [True] * 200
    assert sum(alone(plan(1, kills=200, gap_s=4.0))) < 20
    for before, after in pairwise(plan(1, kills=200, gap_s=gap_s, apart=True)):
        calm_ms = CALM_MS["lost" if before.fault == "lose" else "restarted"]
        assert done(after).began_ms - done(before).ended_ms >= calm_ms


@pytest.mark.parametrize("until", [["--duration", "16.25"], ["--kills", "5"], ["--kills", "5", "--apart"]])
def test_the_command_to_replay_has_every_option_that_decides_the_plan(until: list[str]) -> None:
    """Read back, it gives the options that it was made of, with the seed and the faults that were left to chance."""
    options = parser().parse_args([*until, "--gap", "1.6", "--events", "150.1"])
    again = parser().parse_args(replay(options, 7, ["poison", "kill"]).split()[3:])
    assert vars(again) == vars(options) | {"seed": 7, "faults": "poison,kill"}


def test_a_fault_that_cannot_be_done_here_is_told_and_not_accepted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without libfaketime no clock can be put wrong: that is said, with what to install, and nobody who names it is deceived."""
    monkeypatch.setattr("chaos.clock.library", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main(["--faults", "clock"])
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert "the fault clock is left out: libfaketime is not installed (Debian: apt install libfaketime)" in told.out
    assert "no such faults here: clock; there are kill, " in told.err
