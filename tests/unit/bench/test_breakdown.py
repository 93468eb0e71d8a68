"""Which part of scoring a sample counts for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.breakdown import ROOT, part_of, shares, table

CORE = "services/scoring/core.py"


def line(text: str, path: str = CORE) -> str:
    """The innermost frame at the first line of a source file that holds this."""
    lines = Path(ROOT / path).read_text(encoding="utf-8").splitlines()
    number = next(index for index, each in enumerate(lines, 1) if text in each)
    return f"main (services/scoring/__main__.py:12);f ({path}:{number})"


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        (line("event = _decode("), "decode the event (msgspec)"),
        (
            "scores (<services.domain.together>:3);<lambda> (services/domain/numbers.py:30)",
            "decode the event (msgspec)",
        ),
        (line("value = encode("), "encode the prediction (msgspec)"),
        (line("for record in batch"), "the core's own loop"),
        (line("scored = served.score("), "the core's own loop"),
        ("a (x.py:1);scores (<services.domain.together>:9)", "score: encodings, standardisation, model"),
        ("a (x.py:1);send (aiokafka/conn.py:3);snappy_encode (aiokafka/codec.py:104)", "compress"),
        ("a (x.py:1);_encode (services/runtime/compression.py:17)", "compress"),
        ("a (x.py:1);_batches (services/runtime/transactions.py:49)", "produce: records to batches"),
        ("f (services/runtime/inputs.py:90);getall (aiokafka/consumer/fetcher.py:130)", "fetch: batches to records"),
        ("a (mode/worker.py:264)", "sockets and the event loop"),
        ("a (threading.py:3)", "everything else (Faust, membership, threads)"),
    ],
)
def test_a_sample_counts_for_the_innermost_part(stack: str, part: str) -> None:
    """Told by function, file and the text of the line."""
    assert part_of(stack) == part


def test_shares_add_up() -> None:
    """Of all samples; and the table tells microseconds of the whole."""
    found = shares(["a (mode/worker.py:1) 3", "b (x.py:2);snappy_encode (aiokafka/codec.py:104) 1"])
    assert found == {"compress": 0.25, "sockets and the event loop": 0.75}
    assert table(found, 8.0)[2:] == [
        "| sockets and the event loop | 75.0% | 6.00 |", "| compress | 25.0% | 2.00 |", "| all | 100 % | 8.00 |",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no sample"):
        shares([])
