"""Write what follows from the contracts: JSON Schema a stream, the AsyncAPI document, the page on topics.

Run ``python -m schemas.generate`` after changing a Struct, a golden example or the topic table; with ``--check`` it
writes nothing and fails when a generated file is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas import asyncapi, contracts, generated_files, page

ROOT = Path(__file__).parent.parent
COMMAND = "python -m schemas.generate"


def generated() -> dict[Path, str]:
    """Every generated file with the text it should have."""
    schemas = {contracts.schema_name(topic): topic for topic in contracts.table() if topic.contract}
    return {
        **{
            ROOT / "schemas" / "json" / f"{name}.json": _text(contracts.json_schema(it)) for name, it in schemas.items()
        },
        ROOT / "schemas" / "asyncapi.json": _text(asyncapi.document()),
        ROOT / "docs" / "topics.md": page.page(COMMAND),
    }


def stale(files: dict[Path, str]) -> list[Path]:
    """The files that are missing, differ, or should not be there."""
    return generated_files.stale(files, (ROOT / "schemas" / "json").glob("*"))


def _text(document: dict[str, Any]) -> str:
    return f"{json.dumps(document, indent=2)}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated files, or with ``--check`` say which are stale; the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a generated file is stale")
    check = parser.parse_args(arguments).check
    files = generated()
    advice = f"These files follow from the contracts in schemas/ and do not match them: run `{COMMAND}` and commit."
    return generated_files.settle(files, stale(files), ROOT, check=check, advice=advice)


if __name__ == "__main__":
    sys.exit(main())
