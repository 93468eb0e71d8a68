"""Four threads decode to types that none has used before; their decoders are made `early`, before, or `late`: not at all."""

from __future__ import annotations

import sys
import threading
from typing import Any

import msgspec

TYPES = 300
_NAMES = [f"field_{i}" for i in range(10)]
_DATA = msgspec.json.encode({outer: dict.fromkeys(_NAMES, 1) for outer in _NAMES})


def fresh() -> Any:
    """A type nobody has decoded to, and ten within it."""
    return msgspec.defstruct(
        "Outer", [(outer, msgspec.defstruct("Inner", [(it, int) for it in _NAMES])) for outer in _NAMES]
    )


def decode(kind: Any, ready: threading.Barrier) -> None:
    """Begin with all the others."""
    ready.wait()
    msgspec.json.decode(_DATA, type=kind)


def main() -> None:
    """Survive, or die by signal 11."""
    sys.setswitchinterval(1e-6)
    for _ in range(TYPES):
        kind, ready = fresh(), threading.Barrier(4)
        if sys.argv[1:] == ["early"]:
            msgspec.json.Decoder(kind)
        threads = [threading.Thread(target=decode, args=(kind, ready)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
