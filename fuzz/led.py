"""Fuzzing led by coverage, with atheris (libFuzzer): ``python -m fuzz.led TARGET CORPUS [libFuzzer options]``.

What is new in CORPUS afterwards reached code that nothing before had; ``-merge=1 SMALL CORPUS`` keeps the least of it.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["services", "schemas"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Hand over to libFuzzer: it ends at the first finding."""
    program, name, *options = sys.argv
    run = TARGETS[name].run

    def one(data: bytes) -> None:
        run(data)

    atheris.Setup([program, *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
