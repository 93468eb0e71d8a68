"""The dirt: how much, of what kind, always the same."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from examples.flights.data import Event, Flight, Label, flights
from examples.flights.dirt import EVENT_DIRT, KILOMETRES_FROM, KILOMETRES_TO, LABEL_DIRT, Send, soil


@pytest.fixture(scope="module")
def sixty() -> list[Flight]:
    return list(flights(60))


@pytest.fixture(scope="module")
def soiled(sixty: list[Flight]) -> list[Send]:
    return list(soil(sixty))


def test_without_dirt_every_record_is_the_flight_itself(sixty: list[Flight]) -> None:
    """A share of nothing sends each event and label once, as it is, under its id."""
    some = sixty[:2000]
    sends = list(soil(some, share=0, kilometres=False))
    events = {flight.event.flight_id: flight.event for flight in some}
    labels = {flight.event.flight_id: flight.label for flight in some if flight.label}
    assert len(sends) == len(events) + len(labels)
    for send in sends:
        record = msgspec.json.decode(send.value, type=Event if send.kind == "event" else Label)
        assert record == (events if send.kind == "event" else labels)[record.flight_id]
        assert send.key == record.flight_id.encode()
        assert send.dirt == ""


def test_the_stated_share_is_soiled_and_every_kind_occurs(sixty: list[Flight], soiled: list[Send]) -> None:
    """3 % of the flights are soiled, give or take a tenth of that, and no kind has less than half its part."""
    kinds = Counter(send.dirt for send in soiled if send.dirt not in ("", "kilometres"))
    assert set(kinds) == {*EVENT_DIRT, *LABEL_DIRT}
    assert 0.027 < kinds.total() / len(sixty) < 0.033
    assert min(kinds.values()) > kinds.total() / len(kinds) / 2


def test_records_come_in_order_of_event_time(soiled: list[Send]) -> None:
    """No record is sent before one of an earlier event time."""
    times = [send.at for send in soiled]
    assert times == sorted(times)


def test_the_dirt_is_the_same_every_time_and_for_any_stretch(sixty: list[Flight], soiled: list[Send]) -> None:
    """The same seed soils the same flights the same way, however many are replayed; another seed soils others."""
    assert list(soil(sixty)) == soiled
    first_day = [send for send in soil(sixty[:800]) if send.kind == "event"]
    assert first_day[:700] == [send for send in soiled if send.kind == "event"][:700]
    assert list(soil(sixty[:800], seed=1)) != list(soil(sixty[:800]))


def test_distances_are_in_kilometres_for_eight_days(sixty: list[Flight], soiled: list[Send]) -> None:
    """Distances of 14 to 21 February, both included, are 1.609 times the miles, all others the miles."""
    miles = {flight.event.flight_id.encode(): flight.event.distance for flight in sixty}
    for send in soiled:
        if send.kind == "event" and send.dirt in ("", "kilometres") and send.key is not None:
            ratio = msgspec.json.decode(send.value, type=Event).distance / miles[send.key]
            drifted = KILOMETRES_FROM <= send.key[:10].decode() <= KILOMETRES_TO
            assert ratio == pytest.approx(1.609344 if drifted else 1.0, rel=3e-3)
    assert sum(send.dirt == "kilometres" for send in soiled) > 6000


def of_kind(soiled: list[Send], kind: str) -> list[Send]:
    return [send for send in soiled if send.dirt == kind]


@pytest.mark.parametrize("kind", ["truncated_json", "bad_utf8"])
def test_broken_values_cannot_be_decoded(soiled: list[Send], kind: str) -> None:
    """What is called truncated or not UTF-8 is no JSON to any strict decoder."""
    for send in of_kind(soiled, kind):
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            msgspec.json.decode(send.value)


def test_other_soiled_events_keep_their_id(soiled: list[Send]) -> None:
    """Every soiled event that is JSON still names its flight: what is wrong with it is what it is called."""
    for kind in set(EVENT_DIRT) - {"truncated_json", "bad_utf8", "nan", "wrong_key"}:
        for send in of_kind(soiled, kind):
            assert msgspec.json.decode(send.value)["flight_id"].encode() == send.key


def test_labels_come_twice_change_come_first_or_belong_to_nothing(sixty: list[Flight], soiled: list[Send]) -> None:
    """Each kind of label dirt makes the sequence of records of its id that its name says."""
    truth = {flight.event.flight_id.encode(): flight.late for flight in sixty}
    by_id: dict[bytes | None, list[Send]] = {}
    for send in soiled:
        by_id.setdefault(send.key, []).append(send)

    def story(kind: str) -> set[tuple[str, ...]]:
        return {
            tuple(
                each.kind
                if each.kind == "event"
                else str(msgspec.json.decode(each.value)["late"] == truth.get(send.key))
                for each in by_id[send.key]
            )
            for send in of_kind(soiled, kind)
        }

    assert story("label_twice") == {("event", "True", "True")}
    assert story("label_changed") == {("event", "False", "True")}
    assert story("label_first") == {("True", "event")}
    assert story("label_of_nothing") == {("False",)}
