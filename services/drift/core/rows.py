"""Predictions decoded to what drift needs of them: a row of feature values, without building a dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from schemas.events import Value
from schemas.predictions import ModelRef
from schemas.summaries import Time

_ABSENT = float("inf")
"""A number that the prediction does not name (JSON has no infinity); null is one that is missing."""


class _Prediction(msgspec.Struct):
    time: Time
    score: float
    model: ModelRef
    spec: str
    features: Any


class _Loose(_Prediction):
    features: dict[str, Value]


class Rows:
    """Decodes predictions; ``features`` of a row are a Struct: the numbers (None missing, infinity absent), then the
    others (None missing, UNSET absent).
    """

    def __init__(self, numbers: Sequence[str], others: Sequence[str]) -> None:
        self._row = _row_type(numbers, others)
        typed = msgspec.defstruct("Prediction", [("features", self._row)], bases=(_Prediction,))
        self._typed: msgspec.json.Decoder[Any] = msgspec.json.Decoder(typed)
        self._loose: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Loose)

    def decode(self, value: bytes) -> Any:
        """A prediction with ``time, score, model, spec, features``; what msgspec raises if it is none.

        A number of another type than the pipeline file says (a prediction of an earlier one) is missing.
        """
        try:
            return self._typed.decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            row = self._loose.decode(value)
            row.features = self._row(*[_cell(row.features, field) for field in msgspec.structs.fields(self._row)])
            return row


def _row_type(numbers: Sequence[str], others: Sequence[str]) -> type[msgspec.Struct]:
    names = [*numbers, *others]
    numeric = [(f"f{i}", float | None, _ABSENT) for i in range(len(numbers))]
    rest = [(f"f{i}", Value | msgspec.UnsetType, msgspec.UNSET) for i in range(len(numbers), len(names))]
    rename = {f"f{i}": name for i, name in enumerate(names)}
    return msgspec.defstruct("Row", [*numeric, *rest], rename=rename, gc=False)


def _cell(features: Mapping[str, Value], field: Any) -> Any:
    value: Any = features.get(field.encode_name, field.default)
    is_number = isinstance(value, float) and not isinstance(value, bool)
    return None if field.default == _ABSENT and not is_number else value
