"""Putting the services' wall clock wrong with libfaketime, where it is installed (Debian: ``apt install libfaketime``)."""

from __future__ import annotations

from pathlib import Path

FARTHEST_S = 2400.0
"""Brokers refuse stamps more than an hour ahead."""
NOTICED_S = 1.5
"""A process looks for another offset once a second."""
_PLACES = (
    "usr/lib/*/faketime/libfaketimeMT.so.1",
    "usr/lib/faketime/libfaketimeMT.so.1",
    "usr/local/lib/faketime/libfaketimeMT.so.1",
)


def library() -> Path | None:
    """The library, None where it is not installed."""
    return next((path for place in _PLACES for path in Path("/").glob(place)), None)


def path(data_dir: Path) -> Path:
    """The file that says how wrong the clock is."""
    return data_dir / "clock"


def environment(data_dir: Path) -> dict[str, str]:
    """What makes a process's wall clock follow the file; its monotonic clock stays as it is. Empty without the library."""
    found = library()
    if found is None:
        return {}
    data_dir.mkdir(parents=True, exist_ok=True)
    put(path(data_dir), 0.0)
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(path(data_dir)),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def put(file: Path, seconds: float) -> None:
    """Let the clock be so many seconds ahead."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{seconds:+.0f}\n", encoding="ascii")
    fresh.replace(file)
