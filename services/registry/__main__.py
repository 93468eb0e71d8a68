"""``python -m services.registry``."""

from __future__ import annotations

import sys

from services.runtime import interpreter


def main() -> None:
    """Entry point."""
    with interpreter.building():
        from services.registry.process import command  # noqa: PLC0415 - most of a start is importing
    sys.exit(command())


if __name__ == "__main__":
    main()
