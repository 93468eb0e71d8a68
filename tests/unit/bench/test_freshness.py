"""When a label has reached a prediction."""

from __future__ import annotations

from array import array
from math import isnan

import pytest

from bench.freshness import Made, labels
from bench.latency.load import raw_events


def test_a_label_is_in_the_first_prediction_whose_model_was_folded_past_it():
    """A model folded up to an offset has not learned the example there; one that came with an older state does not undo it."""
    made = Made(array("d", [1.0, 2.0, 3.0, 4.0]), array("q", [4, 6, 5, 9]))
    assert made.since([0.5, 0.5, 0.5], [3, 4, 6]) == pytest.approx([0.5, 1.5, 3.5])
    assert isnan(made.since([0.5], [9])[0])


def test_every_event_has_its_label():
    """Of the same id and key."""
    events = raw_events(3)
    assert [key for key, _ in labels(events)] == [key for key, _ in events]
    assert labels(events)[1][1] == b'{"id":"00000001","at":"2013-01-01T00:00:01+00:00","label":false}'
