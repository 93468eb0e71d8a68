"""The pipeline file: one TOML file that defines a pipeline, decoded, validated, in canonical form, hashed.

Its Structs are in ``spec_tables``, what is checked beyond types in ``spec_checks``, what may change in a
running pipeline in ``spec_changes``. Nothing here reads a file: callers pass the text and its name.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from services.domain.spec_checks import check
from services.domain.spec_decode import decode
from services.domain.spec_duration import duration
from services.domain.spec_lines import key_lines
from services.domain.spec_tables import (
    Block,
    Candidate,
    Cross,
    DriftTable,
    Encoding,
    EventTable,
    Feature,
    LabelTable,
    ModelTable,
    Outliers,
    PipelineTable,
    Problem,
    SnapshotsTable,
    Spec,
    SpecError,
    TopicsTable,
)

__all__ = [
    "CANONICAL_MAX_BYTES",
    "Block",
    "Candidate",
    "Cross",
    "DriftTable",
    "Encoding",
    "EventTable",
    "Feature",
    "LabelTable",
    "ModelTable",
    "Outliers",
    "PipelineTable",
    "SnapshotsTable",
    "Spec",
    "SpecError",
    "TopicsTable",
    "canonical",
    "duration",
    "from_canonical",
    "parse",
    "spec_hash",
]

CANONICAL_MAX_BYTES = 256 * 1024
"""The canonical form travels in one Kafka record of ``examples``: a longer one is refused."""
_LINE = re.compile(r"\(at line (\d+), column \d+\)")


def parse(text: str, source: str = "pipeline.toml") -> Spec:
    """Decode and validate TOML text; SpecError has one line a problem: source, line, key, what was expected.

    A byte order mark before the text, which some editors write, is read over.
    """
    text = text.removeprefix("\ufeff")
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError is a ValueError
        raise SpecError(_not_toml(error, text, source)) from error
    problems: list[Problem] = []
    spec = _validated(raw, problems)
    if spec is None:
        raise SpecError(_told(problems, source, key_lines(text)))
    return spec


def canonical(spec: Spec) -> str:
    """The canonical JSON form, in full: equal specs give equal text (defaults filled in, keys sorted).

    The order of features is part of it: they are a list of [name, feature] pairs. Durations are as they are written:
    one way to say them would have changed the hash of every file that says both ``24h`` and ``1d``, as usual files do.
    """
    tables = _unsigned_zero(msgspec.to_builtins(spec))
    tables["features"] = list(tables["features"].items())
    return msgspec.json.encode(tables, order="sorted").decode()


def from_canonical(text: str, source: str = "canonical form") -> Spec:
    """The inverse of :func:`canonical`, validated alike."""
    try:
        raw = msgspec.json.decode(text, type=dict[str, Any])
        raw["features"] = dict(msgspec.convert(raw.get("features"), list[tuple[str, Any]]))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise SpecError(f"{source}: expected a pipeline in canonical JSON: {error}") from error
    problems: list[Problem] = []
    spec = _validated(raw, problems)
    if spec is None:
        raise SpecError(_told(problems, source, {}))
    return spec


def spec_hash(spec: Spec) -> str:
    """First 16 hex digits of the SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:16]


def _validated(raw: Mapping[str, Any], problems: list[Problem]) -> Spec | None:
    spec = decode(raw, problems)
    if spec is None:
        return None
    problems.extend(check(spec))
    if not problems and len(canonical(spec).encode()) > CANONICAL_MAX_BYTES:
        problems.append(Problem((), f"expected at most {CANONICAL_MAX_BYTES} bytes in canonical form, got more"))
    return None if problems else spec


def _unsigned_zero(value: Any) -> Any:
    """-0.0 equals 0.0 but is written differently."""
    if isinstance(value, dict):
        return {key: _unsigned_zero(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_unsigned_zero(inner) for inner in value]
    return value + 0.0 if isinstance(value, float) else value


def _not_toml(error: Exception, text: str, source: str) -> str:
    found = _LINE.search(str(error))
    line = int(found[1]) if found else text.count("\n") + 1 if "end of document" in str(error) else None
    where = f"{source}:{line}" if line else source
    reason = _LINE.sub("", str(error)).strip() if str(error) else "nested too deeply"
    return f"{where}: expected TOML (https://toml.io): {reason}"


def _told(problems: list[Problem], source: str, lines: Mapping[tuple[str | int, ...], int]) -> str:
    """One line a problem, ``source:line: key: message``, in the order of the file."""
    told = sorted((_line(problem.path, lines), _key(problem.path), problem.message) for problem in problems)
    return "\n".join(
        ": ".join(part for part in (f"{source}:{line}" if line else source, key, message) if part)
        for line, key, message in told
    )


def _line(path: tuple[str | int, ...], lines: Mapping[tuple[str | int, ...], int]) -> int:
    """The line of a key or, if it is not written, of the nearest table around it; 0 when unknown."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 0)


def _key(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
