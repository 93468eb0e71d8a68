"""What may change in a running pipeline."""

from __future__ import annotations

import pytest

from services.domain.spec import parse
from services.domain.spec_changes import changes
from tests.unit.domain.spec_texts import BINARY, REGRESSION, replaced

OLD = parse(BINARY)


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("range = [50, 10_000]", "range = [0, 9_000]", ["features.distance.range"]),
        ('task = "binary"', 'task = "binary"\nthreshold = 0.3', ["pipeline.threshold"]),
        ('horizon = "24h"', 'horizon = "36h"', ["label.horizon"]),
        ('time = "departure"', 'time = "departure"\ntopic = "own"', ["event.topic"]),
        ("[[crosses]]", "[snapshots]\nkeep = 9\n[drift.block]\nevents = 50\n[[crosses]]",
         ["snapshots.keep", "drift.block.events"]),
        ("[features.holiday]", '[features.new]\ntype = "number"\n[features.holiday]', ["features.new"]),
        ('[features.holiday]\ntype = "boolean"\n', "", ["features.holiday"]),
        ("[[crosses]]", '[[crosses]]\nby = ["holiday", "hour"]\n[[crosses]]', ["crosses.holiday*hour"]),
        ("[[encodings]]\nby = []\nhalf_life = [7]\n", "", ["encodings.*"]),
        ('[[model.candidates]]\nname = "own"\nfactory = "models.late:make"\n', "", ["model.candidates.own"]),
        ('name = "logistic"', 'name = "logistic"\nlearning_rate = 0.1', ["model.candidates.logistic.learning_rate"]),
    ],
)  # fmt: skip
def test_rules_cadence_and_names_that_come_or_go_change_in_place(old, new, keys):
    """A rule, a threshold, a cadence, an added or a removed name is a change in place, told by its key."""
    report = changes(OLD, parse(replaced(old, new)))
    assert report.kind == "in place"
    assert report.allowed
    assert [item.key for item in report.items] == keys


@pytest.mark.parametrize(
    ("old", "new", "key", "advice"),
    [
        ('type = "boolean"', 'type = "category"', "features.holiday.type", "another name"),
        ('derive = "hour"', 'derive = "month"', "features.hour.derive", "another name"),
        ("half_life = [7, 35]", "half_life = [7, 36]", "encodings.carrier.half_life", "another order"),
        ('as = "logit"', 'as = "rate"', "encodings.carrier.as", "another order"),
        ("models.late:make", "models.late:other", "model.candidates.own.factory", "another name"),
        ('name = "logistic"', 'name = "logistic"\noptimizer = "sgd"', "model.candidates.logistic.optimizer", "name"),
    ],
)
def test_what_a_name_means_does_not_change_in_place(old, new, key, advice):
    """Another meaning under a known name is refused, and the message says how to get there."""
    report = changes(OLD, parse(replaced(old, new)))
    assert report.kind == "needs a new name"
    assert not report.allowed
    assert [item.key for item in report.items] == [key]
    assert advice in report.items[0].message


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "flights"', 'name = "flight"', "pipeline.name"),
        ('task = "binary"', 'task = "binary"\n[topics]\npartitions = 8', "topics.partitions"),
        ('time = "departure"', 'time = "departed"', "event.time"),
        ('id = "flight_id"\ntime', 'id = "id"\ntime', "event.id"),
        ('id = "flight_id"\nvalue', 'id = "id"\nvalue', "label.id"),
        ('value = "late"', 'value = "very_late"', "label.value"),
        ('time = "arrived_at"', 'time = "landed_at"', "label.time"),
    ],
)
def test_identity_and_placement_need_a_new_pipeline_name(old, new, key):
    """Id, time, label, partitions and the name itself make another pipeline."""
    report = changes(OLD, parse(replaced(old, new)))
    assert report.kind == "needs a new pipeline name"
    assert [item.key for item in report.items] == [key]


def test_another_task_is_another_pipeline_and_the_gravest_change_names_the_kind():
    """Among many differences the gravest one decides."""
    report = changes(OLD, parse(REGRESSION))
    assert report.kind == "needs a new pipeline name"
    assert {"pipeline.task", "features.kilometres"} <= {item.key for item in report.items}


def test_the_same_file_is_no_change():
    """Nothing differs, nothing is told."""
    assert changes(OLD, parse(f"# read again\n{BINARY}")).kind == "none"
    assert changes(OLD, OLD).items == ()


def test_another_order_of_features_is_in_place():
    """The order of names is told, because the hash changes with it."""
    holiday = '[features.holiday]\ntype = "boolean"\n\n'
    report = changes(OLD, parse(replaced(holiday, "").replace("[features.distance]", f"{holiday}[features.distance]")))
    assert [(item.kind, item.key) for item in report.items] == [("in place", "features")]
