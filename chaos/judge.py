"""Reading everything that a run has left behind, and holding every check against it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from chaos import facts, ledger, reader, refold, registry, script
from chaos.facts import Facts
from chaos.registry import Registry, Version
from chaos.verdict import Verdict
from services.runtime.launch import Deployment


async def judge(deployment: Deployment, blobs: Path) -> tuple[Facts, dict[str, list[str]]]:
    """What the topics hold, and the violations by check; ``blobs`` is the registry's folder."""
    name, settings = deployment.name, deployment.settings
    found = Facts()
    try:
        await facts.gather(found, settings.broker, name, script.PARTITIONS)
    except reader.HiddenError as error:
        return found, {"no committed record stays hidden": [str(error)]}
    told = await registry.gather(settings.registry_url, name, blobs)
    violations = Verdict(found, name, script.CLOSING).violations()
    violations |= {what: list(check(found)) for what, check in ledger.CHECKS.items()}
    violations |= {what: list(check(told, found)) for what, check in registry.CHECKS.items()}
    violations["folding the examples anew gives the last snapshots"] = await _refold(deployment, told, blobs / name)
    return found, violations


async def _refold(deployment: Deployment, told: Registry, blobs: Path) -> list[str]:
    """Fold the log up to the offset of each candidate's newest version, and compare."""
    newest = {version.candidate: version for _, version in sorted(told.versions.items())}
    wanted: defaultdict[int, list[Version]] = defaultdict(list)
    for version in newest.values():
        wanted[version.examples_offset].append(version)
    broker, topic, key = deployment.settings.broker, deployment.topic("examples"), deployment.settings.signing_keys[0]
    differences = [] if set(newest) == set(script.CANDIDATES) else [f"only {sorted(newest)} have versions"]
    for offset, versions in wanted.items():
        again = await refold.refolded(reader.read(broker, topic, 1), offset, key)
        paths = {it.version: blobs / it.sha256[:2] / it.sha256 for it in versions}
        differences += [f"version {number} has no blob" for number, path in paths.items() if not path.is_file()]
        published = [(paths[it.version].read_bytes(), it.signature) for it in versions if paths[it.version].is_file()]
        differences += refold.differences(published, again, key)
    return differences
