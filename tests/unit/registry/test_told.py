"""What the registry keeps of alerts and summaries, in memory and bounded."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alerts import Alert
from schemas.summaries import FeatureMoments
from services.registry.incidents import Incidents
from services.registry.profiles import BLOCK_EVENTS, MOST_BLOCKS, Part, Profiles, names, over_all, part_of
from tests.unit.registry import lived

AT = datetime(2026, 1, 1, tzinfo=UTC)


def alert(number: int, state: str = "opened") -> Alert:
    told = next(iter(lived.alerts("flights")))
    return msgspec.structs.replace(told, incident_id=f"i{number}", alert_id=f"i{number}-{state}", state=state)


def fold(alerts: Iterable[Alert], most: int = 1000) -> Incidents:
    incidents = Incidents(most)
    for seconds, each in enumerate(alerts):
        incidents.take("flights", each, AT + timedelta(seconds=seconds))
    return incidents


def ids(incidents: Incidents) -> list[str]:
    return [each.newest.incident_id for each in incidents.of("flights")]


def test_alerts_become_incidents() -> None:
    """An incident knows when it was opened and how it stands; open ones come first, then the newest."""
    incidents = fold([alert(1), alert(2), alert(3), alert(2, "resolved"), alert(3, "updated")])
    assert ids(incidents) == ["i3", "i1", "i2"]
    assert incidents.open("flights") == 2
    assert incidents.open("taxis") == 0
    resolved = incidents.of("flights")[-1]
    assert (resolved.opened, resolved.told) == (AT + timedelta(seconds=1), AT + timedelta(seconds=3))


def test_an_alert_told_twice_changes_nothing() -> None:
    """Each scoring process tells of the same cause: it is one incident, opened when it was told first."""
    (once,) = fold([alert(1), alert(1)]).of("flights")
    assert once.opened == AT
    incidents = fold([alert(1), alert(1, "resolved"), alert(2), alert(1)])
    assert ids(incidents) == ["i1", "i2"]
    assert incidents.of("flights")[0].opened == AT + timedelta(seconds=3)


def test_incidents_are_bounded_and_open_ones_stay() -> None:
    """Beyond the bound the oldest resolved incident goes; only where none is resolved, the oldest open one."""
    resolved = [alert(2), alert(2, "resolved"), alert(4), alert(4, "resolved")]
    incidents = fold([alert(1), *resolved, alert(5), alert(6)], most=3)
    assert sorted(ids(incidents)) == ["i1", "i5", "i6"]
    assert sorted(ids(fold((alert(number) for number in range(50)), most=3))) == ["i47", "i48", "i49"]


def test_forgetting_a_model_leaves_the_others() -> None:
    """What is known of one model goes when its topic does."""
    incidents = fold([alert(1)])
    incidents.take("taxis", alert(1), AT)
    incidents.forget("flights")
    assert (ids(incidents), incidents.open("taxis")) == ([], 1)


def moments(values: list[float], missing: int, centre: float) -> FeatureMoments:
    """As drift sums values up that no clipping touches."""
    away = np.array(values) - centre
    return FeatureMoments(
        len(values), missing, float(sum(values)), len(values), centre, float(away.sum()), float((away**2).sum()), 1.0
    )


_PARTS = st.lists(
    st.tuples(st.lists(st.floats(-1e4, 1e4), max_size=20), st.integers(0, 5), st.floats(-1e4, 1e4)),
    min_size=1, max_size=8,
)  # fmt: skip


@given(_PARTS)
def test_merged_parts_are_the_profile_of_all_values(parts: list[tuple[list[float], int, float]]) -> None:
    """However values are split into parts, and whatever each is centred on, the profile is that of all of them."""
    whole = Part()
    for values, missing, centre in parts:
        whole.add(part_of(moments(values, missing, centre)))
    everything = [value for values, *_ in parts for value in values]
    missing = sum(missing for _, missing, _ in parts)
    assert (whole.count, whole.missing) == (len(everything), missing)
    if everything:
        assert whole.average == pytest.approx(np.mean(everything), abs=1e-6)
        assert whole.deviation == pytest.approx(np.std(everything), abs=1e-2)
        assert whole.missing_rate == pytest.approx(missing / (missing + len(everything)))


def test_profiles_follow_the_fields_block_by_block() -> None:
    """A mean that moves and values that go missing show in the blocks where they do; categories have no mean."""
    profiles = Profiles()
    for summary in lived.summaries(80):
        profiles.take("flights", summary)
    blocks = profiles.of("flights")
    assert [block.events for block in blocks] == [BLOCK_EVENTS] * 20
    assert list(names(blocks)) == ["distance", "wind", "carrier"]
    assert blocks[0].fields["distance"].average == pytest.approx(1000, abs=50)
    assert blocks[-1].fields["distance"].average == pytest.approx(1600, abs=50)
    assert [round(block.fields["wind"].missing_rate or 0, 1) for block in (blocks[0], blocks[-1])] == [0.0, 0.4]
    carrier = over_all(blocks, "carrier")
    assert (carrier.average, carrier.deviation, carrier.missing_rate) == (None, None, 0.02)
    assert profiles.of("taxis") == []


def test_profiles_are_bounded() -> None:
    """Only the newest blocks are kept."""
    profiles = Profiles()
    for summary in lived.summaries(5 * MOST_BLOCKS):
        profiles.take("flights", summary)
    blocks = profiles.of("flights")
    assert len(blocks) == MOST_BLOCKS
    assert blocks[0].start == AT.replace(month=3) + timedelta(hours=MOST_BLOCKS)
