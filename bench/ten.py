"""The plainest workload: ten numbers an event and one linear model, trained beforehand."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from schemas.codec import encode
from schemas.events import CleanEvent, Value
from schemas.examples import Control, Example
from schemas.predictions import ModelRef
from services.domain.spec import Spec, canonical, spec_hash
from services.learner.core.fold import Fold

START = datetime(2013, 1, 1, tzinfo=UTC)
_FILE = """
[pipeline]
name = "{name}"
task = "binary"
[topics]
partitions = {partitions}
[event]
id = "id"
time = "at"
clock = "replay"
[label]
id = "id"
value = "label"
time = "at"
horizon = "24h"
{features}
[[model.candidates]]
name = "logistic"
model = "logistic_regression"
"""


def names(count: int) -> tuple[str, ...]:
    """Names of so many numbers."""
    return tuple(f"x{i}" for i in range(count))


FEATURES = names(10)


def pipeline(name: str = "ten", partitions: int = 4, numbers: Sequence[str] = FEATURES) -> str:
    """The text of the pipeline file."""
    features = "".join(f'[features.{feature}]\ntype = "number"\n' for feature in numbers)
    return _FILE.format(name=name, partitions=partitions, features=features)


def clean_events(
    count: int, spec: str, seed: int = 1, numbers: Sequence[str] = FEATURES
) -> Iterator[tuple[bytes, bytes]]:
    """Clean events, keyed by their ids, as cleaning writes them.

    The numbers are uniform, so none lies three deviations from the mean: there Rivermill clips and River does not.
    """
    source = random.Random(seed)  # noqa: S311 - a reproducible workload, no secret
    for number in range(count):
        features: dict[str, Value] = {name: source.uniform(-2.0, 2.0) for name in numbers}
        event_id = f"{number:08d}"
        yield event_id.encode(), encode(CleanEvent(event_id, START + timedelta(seconds=number), features, [], spec))


def trained(spec: Spec, examples: int = 5000) -> bytes:
    """A snapshot of the model, taught by the learner's own fold: the label follows the sum of the numbers."""
    fold = Fold()
    told = spec_hash(spec)
    fold.apply(Control("018f0000-0000-7000-8000-000000000000", told, canonical(spec)), 0)
    source = random.Random(2)  # noqa: S311 - as above
    made_with = ModelRef(spec.pipeline.name, spec.model.candidates[0].name, 0, 0)
    numbers = list(spec.features)
    for number in range(1, examples + 1):
        features = {name: source.uniform(-2.0, 2.0) for name in numbers}
        label = sum(features.values()) + source.gauss(0, 2) > 0
        at = START + timedelta(seconds=number)
        fold.apply(Example(f"{number:08d}", at, at, dict(features), {}, label, 0.5, made_with, [], told), number)
    return fold.snapshots()[0].blob
