from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.deadletter import TRUNCATED_FROM
from schemas.topics import DEADLETTER_EXTRA_BYTES, MAX_MESSAGE_BYTES
from services.domain.deadletters import dead_letter, origin, rekeyed_headers
from tests.unit.records import Rec

NAMES = st.sampled_from(["a", "rivermill.rekeyed_from", "rivermill.original_key"])
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=6)), max_size=4)


@settings(max_examples=100)
@given(HEADERS, st.none() | st.binary(max_size=6))
def test_a_hop_through_rekeyed_can_be_undone(headers: list[tuple[str, bytes]], key: bytes | None) -> None:
    """Whatever a producer's headers are named, origin, key and headers come back as they were."""
    record = Rec("a/topic", 3, 12, 5, key, b"v", headers)
    hopped = Rec("p.rekeyed", 1, 0, 5, b"id", b"v", rekeyed_headers(record))
    assert origin(hopped) == ("a/topic", 3, 12, key, headers)


def failed() -> ValueError:
    """An error that has a cause."""
    try:
        try:
            raise ArithmeticError("because")
        except ArithmeticError as cause:
            raise ValueError("why") from cause
    except ValueError as error:
        return error


def test_a_dead_letter_is_the_original_and_a_reason() -> None:
    """Key, value, headers and timestamp are untouched; the reason follows in headers."""
    record = Rec("raw", 3, 12, 5, b"k", b"v", [("h", b"1")])
    letter = dead_letter(record, "score", "no_model", "why \ud800", failed())
    assert (letter.key, letter.value, letter.timestamp, letter.headers[0]) == (b"k", b"v", 5, ("h", b"1"))
    told = dict(letter.headers)
    assert told["rivermill.stage"] == b"score"
    assert told["rivermill.rule"] == b"no_model"
    assert told["__streams.errors.exception"] == b"ArithmeticError"
    assert told["__streams.errors.message"] == b"why ?"
    where = told["__streams.errors.stacktrace"]
    assert where is not None
    assert f'File "{__file__}"'.encode() in where
    assert b"in failed" in where
    assert (told["__streams.errors.topic"], told["__streams.errors.partition"]) == (b"raw", b"3")
    assert told["__streams.errors.offset"] == b"12"


def test_where_it_was_raised_is_told_in_few_bytes() -> None:
    """The last of it, however long, and none where nothing was raised."""
    with pytest.raises(LookupError) as raised:
        exec(compile("raise LookupError", "long" * 5_000, "exec"))  # noqa: S102 - the test's own code
    record = Rec("raw", 3, 12, 5, b"k", b"v")
    where = dict(dead_letter(record, "score", "r", "m", raised.value).headers)["__streams.errors.stacktrace"]
    assert where is not None
    assert len(where) == 4096
    assert where.endswith(b'long", line 1, in <module>\n')
    assert "__streams.errors.stacktrace" not in dict(dead_letter(record, "score", "r", "m").headers)


def test_a_value_without_bytes_stays_apart_from_no_value() -> None:
    """None and empty are not the same record."""
    assert dead_letter(Rec("t", 0, 0, 0, None, None), "s", "r", "m").value is None
    assert dead_letter(Rec("t", 0, 0, 0, b"", b""), "s", "r", "m").value == b""


@pytest.mark.parametrize(
    ("key", "value", "header", "cut"),
    [(10, MAX_MESSAGE_BYTES - 100, 0, False), (10, 10_000_000, 0, True), (2_000_000, 10, 0, True),
     (10, 10, 2_000_000, True), (2_000_000, 2_000_000, 2_000_000, True)],
)  # fmt: skip
def test_every_dead_letter_fits_its_topic(key: int, value: int, header: int, cut: bool) -> None:
    """An original as large as its topic allows is whole; a larger one is cut to fit and says its size."""
    record = Rec("t", 0, 0, 0, b"k" * key, b"v" * value, [("h", b"h" * header)])
    letter = dead_letter(record, "clean", "too_large", "m" * 10_000, failed())
    size = len(letter.key or b"") + len(letter.value or b"") + sum(len(n) + len(v) + 12 for n, v in letter.headers)
    assert size < MAX_MESSAGE_BYTES + DEADLETTER_EXTRA_BYTES - 1024
    assert (TRUNCATED_FROM in dict(letter.headers)) is cut
    assert cut or letter.value == record.value
