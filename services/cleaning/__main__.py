"""``python -m services.cleaning --pipeline PIPELINE.toml``."""

from __future__ import annotations

import services.cleaning
from services.cleaning.app import stages
from services.runtime import worker


def main() -> None:
    """Run the service until it is told to stop."""
    worker.serve("cleaning", services.cleaning.__doc__ or "", stages)


if __name__ == "__main__":
    main()
