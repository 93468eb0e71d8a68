"""``python -m services.scoring --pipeline PIPELINE.toml``."""

from __future__ import annotations

import services.scoring
from services.runtime import worker
from services.scoring.app import wire


def main() -> None:
    """Run the service until it is told to stop."""
    worker.serve("scoring", services.scoring.__doc__ or "", wire)


if __name__ == "__main__":
    main()
