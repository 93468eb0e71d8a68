"""Contracts as they were released: frozen by ``python -m schemas.release``, held against today's with ``--check``.

A release is ``released/<version>/``: the AsyncAPI document, the JSON Schemas and the golden examples. It is never
changed again: the command refuses to overwrite one, and ``--check`` compares each file with the checksums beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from schemas import asyncapi, contracts, generate
from schemas.compatibility import differences, unreadable

SCHEMAS = Path(__file__).parent
RELEASED = SCHEMAS / "released"
COMMAND = "python -m schemas.release"
SUMS = "SHA256SUMS"
_FROZEN = ("asyncapi.json", "json", "golden")


def freeze(folder: Path) -> None:
    """Copy what a release promises into a new folder."""
    folder.mkdir(parents=True)
    for name in _FROZEN:
        source = SCHEMAS / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copyfile(source, folder / name)
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items()))


def altered(release: Path) -> list[str]:
    """The files of a release that are not what was frozen."""
    sums = release / SUMS
    lines = sums.read_text().splitlines() if sums.exists() else []
    frozen = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    now = _digests(release)
    return [
        f"{name}: is not what was frozen: restore it"
        for name in sorted(frozen.keys() | now.keys())
        if frozen.get(name) != now.get(name)
    ]


def _digests(release: Path) -> dict[str, str]:
    files = sorted(path for path in release.rglob("*") if path.is_file() and path.name != SUMS)
    return {path.relative_to(release).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def broken(release: Path) -> list[str]:
    """Everything of today's contracts that breaks a reader of this release or of its records."""
    return [*_topics(release), *_schemas(release), *_examples(release)]


def _topics(release: Path) -> Iterator[str]:
    """Names, keys, partitions, cleanup policies and headers are promises too."""
    before, after = json.loads((release / "asyncapi.json").read_text()), asyncapi.document()
    for stream in before["channels"]:
        if stream not in after["channels"]:
            yield f"{stream}: is gone"
            continue
        then, now = _promises(before, stream), _promises(after, stream)
        yield from (f"{stream}: {what} was {then[what]}, is {now[what]}" for what in then if then[what] != now[what])
        headers = (document["components"]["messages"][stream].get("headers", {}) for document in (before, after))
        yield from (f"{stream} headers{each}" for each in differences(*headers))


def _promises(document: Mapping[str, Any], stream: str) -> Mapping[str, Any]:
    channel, message = document["channels"][stream], document["components"]["messages"][stream]
    kafka = channel["bindings"]["kafka"]
    return {
        "address": channel["address"],
        "partitions": kafka["partitions"],
        "cleanup.policy": kafka["topicConfiguration"]["cleanup.policy"],
        "key": message["bindings"]["kafka"]["key"]["description"],
        "content type": message["contentType"],
    }


def _schemas(release: Path) -> Iterator[str]:
    today = {contracts.schema_name(topic): topic for topic in contracts.table() if topic.contract}
    for path in sorted((release / "json").glob("*.json")):
        if path.stem in today:  # a topic that is gone has been told
            released = json.loads(path.read_text())
            yield from (f"{path.stem}{each}" for each in differences(released, contracts.json_schema(today[path.stem])))


def _examples(release: Path) -> Iterator[str]:
    kinds = {contracts.schema_name(topic): contracts.contract(topic) for topic in contracts.table()}
    for path in sorted((release / "golden").glob("*/*.json")):
        if kinds.get(path.parent.name) is not None:
            told = unreadable(kinds[path.parent.name], json.loads(path.read_text()))
            if told:
                yield f"{path.parent.name}: the example {path.stem} {told}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Freeze the contracts as this version's, or with ``--check`` tell what breaks a release; the exit code."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a released contract is broken")
    return _check() if parser.parse_args(arguments).check else _freeze()


def _check() -> int:
    releases = sorted(path for path in RELEASED.iterdir() if path.is_dir()) if RELEASED.exists() else []
    told = [f"{release.name}: {each}" for release in releases for each in (*altered(release), *broken(release))]
    if not releases:
        told = [f"error: no release lies under {RELEASED.name}: there is nothing to hold today's contracts against"]
    print("\n".join(told) if told else f"no reader of {', '.join(it.name for it in releases)} is broken")
    return 1 if told else 0


def _freeze() -> int:
    folder = RELEASED / asyncapi.version()
    if folder.exists():
        print(f"error: {asyncapi.version()} has been released: a contract that was released is never changed")
        return 1
    if generate.stale(generate.generated()):
        print(f"error: generated files are stale: run `{generate.COMMAND}` first")
        return 1
    freeze(folder)
    print(f"frozen: {folder.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
