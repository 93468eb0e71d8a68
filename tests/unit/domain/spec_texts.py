"""A small pipeline file that is right, and ways to write it otherwise."""

from __future__ import annotations

BINARY = """\
[pipeline]
name = "flights"
task = "binary"

[event]
id = "flight_id"
time = "departure"

[label]
id = "flight_id"
value = "late"
time = "arrived_at"
horizon = "24h"

[features.distance]
type = "number"
aliases = ["dist"]
range = [50, 10_000]
missing = "mean"

[features.holiday]
type = "boolean"

[features.carrier]
type = "category"
synonyms = { "United" = "UA" }

[features.hour]
type = "category"
derive = "hour"

[[crosses]]
by = ["carrier", "hour"]

[[encodings]]
by = ["carrier"]
half_life = [7, 35]
as = "logit"

[[encodings]]
by = []
half_life = [7]

[[model.candidates]]
name = "logistic"
model = "logistic_regression"

[[model.candidates]]
name = "own"
factory = "models.late:make"
"""

REGRESSION = """\
[pipeline]
name = "minutes"
task = "regression"

[event]
id = "order"
time = "at"

[label]
id = "order"
value = "minutes"
time = "at"
horizon = "2h"
on_expiry = 60

[features.kilometres]
type = "number"

[[model.candidates]]
name = "linear"
model = "linear_regression"
"""


def replaced(old: str, new: str, text: str = BINARY) -> str:
    """The text with its only ``old`` replaced."""
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the text"
    return text.replace(old, new)


def line_of(fragment: str, text: str = BINARY) -> int:
    """The line on which a fragment stands first."""
    return text[: text.index(fragment)].count("\n") + 1
