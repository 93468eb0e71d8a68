"""Rows that need no repair: a function written for the pipeline's features looks at all fields of one in one go.

Most rows are such. It does what the rules would find to do, nothing but imputation, and keeps the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from schemas.events import Change, Value
from services.cleaning.core.derived import Derived
from services.cleaning.core.statistics import Robust
from services.domain.records import NUMBER_MAX
from services.domain.spec import Feature

Tidy = Callable[[Sequence[Any], datetime, list[Change]], msgspec.Struct | None]
"""From a strictly decoded row (id, time, features) and its time in UTC to the clean features, imputations noted in the
list; None, and nothing done, if a value needs more than that."""


def tidy_rows(
    features: Sequence[Feature],
    known: Mapping[int, set[Any]],
    robust: Mapping[int, Robust],
    *,
    made: Callable[..., msgspec.Struct],
    derived: Derived,
    impute: Callable[[int, list[Change]], Value],
    observed: Callable[[], None],
    keep: Callable[[Sequence[Value]], None],
) -> Tidy:
    """The function for these features.

    ``known`` are the categories that need no repair and ``robust`` the running medians, by a feature's number; ``made``
    takes all values, those of ``derived`` last. ``observed`` is called when the medians have an event's values, ``keep``
    with the values before imputation.
    """

    def numbers(which: Callable[[Feature], object]) -> tuple[int, ...]:
        return tuple(i for i, feature in enumerate(features) if which(feature))

    make = _maker(
        len(features),
        demanded=numbers(lambda feature: feature.missing == "reject"),
        imputed=numbers(lambda feature: feature.missing not in ("keep", "reject")),
        known=tuple(known),
        scaled=numbers(lambda feature: feature.unit != 1.0),
        watched=numbers(lambda feature: feature.outliers is not None),
        blocks=tuple(robust),
        derived=bool(derived),
    )
    ranges = [feature.range or (-NUMBER_MAX, NUMBER_MAX) for feature in features]
    units = [feature.unit for feature in features]
    written: Tidy = make(known, robust, units, ranges, made, derived.of, impute, observed, keep)
    return written


@lru_cache(maxsize=64)
def _maker(
    width: int,
    *,
    demanded: tuple[int, ...],
    imputed: tuple[int, ...],
    known: tuple[int, ...],
    scaled: tuple[int, ...],
    watched: tuple[int, ...],
    blocks: tuple[int, ...],
    derived: bool,
) -> Callable[..., Any]:
    values = "".join(f"v{i}, " for i in range(width))
    head = ["def make(known, robust, units, ranges, made, derive, impute, observed, keep):"]
    head += [f"known{i} = known[{i}]" for i in known]
    head += [f"robust{i}, append{i} = robust[{i}], robust[{i}].block.append" for i in blocks]
    head += [f"unit{i}, (low{i}, high{i}) = units[{i}], ranges[{i}]" for i in scaled]
    lines = [f"_, _, {values} = row"]
    lines += [f"if v{i} is None: return None" for i in demanded]
    lines += [f"if v{i} not in known{i} and v{i} is not None: return None" for i in known]
    for i in scaled:
        lines += [f"if v{i} is not None:", f"    v{i} *= unit{i}", f"    if not low{i} <= v{i} <= high{i}: return None"]
    lines += [f"if v{i} is not None and not robust{i}.low <= v{i} <= robust{i}.high: return None" for i in watched]
    lines += [f"if v{i} is not None: append{i}(v{i})" for i in blocks]
    lines += ["observed()"] if blocks else []
    lines += [f"seen = ({values})"]
    lines += [f"if v{i} is None: v{i} = impute({i}, changes)" for i in imputed]
    lines += ["keep(seen)"]
    lines += [f"return made({values}*derive(time))" if derived else f"return made({values})"]
    source = "\n    ".join([*head, "def tidy(row, time, changes):", *(f"    {line}" for line in lines), "return tidy"])
    scope: dict[str, Any] = {}
    exec(compile(source, f"<{__name__}>", "exec"), scope)  # noqa: S102 - the text holds numbers only
    make: Callable[..., Any] = scope["make"]
    return make
