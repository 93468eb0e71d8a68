"""A small pipeline and a reproducible log of examples for it, with everything missing somewhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from schemas.events import Value
from schemas.examples import Control, Example
from schemas.predictions import ChallengerScore, ModelRef
from services.domain.encodings import Encodings
from services.domain.plan import plan_of
from services.domain.spec import Spec, canonical, parse, spec_hash

LOG_ID = "01900000-0000-7000-8000-000000000000"
START = datetime(2013, 1, 1, tzinfo=UTC)

HEAD = """
[pipeline]
name = "flights"
task = "{task}"
[event]
id = "id"
time = "time"
[label]
id = "id"
value = "late"
time = "landed"
horizon = "1d"
[features.distance]
type = "number"
[features.wind]
type = "number"
[features.holiday]
type = "boolean"
[features.carrier]
type = "category"
max_values = 4
[features.origin]
type = "category"
[[crosses]]
by = ["carrier", "origin"]
[[encodings]]
by = []
half_life = [5, 50]
as = "logit"
[[encodings]]
by = ["carrier"]
half_life = [5, 50]
as = "logit"
max_values = 3
[[encodings]]
by = ["carrier", "origin"]
half_life = [20]
[snapshots]
every_examples = 100
every = "5s"
live_every = "100ms"
"""
LOGISTIC = """
[[model.candidates]]
name = "logistic"
model = "logistic_regression"
[[model.candidates]]
name = "sgd"
model = "logistic_regression"
optimizer = "sgd"
learning_rate = 0.01
l2 = 0.001
"""
TREE = """
[[model.candidates]]
name = "tree"
model = "hoeffding_adaptive_tree"
"""
REGRESSION = """
[[model.candidates]]
name = "linear"
model = "linear_regression"
"""
MORE = """
[features.rain]
type = "number"
[features.gate]
type = "category"
[[encodings]]
by = ["gate"]
half_life = [10]
"""


def spec(candidates: str = LOGISTIC, more: str = "", task: str = "binary") -> Spec:
    text = HEAD.format(task=task) + more + candidates
    return parse(text if task == "binary" else text.replace('as = "logit"', ""))


def control(of: Spec) -> Control:
    return Control(LOG_ID, spec_hash(of), canonical(of))


def events(count: int, seed: int = 1) -> Iterator[dict[str, Value]]:
    rng = random.Random(seed)  # noqa: S311 - reproducible test data
    for _ in range(count):
        yield {
            "distance": rng.choice((None, rng.gauss(1000, 300), rng.gauss(1000, 300))),
            "wind": rng.expovariate(0.1),
            "holiday": rng.choice((True, False, False, None)),
            "carrier": rng.choice(("UA", "AA", "DL", "B6", "EV", "MQ", None)),
            "origin": rng.choice(("JFK", "LGA", "EWR")),
            "unknown": "ignored",
        }


def examples(count: int, seed: int = 1, of: Spec | None = None) -> list[Example]:
    """Predictions made with encodings of their time, and labels that depend on the features."""
    of = of or spec()
    rng = random.Random(seed + 1)  # noqa: S311 - reproducible test data
    encodings = Encodings(plan_of(of))
    champion, *others = (candidate.name for candidate in of.model.candidates)
    log = []
    for index, features in enumerate(events(count, seed)):
        late = rng.random() < (0.7 if features["carrier"] in {"EV", "MQ"} else 0.2)
        label = late if of.pipeline.task == "binary" else 10.0 * late + rng.gauss(0, 1)
        encoded = encodings.tables().encode(features)
        log.append(
            Example(
                event_id=f"e{index}",
                time=START + timedelta(minutes=index),
                label_time=START + timedelta(minutes=index + 60),
                features=features,
                encoded=encoded,
                label=label,
                score=round(rng.random(), 3),
                model=ModelRef("flights", champion, 1, 1),
                challengers=[ChallengerScore(name, 1, 1, round(rng.random(), 3)) for name in others],
                spec=spec_hash(of),
                corrects=(not late) if of.pipeline.task == "binary" and index % 17 == 5 else None,
            )
        )
        encodings.update(features, float(label))
    return log
