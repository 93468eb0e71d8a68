"""``python -m services.learner --pipeline PIPELINE.toml [--role join|train|all] [--refold]``."""

from __future__ import annotations

from functools import partial

import services.learner
from services.runtime import interpreter


def main() -> None:
    """Run the service until it is told to stop."""
    with interpreter.building():
        from services.learner.app import ROLES, wire  # noqa: PLC0415 - most of a start is importing
        from services.runtime import launch, worker  # noqa: PLC0415 - as above
    parser = launch.arguments("learner", services.learner.__doc__ or "")
    parser.add_argument("--role", choices=ROLES, default="all", help="the stages to run here (default: all)")
    parser.add_argument(
        "--refold", action="store_true", help="fold the examples from the log's start, whatever snapshots there are"
    )
    options = parser.parse_args()
    worker.start("learner", options.pipeline, partial(wire, role=options.role, refold=options.refold))


if __name__ == "__main__":
    main()
