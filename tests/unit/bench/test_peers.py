"""The comparison with the peers: same job, same versions, and a checker that lets nothing pass."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import ten
from bench.peers import report
from bench.peers.catalogue import KAFKA_STREAMS, OURS, OURS_AT_LEAST_ONCE, PEERS, QUIX
from bench.peers.check import check
from bench.peers.job import job
from bench.peers.report import GOALS
from bench.peers.rivermill import VERSION, exported
from bench.peers.session import Sizes
from services.domain import snapshot
from services.domain.served import Live, assemble
from services.domain.spec import parse, spec_hash
from services.scoring.core import Score

ROOT = Path(__file__).parents[3]
KEY = b"a-signing-key-for-tests"
PREDICTION = b'{"event_id":"1","time":"2013-01-01T00:00:00Z","score":0.25,"prediction":false,"spec":"ab"}'


def pinned(name: str) -> dict[str, set[str]]:
    """By package the versions that a requirements file allows, one a marker."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def test_the_peers_job_writes_the_bytes_of_rivermills_own_prediction(tmp_path):
    """For the same clean events, scoring's core and the River pipeline made of its snapshot write equal records."""
    spec = parse(ten.pipeline("bench"))
    blob = ten.trained(spec, examples=500)
    part = snapshot.read(blob, snapshot.sign(blob, KEY), [KEY]).part(VERSION)
    served = assemble(SimpleNamespace(snapshot_sha256="x", candidate="logistic", live=False), [], Live(), {"x": part})
    core = Score(0, 1, binary=True)
    core.serve(served)
    (tmp_path / "model").write_bytes(exported(blob, spec.pipeline.threshold))
    score = job(tmp_path / "model")
    events = dict(ten.clean_events(300, spec_hash(spec)))
    batch = [SimpleNamespace(key=key, value=value, timestamp=0, headers=()) for key, value in events.items()]
    outs = core.process(batch, 0).sends["predictions", 0]
    assert len({out.value for out in outs}) == 300
    verdict = check({key: score(value) for key, value in events.items()}, [(out.key, out.value) for out in outs])
    assert verdict.equal, verdict


@pytest.mark.parametrize(
    ("found", "what"),
    [
        ([(b"1", PREDICTION.replace(b"0.25", b"0.250001"))], "altered"),
        ([(b"1", PREDICTION.replace(b"false", b"true"))], "altered"),
        ([(b"1", PREDICTION.replace(b'"spec"', b' "spec"'))], "altered"),
        ([(b"1", PREDICTION.replace(b"0.25", b"null"))], "altered"),
        ([(b"1", b"")], "altered"),
        ([(b"1", PREDICTION), (b"1", PREDICTION)], "twice"),
        ([(b"1", PREDICTION), (b"2", PREDICTION)], "unknown"),
        ([], "missing"),
    ],
)
def test_the_checker_refuses_anything_but_each_record_once(found, what):
    """A score off by more than 1e-9, another byte, a repeat, a stranger or a gap makes the output unequal, and is named."""
    verdict = check({b"1": PREDICTION}, found)
    assert not verdict.equal
    assert getattr(verdict, what) == 1
    assert what in str(verdict)


def test_the_checker_forgives_a_score_the_last_digits_and_a_slow_peer_what_is_still_to_come():
    """Scores that differ by 1e-10 are equal; of a peer that was stopped early, what it has not written is not missed."""
    close = PREDICTION.replace(b"0.25", b"0.2500000001")
    assert check({b"1": PREDICTION}, [(b"1", close)]).equal
    assert check({b"1": PREDICTION, b"2": PREDICTION}, [(b"1", PREDICTION)], prefix=True).equal
    assert not check({b"1": PREDICTION, b"2": PREDICTION}, [(b"1", close + b" ")], prefix=True).equal


def test_every_system_has_its_file_and_its_package_is_pinned():
    """Each system of the catalogue names a module that compiles, and a package of requirements/bench.txt."""
    packages = {"faust": "faust-streaming"}
    for peer in PEERS:
        path = ROOT / "bench" / "peers" / f"{peer.module}.py"
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
        assert not peer.needs or packages.get(peer.needs, peer.needs) in pinned("bench.txt")


def test_the_peers_run_the_versions_that_rivermill_runs():
    """What requirements/bench.txt has in common with main.txt is of the same version, so libraries do not decide."""
    ours, theirs = pinned("main.txt"), pinned("bench.txt")
    common = ours.keys() & theirs.keys()
    assert {"aiokafka", "faust-streaming", "msgspec", "river"} <= common
    assert {name: theirs[name] for name in common} == {name: ours[name] for name in common}


def test_goals_are_about_systems_that_are_measured():
    """Both sides of each goal are in the catalogue."""
    names = {peer.name for peer in PEERS}
    assert {name for goal in GOALS for name in (goal.ours, goal.theirs)} <= names


def test_who_is_given_fewer_events_or_more_to_warm_up_is_named():
    """With how many are measured after how many, as they are measured: slow ones, and the one with a JIT compiler."""
    told = report.sizes_told(PEERS, Sizes(100_000, 300_000, 4))
    assert told == (
        "300,000 events after 100,000 to warm up (Faust agent, at least once: 21,000 after 10,000; Faust agent, "
        "take(1000), at least once: 21,000 after 10,000; Kafka Streams (Java), copying only, exactly once: 100,000 after "
        "300,000)"
    )
    assert report.sizes_told([OURS], Sizes(10, 20, 1)) == "20 events after 10 to warm up"


def test_a_failed_round_is_named_and_no_output_is_called_compared_that_was_not_equal():
    """The system, its delivery, the round and the reason."""
    assert report.failures([]) == []
    assert report.compared([]).startswith("Every output was compared:")
    failed = [report.Failed(QUIX, 2, "1 altered"), report.Failed(KAFKA_STREAMS, 5, "it\nended")]
    assert report.failures(failed) == [
        "**Failed**, and in no figure here: Quix Streams, exactly once, in round 2 (1 altered); Kafka Streams (Java), "
        "copying only, exactly once, in round 5 (it ended)."
    ]
    assert report.compared(failed).startswith("Every output that is in a figure was compared and equal:")


@pytest.mark.parametrize(("peer", "may"), [(OURS, False), (OURS_AT_LEAST_ONCE, False), (QUIX, True)])
def test_nothing_is_written_when_a_round_of_ours_failed(peer, may):
    """Others are left out and named."""
    assert report.may_be_written([]) is True
    assert report.may_be_written([report.Failed(QUIX, 1, ""), report.Failed(peer, 3, "1 altered")]) is may
