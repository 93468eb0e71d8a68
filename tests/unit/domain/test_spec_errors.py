"""What a pipeline file's error says: source, line, key, what was expected."""

from __future__ import annotations

import re

import pytest

from schemas.topics import STREAMS
from services.domain.spec import SpecError, parse
from services.domain.spec_lines import key_lines
from tests.unit.domain.spec_texts import BINARY, REGRESSION, line_of, replaced


def refusal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text, "p.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        # keys and types
        ('name = "flights"', 'nam = "flights"', "pipeline.nam", "did you mean `name`?"),
        ("[[crosses]]", "[[croses]]", "croses", "did you mean `crosses`?"),
        ('name = "flights"', 'name = "Flights"', "pipeline.name", "expected text that matches"),
        ('task = "binary"', 'task = "binray"', "pipeline.task", "did you mean `binary`?"),
        ('task = "binary"', "task = 1979-05-27", "pipeline.task", 'one of "binary", "regression"'),
        ("range = [50, 10_000]", "range = [50]", "features.distance.range", "a list of 2 numbers, got [50]"),
        ("range = [50, 10_000]", "range = [50, nan]", "features.distance.range[1]", "a finite number"),
        ('aliases = ["dist"]', "aliases = [7]", "features.distance.aliases", "expected a list of texts, got [7]"),
        ('derive = "hour"', 'derive = "hours"', "features.hour.derive", "did you mean `hour`?"),
        ('aliases = ["dist"]', 'aliasses = ["dist"]', "features.distance.aliasses", "did you mean `aliases`?"),
        ('horizon = "24h"', "horizon = 24", "label.horizon", "text in quotes, got 24"),
        # pipeline, event, label
        ('task = "binary"', 'task = "binary"\nthreshold = 2', "pipeline.threshold", "from 0 to 1"),
        ('time = "departure"', 'time = "flight_id"', "event.time", "another field than event.id"),
        ('value = "late"', 'value = "flight_id"', "label.value", "another field than label.id"),
        ('time = "departure"', 'time = ""', "event.time", "got an empty one"),
        ('time = "departure"', "time = 'the \"time\"'", "event.time", "without quotes"),
        ('value = "late"', r'value = "is\\late"', "label.value", "without quotes, backslashes"),
        ("[features.holiday]", r'[features."holi\u0007day"]', "features.holi\x07day", "and control characters; keep"),
        ('horizon = "24h"', 'horizon = "1 day"', "label.horizon", "expected a duration"),
        ('horizon = "24h"', 'horizon = "24h"\non_expiry = 1', "label.on_expiry", "true or false"),
        ('horizon = "24h"', 'horizon = "24h"\ntopic = "a b"', "label.topic", "a Kafka topic name"),
        ('horizon = "24h"', 'horizon = "24h"\ntopic = "flights.outcomes"', "label.topic", "written by Rivermill"),
        ('horizon = "24h"', 'horizon = "24h"\ntopic = "trains.deadletter"', "label.topic", "for the pipeline trains"),
        ('horizon = "24h"', 'horizon = "24h"\ntopic = "flights.events.raw"', "label.topic", "events have by default"),
        ('time = "departure"', 'time = "departure"\ntimezone = "Europe/Belin"', "event.timezone", "`Europe/Berlin`"),
        ('time = "departure"', 'time = "departure"\ntimezone = "Europe"', "event.timezone", "IANA time zone"),
        ('time = "departure"', 'time = "departure"\ntimezone = "../UTC"', "event.timezone", "IANA time zone"),
        # features
        ("range = [50, 10_000]", "range = [50, 50]", "features.distance.range", "[least, greatest]"),
        ("range = [50, 10_000]", 'outside = "clip"', "features.distance.outside", "goes with a range only"),
        ('missing = "mean"', 'missing = "avg"', "features.distance.missing", 'expected one of "mean"'),
        ('missing = "mean"', "missing = true", "features.distance.missing", "or a number, got true"),
        (
            'missing = "mean"',
            "missing = 1e200",
            "features.distance.missing",
            "expected 0 or a number of 1e-100 to 1e+100",
        ),
        ('missing = "mean"', "unit = 1e-300", "features.distance.unit", "got 1e-300"),
        ("range = [50, 10_000]", "range = [50, 1e120]", "features.distance.range[1]", "either sign, got 1e+120"),
        ('missing = "mean"', "unit = 0", "features.distance.unit", "other than 0"),
        ('type = "boolean"', 'type = "boolean"\nmissing = 1', "features.holiday.missing", "true or false, got 1"),
        ('type = "boolean"', 'type = "boolean"\nrange = [0, 1]', "features.holiday.range", 'type = "number" only'),
        ('type = "boolean"', 'type = "boolean"\nmax_values = 2', "features.holiday.max_values", '"category" only'),
        ('synonyms = { "United" = "UA" }', 'missing = "mean"', "features.carrier.missing", "a category of its own"),
        ('derive = "hour"', 'derive = "hour"\naliases = ["h"]', "features.hour.aliases", "read from the event"),
        ('derive = "hour"', 'derive = "hour"\nmissing = "last"', "features.hour.missing", "always there"),
        ('aliases = ["dist"]', 'aliases = ["hour"]', "features.distance.aliases[0]", "is features.hour already"),
        ('aliases = ["dist"]', 'aliases = ["flight_id"]', "features.distance.aliases[0]", "is event.id already"),
        ('aliases = ["dist"]', 'aliases = ["a", "a"]', "features.distance.aliases[1]", "alias of features.distance"),
        ("[features.holiday]", "[features.departure]", "features.departure", "another field than event.time"),
        ("[features.holiday]", '[features."a+b"]', "features.a+b", "without + * ="),
        # crosses, encodings
        ('by = ["carrier", "hour"]', 'by = ["carrier"]', "crosses[0].by", "a list of texts (at least 2), got"),
        ('by = ["carrier", "hour"]', 'by = ["carrier", "hours"]', "crosses[0].by[1]", "did you mean `hour`?"),
        ('by = ["carrier", "hour"]', 'by = ["hour", "distance"]', "crosses[0].by[1]", "distance is a number"),
        ('by = ["carrier", "hour"]', 'by = ["hour", "hour"]', "crosses[0].by[1]", "each feature once"),
        ("by = []", 'by = ["carrier"]', "encodings[1].by", "another combination than encodings[0]"),
        ("half_life = [7, 35]", "half_life = [7, 0]", "encodings[0].half_life[1]", "labels from 0.1 to"),
        ("half_life = [7, 35]", "half_life = [7, 1e13]", "encodings[0].half_life[1]", "labels from 0.1 to 1e+12"),
        ("half_life = [7, 35]", "half_life = [7, 7.0000001]", "encodings[0].half_life[1]", "once to six digits"),
        ("half_life = [7, 35]", "half_life = [7, 7]", "encodings[0].half_life[1]", "each half-life once"),
        ("half_life = [7, 35]", "half_life = []", "encodings[0].half_life", "a list of numbers (at least 1)"),
        # candidates
        ('name = "own"', 'name = "logistic"', "model.candidates[1].name", "is candidates[0] already"),
        ('model = "logistic_regression"', "", "model.candidates[0]", "exactly one of model"),
        ('name = "own"', 'name = "own"\nmodel = "linear_regression"', "model.candidates[1]", "exactly one of model"),
        ("models.late:make", "models.late.make", "model.candidates[1].factory", '"package.module:function"'),
        ("models.late:make", "os;x:y", "model.candidates[1].factory", '"package.module:function"'),
        ("logistic_regression", "linear_regression", "model.candidates[0].model", "learns a regression task"),
        ('name = "own"', 'name = "own"\nlearning_rate = 1', "model.candidates[1].learning_rate", "factory's function"),
        ('name = "logistic"', 'name = "logistic"\nlearning_rate = 0', "model.candidates[0].learning_rate", "above 0"),
        ('name = "logistic"', 'name = "logistic"\nl2 = -1', "model.candidates[0].l2", "0 or more"),
        (
            'name = "logistic"',
            'name = "logistic"\noptimizer = "sgd"\nlearning_rate = 0.5\nl2 = 4',
            "model.candidates[0].l2",
            "less than 2 / learning_rate",
        ),
        ('name = "logistic"', 'name = "logistic"\nmodels = 9', "model.candidates[0].models", "has no such option"),
    ],
)
def test_each_mistake_is_told_with_its_line_its_key_and_what_was_expected(old, new, key, message):
    """One mistake gives one problem: p.toml, the line of the mistake, its key, what was expected."""
    text = replaced(old, new)
    first = next(number for number, (a, b) in enumerate(zip(BINARY.split("\n"), text.split("\n"), strict=False), 1)
                 if a != b)  # fmt: skip
    told = next(line for line in refusal(text).split("\n") if f": {key}: " in line)
    found = re.match(r"p\.toml:(\d+): ", told)
    assert found, told
    assert message in told
    assert abs(int(found[1]) - first) <= 3, told  # a table's problem is told at its header


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ('task = "regression"', 'task = "regression"\nthreshold = 0.7', "pipeline.threshold", "take it out"),
        ("on_expiry = 60", "on_expiry = 1e300", "label.on_expiry", "expected 0 or a number of 1e-100 to 1e+100"),
        ("on_expiry = 60", "on_expiry = true", "label.on_expiry", "a number"),
        ('"linear_regression"', '"logistic_regression"', "model.candidates[0].model", "learns a binary task"),
        ('value = "minutes"', 'value = "at"', "label.time", "another field than label.value"),
    ],
)
def test_what_belongs_to_the_other_task_is_refused(old, new, key, message):
    """A regression pipeline has no threshold, no boolean labels and no classifier."""
    told = refusal(replaced(old, new, REGRESSION))
    assert f": {key}: " in told
    assert message in told


def test_an_encoding_as_logit_is_refused_for_regression():
    """There is no logit of a mean of numbers."""
    assert "encodings[0].as" in refusal(f'{REGRESSION}[[encodings]]\nby = []\nhalf_life = [7]\nas = "logit"\n')


def test_a_missing_key_is_told_at_its_table():
    """What is not written has no line of its own, so its table's is told."""
    told = refusal(replaced('value = "late"\n', ""))
    assert told == f"p.toml:{line_of('[label]')}: label.value: missing; expected text in quotes"


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    """Two mistakes give two lines, the upper one first."""
    text = replaced('horizon = "24h"', 'horizon = "x"').replace('by = ["carrier", "hour"]', 'by = ["carrier", "x"]')
    lines = refusal(text).split("\n")
    assert [line.split(": ")[1] for line in lines] == ["label.horizon", "crosses[0].by[1]"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("[pipeline]\nname = \n", 2), ("[pipeline]\n\nname = 'a", 3), ("a = 1\na = 2\n", 2), ("[a]\n[b]\n[a]", 3)],
)
def test_a_text_that_is_not_toml_is_told_with_its_line(text, line):
    """A syntax error names the line on which it is."""
    assert refusal(text).startswith(f"p.toml:{line}: expected TOML")


@pytest.mark.parametrize("stream", sorted(set(STREAMS) - {"events.raw", "labels.raw"}))
def test_no_pipeline_reads_what_a_pipeline_writes(stream):
    """Whatever Rivermill writes for any pipeline is no topic of raw events, and the sentence names whose it is."""
    told = refusal(replaced('time = "departure"', f'time = "departure"\ntopic = "trains.{stream}"'))
    assert f"event.topic: expected a topic that producers write; trains.{stream} is written by Rivermill itself" in told


@pytest.mark.parametrize(
    "topic", ["trains.events.raw", "trains.labels.raw", "acme.trains.alerts", "alerts", "Trains.models"]
)
def test_a_topic_that_no_pipeline_can_have_written_is_allowed(topic):
    """Another pipeline's raw topics, and names that no pipeline's topics have, may be read."""
    assert parse(replaced('time = "departure"', f'time = "departure"\ntopic = "{topic}"')).event.topic == topic


def test_own_topics_of_events_and_labels_must_differ():
    """One foreign topic cannot hold both events and labels."""
    text = replaced('time = "departure"', 'time = "departure"\ntopic = "orders"')
    assert parse(text).event.topic == "orders"
    assert "label.topic: expected another topic" in refusal(
        text.replace('horizon = "24h"', 'horizon = "24h"\ntopic = "orders"')
    )


def test_drift_needs_some_false_alarms_and_a_block_that_can_end():
    """Zero false alarms and a block with at_least above at_most are refused."""
    told = refusal(f'{BINARY}[drift]\nfalse_alarms_per_day = 0\nblock = {{ at_least = "7h" }}\n')
    assert "drift.false_alarms_per_day: expected a number above 0" in told
    assert "drift.block.at_least: expected at most at_most (6h), got 7h" in told


def test_key_lines_follow_every_way_toml_writes_keys():
    """Dotted and quoted keys, inline tables, lists over lines, strings that look like keys: each has its line."""
    text = (
        "# a = 0\r\n"
        "a.b = 1 # c = 2\n"
        "'q u' = { x = [1,\n  2, # y = 3\n  { z = 4 } ], w.v = 5 }\n"
        's = """\n[t]\nk = 6\n\\""" """\n'
        "[[n]]\nm = 1979-05-27 07:32:00\n"
        "[n.o]\np = '''\n[r]'''\n"
        '[[n]]\n"m" = "]"\n'
        "[n.o.p]\nq = 1\n"
    )
    lines = key_lines(text)
    assert {path: lines[path] for path in lines if path[0] != "n"} == {
        ("a",): 2, ("a", "b"): 2, ("q u",): 3, ("q u", "x"): 3, ("q u", "x", 0): 3, ("q u", "x", 1): 4,
        ("q u", "x", 2): 5, ("q u", "x", 2, "z"): 5, ("q u", "w"): 5, ("q u", "w", "v"): 5, ("s",): 6,
    }  # fmt: skip
    assert lines["n", 0, "m"] == 11
    assert lines["n", 0, "o", "p"] == 13
    assert lines["n", 1] == 15
    assert lines["n", 1, "m"] == 16
    assert lines["n", 1, "o", "p", "q"] == 18
