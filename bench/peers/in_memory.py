"""The ceiling: the same job in a loop over records that lie in memory, without Kafka.

Reads clean events, one a line, and writes predictions, one a line; prints its own CPU and wall-clock seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import msgspec

from bench.peers.job import job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--events", required=True, type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--warm-up", required=True, type=int)
    options = parser.parse_args()
    score = job(options.model)
    values = options.events.read_bytes().splitlines()
    first = [score(value) for value in values[: options.warm_up]]
    measured = values[options.warm_up :]
    began, cpu = time.perf_counter(), time.process_time()
    rest = [score(value) for value in measured]
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    options.output.write_bytes(b"\n".join([*first, *rest]))
    print(msgspec.json.encode({"events": len(rest), "seconds": seconds, "cpu": cpu}).decode())


if __name__ == "__main__":
    main()
