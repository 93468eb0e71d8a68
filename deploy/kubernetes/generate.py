"""Write what follows from an overlay's pipeline file: topics and users for Strimzi, scaling for KEDA, monitoring
for the Prometheus Operator.

Run ``python -m deploy.kubernetes.generate [OVERLAY]`` after changing ``OVERLAY/pipeline.toml``, the topic table or the
access table; with ``--check`` it writes nothing and fails when a generated file is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy.kubernetes.monitoring import pod_monitor
from deploy.kubernetes.scaling import scaled_objects, trigger_authentication
from deploy.kubernetes.strimzi import kafka_topic, kafka_users
from schemas import generated_files
from services.domain.spec import SpecError
from services.runtime.launch import Deployment, load
from services.runtime.settings import Settings

PRODUCTION = Path(__file__).parent / "overlays" / "production"
COMMAND = "python -m deploy.kubernetes.generate"
REPLICATION = 3


def deployment(overlay: Path) -> Deployment:
    """The pipeline of an overlay, with the settings of its services that its topics depend on; raises SpecError."""
    return Deployment(load(overlay / "pipeline.toml"), Settings(replication=REPLICATION))


def generated(overlay: Path) -> dict[Path, str]:
    """Every generated file of an overlay with the text it should have."""
    deployed = deployment(overlay)
    return {
        overlay / "topics.yaml": _documents(kafka_topic(topic, REPLICATION) for topic in deployed.table()),
        overlay / "users.yaml": _documents(kafka_users(deployed)),
        overlay / "scaling.yaml": _documents([trigger_authentication(), *scaled_objects(deployed)]),
        overlay / "monitoring.yaml": _documents([pod_monitor(deployed)]),
    }


def _documents(resources: Iterable[dict[str, Any]]) -> str:
    head = f"# Written by `{COMMAND}` from pipeline.toml and the tables in schemas: change those.\n"
    text: str = yaml.safe_dump_all(resources, sort_keys=False, width=120)
    return head + text


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated files, or with ``--check`` say which are stale; the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("overlay", nargs="?", type=Path, default=PRODUCTION, help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a generated file is stale")
    options = parser.parse_args(arguments)
    try:
        files = generated(options.overlay)
    except SpecError as error:
        print(error, file=sys.stderr)
        return 2
    advice = f"These files follow from the pipeline file and the tables: run `{COMMAND}` and commit."
    wrong = generated_files.stale(files)
    return generated_files.settle(files, wrong, options.overlay, check=options.check, advice=advice)


if __name__ == "__main__":
    sys.exit(main())
