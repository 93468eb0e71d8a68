from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

import msgspec
import pytest

from schemas.alerts import Alert
from schemas.examples import Record as Logged
from schemas.predictions import Prediction
from services.cli.offline import Offline, Raw, Record
from services.learner.core.fold import Fold
from tests.unit.cli.raw_records import LABEL_AFTER, soiled, tidy
from tests.unit.estimators import CANDIDATE
from tests.unit.stream import LOGISTIC, TREE, spec

Streams = dict[str, list[Record]]
decode = msgspec.json.Decoder(Prediction).decode


def ran(
    records: list[Raw], *, singly: bool = False, partitions: int = 4, candidates: str = LOGISTIC
) -> tuple[Streams, Offline]:
    seen: Streams = defaultdict(list)
    offline = Offline(spec(candidates), partitions, observe=lambda stream, record: seen[stream].append(record))
    if singly:
        for each in records:
            offline.feed(each.kind, each.key, each.value, each.timestamp)
    else:
        assert sum(offline.run(records)) == len(records)
    offline.close()
    return seen, offline


def predictions(seen: Streams) -> dict[str, Prediction]:
    return {each.event_id: each for each in (decode(record.value or b"") for record in seen["predictions"])}


@pytest.mark.parametrize("partitions", [1, 4])
def test_batches_write_what_single_records_write(partitions):
    """Soiled records run in batches write the same records to every stream, in the same order, as fed one by one."""
    records = soiled(500)
    (fed, one), (run, many) = ran(records, singly=True, partitions=partitions), ran(records, partitions=partitions)
    assert {"predictions", "examples", "deadletter", "outcomes", "summaries"} <= fed.keys()
    assert (partitions == 1) != ("rekeyed" in fed)
    assert {stream: fed[stream] == run[stream] for stream in fed} == dict.fromkeys(run, True)
    assert one.totals() == many.totals()


def test_the_number_of_partitions_does_not_show():
    """Without statistics that lanes keep for themselves, one partition and four give the same predictions."""
    alone, spread = (predictions(ran(tidy(600), partitions=count)[0]) for count in (1, 4))
    assert len(alone) == 600
    assert len({each.score for each in alone.values()}) > 500
    for each in [*alone.values(), *spread.values()]:
        each.spec = ""  # its hash tells how many partitions there are
    assert alone == spread


@pytest.mark.parametrize("lag", [timedelta(), timedelta(minutes=30)])
def test_a_prediction_knows_exactly_the_labels_that_had_come(lag):
    """The state behind a prediction has learned each label whose time, and the lag, had passed, and no other."""
    records = tidy(300, lag)
    labels = 1  # the control record lies before them
    made = predictions(ran(records)[0])
    for each in records:
        if each.kind == "label":
            labels += 1
        else:
            prediction = made[(each.key or b"").decode()]
            assert (prediction.model.examples_offset, prediction.encodings_offset) == (labels, labels)
            assert {challenger.examples_offset for challenger in prediction.challengers} == {labels}
    waiting = (LABEL_AFTER + lag) // timedelta(minutes=1)
    assert {made[f"e{index}"].score for index in range(waiting)} == {0.5}


def test_large_candidates_are_served_as_their_versions_are_published():
    """A tree predicts with its last published version, every so many examples, beside linear models that are live."""
    made = predictions(ran(tidy(500), candidates=LOGISTIC + TREE)[0])
    behind = defaultdict(set)
    for each in made.values():
        linear, tree = each.challengers
        assert linear.examples_offset == each.model.examples_offset >= tree.examples_offset
        behind[tree.examples_offset].add(each.model.examples_offset - tree.examples_offset)
    assert list(behind)[:3] == [1, 101, 201]
    assert max(max(each) for each in behind.values()) < 101


@pytest.mark.parametrize("candidates", [LOGISTIC + CANDIDATE, CANDIDATE])
def test_a_candidate_that_cannot_go_on_is_withdrawn_as_it_would_be_live(candidates):
    """Its last version goes on predicting, one alert tells of it, and the log alone gives the same state."""
    records = tidy(300)
    for index, each in enumerate(records):
        if index > 200 and each.kind == "event":
            records[index] = msgspec.structs.replace(each, value=(each.value or b"").replace(b'"UA"', b'"closed"'))
    seen, offline = ran(records, candidates=candidates)
    made = predictions(seen)
    assert len(made) == 300
    last = list(made.values())[-1]
    served = [last.model, *last.challengers][-1]
    assert (served.candidate, served.examples_offset) == ("own", 101)
    alerts = [msgspec.json.decode(each.value or b"", type=Alert) for each in seen["alerts"]]
    assert [(it.signal, it.state) for it in alerts if it.kind == "model"] == [("candidate/own", "opened")]
    fold = Fold()
    for each in seen["examples"]:
        fold.apply(msgspec.json.decode(each.value or b"", type=Logged), each.offset, each.timestamp)
    assert fold.control == offline.fold.control
    assert [it.blob for it in fold.snapshots()] == [it.blob for it in offline.fold.snapshots()]
    assert fold.learners.keys() == offline.fold.learners.keys() == {"logistic", "sgd"} & fold.metrics().keys()
