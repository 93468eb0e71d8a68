"""``python -m services.scoring --pipeline PIPELINE.toml``."""

from __future__ import annotations

import services.scoring
from services.runtime import interpreter


def main() -> None:
    """Run the service until it is told to stop."""
    with interpreter.building():
        from services.runtime import worker  # noqa: PLC0415 - most of a start is importing
        from services.scoring.app import wire  # noqa: PLC0415 - as above
    worker.serve("scoring", services.scoring.__doc__ or "", wire)


if __name__ == "__main__":
    main()
