"""``python -m services.drift --pipeline PIPELINE.toml``."""

from __future__ import annotations

import services.drift
from services.drift.app import wire
from services.runtime import worker


def main() -> None:
    """Run the service until it is told to stop."""
    worker.serve("drift", services.drift.__doc__ or "", wire)


if __name__ == "__main__":
    main()
