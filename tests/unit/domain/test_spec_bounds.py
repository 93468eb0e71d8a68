"""What a pipeline file may say, the others must take: the registry, Kafka, JSON and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_type_hints

import msgspec
import pytest
from msgspec import inspect

from schemas.codec import encode
from schemas.examples import Control
from schemas.topics import topics
from services.domain import catalogue, registry_api
from services.domain.columns import Columns, Row
from services.domain.plan import Plan
from services.domain.records import MAX_VALUE_BYTES
from services.domain.spec import CANONICAL_MAX_BYTES, Spec, SpecError, canonical, duration, parse
from services.domain.spec_duration import LONGEST
from tests.unit.domain.spec_texts import BINARY, replaced

EXACT = 2**53
"""Beyond it a JSON reader and a gauge round."""
TOPIC_NAME_MAX = 249
ALIAS_MAX = 80
"""As the registry's tables have it."""
INT64 = 2**63 - 1
MILLISECONDS = LONGEST.total_seconds() * 1000
LAST_EVENT = datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC)


def most(struct: type, field: str) -> Any:
    """The greatest number that a field of a contract takes."""
    kind = inspect.type_info(get_type_hints(struct, include_extras=True)[field])
    assert isinstance(kind, inspect.IntType)
    return kind.le


NUMBERS = {
    "topics.partitions": 256,  # access lists, assignments and the settings' check name every one
    "event.dedupe_ids": EXACT,
    "label.max_waiting": EXACT,
    "features.max_values": EXACT,
    "crosses.max_values": EXACT,
    "encodings.max_values": EXACT,
    "model.candidates.models": 256,  # all trees of a forest go into one snapshot
    "model.candidates.seed": None,  # of 64 bits as any integer of the file; Python's generator takes it
    "snapshots.every_examples": EXACT,
    "snapshots.keep": most(registry_api.NewVersion, "keep"),
    "drift.block.events": EXACT,
}
"""Every whole number of a pipeline file, and what the other side takes at most."""


def numbers(kind: inspect.Type, path: str = "") -> Iterator[tuple[str, inspect.IntType]]:
    """The whole numbers of a type, by the keys that lead to them."""
    match kind:
        case inspect.StructType():
            for field in kind.fields:
                yield from numbers(field.type, f"{path}.{field.encode_name}".removeprefix("."))
        case inspect.DictType():
            yield from numbers(kind.value_type, path)
        case inspect.VarTupleType():
            yield from numbers(kind.item_type, path)
        case inspect.UnionType():
            for each in kind.types:
                yield from numbers(each, path)
        case inspect.IntType():
            yield path, kind


@pytest.mark.parametrize(("path", "kind"), numbers(inspect.type_info(Spec)))
def test_no_whole_number_is_greater_than_the_other_side_takes(path: str, kind: inspect.IntType) -> None:
    taken = NUMBERS[path]
    if taken is not None:
        assert kind.le is not None
        assert kind.le <= taken


def test_every_whole_number_is_in_the_table() -> None:
    assert {path for path, _ in numbers(inspect.type_info(Spec))} == set(NUMBERS)


def test_what_is_kept_at_most_is_refused_by_line_above_it() -> None:
    """The file's own words, not the registry's 422 once the pipeline runs."""
    assert parse(f"{BINARY}\n[snapshots]\nkeep = {registry_api.MAX_KEEP}\n").snapshots.keep == registry_api.MAX_KEEP
    with pytest.raises(SpecError, match=r"snapshots\.keep: expected an integer from 1 to 100000"):
        parse(f"{BINARY}\n[snapshots]\nkeep = {registry_api.MAX_KEEP + 1}\n")


@pytest.mark.parametrize("model", ["hoeffding_adaptive_tree", "adaptive_random_forest"])
@pytest.mark.parametrize("seed", [-(2**63), 2**63 - 1])
def test_any_seed_makes_a_model_that_can_be_written_down(model: str, seed: int) -> None:
    text = replaced('model = "logistic_regression"', f'model = "{model}"\nseed = {seed}')
    candidate = parse(text).model.candidates[0]
    plan = Plan("binary", ("distance",), (), (), ())
    made = catalogue.make(candidate, Columns(plan))
    row = Row({"distance": 1.0}, {}, [], [])
    assert made.learn(row, 1.0, 1.0)
    assert catalogue.load(candidate, plan, made.dump()).score(row) == made.score(row)


def test_the_longest_durations_are_retentions_that_kafka_takes_and_times_that_exist() -> None:
    longest = duration(f"{LONGEST.days}d")
    assert duration(f"{int(MILLISECONDS)}ms") == longest
    milliseconds = int(MILLISECONDS)
    for topic in topics("p", 1, milliseconds, milliseconds):
        assert int(topic.config.get("retention.ms", "-1")) <= INT64
    assert LAST_EVENT + longest + longest < datetime.max.replace(tzinfo=UTC)


def test_the_longest_names_are_names_of_topics_models_candidates_and_aliases() -> None:
    longest = "n" * 64
    spec = parse(replaced('"logistic"', f'"{longest}"', replaced('"flights"', f'"{longest}"')))
    candidate = spec.model.candidates[0].name
    for name in (spec.pipeline.name, candidate):
        assert msgspec.convert(name, registry_api.Name) == longest
    assert len(registry_api.challenger(candidate)) <= ALIAS_MAX
    assert max(len(topic.name) for topic in topics(spec.pipeline.name, 1, 1, 1)) <= TOPIC_NAME_MAX
    with pytest.raises(SpecError, match=r"pipeline\.name"):
        parse(replaced('"flights"', f'"{longest}n"'))


@pytest.mark.parametrize("letter", ["x", '\\"', "\\u0001", "\U0001f600"])
def test_the_longest_file_fits_the_registry_and_a_record_of_examples(letter: str) -> None:
    """A synonym takes all the room; it is written as JSON once for the registry, twice for the log."""
    plain = len(canonical(parse(BINARY)).encode())
    each = len(msgspec.json.encode(msgspec.json.decode(f'"{letter}"'))) - 2
    text = letter * ((CANONICAL_MAX_BYTES - plain) // each)
    spec = canonical(parse(replaced('"United" = "UA"', f'"United" = "UA{text[len(letter) * 2 :]}"')))
    assert CANONICAL_MAX_BYTES - 64 < len(spec.encode()) <= CANONICAL_MAX_BYTES
    assert len(spec.encode()) <= registry_api.MAX_SPEC_BYTES
    assert len(encode(Control(log_id="x" * 64, spec="f" * 16, pipeline=spec))) <= MAX_VALUE_BYTES
