from __future__ import annotations

from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.encodings import CLIP, Encodings, ServedEncodings, State
from services.domain.plan import OTHER, EncodingPlan, Plan

CARRIER = EncodingPlan("carrier", ("carrier",), (1.0, 3.0), False, 3)


def plan(*encodings: EncodingPlan, task: str = "binary") -> Plan:
    return Plan(task, (), (), encodings or (CARRIER,), ("carrier", "origin"))


def test_a_label_moves_the_mean_half_way_after_one_half_life():
    """With a half-life of one label, one label halves the distance between the mean and itself."""
    encodings = Encodings(plan())
    encodings.update({"carrier": "UA"}, 1.0)
    assert encodings.tables().encode({"carrier": "UA"})["carrier"] == [0.75, round(0.5 + 0.5 * (1 - 0.5 ** (1 / 3)), 6)]


def test_an_unseen_value_is_served_the_overall_mean_and_starts_there():
    """A key without labels has the overall mean of the same half-life, and its first label moves it from there."""
    encodings = Encodings(plan())
    for label in (1.0, 1.0, 0.0):
        encodings.update({"carrier": "UA"}, label)
    overall = encodings.tables().encode({"carrier": "AA"})["carrier"]
    assert overall == encodings.tables().encode({})["carrier"]
    encodings.update({"carrier": "AA"}, 1.0)
    assert encodings.tables().encode({"carrier": "AA"})["carrier"][0] == pytest.approx((overall[0] + 1) / 2, abs=1e-6)


def test_the_overall_mean_starts_as_a_plain_mean():
    """Before its window is full the overall mean is the mean of one half and the labels so far."""
    encodings = Encodings(plan(EncodingPlan("*", (), (1000.0,), False, 10)))
    for label in (1.0, 1.0, 0.0, 0.0, 0.0):
        encodings.update({}, label)
    assert encodings.tables().encode({})["*"] == [round(2.5 / 6, 6)]


def test_the_first_label_of_a_regression_is_its_overall_mean():
    """A regression's overall mean knows nothing before the first label and equals it after."""
    encodings = Encodings(plan(EncodingPlan("*", (), (1000.0,), False, 10), task="regression"))
    encodings.update({}, 42.0)
    assert encodings.tables().encode({})["*"] == [42.0]


def test_logits_are_clipped():
    """However certain the rate, a served logit lies within the logit of the clipping bound."""
    encodings = Encodings(plan(EncodingPlan("carrier", ("carrier",), (1.0,), True, 10)))
    for _ in range(50):
        encodings.update({"carrier": "UA"}, 1.0)
        encodings.update({"carrier": "AA"}, 0.0)
    bound = round(log((1 - CLIP) / CLIP), 6)
    assert encodings.tables().encode({"carrier": "UA"})["carrier"] == [bound]
    assert encodings.tables().encode({"carrier": "AA"})["carrier"] == [-bound]


def test_values_beyond_the_bound_share_one_row():
    """Once max_values keys are known, every later one, seen or not, has the row of the others."""
    encodings = Encodings(plan())
    for carrier in ("A", "B", "C", "D", "E"):
        encodings.update({"carrier": carrier}, 1.0)
    served = encodings.tables()
    assert set(served.tables[0].rows) == {"A", "B", "C", OTHER}
    assert served.encode({"carrier": "D"}) == served.encode({"carrier": "never seen"})


def test_no_value_is_taken_for_the_others():
    """A value called __other__, which a producer may send, is one like any: unseen values keep the overall mean."""
    encodings = Encodings(plan())
    for carrier, label in (("UA", 0.0), ("__other__", 1.0), ("UA", 0.0)):
        encodings.update({"carrier": carrier}, label)
    served = encodings.tables()
    assert served.encode({"carrier": "never seen"}) == served.encode({})
    assert served.encode({"carrier": "__other__"}) != served.encode({})


def test_rows_once_served_never_change():
    """A later label puts a new row and leaves one that was handed out as it was."""
    encodings = Encodings(plan())
    encodings.update({"carrier": "UA"}, 1.0)
    row = encodings.tables().encode({"carrier": "UA"})["carrier"]
    before = list(row)
    encodings.update({"carrier": "UA"}, 0.0)
    assert row == before


LABELS = st.lists(st.tuples(st.sampled_from(["A", "B", "C", "D", "E", None]), st.booleans()), max_size=60)
MIXED = plan(
    EncodingPlan("*", (), (2.0, 9.0), True, 10), CARRIER, EncodingPlan("origin", ("origin",), (2.0, 9.0), True, 2)
)


@settings(max_examples=100)
@given(LABELS, LABELS)
def test_the_state_written_down_goes_on_equally(before, after):
    """Encodings rebuilt from their state at any point serve the same ever after, and so do packed ones."""
    one = Encodings(MIXED)
    for value, label in before:
        one.update({"carrier": value, "origin": value}, float(label))
    other = Encodings(MIXED, State(dict(one.state().tables)))
    for encodings in (one, other):
        for value, label in after:
            encodings.update({"carrier": value, "origin": value}, float(label))
    unpacked = ServedEncodings.unpack(one.tables().pack(), MIXED)
    for value in ("A", "E", "Z", None):
        event = {"carrier": value, "origin": value}
        assert one.tables().encode(event) == other.tables().encode(event) == unpacked.encode(event)


def test_a_new_plan_keeps_known_encodings():
    """Adding an encoding leaves what the others serve as it was; one with other half-lives starts anew."""
    encodings = Encodings(plan())
    for label in (1.0, 0.0, 1.0):
        encodings.update({"carrier": "UA", "origin": "JFK"}, label)
    before = encodings.tables().encode({"carrier": "UA"})["carrier"]
    more = encodings.replanned(plan(EncodingPlan("origin", ("origin",), (4.0,), False, 9), CARRIER))
    assert more.tables().encode({"carrier": "UA"}) == {"origin": [0.5], "carrier": before}
