"""``python -m services.cleaning --pipeline PIPELINE.toml``."""

from __future__ import annotations

import services.cleaning
from services.cleaning.app import wire
from services.runtime import worker


def main() -> None:
    """Run the service until it is told to stop."""
    worker.serve("cleaning", services.cleaning.__doc__ or "", wire)


if __name__ == "__main__":
    main()
