"""The job that every peer does: decode a clean event, score it with River, encode the prediction.

The bytes are those of Rivermill's own prediction; what only Rivermill knows (which version it serves) is constant here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import msgspec
from river import linear_model, preprocessing
from river.utils import VectorDict

from schemas.events import CleanEvent
from schemas.predictions import ModelRef, Prediction


class Trained(msgspec.Struct, frozen=True):
    """The state of ``StandardScaler | LogisticRegression``, and what a prediction says of the model."""

    features: list[str]
    counts: list[int]
    means: list[float]
    variances: list[float]
    weights: list[float]
    intercept: float
    ref: ModelRef
    threshold: float


def model(trained: Trained) -> object:
    """The River pipeline in that state."""

    def named(values: list[float] | list[int]) -> dict[str, float]:
        return dict(zip(trained.features, values, strict=True))

    scaler = preprocessing.StandardScaler._from_state(
        named(trained.counts), named(trained.means), named(trained.variances)
    )
    logistic = linear_model.LogisticRegression(intercept_init=trained.intercept)
    logistic._weights = VectorDict(named(trained.weights))
    return scaler | logistic


def job(path: Path) -> Callable[[bytes], bytes]:
    """The function from a clean event to its prediction, with the model that ``path`` holds."""
    trained = msgspec.json.decode(path.read_bytes(), type=Trained)
    predict = model(trained).predict_proba_one  # type: ignore[attr-defined] # River has no types
    decode = msgspec.json.Decoder(CleanEvent).decode
    encode = msgspec.json.Encoder().encode
    ref, threshold, offset = trained.ref, trained.threshold, trained.ref.examples_offset

    def score(value: bytes) -> bytes:
        event = decode(value)
        chance = predict(event.features)[True]
        return encode(
            Prediction(
                event.event_id, event.time, chance, chance >= threshold, ref, offset, [], event.features, {}, event.spec
            )
        )

    return score


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The command line of a peer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--broker", required=True, help="host:port")
    parser.add_argument("--source", required=True, help="the topic to read from its beginning")
    parser.add_argument("--sink", required=True, help="the topic to write")
    parser.add_argument("--group", required=True, help="a name for this run: its consumer group and transactional id")
    parser.add_argument("--model", required=True, type=Path, help="the trained model's file")
    parser.add_argument("--folder", required=True, type=Path, help="an empty folder for what it keeps on disk")
    return parser
