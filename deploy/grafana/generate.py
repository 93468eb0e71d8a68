"""Write the dashboards as JSON, for Grafana to provision.

Run ``python -m deploy.grafana.generate`` after changing one; with ``--check`` it writes nothing and fails when a
generated file is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana import drift, model, overview, pipeline, quality
from schemas import generated_files

COMMAND = "python -m deploy.grafana.generate"
FOLDER = Path(__file__).parent / "dashboards"
_BOARDS = {"overview": overview, "pipeline": pipeline, "quality": quality, "model": model, "drift": drift}


def generated() -> dict[Path, str]:
    """The JSON of every dashboard by its file."""
    return {FOLDER / f"{name}.json": _text(module.dashboard().build()) for name, module in _BOARDS.items()}


def _text(page: Dashboard) -> str:
    for number, panel in enumerate(page.panels or (), start=1):
        panel.id_val = number  # links to a panel name it
    return json.dumps(page, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def stale(files: dict[Path, str]) -> list[Path]:
    """Files that are missing, differ or belong to no dashboard."""
    return generated_files.stale(files, FOLDER.glob("*.json"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the dashboards, or with ``--check`` say which are stale; the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a generated file is stale")
    check = parser.parse_args(arguments).check
    files = generated()
    advice = f"These files follow from the dashboards' code and do not match it: run `{COMMAND}` and commit."
    return generated_files.settle(files, stale(files), FOLDER.parent, check=check, advice=advice)


if __name__ == "__main__":
    sys.exit(main())
