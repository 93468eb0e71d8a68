from __future__ import annotations

import pytest

from services.domain.plan import EncodingPlan, Field, key_of, plan_of
from tests.unit.stream import MORE, REGRESSION, spec


def test_the_plan_keeps_the_files_order_and_names():
    """A plan lists numbers, then booleans, categories and crosses, in the order of the pipeline file."""
    plan = plan_of(spec(more=MORE))
    assert plan.numbers == ("distance", "wind", "rain")
    assert [field.name for field in plan.fields] == ["holiday", "carrier", "origin", "gate", "carrier*origin"]
    assert plan.fields[1] == Field("carrier", ("carrier",), 4)
    assert plan.encodings[0] == EncodingPlan("*", (), (5.0, 50.0), True, 10_000)
    assert [encoding.name for encoding in plan.encodings] == ["*", "carrier", "carrier+origin", "gate"]


def test_an_encoding_of_a_regression_is_never_a_logit():
    """A regression's label is no rate, so its encodings are means."""
    assert not any(encoding.logit for encoding in plan_of(spec(REGRESSION, task="regression")).encodings)


@pytest.mark.parametrize(
    ("by", "features", "key"),
    [
        ((), {"carrier": "UA"}, ""),
        (("carrier",), {"carrier": "UA"}, "UA"),
        (("carrier",), {"carrier": None}, ""),
        (("carrier",), {}, ""),
        (("carrier",), {"carrier": 5}, "5.0"),
        (("carrier", "origin"), {"carrier": "UA", "origin": "JFK"}, "UA\x1fJFK"),
        (("carrier", "origin"), {"origin": "JFK"}, "\x1fJFK"),
        (("holiday",), {"holiday": True}, "true"),
        (("holiday", "carrier"), {"holiday": False, "carrier": "UA"}, "false\x1fUA"),
        (("carrier", "origin", "holiday"), {"carrier": "UA"}, "UA\x1f\x1f"),
    ],
)
def test_a_key_joins_the_values_and_leaves_missing_ones_empty(by, features, key):
    """A combination's key is its values joined by the unit separator, a missing value being empty."""
    assert key_of(by, ("carrier", "origin"))(features) == key
