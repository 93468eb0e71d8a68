"""Fuzzing led by coverage, with atheris (libFuzzer): ``python -m fuzz.led TARGET CORPUS [libFuzzer options]``.

What is new in CORPUS afterwards reached code that nothing before had; ``-runs=0 CORPUS ...`` tells how much folders of
cases reach (``cov:``), to choose what is worth keeping. libFuzzer's ``-merge=1`` is of no use: it starts a module as a file.
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
