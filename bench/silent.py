"""A service that counts nothing and logs nothing, for python -m bench.overhead: the same in all else.

``python -m bench.silent services.scoring --pipeline PIPELINE.toml``. Only this process is changed; the service has no
such setting.
"""

from __future__ import annotations

import logging
import runpy
import sys

from prometheus_client import Counter, Gauge, Histogram

from services.runtime.gauges import LaneGauges

_COUNTING = (
    (Counter, ("inc",)),
    (Gauge, ("inc", "dec", "set")),
    (Histogram, ("observe",)),
    (LaneGauges, ("restored", "processed", "committed", "report", "lag")),
)


def main() -> None:
    for kind, names in _COUNTING:
        for name in names:
            setattr(kind, name, _nothing)
    logging.disable(logging.CRITICAL)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _nothing(*_arguments: object) -> None: ...


if __name__ == "__main__":
    main()
