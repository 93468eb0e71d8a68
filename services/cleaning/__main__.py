"""``python -m services.cleaning --pipeline PIPELINE.toml``."""

from __future__ import annotations

import services.cleaning
from services.cleaning.app import stages
from services.domain.spec import SpecError
from services.runtime import launch, worker
from services.runtime.settings import SettingsError


def main() -> None:
    """Run the service until it is told to stop."""
    arguments = launch.arguments("cleaning", services.cleaning.__doc__ or "").parse_args()
    try:
        deployment = launch.deployment(arguments.pipeline)
    except (SpecError, SettingsError) as error:
        worker.fail("cleaning", error)
    worker.run("cleaning", deployment.name, deployment.settings, lambda: stages(deployment))


if __name__ == "__main__":
    main()
