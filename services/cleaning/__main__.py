"""``python -m services.cleaning --pipeline PIPELINE.toml``."""

from __future__ import annotations

import services.cleaning
from services.runtime import interpreter


def main() -> None:
    """Run the service until it is told to stop."""
    with interpreter.building():
        from services.cleaning.app import wire  # noqa: PLC0415 - as above
        from services.runtime import worker  # noqa: PLC0415 - most of a start is importing
    worker.serve("cleaning", services.cleaning.__doc__ or "", wire)


if __name__ == "__main__":
    main()
