"""What is told of a run that watches memory."""

from __future__ import annotations

from bench import slope


def test_what_was_sent_is_told_and_which_setting_was_not_the_usual_one():
    """The rates counted, not those asked for, and how long the default number of ids would take to be there."""
    told = slope.told(slope.Found({}, 250.0, 246.6), 20.0)
    assert told[0].startswith("20 minutes at 250 events and 247 labels a second, counted as they were sent;")
    assert "10,000 ids (`dedupe_ids`) in place of the default 250,000" in told[1]
    assert "after 67 minutes only" in told[1]


def test_a_slope_is_of_the_last_two_thirds():
    """What the first third adds is no slope."""
    series = {"x": [(float(minute), 100.0 + 10 * min(minute, 10) + max(0, minute - 10)) for minute in range(31)]}
    assert slope.table(series, 30.0)[-1] == "| x | 200.0 | 220.0 | 220.0 | +60.0 |"
