"""``python -m services.drift --pipeline PIPELINE.toml``."""

from __future__ import annotations

import services.drift
from services.runtime import interpreter


def main() -> None:
    """Run the service until it is told to stop."""
    with interpreter.building():
        from services.drift.app import wire  # noqa: PLC0415 - as above
        from services.runtime import worker  # noqa: PLC0415 - most of a start is importing
    worker.serve("drift", services.drift.__doc__ or "", wire)


if __name__ == "__main__":
    main()
