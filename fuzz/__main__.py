"""Mutated bytes against the decoders and the cleaning core: nothing raises, and every record ends in exactly one place.

Cases follow from the seed: what is found can be run again with ``--seed``, or from the file that it is written to. With
atheris (``make fuzz LED=events``, Linux) mutations are led by the code that they reach.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fuzz.mutate import mutated
from fuzz.targets import TARGETS, corpus

_TELL_EVERY_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases; exit code 1 if one was not dealt with as promised."""
    options = _parser().parse_args(arguments)
    if options.file is not None:
        name = options.target or _parser().error("--file needs --target")
        print(TARGETS[name].run(options.file.read_bytes()))
        return 0
    names = [options.target] if options.target else list(TARGETS)
    seeds = {name: corpus(name) for name in names}
    rng, ends = random.Random(options.seed), {name: Counter[str]() for name in names}  # noqa: S311 - reproducible, no secret
    began = told = time.monotonic()
    chosen = rng.choices(names, [TARGETS[name].weight for name in names], k=options.cases)
    for number, name in enumerate(chosen, 1):
        value = mutated(seeds[name], rng)
        try:
            ends[name][TARGETS[name].run(value)] += 1
        except BaseException as error:  # noqa: BLE001 - a Rust panic is no Exception, and Ctrl-C is told apart
            if isinstance(error, KeyboardInterrupt):
                return _told(ends, number - 1, began)
            return _found(name, number, value, options.out)
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            print(f"{number:,} of {options.cases:,} cases, {number / (told - began):,.0f} a second", flush=True)
    return _told(ends, options.cases, began)


def _told(ends: dict[str, Counter[str]], cases: int, began: float) -> int:
    for name, counted in ends.items():
        print(f"{name} ({TARGETS[name].what}): {', '.join(f'{end} {count:,}' for end, count in counted.most_common())}")
    print(f"{cases:,} cases in {time.monotonic() - began:.0f} s: each dealt with as promised")
    return 0


def _found(name: str, number: int, value: bytes, folder: Path) -> int:
    traceback.print_exc()
    path = folder / f"{name}-{hashlib.sha256(value).hexdigest()[:12]}"
    path.write_bytes(value)
    print(f"case {number:,}, {len(value):,} bytes for {name}: run it again with --target {name} --file {path}")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="targets:\n" + "\n".join(f"  {name:10} {target.what}" for name, target in TARGETS.items()),
    )  # fmt: skip
    parser.add_argument("--cases", type=int, default=100_000, metavar="N", help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="which ones (%(default)s)")
    parser.add_argument("--target", choices=TARGETS, help="this one alone; default: all, by weight")
    parser.add_argument("--file", type=Path, metavar="FILE", help="run this one case, with --target")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where a finding is written (here)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
