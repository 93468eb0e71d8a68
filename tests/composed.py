"""docker-compose.yml as Compose reads it: variables put in, YAML's merges done, one file laid over another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
OWN_KAFKA = ROOT / "deploy" / "compose" / "own-kafka.yml"
_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<how>:[-?+])(?P<word>[^}]*))?\})")


def compose(env: Mapping[str, str], *more: Path) -> dict[str, Any]:
    """The file, and those laid over it, for an environment: what `docker compose config` would show of our keys."""
    whole: dict[str, Any] = {}
    for file in (FILE, *more):
        whole = _laid(whole, _filled(yaml.safe_load(file.read_text(encoding="utf-8")), env))
    return whole


def image_environment(stage: str) -> dict[str, str]:
    """What the Dockerfile sets for a stage and the stages of ours that it is made from."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    stages = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)[1:]
    bases = dict(zip(stages[1::3], stages[::3], strict=True))
    bodies = dict(zip(stages[1::3], stages[2::3], strict=True))
    found = image_environment(bases[stage]) if bases[stage] in bases else {}
    for line in re.findall(r"^ENV (.*)$", bodies[stage], re.MULTILINE):
        found |= dict(pair.split("=", 1) for pair in line.split())
    return found


def ours(whole: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run Rivermill's image."""
    return {name: service for name, service in whole["services"].items() if "build" in service}


def mounts(service: Mapping[str, Any]) -> dict[str, str | None]:
    """What a service has mounted: its path in the container, and the file here or the volume (None: one of its own)."""
    found: dict[str, str | None] = {}
    for volume in service.get("volumes", ()):
        if isinstance(volume, str):
            source, target, *_ = volume.split(":")
            found[target] = source
        else:
            found[volume["target"]] = volume.get("source")
    return found


def _filled(value: Any, env: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, env) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, env) for each in value]
    return _VARIABLE.sub(lambda found: _value(found, env), value) if isinstance(value, str) else value


def _value(found: re.Match[str], env: Mapping[str, str]) -> str:
    if found["escaped"]:
        return "$"
    value, word = env.get(found["name"], ""), found["word"] or ""
    match found["how"]:
        case ":-":
            return value or word
        case ":+":
            return word if value else ""
        case ":?":
            assert value, f"{found['name']}: {word}"
    return value


def _laid(under: Any, over: Any) -> Any:
    if isinstance(under, dict) and isinstance(over, dict):
        return under | {key: _laid(under[key], each) if key in under else each for key, each in over.items()}
    if isinstance(under, list) and isinstance(over, list):
        return [*under, *over]
    return over
